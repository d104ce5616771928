"""One worker's installer with real sessions, a real journal and a real store, without the processes around it."""

import hashlib
import itertools
import threading
import time

import numpy as np
import pytest

from features.store import open_store
from gateway.errors import ModelNotServedError, VersionUnloadableError
from gateway.journal.writer import JournalWriter
from gateway.models.loader import load_slot
from gateway.models.policy import RETRIES_MAX, LoadState
from gateway.models.slots import VersionKey
from gateway.serving.installer import Installer
from gateway.serving.pipeline import Pipeline
from gateway.serving.tally import Tally
from gateway.telemetry.meter import Meter
from registry.deployment import Deployment
from storage.clock import SystemClock

TIMEOUT_S = 20


class Bench:
    """An installer on its thread, the files that it loads, and the desired sets that it is offered."""

    def __init__(self, folder, make_model, *, load=load_slot, resident_bytes_max=0):
        self.folder = folder
        self.make_model = make_model
        clock = SystemClock()
        store = open_store(f"lmdb://{folder / 'online'}", writable=True)
        self.journal = JournalWriter(folder / "journal", name="worker-0", clock=clock, sync_interval_ms=50)
        self.meter = Meter()
        self.tally = Tally(self.meter, lambda _: 13)
        self.pipeline = Pipeline(store=store, journal=self.journal, clock=clock, tally=self.tally, code_of=lambda _: 13)
        self.reports = []
        self.installer = Installer(
            pipeline=self.pipeline,
            load=load,
            make_heads=lambda _: (b"", b""),
            report=self.reports.append,
            activity=lambda: self.meter.series("turnout_wave_calls").total,
            resident_bytes_max=resident_bytes_max,
            chance=lambda: 1.0,
        )
        self.wishes = self.installer.wishes
        self.facts = {}
        self.revision = 0
        self.thread = threading.Thread(target=self.installer.run)
        self.thread.start()

    def write(self, version, *, ballast=0):
        path = self.folder / f"v{version}.onnx"
        data = self.make_model(float(version), ballast=ballast)
        path.write_bytes(data)
        self.facts[version] = {"digest": hashlib.sha256(data).hexdigest(), "path": str(path), "bytes": len(data)}
        return path

    def want(self, *resident, model="m", session=None):
        """Offer a desired set of one model: the first version is its champion."""
        self.revision += 1
        versions = {str(number): {**self.facts[number], "probe_path": None, "session": session} for number in resident}
        part = {
            "champion": resident[0],
            "previous": resident[1] if len(resident) > 1 else 0,
            "aliases": {"champion": resident[0]},
            "resident": list(resident),
        }
        self.wishes.offer({"revision": self.revision, "models": {model: part}, "versions": {model: versions}})
        return self.revision

    def until(self, condition):
        """Return when a condition on the progress holds."""
        end = time.monotonic() + TIMEOUT_S
        while not condition(self.wishes.progress):
            assert time.monotonic() < end, self.wishes.progress
            time.sleep(0.002)

    def applied(self, *resident, **options):
        revision = self.want(*resident, **options)
        self.until(lambda progress: progress.revision == revision)

    def champion(self, model="m"):
        """Return the version that answers, by running its session."""
        slot = self.pipeline.table.route(model).champion.slot
        (scores,) = slot.session.run({"x": np.ones((1, 4), np.float32)})
        assert float(scores[0, 0]) == slot.key.version
        return slot.key.version

    def standing(self, version, model="m"):
        found = self.wishes.progress.standings.get(VersionKey(model, version))
        return None if found is None else (found.state, found.reason)

    def close(self):
        self.wishes.close()
        self.thread.join()
        self.journal.close()


@pytest.fixture
def bench(tmp_path, onnx_bytes):
    made = []

    def make(**options):
        made.append(Bench(tmp_path, onnx_bytes, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


READY = (LoadState.READY, "")


def test_swaps_and_frees_what_is_not_wanted_any_more(bench):
    there = bench()
    for version in (1, 2, 3):
        there.write(version)
    there.applied(1)
    there.applied(2, 1)
    assert (there.champion(), there.standing(1), there.standing(2)) == (2, READY, READY)
    there.applied(3, 2)
    there.until(lambda progress: progress.counts["freed"] == 1)
    there.until(lambda progress: VersionKey("m", 1) not in progress.standings)
    assert there.champion() == 3
    assert there.wishes.progress.counts["loads"] == 3


def test_a_leased_version_drains_and_is_freed_only_afterwards(bench):
    there = bench()
    there.write(1)
    there.write(2)
    there.applied(1)
    slot = there.pipeline.table.route("m").champion.slot
    slot.lease()
    there.applied(2)
    there.until(lambda _: there.standing(1) == (LoadState.DRAINING, ""))
    time.sleep(0.1)
    assert there.wishes.progress.counts["freed"] == 0
    slot.session.run({"x": np.ones((1, 4), np.float32)})
    slot.release()
    there.until(lambda progress: progress.counts["freed"] == 1)


def test_a_load_that_fails_is_tried_again_and_the_old_version_answers_meanwhile(bench):
    there = bench()
    there.write(1)
    path = there.write(2)
    there.applied(1)
    path.rename(path.with_suffix(".away"))
    revision = there.want(2, 1)
    there.until(lambda progress: progress.revision == revision and progress.counts["load_failures"])
    state, reason = there.standing(2)
    assert state is LoadState.FAILED
    assert "gone from the store (try 1 of 6)" in reason
    assert there.champion() == 1
    path.with_suffix(".away").rename(path)
    there.until(lambda _: there.standing(2) == READY)
    assert there.champion() == 2


def test_a_new_wish_for_a_version_whose_tries_are_spent_tries_it_again(bench):
    broken = threading.Event()
    broken.set()

    def load(key, entry, go_on):
        if key.version == 2 and broken.is_set():
            raise VersionUnloadableError("broken")
        return load_slot(key, entry, go_on)

    there = bench(load=load)
    for version in (1, 2):
        there.write(version)
    there.applied(1)
    there.applied(2, 1)
    with pytest.raises(VersionUnloadableError, match="broken"):
        there.wishes.unhold("m")
    broken.clear()
    there.wishes.unhold("m")
    assert there.champion() == 2
    assert there.wishes.progress.counts["load_failures"] < RETRIES_MAX


def test_a_load_that_a_newer_wish_supersedes_is_dropped(bench):
    begun, let_go = threading.Event(), threading.Event()

    def load(key, entry, go_on):
        if key.version == 2:
            begun.set()
            assert let_go.wait(TIMEOUT_S)
            go_on()
        return load_slot(key, entry, go_on)

    there = bench(load=load)
    for version in (1, 2, 3):
        there.write(version)
    there.applied(1)
    there.want(2, 1)
    assert begun.wait(TIMEOUT_S)
    assert there.standing(2) == (LoadState.LOADING, "")
    # Back to the version before needs no load, and does not wait for the one under way.
    there.applied(1)
    assert there.champion() == 1
    revision = there.want(3, 1)
    let_go.set()
    there.until(lambda progress: progress.revision == revision)
    assert there.champion() == 3
    assert there.wishes.progress.counts["loads_dropped"] == 1
    assert there.standing(2) is None


def test_other_settings_load_a_version_anew_beside_the_old_session(bench):
    there = bench()
    there.write(1)
    there.applied(1)
    old = there.pipeline.table.route("m").champion.slot
    there.applied(1, session=Deployment(arena=True).to_document())
    new = there.pipeline.table.route("m").champion.slot
    assert new is not old
    there.until(lambda progress: progress.counts["freed"] == 1)
    assert there.champion() == 1


def test_what_there_is_no_memory_for_is_refused_with_both_sizes_and_the_old_version_answers(bench):
    there = bench(resident_bytes_max=50_000_000)
    there.write(1, ballast=5_000_000)
    there.write(2, ballast=11_000_000)
    there.applied(1)
    there.applied(2, 1)
    state, reason = there.standing(2)
    assert state is LoadState.FAILED
    assert "it needs 44.0 MB, and of the 50.0 MB" in reason
    assert there.champion() == 1
    # Without the one before there is room as soon as the present one may go: never before its successor answers.
    there.write(3, ballast=2_000_000)
    there.applied(3)
    there.until(lambda _: there.standing(1) is None)
    assert there.champion() == 3
    there.applied(2, 3)
    assert there.champion() == 3


def test_a_held_model_is_not_served_and_comes_back(bench):
    there = bench()
    there.write(1)
    there.write(2)
    there.applied(2, 1)
    there.wishes.hold("m", "an operator asked")
    with pytest.raises(ModelNotServedError, match="is held: an operator asked"):
        there.pipeline.table.route("m")
    assert there.standing(2) == there.standing(1) == (LoadState.HELD, "an operator asked")
    there.until(lambda progress: progress.counts["freed"] == 2)
    # A new desired set does not end the hold.
    there.applied(1, 2)
    assert there.standing(1) == (LoadState.HELD, "an operator asked")
    there.wishes.unhold("m")
    assert (there.champion(), there.standing(1), there.standing(2)) == (1, READY, READY)
    for change in (there.wishes.unhold, lambda model: there.wishes.hold(model, "")):
        with pytest.raises(ModelNotServedError):
            change("unknown")


def test_a_model_that_is_wanted_and_once_answered_always_answers(bench):
    chance = np.random.default_rng(5)

    def load(key, entry, go_on):
        if chance.random() < 0.4:
            raise VersionUnloadableError("by chance")
        return load_slot(key, entry, go_on)

    there = bench(load=load)
    for version in (1, 2, 3, 4):
        there.write(version)
    for _ in itertools.takewhile(lambda _: there.pipeline.table is None or not answering(there), range(100)):
        there.applied(1)
    for _ in range(60):
        first, second = chance.choice(4, 2, replace=False) + 1
        there.want(int(first), int(second))
        for _ in range(int(chance.integers(0, 20))):
            assert answering(there)
            time.sleep(0.0005)
    assert there.wishes.progress.counts["load_failures"] > 10


def answering(there):
    return there.pipeline.table.route("m").champion is not None
