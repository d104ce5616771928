"""Measure Predict against floors of the same run.

`python bench/run.py [--json FILE] [--seconds S] [--rounds N] [--only NAME …]` (or `make bench ARGS=…`). Servers run on
the first core of this process's affinity, the load on the second; with one core they share it, and the report says so.
All servers stand ready at once and take turns, so that whatever else the machine does falls on all of them alike. Each
figure is the median of the rounds. Every answer of every run is checked: one that was not OK ends the benchmark.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from load import Measured, WrongAnswerError, generator, press
from model import FEATURES, TREES, write_model
from rig import CONCURRENCIES, MANY_CONCURRENCIES, Floor, Gateway, answers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Target

FLOORS = (
    "grpcio-echo",
    "aio-echo",
    "grpcio-predict",
    "transport-native-predict",
    "transport-grpcio-predict",
)
TRANSPORTS = ("grpcio", "native")
BASE = "grpcio-predict"
SINGLE_CALLS = 32
"""How many single calls in flight a few batches or streams are compared with."""
Runs = dict[tuple[str, int], list[Measured]]


@contextlib.contextmanager
def servers(folder: Path, only: list[str], core: int | None) -> Iterator[list[Target]]:
    """Start everything that is measured; stop it at the end."""
    model = folder / "model.onnx"
    write_model(model)
    with contextlib.ExitStack() as stack:
        targets = []
        for kind in FLOORS:
            if kind == BASE or wanted(kind, only):
                floor = Floor(kind, model, core)
                stack.callback(floor.stop)
                targets.append(floor.target)
        for transport in TRANSPORTS:
            if wanted(f"turnout-{transport}", only):
                gateway = Gateway(transport, folder / transport, core)
                stack.callback(gateway.stop)
                gateway.start()
                gateway.furnish(model)
                targets += [target for target in gateway.targets() if wanted(target.name, only)]
        yield targets


def wanted(name: str, only: list[str]) -> bool:
    """Return whether a name is among those asked for: a prefix either way is."""
    return not only or any(name.startswith(one) or one.startswith(name) for one in only)


def measure(target: Target, *, concurrency: int, seconds: float, core: int | None) -> Measured:
    """Return one run, with the server's CPU time and the mean wave, or raise WrongAnswerError."""
    gateway = target.gateway
    before = gateway.settled(gateway.answered) if gateway else {}
    cpu = target.cpu_us()
    measured = press(
        target.port, target.bodies, asked=target.asked, concurrency=concurrency, seconds=seconds, core=core
    )
    cpu = target.cpu_us() - cpu
    if gateway is None:
        return dataclasses.replace(measured, cpu_us_per_call=cpu / measured.all_calls)
    gateway.answered += measured.all_calls
    after = gateway.settled(gateway.answered)
    if after["ok"] != gateway.answered:
        raise WrongAnswerError(f"{target.name}: {gateway.answered} calls so far, {after['ok']} of them answered OK")
    wave = (after["calls"] - before["calls"]) / max(1.0, after["waves"] - before["waves"])
    return dataclasses.replace(measured, cpu_us_per_call=cpu / measured.all_calls, mean_wave=wave)


def summarize(runs: Runs) -> list[dict[str, object]]:
    """Return a row for each target and concurrency: medians, and ratios to the bare grpcio predict."""
    rows: list[dict[str, object]] = []
    for (name, concurrency), several in runs.items():
        middle = {
            field.name: statistics.median(values)
            for field in dataclasses.fields(Measured)
            if None not in (values := [getattr(one, field.name) for one in several])
        }
        rows.append({"target": name, **middle, "concurrency": concurrency})
    base = {row["concurrency"]: row for row in rows if row["target"] == BASE}
    for row in rows:
        floor = base.get(row["concurrency"], base[SINGLE_CALLS])
        row["rps_ratio"] = row["rps"] / floor["rps"]
        row["p50_ratio"] = row["p50_us"] / floor["p50_us"]
    return rows


def show(rows: list[dict[str, object]]) -> None:
    head = ("target", "c", "rps", "p50 ms", "p90 ms", "p99 ms", "CPU µs/call", "wave", "rps x", "p50 x")
    print(f"{head[0]:29}" + "".join(f"{name:>12}" for name in head[1:]))
    for row in sorted(rows, key=lambda row: row["concurrency"]):
        wave = f"{row['mean_wave']:.1f}" if "mean_wave" in row else "-"
        cells = [
            f"{row['concurrency']}",
            f"{row['rps']:.0f}",
            *(f"{row[name] / 1000:.2f}" for name in ("p50_us", "p90_us", "p99_us")),
            f"{row['cpu_us_per_call']:.1f}",
            wave,
            f"{row['rps_ratio']:.2f}",
            f"{row['p50_ratio']:.2f}",
        ]
        print(f"{row['target']:29}" + "".join(f"{cell:>12}" for cell in cells))


def compare_answers(targets: list[Target]) -> list[str]:
    """Return the scenarios whose answers are the same on both transports, byte for byte, or raise WrongAnswerError."""
    by_name = {target.name: target for target in targets}
    same = []
    for what in ("tensors", "features", "experiment"):
        both = [by_name.get(f"turnout-{transport}-{what}") for transport in TRANSPORTS]
        if None in both:
            continue
        first, second = (answers_of(target) for target in both)
        if first != second:
            raise WrongAnswerError(f"the transports answer `{what}` differently")
        same.append(what)
    return same


def check_journals(targets: list[Target]) -> dict[str, int]:
    """Return how many predictions each journal holds, or raise WrongAnswerError when one is missing or too many."""
    held = {}
    for gateway in {id(target.gateway): target.gateway for target in targets if target.gateway}.values():
        held[gateway.transport] = gateway.journalled()
        if held[gateway.transport] != gateway.answered:
            raise WrongAnswerError(f"{gateway.answered} answered, {held[gateway.transport]} in the journal")
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run (default 3)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which the median counts (default 3)")
    parser.add_argument("--only", nargs="*", default=[], help=f"beginnings of names; {BASE} is always there")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    server_core, load_core = cores[0], cores[-1]
    placement = f"server on core {server_core}, load on core {load_core}"
    print(
        f"{platform.machine()}, {len(cores)} cores, load average {os.getloadavg()[0]:.1f}; {placement}; {generator()}"
    )
    print(f"{TREES} trees over {FEATURES} features; one worker; every answer checked")
    folder = Path(tempfile.mkdtemp(prefix="turnout-bench-"))
    runs: Runs = {}
    try:
        with servers(folder, arguments.only, server_core) as targets:
            for round_ in range(arguments.rounds):
                for concurrency in sorted({*CONCURRENCIES, *MANY_CONCURRENCIES}):
                    for target in [one for one in targets if concurrency in one.concurrencies]:
                        one = measure(target, concurrency=concurrency, seconds=arguments.seconds, core=load_core)
                        runs.setdefault((target.name, concurrency), []).append(one)
                        print(f"  {round_ + 1} {target.name} c={concurrency} {one.rps:.0f} rps", file=sys.stderr)
            held = check_journals(targets)
            same = compare_answers(targets)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = summarize(runs)
    show(rows)
    print(f"the same answers on both transports: {', '.join(same) or 'not compared'}; journalled: {held}")
    if arguments.json:
        facts = {"placement": placement, "generator": generator(), "seconds": arguments.seconds, "journalled": held}
        facts |= {"rounds": arguments.rounds, "load_average": os.getloadavg(), "same_answers": same, "rows": rows}
        arguments.json.write_text(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
