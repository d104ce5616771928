"""A loaded version, and the leases that keep it open."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gateway.models.pace import Pace
from registry.deployment import STACK_ROWS_MAX

if TYPE_CHECKING:
    from features.plan import FeaturePlan
    from gateway.models.session import Session


@dataclass(frozen=True, slots=True)
class VersionKey:
    """Which version of which model."""

    model: str
    version: int


class Slot:
    """A loaded version: its session, what it needs to be fed, and who is using it.

    A slot is leased by every wave that runs it and is only closed when it is retired and nobody leases it. Leases are
    counted per version, so that one stuck call cannot hold up another model's change.

    Parameters
    ----------
    key
        Which version.
    digest
        The artifact's sha256.
    session
        The graph.
    plan
        How the bound feature set is read; None when the caller sends every input.
    feature_set
        The bound feature set as ``name@digest``, for the journal; empty when there is none.
    feature_input
        The name of the input that the feature set fills; empty when there is none.
    stackable
        Whether rows of several calls may be run together: proved at load on the probe rows, bit by bit.
    finite
        The inputs that take finite numbers only.
    stack_rows_max
        How many rows may be run together.
    size_bytes
        How much memory it takes, as far as one could measure.

    Attributes
    ----------
    feature_dtype
        The element type of that input.
    more_inputs
        Whether the graph has inputs that the feature set does not fill.
    pace
        Whether it is slow.
    row_inputs
        The inputs whose first extent is free: it counts the rows of a call.
    agreements
        The other extents that the graph gives one name, each with its inputs and axes.
    """

    __slots__ = (
        "_leases",
        "_lock",
        "_retired",
        "agreements",
        "digest",
        "feature_dtype",
        "feature_input",
        "feature_set",
        "finite",
        "key",
        "more_inputs",
        "pace",
        "plan",
        "row_inputs",
        "session",
        "size_bytes",
        "stack_rows_max",
        "stackable",
    )

    def __init__(
        self,
        key: VersionKey,
        *,
        digest: str,
        session: Session,
        plan: FeaturePlan | None,
        feature_set: str,
        feature_input: str,
        stackable: bool,
        finite: frozenset[str] = frozenset(),
        stack_rows_max: int = STACK_ROWS_MAX,
        size_bytes: int = 0,
    ) -> None:
        self.key = key
        self.digest = digest
        self.session = session
        self.plan = plan
        self.feature_set = feature_set
        self.feature_input = feature_input
        self.stackable = stackable
        self.finite = finite
        self.stack_rows_max = stack_rows_max
        self.size_bytes = size_bytes
        self.feature_dtype = np.dtype(
            next((spec.dtype for spec in session.inputs if spec.name == feature_input), "float64")
        )
        self.more_inputs = any(spec.name != feature_input for spec in session.inputs)
        self.row_inputs = tuple(spec.name for spec in session.inputs if spec.shape and spec.shape[0] == -1)
        self.agreements = _agreements(session)
        self.pace = Pace()
        self._lock = threading.Lock()
        self._leases = 0
        self._retired = False

    def lease(self) -> None:
        """Keep the version open until `release`."""
        with self._lock:
            self._leases += 1

    def release(self) -> None:
        """Give the lease back."""
        with self._lock:
            self._leases -= 1

    def retire(self) -> None:
        """Say that no new lease is coming; called once the serving table no longer names the slot."""
        self._retired = True

    @property
    def is_free(self) -> bool:
        """Whether the slot is retired and nobody leases it."""
        with self._lock:
            return self._retired and self._leases == 0

    def close(self) -> None:
        """Free the session, which holds the interpreter for its time; only when `is_free`."""
        self.session.close()


def _agreements(session: Session) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    """Return the names of extents that stand at several places, with the inputs and axes of these."""
    places: dict[str, list[tuple[str, int]]] = {}
    for spec in session.inputs:
        for axis, symbol in enumerate(spec.symbols):
            if symbol:
                places.setdefault(symbol, []).append((spec.name, axis))
    # At the first axis alone they are the rows, which agree anyhow.
    return tuple(
        (symbol, tuple(found)) for symbol, found in places.items() if len(found) > 1 and any(axis for _, axis in found)
    )
