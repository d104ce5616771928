"""What to load and what to let go, as a pure function of what is wanted and what is there.

The wanted set is always whole: what it omits is let go. Three rules keep every answer there is:

- What answers is never let go. The serving table keeps a model's old versions answering for as long as their successors
  do not, and names them here.
- What is not loaded yet is loaded beside what answers, the most urgent first, one at a time. A change of a version's
  settings is such a load, too: the new session comes beside the old one.
- A load that fails, or that there is no memory for, changes nothing but its own state. It is tried again a bounded
  number of times, after ever longer pauses; a new wish for the version is a new chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from gateway.models.slots import VersionKey

RETRIES_MAX = 5
RETRY_PAUSE_S = 0.5
RETRY_PAUSE_S_MAX = 30.0


class LoadState(Enum):
    """Where a version stands in a worker."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version that should be loaded.

    Attributes
    ----------
    key
        Which version.
    spec
        What it should be loaded as; a loaded version of another spec is wanted anew.
    size_bytes
        How much memory it takes, as far as one knows.
    """

    key: VersionKey
    spec: object
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """A version that is loaded: as what, and how much memory it takes."""

    spec: object
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A version that could not be loaded.

    Attributes
    ----------
    spec
        As what it was tried.
    tries
        How often in a row.
    retry_at
        When it may be tried again; infinity when the tries are spent.
    reason
        What was wrong the last time.
    """

    spec: object
    tries: int
    retry_at: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What there is.

    Attributes
    ----------
    wanted
        The whole wanted set, the most urgent first.
    ready, failed
        What is loaded, and what could not be.
    answering
        The versions that the serving table names.
    loading
        The load that is under way, if any.
    leaving_bytes
        What retired versions still hold.
    bytes_max
        How much all versions may hold together; 0 means no bound.
    now
        The time, on the clock of `Failure.retry_at`.
    """

    wanted: Sequence[Wanted]
    ready: Mapping[VersionKey, Ready]
    failed: Mapping[VersionKey, Failure]
    answering: AbstractSet[VersionKey]
    loading: Wanted | None = None
    leaving_bytes: int = 0
    bytes_max: int = 0
    now: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do next.

    Attributes
    ----------
    load
        What to begin to load; never while something is loading.
    abandon
        Whether what is loading is not wanted any more.
    unload
        What can be let go now.
    refused
        What there is no memory for, and why; it is looked at again with each step.
    settled
        Whether every wanted version is loaded, was tried, or is refused.
    look_again_at
        When there is something to try again; infinity when only news can change anything.
    """

    load: Wanted | None
    abandon: bool
    unload: tuple[VersionKey, ...]
    refused: Mapping[VersionKey, str]
    settled: bool
    look_again_at: float


def next_step(scene: Scene) -> Step:
    """Return what to do next."""
    specs = {each.key: each.spec for each in scene.wanted}
    unload = tuple(key for key in scene.ready if key not in specs and key not in scene.answering)
    abandon = scene.loading is not None and (
        scene.loading.key not in specs or specs[scene.loading.key] != scene.loading.spec
    )
    missing = [each for each in scene.wanted if not _is_there(each, scene)]
    due = [each for each in missing if each != scene.loading and _retry_at(each, scene) <= scene.now]
    memory = _Memory.of(scene, unload, abandon=abandon)
    refused = {each.key: memory.refusal(each) for each in due if not memory.could_hold(each)}
    may_load = (each for each in due if scene.loading is None and memory.holds(each))
    return Step(
        load=next(may_load, None),
        abandon=abandon,
        unload=unload,
        refused=refused,
        settled=all(each.key in refused or _retry_at(each, scene) > -math.inf for each in missing),
        look_again_at=min((at for each in missing if (at := _retry_at(each, scene)) > scene.now), default=math.inf),
    )


def failed_again(wanted: Wanted, before: Failure | None, *, reason: str, now: float, chance: float) -> Failure:
    """Return the failure of a version after one more try, with the time of the next one.

    The pauses double from `RETRY_PAUSE_S` to `RETRY_PAUSE_S_MAX`, each shortened by up to a half by chance, a number
    from 0 to 1: workers that failed together for the same reason do not try again together.
    """
    tries = before.tries + 1 if before is not None and before.spec == wanted.spec else 1
    pause_s = min(RETRY_PAUSE_S * 2 ** (tries - 1), RETRY_PAUSE_S_MAX) * (1.0 - chance / 2)
    return Failure(wanted.spec, tries, now + pause_s if tries <= RETRIES_MAX else math.inf, reason)


def _is_there(wanted: Wanted, scene: Scene) -> bool:
    there = scene.ready.get(wanted.key)
    return there is not None and there.spec == wanted.spec


def _retry_at(wanted: Wanted, scene: Scene) -> float:
    """Return when a version may be tried; minus infinity when it never was."""
    failure = scene.failed.get(wanted.key)
    return failure.retry_at if failure is not None and failure.spec == wanted.spec else -math.inf


@dataclass(frozen=True, slots=True)
class _Memory:
    """How much is held now, how much of that will be when what leaves has left, and how much may be; 0: any."""

    held_bytes: int
    staying_bytes: int
    bytes_max: int

    @classmethod
    def of(cls, scene: Scene, unload: tuple[VersionKey, ...], *, abandon: bool) -> _Memory:
        loading_bytes = scene.loading.size_bytes if scene.loading is not None else 0
        ready_bytes = sum(each.size_bytes for each in scene.ready.values())
        leaving_bytes = sum(scene.ready[key].size_bytes for key in unload) + (loading_bytes if abandon else 0)
        return cls(
            held_bytes=ready_bytes + scene.leaving_bytes + loading_bytes,
            staying_bytes=ready_bytes + loading_bytes - leaving_bytes,
            bytes_max=scene.bytes_max,
        )

    def holds(self, wanted: Wanted) -> bool:
        return not self.bytes_max or self.held_bytes + wanted.size_bytes <= self.bytes_max

    def could_hold(self, wanted: Wanted) -> bool:
        return not self.bytes_max or self.staying_bytes + wanted.size_bytes <= self.bytes_max

    def refusal(self, wanted: Wanted) -> str:
        return (
            f"it needs {wanted.size_bytes / 1e6:.1f} MB, and of the {self.bytes_max / 1e6:.1f} MB that all versions of "
            f"a worker may hold together {self.staying_bytes / 1e6:.1f} MB are held"
        )
