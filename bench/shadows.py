"""Does anybody notice a shadow?

`python bench/shadows.py [--transport native] [--seconds 2] [--rounds 5]` starts a gateway with one worker and a model
with features of the online store, and loads it as fast as 1, 32 and 128 calls in flight allow, by turns without a
shadow and with one that is to run every call again. It prints the latencies and throughput of the live calls in both,
how much the 99th percentile differs, and what became of the calls that the shadow was to run. Then it reads the
journal: each call has at most one pair, and each pair, the same version twice, has the same outputs bit by bit.

The server is pinned to the first core of this process's affinity, the load to the last: on one core a shadow could only
run in the live calls' own time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from load import generator, press
from model import MODEL, write_model
from rig import CONCURRENCIES, Gateway, probe_of

from gateway.journal.log import EventLog
from turnout.control import Control
from turnout.experiments.v1 import shadow_service_pb2 as pb
from turnout.registry.v1 import registry_service_pb2

if TYPE_CHECKING:
    from load import Measured
    from rig import Target

SHADOWED = f"{MODEL}-features"
NAME = f"models/{SHADOWED}/shadow"
SETTLED_S_MAX = 60.0


def switch(control: Control, *, on: bool) -> None:
    """Begin or end the shadow, and wait until the worker has done so."""
    if on:
        shadow = pb.Shadow(name=NAME, version=2, share=1.0)
        revision = control.shadows.SetShadow(pb.SetShadowRequest(shadow=shadow)).revision
    else:
        revision = control.shadows.RemoveShadow(pb.RemoveShadowRequest(name=NAME)).revision
    control.wait_for_revision(revision)


def counts(control: Control) -> tuple[int, int, int]:
    """Return how many calls were paired, failed and dropped so far."""
    found = control.shadows.GetShadow(pb.GetShadowRequest(name=NAME)).shadow.counts
    return found.paired, found.failed, found.dropped


def settle(control: Control, before: tuple[int, int, int], calls: int) -> list[int]:
    """Return what became of so many calls since then."""
    until = time.monotonic() + SETTLED_S_MAX
    while sum(now := counts(control)) - sum(before) < calls and time.monotonic() < until:
        time.sleep(0.1)
    return [later - earlier for later, earlier in zip(now, before, strict=True)]


def measure(
    control: Control, target: Target, *, concurrency: int, rounds: int, seconds: float, core: int
) -> tuple[dict[bool, list[Measured]], list[int]]:
    """Return the runs without and with a shadow, and what became of the latter's calls."""
    runs: dict[bool, list[Measured]] = {False: [], True: []}
    became = [0, 0, 0]
    for _ in range(rounds):
        for on in (False, True):
            if on:
                switch(control, on=True)
                before = counts(control)
            one = press(
                target.port, target.bodies, asked=target.asked, concurrency=concurrency, seconds=seconds, core=core
            )
            runs[on].append(one)
            if on:
                settled = settle(control, before, one.all_calls)
                became = [have + more for have, more in zip(became, settled, strict=True)]
                switch(control, on=False)
    return runs, became


def check_pairs(state: Path) -> tuple[int, int]:
    """Return how many pairs the journal has, and how many calls have more than one or another output."""
    with EventLog(state).snapshot() as connection:
        (row,) = connection.sql(
            "SELECT count(*), count(*) - count(DISTINCT request_id), count(*) FILTER (live_outputs <> shadow_outputs)"
            " FROM pairs"
        ).fetchall()
    return row[0], row[1] + row[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", default="native")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, of which the median counts (default 5)")
    parser.add_argument("--only", type=int, nargs="*", default=list(CONCURRENCIES), help="calls in flight")
    parser.add_argument("--json", type=Path, help="write every figure here")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    print(
        f"{len(cores)} cores, load average {os.getloadavg()[0]:.1f}; server on core {cores[0]}, load on {cores[-1]}; "
        f"{generator()}; {arguments.rounds} rounds of {arguments.seconds:g} s, medians"
    )
    folder = Path(tempfile.mkdtemp(prefix="turnout-bench-"))
    rows = []
    try:
        write_model(folder / "model.onnx")
        gateway = Gateway(arguments.transport, folder / "state", cores[0])
        gateway.start()
        try:
            gateway.furnish(folder / "model.onnx")
            target = next(each for each in gateway.targets() if each.name.endswith("-features"))
            with Control(f"127.0.0.1:{gateway.ports['control']}") as control:
                facts = registry_service_pb2.VersionFacts(feature_set=MODEL)
                probe = probe_of(folder / "model.onnx")
                control.publish_version(SHADOWED, folder / "model.onnx", facts=facts, probe=probe)
                print("without and with a shadow of all calls:")
                print("   c      rps              p50 ms           p99 ms             p99    paired   dropped")
                for concurrency in arguments.only:
                    runs, became = measure(
                        control,
                        target,
                        concurrency=concurrency,
                        rounds=arguments.rounds,
                        seconds=arguments.seconds,
                        core=cores[-1],
                    )
                    row = {"concurrency": concurrency, "paired": became[0], "failed": became[1], "dropped": became[2]}
                    for name in ("rps", "p50_us", "p99_us"):
                        off, on = (
                            statistics.median(getattr(one, name) for one in runs[each]) for each in (False, True)
                        )
                        row |= {f"{name}_without": off, f"{name}_with": on}
                    rows.append(row)
                    change = row["p99_us_with"] / row["p99_us_without"] - 1
                    print(
                        f"{concurrency:>4}{row['rps_without']:>9.0f}{row['rps_with']:>9.0f}"
                        f"{row['p50_us_without'] / 1000:>9.2f}{row['p50_us_with'] / 1000:>8.2f}"
                        f"{row['p99_us_without'] / 1000:>9.2f}{row['p99_us_with'] / 1000:>8.2f}{change:>+8.1%}"
                        f"{became[0]:>10}{became[2]:>10}"
                    )
        finally:
            gateway.stop()
        pairs, wrong = check_pairs(folder / "state")
        print(f"{pairs} pairs in the journal, {wrong} of them wrong; failed: {sum(row['failed'] for row in rows)}")
        if arguments.json:
            arguments.json.write_text(json.dumps({"rows": rows, "pairs": pairs, "wrong": wrong}, indent=2))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
