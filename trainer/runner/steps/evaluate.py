"""The step `evaluate`: the candidate beside the champion on the rows that neither has learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.answers import of_graph, widened
from trainer.champion import Champion
from trainer.errors import EvaluationFailedError
from trainer.evaluation.verdict import Held, judge
from trainer.records.policy import primary_of
from trainer.records.rules import definition_of
from trainer.runner.folder import finish, finished
from trainer.runner.tables import (
    CHAMPION_MODEL,
    OF_CHAMPION,
    SAID,
    TABLE,
    classes_of,
    judging,
    load,
    read,
    table_in,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.records.policy import Task
    from trainer.table import TrainingTable

    Floats = NDArray[np.float64]

Job = dict[str, Any]


def run(job: Job, folder: Path) -> None:
    """Compare the candidate with the champion on the rows that neither has learned from."""
    definition = definition_of(job["definition"])
    task = definition.training.task
    table, folds = read(folder, definition)
    test, classes = judging(folds), classes_of(table, task)
    with np.load(folder / SAID) as kept:
        candidate, baseline = kept["candidate"], kept.get("baseline")
    content = load(folder / TABLE)
    missing = [name for name in definition.evaluation.slices if name not in content.column_names]
    if missing:
        raise EvaluationFailedError(f"the label rows have no column {missing[0]!r} to make slices of")
    champion = _said_by_champion(folder, table, test, task)
    widest = max(
        [classes, *(said.shape[1] for said in (candidate, champion, baseline) if said is not None and said.ndim > 1)]
    )
    held = Held(
        labels=table.labels[test],
        candidate=widened(candidate, widest),
        champion=None if champion is None else widened(champion, widest),
        baseline=None if baseline is None else widened(baseline, widest),
        slices={
            name: np.asarray(content.column(name).to_pylist(), dtype=object)[test]
            for name in definition.evaluation.slices
        },
        task=task,
    )
    judgement = judge(definition.evaluation, primary_of(definition), held, seed=definition.training.seed)
    finish(folder, "evaluate", judgement.document(), [])


def _said_by_champion(folder: Path, table: TrainingTable, test: NDArray[np.int64], task: Task) -> Floats | None:
    """Return what the champion says of the rows that judge; None where there is none."""
    said = finished(folder, "table") or {}
    champion = said["champion"] and Champion(**said["champion"])
    if not champion:
        return None
    theirs = table.rows[test]
    if (folder / OF_CHAMPION).exists():
        theirs = table_in(folder / OF_CHAMPION, champion.feature_names, champion.feature_set).rows[test]
    elif not champion.feature_set:
        raise EvaluationFailedError("the champion takes no feature set: it cannot be asked on the same rows")
    return of_graph((folder / CHAMPION_MODEL).read_bytes(), theirs, task)
