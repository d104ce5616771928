"""The newest row of each entity of a view, in the order of the keys: what materialization writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.offline import open_offline
from features.shares import Share, is_shared, shared
from features.view_rows import view_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.codec import Progress
    from features.definitions import Source, View
    from features.offline import Batches, OfflineLimits, OfflineStore


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShareTask:
    """What is told to whoever finds the newest rows of a share of the entities."""

    view: View
    sources: Sequence[Source]
    window: Progress
    limits: OfflineLimits
    share: Share


def newest_rows(offline: OfflineStore, view: View, sources: Sequence[Source], window: Progress) -> Batches:
    """Return the newest row of each entity past the window's last one; on ties the one created last, as in training.

    Only rows count that became visible in the window. It is one query, or one for each share of the entities where
    the rows are many: the rows and their order are the same.
    """
    query, parameters = _query(offline, view, window)
    crew = offline.limits.crew
    if crew.shares > 1 and is_shared(offline, _count(offline, view, window)):
        limits = offline.limits.elsewhere()
        query = shared(
            offline,
            view.name,
            newest_of_share,
            lambda share: _ShareTask(view=view, sources=sources, window=window, limits=limits, share=share),
        )
        parameters = {}
    return offline.stream(f"SELECT * FROM ({query}) ORDER BY {', '.join(_keys(view))}", parameters)


def newest_of_share(task: _ShareTask) -> int:
    """Write the newest rows of a share of the entities; return how many they are."""
    with open_offline(task.sources, task.limits) as offline:
        query, parameters = _query(offline, task.view, task.window, task.share)
        return task.share.write(offline.stream(query, parameters))


def _count(offline: OfflineStore, view: View, window: Progress) -> int:
    rows, parameters = view_rows(offline, view, since_us=window.since_us, until_us=window.until_us)
    count: int = offline.one(f"SELECT count(*) FROM ({rows})", parameters)[0]
    return count


def _keys(view: View) -> list[str]:
    return [f"k{place}" for place in range(len(view.join_keys))]


def _query(
    offline: OfflineStore, view: View, window: Progress, share: Share | None = None
) -> tuple[str, dict[str, object]]:
    rows, parameters = view_rows(offline, view, since_us=window.since_us, until_us=window.until_us)
    keys = _keys(view)
    own = "" if share is None else f" WHERE {share.holds(keys)}"
    order = ["event_us DESC", "created_us DESC", "deleted DESC"]
    order += [f"f{place} DESC NULLS FIRST" for place in range(len(view.features))]
    newest = f"row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {', '.join(order)}) = 1"
    query = f"SELECT * FROM ({rows}){own} QUALIFY {newest}"
    if window.entity is None:
        return query, parameters
    later, more = _after(window.entity)
    return f"SELECT * FROM ({query}) WHERE {later}", parameters | more


def _after(entity: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    """Return the condition for the entities past one, in the order of their keys, and what to bind."""
    later = [
        " AND ".join([*(f"k{equal} = $after{equal}" for equal in range(place)), f"k{place} > $after{place}"])
        for place in range(len(entity))
    ]
    return " OR ".join(f"({each})" for each in later), {f"after{place}": text for place, text in enumerate(entity)}
