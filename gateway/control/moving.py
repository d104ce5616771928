"""What a new split would move, before anyone moves: asked of the units that came last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments import records
from experiments.analysis.replay import buckets_of
from experiments.errors import ExperimentInvalidError
from experiments.scope import UnitKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.definition import Experiment
    from gateway.journal.log import EventLog
    from storage.database import Database

RECENT_UNITS_DEFAULT = 10_000
RECENT_UNITS_MAX = 1_000_000

_RECENT = """
SELECT {unit} AS unit FROM predictions
WHERE experiment = $experiment AND model = $model AND {unit} <> '' AND epoch > 0
GROUP BY unit ORDER BY max(time_us) DESC, unit LIMIT $units_max
"""


@dataclass(frozen=True, slots=True)
class Moving:
    """What a split would move.

    Parameters
    ----------
    experiment
        As it is: nothing was changed.
    moved_share
        The part of the slots in the experiment that would change hands.
    units, moved_units
        Of how many units that came last it was asked, and how many of them would get another variant.
    """

    experiment: Experiment
    moved_share: float
    units: int
    moved_units: int


def preview_split(
    database: Database,
    events: EventLog,
    experiment_id: str,
    shares: Mapping[str, float],
    *,
    etag: str,
    units_max: int = 0,
) -> Moving:
    """Return what the split would move of the experiment's last units; nothing changes.

    Parameters
    ----------
    units_max
        Of how many units to ask at most; 0: 10 000.

    Raises
    ------
    ExperimentInvalidError
        `units_max` is out of range.
    ExperimentMissingError, ExperimentStateError, ExperimentChangedError, SharesInvalidError, ShareTooSmallError,
    VariantUnknownError
        As `experiments.records.set_split`, which would refuse it for the same reason.
    """
    if not 0 <= units_max <= RECENT_UNITS_MAX:
        raise ExperimentInvalidError(f"recent_units_max is {units_max}, not from 0 to {RECENT_UNITS_MAX}")
    with database.read() as tx:
        experiment, after, moved = records.plan_split(tx, experiment_id, shares, etag=etag)
    before = experiment.allocation
    if before is None:
        return Moving(experiment, 0.0, 0, 0)
    unit = "request_id" if experiment.scope.unit is UnitKind.REQUEST else "unit_id"
    given = {
        "experiment": experiment.id,
        "model": experiment.model,
        "units_max": units_max or RECENT_UNITS_DEFAULT,
    }
    with events.snapshot() as connection:
        units = [str(row[0]) for row in connection.execute(_RECENT.format(unit=unit), given).fetchall()]
    old, new = before.slots(), after.slots()
    moved_units = sum(old[bucket] != new[bucket] for bucket in buckets_of(experiment.seed, units)) if units else 0
    return Moving(experiment, moved, len(units), moved_units)
