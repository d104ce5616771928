"""What a control plane is made of, put together once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from features.code_folder import CodeFolder
from features.offline import OfflineLimits
from features.store import open_store
from gateway.bootstrap.shared_log import open_sharing
from gateway.control.channels import read_channels
from gateway.control.compaction import Compactor
from gateway.control.desired import bound_sets
from gateway.control.materializing import Materializing
from gateway.control.posting import Poster
from gateway.control.telling import Teller
from gateway.control.watching import Snapshots
from gateway.journal.log import EventLog
from registry.keys import TrustedKeys
from registry.stores import open_artifacts
from storage.clock import ReplayClock, SystemClock
from storage.crew import ALONE
from storage.ray_crew import RayCrew

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.store import OnlineStore
    from gateway.bootstrap.settings import Settings
    from gateway.config import StateFolders
    from gateway.control.channels import Channels
    from gateway.control.fleet import Fleet
    from gateway.control.sharing import Sharing
    from registry.artifacts import ArtifactStore
    from storage.clock import Clock
    from storage.crew import Crew
    from storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlParts:
    """What the services of the control port, and what works beside them, are given."""

    database: Database
    clock: Clock
    artifacts: ArtifactStore
    store: OnlineStore
    events: EventLog
    crew: Crew
    compactor: Compactor
    sharing: Sharing | None
    fleet: Fleet
    folders: StateFolders
    keys: TrustedKeys
    poster: Poster
    channels: Channels
    teller: Teller
    snapshots: Snapshots
    materializing: Materializing
    offline: OfflineLimits
    data_address: str
    following: Callable[[], tuple[int, int]]


def open_control_parts(
    settings: Settings,
    database: Database,
    *,
    fleet: Fleet,
    data_address: str,
    following: Callable[[], tuple[int, int]],
) -> ControlParts:
    """Open the stores that the settings name, and return the parts that work on them.

    Parameters
    ----------
    settings
        What was asked for.
    database
        The metadata.
    fleet, data_address
        The workers, and where they answer.
    following
        Returns the newest revision that was seen, and since when the database is silent, as ``TablePublisher`` says.

    Raises
    ------
    SettingInvalidError
        A store wants what is not installed.
    """
    folders, channels = settings.folders, read_channels(settings.channels)
    clock: Clock = ReplayClock(folders.clock) if settings.clock == "replay" else SystemClock()
    store = open_store(settings.online_url, writable=True, read_budget_ms=settings.online_budget_ms)
    sharing = open_sharing(settings.events, folders.state)
    crew = _crew_of(settings)
    offline = OfflineLimits(
        code=CodeFolder(settings.feature_code), crew=crew, scratch=folders.shared if settings.ray else None
    )
    return ControlParts(
        database=database,
        clock=clock,
        artifacts=open_artifacts(settings.artifacts, folders.artifacts),
        store=store,
        events=EventLog(folders.state, query_bytes_max=settings.query_bytes_max),
        crew=crew,
        compactor=_compactor_of(settings, clock, database, sharing),
        sharing=sharing,
        fleet=fleet,
        folders=folders,
        keys=TrustedKeys(settings.trusted_keys, required=settings.require_signatures),
        poster=Poster(private=settings.webhook_private, timeout_s=settings.webhook_timeout_s),
        channels=channels,
        teller=Teller(database, channels),
        snapshots=Snapshots(database),
        materializing=Materializing(
            database=database,
            clock=clock,
            store=store,
            expiring=settings.clock == "system",
            limits=offline,
            bound_sets=partial(bound_sets, previous_max=settings.resident_previous),
        ),
        offline=offline,
        data_address=data_address,
        following=following,
    )


def _crew_of(settings: Settings) -> Crew:
    """Return who does the large joins and analyses."""
    if not settings.ray:
        return ALONE
    settings.folders.shared.mkdir(mode=0o700, exist_ok=True)
    return RayCrew(settings.ray, shares=settings.ray_shares, rows_min=settings.ray_rows_min)


def _compactor_of(settings: Settings, clock: Clock, database: Database, sharing: Sharing | None) -> Compactor:
    """Return what makes Parquet of sealed segments, and forgets what is kept no longer."""
    return Compactor(
        settings.folders.state,
        clock,
        interval_s=settings.compact_interval_s,
        kept_days={
            "predictions": settings.predictions_kept_days,
            "shadows": settings.predictions_kept_days,
            "outcomes": settings.outcomes_kept_days,
        },
        database=database,
        sharing=sharing,
    )
