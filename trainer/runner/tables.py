"""The tables of a run as its steps read and write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from trainer.answers import check_labels, check_part
from trainer.errors import TrainingTableError
from trainer.records.policy import Task
from trainer.runner.folder import finished
from trainer.split import Parts, split, walk
from trainer.table import TrainingTable, training_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainer.records.policy import Definition

TABLE, OF_CHAMPION, MODEL, CHAMPION_MODEL, SAID = (
    "table.arrow",
    "champion-table.arrow",
    "model.onnx",
    "champion.onnx",
    "said.npz",
)
"""What steps leave in the folder of a run; the last: what was said of the rows that judge."""
_FOLDS_MIN = 2


def read(folder: Path, definition: Definition) -> tuple[TrainingTable, list[Parts]]:
    """Return the training table and its folds, the last of which is published; or raise TrainingTableError."""
    said = finished(folder, "table")
    if said is None:
        raise TrainingTableError("the training table is gone")
    table = table_in(
        folder / TABLE, said["feature_names"], definition.data.feature_set, said["fingerprint"], said["definition"]
    )
    task = definition.training.task
    check_labels(table.labels, task)
    folds = folds_of(table.event_time_us, definition)
    classes = classes_of(table, task)
    check_part(table.labels[judging(folds)], task, part="test", classes=classes)
    for parts in folds:
        check_part(table.labels[parts.train], task, part="train", classes=classes)
    return table, folds


def judging(folds: Sequence[Parts]) -> NDArray[np.int64]:
    """Return the rows that judge, of all folds."""
    return np.concatenate([parts.test for parts in folds])


def classes_of(table: TrainingTable, task: Task) -> int:
    """Return how many classes the labels of a table are of; 0 of numbers."""
    return 0 if task is Task.REGRESSION else int(table.labels.max()) + 1


def folds_of(event_time_us: NDArray[np.int64], definition: Definition) -> list[Parts]:
    """Return the folds of rows at these times, the last of which is published, or raise TrainingTableError."""
    data = definition.data
    parts = split(event_time_us, validation_share=data.validation_share, test_share=data.test_share, gap_us=data.gap)
    if data.folds < _FOLDS_MIN:
        return [parts]
    return walk(event_time_us, parts, folds=data.folds, validation_share=data.validation_share, gap_us=data.gap)


def table_in(
    path: Path, names: Sequence[str], feature_set: str, fingerprint: str = "", definition: str = ""
) -> TrainingTable:
    """Return the table of a file."""
    table = training_table(load(path), feature_set=feature_set, feature_names=names, fingerprint=fingerprint)
    return TrainingTable(
        table.feature_set, table.feature_names, table.rows, table.labels, table.event_time_us, fingerprint, definition
    )


def write(path: Path, content: pa.Table) -> None:
    """Write a table to a file."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, content.schema) as writer:
        writer.write_table(content)


def load(path: Path) -> pa.Table:
    """Return the table of a file with all its columns."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
