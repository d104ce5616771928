"""The ratios that the system exists for, counted from what is kept: nobody reports them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, exists, func, not_, or_, select

from experiments.tables import experiment_variants, experiments
from features.lookup import GIVEN, NULL, PRESENT
from registry.records import CHAMPION
from registry.tables import alias_moves, gate_verdicts, versions
from storage.revision import current_revision
from storage.schema import changes

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from gateway.journal.log import EventLog
    from storage.database import Database


@dataclass(frozen=True, slots=True)
class Ratio:
    """A part of a whole.

    Attributes
    ----------
    counted
        What is counted, and out of what.
    """

    name: str
    numerator: int
    denominator: int
    counted: str

    @property
    def value(self) -> float | None:
        """The one through the other; None when there is not enough data."""
        return self.numerator / self.denominator if self.denominator else None


class Governance:
    """Counts the ratios.

    Parameters
    ----------
    database, events
        Where the metadata is, and the events of this state folder.
    """

    def __init__(self, *, database: Database, events: EventLog) -> None:
        self._database = database
        self._events = events

    def ratios(self) -> tuple[int, list[Ratio]]:
        """Return the revision and the ratios, in a fixed order."""
        with self._database.read() as tx:
            revision = current_revision(tx)
            lineage, trialled, automatic, audited = (
                _lineage(tx),
                _trialled(tx),
                _automatic(tx),
                _audited(tx, revision),
            )
        return revision, [lineage, self._from_store(), trialled, automatic, audited]

    def _from_store(self) -> Ratio:
        with self._events.snapshot() as connection:
            row = connection.execute(
                "SELECT count(*) FILTER (WHERE status IN (?, ?)), count(*) FROM "
                "(SELECT unnest(view_status) AS status FROM predictions WHERE feature_set <> '') WHERE status <> ?",
                [PRESENT, NULL, GIVEN],
            ).fetchone()
        numerator, denominator = row or (0, 0)
        return Ratio(
            "served_features_from_store",
            int(numerator),
            int(denominator),
            "views that journalled predictions of this state folder read fresh from the online store, of all that they "
            "looked up there: the others were missing, stale or unreachable and became their defaults",
        )


def _lineage(tx: Connection) -> Ratio:
    told = and_(versions.c.data_fingerprint != "", versions.c.facts["code_fingerprint"].as_string() != "")
    return _ratio(
        tx,
        "versions_with_full_lineage",
        told,
        versions.c.deleted_us == 0,
        "versions that name the fingerprints of their data and of their code, of all that are not deleted; parents and "
        "feature sets are checked at publication",
    )


def _trialled(tx: Connection) -> Ratio:
    arm = exists().where(
        experiment_variants.c.experiment == experiments.c.id,
        experiment_variants.c.version == alias_moves.c.to_version,
        experiments.c.model == alias_moves.c.model,
        experiments.c.started_us > 0,
        experiments.c.started_us <= alias_moves.c.time_us,
    )
    return _ratio(
        tx,
        "deployments_through_a_trial",
        arm,
        and_(_PROMOTION, alias_moves.c.from_version > 0),
        "promotions of a version that was an arm of an experiment, a ramp among them, which had started by then, of "
        "all that replaced a champion; rollbacks are no promotions",
    )


def _automatic(tx: Connection) -> Ratio:
    by_hand = exists().where(
        gate_verdicts.c.model == alias_moves.c.model,
        gate_verdicts.c.revision == alias_moves.c.revision,
        or_(gate_verdicts.c.overridden.is_(True), gate_verdicts.c.gate == "approval"),
    )
    supported = alias_moves.c.evidence["experiment"].as_string().is_not(None)
    return _ratio(
        tx,
        "promotions_without_manual_steps",
        and_(supported, not_(by_hand)),
        _PROMOTION,
        "promotions that the conclusion of an experiment made, with no gate overridden and none that waits for an "
        "approval, of all promotions",
    )


def _audited(tx: Connection, revision: int) -> Ratio:
    audited = tx.execute(select(func.count()).select_from(changes).where(changes.c.actor != "")).scalar_one()
    return Ratio(
        "changes_with_an_audit_event",
        int(audited),
        revision,
        "audit events that say who, of all revisions of the metadata",
    )


_PROMOTION = and_(alias_moves.c.alias == CHAMPION, alias_moves.c.rollback.is_(False), alias_moves.c.removed.is_(False))


def _ratio(
    tx: Connection, name: str, numerator: ColumnElement[bool], denominator: ColumnElement[bool], counted: str
) -> Ratio:
    part = func.coalesce(func.sum(case((numerator, 1), else_=0)), 0)
    row = tx.execute(select(part, func.count()).where(denominator)).one()
    return Ratio(name, int(row[0]), int(row[1]), counted)
