import json
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.control import Control
from turnout.errors import TurnoutError
from turnout.features.v1 import feature_service_pb2 as fpb
from turnout.registry.v1 import gate_pb2, registry_service_pb2
from turnout.serving.v1 import prediction_service_pb2 as pb

DEFINITIONS = """
[[source]]
name = "rides"
kind = "parquet"
path = "rides.parquet"

[[view]]
name = "driver"
join_keys = ["driver"]
sql = "driver.sql"
ttl = "30d"
refresh = "12h"
[[view.features]]
name = "trips"
default = -1.0
[[view.features]]
name = "rating"

[[view]]
name = "city"
join_keys = ["city"]
sql = "city.sql"
[[view.features]]
name = "surge"
default = -3.0

[[set]]
name = "ride"
features = ["driver.trips", "request.hour", "driver.rating", "city.surge"]

[[set]]
name = "ride-kept"
features = ["driver.trips", "request.hour", "driver.rating", "city.surge"]
stale_up_to = "60d"
"""
DRIVER = "SELECT driver, moment AS event_time, trips, rating FROM rides"
CITY = "SELECT 'basel' AS city, TIMESTAMP '2024-01-01' AS event_time, 1.5 AS surge FROM rides LIMIT 1"
DAY_US = 86_400_000_000
FIRST_US = 1_704_067_200_000_000  # 2024-01-01
DRIVERS = 20
SMAPE_OF_1000 = 2 * 999 / 1001


@pytest.fixture(scope="module")
def definitions(tmp_path_factory):
    """Return definitions over rides whose drivers have a row each day of January; one joined on the 20th only."""
    folder = tmp_path_factory.mktemp("definitions")
    (folder / "ride.toml").write_text(DEFINITIONS)
    (folder / "driver.sql").write_text(DRIVER)
    (folder / "city.sql").write_text(CITY)
    rows = (
        "SELECT 'd' || i AS driver, TIMESTAMP '2024-01-01' + to_days(day::INT) AS moment, i + day * 0.5 AS trips, "
        f"CASE WHEN i % 3 > 0 THEN i / 10.0 + day END AS rating FROM range({DRIVERS}) t(i), range(31) s(day) "
        "WHERE i > 0 OR day >= 19"
    )
    duckdb.execute(f"COPY ({rows}) TO '{folder / 'rides.parquet'}' (FORMAT parquet)")
    return folder


@pytest.fixture(scope="module")
def skewed(launch, tmp_path_factory, definitions, onnx_bytes, operator_kind):
    """Return an operator of a gateway at the start of 2024 that serves `ride` with its features."""
    gateway = launch(tmp_path_factory.mktemp("skew") / "state", "--clock", "replay")
    operator = operator_kind(gateway)
    operator.admin.AdvanceClock(apb.AdvanceClockRequest(now_us=FIRST_US))
    with Control(gateway.control_address) as control:
        control.apply_features(definitions)
        operator.features, operator.address = control.features, gateway.control_address
        facts = registry_service_pb2.VersionFacts(feature_set="ride")
        operator.publish_file("ride", onnx_bytes(1.0), alias="champion", facts=facts)
        operator.wait()
        yield operator
    operator.close()
    gateway.stop()


def go_to(operator, day, *, materialize=True):
    now_us = FIRST_US + int(day * DAY_US)
    operator.admin.AdvanceClock(apb.AdvanceClockRequest(now_us=now_us))
    if materialize:
        operator.features.Materialize(fpb.MaterializeRequest())
    return now_us


def ask_all(operator, model="ride"):
    for driver in range(DRIVERS):
        request = pb.PredictRequest(
            model=model, entities={"driver": f"d{driver}", "city": "basel"}, features={"hour": 7.0 + driver}
        )
        answer = operator.predictions.Predict(request, timeout=10)
    return answer


def replay(operator, start_us, end_us=None, model="ride", **changes):
    request = fpb.ReplaySkewRequest(version=f"models/{model}/versions/1", start_us=start_us, end_us=end_us, **changes)
    return operator.features.ReplaySkew(request, timeout=60)


def test_a_clean_pipeline_shows_no_skew_though_its_store_stands_a_little_behind(skewed):
    start_us = go_to(skewed, 1.1)
    ask_all(skewed)
    go_to(skewed, 2.3, materialize=False)  # the rows of day 2 are out for 0.3 days; the store may stand 2 x 12 h behind
    ask_all(skewed)
    found = replay(skewed, start_us)
    assert list(found.findings) == []
    assert found.calls == 2 * DRIVERS
    driver, city = found.views
    assert driver.feature_view == "featureViews/driver"
    assert (driver.calls, driver.compared_calls) == (2 * DRIVERS, 2 * (DRIVERS - 1)), "one driver has no row yet"
    assert (city.calls, city.compared_calls) == (2 * DRIVERS, 2 * DRIVERS)
    assert [one.mismatched_calls for view in found.views for one in view.features] == [0, 0, 0]


def test_rows_that_were_out_for_longer_than_the_lag_were_served_late_and_the_view_is_named(skewed):
    go_to(skewed, 4.0)
    start_us = go_to(skewed, 6.5, materialize=False)
    ask_all(skewed)
    found = replay(skewed, start_us)
    assert list(found.findings) == [
        "driver: 19 of 20 calls were served a row older than the one known for longer than the lag"
    ]
    assert list(replay(skewed, start_us, lag_us=3 * DAY_US).findings) == []
    assert [(one.output, one.rows, one.equal_rows) for one in found.outputs] == [("score", DRIVERS, 1)]
    assert found.outputs[0].max_delta == pytest.approx(2.0), "two days of rating"


def pushed(operator, day, change):
    """Push what a view computed otherwise would give: the same event time, other values."""
    rows = [
        fpb.FeatureRow(
            entities={"driver": f"d{driver}"},
            values=change(driver, driver + day * 0.5, driver / 10.0 + day),
            event_time_us=FIRST_US + day * DAY_US,
        )
        for driver in range(1, DRIVERS)
    ]
    operator.features.WriteFeatures(fpb.WriteFeaturesRequest(feature_view="featureViews/driver", rows=rows))


def test_a_view_that_is_computed_otherwise_online_is_found_feature_by_feature(skewed):
    start_us = go_to(skewed, 8.2)
    pushed(skewed, 8, lambda driver, trips, _rating: {"trips": trips + (driver % 5 == 0)})
    ask_all(skewed)
    trips, rating, surge = (one for view in replay(skewed, start_us).views for one in view.features)
    assert (trips.compared_calls, trips.mismatched_calls) == (19, 3)
    assert (rating.compared_calls, rating.mismatched_calls) == (19, 12 + 1), "a null here is a skew of its own"
    assert (surge.mismatched_calls, surge.smape) == (0, 0.0)


def test_another_unit_is_found_with_its_factor(skewed):
    start_us = go_to(skewed, 10.2)
    pushed(
        skewed,
        10,
        lambda driver, trips, rating: {"trips": trips * 1000} | ({"rating": rating} if driver % 3 else {}),
    )
    ask_all(skewed)
    found = replay(skewed, start_us)
    [finding] = found.findings
    assert finding == (
        "driver.trips: the values of 19 of 19 calls are not those of the recomputation "
        f"(SMAPE {SMAPE_OF_1000:.3g}; all by the factor 1000, as another unit gives)"
    )
    assert found.views[0].features[0].ratio == pytest.approx(1000)
    go_to(skewed, 12.2)
    assert len(replay(skewed, start_us).findings) == 1, "what was served is what is compared, not what is stored now"


def test_nothing_served_where_something_was_known_and_the_reverse_are_told_apart(skewed):
    start_us = go_to(skewed, 14.0)
    rows = [fpb.FeatureRow(entities={"driver": "d0"}, values={"trips": 3.0, "rating": 1.0}, event_time_us=start_us)]
    rows += [fpb.FeatureRow(entities={"driver": "d4"}, deleted=True, event_time_us=start_us + 1)]
    go_to(skewed, 15.5)
    rows[1].event_time_us = FIRST_US + 15 * DAY_US + 1
    skewed.features.WriteFeatures(fpb.WriteFeaturesRequest(feature_view="featureViews/driver", rows=rows))
    start_us = go_to(skewed, 15.6, materialize=False)
    ask_all(skewed)
    driver = replay(skewed, start_us).views[0]
    assert (driver.missing_calls, driver.extra_calls, driver.late_calls) == (1, 1, 0)


def test_a_gate_asks_for_a_replay_without_skew(skewed, onnx_bytes, refusal):
    facts = registry_service_pb2.VersionFacts(feature_set="ride")
    skewed.publish_file("ride", onnx_bytes(2.0), facts=facts)
    gates = [gate_pb2.Gate(kind="skew", settings_json=json.dumps({"calls_min": 10}))]
    model = registry_service_pb2.Model(name="models/ride", gates=gates)
    skewed.registry.UpdateModel(registry_service_pb2.UpdateModelRequest(model=model, update_mask={"paths": ["gates"]}))
    status = skewed.registry.GetGateStatus(gate_pb2.GetGateStatusRequest(name="models/ride/versions/2"))
    [verdict] = [one for one in status.now if one.gate == "skew"]
    assert not verdict.passed
    assert "its features are skewed: driver" in verdict.sentence
    _, reason, _ = refusal(
        skewed.registry.PromoteVersion,
        registry_service_pb2.PromoteVersionRequest(name="models/ride/versions/2"),
    )
    assert reason == "GATES_NOT_PASSED"


def test_what_cannot_be_replayed_is_refused_with_a_reason(skewed, onnx_bytes):
    skewed.publish_file("plain", onnx_bytes(1.0))
    for changes, wanted in (
        ({"version": "models/plain/versions/1"}, "FIELD_INVALID"),
        ({"version": "models/ride/versions/99"}, "VERSION_NOT_FOUND"),
        ({"version": "ride"}, "REQUEST_MALFORMED"),
        ({"version": "models/ride/versions/1", "lag_us": -1}, "REQUEST_MALFORMED"),
        ({"version": "models/ride/versions/1", "tolerance": np.nan}, "REQUEST_MALFORMED"),
        ({"version": "models/ride/versions/1", "calls_max": 10**6}, "REQUEST_MALFORMED"),
    ):
        with pytest.raises(TurnoutError) as refused:
            skewed.features.ReplaySkew(fpb.ReplaySkewRequest(**changes))
        assert refused.value.reason == wanted


def profile(operator, name, origin=fpb.PROFILE_ORIGIN_UNSPECIFIED, **bounds):
    request = fpb.ProfileFeaturesRequest(name=name, origin=origin, **bounds)
    answer = operator.features.ProfileFeatures(request, timeout=60)
    return answer, {one.name: one for one in answer.columns}


def test_what_was_served_is_profiled_as_it_was_served(skewed):
    start_us = go_to(skewed, 20.1)
    ask_all(skewed)
    answer, columns = profile(skewed, "models/ride/versions/1", start_us=start_us)
    assert (answer.rows, answer.start_us, answer.origin) == (DRIVERS, start_us, fpb.PROFILE_ORIGIN_SERVING)
    assert [*columns] == ["driver.trips", "request.hour", "driver.rating", "city.surge", "output:score"]
    assert columns["request.hour"].mean == pytest.approx(7 + (DRIVERS - 1) / 2)
    assert columns["driver.rating"].nulls == len(range(0, DRIVERS, 3))
    assert {one.value: one.rows for one in columns["city.surge"].top} == {1.5: DRIVERS}
    statuses = {one.feature_view: dict(one.calls) for one in answer.statuses}
    assert statuses["featureViews/city"] == {"PRESENT": DRIVERS}
    assert sum(statuses["featureViews/driver"].values()) == DRIVERS
    assert json.loads(answer.profile_json)["rows"] == DRIVERS


def test_the_online_and_the_offline_values_of_a_view_are_profiled(skewed):
    go_to(skewed, 25.1)
    online, now = profile(skewed, "featureViews/driver")
    assert (online.rows, online.origin) == (DRIVERS, fpb.PROFILE_ORIGIN_ONLINE)
    assert now["driver.trips"].quantiles[0] == 25 / 2
    assert sum(now["driver.trips"].histogram) == pytest.approx(1)
    start_us = FIRST_US + 3 * DAY_US
    offline, then = profile(
        skewed, "featureViews/driver", fpb.PROFILE_ORIGIN_OFFLINE, start_us=start_us, end_us=start_us + 2 * DAY_US
    )
    assert (offline.rows, offline.start_us, offline.end_us) == (2 * (DRIVERS - 1), start_us, start_us + DAY_US)
    assert then["driver.trips"].mean == pytest.approx((DRIVERS / 2) + 3.5 * 0.5)


def test_a_profile_is_shown_with_its_columns(skewed):
    go_to(skewed, 26.1)
    turnout = Path(sys.executable).with_name("turnout")
    command = [turnout, "features", "profile", "driver", "--of", "online", "--server", skewed.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "driver.trips" in done.stdout
    assert "█" in done.stdout


def test_what_cannot_be_profiled_is_refused_with_a_reason(skewed):
    for name, origin, wanted in (
        ("models/ride/versions/1", fpb.PROFILE_ORIGIN_TRAINING, "FIELD_INVALID"),
        ("models/ride/versions/1", fpb.PROFILE_ORIGIN_ONLINE, "REQUEST_MALFORMED"),
        ("models/ride/versions/99", fpb.PROFILE_ORIGIN_SERVING, "VERSION_NOT_FOUND"),
        ("featureViews/driver", fpb.PROFILE_ORIGIN_SERVING, "REQUEST_MALFORMED"),
        ("featureViews/nobody", fpb.PROFILE_ORIGIN_ONLINE, "FEATURE_VIEW_MISSING"),
        ("driver", fpb.PROFILE_ORIGIN_ONLINE, "REQUEST_MALFORMED"),
    ):
        with pytest.raises(TurnoutError) as refused:
            profile(skewed, name, origin)
        assert refused.value.reason == wanted


def test_rows_that_are_too_old_are_no_skew_whether_they_are_served_or_their_defaults(skewed, onnx_bytes):
    facts = registry_service_pb2.VersionFacts(feature_set="ride-kept")
    skewed.publish_file("kept", onnx_bytes(1.0), alias="champion", facts=facts)
    skewed.wait()
    go_to(skewed, 30.1)
    start_us = go_to(skewed, 75.0, materialize=False)
    for model, status in (("ride", pb.VIEW_STATUS_STALE), ("kept", pb.VIEW_STATUS_STALE_SERVED)):
        answer = ask_all(skewed, model)
        assert next(one.status for one in answer.feature_status if one.view == "driver") == status
        found = replay(skewed, start_us, model=model, lag_us=DAY_US)
        assert list(found.findings) == []
        assert found.views[0].compared_calls == DRIVERS
        assert [(one.rows, one.equal_rows) for one in found.outputs] == [(DRIVERS, DRIVERS)]
