"""What to load and what to let go, as a pure function of what is wanted and what is there.

The wanted set is always whole: what it omits is let go. Nothing is let go while it is still needed to answer: a model
whose wanted versions are not ready yet keeps the ones it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.models.slots import VersionKey


class LoadState(Enum):
    """Where a version stands in a worker."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """The next thing to do: at most one load, and what can be let go now."""

    load: VersionKey | None
    unload: tuple[VersionKey, ...]


def next_step(wanted: Sequence[VersionKey], states: Mapping[VersionKey, LoadState]) -> Step:
    """Return what to do next.

    Parameters
    ----------
    wanted
        The whole wanted set, the most urgent first.
    states
        Where each known version stands.

    Notes
    -----
    - A wanted version that is unknown is loaded, in order, one at a time. A failed one is not tried again until the
      wanted set changes (the caller forgets failures then).
    - A version that is not wanted is let go only when no wanted version of its model is still to be loaded, and at
      least one wanted version of the model is ready, or none of the model is wanted at all.
    """
    load = next((key for key in wanted if key not in states), None)
    pending = {key.model for key in wanted if states.get(key) in (None, LoadState.LOADING)}
    answering = {key.model for key in wanted if states.get(key) is LoadState.READY}
    wanted_models = {key.model for key in wanted}
    keep = set(wanted)
    unload = tuple(
        key
        for key, state in states.items()
        if key not in keep
        and state in (LoadState.READY, LoadState.FAILED)
        and (key.model not in wanted_models or (key.model in answering and key.model not in pending))
    )
    return Step(load=load, unload=unload)
