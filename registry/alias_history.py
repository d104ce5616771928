"""The moves of aliases, which are kept for good: listed, looked up by time, and the line of champions they make."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from registry import tables
from registry.models import get_model
from registry.records import CHAMPION, AliasMove

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Row

MOVE_FIELDS = tuple(field.name for field in fields(AliasMove))
"""The columns of a move."""


def alias_history(
    tx: Connection, model: str, *, alias: str = "", before_revision: int | None = None, limit_max: int
) -> list[AliasMove]:
    """Return at most `limit_max` moves of one alias, or of all, newest first, or raise ModelMissingError."""
    get_model(tx, model)
    query = select(tables.alias_moves).where(tables.alias_moves.c.model == model)
    if alias:
        query = query.where(tables.alias_moves.c.alias == alias)
    if before_revision is not None:
        query = query.where(tables.alias_moves.c.revision < before_revision)
    return [_move(row) for row in tx.execute(query.order_by(tables.alias_moves.c.revision.desc()).limit(limit_max))]


def alias_at(tx: Connection, model: str, alias: str, *, time_us: int) -> AliasMove | None:
    """Return the move by which the alias stood as it did at that time; None when it named nothing then.

    One version holds an alias from its move's time, inclusive, to the next one's.
    """
    get_model(tx, model)
    moves = tables.alias_moves
    query = (
        select(moves)
        .where(moves.c.model == model, moves.c.alias == alias, moves.c.time_us <= time_us)
        .order_by(moves.c.time_us.desc(), moves.c.generation.desc())
        .limit(1)
    )
    row = tx.execute(query).one_or_none()
    return None if row is None or row.removed else _move(row)


def champion_line(tx: Connection, model: str) -> tuple[int, ...]:
    """Return the champions from the first to the present one, without those that were rolled back from."""
    query = (
        select(tables.alias_moves.c.to_version, tables.alias_moves.c.rollback)
        .where(
            tables.alias_moves.c.model == model,
            tables.alias_moves.c.alias == CHAMPION,
            tables.alias_moves.c.removed.is_(False),
        )
        .order_by(tables.alias_moves.c.generation)
    )
    return line_of((row.to_version, row.rollback) for row in tx.execute(query))


def line_of(moves: Iterable[tuple[int, bool]]) -> tuple[int, ...]:
    """Return the line of champions that these moves (version, whether a rollback), oldest first, leave behind.

    A promotion adds its version. A rollback takes off what came after the version it goes back to; when that version
    is no longer on the line (it was itself rolled back from), the rollback adds it as a promotion would.
    """
    line: list[int] = []
    for version, is_rollback in moves:
        if is_rollback and version in line:
            while line[-1] != version:
                line.pop()
        elif not line or line[-1] != version:
            line.append(version)
    return tuple(line)


def was_champion(tx: Connection, model: str, number: int) -> bool:
    """Return whether the version ever was the champion."""
    query = select(tables.alias_moves.c.generation).where(
        tables.alias_moves.c.model == model,
        tables.alias_moves.c.alias == CHAMPION,
        tables.alias_moves.c.to_version == number,
    )
    return tx.execute(query.limit(1)).first() is not None


def _move(row: Row[Any]) -> AliasMove:
    return AliasMove(**{name: getattr(row, name) for name in MOVE_FIELDS})
