"""A training table's transforms: computed batch by batch, by the very code that computes them of a wave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features.kernels import Kernels
from features.offline import Batches
from features.transforms import is_computed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.definitions import FeatureSet


class Computed(Batches):
    """The batches of a table that has a column for each of a set's, with the transforms filled in."""

    __slots__ = ("_columns", "_inner", "_kernels")

    def __init__(self, inner: Batches, feature_set: FeatureSet) -> None:
        self._inner = inner
        self._columns = feature_set.columns
        self._kernels = Kernels(feature_set.transforms, feature_set.columns)
        self.schema = inner.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, each once."""
        for batch in self._inner:
            rows = np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in self._columns])
            self._kernels.fill(rows)
            filled = {name: rows[:, at] for at, name in enumerate(self._columns) if is_computed(name)}
            yield pa.RecordBatch.from_arrays(
                [pa.array(filled[name]) if name in filled else batch.column(name) for name in batch.schema.names],
                schema=batch.schema,
            )
