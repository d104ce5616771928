"""A far store that is left alone while it does not answer: a circuit breaker.

Theory of operation
-------------------
A read that fails opens the circuit: from then on nobody waits for the store, every read fails at once. A thread of its
own asks the store again for what it could not give, at once and then after growing pauses, and closes the circuit when
that is answered within a read's budget. So a store that is frozen costs one wave its budget, one that only stumbled is
back as soon as it answers, and no prediction is ever sent out to try. A caller in a hurry, whose deadline passes
before the budget, proves nothing and opens nothing.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from features.store import OnlineStore, Tables

PAUSE_FIRST_S = 0.02
PAUSE_MAX_S = 0.5
PROBED_KEYS_MAX = 64
_HURRY = 0.5
"""A caller who waits for less than this part of the budget is in a hurry."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GuardFacts:
    """How a guarded store fares: whether it is left alone, how often that came to be, and what failed meanwhile."""

    is_open: bool
    opened: int
    failed: int
    skipped: int


class GuardedStore:
    """Reads a store, and leaves it alone while it does not answer.

    Parameters
    ----------
    store
        The store.
    read_budget_ms
        How long it may take to answer.
    """

    def __init__(self, store: OnlineStore, *, read_budget_ms: int) -> None:
        self.far = store.far
        self._store = store
        self._budget_s = read_budget_ms / 1000
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._prober: threading.Thread | None = None
        self._open = False
        self._pause_s = 0.0
        self._opened = self._failed = self._skipped = 0

    def get_many(self, keys: Sequence[bytes], *, until: float = math.inf) -> list[bytes | None]:
        """Return the blob of each key, or raise StoreUnavailableError: at once while the circuit is open."""
        if self._open:
            self._skipped += 1
            raise StoreUnavailableError("the online store does not answer; it is left alone until it does")
        began = time.monotonic()
        try:
            blobs = self._store.get_many(keys, until=until)
        except StoreUnavailableError as error:
            self._failed += 1
            if until - began >= _HURRY * self._budget_s or time.monotonic() < until:
                self._trip(list(keys[:PROBED_KEYS_MAX]), error)
            raise
        self._pause_s = 0.0
        return blobs

    def tables(self) -> Tables | None:
        """Return the values as columns where the store keeps them so."""
        return self._store.tables()

    def put_many(self, pairs: Iterable[tuple[bytes, bytes]], *, kept_us: int = 0) -> int:
        """Write, whatever the circuit says."""
        return self._store.put_many(pairs, kept_us=kept_us)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its blob, whatever the circuit says."""
        return self._store.scan()

    def forget(self, prefix: bytes, before_us: int) -> int:
        """Remove old values, whatever the circuit says."""
        return self._store.forget(prefix, before_us)

    def facts(self) -> GuardFacts:
        """Return how the store fares."""
        return GuardFacts(self._open, self._opened, self._failed, self._skipped)

    def close(self) -> None:
        """Let go of the store."""
        self._closing.set()
        prober = self._prober
        if prober is not None:
            prober.join()
        self._store.close()

    def _trip(self, keys: list[bytes], error: StoreUnavailableError) -> None:
        """Open the circuit, and have the store asked for what it could not give."""
        with self._lock:
            if self._open or self._closing.is_set():
                return
            self._open = True
            self._opened += 1
            # A thread for each time: a store that answers needs none.
            self._prober = threading.Thread(target=self._probe, args=(keys,), name="store-probe", daemon=True)
            self._prober.start()
        _log.warning("the online store is left alone until it answers: %s", error)

    def _probe(self, keys: list[bytes]) -> None:
        began = time.monotonic()
        while not self._closing.wait(self._pause_s):
            # Doubled also when the circuit closes, and set back by a read that succeeds: a store that answers probes
            # and nothing else is not asked all the time.
            self._pause_s = min(PAUSE_MAX_S, max(PAUSE_FIRST_S, 2 * self._pause_s))
            try:
                self._store.get_many(keys)
            except StoreUnavailableError:
                continue
            except Exception:  # noqa: BLE001  (whatever it is, the store has not answered)
                _log.exception("asking the online store again failed")
                continue
            self._open = False
            _log.warning("the online store answers again after %.2f s", time.monotonic() - began)
            return
