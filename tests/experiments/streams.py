"""Random events as they come, and an experiment with every kind of metric on them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from experiments.metric import Covariate, Direction, Metric, MetricKind, Role
from experiments.plan import Plan
from experiments.scope import Scope, UnitKind
from gateway.control.reducing.kept import drop_void
from gateway.journal.commits import EventFolders
from gateway.journal.compact import compact, sole_compactor
from gateway.journal.record import Outcome, Output, Prediction, Shadow, encode
from gateway.journal.rewriting import Rewriter, Subject
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

HOUR_US = 3_600_000_000


def metrics():
    def metric(name, kind, outcome, **changes):
        return Metric(name, kind, outcome, Direction.INCREASE, Role.SUCCESS, **changes)

    output = {"output": "p", "output_index": 0}
    return (
        metric("mean", MetricKind.MEAN, "sale", window_us=3 * HOUR_US),
        metric("before", MetricKind.MEAN, "sale", covariate=Covariate.PRE_EXPERIMENT, winsorize=0.9),
        metric("guess", MetricKind.MEAN, "sale", covariate=Covariate.ATTRIBUTE, covariate_attribute="guess"),
        metric("bought", MetricKind.PROPORTION, "sale", window_us=HOUR_US, missing_as_zero=True),
        metric("often", MetricKind.COUNT, "click"),
        metric("ratio", MetricKind.RATIO, "sale", denominator="click", upper_cap=40.0),
        metric("median", MetricKind.QUANTILE, "sale", quantile=0.5),
        metric("error", MetricKind.SQUARED_ERROR, "click", **output),
        metric("foreseen", MetricKind.MEAN, "sale", covariate=Covariate.CONTROL_PREDICTION, **output),
        metric("latency", MetricKind.LATENCY, ""),
        metric("annual", MetricKind.PROPORTION, "else", label="annual"),
        metric("right", MetricKind.ACCURACY, "else", output="p", classes=("annual", "monthly")),
    )


class Stream:
    """Events as they come: late, twice, corrected, of units that are in two epochs, or of none."""

    def __init__(self, state, seed):
        self.folders = EventFolders(state)
        self.chance = np.random.default_rng(seed)
        self.now_us = 40 * HOUR_US
        self.asked = 0
        self.writer = JournalWriter(
            self.folders.journal, name="test", sync_interval_ms=1000, clock=SystemClock(), segment_bytes_max=4000
        )

    def some(self, *values):
        return values[int(self.chance.integers(len(values)))]

    def send(self, count):
        for _ in range(count):
            made = self.some(*(self.prediction,) * 5, *(self.outcome,) * 5, self.shadow)()
            self.writer.append([encode(made)])

    def prediction(self):
        number = int(self.chance.integers(self.asked)) if self.asked and self.chance.random() < 0.1 else self.asked
        self.asked = max(self.asked, number + 1)
        unit = self.some("", *(f"u{each}" for each in range(12)))
        place = self.some("experiment", "experiment", "experiment", "", "another")
        when = self.now_us - int(self.chance.integers(0, self.some(4, 4, 30))) * HOUR_US
        return Prediction(
            request_id=f"r{number}",
            time_us=self.now_us + int(self.chance.integers(-2, 3)),
            event_time_us=when,
            model=self.some("flight-delay", "flight-delay", "flight-delay", "other"),
            version=self.some(1, 2),
            experiment="v1-against-v2" if place == "experiment" else place,
            variant=self.some("control", "treatment"),
            epoch=self.some(0, 1, 1, 1, 2),
            unit_id=unit,
            attributes=self.some({}, {"guess": "7.5", "kind": "a"}, {"guess": repr(self.chance.normal()), "kind": "b"}),
            outputs=self.some([], [Output("p", "float64", (1,), np.float64([self.chance.normal()]).tobytes())]),
            latency_us=int(self.chance.integers(1, 9)),
            view_status=bytes(self.some([], [1, 2], [1, 1])),
            view_age_ms=self.some([], [5, 9]),
            status=self.some(0, 0, 0, 0, 13),
            fallback=bool(self.chance.random() < 0.1),
        )

    def shadow(self):
        return Shadow(
            request_id=f"r{int(self.chance.integers(self.asked + 3))}",
            time_us=self.now_us + int(self.chance.integers(3)),
            event_time_us=self.now_us,
            model="flight-delay",
            version=self.some(1, 2),
            outputs=[Output("p", "float64", (1,), np.float64([self.chance.normal()]).tobytes())],
        )

    def outcome(self):
        by_request = self.chance.random() < 0.6
        subject = {"request_id": f"r{int(self.chance.integers(self.asked + 3))}"}
        if not by_request:
            subject = {"unit_id": f"u{int(self.chance.integers(13))}", "model": self.some("", "flight-delay", "other")}
        name = self.some("sale", "sale", "click", "else")
        value = self.some(0.0, 1.0, float(self.chance.normal(5, 2)), float(self.chance.normal(5, 2)), math.inf)
        return Outcome(
            **subject,
            name=name,
            value=math.nan if name == "else" else value,
            label=self.some("annual", "monthly", "none") if name == "else" else "",
            event_time_us=self.now_us - int(self.chance.integers(0, 30)) * HOUR_US,
            time_us=self.now_us,
            outcome_id=self.some("", "a", "b") if by_request else self.some("a", "b", "c"),
            sequence=int(self.chance.integers(3)),
        )

    def tend(self):
        """Compact, merge and erase, or not."""
        self.writer.seal()
        compact(self.folders)
        with sole_compactor(self.folders.events / "compactor.lock"):
            rewriter = Rewriter(self.folders)
            if self.chance.random() < 0.5:
                rewriter.merge(parts_min=2)
            if self.chance.random() < 0.15:
                rewriter.erase(Subject(unit_id=f"u{int(self.chance.integers(12))}"))
            rewriter.sweep()
        drop_void(self.folders)


def alike(one, other, path="", within=1e-9):
    """Say where two values differ by more than a part."""
    if dataclasses.is_dataclass(one):
        one, other = ({f.name: getattr(each, f.name) for f in dataclasses.fields(each)} for each in (one, other))
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key, value in one.items():
            alike(value, other[key], f"{path}/{key}", within)
    elif isinstance(one, tuple | list):
        assert len(one) == len(other), path
        for place, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            alike(mine, theirs, f"{path}/{place}", within)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=within, abs=within, nan_ok=True), path
    else:
        assert one == other, path


def measured(make_experiment, number):
    """Return an experiment with everything; every third one has strata, every fourth one requests for units."""
    return make_experiment(
        metrics=metrics(),
        started_us=20 * HOUR_US,
        plan=Plan(stratify_by="kind" if number % 3 == 0 else ""),
        scope=Scope(unit=UnitKind.REQUEST if number % 4 == 3 else UnitKind.UNIT_ID),
    )
