import time

import numpy as np
import pytest

from gateway.control.fleet import Fleet
from gateway.control.traffic import quantile_us
from gateway.telemetry.families import FAMILIES
from gateway.telemetry.meter import Meter

WAIT_S = 30.0
BOUNDS_US = FAMILIES["turnout_prediction_seconds"].bounds


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_quantile_is_between_the_bounds_of_its_bucket(share):
    values = np.random.default_rng(13).lognormal(8, 1.5, 10_000).astype(int)
    series = Meter().series("turnout_prediction_seconds", ("m", "1", "", ""))
    for value in values:
        series.observe(int(value))
    exact = np.quantile(values, share, method="inverted_cdf")
    place = np.searchsorted(BOUNDS_US, exact)
    assert BOUNDS_US[place - 1] <= quantile_us(series.counts, share) <= BOUNDS_US[place]


def test_no_calls_have_no_quantile():
    assert quantile_us([0] * (len(BOUNDS_US) + 1), 0.99) == 0


def report(predictions, failures):
    """Return the numbers of a worker that answered so many, in waves of two."""
    meter = Meter()
    labels = ("Predict", "m", "1", "", "")
    meter.count("turnout_predictions_total", (*labels, "OK", ""), predictions - failures)
    meter.count("turnout_predictions_total", (*labels, "INTERNAL", "MODEL_RUN_FAILED"), failures)
    meter.series("turnout_wave_calls").observe(2, predictions // 2)
    return meter


def test_a_worker_that_was_started_again_counts_from_its_start():
    fleet = Fleet(1)
    fleet.update(0, pid=1)
    fleet.update(0, counts=report(100, 10))
    (first,) = fleet.recent()
    assert (first.predictions, first.failures, first.waves) == (100, 10, 50)
    fleet.bury(0)
    assert fleet.recent() == [None]
    fleet.update(0, pid=2, restarts=1)
    fleet.update(0, counts=report(6, 0))
    (again,) = fleet.recent()
    assert (again.predictions, again.failures, again.waves) == (6, 0, 3)
    assert fleet.figures().family("turnout_predictions_total")["Predict", "m", "1", "", "", "OK", ""].total == 96


def test_the_serving_status_tells_how_the_gateway_fares(gateway, operator_of):
    operator = operator_of(gateway)
    operator.publish("scaled", 1, alias="champion")
    operator.wait()
    for _ in range(40):
        operator.predict("scaled")
    until = time.monotonic() + WAIT_S
    while True:
        answer = operator.status()
        traffic = answer.traffic
        seen = round(traffic.predictions_per_s * traffic.window_s)
        if seen == 40:
            break
        assert seen < 40
        assert time.monotonic() < until
        time.sleep(0.05)
    operator.close()
    (worker,) = answer.workers
    assert worker.traffic == traffic
    assert 0 < traffic.p50_us <= traffic.p99_us
    assert traffic.wave_calls_mean == 1.0
    assert traffic.failures_per_s == traffic.shed_per_s == 0
    assert worker.resident_bytes > 1e7
    assert traffic.processors > 0
