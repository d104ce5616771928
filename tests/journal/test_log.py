from __future__ import annotations

import random

import numpy as np
import pytest

from gateway.journal.commits import EventFolders
from gateway.journal.compact import compact
from gateway.journal.log import EventLog
from gateway.journal.record import Gap, Outcome, Output, Prediction, encode
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

_HOUR_US = 3_600_000_000
_FEATURES = np.array([1.5, np.nan, -3.0]).tobytes()


def _prediction(request_id, *, model="delay", unit="", event=0, time=0, **fields):
    return Prediction(
        request_id=request_id, time_us=time, event_time_us=event, model=model, version=1, unit_id=unit, **fields
    )


def _outcome(*, request="", unit="", model="", name="late", value=1.0, event=0, outcome_id="", time=0):
    return Outcome(
        request_id=request,
        unit_id=unit,
        model=model,
        name=name,
        value=value,
        event_time_us=event,
        outcome_id=outcome_id,
        time_us=time,
    )


@pytest.fixture
def write(tmp_path):
    """Write records to a segment of their own, sealed unless said otherwise."""
    writers = []

    def write(*records, sealed=True):
        writer = JournalWriter(tmp_path / "journal", name=f"w{len(writers)}", clock=SystemClock())
        writer.append([encode(record) for record in records])
        writers.append(writer)
        if sealed:
            writer.close()
        return writer

    yield write
    for writer in writers:
        writer.close()


def _rows(log, query):
    with log.snapshot() as connection:
        return connection.execute(query).fetchall()


def _everywhere(tmp_path, check):
    """Run the check over live records and again over Parquet."""
    check(EventLog(tmp_path))
    assert compact(EventFolders(tmp_path)).failed == {}
    assert not list((tmp_path / "journal").iterdir())
    check(EventLog(tmp_path))


def test_a_log_of_nothing_is_empty(tmp_path):
    log = EventLog(tmp_path)
    assert _rows(log, "SELECT * FROM predictions UNION ALL SELECT * FROM predictions") == []
    assert _rows(log, "SELECT * FROM joined") == []
    counts = log.counts()
    assert (counts.predictions, counts.outcomes, counts.lost_predictions, counts.records) == (0, 0, 0, 0)


def test_every_field_is_read_back_live_and_from_parquet(tmp_path, write):
    write(
        Prediction(
            request_id="r1",
            time_us=10,
            event_time_us=9,
            model="delay/../x",
            version=3,
            digest="ab",
            experiment="canary",
            variant="new",
            epoch=2,
            propensity=0.25,
            unit_id="u",
            entities={"carrier": "UA", "route": "EWR-ORD"},
            attributes={"tier": "gold"},
            feature_set="set",
            features=_FEATURES,
            view_status=b"\x01\x03",
            view_age_ms=[5, -1],
            outputs=[
                Output("label", "int64", (1,), np.array([7]).tobytes()),
                Output("probabilities", "float32", (1, 2), np.array([0.25, 0.75], np.float32).tobytes()),
                Output("words", "string", (1,), b"\x01\0\0\0x"),
            ],
            latency_us=123,
            status=0,
            reason="",
            fallback=True,
            run_us=45,
            run_rows=6,
            others_us=7,
        ),
        _prediction("r2", status=13, reason="RUN_FAILED"),
    )

    def check(log):
        with log.snapshot() as connection:
            relation = connection.sql("SELECT * EXCLUDE (segment, position) FROM predictions ORDER BY ALL")
            table = relation.to_arrow_table()
        row, failed = table.to_pylist(maps_as_pydicts="strict")
        features = row.pop("features")
        assert features[0] == 1.5
        assert np.isnan(features[1])
        assert row == {
            "request_id": "r1",
            "time_us": 10,
            "event_time_us": 9,
            "model": "delay/../x",
            "version": 3,
            "digest": "ab",
            "experiment": "canary",
            "variant": "new",
            "epoch": 2,
            "propensity": 0.25,
            "unit_id": "u",
            "entities": {"carrier": "UA", "route": "EWR-ORD"},
            "attributes": {"tier": "gold"},
            "feature_set": "set",
            "view_status": [1, 3],
            "view_age_ms": [5, -1],
            "outputs": {"label": [7.0], "probabilities": [0.25, 0.75]},
            "outputs_omitted": ["words"],
            "latency_us": 123,
            "status": 0,
            "reason": "",
            "fallback": True,
            "run_us": 45,
            "run_rows": 6,
            "others_us": 7,
        }
        assert (failed["status"], failed["reason"], failed["outputs"], failed["features"]) == (13, "RUN_FAILED", {}, [])

    _everywhere(tmp_path, check)


# A segment with one prediction, as it was written before records had the times of runs.
OLD_SEGMENT = bytes.fromhex(
    "895455524e4a4e4c01000000c4d24af3630000000f96145801dc0016a66265666f7265cf00060a24181e4000cf00060a24181e4000a564656c617903"
    "a26162a663616e617279a36e657702cb3fd0000000000000a1758080a0c400c400909194a170a7666c6f61743332920102c4080000803e0000403f7b"
    "00a0c3"
)


def test_a_segment_of_before_the_times_of_runs_is_read_with_zeros(tmp_path, write):
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "worker-0.1795523388533434.91e353c6.sealed").write_bytes(OLD_SEGMENT)
    write(_prediction("now", run_us=45, run_rows=6, others_us=7))

    def check(log):
        query = "SELECT request_id, latency_us, fallback, run_us, run_rows, others_us FROM predictions ORDER BY 1"
        assert _rows(log, query) == [("before", 123, True, 0, 0, 0), ("now", 0, False, 45, 6, 7)]

    _everywhere(tmp_path, check)


def test_the_first_record_of_an_identity_counts_wherever_it_stands(tmp_path, write):
    write(_prediction("a", time=20, reason="second"))
    write(_prediction("a", time=10, reason="first"), _prediction("a", time=10, reason="third"))
    write(_outcome(request="a", value=2.0, time=6), _outcome(request="a", value=1.0, time=5))
    write(_outcome(request="a", name="other", value=3.0, time=7), _outcome(request="a", outcome_id="x", time=8))

    def check(log):
        assert _rows(log, "SELECT reason FROM predictions") == [("first",)]
        assert _rows(log, "SELECT name, value FROM outcomes ORDER BY ALL") == [
            ("late", 1.0),
            ("late", 1.0),
            ("other", 3.0),
        ]
        counts = log.counts()
        assert (counts.predictions, counts.outcomes, counts.joined_outcomes, counts.records) == (1, 3, 3, 7)

    _everywhere(tmp_path, check)


def test_an_outcome_of_a_unit_goes_to_its_latest_earlier_prediction_within_the_window(tmp_path, write):
    write(
        _prediction("p1", unit="u", event=1 * _HOUR_US, time=1),
        _prediction("p2", unit="u", event=2 * _HOUR_US, time=2),
        _prediction("p3", unit="u", event=3 * _HOUR_US, time=3, model="fraud"),
        _prediction("tie-early", unit="t", event=_HOUR_US, time=4),
        _prediction("tie-late", unit="t", event=_HOUR_US, time=5),
        _prediction("unitless", event=_HOUR_US, time=6),
        _outcome(unit="u", event=2 * _HOUR_US - 1, outcome_id="before p2"),
        _outcome(unit="u", event=2 * _HOUR_US, outcome_id="at p2"),
        _outcome(unit="u", event=9 * _HOUR_US, outcome_id="any model"),
        _outcome(unit="u", event=9 * _HOUR_US, outcome_id="of delay", model="delay"),
        _outcome(unit="u", event=0, outcome_id="too early"),
        _outcome(unit="u", event=14 * _HOUR_US, outcome_id="too late"),
        _outcome(unit="u", event=9 * _HOUR_US, outcome_id="no such model", model="churn"),
        _outcome(unit="t", event=2 * _HOUR_US, outcome_id="tie"),
        _outcome(request="p1", unit="", event=99 * _HOUR_US, outcome_id="by request"),
        _outcome(request="nobody", event=2 * _HOUR_US, outcome_id="unknown request"),
    )

    def check(log):
        log = EventLog(tmp_path, attribution_window_us=10 * _HOUR_US)
        assert dict(_rows(log, "SELECT outcome_id, request_id FROM joined")) == {
            "before p2": "p1",
            "at p2": "p2",
            "any model": "p3",
            "of delay": "p2",
            "tie": "tie-late",
            "by request": "p1",
        }
        assert _rows(log, "SELECT unit_id, model FROM joined WHERE outcome_id = 'any model'") == [("u", "fraud")]
        of_delay = log.counts("delay")
        assert (of_delay.predictions, of_delay.outcomes, of_delay.joined_outcomes) == (5, 5, 5)
        assert log.counts("churn").outcomes == 1

    _everywhere(tmp_path, check)


def test_failed_and_lost_predictions_are_counted(tmp_path, write):
    write(_prediction("a"), _prediction("b", status=13), Gap(time_us=1, lost={"canary/new": 3, "": 4}))
    write(Gap(time_us=2, lost={"canary/new": 1}))

    def check(log):
        counts = log.counts()
        assert (counts.predictions, counts.failed_predictions, counts.lost_predictions, counts.records) == (2, 1, 8, 4)

    _everywhere(tmp_path, check)


def test_a_snapshot_stays_as_it_was_while_writing_and_compaction_go_on(tmp_path, write):
    writer = write(_prediction("a"), sealed=False)
    log = EventLog(tmp_path)
    with log.snapshot() as connection:
        writer.append([encode(_prediction("b"))])
        writer.seal()
        compact(EventFolders(tmp_path))
        assert connection.execute("SELECT count(*) FROM predictions").fetchall() == [(1,)]
        assert log.counts().predictions == 2
        assert connection.execute("SELECT count(*) FROM predictions").fetchall() == [(1,)]


def test_a_tail_that_its_writer_took_back_is_forgotten(tmp_path, write):
    write(_prediction("a"), _prediction("b"))
    (path,) = (tmp_path / "journal").iterdir()
    whole = path.read_bytes()
    size = len(encode(_prediction("b"))) + 8
    log = EventLog(tmp_path)
    assert log.counts().predictions == 2
    path.write_bytes(whole[:-size])
    assert _rows(log, "SELECT request_id FROM predictions") == [("a",)]


def test_a_tail_is_decoded_once_and_gives_what_a_fresh_reader_sees(tmp_path, write):
    writer = write(sealed=False)
    log = EventLog(tmp_path)
    seeded = random.Random(7)  # noqa: S311  (seeded on purpose)
    written = 0
    for _ in range(60):
        count = seeded.randint(0, 9)
        writer.append([encode(_prediction(f"{written + place}")) for place in range(count)])
        written += count
        assert log.counts().predictions == written
        if seeded.random() < 0.1:
            writer.seal()
    assert EventLog(tmp_path).counts().predictions == written
    assert all(len(tail.tables["predictions"]) < 10 for tail in log._tails._tails.values())


def test_more_than_fits_in_memory_is_put_aside_and_stays_readable(tmp_path, write):
    writer = write(sealed=False)
    log = EventLog(tmp_path, held_bytes_max=20_000)
    for wave in range(20):
        writer.append([encode(_prediction(f"{wave}-{place}", features=_FEATURES)) for place in range(50)])
        assert log.counts().predictions == (wave + 1) * 50
    tails = list(log._tails._tails.values())
    assert sum(tail.held_bytes for tail in tails) <= 20_000
    spills = [spill.path for tail in tails for spill in tail.spills]
    assert spills
    writer.seal()
    del tails
    with log.snapshot() as connection:
        compact(EventFolders(tmp_path))
        assert log.counts().predictions == 1000
        assert connection.execute("SELECT count(*) FROM predictions").fetchall() == [(1000,)]
    assert not any(path.exists() for path in spills)
