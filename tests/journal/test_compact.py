from __future__ import annotations

import contextlib
import fcntl
import os
import random

import pyarrow.parquet as pq
import pytest

from gateway.journal.commits import Commits, EventFolders
from gateway.journal.compact import compact
from gateway.journal.errors import CompactorBusyError
from gateway.journal.log import EventLog
from gateway.journal.record import Outcome, Prediction, encode
from gateway.journal.segment import HEADER, OPEN, SEALED, frame, list_segments, new_name
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

_DAY_US = 86_400_000_000


class StoppedError(Exception):
    """The process stops here."""


def _prediction(number: int, *, time_us: int = 0, model: str = "delay") -> bytes:
    return encode(Prediction(request_id=str(number), time_us=time_us, event_time_us=0, model=model, version=1))


def _outcome(number: int, *, time_us: int = 0) -> bytes:
    return encode(Outcome(request_id=str(number), name="late", value=1.0, event_time_us=0, time_us=time_us))


@pytest.fixture
def folders(tmp_path):
    return EventFolders(tmp_path)


def _write(folders, *payloads, name="worker-0"):
    writer = JournalWriter(folders.journal, name=name, clock=SystemClock())
    writer.append(payloads)
    writer.close()


def _seen(folders):
    with EventLog(folders.state).snapshot() as connection:
        predictions = connection.execute("SELECT request_id FROM all_predictions ORDER BY ALL").fetchall()
        outcomes = connection.execute("SELECT request_id FROM all_outcomes ORDER BY ALL").fetchall()
    return [number for (number,) in predictions], [number for (number,) in outcomes]


def test_parts_are_partitioned_by_day_and_model(folders):
    _write(
        folders,
        _prediction(1, time_us=0),
        _prediction(2, time_us=_DAY_US, model="a/b"),
        _prediction(3, time_us=_DAY_US - 1),
        _outcome(1, time_us=_DAY_US),
    )
    (segment,) = list_segments(folders.journal)
    done = compact(folders)
    assert (done.committed, done.records, done.failed) == ((segment.name,), 4, {})
    parts = sorted(str(path.relative_to(folders.events)) for path in folders.events.rglob("*.parquet"))
    assert parts == [
        f"outcomes/day=1970-01-02/part-{segment.name}.parquet",
        f"predictions/day=1970-01-01/model=delay/part-{segment.name}.parquet",
        f"predictions/day=1970-01-02/model=a%2Fb/part-{segment.name}.parquet",
    ]
    table = pq.ParquetFile(folders.events / parts[1]).read()
    assert table["request_id"].to_pylist() == ["1", "3"]
    commit = Commits(folders).refresh()[segment.name]
    assert (commit.records, commit.first_time_us, commit.last_time_us) == (4, 0, _DAY_US)


@pytest.mark.parametrize("steps", range(6))
def test_a_compaction_that_stops_anywhere_is_finished_by_the_next_and_every_event_is_seen_once(folders, steps):
    _write(folders, _prediction(1), _prediction(2, time_us=_DAY_US), _outcome(1))
    left = [steps]

    def stop(_step: str) -> None:
        if not left[0]:
            raise StoppedError
        left[0] -= 1

    with pytest.raises(StoppedError):
        compact(folders, after=stop)
    assert _seen(folders) == (["1", "2"], ["1"])
    assert compact(folders).failed == {}
    assert _seen(folders) == (["1", "2"], ["1"])
    assert list_segments(folders.journal) == []
    assert len(list(folders.events.rglob("*.parquet"))) == 3
    assert not list(folders.events.rglob("*.tmp"))


@pytest.mark.parametrize(
    "damaged",
    [
        HEADER + frame([_prediction(1), _prediction(2)])[:-1],
        HEADER + frame([_prediction(1)]) + bytes(40),
        HEADER + frame([_prediction(1), b"\x63of a newer release"]),
    ],
)
def test_a_segment_that_cannot_be_compacted_stays_readable_and_holds_up_no_other(folders, damaged):
    folders.journal.mkdir()
    bad = folders.journal / (new_name("worker-9") + SEALED)
    bad.write_bytes(damaged)
    _write(folders, _prediction(7), name="worker-a")
    _write(folders, _prediction(8), name="worker-z")
    for _ in range(2):
        done = compact(folders)
        assert list(done.failed) == [bad.stem]
        assert bad.read_bytes() == damaged
        assert _seen(folders) == (["1", "7", "8"], [])
    assert len(Commits(folders).refresh()) == 2


def test_a_folder_in_the_way_of_a_part_is_reported_and_loses_nothing(folders):
    _write(folders, _prediction(1))
    folders.events.mkdir()
    (folders.events / "predictions").write_text("in the way")
    assert len(compact(folders).failed) == 1
    assert _seen(folders) == (["1"], [])
    (folders.events / "predictions").unlink()
    assert compact(folders).failed == {}
    assert _seen(folders) == (["1"], [])


def test_a_full_disk_stops_compaction_without_losing_or_littering(small_disk):
    folders = EventFolders(small_disk)
    noise = random.Random(5)  # noqa: S311  (seeded on purpose)
    payloads = [
        encode(
            Prediction(
                request_id=str(number),
                time_us=0,
                event_time_us=0,
                model="delay",
                version=1,
                features=noise.randbytes(800),
            )
        )
        for number in range(300)
    ]
    _write(folders, *payloads)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, ballast.stat().st_size - 60_000)
    assert len(compact(folders).failed) == 1
    assert len(_seen(folders)[0]) == 300
    assert not list(folders.events.rglob("*.tmp"))
    ballast.unlink()
    assert compact(folders).failed == {}
    assert len(_seen(folders)[0]) == 300


def test_the_segment_of_a_dead_writer_is_compacted_and_that_of_a_live_one_is_not(folders):
    writer = JournalWriter(folders.journal, name="alive", clock=SystemClock())
    writer.append([_prediction(1)])
    (folders.journal / (new_name("dead") + OPEN)).write_bytes(HEADER + frame([_prediction(2)]) + b"torn")
    done = compact(folders)
    assert [(sealed.records, sealed.cut_bytes) for sealed in done.sealed] == [(1, 4)]
    assert done.records == 1
    assert [segment.writer for segment in list_segments(folders.journal)] == ["alive"]
    writer.append([_prediction(3)])
    writer.close()
    assert _seen(folders) == (["1", "2", "3"], [])


def test_two_compactors_do_not_run_at_once(folders):
    compact(folders)
    with (folders.events / "compactor.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CompactorBusyError):
            compact(folders)
    assert compact(folders).failed == {}


def test_polars_reads_the_files_as_they_lie(folders):
    polars = pytest.importorskip("polars", reason="Polars is not installed; it is in no extra")
    _write(
        folders,
        *(_prediction(number, time_us=number * _DAY_US // 2, model="a/b") for number in range(4)),
        *(_outcome(number) for number in range(3)),
    )
    compact(folders)
    predictions = polars.scan_parquet(folders.events / "predictions" / "**" / "*.parquet", hive_partitioning=True)
    found = predictions.group_by("day", "model").agg(polars.col("request_id").sort()).sort("day").collect()
    assert found["request_id"].to_list() == [["0", "1"], ["2", "3"]]
    assert set(found["model"]) == {"a/b"}
    outcomes = polars.read_parquet(folders.events / "outcomes" / "**" / "*.parquet")
    assert sorted(outcomes["request_id"]) == ["0", "1", "2"]
    assert outcomes["value"].sum() == 3.0
