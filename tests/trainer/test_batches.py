"""Learning from tables that memory does not hold."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.errors import EstimatorRefusedError
from trainer.records.errors import PolicyInvalidError
from trainer.records.policy import Budget
from trainer.records.rules import definition_of
from trainer.runner import child
from trainer.runner.batches import ROWS, even_part, write_sorted
from trainer.runner.folder import JOB, failure, finish, finished
from trainer.runner.steps import evaluate, train
from trainer.runner.tables import TABLE, write

PIECE_ROWS = 131_072
BUDGET_BYTES = {"sgd": 512 * 2**20, "lightgbm": 768 * 2**20}
SGD = {
    "estimator": {"path": "sklearn.linear_model.SGDClassifier", "parameters": {"loss": "log_loss", "average": True}},
    "transformers": [{"path": "sklearn.preprocessing.StandardScaler"}],
}
TREES = {
    "estimator": {"path": "lightgbm.LGBMClassifier", "parameters": {"n_estimators": 40, "verbose": -1}},
    "early_stopping_rounds": 10,
}
KINDS = [
    "sgd",
    pytest.param(
        "lightgbm", marks=pytest.mark.skipif(importlib.util.find_spec("lightgbm") is None, reason="no LightGBM here")
    ),
]


def training(kind, **more):
    return (SGD if kind == "sgd" else TREES) | {"seed": 5} | more


def rows_of(count, width, first=0):
    generator = np.random.default_rng([3, first])
    rows = np.round(generator.standard_normal((count, width), dtype=np.float32) * 32).astype(np.float64) / 32
    label = (1.5 * rows[:, 0] - rows[:, 1] + generator.normal(0, 1, count) > 0).astype(float)
    times = pa.array((first + np.arange(count)) * 1_000_000).cast(pa.timestamp("us"))
    return pa.table({**{f"shop.f{at}": rows[:, at] for at in range(width)}, "event_time": times, "label": label})


def job_in(folder, training, *, width, judged, **more):
    """Write a job as the step `table` leaves it, its rows in a file by now."""
    folder.mkdir(exist_ok=True)
    definition = {
        "model": "m",
        "data": {"feature_set": "shop", "label_sql": "SELECT 1", "validation_share": 0.1, "test_share": 0.2, **more},
        "training": training,
    }
    write(folder / TABLE, judged)
    names = [f"shop.f{at}" for at in range(width)]
    finish(folder, "table", {"feature_names": names, "fingerprint": "f", "definition": "d", "champion": None}, [TABLE])
    job = {"run": "", "reason": "to see", "scripts": {}, "definition": definition, "champion_recipe": None}
    return job | {"allowed": ["sklearn", "lightgbm"]}


def test_what_does_not_go_with_batches_is_refused_at_the_door():
    def asked(training, **data):
        return {
            "model": "m",
            "data": {"feature_set": "shop", "label_sql": "SELECT 1", **data},
            "training": training | {"batches": training.get("batches", {"rows": 5_000})},
        }

    definition_of(asked(SGD))
    definition_of(asked(TREES))
    refused = {
        "balanced": asked(SGD | {"balanced": True}),
        "rows_per_rarest": asked(SGD | {"rows_per_rarest": 2.0}),
        "early_stopping_rounds": asked(SGD | {"early_stopping_rounds": 3}),
        "transformers": asked(TREES | {"transformers": SGD["transformers"]}),
        "script": asked({"script": "mine"}),
        "folds": asked(SGD, folds=3),
        "batches.rows": asked(SGD | {"batches": {"rows": 10}}),
        "batches.passes": asked(SGD | {"batches": {"rows": 5_000, "passes": 101}}),
        "batches.judged_rows": asked(SGD | {"batches": {"rows": 5_000, "judged_rows": 10}}),
        "search": asked(SGD | {"search": {"trials": 2, "space": {"alpha": {"low": 0.1, "high": 1.0}}}}),
    }
    for field, document in refused.items():
        with pytest.raises(PolicyInvalidError, match=field):
            definition_of(document)


def test_rows_are_sorted_on_the_disk_and_every_so_manyth_is_kept(tmp_path):
    table = rows_of(50_000, 2)
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))
    path = tmp_path / ROWS
    found = write_sorted(path, shuffled.to_reader(1_000), ["event_time"], rows_max=10**6, memory_bytes=2**30)
    assert found == 50_000
    assert pq.read_table(path).equals(table.cast(pq.read_schema(path)))
    assert write_sorted(path, shuffled.to_reader(), ["event_time"], rows_max=20_000, memory_bytes=2**30) == 50_000
    kept = pq.read_table(path).column("event_time").cast(pa.int64()).to_numpy()
    assert len(kept) == 20_000
    assert set(np.diff(kept) // 1_000_000) == {2, 3}
    part = even_part(path, 1_001)
    assert part.num_rows == 1_001
    assert part.slice(0, 1).equals(pq.read_table(path).slice(0, 1).cast(part.schema))
    assert [each.name for each in tmp_path.iterdir()] == [ROWS]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_come_to_what_the_whole_table_comes_to(tmp_path, kind):
    table = rows_of(40_000, 3)
    briers = {}
    for place, more in {
        "whole": {},
        "batches": {"batches": {"rows": 2_000, "passes": 2, "judged_rows": 40_000}},
    }.items():
        job = job_in(tmp_path / place, training(kind, **more), width=3, judged=table)
        write_sorted(tmp_path / place / ROWS, table.to_reader(), ["event_time"], rows_max=10**6, memory_bytes=2**30)
        train.run(job, tmp_path / place)
        evaluate.run(job, tmp_path / place)
        made, judged = finished(tmp_path / place, "train"), finished(tmp_path / place, "evaluate")
        assert made["parity"] in ("AGREES", "AGREES_WITH_STEPS")
        assert judged["verdict"] == "BLESSED"
        assert made["train"] == 28_000
        briers[place] = judged["metrics"]["brier"]
    assert briers["batches"] == pytest.approx(briers["whole"], abs=0.003)
    assert briers["batches"] < 0.16


def test_the_rows_that_judge_are_never_learned_from_and_the_same_seed_learns_the_same(tmp_path):
    table = rows_of(20_000, 3)
    graphs = []
    for place in ("one", "other"):
        asked = training("sgd", batches={"rows": 1_000, "judged_rows": 1_000})
        # What comes after the last row that is learned from has another law, which must not be seen.
        late = np.arange(20_000) >= 13_980
        label = table.column("label").to_numpy()
        told = np.where(late & (place == "other"), 1 - label, label)
        told = table.set_column(table.column_names.index("label"), "label", pa.array(told))
        folder = tmp_path / place
        folder.mkdir()
        write_sorted(folder / ROWS, told.to_reader(), ["event_time"], rows_max=10**6, memory_bytes=2**30)
        job = job_in(folder, asked, width=3, judged=even_part(folder / ROWS, 1_000), gap_us=60_000_000)
        train.run(job, folder)
        assert finished(folder, "train")["train"] < 13_980
        graphs.append((folder / "model.onnx").read_bytes())
    assert graphs[0] == graphs[1]


def test_an_estimator_that_needs_all_rows_at_once_is_refused(tmp_path):
    table = rows_of(5_000, 2)
    asked = {"estimator": {"path": "sklearn.linear_model.LogisticRegression"}, "batches": {"rows": 1_000}}
    job = job_in(tmp_path, asked, width=2, judged=table)
    write_sorted(tmp_path / ROWS, table.to_reader(), ["event_time"], rows_max=10**6, memory_bytes=2**30)
    with pytest.raises(EstimatorRefusedError, match="LogisticRegression does not learn in batches"):
        train.run(job, tmp_path)


def learned_within(folder, training, budget, *, width, judged):
    """Let a child learn within a budget; return what it found, or why it found nothing."""
    (folder / JOB).write_text(json.dumps(job_in(folder, training, width=width, judged=judged)))
    ended = child.perform("train", folder, budget, connected=False, lost=lambda: False)
    return finished(folder, "train") if ended.code == 0 else failure(folder, "train") or ended.log


def write_much(path, *, width, pieces):
    """Write rows piece by piece, of few values so that the file is small, whatever they are in memory."""
    piece = rows_of(PIECE_ROWS, width)
    with pq.ParquetWriter(path, piece.schema) as writer:
        for at in range(pieces):
            times = pa.array((at * PIECE_ROWS + np.arange(PIECE_ROWS)) * 1_000_000).cast(pa.timestamp("us"))
            writer.write_table(piece.set_column(width, "event_time", times), row_group_size=16_384)


@pytest.mark.parametrize("kind", ["sgd", pytest.param("lightgbm", marks=[pytest.mark.soak, *KINDS[1].marks])])
@pytest.mark.timeout(300)
def test_a_table_larger_than_the_memory_budget_is_learned_from(tmp_path, kind):
    """The numbers of the table alone, eight bytes each, are more than a step may take."""
    width, memory_bytes = 40, BUDGET_BYTES[kind]
    pieces, budget = memory_bytes // (width * 8 * PIECE_ROWS) + 1, replace(Budget(), memory_bytes=memory_bytes)
    write_much(tmp_path / ROWS, width=width, pieces=pieces)
    judged = even_part(tmp_path / ROWS, 5_000)
    made = learned_within(
        tmp_path, training(kind, batches={"rows": 16_384, "judged_rows": 5_000}), budget, width=width, judged=judged
    )
    assert "train" in made, made
    assert made["train"] > 0.69 * PIECE_ROWS * pieces
    assert made["judged_by_a_part"]
    assert made["parity"] in ("AGREES", "AGREES_WITH_STEPS")
