"""The champion: the version that answers when a call names none, made so by a promotion or a rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.alias_history import champion_line, was_champion
from registry.aliases import set_alias
from registry.clearance import NOTHING_KNOWN, Support
from registry.errors import NoEarlierChampionError
from registry.models import live_model
from registry.records import CHAMPION, AliasMove

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection


def promote(
    tx: Connection,
    model: str,
    number: int,
    *,
    generation: int | None = None,
    reason: str = "",
    evidence: Mapping[str, object] | None = None,
    support: Support = NOTHING_KNOWN,
    actor: str,
    now_us: int,
) -> AliasMove:
    """Make the version the champion and return the move; raises as `set_alias` does."""
    return set_alias(
        tx,
        model,
        number,
        alias=CHAMPION,
        generation=generation,
        reason=reason,
        evidence=evidence,
        support=support,
        actor=actor,
        now_us=now_us,
    )


def rollback(
    tx: Connection,
    model: str,
    *,
    number: int | None = None,
    generation: int | None = None,
    reason: str = "",
    support: Support = NOTHING_KNOWN,
    actor: str,
    now_us: int,
) -> AliasMove:
    """Make an earlier champion the champion again and return the move.

    Parameters
    ----------
    number
        The version to go back to; None: the champion before the present one. A rollback never goes forward again to
        what was rolled back from: after 1, 2, 3 one rollback gives 2 and the next gives 1.

    Raises
    ------
    NoEarlierChampionError
        There was no champion before, or `number` never was one.
    AliasMovedError
        `champion` is at another generation than the one given.
    TaintedError
        What it goes back to is marked as wrong. Gates are not asked: a bad champion must be left at once.
    """
    live_model(tx, model)
    if number is None:
        line = champion_line(tx, model)
        if len(line) <= 1:
            raise NoEarlierChampionError(f"{model!r} has no champion before the present one", model=model)
        number = line[-2]
    elif not was_champion(tx, model, number):
        raise NoEarlierChampionError(
            f"version {number} of {model!r} never was the champion: promote it instead", model=model, version=number
        )
    return set_alias(
        tx,
        model,
        number,
        alias=CHAMPION,
        generation=generation,
        reason=reason,
        support=support,
        actor=actor,
        now_us=now_us,
        rollback=True,
    )
