"""Counting, following and exporting what the journal holds."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.journal.tail import Event, EventTail
from storage.errors import ExhaustedError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.journal.log import Counts, EventLog

TAIL_LIMIT_MAX = 1000
PIECE_BYTES = 1024 * 1024

# Times and names are parameters; the kind is one of four that the codec knows.
_EXPORT = """
COPY (
    SELECT * FROM {kind} WHERE time_us >= $since_us AND ($until_us = 0 OR time_us < $until_us) {of_model}
    ORDER BY time_us, segment, position
) TO '{path}' (FORMAT parquet, COMPRESSION zstd)
"""


class TailLimitError(InvalidError):
    """A tail begins with 0 to 1 000 events."""

    reason = "TAIL_LIMIT_INVALID"


class FollowersExhaustedError(ExhaustedError):
    """As many readers follow the events as may."""

    reason = "FOLLOWERS_EXHAUSTED"


class Events:
    """Answers questions about the events of a state folder.

    Parameters
    ----------
    log
        Where they are read.
    poll_interval_ms
        How often a reader that follows looks for new ones.
    followers_max
        How many may follow at once; each keeps a thread of the server.
    """

    def __init__(self, log: EventLog, *, poll_interval_ms: int = 200, followers_max: int = 8) -> None:
        self._log = log
        self._followers_max = followers_max
        self._follower_places = threading.BoundedSemaphore(followers_max)
        self._poll_interval_s = poll_interval_ms / 1000

    def count(self, model: str = "") -> Counts:
        """Return how many events there are, of one model when it is named."""
        return self._log.counts(model)

    def export(self, kind: str, *, model: str = "", since_us: int = 0, until_us: int = 0) -> Iterator[bytes]:
        """Return the events of a kind as one Parquet file, piece by piece.

        Parameters
        ----------
        kind
            `predictions`, `outcomes`, `gaps` or `shadows`.
        model
            Only events that name this model, and outcomes of its predictions; empty: all.
        since_us, until_us
            Only what was recorded from then on, and before then; 0: no bound.
        """
        of_model = ""
        given: dict[str, object] = {"since_us": since_us, "until_us": until_us}
        if model and kind != "gaps":
            given["model"] = model
            of_model = "AND model = $model"
            if kind == "outcomes":
                of_model = (
                    "AND (model = $model OR (segment, position) IN"
                    " (SELECT (segment, position) FROM attributed WHERE model = $model))"
                )
        with tempfile.TemporaryDirectory(prefix="turnout-export-") as folder:
            path = Path(folder) / "events.parquet"
            with self._log.snapshot() as connection:
                connection.execute(_EXPORT.format(kind=kind, path=path, of_model=of_model), given)
            with path.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece

    def tail(self, limit: int, *, model: str = "") -> Iterator[Event]:
        """Return the newest events, oldest first, or raise TailLimitError."""
        return iter(EventTail(self._log, model=model).newest(_checked(limit)))

    def follow(self, limit: int, *, model: str = "", wait: Callable[[float], bool]) -> Iterator[Event]:
        """Return the newest events and then each new one as it comes.

        Parameters
        ----------
        limit
            How many of the newest to begin with.
        model
            Only events that name this model; empty: all.
        wait
            Waits so many seconds and returns whether to stop; the `wait` of a `threading.Event`.

        Raises
        ------
        TailLimitError
            When the limit is not 0 to 1 000.
        FollowersExhaustedError
            When as many follow as may.
        """
        _checked(limit)
        if not self._follower_places.acquire(blocking=False):
            raise FollowersExhaustedError(
                f"{self._followers_max} readers follow the events already", followers_max=self._followers_max
            )
        try:
            tail = EventTail(self._log, model=model)
            yield from tail.newest(limit)
            while not wait(self._poll_interval_s):
                yield from tail.poll()
        finally:
            self._follower_places.release()


def _checked(limit: int) -> int:
    if not 0 <= limit <= TAIL_LIMIT_MAX:
        raise TailLimitError(
            f"a tail begins with 0 to {TAIL_LIMIT_MAX} events, not {limit}", limit=limit, limit_max=TAIL_LIMIT_MAX
        )
    return limit
