"""Where each version stands in a worker, in the few states that others are told, each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.models.policy import RETRIES_MAX, LoadState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.models.policy import Failure, Scene, Step
    from gateway.models.slots import VersionKey

NOTHING_APPLIED = -1
"""The revision of a worker that has applied no desired set yet; an empty database is at 0."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one version stands, and why."""

    state: LoadState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the worker serves.

    Attributes
    ----------
    revision
        The newest revision that is applied as far as it can be: each of its versions is ready, or was tried.
    standings
        Where each version stands.
    held
        The models that are held, each with its reason.
    counts
        What loading and freeing came to so far, as plain numbers by name.
    """

    revision: int
    standings: Mapping[VersionKey, Standing]
    held: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)


def standings_of(
    scene: Scene, step: Step, *, held: Mapping[VersionKey, str], leaving: Mapping[VersionKey, str]
) -> dict[VersionKey, Standing]:
    """Return where each version stands.

    Parameters
    ----------
    scene, step
        What there is, and what comes next.
    held
        The versions that would be wanted if their models were not held, each with the reason.
    leaving
        The retired versions that are not freed yet, each with what holds it up.
    """
    found = {key: Standing(LoadState.DRAINING, reason) for key, reason in leaving.items()}
    found |= {key: Standing(LoadState.HELD, reason) for key, reason in held.items()}
    for each in scene.wanted:
        found[each.key] = _wanted(scene, step, each.key)
    for key in scene.ready.keys() - {each.key for each in scene.wanted}:
        found[key] = Standing(LoadState.READY, "answers until what is wanted in its place does")
    return found


def _wanted(scene: Scene, step: Step, key: VersionKey) -> Standing:
    spec = next(each.spec for each in scene.wanted if each.key == key)
    there = scene.ready.get(key)
    if there is not None and there.spec == spec:
        return Standing(LoadState.READY)
    failure = scene.failed.get(key)
    trouble = step.refused.get(key, "")
    if not trouble and failure is not None and failure.spec == spec:
        trouble = _told(failure)
    if there is not None:
        return Standing(LoadState.READY, f"with its settings before: {trouble or 'the new ones are being loaded'}")
    if trouble:  # while it is tried again, too
        return Standing(LoadState.FAILED, trouble)
    is_loading = scene.loading is not None and scene.loading.key == key
    return Standing(LoadState.LOADING, "" if is_loading else "waits for its turn")


def _told(failure: Failure) -> str:
    if failure.retry_at == math.inf:
        return f"{failure.reason} (tried {failure.tries} times; promote or load it again for another try)"
    return f"{failure.reason} (try {failure.tries} of {RETRIES_MAX + 1})"
