"""The step `train`: fit, write as ONNX, prove; and fit the champion's recipe to the same rows, where it is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.estimators import build, learn
from trainer.export import export
from trainer.fit import Fitted, described
from trainer.fit import judge as measure
from trainer.publish import prove, said_of
from trainer.records.rules import definition_of
from trainer.rounding import rounded
from trainer.runner.folder import finish, finished
from trainer.runner.steps import script
from trainer.runner.tables import BASELINE, MODEL, read

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.records.policy import Definition
    from trainer.split import Parts
    from trainer.table import TrainingTable

Job = dict[str, Any]


def run(job: Job, folder: Path) -> None:
    """Leave the candidate's graph, what is said of it, and the champion's recipe fitted to the same rows."""
    definition = definition_of(job["definition"])
    table, parts = read(folder, definition)
    rows, labels = rounded(table.rows), table.labels.astype(np.int64)
    how = script.train if definition.training.script else _train
    result, files = how(job, folder, definition, table, parts)
    result |= {"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)}
    result["baseline"] = _train_baseline(job, folder, rows, labels, parts)
    if result["baseline"] == "fitted":
        files.append(BASELINE)
    finish(folder, "train", result, files)


def _train(
    job: Job, folder: Path, definition: Definition, table: TrainingTable, parts: Parts
) -> tuple[dict[str, Any], list[str]]:
    """Fit, write as ONNX and prove; return what was found and the files that are left."""
    rows, labels = rounded(table.rows), table.labels.astype(np.int64)
    train, validation = ((rows[at], labels[at]) for at in (parts.train, parts.validation))
    estimator = build(definition.training, allowed=job["allowed"])
    estimator = learn(definition.training, estimator, train, validation)
    metrics = measure(estimator, rows[parts.test], labels[parts.test])
    metrics["training_rows"] = float(len(parts.train))
    fitted = Fitted(estimator, *described(estimator), metrics=metrics, held_out=parts.test)
    candidate = prove(fitted, table, tolerance=definition.evaluation.parity_tolerance)
    why = f"{job['run']}: {job['reason']}"[:1_000]
    facts, probe = said_of(candidate, description=why, parents=_parents(folder))
    facts.tags["run"] = job["run"]
    (folder / MODEL).write_bytes(candidate.exported.content)
    (folder / "facts.pb").write_bytes(facts.SerializeToString())
    (folder / "probe.pb").write_bytes(probe.SerializeToString())
    certificate = candidate.certificate
    result = {
        "algorithm": fitted.algorithm,
        "dtype": candidate.exported.dtype,
        "parity": certificate.verdict.value,
        "max_delta": certificate.real.max_delta,
        "label_flips": certificate.real.label_flips + certificate.adversarial.label_flips,
        "certificate": json.loads(certificate.to_json()),
    }
    return result, [MODEL, "facts.pb", "probe.pb"]


def _train_baseline(job: Job, folder: Path, rows: Any, labels: Any, parts: Parts) -> str:
    """Fit the champion's recipe to the candidate's rows; return `fitted`, or why not."""
    recipe, present = job.get("champion_recipe"), (finished(folder, "table") or {}).get("champion")
    if present is None:
        return "there is no champion"
    if recipe is None:
        return "the champion's recipe is not known: it was made by no run"
    former = definition_of(recipe)
    if former.data.feature_set != definition_of(job["definition"]).data.feature_set or former.training.script:
        return "the champion's recipe takes other features"
    pieces = [(rows[at], labels[at]) for at in (parts.train, parts.validation)]
    estimator = learn(former.training, build(former.training, allowed=job["allowed"]), *pieces)
    (folder / BASELINE).write_bytes(export(estimator, rows).content)
    return "fitted"


def _parents(folder: Path) -> list[int]:
    champion = (finished(folder, "table") or {}).get("champion")
    return [champion["version"]] if champion else []
