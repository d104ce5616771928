"""The feature service over gRPC: a real server, a stub, real files."""

from __future__ import annotations

import math
import threading
import time
from concurrent import futures
from datetime import datetime

import grpc
import pyarrow as pa
import pytest
from google.rpc import error_details_pb2, status_pb2

from features import records
from features.store import open_store
from gateway.control.features import FeatureControl
from gateway.control.materializing import Materializing
from gateway.control.refreshing import Refresher
from gateway.rpc.feature_service import FeatureService
from storage.database import open_database
from storage.leases import acquire, database_now_us, release
from turnout.features.v1 import feature_service_pb2 as pb
from turnout.features.v1 import feature_service_pb2_grpc as pb_grpc

DAY_US = 86_400_000_000
T0_US = 1_356_998_400_000_000  # 2013-01-01

TOML = """
[[source]]
name = "flights"
kind = "parquet"
path = "flights.parquet"

[[view]]
name = "carrier"
join_keys = ["carrier"]
sql = "carrier.sql"
ttl = "2d"
description = "Lateness of a carrier."
owner = "ops"
tags = ["late", "air", "late"]
[[view.features]]
name = "late_rate"
default = 0.2
type = "float"
[[view.features]]
name = "flights"
type = "int"

[[set]]
name = "flight-delay"
features = ["request.hour", "carrier.late_rate", "request.wind"]
[[set.request]]
name = "wind"
default = 3.0
"""
SQL = "SELECT carrier, event_time, created_time, late AS late_rate, n AS flights FROM flights;\n"
FLIGHTS = """
    SELECT * FROM (VALUES
        ('UA', TIMESTAMP '2013-01-01 10:00', TIMESTAMP '2013-01-01 11:00', 0.5, 10),
        ('UA', TIMESTAMP '2013-01-02 10:00', TIMESTAMP '2013-01-02 11:00', 0.75, 20),
        ('B6', TIMESTAMP '2013-01-01 09:00', TIMESTAMP '2013-01-01 09:00', NULL, 5)
    ) AS t(carrier, event_time, created_time, late, n)
"""


class StandingClock:
    """A clock that a test sets."""

    def __init__(self, now_us):
        self.time_us = now_us

    def now_us(self):
        return self.time_us


@pytest.fixture
def clock():
    return StandingClock(T0_US + 2 * DAY_US)


@pytest.fixture
def database(database_url):
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path):
    opened = open_store(f"lmdb://{tmp_path}/online", writable=True)
    yield opened
    opened.close()


@pytest.fixture
def bound_sets():
    return []


@pytest.fixture
def stub(database, store, clock, limits, bound_sets):
    control = FeatureControl(database=database, clock=clock, store=store, limits=limits)
    materializing = Materializing(
        database=database, clock=clock, store=store, limits=limits, bound_sets=lambda _tx: bound_sets
    )
    server = grpc.server(futures.ThreadPoolExecutor(4))
    pb_grpc.add_FeatureServiceServicer_to_server(FeatureService(control, materializing, None, None), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.FeatureServiceStub(channel)
    server.stop(None).wait(10)


@pytest.fixture
def apply(stub, tmp_path, write_source):
    write_source("flights", FLIGHTS)

    def call(toml=TOML, sql=SQL, *, dry_run=False):
        files = [pb.DefinitionFile(path="d/f.toml", text=toml), pb.DefinitionFile(path="d/carrier.sql", text=sql)]
        return stub.ApplyFeatures(pb.ApplyFeaturesRequest(files=files, base_dir=str(tmp_path), dry_run=dry_run))

    return call


def actions(response):
    return {change.name: change.action for change in response.changes}


def reason_of(error):
    trailing = dict(error.trailing_metadata())
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(trailing["grpc-status-details-bin"]).details[0].Unpack(info)
    return info.reason


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ('stale_up_to = "soon"', "stale_up_to is like '12h', not 'soon'"),
        ('refuse = ["broken"]', "refuse takes missing, stale, unavailable"),
        ('refuse = "missing"', "Expected `array`"),
    ],
)
def test_a_policy_that_is_none_is_refused(apply, policy, said):
    with pytest.raises(grpc.RpcError) as caught:
        apply(TOML.replace('name = "flight-delay"', f'name = "flight-delay"\n{policy}'))
    assert said in caught.value.details()


def test_a_policy_changes_a_set_and_not_its_digest(apply, stub):
    apply()
    [before] = stub.ListFeatureSets(pb.ListFeatureSetsRequest()).feature_sets
    policy = 'name = "flight-delay"\nstale_up_to = "2h"\nrefuse = ["stale", "unavailable"]'
    assert actions(apply(TOML.replace('name = "flight-delay"', policy)))["featureSets/flight-delay"] == "update"
    [after] = stub.ListFeatureSets(pb.ListFeatureSetsRequest()).feature_sets
    assert (after.stale_up_to_us, list(after.refuse)) == (7_200_000_000, ["stale", "unavailable"])
    assert (after.digest, before.stale_up_to_us, list(before.refuse)) == (before.digest, 0, [])


def test_applying_says_what_it_did_and_again_does_nothing(apply, stub, database):
    everything = {"featureSources/flights", "featureViews/carrier", "featureSets/flight-delay"}
    planned = apply(dry_run=True)
    assert actions(planned) == dict.fromkeys(everything, "create")
    assert planned.revision == 0
    assert not stub.ListFeatureViews(pb.ListFeatureViewsRequest()).feature_views
    first = apply()
    assert actions(first) == dict.fromkeys(everything, "create")
    assert first.revision == 1
    again = apply()
    assert actions(again) == dict.fromkeys(everything, "unchanged")
    assert again.revision == 0
    [view] = stub.ListFeatureViews(pb.ListFeatureViewsRequest()).feature_views
    assert (view.name, list(view.join_keys), view.ttl_us) == ("featureViews/carrier", ["carrier"], 2 * DAY_US)
    assert [feature.name for feature in view.features] == ["late_rate", "flights"]
    assert view.features[0].default_value == 0.2
    assert math.isnan(view.features[1].default_value)
    assert view.materialized_until_us == 0
    assert (view.owner, list(view.tags)) == ("ops", ["air", "late"])
    assert [feature.type for feature in view.features] == ["float", "int"]
    [feature_set] = stub.ListFeatureSets(pb.ListFeatureSetsRequest()).feature_sets
    assert list(feature_set.features) == ["request.hour", "carrier.late_rate", "request.wind"]
    with database.read() as tx:
        document = records.plan_document_for(tx, "flight-delay")
        assert document["digest"] == feature_set.digest
        assert records.feature_count(tx, "flight-delay") == 3


def test_a_changed_view_changes_its_sets_and_the_old_definitions_stay(apply, database):
    old = {change.name: change.digest for change in apply().changes}
    changed = apply(sql=SQL.replace("late AS", "late * 2 AS"))
    assert actions(changed) == {
        "featureSources/flights": "unchanged",
        "featureViews/carrier": "update",
        "featureSets/flight-delay": "update",
    }
    with database.read() as tx:
        before = records.plan_document_for(tx, "flight-delay", old["featureSets/flight-delay"])
        after = records.plan_document_for(tx, "flight-delay")
    assert (before["views"][0]["schema_id"], after["views"][0]["schema_id"]) == (1, 2)
    assert actions(apply())["featureViews/carrier"] == "update"  # back again: the layout keeps its number
    with database.read() as tx:
        assert records.plan_document_for(tx, "flight-delay") == before


def test_words_and_defaults_leave_the_stored_values_alone(apply, stub, database):
    digest = {change.name: change.digest for change in apply().changes}["featureViews/carrier"]
    stub.Materialize(pb.MaterializeRequest())
    words = apply(TOML.replace("Lateness of", "How late is").replace('"ops"', '"air"'))
    assert actions(words)["featureViews/carrier"] == "update"
    assert {change.digest for change in words.changes if change.name == "featureViews/carrier"} == {digest}
    apply(TOML.replace("0.2", "0.3"))
    with database.read() as tx:
        assert records.plan_document_for(tx, "flight-delay")["views"][0]["schema_id"] == 1
    assert stub.Materialize(pb.MaterializeRequest()).views[0].entities_written == 0


@pytest.mark.parametrize(
    ("toml", "sql", "reason"),
    [
        (TOML + "\n[[view]]\nname = 'x'", SQL, "FEATURE_DEFINITION_INVALID"),
        (TOML.replace('ttl = "2d"', 'ttl = "2 days"'), SQL, "FEATURE_DEFINITION_INVALID"),
        (TOML.replace('kind = "parquet"', 'kind = "table"'), SQL, "FEATURE_DEFINITION_INVALID"),
        (TOML.replace("carrier.late_rate", "carrier.early_rate"), SQL, "FEATURE_DEFINITION_INVALID"),
        (TOML.replace("carrier.late_rate", "route.late_rate"), SQL, "FEATURE_DEFINITION_INVALID"),
        (TOML.replace('"wind"', '"rain"'), SQL, "FEATURE_DEFINITION_INVALID"),
        (TOML.replace('description = "Late', 'colour = "Late'), SQL, "FEATURE_DEFINITION_INVALID"),
        (TOML.replace('"late", "air"', '"", "air"'), SQL, "FEATURE_DEFINITION_INVALID"),
        (TOML.replace('type = "int"', 'type = "text"'), SQL, "FEATURE_DEFINITION_INVALID"),
        (TOML.replace('type = "int"', 'type = "bool"'), SQL, "FEATURE_SQL_INVALID"),
        (TOML.replace("carrier.sql", "other.sql"), SQL, "FEATURE_DEFINITION_INVALID"),
        (TOML.replace("flights.parquet", "nothing.parquet"), SQL, "FEATURE_SOURCE_UNREADABLE"),
        (TOML, "SELECT carrier FROM flights", "FEATURE_SQL_INVALID"),
        (TOML, "SELECT 1; " + SQL, "FEATURE_SQL_INVALID"),
        (TOML, "COPY (SELECT 1) TO 'flights.parquet'", "FEATURE_SQL_INVALID"),
        (TOML, SQL.replace("late AS", "carrier AS"), "FEATURE_SQL_INVALID"),
        (TOML, SQL.replace("event_time,", "late AS event_time,"), "FEATURE_SQL_INVALID"),
        (TOML, SQL.replace("FROM flights", "FROM flights WHERE event_time > $begin"), "FEATURE_SQL_INVALID"),
        (TOML, SQL.replace("FROM flights", "FROM flights, read_text('/etc/passwd')"), "FEATURE_SQL_INVALID"),
        (TOML, SQL.replace("FROM flights", "FROM flights, '/etc/passwd'"), "FEATURE_SQL_INVALID"),
    ],
)
def test_a_definition_that_cannot_work_is_refused_whole(apply, stub, toml, sql, reason):
    with pytest.raises(grpc.RpcError) as refused:
        apply(toml, sql)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(refused.value) == reason
    assert not stub.ListFeatureViews(pb.ListFeatureViewsRequest()).feature_views


def test_a_view_cannot_lose_a_feature_that_a_set_takes(apply):
    apply()
    only_views = TOML[: TOML.index("[[set]]")].replace('name = "late_rate"', 'name = "other"')
    with pytest.raises(grpc.RpcError) as refused:
        apply(only_views, SQL.replace("late_rate", "other"))
    assert reason_of(refused.value) == "FEATURE_DEFINITION_INVALID"


def read(stub, **entities):
    return [
        (value.feature, value.value, value.status, value.age_ms if value.HasField("age_ms") else None)
        for value in stub.ReadFeatures(
            pb.ReadFeaturesRequest(feature_set="featureSets/flight-delay", entities=entities)
        ).values
    ]


def test_materializing_brings_the_store_up_to_a_time_and_reading_says_how_old_it_is(apply, stub, clock):
    apply()
    early = stub.Materialize(pb.MaterializeRequest(until_us=T0_US + 10 * 3_600_000_000))
    assert [(one.name, one.entities_written) for one in early.views] == [("featureViews/carrier", 1)]
    clock.time_us = T0_US + 12 * 3_600_000_000
    assert read(stub, carrier="UA")[1] == ("carrier.late_rate", 0.2, "MISSING", None)  # not known before 11:00
    assert read(stub, carrier="B6")[1] == ("carrier.late_rate", 0.2, "NULL", 3 * 3_600_000)
    assert [one.entities_written for one in stub.Materialize(pb.MaterializeRequest()).views] == [1]
    assert read(stub, carrier="UA")[1] == ("carrier.late_rate", 0.5, "PRESENT", 2 * 3_600_000)
    assert read(stub, carrier="UA")[2][:3] == ("request.wind", 3.0, "MISSING")
    clock.time_us = T0_US + 2 * DAY_US
    [done] = stub.Materialize(pb.MaterializeRequest(feature_views=["featureViews/carrier"])).views
    assert (done.entities_written, done.until_us) == (1, clock.time_us)
    assert [one.entities_written for one in stub.Materialize(pb.MaterializeRequest()).views] == [0]
    assert read(stub, carrier="UA")[1] == ("carrier.late_rate", 0.75, "PRESENT", 14 * 3_600_000)
    clock.time_us = T0_US + 4 * DAY_US
    assert read(stub, carrier="UA")[1] == ("carrier.late_rate", 0.2, "STALE", (48 + 14) * 3_600_000)
    [view] = stub.ListFeatureViews(pb.ListFeatureViewsRequest()).feature_views
    assert view.materialized_until_us == T0_US + 2 * DAY_US


def test_an_older_definition_is_materialized_while_a_version_is_bound_to_it(apply, stub, store, bound_sets):
    old = {change.name: change.digest for change in apply().changes}["featureSets/flight-delay"]
    apply(sql=SQL.replace("late AS", "late * 2 AS"))
    bound_sets.append(("flight-delay", old))
    assert [one.entities_written for one in stub.Materialize(pb.MaterializeRequest()).views] == [4]
    assert read(stub, carrier="UA")[1][1] == 1.5
    assert len([blob for blob in store.get_many([b"f1:carrier:1:{UA}", b"f1:carrier:2:{UA}"]) if blob]) == 2


def test_unknown_names_are_not_found(apply, stub):
    apply()
    for call in (
        lambda: stub.Materialize(pb.MaterializeRequest(feature_views=["featureViews/none"])),
        lambda: stub.ReadFeatures(pb.ReadFeaturesRequest(feature_set="featureSets/none")),
        lambda: list(stub.GetTrainingData(pb.GetTrainingDataRequest(feature_set="featureSets/none"))),
    ):
        with pytest.raises(grpc.RpcError) as missing:
            call()
        assert missing.value.code() == grpc.StatusCode.NOT_FOUND


def training(stub, label_sql, **bounds):
    request = pb.GetTrainingDataRequest(feature_set="featureSets/flight-delay", label_sql=label_sql, **bounds)
    messages = list(stub.GetTrainingData(request))
    assert [bool(message.fingerprint) for message in messages] == [False] * (len(messages) - 1) + [True]
    assert max(len(message.chunk) for message in messages) <= 1024 * 1024
    table = pa.ipc.open_stream(b"".join(message.chunk for message in messages)).read_all()
    return table, messages[-1].fingerprint


LABELS = """
    SELECT carrier, event_time + INTERVAL 90 MINUTE AS event_time, 1 AS label, hour(event_time) AS hour, 'x' AS note
    FROM flights ORDER BY event_time
"""


def test_training_data_streams_with_its_fingerprint_last(apply, stub):
    apply()
    table, fingerprint = training(stub, LABELS)
    assert table.column_names == [
        *("carrier", "event_time", "label", "hour", "note"),
        *("request.hour", "carrier.late_rate", "request.wind"),
    ]
    assert table.column("carrier").to_pylist() == ["B6", "UA", "UA"]
    assert table.column("carrier.late_rate").to_pylist() == [0.2, 0.5, 0.75]
    assert table.column("request.hour").to_pylist() == [9.0, 10.0, 10.0]
    assert table.column("request.wind").to_pylist() == [3.0] * 3
    other_order, same = training(stub, LABELS + " DESC")
    assert other_order.column("carrier").to_pylist() == ["UA", "UA", "B6"]
    assert same.split()[0] == fingerprint.split()[0] == f"table:{fingerprint.split()[0][6:]}"
    assert same.split()[1].startswith("query:")
    assert same.split()[1] != fingerprint.split()[1]
    assert fingerprint.split()[2] == "as-of:2013-01-03T00:00:00.000000Z"
    assert training(stub, LABELS)[1] == fingerprint
    _, different = training(stub, LABELS.replace("'x'", "'y'"))
    assert different.split()[0] != fingerprint.split()[0]
    bounded, _ = training(stub, LABELS, start_us=T0_US + 11 * 3_600_000_000, end_us=T0_US + 2 * DAY_US)
    assert bounded.column("event_time").to_pylist() == [datetime(2013, 1, 1, 11, 30), datetime(2013, 1, 2, 11, 30)]  # noqa: DTZ001
    empty, _ = training(stub, LABELS, start_us=T0_US + 9 * DAY_US)
    assert empty.num_rows == 0


def test_a_large_training_table_comes_in_bounded_parts(apply, stub):
    apply()
    sql = (
        "SELECT 'UA' AS carrier, TIMESTAMP '2013-01-02' + to_seconds(range) AS event_time, range AS label, 1 AS hour, "
        "repeat('x', 200) AS pad FROM range(40000)"
    )
    table, _ = training(stub, sql)
    assert table.num_rows == 40_000
    assert table.column("label").to_pylist() == list(range(40_000))


@pytest.mark.parametrize(
    ("label_sql", "code"),
    [
        ("SELECT 1", grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("SELEC", grpc.StatusCode.INVALID_ARGUMENT),
        ("DROP TABLE flights", grpc.StatusCode.INVALID_ARGUMENT),
        ("SELECT carrier, event_time, 1 AS label FROM flights", grpc.StatusCode.INVALID_ARGUMENT),
        ("SELECT carrier, late AS event_time, 1 AS label, 1 AS hour FROM flights", grpc.StatusCode.INVALID_ARGUMENT),
        ("SELECT carrier, event_time, 1 AS label, 'ten' AS hour FROM flights", grpc.StatusCode.INVALID_ARGUMENT),
        ("SELECT *, 1 AS label, 1 AS hour FROM flights, '/etc/passwd'", grpc.StatusCode.INVALID_ARGUMENT),
        ("SELECT *, 1 AS label, 1 AS hour FROM flights) UNION (SELECT 1", grpc.StatusCode.INVALID_ARGUMENT),
        (
            "SELECT f.*, 1 AS label, 1 AS hour, repeat('x', 10000000) AS p FROM flights f, range(100000) ORDER BY p",
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        ),
    ],
)
def test_label_sql_that_cannot_be_run_is_refused(apply, stub, label_sql, code):
    apply()
    with pytest.raises(grpc.RpcError) as refused:
        training(stub, label_sql)
    assert refused.value.code() == code, refused.value.details()


def test_lists_come_in_pages(apply, stub):
    views = [
        TOML[TOML.index("[[view]]") : TOML.index("[[set]]")].replace('"carrier"\n', f'"v{i}"\n', 1) for i in range(3)
    ]
    apply(TOML + "".join(views))
    names, token = [], ""
    while True:
        page = stub.ListFeatureViews(pb.ListFeatureViewsRequest(page_size=2, page_token=token))
        assert len(page.feature_views) <= 2
        names += [view.name for view in page.feature_views]
        token = page.next_page_token
        if not token:
            break
    assert names == ["featureViews/carrier", "featureViews/v0", "featureViews/v1", "featureViews/v2"]


def test_marks_tell_what_is_stale_from_what_is_missing(apply, stub):
    apply()
    labels = """
        SELECT carrier, make_timestamp(us) AS event_time, 0 AS label, 1 AS hour FROM (VALUES
            ('UA', 1357124400000000), ('UA', 1357120800000000 + 2 * 86400000000),
            ('UA', 1357120800000001 + 2 * 86400000000),
            ('UA', 1357034400000000), ('XX', 1357124400000000)) AS t(carrier, us)
    """
    table, _ = training(stub, labels, marks=True)
    assert table.column_names[-2:] == ["carrier@status", "carrier@age_us"]
    assert table.column("carrier@status").to_pylist() == ["PRESENT", "PRESENT", "STALE", "MISSING", "MISSING"]
    assert table.column("carrier@age_us").to_pylist() == [3_600_000_000, 2 * DAY_US, 2 * DAY_US + 1, None, None]
    assert table.column("carrier.late_rate").to_pylist() == [0.75, 0.75, 0.2, 0.2, 0.2]


@pytest.mark.parametrize("hours", [9, 11, 12, 35, 36, 90])
def test_reading_as_of_is_reading_a_store_that_was_materialized_then(apply, stub, clock, hours):
    apply()
    moment = T0_US + hours * 3_600_000_000
    clock.time_us = T0_US + 9 * DAY_US
    then = [
        stub.ReadFeatures(
            pb.ReadFeaturesRequest(feature_set="featureSets/flight-delay", entities=entities, as_of_us=moment)
        )
        for entities in ({"carrier": "UA"}, {"carrier": "B6"}, {"carrier": "no'; --"}, {})
    ]
    clock.time_us = moment
    stub.Materialize(pb.MaterializeRequest())
    now = [
        stub.ReadFeatures(pb.ReadFeaturesRequest(feature_set="featureSets/flight-delay", entities=entities))
        for entities in ({"carrier": "UA"}, {"carrier": "B6"}, {"carrier": "no'; --"}, {})
    ]
    assert [str(one) for one in then] == [str(one) for one in now]  # as text, since NaN is not itself


def late_rate(stub, **entities):
    values = stub.ReadFeatures(pb.ReadFeaturesRequest(feature_set="featureSets/flight-delay", entities=entities)).values
    [late] = [one for one in values if one.feature == "carrier.late_rate"]
    return late.value, late.status


def push(stub, *rows):
    return stub.WriteFeatures(pb.WriteFeaturesRequest(feature_view="featureViews/carrier", rows=rows)).rows_written


def row(carrier, values=None, **fields):
    return pb.FeatureRow(entities={"carrier": carrier}, values=values or {}, **fields)


def test_a_pushed_value_is_served_at_once_and_only_over_older_ones(apply, stub):
    apply()
    stub.Materialize(pb.MaterializeRequest())
    assert late_rate(stub, carrier="UA") == (0.75, "PRESENT")
    assert push(stub, row("UA", {"late_rate": 0.9}), row("ZZ", {"flights": 3.0})) == 2
    assert late_rate(stub, carrier="UA") == (0.9, "PRESENT")
    assert late_rate(stub, carrier="ZZ") == (0.2, "NULL")  # null: its default
    assert push(stub, row("UA", {"late_rate": 0.1}, event_time_us=T0_US)) == 0
    assert late_rate(stub, carrier="UA") == (0.9, "PRESENT")
    assert push(stub, row("UA", deleted=True)) == 1
    assert late_rate(stub, carrier="UA") == (0.2, "MISSING")
    assert push(stub, row("UA", {"late_rate": 0.3}, event_time_us=T0_US)) == 0  # earlier values stay out
    assert push(stub) == 0


@pytest.mark.parametrize(
    "bad",
    [
        pb.FeatureRow(entities={"airport": "JFK"}, values={"late_rate": 1.0}),
        row("UA", {"nothing": 1.0}),
        row("UA", {"late_rate": 1.0}, deleted=True),
        row("UA", {"late_rate": 1.0}, event_time_us=T0_US + 3 * DAY_US),
    ],
)
def test_a_row_that_is_none_of_the_view_is_refused_with_all_others(apply, stub, bad):
    apply()
    with pytest.raises(grpc.RpcError) as refused:
        push(stub, row("UA", {"late_rate": 0.4}), bad)
    assert reason_of(refused.value) == "FEATURE_ROW_INVALID"
    assert late_rate(stub, carrier="UA") == (0.2, "MISSING")


def test_a_deleted_row_of_a_source_ends_a_value_online_and_in_training(apply, stub, clock, write_source):
    apply(sql=SQL.replace("late AS", "late IS NULL AS deleted, late AS"))
    clock.time_us = T0_US + DAY_US
    stub.Materialize(pb.MaterializeRequest())
    assert late_rate(stub, carrier="B6") == (0.2, "MISSING")
    assert late_rate(stub, carrier="UA") == (0.5, "PRESENT")
    as_of = pb.ReadFeaturesRequest(
        feature_set="featureSets/flight-delay", entities={"carrier": "B6"}, as_of_us=clock.time_us
    )
    assert {one.status for one in stub.ReadFeatures(as_of).values} == {"MISSING"}
    write_source("flights", FLIGHTS.replace("NULL, 5", "0.6, 5"))  # mended, but known no later
    stub.Materialize(pb.MaterializeRequest(until_us=clock.time_us + 1))
    assert late_rate(stub, carrier="B6") == (0.2, "MISSING")
    stub.Materialize(pb.MaterializeRequest(until_us=clock.time_us + 2, since_us=T0_US))
    assert late_rate(stub, carrier="B6") == (0.6, "PRESENT")


def test_a_view_that_is_due_is_refreshed_by_one_gateway_and_said_to_be(
    apply,
    stub,
    clock,
    database,
    store,
    limits,
):
    apply(toml=TOML.replace('ttl = "2d"', 'ttl = "2d"\nrefresh = "1h"'))
    [state] = stub.GetMaterialization(pb.GetMaterializationRequest()).views
    assert (state.state, state.HasField("until_us"), state.due_us) == ("IDLE", False, 0)
    materializing = Materializing(database=database, clock=clock, store=store, limits=limits)
    refresher = Refresher(materializing, database=database, clock=clock)
    never = threading.Event()
    with database.write() as tx:
        lease = {"name": "features.materialize.carrier", "holder": "another", "duration_us": 60_000_000}
        held = acquire(tx, **lease, now_us=database_now_us(tx))
    assert not refresher.refresh("carrier", never)
    assert late_rate(stub, carrier="UA")[1] == "MISSING"
    with database.write() as tx:
        release(tx, held)
    stop = threading.Event()
    thread = threading.Thread(target=refresher.run, args=(stop,))
    thread.start()
    until = time.monotonic() + 60
    while late_rate(stub, carrier="UA")[1] == "MISSING" and time.monotonic() < until:
        time.sleep(0.05)
    stop.set()
    thread.join(30)
    assert late_rate(stub, carrier="UA") == (0.75, "PRESENT")
    [state] = materializing.states([])
    assert (state.until_us, state.run.state, state.run.entities_written) == (clock.time_us, "IDLE", 2)
    assert 0 <= state.due_us - clock.time_us - 3_600_000_000 < 60_000_000


def test_a_run_that_fails_says_why(apply, stub, tmp_path):
    apply()
    (tmp_path / "flights.parquet").write_bytes(b"no more")
    with pytest.raises(grpc.RpcError):
        stub.Materialize(pb.MaterializeRequest())
    [state] = stub.GetMaterialization(pb.GetMaterializationRequest(feature_views=["featureViews/carrier"])).views
    assert state.state == "FAILED"
    assert "flights" in state.error
