"""Drift statistics and CBPE against what NannyML, Evidently and scipy say of data that NannyML ships.

Their numbers and the data are in references/drift.json, which tools/drift_references.py writes; docs/triggers.md
explains where and why ours differ.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from features.sketch import Sketch
from trainer.triggers import cbpe, distances
from trainer.triggers.cells import Cells
from trainer.triggers.metrics import measure
from trainer.triggers.significance import chi_squared_p, kolmogorov_smirnov_p

SAID = json.loads((Path(__file__).parent / "references/drift.json").read_text())
COLUMNS = SAID["columns"]
NUMERIC = ("y_pred_proba", "loan_length", "car_value")
COUNTED_CATEGORIES = ("salary_range", "size_of_downpayment", "repaid_loan_on_prev_car")
CBPE = SAID["cbpe"]
SCORES = np.array(CBPE["scores"])
SIGMAS = 3


def sides(name):
    """Return the values of a column's reference and of each chunk."""
    column = COLUMNS[name]
    if "reference_values" in column:
        return np.array(column["reference_values"]), [np.array(chunk) for chunk in column["chunk_values"]]
    values = np.array(column["values"], np.float64)
    return np.repeat(values, column["reference"]), [np.repeat(values, chunk) for chunk in column["chunks"]]


def compared(name):
    reference, chunks = sides(name)
    for chunk, said in zip(chunks, COLUMNS[name]["said"], strict=True):
        yield reference, chunk, Cells.of(Sketch.of(reference), Sketch.of(chunk)), said


def binned(reference, chunk, edges):
    """Return the counts between edges, with what a chunk has beyond them in one more."""
    counts = [np.histogram(side, edges)[0] for side in (reference, chunk)]
    return [np.append(each, len(side) - each.sum()) for each, side in zip(counts, (reference, chunk), strict=True)]


@pytest.mark.parametrize("name", NUMERIC)
def test_ks_and_wasserstein_are_those_of_scipy_nannyml_and_evidently(name):
    for reference, _, cells, said in compared(name):
        counts = cells.reference, cells.window
        statistic, distance = distances.kolmogorov_smirnov(*counts), distances.wasserstein(*counts, cells.values)
        assert distance == pytest.approx(said["scipy.wasserstein"], rel=1e-9)
        assert kolmogorov_smirnov_p(cells) == pytest.approx(said["scipy.ks_2samp.p"], rel=1e-6, abs=1e-300)
        # NannyML counts references of 10 000 rows and more into bins.
        loose = {"rel": 1e-9} if len(reference) < 10_000 else {"abs": 5e-5 * max(1.0, np.ptp(reference))}
        assert statistic == pytest.approx(said["nannyml.kolmogorov_smirnov"], **loose)
        assert distance == pytest.approx(said["nannyml.wasserstein"], **loose)
        assert distance / reference.std() == pytest.approx(said["evidently.wasserstein"], rel=1e-9)


@pytest.mark.parametrize("name", NUMERIC)
def test_jensen_shannon_and_psi_of_numbers_are_those_of_nannyml_and_evidently_in_their_bins(name):
    for reference, chunk, cells, said in compared(name):
        theirs = binned(reference, chunk, np.histogram_bin_edges(reference, "doane"))
        assert distances.jensen_shannon(*theirs) == pytest.approx(said["nannyml.jensen_shannon"], rel=1e-9)
        if len(np.unique(reference)) > 20:
            both = np.histogram_bin_edges(np.concatenate([reference, chunk]), "sturges")
            counts = [np.histogram(side, both)[0] for side in (reference, chunk)]
        else:
            counts = [cells.reference, cells.window]
        # Evidently's logarithm is the natural one, ours is of two.
        ours = distances.jensen_shannon(*counts) * math.sqrt(math.log(2))
        assert ours == pytest.approx(said["evidently.jensen_shannon"], rel=1e-9)
        if all(side.min() > 0 for side in counts):
            assert distances.population_stability(*counts) == pytest.approx(said["evidently.psi"], rel=1e-9)
        else:
            assert distances.population_stability(*counts) == pytest.approx(said["evidently.psi"], rel=0.2)


@pytest.mark.parametrize("name", COUNTED_CATEGORIES)
def test_distances_of_categories_are_those_of_nannyml_and_evidently(name):
    for _, _, cells, said in compared(name):
        counts = cells.reference, cells.window
        assert distances.jensen_shannon(*counts) == pytest.approx(said["nannyml.jensen_shannon"], rel=1e-9, abs=1e-9)
        assert distances.l_infinity(*counts) == pytest.approx(said["nannyml.l_infinity"], rel=1e-9, abs=1e-12)
        assert distances.population_stability(*counts) == pytest.approx(said["evidently.psi"], rel=1e-9)
        assert distances.chi_squared(*counts) == pytest.approx(said["scipy.chi2"], rel=1e-9)
        assert chi_squared_p(cells, draws_max=99, seed=(1,)) == pytest.approx(
            said["scipy.chi2.p"], rel=1e-6, abs=1e-300
        )
        if len(cells.values) > 2:  # of two categories NannyML takes Yates' correction off
            assert distances.chi_squared(*counts) == pytest.approx(said["nannyml.chi2"], rel=1e-9)


def labelled(counts):
    """Return scores and labels from how often each pair of them is there."""
    scores = np.concatenate([np.repeat(SCORES, each) for each in counts])
    return scores, np.repeat([0.0, 1.0], [sum(each) for each in counts])


@pytest.fixture(scope="module")
def reference():
    assert CBPE["calibrated"], "NannyML found that the scores need calibration"
    return cbpe.Reference.of(*labelled(np.sum(CBPE["reference"], axis=0)))


@pytest.mark.parametrize("metric", sorted(CBPE["said"]))
def test_estimates_without_labels_are_those_of_nannyml(reference, metric):
    said = CBPE["said"][metric]
    for place, chunk in enumerate(CBPE["chunks"]):
        scores, labels = labelled(chunk)
        found = cbpe.estimate(metric, reference, scores, alpha=2 * stats.norm.sf(SIGMAS))
        if metric == "roc_auc":
            # NannyML orders equal scores as they come; for us they are one step of the curve.
            assert found.value == pytest.approx(said["estimated"][place], abs=6e-4)
        else:
            assert found.value == pytest.approx(said["estimated"][place], abs=1e-9)
        real = measure(metric, scores, labels, alpha=0.05)
        assert real.value == pytest.approx(said["realized"][place], abs=1e-9)


@pytest.mark.parametrize("metric", sorted(CBPE["said"]))
def test_bands_and_thresholds_are_those_of_nannyml(reference, metric):
    said = CBPE["said"][metric]
    rows = sum(map(sum, CBPE["chunks"][0]))
    if metric == "roc_auc":
        # Theirs has the rarer class's part alone, and misses one label in seven (test_drift_calibration.py).
        rarer, other = cbpe.area_errors(reference, rows)
        assert rarer == pytest.approx(said["sampling_error"][0], rel=0.01)
        assert cbpe.sampling_error(metric, reference, rows) == pytest.approx(math.hypot(rarer, other))
    elif metric == "f1":
        # Theirs takes the denominator for fixed, and is too wide by 1 + J, with F1 = 2J / (1 + J).
        value = measure(metric, reference.scores, reference.labels, alpha=0.05).value
        wide = cbpe.sampling_error(metric, reference, rows) * (1 + value / (2 - value))
        assert wide == pytest.approx(said["sampling_error"][0], rel=1e-6)
    else:
        assert cbpe.sampling_error(metric, reference, rows) == pytest.approx(said["sampling_error"][0], rel=1e-6)
    chunks = [measure(metric, *labelled(chunk), alpha=0.05).value for chunk in CBPE["reference"]]
    assert chunks == pytest.approx(said["realized_reference"], abs=1e-9)
    assert np.mean(chunks) - SIGMAS * np.std(chunks) == pytest.approx(said["lower_threshold"], abs=1e-9)
    assert min(1.0, np.mean(chunks) + SIGMAS * np.std(chunks)) == pytest.approx(said["upper_threshold"], abs=1e-9)
