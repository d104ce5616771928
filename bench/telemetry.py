"""What watching costs a call: counting, tracing that is off, and a line of the log, in this process.

Each number is the best of several rounds, in microseconds: `python bench/telemetry.py`. What a call costs in all says
`bench/pipeline.py`. No call writes into the log; a line is for what is rare.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from pathlib import Path
from timeit import repeat
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.lookup import AGE_NONE_MS, MISSING, PRESENT, FeatureMatrix
from gateway.models.slots import VersionKey
from gateway.rpc.status import number_of
from gateway.serving.tally import Tally
from gateway.serving.walk import Walk
from gateway.telemetry.logs import Logs
from gateway.telemetry.meter import Meter

ROUNDS = 7
CALLS = 200_000
VIEWS = 2
WAVES = (1, 4, 16, 32, 64)
LINES = 2_000
STEPS = ("assign", "features", "run", "journal")


def target(variant: str, version: int) -> Any:
    """Return what a call's target is to the counting."""
    slot = SimpleNamespace(key=VersionKey("fraud", version))
    return _Target(slot, "canary", variant)


class _Target:
    __slots__ = ("experiment", "fallback", "slot", "variant")

    def __init__(self, slot: Any, experiment: str, variant: str) -> None:
        self.slot, self.experiment, self.variant, self.fallback = slot, experiment, variant, False


class _Plan:
    def __init__(self, views: list[Any]) -> None:
        self.views = views


class _Request:
    __slots__ = ("arrived", "error", "method", "target")

    def __init__(self, chosen: Any, arrived: float) -> None:
        self.target, self.arrived, self.error, self.method = chosen, arrived, None, "Predict"


def main() -> None:
    """Print the costs."""
    arms = (target("control", 1), target("treatment", 2))
    plan: Any = _Plan([SimpleNamespace(name=f"view{number}") for number in range(VIEWS)])
    tally = Tally(Meter(), number_of)
    print(
        f"{'wave':>5} {'wave count':>11} {'run':>6} {'features':>9} {'sum':>6} {'untraced':>9}"
        f"   us a call, 2 arms, {VIEWS} views"
    )
    for size in WAVES:
        started = time.monotonic()
        wave: Any = [_Request(arms[place % 2], started - 1e-4 * (place < size // 2)) for place in range(size)]
        statuses = bytearray([PRESENT] * (size * VIEWS))
        ages = [1_000_000] * (size * VIEWS)
        statuses[0], ages[0] = (MISSING, AGE_NONE_MS) if size > 1 else (PRESENT, 5)
        matrix = FeatureMatrix(None, statuses, ages)  # type: ignore[arg-type]
        number = CALLS // size
        parts = {
            "count": lambda wave=wave, started=started: tally.count(wave, started),
            "run": lambda size=size, started=started: [
                tally.count_run(arm.slot.key, size, started) for arm in arms[:size]
            ],
            "features": lambda matrix=matrix, started=started: (
                tally.count_read(started),
                tally.count_features(plan, matrix),
            ),
        }
        costs = [min(repeat(part, number=number, repeat=ROUNDS)) / number / size * 1e6 for part in parts.values()]
        print(f"{size:5d} {costs[0]:11.3f} {costs[1]:6.3f} {costs[2]:9.3f} {sum(costs):6.3f} {untraced_us(size):9.4f}")
    for form in ("text", "json"):
        print(f"a line of the log as {form}: {line_us(form):.1f} us")


def untraced_us(size: int) -> float:
    """Return what a call of a wave pays for the places where a trace would note a step, while nobody traces."""
    walk = Walk({}, started=0.0, now_us=0, soonest=0.0, done=lambda _: None)
    number = CALLS // size
    return min(repeat(lambda: [walk.mark(step) for step in STEPS], number=number, repeat=ROUNDS)) / number / size * 1e6


def line_us(form: Any) -> float:
    """Return what a line of the log costs that is written, into memory; each message is another one."""
    logs = Logs("worker-1", form)
    logs.setStream(io.StringIO())
    log = logging.getLogger("gateway.bench")
    log.handlers, log.propagate = [logs], False

    messages = [f"version %d is loaded; {place}" for place in range(LINES)]

    def write() -> None:
        for place in range(LINES):
            log.warning(messages[place], 7, extra={"model": "fraud"})

    return min(repeat(write, number=1, repeat=ROUNDS)) / LINES * 1e6


if __name__ == "__main__":
    main()
