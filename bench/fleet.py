"""A simulated fleet under a ramp: how soon a bad candidate is taken away, and how many calls it has spoilt by then.

``python bench/fleet.py [--ramps 20]``. Units are assigned by the gateways' own tables, calls are judged by the ramp's
own sequential tests and decided on by its own controller; gateways, calls, and the ways of messages are simulated. The
judge sees the calls of its own gateway. Each gateway hears of a change after a while, told by Redis or, where that
message is lost, by looking a second later; a part of the judge's records is lost with workers that die.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from experiments.allocation import allocate
from experiments.assignment import AssignmentTable, assignment_document, compile_assignment
from experiments.bucketing import fnv1a32
from experiments.definition import Direction, Experiment, Metric, MetricKind, Role, Variant, ramped_shares
from experiments.lifecycle import State
from experiments.ramp.controller import Action, Live, Scene, decide
from experiments.ramp.definition import DEFAULT_GUARDRAILS, Ramp, default_steps
from experiments.ramp.safety import SafetyWatch, Sighting
from experiments.ramp.standing import RampState, Standing
from experiments.ramp.usual import Took

UNITS = 10_000_000
CALLS_SEEN_MAX = 5_000
"""Calls a second that are simulated of the judge's gateway at the most: a higher rate is judged as if it were this."""
SECONDS_MAX = 900
HEARD_S = (-4.0, 0.8)
"""The logarithm of the seconds until a gateway has heard and swapped: median 18 ms, one in a hundred after 118 ms."""
MESSAGES_LOST = 0.01
RECORDS_LOST = 0.01


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many gateways that answer so many predictions a second together."""

    rate: int
    gateways: int


FLEETS = (Fleet(10_000, 3), Fleet(1_000_000, 50), Fleet(10_000_000, 500))
RAMP = Ramp(steps=default_steps(duration_us=6 * 3_600_000_000), guardrails=DEFAULT_GUARDRAILS)
METRIC = Metric("loss", MetricKind.MEAN, "loss", Direction.DECREASE, Role.SUCCESS)
DRAFT = Experiment(
    id="fleet",
    model="m",
    variants=(Variant("control", 1, 0.5, control=True), Variant("candidate", 2, 0.5)),
    metrics=(METRIC,),
    seed="s",
    ramp=RAMP,
)


def table_of_first_step() -> AssignmentTable:
    """Return what every gateway assigns by in the ramp's first step."""
    coverage, shares = ramped_shares(DRAFT, RAMP.steps[0].share)
    variants = tuple(replace(each, share=share) for each, share in zip(DRAFT.variants, shares, strict=True))
    allocation = allocate(shares, coverage=coverage)
    started = replace(DRAFT, variants=variants, coverage=coverage, allocation=allocation, state=State.RUNNING)
    return compile_assignment(assignment_document(started))


def calls_of(table: AssignmentTable, chance: np.random.Generator, count: int, errors: float) -> list[Sighting]:
    """Return the calls of the experiment among so many that come to one gateway, as its journal would show them."""
    found = []
    for number in chance.integers(0, UNITS, count).tolist():
        unit = f"unit-{number}"
        arm = table.assign(unit)
        if arm is None or chance.random() < RECORDS_LOST:
            continue
        candidate = not arm.control
        bad = bool(chance.random() < 0.01 + errors * candidate)
        took = Took(int(chance.lognormal(7, 0.5)))
        hashed = fnv1a32(unit.encode()) << 32 | fnv1a32(unit[::-1].encode())
        found.append(Sighting(hashed, candidate, took, tuple(None if late else bad for late in LATE)))
    return found


LATE = tuple(each.kind.value.startswith("latency") for each in RAMP.guardrails)


def ramp_through(fleet: Fleet, table: AssignmentTable, seed: int, errors: float) -> tuple[float, float, float]:
    """Return after how many seconds the candidate was taken away, inf for never, how many calls it has spoilt, and
    how long the last gateway went on."""
    chance = np.random.default_rng(seed)
    standing = Standing(DRAFT.id, RampState.RUNNING, 1, step_began_us=0)
    watch = SafetyWatch(RAMP)
    seen = min(fleet.rate // fleet.gateways, CALLS_SEEN_MAX)
    for second in range(1, SECONDS_MAX):
        watch.take(calls_of(table, chance, seen, errors))
        now_us = second * 1_000_000
        live = Live(watch.readings(), (watch.units[0], watch.units[1]), (now_us, now_us), watch.exposed_share)
        decision = decide(Scene(standing=standing, ramp=RAMP, running=True, now_us=now_us, live=live))
        if decision.action is Action.ROLL_BACK:
            heard = chance.lognormal(*HEARD_S, fleet.gateways)
            heard += (chance.random(fleet.gateways) < MESSAGES_LOST) * chance.uniform(0, 1, fleet.gateways)
            share = RAMP.steps[0].share
            return second, fleet.rate * share * errors * (second + heard.mean()), float(heard.max())
        if errors == 0 and second >= SECONDS_MAX // 3:
            break
    return float("inf"), 0.0, 0.0


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ramps", type=int, default=20)
    ramps = parser.parse_args().ramps
    table = table_of_first_step()
    began = time.process_time()
    for number in range(100_000):
        table.assign(f"unit-{number}")
    print(f"an assignment: {(time.process_time() - began) * 10:.2f} µs")
    for fleet in FLEETS:
        for errors in (0.1, 0.02):
            ends = [ramp_through(fleet, table, seed, errors) for seed in range(ramps)]
            found = [end for end in ends if end[0] < float("inf")]
            print(
                f"{fleet.rate} a second on {fleet.gateways} gateways, {errors:.0%} more failures: taken away in "
                f"{len(found)} of {ramps}, after {median(end[0] for end in found):.0f} s (longest "
                f"{max(end[0] for end in found):.0f}), {median(end[1] for end in found):.0f} calls spoilt; the last "
                f"gateway follows after {median(end[2] for end in found):.2f} s",
                flush=True,
            )
    false = sum(ramp_through(FLEETS[0], table, seed, 0.0)[0] < float("inf") for seed in range(ramps))
    print(f"no worse at all: taken away in {false} of {ramps} within {SECONDS_MAX // 3} s")


if __name__ == "__main__":
    main()
