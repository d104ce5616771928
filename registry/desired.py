"""What should be served: the whole desired set, read in one snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.alias_history import champion_line
from registry.models import list_models
from registry.records import CHAMPION
from registry.versions import versions_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

    from registry.records import Version

_PAGE_MAX = 500


@dataclass(frozen=True, slots=True)
class DesiredModel:
    """What should be resident of one model.

    Parameters
    ----------
    aliases
        The version that each alias names.
    champion
        The version that answers unpinned calls; None when there is no champion.
    previous_champions
        Where a rollback would go, the latest first, kept resident so that it is instant.
    versions
        All that should be resident, by number: what the aliases name, the previous champions, the pinned ones.
    """

    model: str
    aliases: Mapping[str, int]
    champion: int | None
    previous_champions: tuple[int, ...]
    versions: tuple[Version, ...]


def desired_versions(
    tx: Connection, *, pinned: Mapping[str, Collection[int]] | None = None, previous_max: int = 1
) -> list[DesiredModel]:
    """Return what should be resident, by model; models of which nothing should be are left out.

    Parameters
    ----------
    pinned
        Further versions wanted, by model: the arms of experiments. Ones that do not exist are left out.
    previous_max
        How many champions before the present one are wanted.
    """
    pinned = pinned or {}
    desired: list[DesiredModel] = []
    after = ""
    while page := list_models(tx, after=after, limit_max=_PAGE_MAX):
        after = page[-1].id
        for model in page:
            aliases = {alias.alias: alias.version for alias in model.aliases}
            line = champion_line(tx, model.id)
            before = dict.fromkeys(number for number in reversed(line) if number != line[-1])
            previous = tuple(before)[:previous_max]
            wanted = {*aliases.values(), *pinned.get(model.id, ()), *previous}
            versions = tuple(versions_of(tx, model.id, wanted)) if wanted else ()
            if versions:
                desired.append(DesiredModel(model.id, aliases, aliases.get(CHAMPION), previous, versions))
    return desired
