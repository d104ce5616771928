"""Aliases: moved by compare-and-set, and every move kept for good."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from registry import tables
from registry.alias_history import MOVE_FIELDS
from registry.clearance import NOTHING_KNOWN, Support, clear
from registry.errors import AliasMissingError, AliasMovedError, NameInvalidError, StageMoveError
from registry.models import get_model, live_model
from registry.names import check_alias
from registry.records import CHAMPION, Alias, AliasMove, Stage
from registry.stages import MAY_BE_NAMED
from registry.versions import live_version, set_stage
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection


def set_alias(
    tx: Connection,
    model: str,
    number: int,
    *,
    alias: str,
    generation: int | None = None,
    reason: str = "",
    evidence: Mapping[str, object] | None = None,
    expires_us: int = 0,
    support: Support = NOTHING_KNOWN,
    actor: str,
    now_us: int,
    rollback: bool = False,
) -> AliasMove:
    """Let the alias name this version and return the move.

    Moving `champion` moves the stages too: the version goes into production, the former champion back to staging. It
    takes passing the model's gates, whose verdicts are kept.

    Parameters
    ----------
    generation
        The generation that the caller has seen; 0 for an alias that must not exist yet; None: not compared.
    expires_us
        When the alias ends by itself, in microseconds since the Unix epoch; 0: never. `champion` never does.
    support
        What is known beyond the registry for the gates of `champion`.
    rollback
        Whether the move is one to an earlier champion; `rollback` knows.

    Raises
    ------
    VersionMissingError, VersionDeletedError, ModelDeletedError, StageMoveError
        The model has no such version, one of them is deleted, or the version is archived.
    AliasMovedError
        The alias is at another generation than the one given. Nothing was changed.
    GatesNotPassedError, TaintedError
        It may not become the champion. Nothing was changed.
    NameInvalidError
        The alias cannot be called that, or cannot end by itself.
    """
    check_alias(alias)
    check_expiry(alias, expires_us, now_us)
    live_model(tx, model)
    version = live_version(tx, model, number)
    if version.stage not in MAY_BE_NAMED:
        raise StageMoveError(
            f"version {number} of {model!r} is {version.stage.value}: take it back to development first",
            model=model,
            version=number,
        )
    before = _seen(tx, model, alias, generation)
    after = Alias(alias, number, _last_generation(tx, model, alias) + 1, expires_us)
    move = _record(
        tx,
        model,
        before,
        after,
        AliasMove(
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
            revision=0,
            expires_us=expires_us,
        ),
    )
    if alias == CHAMPION:
        clear(
            tx, version, before.version, support, rollback=rollback, revision=move.revision, actor=actor, now_us=now_us
        )
    _place(tx, model, before, after)
    return move


def remove_alias(
    tx: Connection,
    model: str,
    alias: str,
    *,
    generation: int | None = None,
    reason: str = "",
    actor: str,
    now_us: int,
) -> AliasMove:
    """Let the alias name nothing and return the move; the version that held `champion` goes back to staging.

    Raises
    ------
    AliasMissingError
        The model has no such alias.
    AliasMovedError
        The alias is at another generation than the one given. Nothing was changed.
    """
    get_model(tx, model)
    before = _seen(tx, model, alias, generation)
    if not before.version:
        raise AliasMissingError(f"the model {model!r} has no alias {alias[:63]!r}", model=model, alias=alias[:63])
    move = AliasMove(
        model=model,
        alias=alias,
        generation=before.generation + 1,
        from_version=before.version,
        to_version=before.version,
        time_us=now_us,
        actor=actor,
        reason=reason,
        evidence={},
        rollback=False,
        revision=0,
        removed=True,
    )
    move = _record(tx, model, before, Alias(alias, 0, move.generation), move)
    tx.execute(delete(tables.aliases).where(tables.aliases.c.model == model, tables.aliases.c.alias == alias))
    if alias == CHAMPION:
        set_stage(tx, model, before.version, stage=Stage.STAGING)
    return move


def remove_expired(tx: Connection, *, now_us: int) -> list[AliasMove]:
    """Remove the aliases whose time is over and return their moves."""
    query = select(tables.aliases).where(tables.aliases.c.expires_us > 0, tables.aliases.c.expires_us <= now_us)
    due = tx.execute(query.order_by(tables.aliases.c.model, tables.aliases.c.alias)).all()
    return [
        remove_alias(tx, row.model, row.alias, reason="its time is over", actor="turnout", now_us=now_us) for row in due
    ]


def check_expiry(alias: str, expires_us: int, now_us: int) -> None:
    """Raise NameInvalidError when the alias cannot end at that time."""
    if expires_us and alias == CHAMPION:
        raise NameInvalidError(f"{CHAMPION!r} does not end by itself: a model would stop answering", alias=alias)
    if expires_us and expires_us <= now_us:
        raise NameInvalidError("the alias would end before it begins", alias=alias, expires_us=expires_us)


def _seen(tx: Connection, model: str, alias: str, generation: int | None) -> Alias:
    """Return the alias as it stands, or raise AliasMovedError when the caller saw another generation."""
    before = _standing(tx, model, alias)
    shown = before.generation if before.version else 0
    if generation is not None and generation != shown:
        raise AliasMovedError(
            f"{alias!r} of {model!r} is at generation {shown}, not {generation}: somebody moved it; look again",
            alias=alias,
            generation=shown,
            asked_generation=generation,
            version=before.version,
        )
    return before


def _standing(tx: Connection, model: str, alias: str) -> Alias:
    """Return the alias as it stands; version and generation are 0 when it names nothing."""
    query = select(tables.aliases).where(tables.aliases.c.model == model, tables.aliases.c.alias == alias)
    row = tx.execute(query).one_or_none()
    return Alias(alias, 0, 0) if row is None else Alias(alias, row.version, row.generation, row.expires_us)


def _last_generation(tx: Connection, model: str, alias: str) -> int:
    """Return the newest generation that the alias ever had: one that was removed and comes back goes on counting."""
    moves = tables.alias_moves
    query = select(func.max(moves.c.generation)).where(moves.c.model == model, moves.c.alias == alias)
    return int(tx.execute(query).scalar() or 0)


def _record(tx: Connection, model: str, before: Alias, after: Alias, move: AliasMove) -> AliasMove:
    """Write down the move and return it with its revision."""
    kind = "model.rolled_back" if move.rollback else "alias.removed" if move.removed else "alias.moved"
    revision = record_change(
        tx,
        kind=kind,
        resource=f"models/{model}",
        actor=move.actor,
        detail={
            "alias": after.alias,
            "from": before.version,
            "to": after.version,
            "generation": after.generation,
            "reason": move.reason,
        },
        before=asdict(before),
        after=asdict(after),
        now_us=move.time_us,
    )
    move = replace(move, revision=revision)
    tx.execute(insert(tables.alias_moves).values({name: getattr(move, name) for name in MOVE_FIELDS}))
    return move


def _place(tx: Connection, model: str, before: Alias, after: Alias) -> None:
    """Let the alias stand anew, and move the stages when it is the champion's."""
    values = {"version": after.version, "generation": after.generation, "expires_us": after.expires_us}
    if before.version:
        where = (tables.aliases.c.model == model) & (tables.aliases.c.alias == after.alias)
        tx.execute(update(tables.aliases).where(where).values(**values))
    else:
        tx.execute(insert(tables.aliases).values(model=model, alias=after.alias, **values))
    if after.alias == CHAMPION:
        if before.version:
            set_stage(tx, model, before.version, stage=Stage.STAGING)
        set_stage(tx, model, after.version, stage=Stage.PRODUCTION)
