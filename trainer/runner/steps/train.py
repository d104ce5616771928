"""The step `train`: fit, write as ONNX, prove; and fit the champion's recipe to the same rows, where it is known."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.answers import metrics_of, of_estimator, of_graph, widened
from trainer.estimators import build
from trainer.export import export
from trainer.fit import Fitted, described
from trainer.learning import labels_of, learn
from trainer.publish import prove, said_of
from trainer.records.rules import definition_of
from trainer.rounding import rounded
from trainer.runner.folder import finish, finished
from trainer.runner.given import Given
from trainer.runner.steps import batched, script
from trainer.runner.steps.search import searched
from trainer.runner.tables import MODEL, SAID, judging, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.fit import Model
    from trainer.records.policy import Definition
    from trainer.split import Parts

    Floats = NDArray[np.float64]

Job = dict[str, Any]


def run(job: Job, folder: Path) -> None:
    """Leave the candidate's graph, its facts, and what it and the champion's recipe say of the rows that judge."""
    definition = definition_of(job["definition"])
    table, folds = read(folder, definition)
    given, task = Given(job, folder, definition, table), definition.training.task
    chosen, search = searched(given, folds[0])
    said = [_earlier(given, parts, chosen) for parts in folds[:-1]]
    how = script.train if given.training.script else partial(_train, chosen=chosen)
    result, files = how(given, folds[-1])
    said.append(of_graph((folder / MODEL).read_bytes(), table.rows[folds[-1].test], task))
    kept = {"candidate": _joined(said)}
    baseline, why = _baseline(given, folds)
    if baseline is not None:
        kept["baseline"] = baseline
    np.savez(folder / SAID, allow_pickle=False, **kept)
    last = folds[-1]
    result |= {"train": _count(given, last), "validation": len(last.validation), "test": len(judging(folds))}
    result |= {"baseline": why, "search": search, "judged_by_a_part": given.training.batches is not None}
    result["folds"] = [
        {"train": len(parts.train), "test": len(parts.test), "metrics": metrics_of(task, table.labels[parts.test], one)}
        for parts, one in zip(folds, said, strict=True)
        if len(folds) > 1
    ]
    finish(folder, "train", result, [*files, SAID])


def _train(given: Given, parts: Parts, *, chosen: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """Fit, write as ONNX and prove; return what was found and the files that are left."""
    training, table, job, folder = given.training, given.table, given.job, given.folder
    rows = rounded(table.rows)
    estimator = _learned(given, rows, parts, chosen)
    said = of_estimator(estimator, rows[parts.test], training.task)
    metrics = metrics_of(training.task, table.labels[parts.test], said)
    metrics["training_rows"] = float(_count(given, parts))
    fitted = Fitted(estimator, *described(estimator), metrics=metrics, held_out=parts.test, task=training.task)
    candidate = prove(fitted, table, tolerance=given.definition.evaluation.parity_tolerance)
    why = f"{job['run']}: {job['reason']}".removeprefix(": ")[:1_000]
    facts, probe = said_of(candidate, description=why, parents=_parents(folder))
    facts.tags.update({"run": job["run"]} if job["run"] else {})
    (folder / MODEL).write_bytes(candidate.exported.content)
    (folder / "facts.pb").write_bytes(facts.SerializeToString())
    (folder / "probe.pb").write_bytes(probe.SerializeToString())
    certificate = candidate.certificate
    result = {
        "algorithm": fitted.algorithm,
        "dtype": candidate.exported.dtype,
        "parity": certificate.verdict.value,
        "max_delta": certificate.real.max_delta,
        "label_flips": certificate.flips,
        "certificate": json.loads(certificate.to_json()),
    }
    return result, [MODEL, "facts.pb", "probe.pb"]


def _earlier(given: Given, parts: Parts, chosen: Mapping[str, object]) -> Floats:
    """Return what is said of a fold by what learned from the rows before it."""
    if given.training.script:
        return of_graph(script.made(given, parts), given.table.rows[parts.test], given.task)
    rows = rounded(given.table.rows)
    return of_estimator(_learned(given, rows, parts, chosen), rows[parts.test], given.task)


def _learned(given: Given, rows: Floats, parts: Parts, chosen: Mapping[str, object]) -> Model:
    """Return the policy's estimator, fitted, stopped and calibrated."""
    labels = labels_of(given.table.labels, given.task)
    made = build(given.training, allowed=given.job["allowed"], parameters=chosen)
    train, validation = ((rows[at], labels[at]) for at in (parts.train, parts.validation))
    if given.training.batches:
        return batched.learn(given.training, made, batched.stream_of(given, parts), validation)
    return learn(given.training, made, train, validation)


def _count(given: Given, parts: Parts) -> int:
    """Return how many rows are learned from."""
    return batched.stream_of(given, parts).rows if given.training.batches else len(parts.train)


def _baseline(given: Given, folds: Sequence[Parts]) -> tuple[Floats | None, str]:
    """Return what the champion's recipe says, fitted to the candidate's rows, and `fitted`, or why not."""
    recipe, present = given.job.get("champion_recipe"), (finished(given.folder, "table") or {}).get("champion")
    if present is None:
        return None, "there is no champion"
    if recipe is None:
        return None, "the champion's recipe is not known: it was made by no run"
    former = definition_of(recipe)
    why = _differs(given, former)
    if why:
        return None, f"the champion's recipe {why}"
    theirs, rows = replace(given, definition=former), rounded(given.table.rows)
    said = []
    for parts in folds:
        content = export(_learned(theirs, rows, parts, {}), given.table.rows).content
        said.append(of_graph(content, given.table.rows[parts.test], given.task))
    return _joined(said), "fitted"


def _differs(given: Given, former: Definition) -> str:
    """Return why a recipe cannot learn from the candidate's rows; empty when it can."""
    if former.data.feature_set != given.definition.data.feature_set or former.training.script:
        return "takes other features"
    if former.training.task is not given.task:
        return "learns something else"
    if (former.training.batches is None) != (given.training.batches is None):
        return "learns from another part of the table"
    return "found what it learns by in a search that is not known" if former.training.search is not None else ""


def _joined(said: Sequence[Floats]) -> Floats:
    """Return answers one after the other; those of classes as wide as the widest."""
    return np.concatenate([widened(one, max(each.shape[-1] for each in said)) for one in said])


def _parents(folder: Path) -> list[int]:
    champion = (finished(folder, "table") or {}).get("champion")
    return [champion["version"]] if champion else []
