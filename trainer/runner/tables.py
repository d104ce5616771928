"""The tables of a run as its steps read and write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from trainer.errors import TrainingTableError
from trainer.runner.folder import finished
from trainer.split import Parts, split
from trainer.table import TrainingTable, training_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trainer.records.policy import Definition

TABLE, OF_CHAMPION, MODEL, CHAMPION_MODEL, BASELINE = (
    "table.arrow",
    "champion-table.arrow",
    "model.onnx",
    "champion.onnx",
    "baseline.onnx",
)
"""What steps leave in the folder of a run."""


def read(folder: Path, definition: Definition) -> tuple[TrainingTable, Parts]:
    """Return the training table and its parts, or raise TrainingTableError."""
    said = finished(folder, "table")
    if said is None:
        raise TrainingTableError("the training table is gone")
    table = table_in(
        folder / TABLE, said["feature_names"], definition.data.feature_set, said["fingerprint"], said["definition"]
    )
    if not np.isin(table.labels, (0, 1)).all():
        raise TrainingTableError("a label is neither 0 nor 1")
    data = definition.data
    parts = split(
        table.event_time_us,
        validation_share=data.validation_share,
        test_share=data.test_share,
        gap_us=data.gap,
    )
    for name in ("train", "test"):
        if len(np.unique(table.labels[getattr(parts, name)])) < 2:  # noqa: PLR2004  (both labels)
            raise TrainingTableError(f"the part {name!r} has one label alone", part=name)
    return table, parts


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
