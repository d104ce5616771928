from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from trainer.errors import TrainingTableError
from trainer.export import export
from trainer.fit import fit
from trainer.rounding import loses_detail
from trainer.table import training_table


def flights(count, *, labels=None):
    generator = np.random.default_rng(1)
    hour = generator.uniform(0, 24, count)
    start = datetime(2013, 1, 1)  # noqa: DTZ001  # Arrow's timestamps without a zone are what the contract sends
    return pa.table(
        {
            "event_time": pa.array([start + timedelta(minutes=i) for i in range(count)], pa.timestamp("us")),
            "hour": hour,
            "carrier.late_rate_7d": generator.uniform(0, 1, count),
            "label": (hour > 12).astype(float) if labels is None else labels,
        }
    )


def table_of(content):
    names = ("request.hour", "carrier.late_rate_7d")
    return training_table(content, feature_set="flight-delay", feature_names=names, fingerprint="f")


def test_request_features_are_found_under_their_short_name():
    table = table_of(flights(5))
    assert table.rows.shape == (5, 2)
    assert table.event_time_us[1] - table.event_time_us[0] == 60_000_000


@pytest.mark.parametrize("column", ["event_time", "label", "hour"])
def test_a_table_that_lacks_a_column_is_refused(column):
    with pytest.raises(TrainingTableError, match="lacks the column"):
        table_of(flights(5).drop_columns([column]))


def test_a_table_without_rows_is_refused():
    with pytest.raises(TrainingTableError, match="no rows"):
        table_of(flights(5).slice(0, 0))


def test_the_later_rows_judge_what_was_learned_from_the_earlier_ones():
    fitted = fit(LogisticRegression(), table_of(flights(500)), holdout=0.2)
    assert fitted.metrics["training_rows"] == 400
    assert fitted.metrics["holdout_rows"] == 100
    assert fitted.metrics["roc_auc"] > 0.95
    assert fitted.algorithm == "LogisticRegression"
    assert fitted.parameters["C"] == "1.0"


def test_a_table_of_one_label_is_refused():
    with pytest.raises(TrainingTableError, match="both labels"):
        fit(LogisticRegression(), table_of(flights(50, labels=np.zeros(50))))


def test_only_columns_of_large_magnitude_and_small_spread_lose_detail():
    rows = np.column_stack([np.linspace(0, 1, 100), 1.37e9 + np.arange(100.0), np.full(100, 3.0), np.arange(100) * 1e9])
    assert loses_detail(rows).tolist() == [False, True, False, False]


def test_the_same_estimator_is_exported_to_the_same_bytes():
    table = table_of(flights(300))
    fitted = fit(LogisticRegression(), table)
    assert export(fitted.estimator, table.rows).content == export(fitted.estimator, table.rows).content
