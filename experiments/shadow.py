"""A shadow: a version that answers nobody and is run on a part of what a model's callers ask."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.bucketing import BUCKETS
from experiments.errors import ShadowInvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """The shadow of a model; it has one at the most.

    Attributes
    ----------
    model
        The model's id.
    version, alias
        What runs: this version, or whatever version has this alias; the other is 0 or empty.
    share
        The part of the model's calls that is sampled, in (0, 1].
    set_us, set_by
        When it was last set, and by whom.
    """

    model: str
    version: int = 0
    alias: str = ""
    share: float = 1.0
    set_us: int = 0
    set_by: str = ""

    @property
    def places(self) -> int:
        """How many of the places of `experiments.bucketing` are sampled: those from 0 on."""
        return round(self.share * BUCKETS)


def shadow_seed(model: str) -> str:
    """Return what goes before the unit into the hash that samples a model's calls."""
    return f"shadow:{model}"


def checked(shadow: Shadow) -> Shadow:
    """Return the shadow, or raise ShadowInvalidError."""
    if bool(shadow.version) == bool(shadow.alias):
        raise ShadowInvalidError("a shadow has a version or an alias: give one of them", model=shadow.model)
    if not (0 < shadow.share <= 1 and shadow.places):
        raise ShadowInvalidError(
            f"the share is {shadow.share:g}, not from {1 / BUCKETS:g} to 1", model=shadow.model, share=shadow.share
        )
    return shadow
