"""The step `evaluate`: the candidate beside the champion on the rows that neither has learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.champion import Champion, probabilities
from trainer.errors import EvaluationFailedError
from trainer.evaluation.verdict import Held, judge
from trainer.records.policy import primary_of
from trainer.records.rules import definition_of
from trainer.runner.folder import finish, finished
from trainer.runner.tables import BASELINE, CHAMPION_MODEL, MODEL, OF_CHAMPION, TABLE, load, read, table_in

if TYPE_CHECKING:
    from pathlib import Path

Job = dict[str, Any]


def run(job: Job, folder: Path) -> None:
    """Compare the candidate with the champion on the rows that neither has learned from."""
    definition = definition_of(job["definition"])
    table, parts = read(folder, definition)
    said = finished(folder, "table") or {}
    test = parts.test
    rows = table.rows[test]
    champion = said["champion"] and Champion(**said["champion"])
    of_champion = None
    if champion:
        theirs = rows
        if (folder / OF_CHAMPION).exists():
            other = table_in(folder / OF_CHAMPION, champion.feature_names, champion.feature_set)
            theirs = other.rows[test]
        elif not champion.feature_set:
            raise EvaluationFailedError("the champion takes no feature set: it cannot be asked on the same rows")
        of_champion = probabilities((folder / CHAMPION_MODEL).read_bytes(), theirs)
    baseline = None
    if (folder / BASELINE).exists():
        baseline = probabilities((folder / BASELINE).read_bytes(), rows)
    content = load(folder / TABLE)
    missing = [name for name in definition.evaluation.slices if name not in content.column_names]
    if missing:
        raise EvaluationFailedError(f"the label rows have no column {missing[0]!r} to make slices of")
    held = Held(
        labels=table.labels[test],
        candidate=probabilities((folder / MODEL).read_bytes(), rows),
        champion=of_champion,
        baseline=baseline,
        slices={
            name: np.asarray(content.column(name).to_pylist(), dtype=object)[test]
            for name in definition.evaluation.slices
        },
    )
    judgement = judge(definition.evaluation, primary_of(definition), held, seed=definition.training.seed)
    finish(folder, "evaluate", judgement.document(), [])
