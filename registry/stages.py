"""Where a version may go from where it stands.

::

    development ⇄ staging        either way, by hand
    development, staging → production    only by holding `champion`; the former champion goes to staging
    development, staging → archived → development

Production is by definition the version that holds `champion`, so no hand moves a version in or out of it.
"""

from __future__ import annotations

from registry.errors import StageMoveError
from registry.records import Stage

BY_HAND: dict[Stage, frozenset[Stage]] = {
    Stage.DEVELOPMENT: frozenset({Stage.STAGING, Stage.ARCHIVED}),
    Stage.STAGING: frozenset({Stage.DEVELOPMENT, Stage.ARCHIVED}),
    Stage.PRODUCTION: frozenset(),
    Stage.ARCHIVED: frozenset({Stage.DEVELOPMENT}),
}

MAY_BE_NAMED = frozenset({Stage.DEVELOPMENT, Stage.STAGING, Stage.PRODUCTION})
"""The stages in which an alias may come to name a version."""


def check_move(name: str, before: Stage, after: Stage) -> None:
    """Raise StageMoveError unless a hand may move the version of this name from one stage to the other."""
    if after in BY_HAND[before]:
        return
    if Stage.PRODUCTION in {before, after}:
        why = "production is the version that holds `champion`: promote another one, or this one"
    else:
        ways = ", ".join(sorted(stage.value for stage in BY_HAND[before]))
        why = f"from {before.value} it goes to: {ways}"
    raise StageMoveError(
        f"{name} does not go from {before.value} to {after.value}; {why}", name=name, stage=before.value
    )
