"""What is kept of a reduction changes no number: random events, looked at again and again, and once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from gateway.control.analysis import reduce_events
from gateway.control.compaction import Compactor
from gateway.control.reducing.reducer import Reducer
from gateway.journal.log import EventLog
from gateway.journal.rewriting import Subject
from storage.clock import SystemClock
from storage.crew import Alone

sys.path.insert(0, str(Path(__file__).parent))
from streams import HOUR_US, Stream, alike, measured


def look(events, reducer, experiment, now_us):
    """Look with what is kept and without, and return what was seen."""
    found = reducer.evidence(experiment, now_us=now_us)
    with events.snapshot() as connection:
        alike(found, reduce_events(connection, experiment, now_us=now_us))
    return found


def play(state, experiment, *, seed, looks):
    stream = Stream(state, seed)
    events = EventLog(state, attribution_window_us=10 * HOUR_US)
    reducer = Reducer(events, kept_rows_min=1, folded_rows_min=20)
    for _ in range(looks):
        stream.send(int(stream.chance.integers(1, 60)))
        if stream.chance.random() < 0.7:
            stream.tend()
        stream.send(int(stream.chance.integers(0, 5)))
        found = look(events, reducer, experiment, stream.now_us)
        stream.now_us += int(stream.chance.integers(0, 3)) * HOUR_US
    stream.writer.close()
    return found


@pytest.mark.parametrize("seed", [1, 3, 7, 10])
def test_what_is_kept_changes_no_number(tmp_path, make_experiment, seed, caplog):
    found = play(tmp_path, measured(make_experiment, seed), seed=seed, looks=5)
    assert "reduced anew" not in caplog.text
    assert sum(count.predictions for count in found.counts) > 10
    assert (tmp_path / "events" / "reductions" / "v1-against-v2" / "kept.json").exists()


def test_shares_of_the_units_come_to_what_all_of_them_do(tmp_path, make_experiment):
    experiment = measured(make_experiment, 0)
    stream = Stream(tmp_path, 11)
    events = EventLog(tmp_path, attribution_window_us=10 * HOUR_US)
    stream.send(300)
    stream.tend()
    stream.writer.close()
    whole = look(events, Reducer(events, kept_rows_min=1), experiment, stream.now_us)
    for shares in (2, 7):
        shutil.rmtree(tmp_path / "events" / "reductions")
        alike(
            whole,
            Reducer(events, kept_rows_min=1, crew=Alone(shares=shares)).evidence(experiment, now_us=stream.now_us),
        )
        kept = tmp_path / "events" / "reductions" / experiment.id
        assert sum(folder.is_dir() for folder in kept.iterdir()) == shares


def test_what_was_erased_is_kept_nowhere(tmp_path, make_experiment):
    experiment = measured(make_experiment, 0)
    stream = Stream(tmp_path, 12)
    events = EventLog(tmp_path)
    stream.send(100)
    stream.writer.close()
    compactor = Compactor(tmp_path, SystemClock())
    compactor.run_once()
    reducer = Reducer(events, kept_rows_min=1)
    look(events, reducer, experiment, stream.now_us)
    kept = tmp_path / "events" / "reductions" / experiment.id
    compactor.run_once()
    assert kept.exists()
    compactor.tend(lambda rewriter, _erasures: rewriter.erase(Subject(unit_id="u1")))
    assert not kept.exists()
    look(events, reducer, experiment, stream.now_us)


def test_what_cannot_be_kept_or_read_is_reduced_anew(tmp_path, make_experiment, caplog):
    experiment = measured(make_experiment, 0)
    stream = Stream(tmp_path, 13)
    events = EventLog(tmp_path)
    stream.send(100)
    stream.tend()
    stream.writer.close()
    reducer = Reducer(events, kept_rows_min=1)
    (tmp_path / "events" / "reductions").write_bytes(b"in the way")
    look(events, reducer, experiment, stream.now_us)
    assert "reduced anew" in caplog.text
    (tmp_path / "events" / "reductions").unlink()
    look(events, reducer, experiment, stream.now_us)
    for path in (tmp_path / "events" / "reductions" / experiment.id).glob("*/unit_values_0.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    look(events, reducer, experiment, stream.now_us)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_what_is_kept_changes_no_number_in_two_hundred_streams(tmp_path, make_experiment, caplog):
    for seed in range(1000, 1200):
        play(tmp_path / str(seed), measured(make_experiment, seed), seed=seed, looks=8)
        assert "reduced anew" not in caplog.text
        shutil.rmtree(tmp_path / str(seed))
