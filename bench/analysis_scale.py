"""What an analysis costs by the number of events: `python bench/analysis_scale.py [--json FILE] [MILLIONS ...]`.

For each size it writes so many predictions and as many outcomes as Parquet, by the compactor's own writer and markers;
then, each in a process of its own, it judges an experiment with two metrics: first with nothing kept, then with what
the first one kept, then after 100 000 more events of any of the units. It prints the seconds and the most memory that
each took.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from experiments.definition import Experiment, State, Variant
from experiments.metric import Direction, Metric, MetricKind, Role
from experiments.plan import Plan
from gateway.control.reducing.reducer import Reducer
from gateway.journal.columns import SCHEMA_NUMBER, SCHEMAS
from gateway.journal.commits import Commit, EventFolders, Part, write_commit
from gateway.journal.compact import write_part
from gateway.journal.log import EventLog

DAYS = 30
DAY_US = 86_400_000_000
START_US = 20_000 * DAY_US
NOW_US = START_US + (DAYS + 2) * DAY_US
PREDICTIONS_A_UNIT = 5
NEW_EVENTS = 100_000
QUERY_BYTES_MAX = 1_000_000_000


def experiment() -> Experiment:
    """Return what is judged: a success metric over outcomes and a guardrail over latencies."""
    return Experiment(
        id="trial",
        model="delay",
        variants=(Variant("control", 1, 0.5, control=True), Variant("treatment", 2, 0.5)),
        metrics=(
            Metric("lateness", MetricKind.MEAN, "late", Direction.DECREASE, Role.SUCCESS),
            Metric("latency", MetricKind.LATENCY, "", Direction.DECREASE, Role.GUARDRAIL),
        ),
        plan=Plan(),
        coverage=1.0,
        seed="s",
        alpha=0.05,
        minimum_units=100,
        state=State.RUNNING,
        started_us=START_US,
    )


def write_day(folders: EventFolders, day: int, first: int, count: int, units: int) -> None:
    """Write a day's predictions and outcomes, the latter half of them about the day before's."""
    chance = np.random.default_rng(day * 1_000_003 + first)
    unit = chance.integers(0, units, count)
    number = np.arange(first, first + count)
    time_us = START_US + day * DAY_US + np.sort(chance.integers(0, DAY_US, count))
    identity = [f"{when:016x}-{each:08x}" for when, each in zip(time_us.tolist(), number.tolist(), strict=True)]
    arms = np.array(["control", "treatment"])[unit % 2].tolist()
    segment = f"bench.{int(time_us[0]):016d}.{first & 0xFFFFFFFF:08x}"
    constant: dict[str, object] = {
        "model": "delay", "digest": "0" * 64, "experiment": "trial", "epoch": 1, "propensity": 0.5, "feature_set": "",
        "status": 0, "reason": "", "fallback": False, "segment": segment, "label": "", "sequence": 0,
        "name": "late", "outcome_id": "", "run_us": 80, "run_rows": 1, "others_us": 0,
    }  # fmt: skip
    given: dict[str, object] = {
        "request_id": identity,
        "time_us": time_us,
        "event_time_us": time_us,
        "version": unit % 2 + 1,
        "variant": arms,
        "unit_id": [f"unit-{each:09d}" for each in unit.tolist()],
        "latency_us": chance.integers(100, 900, count),
        "position": np.arange(count) * 100,
        "view_status": pa.array([[1, 1]] * count, pa.list_(pa.uint8())),
        "view_age_ms": pa.array([[1000, 2000]] * count, pa.list_(pa.int64())),
    }
    outcomes = given | {
        "unit_id": [""] * count,
        "value": chance.normal(10, 3, count),
        "time_us": time_us + 3_600_000_000,
        "event_time_us": time_us + 3_600_000_000,
        "position": np.arange(count) * 100 + 50,
    }
    iso = np.datetime64(int(time_us[0]), "us").astype("datetime64[D]")
    parts = []
    for kind, columns, folder in (
        ("predictions", given, f"predictions/day={iso}/model=delay"),
        ("outcomes", outcomes | {"model": [""] * count}, f"outcomes/day={iso}"),
    ):
        path = folders.events / folder / f"part-{segment}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_part(path, _table(kind, columns, constant, count))
        parts.append(Part(kind, str(path.relative_to(folders.events)), count))
    write_commit(folders, Commit(segment, SCHEMA_NUMBER, 2 * count, int(time_us[0]), int(time_us[-1]), tuple(parts)))


def _table(kind: str, given: dict[str, object], constant: dict[str, object], count: int) -> pa.Table:
    arrays = []
    for field in SCHEMAS[kind]:
        if field.name in given:
            arrays.append(pa.array(given[field.name], field.type))
        elif field.name in constant:
            arrays.append(pa.repeat(pa.scalar(constant[field.name], field.type), count))
        else:
            arrays.append(pa.array([[]] * count, field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[kind])


def judge(state: Path) -> dict[str, float]:
    """Reduce the events once and return what it took."""
    started, used = time.perf_counter(), time.process_time()
    evidence = Reducer(EventLog(state, query_bytes_max=QUERY_BYTES_MAX)).evidence(experiment(), now_us=NOW_US)
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - used,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "predictions": sum(each.predictions for each in evidence.counts),
        "outcomes": evidence.outcomes_analyzed,
    }


def _judged(state: Path) -> dict[str, float]:
    """Judge in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--judge", str(state)], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure each size and print a line for each analysis."""
    if sys.argv[1:2] == ["--judge"]:
        sys.stdout.write(json.dumps(judge(Path(sys.argv[2]))))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, default=Path(os.devnull))
    parser.add_argument("millions", nargs="*", type=float, default=[1.0, 3.0, 10.0])
    asked = parser.parse_args()
    os.nice(10)
    for millions in asked.millions:
        state = Path(tempfile.mkdtemp(prefix="turnout-scale-"))
        try:
            folders = EventFolders(state)
            folders.journal.mkdir()
            total = int(millions * 1e6)
            units = max(1, total // PREDICTIONS_A_UNIT)
            for day in range(DAYS):
                write_day(folders, day, day * (total // DAYS), total // DAYS, units)
            sizes = sum(path.stat().st_size for path in folders.events.rglob("*.parquet")) / 1e6
            sys.stdout.write(f"{millions:g} million predictions and outcomes, {units} units, {sizes:.0f} MB\n")
            for what in ("first", "again", "new"):
                if what == "new":
                    write_day(folders, DAYS, total, NEW_EVENTS // 2, units)
                found = _judged(state)
                with asked.json.open("a") as file:
                    file.write(json.dumps({"millions": millions, "analysis": what} | found) + "\n")
                sys.stdout.write(f"  {what:6} {_row(found)}\n")
                sys.stdout.flush()
        finally:
            shutil.rmtree(state)


def _row(found: dict[str, float]) -> str:
    return (
        f"{found['seconds']:7.2f} s {found['cpu']:7.2f} s CPU {found['peak_mb']:7.0f} MB"
        f" {found['predictions']:10.0f} predictions {found['outcomes']:10.0f} outcomes"
    )


if __name__ == "__main__":
    main()
