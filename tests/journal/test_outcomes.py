from __future__ import annotations

import math
import random
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.journal import columns
from gateway.journal.commits import Commit, EventFolders, Part, write_commit
from gateway.journal.compact import compact
from gateway.journal.log import EventLog
from gateway.journal.record import OUTCOME_KIND, Gap, Outcome, Prediction, decode, encode
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

_WINDOW_US = 1_000


@pytest.fixture
def write(tmp_path):
    def write(*payloads):
        writer = JournalWriter(tmp_path / "journal", name="w", clock=SystemClock())
        writer.append([each if isinstance(each, bytes) else encode(each) for each in payloads])
        writer.close()

    return write


def _log(tmp_path):
    return EventLog(tmp_path, attribution_window_us=_WINDOW_US)


def _values(log):
    with log.snapshot() as connection:
        return connection.execute("SELECT request_id, name, value, label FROM joined ORDER BY ALL").fetchall()


def _prediction(request_id, *, event=0, time=0, unit="", model="m", run_us=0):
    return Prediction(
        request_id=request_id, time_us=time, event_time_us=event, model=model, version=1, unit_id=unit, run_us=run_us
    )


def _outcome(**fields):
    return Outcome(**{"name": "late", "value": 1.0, "event_time_us": 1, "time_us": 1} | fields)


def test_the_highest_sequence_counts_whenever_it_came_and_all_are_kept(tmp_path, write):
    write(
        _prediction("r"),
        _outcome(request_id="r", value=2.0, sequence=1, time_us=10),
        _outcome(request_id="r", value=1.0, time_us=20),
        _outcome(request_id="r", value=9.0, sequence=1, time_us=30),  # repeats: the first of the sequence counts
    )
    log = _log(tmp_path)
    for _ in range(2):
        assert _values(log) == [("r", "late", 2.0, "")]
        counts = log.counts()
        assert (counts.outcomes, counts.joined_outcomes, counts.corrected_outcomes, counts.records) == (1, 1, 1, 4)
        compact(EventFolders(tmp_path))


def test_a_category_is_kept_and_is_no_number(tmp_path, write):
    write(_prediction("r"), _outcome(request_id="r", value=math.nan, label="fraud"))
    for _ in range(2):
        ((_, _, value, label),) = _values(_log(tmp_path))
        assert math.isnan(value)
        assert label == "fraud"
        compact(EventFolders(tmp_path))


@dataclass(frozen=True)
class Expected:
    joined: int
    early: int
    late: int
    orphan: int


def _expected(records):
    """What a reader who goes through all pairs finds."""
    predictions = [each for each in records if isinstance(each, Prediction)]
    joined = early = late = orphan = 0
    for each in records:
        if not isinstance(each, Outcome):
            continue
        if each.request_id:
            mine = [one for one in predictions if one.request_id == each.request_id]
        else:
            mine = [
                one
                for one in predictions
                if one.unit_id == each.unit_id
                and one.event_time_us <= each.event_time_us
                and each.model in {"", one.model}
            ]
        if not mine:
            orphan += 1
            continue
        own = max(mine, key=lambda one: (one.event_time_us, one.time_us, one.request_id))
        over = each.event_time_us - own.event_time_us > _WINDOW_US
        late += over
        kept = bool(each.request_id) or not over
        joined += kept
        early += kept and each.time_us < own.time_us
    return Expected(joined, early, late, orphan)


@pytest.mark.parametrize("seed", range(6))
def test_what_belongs_to_what_does_not_depend_on_the_order_of_arrival(tmp_path, seed):
    chance = random.Random(seed)  # noqa: S311  (seeded on purpose)
    records = []
    for number in range(60):
        event = chance.randrange(4000)
        unit = f"u{chance.randrange(8)}"
        model = chance.choice(["m", "n"])
        records.append(_prediction(f"r{number}", event=event, time=chance.randrange(9000), unit=unit, model=model))
    for number in range(120):
        fields = {
            "event_time_us": chance.randrange(6000),
            "time_us": chance.randrange(9000),
            "outcome_id": f"o{number}",
        }
        if chance.random() < 0.5:
            fields["request_id"] = f"r{chance.randrange(70)}"
        else:
            fields |= {"unit_id": f"u{chance.randrange(9)}", "model": chance.choice(["", "m", "n"])}
        records.append(_outcome(**fields))
    expected, found = _expected(records), []
    for arrival in range(2):
        state = tmp_path / str(arrival)
        chance.shuffle(records)
        for start in range(0, len(records), 60):
            writer = JournalWriter(state / "journal", name="w", clock=SystemClock())
            writer.append([encode(each) for each in records[start : start + 60]])
            writer.close()
            if chance.random() < 0.5:
                compact(EventFolders(state))
        log = _log(state)
        counts = log.counts()
        assert (
            Expected(counts.joined_outcomes, counts.early_outcomes, counts.late_outcomes, counts.orphan_outcomes)
            == expected
        )
        with log.snapshot() as connection:
            pairs = connection.execute("SELECT outcome_id, request_id FROM joined ORDER BY ALL").fetchall()
            (out_of_window,) = connection.execute(
                "SELECT count(*) FROM attributed WHERE NOT by_request AND event_time_us - asked_us > 1000"
            ).fetchone()
        assert counts.outcomes == counts.joined_outcomes + out_of_window + counts.orphan_outcomes == 120
        found.append(pairs)
    assert found[0] == found[1]
    assert expected.early > 0 < expected.late
    assert expected.orphan > 0


def test_records_of_the_release_before_and_of_a_later_one_are_read(tmp_path, write):
    fields = ["r", "", "", "late", 1.0, 5, "", 7]  # as the first release wrote an outcome
    pack = msgspec.msgpack.encode
    older = bytes([OUTCOME_KIND]) + pack(fields)
    newer = bytes([OUTCOME_KIND]) + pack(["r", "", "", "delay", 4.0, 5, "", 8, "", 3, "of a later release", 9])
    assert decode(older) == _outcome(request_id="r", event_time_us=5, time_us=7)
    assert decode(newer) == _outcome(request_id="r", name="delay", value=4.0, event_time_us=5, time_us=8, sequence=3)
    write(_prediction("r"), older, newer)
    for _ in range(2):
        assert _values(_log(tmp_path)) == [("r", "delay", 4.0, ""), ("r", "late", 1.0, "")]
        compact(EventFolders(tmp_path))


@pytest.mark.parametrize("schema", range(1, columns.SCHEMA_NUMBER + 2))
def test_parts_of_the_release_before_and_of_a_later_one_are_read_together(tmp_path, write, schema):
    write(_prediction("r", run_us=9), _outcome(request_id="r"), Gap(time_us=1, lost={"": 2}, models={"m": 2}))
    folders = EventFolders(tmp_path)
    compact(folders)
    for kind in ("predictions", "outcomes", "gaps"):
        (path,) = (folders.events / kind).rglob("*.parquet")
        table = pq.ParquetFile(path).read()
        table = table.drop_columns([name for name, (since, _) in columns.ADDED[kind].items() if since > schema])
        if schema > columns.SCHEMA_NUMBER:
            table = table.append_column("later", pa.array([1] * table.num_rows))
        if kind == "outcomes":
            index = table.column_names.index("name")
            table = table.set_column(index, "name", pa.array(["other"]))
        if kind == "predictions":
            table = table.set_column(0, "request_id", pa.array(["other"]))
        other = path.with_name("part-other.parquet")
        pq.write_table(table, other)
        segment = f"{kind}.0000000000000001.00000000"
        path_from_events = str(other.relative_to(folders.events))
        write_commit(folders, Commit(segment, schema, 1, 1, 1, (Part(kind, path_from_events, 1),)))
    log = _log(tmp_path)
    assert _values(log) == [("r", "late", 1.0, ""), ("r", "other", 1.0, "")]
    with log.snapshot() as connection:
        found = connection.execute("SELECT request_id, run_us FROM predictions ORDER BY 1").fetchall()
    assert found == [("other", 9 if schema >= columns.ADDED["predictions"]["run_us"][0] else 0), ("r", 9)]
    counts = log.counts("m")
    assert (log.counts().lost_predictions, counts.lost_predictions) == (4, 2 if schema == 1 else 4)


def test_a_gap_names_the_model(tmp_path):
    writer = JournalWriter(tmp_path / "journal", name="w", clock=SystemClock())
    writer.count_lost("canary/new", 3, model="delay")
    writer.count_lost("", 2, model="fraud")
    writer.close()
    log = _log(tmp_path)
    lost = {model: log.counts(model).lost_predictions for model in ("", "delay", "fraud", "other")}
    assert lost == {"": 5, "delay": 3, "fraud": 2, "other": 0}
