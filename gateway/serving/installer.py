"""Making the worker serve what is wanted: level-triggered, in the background, one version at a time.

The installer is offered whole desired sets; only the newest counts. It loads what is missing, publishes a new serving
table by one reference, retires what the table no longer names, waits until nobody leases it, and closes it. A version
that cannot be loaded is a state with a reason; what served before goes on serving.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.models.policy import LoadState, next_step
from gateway.serving.table import Document, ServingTable, build_table, wanted_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.models.slots import Slot, VersionKey
    from gateway.serving.pipeline import Pipeline
    from gateway.serving.table import MakeHeads

DRAIN_S = 30.0
NOTHING_APPLIED = -1
"""The revision of a worker that has applied no desired set yet; an empty database is at 0."""

_FORGOTTEN = (LoadState.FAILED, LoadState.DRAINING)
"""A new desired set is a new chance: what failed or is on its way out may be wanted again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one version stands, and why."""

    state: LoadState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the worker serves.

    Attributes
    ----------
    revision
        The newest revision that is applied as far as it can be: each of its versions is ready or has failed.
    standings
        Where each version stands.
    """

    revision: int
    standings: Mapping[VersionKey, Standing]


class Installer:
    """Keeps one worker's slots and serving table at the newest desired set.

    Parameters
    ----------
    pipeline
        Gets each new serving table.
    load
        Makes a slot of a version and its entry in the desired set; raises when it cannot.
    make_heads
        Makes the constant parts of a target's replies.
    report
        Is told of all progress; called on the installer's thread.
    drain_s
        How long a retired version may be leased before it is reported as stuck. It is never closed under a lease.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        load: Callable[[VersionKey, Document], Slot],
        make_heads: MakeHeads,
        report: Callable[[Progress], None],
        drain_s: float = DRAIN_S,
    ) -> None:
        self._pipeline = pipeline
        self._load = load
        self._make_heads = make_heads
        self._report = report
        self._drain_s = drain_s
        self._slots: dict[VersionKey, Slot] = {}
        self._standings: dict[VersionKey, Standing] = {}
        self._retiring: list[tuple[Slot, float]] = []
        self._applied = NOTHING_APPLIED
        self._offered: Document | None = None
        self._changed = threading.Condition()
        self._closed = False

    def offer(self, document: Document) -> None:
        """Say what is wanted now; an older revision than the newest one offered is passed over."""
        with self._changed:
            if self._offered is None or document["revision"] > self._offered["revision"]:
                self._offered = document
                self._changed.notify()

    def close(self) -> None:
        """Let `run` return."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        """Follow what is offered until `close`."""
        done = NOTHING_APPLIED
        while True:
            with self._changed:
                while not self._closed and (self._offered is None or self._offered["revision"] == done):
                    self._changed.wait(1.0 if self._retiring else None)
                    if self._retiring:
                        break
                if self._closed:
                    return
                document = self._offered
            if document is not None and document["revision"] != done:
                done = document["revision"]
                self._install(document)
            self._close_free()

    def _install(self, document: Document) -> None:
        """Bring the slots and the table to a desired set; stop early when a newer one is offered."""
        wanted = wanted_versions(document)
        for key in [key for key, standing in self._standings.items() if standing.state in _FORGOTTEN]:
            if key in wanted or key not in {slot.key for slot, _ in self._retiring}:
                del self._standings[key]
        self._publish(document)
        while True:
            step = next_step(wanted, {key: standing.state for key, standing in self._standings.items()})
            if step.load is None:
                break
            self._load_one(step.load, document)
            self._publish(document)
            if self._superseded(document):
                return
        self._applied = document["revision"]
        self._retire(step.unload)
        self._tell()

    def _load_one(self, key: VersionKey, document: Document) -> None:
        self._standings[key] = Standing(LoadState.LOADING)
        self._tell()
        try:
            self._slots[key] = self._load(key, document["versions"][key.model][str(key.version)])
        except Exception as error:  # noqa: BLE001  (whatever it is, what serves goes on serving)
            _log.exception("version %d of model %s cannot be loaded", key.version, key.model)
            self._standings[key] = Standing(LoadState.FAILED, str(error))
        else:
            self._standings[key] = Standing(LoadState.READY)

    def _publish(self, document: Document) -> None:
        previous = self._pipeline.table or ServingTable(revision=NOTHING_APPLIED)
        table = build_table(document, self._slots, previous, self._make_heads)
        self._pipeline.swap(table)

    def _superseded(self, document: Document) -> bool:
        with self._changed:
            return self._closed or self._offered is not document

    def _retire(self, keys: tuple[VersionKey, ...]) -> None:
        """Take versions out of the slots that no route names any more."""
        table = self._pipeline.table
        named = table.slots() if table is not None else set()
        for key in keys:
            if key in named:
                continue
            slot = self._slots.pop(key, None)
            if slot is None:
                self._standings.pop(key, None)
                continue
            self._standings[key] = Standing(LoadState.DRAINING)
            slot.retire()
            self._retiring.append((slot, time.monotonic() + self._drain_s))
        self._close_free()

    def _close_free(self) -> None:
        """Close the retired versions that nobody leases; say which are leased for too long."""
        still: list[tuple[Slot, float]] = []
        told = False
        for slot, until in self._retiring:
            key = slot.key
            if slot.wait_free(0.0):
                # The last reference goes here, away from requests. The version may have been loaded again meanwhile.
                told = True
                if key not in self._slots and self._standings.get(key, Standing(LoadState.DRAINING)).state is (
                    LoadState.DRAINING
                ):
                    self._standings.pop(key, None)
                continue
            still.append((slot, until))
            standing = self._standings.get(key)
            if time.monotonic() > until and standing == Standing(LoadState.DRAINING):
                self._standings[key] = Standing(LoadState.DRAINING, f"still leased after {self._drain_s:g} s")
                told = True
        self._retiring = still
        if told:
            self._tell()

    def _tell(self) -> None:
        self._report(Progress(self._applied, dict(self._standings)))
