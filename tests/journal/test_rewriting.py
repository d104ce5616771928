from __future__ import annotations

import random

import duckdb
import pyarrow.parquet as pq
import pytest

from gateway.control.erasing import Erasures
from gateway.journal.columns import SCHEMA_KEY, SCHEMA_NUMBER
from gateway.journal.commits import EventFolders
from gateway.journal.compact import compact
from gateway.journal.log import EventLog
from gateway.journal.record import Outcome, Prediction, encode
from gateway.journal.rewriting import Rewriter, Subject
from gateway.journal.tail import EventTail
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

_DAY_US = 86_400_000_000


class Stopped(Exception):  # noqa: N818  (a stop on purpose)
    """The process died here."""


def _prediction(number, *, day=0):
    return Prediction(
        request_id=f"r{number}",
        time_us=day * _DAY_US + number,
        event_time_us=number,
        model="delay",
        version=1,
        unit_id=f"u{number % 7}",
        entities={"carrier": f"c{number % 3}"},
    )


def _outcome(number, *, day=0, **fields):
    return Outcome(
        request_id=f"r{number}", name="late", value=1.0, event_time_us=number, time_us=day * _DAY_US + number, **fields
    )


@pytest.fixture
def folders(tmp_path):
    return EventFolders(tmp_path)


@pytest.fixture
def write(folders):
    """Write records to a sealed segment, and compact it."""

    def write(*records, name="w"):
        writer = JournalWriter(folders.journal, name=name, clock=SystemClock())
        writer.append([encode(record) for record in records])
        writer.close()
        assert compact(folders).failed == {}

    return write


def _seen(log):
    with log.snapshot() as connection:
        predictions = connection.execute("SELECT request_id FROM all_predictions ORDER BY 1").fetchall()
        outcomes = connection.execute("SELECT request_id, value FROM all_outcomes ORDER BY 1").fetchall()
        joined = connection.execute("SELECT request_id FROM joined ORDER BY 1").fetchall()
    return predictions, outcomes, joined


def _files(folders, kind="predictions"):
    return sorted(path for path in (folders.events / kind).rglob("*.parquet"))


def _fill(write, segments=10, each=20):
    for segment in range(segments):
        numbers = range(segment * each, (segment + 1) * each)
        write(*[_prediction(number) for number in numbers], *[_outcome(number) for number in numbers])


def test_small_parts_become_one_and_no_event_changes(folders, write):
    _fill(write)
    log = EventLog(folders.state)
    before, tail = _seen(log), EventTail(log)
    first = tail.newest(1000)
    assert Rewriter(folders).merge(parts_min=3) == 20
    rewriter = Rewriter(folders)
    rewriter.sweep()
    assert (len(_files(folders)), len(_files(folders, "outcomes"))) == (1, 1)
    assert _seen(log) == _seen(EventLog(folders.state)) == before
    assert len(first) == 400
    assert tail.poll() == []
    assert len(EventTail(log).newest(1000)) == 400
    write(_prediction(5000))
    assert [event.row["request_id"] for event in tail.poll()] == ["r5000"]


def test_a_follower_gets_what_was_merged_before_it_looked(folders, write):
    log = EventLog(folders.state)
    tail = EventTail(log)
    assert tail.newest(10) == []
    _fill(write)
    Rewriter(folders).merge(parts_min=3)
    Rewriter(folders).sweep()
    assert len(tail.poll()) == 400


@pytest.mark.parametrize("step", ["part", "rewritten", "swept"])
@pytest.mark.parametrize("work", ["merge", "retire", "erase"])
def test_a_rewrite_that_stops_anywhere_shows_each_event_once_and_is_finished_later(folders, write, step, work):
    _fill(write, segments=4)
    log = EventLog(folders.state)
    before = _seen(log)

    def stop(reached):
        if reached == step:
            raise Stopped

    def do(rewriter):
        if work == "merge":
            rewriter.merge(parts_min=2)
        elif work == "retire":
            rewriter.retire({"predictions": 1}, 10 * _DAY_US)
        else:
            rewriter.erase(Subject(unit_id="u3"))
        rewriter.sweep()

    stopped = False
    try:
        do(Rewriter(folders, after=stop))
    except Stopped:
        stopped = True
    assert stopped or (work, step) == ("retire", "part")
    between = _seen(log)
    assert _seen(EventLog(folders.state)) == between
    do(Rewriter(folders))
    after = _seen(log)
    assert between in (before, after)
    kept = {
        "merge": lambda _number: True,
        "retire": lambda _number: False,
        "erase": lambda number: number % 7 != 3,
    }[work]
    assert after[0] == sorted((f"r{number}",) for number in range(80) if kept(number))
    with log.reading() as files:
        named = set(files.parts.present)
    there = [path for kind in ("predictions", "outcomes") for path in _files(folders, kind)]
    assert {str(path.relative_to(folders.events)) for path in there} == named


def test_what_a_reader_reads_stays_until_it_is_done(folders, write):
    _fill(write)
    log = EventLog(folders.state)
    with log.snapshot() as connection:
        Rewriter(folders).merge(parts_min=3)
        assert Rewriter(folders).sweep() == 0
        assert connection.execute("SELECT count(*) FROM predictions").fetchone() == (200,)
    assert Rewriter(folders).sweep() == 20


def test_old_days_go_by_kind(folders, write):
    write(_prediction(1, day=1), _prediction(2, day=5), _outcome(1, day=1), _outcome(2, day=5))
    assert Rewriter(folders).retire({"predictions": 3, "outcomes": 0}, 6 * _DAY_US) == 1
    Rewriter(folders).sweep()
    predictions, outcomes, joined = _seen(EventLog(folders.state))
    assert (predictions, outcomes, joined) == ([("r2",)], [("r1", 1.0), ("r2", 1.0)], [("r2",)])


@pytest.mark.parametrize(
    ("subject", "gone"),
    [
        (Subject(unit_id="u3"), lambda number: number % 7 == 3),
        (Subject(key="carrier", value="c1"), lambda number: number % 3 == 1),
        (Subject(unit_id="u3", until_us=50), lambda number: number % 7 == 3 and number <= 50),
        (Subject(unit_id="nobody"), lambda _number: False),
    ],
)
def test_nothing_of_who_is_erased_is_left_and_all_of_the_others(folders, write, subject, gone):
    _fill(write)
    write(Outcome(unit_id="u3", name="x", value=2.0, event_time_us=999, outcome_id="o", time_us=10))
    would = Rewriter(folders).erase(subject, dry_run=True)
    assert len(_seen(EventLog(folders.state))[0]) == 200
    done = Rewriter(folders).erase(subject)
    assert done == would
    Rewriter(folders).sweep()
    predictions, outcomes, _ = _seen(EventLog(folders.state))
    left = sorted((f"r{number}",) for number in range(200) if not gone(number))
    assert predictions == left
    assert [row for row in outcomes if row[0]] == [(name, 1.0) for (name,) in left]
    assert bool([row for row in outcomes if not row[0]]) == (subject.unit_id != "u3")
    assert done.predictions == 200 - len(left)


def test_an_erasure_waits_for_the_segments_that_are_still_written(folders, write):
    write(_prediction(3))
    writer = JournalWriter(folders.journal, name="live", clock=SystemClock())
    writer.append([encode(_prediction(10)), encode(_prediction(11))])
    erasures = Erasures(folders)
    erasures.ask(Subject(unit_id="u3"))
    erasures.erase(Rewriter(folders))
    assert len(erasures.pending()) == 1
    assert [row[0] for row in _seen(EventLog(folders.state))[0]] == ["r10", "r11"]
    writer.close()
    compact(folders)
    erasures.erase(Rewriter(folders))
    assert erasures.pending() == []
    assert [row[0] for row in _seen(EventLog(folders.state))[0]] == ["r11"]


def test_rewrites_in_any_order_between_writes_lose_nothing(folders, write):
    chance = random.Random(8)  # noqa: S311  (seeded on purpose)
    log, sent = EventLog(folders.state), []
    for step in range(25):
        numbers = range(step * 10, step * 10 + 10)
        write(*[_prediction(number) for number in numbers], *[_outcome(number) for number in numbers])
        sent += numbers
        if chance.random() < 0.6:
            Rewriter(folders).merge(parts_min=chance.choice([2, 3, 5]))
        if chance.random() < 0.5:
            Rewriter(folders).sweep()
        expected = sorted((f"r{number}",) for number in sent)
        assert _seen(log)[0] == _seen(log)[2] == expected


def test_the_files_are_plain_parquet_for_others_and_tell_their_schema(folders, write):
    _fill(write, segments=3)
    Rewriter(folders).merge(parts_min=2)
    Rewriter(folders).sweep()
    write(_prediction(900))
    pattern = str(folders.events / "predictions" / "*" / "*" / "*.parquet")
    rows = duckdb.sql(f"SELECT count(*), min(day)::VARCHAR, min(model) FROM read_parquet('{pattern}')").fetchall()
    assert rows[0] == (61, "1970-01-01", "delay")
    for path in _files(folders):
        assert pq.read_schema(path).metadata[SCHEMA_KEY] == str(SCHEMA_NUMBER).encode()
    table = pq.read_table(folders.events / "predictions", partitioning=None)
    assert table.num_rows == 61
