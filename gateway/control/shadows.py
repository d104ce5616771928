"""Shadows as the control plane keeps them: where models, experiments and the workers' counts meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments import shadows
from experiments.errors import AliasUnresolvedError
from registry.errors import ModelMissingError
from registry.models import get_model
from registry.versions import get_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from experiments.shadow import Shadow
    from gateway.telemetry.meter import Meter
    from storage.clock import Clock
    from storage.database import Database

CALLS = "turnout_shadow_calls_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A shadow, and what it did.

    Attributes
    ----------
    version
        The version that runs; 0 while the alias is no version's.
    paired, failed, dropped
        What became of that version's sampled calls since the gateway began.
    """

    shadow: Shadow
    version: int
    paired: int = 0
    failed: int = 0
    dropped: int = 0


class ShadowControl:
    """Keeps shadows: one transaction for each change.

    Parameters
    ----------
    database, clock
        Where shadows and models are kept, and the time that changes are dated by.
    figures
        The sum of what the workers counted.
    """

    def __init__(self, *, database: Database, clock: Clock, figures: Callable[[], Meter]) -> None:
        self._database = database
        self._clock = clock
        self._figures = figures

    def put(self, shadow: Shadow, *, reason: str, actor: str) -> tuple[Standing, int]:
        """Keep a shadow in the place of its model's and return it with the revision.

        Raises
        ------
        ShadowInvalidError
            It names no version, or its share is none.
        ModelMissingError, VersionMissingError, AliasUnresolvedError
            There is no such model, version or alias.
        """
        with self._database.write() as tx:
            get_model(tx, shadow.model)
            if shadow.version:
                get_version(tx, shadow.model, shadow.version)
            elif shadow.alias and not running_version(tx, shadow):
                raise AliasUnresolvedError(
                    f"the model {shadow.model!r} has no alias {shadow.alias[:80]!r}",
                    model=shadow.model,
                    alias=shadow.alias[:80],
                )
            revision = shadows.put(tx, shadow, reason=reason, actor=actor, now_us=self._clock.now_us())
            kept = shadows.get(tx, shadow.model)
            return self._standing(tx, kept), revision

    def remove(self, model: str, *, reason: str, actor: str) -> int:
        """Forget a model's shadow and return the revision, or raise ShadowMissingError."""
        with self._database.write() as tx:
            return shadows.remove(tx, model, reason=reason, actor=actor, now_us=self._clock.now_us())

    def get(self, model: str) -> Standing:
        """Return a model's shadow, or raise ShadowMissingError."""
        with self._database.read() as tx:
            return self._standing(tx, shadows.get(tx, model))

    def list_page(self, *, after: str, limit_max: int) -> list[Standing]:
        """Return at most `limit_max` shadows by model, those whose model comes after `after`."""
        with self._database.read() as tx:
            return [self._standing(tx, each) for each in shadows.list_page(tx, after=after, limit_max=limit_max)]

    def _standing(self, tx: Connection, shadow: Shadow) -> Standing:
        version = running_version(tx, shadow)
        series = self._figures().family(CALLS)
        counts = {
            result: int(found.total) if (found := series.get((shadow.model, str(version), result))) else 0
            for result in ("paired", "failed", "dropped")
        }
        return Standing(shadow=shadow, version=version, **counts)


def running_version(tx: Connection, shadow: Shadow) -> int:
    """Return the version that a shadow runs now; 0 while its alias, or its model, is not there."""
    if shadow.version:
        return shadow.version
    try:
        model = get_model(tx, shadow.model)
    except ModelMissingError:
        return 0
    return next((each.version for each in model.aliases if each.alias == shadow.alias), 0)
