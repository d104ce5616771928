"""Aliases: moved by compare-and-set, and every move kept for good."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from registry import tables
from registry.errors import AliasMovedError, NoEarlierChampionError
from registry.models import get_model
from registry.names import check_alias
from registry.records import CHAMPION, Alias, AliasMove, Stage
from registry.versions import get_version, set_stage
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Row

_MOVE_FIELDS = tuple(field.name for field in fields(AliasMove))


def set_alias(
    tx: Connection,
    model: str,
    number: int,
    *,
    alias: str,
    generation: int | None = None,
    reason: str = "",
    evidence: Mapping[str, object] | None = None,
    actor: str,
    now_us: int,
    rollback: bool = False,
) -> AliasMove:
    """Let the alias name this version and return the move.

    Moving `champion` moves the stages too: the version goes into production, the former champion back to staging.

    Parameters
    ----------
    generation
        The generation that the caller has seen; 0 for an alias that must not exist yet; None: not compared.
    rollback
        Whether the move is one to an earlier champion; `rollback` knows.

    Raises
    ------
    VersionMissingError
        The model has no such version.
    AliasMovedError
        The alias is at another generation than the one given. Nothing was changed.
    NameInvalidError
        The alias cannot be called that.
    """
    check_alias(alias)
    get_version(tx, model, number)
    before = _standing(tx, model, alias)
    if generation is not None and generation != before.generation:
        raise AliasMovedError(
            f"{alias!r} of {model!r} is at generation {before.generation}, not {generation}: somebody moved it; look "
            "again",
            alias=alias,
            generation=before.generation,
            asked_generation=generation,
            version=before.version,
        )
    after = Alias(alias, number, before.generation + 1)
    _place(tx, model, before, after)
    revision = record_change(
        tx,
        kind="model.rolled_back" if rollback else "alias.moved",
        resource=f"models/{model}",
        actor=actor,
        detail={
            "alias": alias,
            "from": before.version,
            "to": number,
            "generation": after.generation,
            "reason": reason,
        },
        now_us=now_us,
    )
    move = AliasMove(
        model=model,
        alias=alias,
        generation=after.generation,
        from_version=before.version,
        to_version=number,
        time_us=now_us,
        actor=actor,
        reason=reason,
        evidence=dict(evidence or {}),
        rollback=rollback,
        revision=revision,
    )
    tx.execute(insert(tables.alias_moves).values({name: getattr(move, name) for name in _MOVE_FIELDS}))
    return move


def promote(
    tx: Connection,
    model: str,
    number: int,
    *,
    generation: int | None = None,
    reason: str = "",
    evidence: Mapping[str, object] | None = None,
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
    """
    get_model(tx, model)
    if number is None:
        line = champion_line(tx, model)
        if len(line) <= 1:
            raise NoEarlierChampionError(f"{model!r} has no champion before the present one", model=model)
        number = line[-2]
    elif not _was_champion(tx, model, number):
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
        actor=actor,
        now_us=now_us,
        rollback=True,
    )


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


def champion_line(tx: Connection, model: str) -> tuple[int, ...]:
    """Return the champions from the first to the present one, without those that were rolled back from."""
    query = (
        select(tables.alias_moves.c.to_version, tables.alias_moves.c.rollback)
        .where(tables.alias_moves.c.model == model, tables.alias_moves.c.alias == CHAMPION)
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


def _standing(tx: Connection, model: str, alias: str) -> Alias:
    """Return the alias as it stands; version and generation are 0 when it was never set."""
    query = select(tables.aliases).where(tables.aliases.c.model == model, tables.aliases.c.alias == alias)
    row = tx.execute(query).one_or_none()
    return Alias(alias, 0, 0) if row is None else Alias(alias, row.version, row.generation)


def _place(tx: Connection, model: str, before: Alias, after: Alias) -> None:
    """Let the alias stand anew, and move the stages when it is the champion's."""
    values = {"version": after.version, "generation": after.generation}
    if before.generation:
        where = (tables.aliases.c.model == model) & (tables.aliases.c.alias == after.alias)
        tx.execute(update(tables.aliases).where(where).values(**values))
    else:
        tx.execute(insert(tables.aliases).values(model=model, alias=after.alias, **values))
    if after.alias == CHAMPION:
        if before.version:
            set_stage(tx, model, before.version, stage=Stage.STAGING)
        set_stage(tx, model, after.version, stage=Stage.PRODUCTION)


def _was_champion(tx: Connection, model: str, number: int) -> bool:
    query = select(tables.alias_moves.c.generation).where(
        tables.alias_moves.c.model == model,
        tables.alias_moves.c.alias == CHAMPION,
        tables.alias_moves.c.to_version == number,
    )
    return tx.execute(query.limit(1)).first() is not None


def _move(row: Row[Any]) -> AliasMove:
    return AliasMove(**{name: getattr(row, name) for name in _MOVE_FIELDS})
