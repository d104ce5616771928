"""Loading in the background: one thread, one load at a time.

It is one thread for good, not one for each load: the C library gives each thread its own part of the heap, and sessions
made in ever new parts leave ever new holes behind.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from gateway.models.policy import Wanted
    from gateway.models.slots import Slot, VersionKey

    Load = Callable[[VersionKey, Mapping[str, Any], Callable[[], None]], Slot]

NICENESS = 19
"""The loader stands back behind whatever serves on this machine."""

_log = logging.getLogger(__name__)


class LoadAbandonedError(Exception):
    """The version is not wanted any more while it is loaded."""


@dataclass(slots=True)
class Loading:
    """A load under way.

    Attributes
    ----------
    wanted
        What is loaded.
    entry
        Its part of the desired set.
    abandoned
        Set when it is not wanted any more: it ends at its next step.
    done
        Whether it ended: then there is either a slot or an error.
    slot
        The loaded version.
    error
        Why there is none.
    took_s
        How long it took.
    """

    wanted: Wanted
    entry: Mapping[str, Any]
    abandoned: bool = False
    done: bool = False
    slot: Slot | None = None
    error: Exception | None = None
    took_s: float = field(default=0.0)

    def go_on(self) -> None:
        """Return, or raise LoadAbandonedError when it is not wanted any more."""
        if self.abandoned:
            raise LoadAbandonedError


class Loader:
    """The thread that loads.

    Parameters
    ----------
    load
        Makes a slot of a version and its entry in the desired set; raises when it cannot. The function it is given is
        to be called between its steps.
    ended
        Is called when a load is done, on the loader's thread.
    """

    def __init__(self, load: Load, ended: Callable[[], None]) -> None:
        self._load = load
        self._ended = ended
        self._asked: queue.SimpleQueue[Loading] = queue.SimpleQueue()
        self._is_running = False

    def begin(self, loading: Loading) -> None:
        """Load in the background; not before the load before is done."""
        if not self._is_running:
            self._is_running = True
            threading.Thread(target=self._run, name="loader", daemon=True).start()
        self._asked.put(loading)

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            self._load_one(self._asked.get())
            self._ended()

    def _load_one(self, loading: Loading) -> None:
        key = loading.wanted.key
        started = time.monotonic()
        try:
            loading.slot = self._load(key, loading.entry, loading.go_on)
        except LoadAbandonedError as error:
            loading.error = error
        except Exception as error:  # noqa: BLE001  (whatever it is, what serves goes on serving)
            _log.warning("version %d of model %s cannot be loaded: %s", key.version, key.model, error)
            # Without its frames, which would keep what was loaded so far.
            loading.error = error.with_traceback(None)
        loading.took_s = time.monotonic() - started
        loading.done = True
