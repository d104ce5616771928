"""Tables out: the answers to a batch as columns, for pandas and Arrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from turnout.batch import BatchPart, BatchPrediction


@dataclass(frozen=True, slots=True, eq=False)
class OutColumn:
    """One value for each row of a batch, and which of the rows have none."""

    cells: NDArray[np.generic]
    missing: NDArray[np.bool_]


def columns_of(batch: BatchPrediction) -> dict[str, OutColumn]:
    """Return the answers by column.

    ``request_id``, ``version``, ``experiment``, ``variant`` and ``error`` (the reason, for rows that were not answered)
    come first, then the outputs: one column for an output of one element for each row, else one for each element,
    ``output.0``, ``output.1``, …
    """
    import numpy as np  # noqa: PLC0415  (loaded at first use)

    rows = len(batch)
    answered = np.zeros(rows, bool)
    facts = {
        "version": np.zeros(rows, np.int64),
        "experiment": np.full(rows, "", object),
        "variant": np.full(rows, "", object),
    }
    outputs: dict[str, OutColumn] = {}
    for part in batch.parts:
        answered[part.rows] = True
        for name, column in facts.items():
            column[part.rows] = getattr(part, name)
        for name, values in _elements(part).items():
            if name not in outputs:
                outputs[name] = OutColumn(np.zeros(rows, values.dtype), np.ones(rows, bool))
            outputs[name].cells[part.rows] = values
            outputs[name].missing[part.rows] = False
    errors = np.full(rows, None, object)
    for row, error in batch.errors.items():
        errors[row] = error.reason
    return {
        "request_id": OutColumn(np.array(batch.request_ids, object), np.zeros(rows, bool)),
        **{name: OutColumn(column, ~answered) for name, column in facts.items()},
        "error": OutColumn(errors, answered),
        **outputs,
    }


def to_pandas(batch: BatchPrediction) -> pd.DataFrame:
    """Return the answers as a DataFrame; what a row does not have is NaN among floats, else None."""
    import pandas as pd  # noqa: PLC0415  (only who wants one needs it)

    return pd.DataFrame({name: _filled(column) for name, column in columns_of(batch).items()})


def to_arrow(batch: BatchPrediction) -> pa.Table:
    """Return the answers as an Arrow table; what a row does not have is null."""
    import pyarrow as pa  # noqa: PLC0415  (only who wants one needs it)

    return pa.table({name: pa.array(column.cells, mask=column.missing) for name, column in columns_of(batch).items()})


def _elements(part: BatchPart) -> dict[str, NDArray[np.generic]]:
    """Return each output's elements, row by row."""
    found: dict[str, NDArray[np.generic]] = {}
    for name, array in part.outputs.items():
        rows = array.reshape(len(part.rows), -1)
        width = rows.shape[1]
        found |= {(name if width == 1 else f"{name}.{place}"): rows[:, place] for place in range(width)}
    return found


def _filled(column: OutColumn) -> NDArray[np.generic]:
    import numpy as np  # noqa: PLC0415  (loaded at first use)

    if not column.missing.any():
        return column.cells
    if column.cells.dtype.kind == "f":
        return np.where(column.missing, np.array(np.nan, column.cells.dtype), column.cells)
    filled = column.cells.astype(object)
    filled[column.missing] = None
    return filled
