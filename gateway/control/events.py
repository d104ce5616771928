"""Counting and following what the journal holds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gateway.journal.tail import Event, EventTail
from storage.errors import ExhaustedError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.journal.log import Counts, EventLog

TAIL_LIMIT_MAX = 1000


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
