"""The evidence that triggers judge: what was stored of a model, gathered by whoever runs the check.

Everything may be absent. A trigger that lacks what it needs says INSUFFICIENT and names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LABEL, OUTPUT = "label", "output:"
"""The column of the label, and what the names of columns of outputs begin with."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as columns of one length, float64; NaN is a missing value.

    Attributes
    ----------
    columns
        By name: the features ``view.column`` in the order of the set, outputs ``output:NAME``, and ``label``.
    categorical
        The columns whose numbers are names of categories. Others with few distinct values are taken for such too.
    """

    columns: Mapping[str, Floats]
    categorical: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values()), ()))

    @property
    def features(self) -> list[str]:
        """The columns that are features: a label that is not known yet, or an answer, is not missing."""
        return [name for name in self.columns if name != LABEL and not name.startswith(OUTPUT)]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Answers and what became true, oldest first; arrays of one length.

    Attributes
    ----------
    scores
        What the version said: the probability of the positive class, those of the classes [n, classes], or the
        predicted number.
    labels
        What became true; NaN where it is not known yet.
    time_us
        When it was predicted; microseconds since the Unix epoch.
    """

    scores: Floats
    labels: Floats
    time_us: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StatusCount:
    """How the lookups of one view ended, by the name of the status: PRESENT, NULL, MISSING, STALE, DEFAULTED."""

    view: str
    calls: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of a model when a check is due.

    Attributes
    ----------
    now_us
        When the check is made; microseconds since the Unix epoch.
    published_us
        When the version that serves was published.
    metrics
        What that version's held-out metrics were when it was published.
    reference
        The profile of the table that it was trained on, as the document that the registry keeps with the version.
    reference_rows
        A fair sample of the rows that it was trained on, for what looks at several features at once.
    window
        What it was asked lately, and what it answered.
    reference_labelled
        Its held-out answers and labels from before it served.
    labelled
        Its answers in the window, with the labels that are known.
    statuses, reference_statuses
        How feature lookups ended in the window, and in a time that was in order.
    skew, skew_calls
        What a replay of the window's features found wrong, a sentence each; None: none was made.
    new_labels
        How many labels have become known since the version's training table was made.
    trained_on_digest, current_digest
        The digest of the feature set that the version was trained on, and the one that the set has now.
    request
        Who asked for a run, and why; None: nobody did.
    """

    now_us: int
    published_us: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    reference: Mapping[str, object] = field(default_factory=dict)
    reference_rows: Rows | None = None
    window: Rows | None = None
    reference_labelled: Labelled | None = None
    labelled: Labelled | None = None
    statuses: tuple[StatusCount, ...] = ()
    reference_statuses: tuple[StatusCount, ...] = ()
    skew: tuple[str, ...] | None = None
    skew_calls: int = 0
    new_labels: int | None = None
    trained_on_digest: str = ""
    current_digest: str = ""
    request: Request | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody asked for a run: by the contract, the command line or a webhook."""

    actor: str
    reason: str
    time_us: int
