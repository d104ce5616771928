"""Making the worker serve what is wanted: level-triggered, in the background, one version at a time.

One thread decides and another one loads; calls wait for neither. What is loaded gets a new serving table by one
reference; what the table no longer names is retired, drained of its leases and freed at a quiet moment. A load that is
not wanted any more when it is done is dropped, and one that fails is a state with a reason: what served before goes on
serving.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gateway.models.loading import LoadAbandonedError, Loader, Loading
from gateway.models.policy import Failure, Ready, Scene, Wanted, failed_again, next_step
from gateway.models.retiring import Retiring
from gateway.serving.standing import NOTHING_APPLIED, Progress, standings_of
from gateway.serving.table import Document, ServingTable, build_table, wanted_versions
from gateway.serving.wishes import Wishes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.models.loading import Load
    from gateway.models.policy import Step
    from gateway.models.slots import Slot, VersionKey
    from gateway.serving.pipeline import Pipeline
    from gateway.serving.table import MakeHeads
    from gateway.serving.wishes import Wish


@dataclass(slots=True)
class _Counts:
    """What loading came to so far: numbers that only grow, and the last of their kind."""

    loads: int = 0
    load_failures: int = 0
    loads_dropped: int = 0
    load_s_sum: float = 0.0
    load_s_last: float = 0.0
    applies: int = 0
    apply_s_sum: float = 0.0
    apply_s_last: float = 0.0


class Installer:
    """Keeps one worker's slots and serving table at what is wanted.

    Parameters
    ----------
    pipeline
        Gets each new serving table.
    load
        Makes a slot of a version, as `gateway.models.loading.Loader` says.
    make_heads
        Makes the constant parts of a target's replies.
    report
        Is told of all progress; called on the installer's thread.
    activity
        A number that changes with every call that is answered.
    resident_bytes_max
        How much memory all versions may take together; 0 means no bound.
    chance
        Gives numbers from 0 to 1, which spread the retries.
    spread_hold
        Passes holds to all workers, as `Wishes` says.

    Attributes
    ----------
    wishes
        What is wanted.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        load: Load,
        make_heads: MakeHeads,
        report: Callable[[Progress], None],
        activity: Callable[[], float],
        resident_bytes_max: int = 0,
        chance: Callable[[], float] = random.random,
        spread_hold: Callable[[str, str | None], None] | None = None,
    ) -> None:
        self.wishes = Wishes(spread_hold)
        self._pipeline = pipeline
        self._loader = Loader(load, self.wishes.look_again)
        self._make_heads = make_heads
        self._report = report
        self._resident_bytes_max = resident_bytes_max
        self._chance = chance
        self._document: Document = {"revision": NOTHING_APPLIED, "models": {}, "versions": {}}
        self._held: Mapping[str, str] = {}
        self._slots: dict[VersionKey, Slot] = {}
        self._ready: dict[VersionKey, Ready] = {}
        self._failed: dict[VersionKey, Failure] = {}
        self._sizes: dict[VersionKey, int] = {}
        self._loading: Loading | None = None
        self._retiring = Retiring(activity)
        self._look_again_at = math.inf
        self._applied = NOTHING_APPLIED
        self._counts = _Counts()

    def run(self) -> None:
        """Follow the wishes until they are closed."""
        while (wish := self.wishes.wait(self._pause_s())) is not None:
            if self._loading is not None and self._loading.done:
                self._take(self._loading)
            freed = self._retiring.step()
            if wish.document is not None and (wish.is_new or freed or time.monotonic() >= self._look_again_at):
                self._advance(wish, wish.document)

    def _pause_s(self) -> float | None:
        retry_s = self._look_again_at - time.monotonic()
        pauses_s = [each for each in (self._retiring.pause_s, retry_s) if each is not None and each < math.inf]
        return max(0.0, min(pauses_s)) if pauses_s else None

    def _advance(self, wish: Wish, document: Document) -> None:
        """Bring the slots and the table a step nearer to what is wanted."""
        self._forgive(wish, document)
        self._document = document
        self._held = {model: reason for model, reason in wish.holds.items() if model in document["models"]}
        self._publish()
        step = next_step(self._scene())
        self._do(step)
        self._look_again_at = step.look_again_at
        if step.settled and self._applied != document["revision"]:
            self._applied = document["revision"]
            self._counts.applies += 1
            self._counts.apply_s_last = time.monotonic() - wish.offered_at
            self._counts.apply_s_sum += self._counts.apply_s_last
        progress = self._progress()
        self._report(progress)
        self.wishes.answer(wish, progress, settled=step.settled)

    def _forgive(self, wish: Wish, document: Document) -> None:
        """Forget the failures of models that are wanted otherwise than before, or were asked for anew."""
        before, wanted = self._document["models"], document["models"]
        anew = {model for model, part in wanted.items() if before.get(model) != part} | wish.forgiven
        self._failed = {key: each for key, each in self._failed.items() if key.model in wanted.keys() - anew}
        self._sizes = {key: each for key, each in self._sizes.items() if key.model in wanted}

    def _publish(self) -> None:
        """Answer from what is loaded, as far as it is wanted."""
        previous = self._pipeline.table or ServingTable(revision=NOTHING_APPLIED)
        self._pipeline.swap(build_table(self._document, self._slots, previous, self._make_heads, held=self._held))

    def _scene(self) -> Scene:
        table = self._pipeline.table
        return Scene(
            wanted=[self._wanted(key) for key in wanted_versions(self._document) if key.model not in self._held],
            ready=self._ready,
            failed=self._failed,
            answering=table.slots() if table is not None else set(),
            loading=self._loading.wanted if self._loading is not None else None,
            leaving_bytes=self._retiring.size_bytes,
            bytes_max=self._resident_bytes_max,
            now=time.monotonic(),
        )

    def _wanted(self, key: VersionKey) -> Wanted:
        entry = self._entry(key)
        spec = (entry["digest"], entry.get("session"), entry.get("plan"))
        return Wanted(key, spec, self._sizes.get(key, int(entry.get("bytes", 0))))

    def _entry(self, key: VersionKey) -> Document:
        entry: Document = self._document["versions"][key.model][str(key.version)]
        return entry

    def _do(self, step: Step) -> None:
        if self._loading is not None:
            self._loading.abandoned = step.abandon
        for key in step.unload:
            del self._ready[key]
            self._retiring.add(self._slots.pop(key))
        if step.load is not None:
            self._loading = Loading(step.load, self._entry(step.load.key))
            self._loader.begin(self._loading)

    def _take(self, loading: Loading) -> None:
        """Take over what was loaded, or note why it was not; what is not wanted any more is dropped."""
        self._loading = None
        counts, wanted, slot = self._counts, loading.wanted, loading.slot
        key = wanted.key
        counts.load_s_last = loading.took_s
        counts.load_s_sum += loading.took_s
        if slot is None:
            if isinstance(loading.error, LoadAbandonedError):
                counts.loads_dropped += 1
                return
            counts.load_failures += 1
            before = self._failed.get(key)
            self._failed[key] = failed_again(
                wanted, before, reason=str(loading.error), now=time.monotonic(), chance=self._chance()
            )
            return
        self._sizes[key] = slot.size_bytes
        held_bytes = sum(each.size_bytes for each in self._ready.values()) + self._retiring.size_bytes
        too_large = 0 < self._resident_bytes_max < held_bytes + slot.size_bytes
        if loading.abandoned or too_large:  # its true size is known now: the next step says what is too much
            counts.loads_dropped += 1
            self._retiring.add(slot)
            return
        counts.loads += 1
        self._failed.pop(key, None)
        old = self._slots.get(key)
        self._slots[key] = slot
        self._ready[key] = Ready(wanted.spec, slot.size_bytes)
        if old is not None:
            self._publish()
            self._retiring.add(old)

    def _progress(self) -> Progress:
        scene = self._scene()
        held = {key: self._held[key.model] for key in wanted_versions(self._document) if key.model in self._held}
        retiring = self._retiring
        numbers = {
            "resident_bytes": sum(each.size_bytes for each in self._ready.values()),
            "leaving_bytes": retiring.size_bytes,
            "freed": retiring.freed,
            "freed_in_a_hurry": retiring.hurried,
            "free_s_sum": retiring.free_s_sum,
            "free_s_max": retiring.free_s_max,
        }
        standings = standings_of(scene, next_step(scene), held=held, leaving=retiring.standings())
        return Progress(self._applied, standings, held=self._held, counts=asdict(self._counts) | numbers)
