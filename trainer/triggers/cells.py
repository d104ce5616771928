"""Two distributions on the same cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from features.sketch import Sketch

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cells:
    """How many values of a reference and of a window lie in each cell.

    Attributes
    ----------
    values
        What stands for each cell: its upper end; float64 [cells], ascending.
    reference, window
        The counts, int64 [cells].
    exact
        Whether each distinct value has its own cell.
    """

    values: Floats
    reference: Counts
    window: Counts
    exact: bool

    @classmethod
    def of(cls, reference: Sketch, window: Sketch) -> Cells:
        """Return the two on common cells: those of the reference, where it is not exact.

        A sketch of one pass knows its distribution function at its points exactly; an exact window can be counted into
        any cells. So only what lies inside a cell of the reference is not compared.
        """
        if reference.error == 0 and window.error == 0:
            values = np.union1d(reference.values, window.values)
            return cls(values, _counted(reference, values), _counted(window, values), exact=True)
        values = reference.values if reference.error else window.values
        other = window if reference.error else reference
        if len(other.values) and other.values[-1] > values[-1]:
            values = np.append(values, other.values[-1])
        return cls(values, _counted(reference, values), _counted(window, values), exact=False)

    def binned(self, bins: int) -> Cells:
        """Return it with at most so many cells that bear about equal parts of the reference."""
        if len(self.values) <= bins:
            return self
        upto = np.cumsum(self.reference)
        place = np.minimum(np.ceil(upto * bins / upto[-1]).astype(np.int64), bins) - 1
        place = np.maximum(place, 0)
        # A cell goes where its last value does: cells of equal place are one.
        _, starts = np.unique(place, return_index=True)
        last = np.append(starts[1:], len(place)) - 1
        return Cells(
            self.values[last],
            np.add.reduceat(self.reference, starts),
            np.add.reduceat(self.window, starts),
            exact=False,
        )


def _counted(sketch: Sketch, values: Floats) -> Counts:
    """Return how many of a sketch's values lie in each of the cells that end at these values."""
    upto = np.concatenate([[0], np.cumsum(sketch.counts)])
    return np.diff(upto[np.searchsorted(sketch.values, values, side="right")], prepend=0)
