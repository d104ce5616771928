"""Rounding: values as float32 would hold them, as both estimators and graphs get them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rounded(rows: NDArray[np.float64], *, wide: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return the values as float32 would hold them, except in columns where that loses what tells rows apart.

    Parameters
    ----------
    rows
        Rows [n, features].
    wide
        Which columns lose it [features]; found from the rows unless given.
    """
    with np.errstate(over="ignore"):  # beyond float32 lies infinity, for the graph too
        single = rows.astype(np.float32).astype(np.float64)
    return np.where(loses_detail(rows) if wide is None else wide, rows, single)


def loses_detail(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return for each column whether float32 steps at its magnitude exceed a thousandth of its spread.

    Epoch seconds do: at 1.4e9 two neighbouring float32 values are 128 s apart.
    """
    known = np.where(np.isfinite(rows), rows, np.nan)
    if not len(rows):
        return np.zeros(rows.shape[1], dtype=bool)
    with np.errstate(all="ignore"):
        magnitude = np.nan_to_num(np.fmax.reduce(np.abs(known), axis=0))
        low, high = np.fmin.reduce(known, axis=0), np.fmax.reduce(known, axis=0)
        spread = np.nan_to_num(high - low)
    step = np.spacing(magnitude.astype(np.float32)).astype(np.float64)
    return cast("NDArray[np.bool_]", (spread > 0) & (step > spread / 1000))
