"""What is asked of the online store for a wave, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from features.plan import FeaturePlan

# The numbers of turnout.serving.v1.ViewStatus.
PRESENT = 1
MISSING = 2
STALE = 3
UNAVAILABLE = 4
GIVEN = 5
NULL = 6
STALE_SERVED = 7

AGE_NONE_MS = -1


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """The calls of a wave that read one feature set.

    Attributes
    ----------
    plan
        How the set is read.
    entities
        One mapping a call: join key to value. A view whose join key is not there is MISSING for that call.
    times_us
        One time a call, which ages are counted from; None: the time of the wave.
    given
        One mapping a call: the features that the caller gave, by name, which win over stored ones; None: nobody gave
        any. A view that is given whole is not asked for.
    """

    plan: FeaturePlan
    entities: Sequence[Mapping[str, str]]
    times_us: Sequence[int] | None = None
    given: Sequence[Mapping[str, float]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMatrix:
    """The features of a lookup.

    Attributes
    ----------
    values
        float64 [calls, features]: given, stored, else the default; NaN for a request feature with neither.
    statuses
        One byte for each call and view, call by call: how its values came about.
    ages_ms
        As many ages in milliseconds: the call's time minus the value's event time, 0 for one from the future; -1 when
        nothing was found. These two are plain, since a wave of one is quicker without arrays for three numbers.
    """

    values: NDArray[np.float64]
    statuses: bytearray
    ages_ms: list[int]

    @property
    def status(self) -> NDArray[np.uint8]:
        """The statuses as uint8 [calls, views]."""
        return np.frombuffer(self.statuses, np.uint8).reshape(len(self.values), -1)

    @property
    def age_ms(self) -> NDArray[np.int64]:
        """The ages as int64 [calls, views]."""
        return np.array(self.ages_ms, np.int64).reshape(len(self.values), -1)
