"""What a call costs inside a worker, step by step, without a network: `python bench/pipeline.py [--wave N …]`.

Last it prints what a row of a batch costs.

The parts are a worker's own: a version with its probe rows, an experiment of two arms, three views in LMDB, a journal
on the disk. Every call is another unit with other entities. The process is pinned to one core; the whole is CPU time of
the process, its journal's syncs included, the least of several rounds; the steps are the least of each by themselves.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime
from model import FEATURES, INPUT, MODEL, batch_request, entity_request, make_rows, write_model

from experiments.allocation import allocate
from experiments.assignment import HASH_NAME
from features.codec import encode_values, entity_key
from features.definitions import BoundView, Feature, FeatureSet, View
from features.plan import compile_plan, plan_document
from features.store import OnlineStore, open_store
from gateway.bootstrap.worker import settle_garbage_collector
from gateway.journal.writer import JournalWriter
from gateway.models.loader import load_slot
from gateway.models.slots import VersionKey
from gateway.rpc import prediction_codec
from gateway.rpc.data_plane import BATCH_PREDICT, METHODS, PREDICT, DataPlane, heads_of
from gateway.rpc.status import number_of
from gateway.serving.outcomes import OutcomeRecorder
from gateway.serving.pipeline import Pipeline
from gateway.serving.table import ServingTable, build_table
from gateway.serving.tally import Tally
from gateway.telemetry.meter import Meter
from gateway.transport.port import Call
from registry.probe import Probe
from storage.clock import SystemClock

VIEWS = ("alpha", "beta", "gamma")
ENTITIES = 20_000
CALLS = 4096
SIZES = (1, 8, 32, 64)
ROUNDS = 15
BATCH_ROWS = 256
PROBE_ROWS = 128
STEPS = ("decode", "assign", "features", "run", "journal", "count", "encode")


class Heard(Call):
    """A call whose answer is kept."""

    __slots__ = ("answer",)

    def reply(self, payload: bytes) -> None:
        self.answer = payload

    def fail(self, code: int, message: str, trailing: object = ()) -> None:
        raise AssertionError(f"{code} {message} {trailing}")


class HeardLater(Heard):
    """A call that another thread answers."""

    __slots__ = ("answered",)

    def __init__(self, method: int, payload: bytes) -> None:
        super().__init__(method, payload)
        self.answered = threading.Event()

    def reply(self, payload: bytes) -> None:
        super().reply(payload)
        self.answered.set()


class WatchedTally(Tally):
    """A tally that is timed where it counts the calls of a wave."""

    spent_ns = 0

    def count(self, *arguments: object) -> None:
        began = time.perf_counter_ns()
        super().count(*arguments)
        self.spent_ns = time.perf_counter_ns() - began


class Watched(Pipeline):
    """A pipeline whose steps are timed."""

    def __init__(self, **parts: object) -> None:
        super().__init__(**parts)
        self.spent_ns = dict.fromkeys(STEPS, 0)

    def _admit(self, *arguments: object, **named: object) -> object:
        return self._timed("assign", super()._admit, *arguments, **named)

    def _feed(self, *arguments: object, **named: object) -> object:
        return self._timed("features", super()._feed, *arguments, **named)

    def _run(self, *arguments: object, **named: object) -> object:
        return self._timed("run", super()._run, *arguments, **named)

    def _record(self, *arguments: object, **named: object) -> object:
        return self._timed("journal", super()._record, *arguments, **named)

    def _timed(self, step: str, work: object, *arguments: object, **named: object) -> object:
        began = time.perf_counter_ns()
        result = work(*arguments, **named)
        self.spent_ns[step] = time.perf_counter_ns() - began
        return result


def make_views() -> tuple[FeatureSet, list[BoundView]]:
    each = FEATURES // len(VIEWS)
    features = tuple(Feature(name=f"f{place}", default=0.0) for place in range(each))
    views = [View(name=name, join_keys=(f"{name}_id",), sql="", features=features) for name in VIEWS]
    names = tuple(f"{view.name}.{feature.name}" for view in views for feature in features)
    feature_set = FeatureSet(name=MODEL, features=names, view_digests=())
    return feature_set, [BoundView(view=view, schema_id=1) for view in views]


def fill_store(folder: Path, plan: object) -> OnlineStore:
    """Write a value for each entity of each view, and return the store as a worker opens it."""
    store = open_store(f"lmdb://{folder}", writable=True)
    draw = np.random.default_rng(11)
    written_us = np.full(ENTITIES, time.time_ns() // 1000 - 3_600_000_000)
    for view in plan.views:
        blobs = encode_values(
            schema_id=1,
            event_us=written_us,
            written_us=written_us,
            values=draw.normal(size=(ENTITIES, view.features)),
            nulls=np.zeros((ENTITIES, view.features), np.bool_),
        )
        store.put_many((entity_key(view.prefix, f"{17 * place}"), blob) for place, blob in enumerate(blobs))
    store.close()
    return open_store(f"lmdb://{folder}", writable=False)


def make_table(folder: Path, plan: dict[str, object]) -> ServingTable:
    """Load two versions of the model and return a table in which an experiment compares them."""
    artifact, probe = folder / "model.onnx", folder / "probe"
    write_model(artifact)
    rows, _ = make_rows(PROBE_ROWS)
    session = onnxruntime.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {INPUT: rows}), strict=True))
    probe.write_bytes(Probe({INPUT: rows}, outputs).encode())
    entry = {
        "bytes": artifact.stat().st_size,
        "digest": hashlib.sha256(artifact.read_bytes()).hexdigest(),
        "path": str(artifact),
        "probe_path": str(probe),
        "feature_set": f"{plan['set']}@{plan['digest']}",
        "feature_input": INPUT,
        "plan": plan,
    }
    slots = {VersionKey(MODEL, number): load_slot(VersionKey(MODEL, number), entry, lambda: None) for number in (1, 2)}
    assert all(slot.stackable for slot in slots.values())
    assignment = {
        "experiment": "bench",
        "model": MODEL,
        "hash": HASH_NAME,
        "seed": "seed",
        "epoch": 1,
        "variants": [
            {"variant": "control", "version": 1, "share": 0.5, "control": True},
            {"variant": "treatment", "version": 2, "share": 0.5, "control": False},
        ],
        "runs": [list(run) for run in allocate((0.5, 0.5), coverage=1.0).runs],
    }
    model = {"resident": [1, 2], "champion": 1, "previous": 0, "aliases": {"champion": 1}, "assignments": [assignment]}
    document = {"revision": 1, "models": {MODEL: model}, "versions": {MODEL: {"1": entry, "2": entry}}}
    return build_table(document, slots, ServingTable(revision=0), heads_of)


def make_calls() -> list[Heard]:
    draw = np.random.default_rng(5)
    return [
        Heard(
            METHODS.index(PREDICT),
            entity_request(
                {f"{view}_id": f"{17 * draw.integers(ENTITIES)}" for view in VIEWS},
                unit=f"user-{draw.integers(10**8):08d}",
            ),
            deadline=time.monotonic() + 1e6,
        )
        for _ in range(CALLS)
    ]


def whole_us(plane: DataPlane, waves: list[list[Heard]]) -> float:
    best = float("inf")
    calls = sum(len(wave) for wave in waves)
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        for wave in waves:
            plane.answer(wave)
        best = min(best, time.process_time_ns() - began)
    return best / calls / 1000


def row_us(plane: DataPlane) -> float:
    """Return the least CPU time of a row in batches, each row another unit with other entities."""
    draw = np.random.default_rng(7)
    payloads = [
        batch_request(
            MODEL,
            {f"{view}_id": [f"{17 * draw.integers(ENTITIES)}" for _ in range(BATCH_ROWS)] for view in VIEWS},
            [f"user-{draw.integers(10**8):08d}" for _ in range(BATCH_ROWS)],
        )
        for _ in range(CALLS // BATCH_ROWS)
    ]
    best = float("inf")
    for _ in range(ROUNDS):
        calls = [HeardLater(METHODS.index(BATCH_PREDICT), payload) for payload in payloads]
        began = time.process_time_ns()
        for call in calls:
            plane.answer([call])
            call.answered.wait()
        best = min(best, time.process_time_ns() - began)
    return best / CALLS / 1000


def steps_us(pipeline: Watched, tally: WatchedTally, waves: list[list[Heard]]) -> dict[str, float]:
    """Return the median over the waves of the least time of each step, a call."""
    found: dict[str, list[int]] = {step: [] for step in STEPS}
    for wave in waves[:256]:
        best = dict.fromkeys(STEPS, 1 << 60)
        for _ in range(5):
            spent = pipeline.spent_ns
            began = time.perf_counter_ns()
            requests = decode_wave(wave)
            decoded = time.perf_counter_ns()
            pipeline.run(requests)
            ran = time.perf_counter_ns()
            encode_wave(requests)
            spent["count"] = tally.spent_ns
            spent["decode"], spent["encode"] = decoded - began, time.perf_counter_ns() - ran
            best = {step: min(best[step], spent[step]) for step in STEPS}
        for step in STEPS:
            found[step].append(best[step])
    return {step: float(np.median(times)) / len(waves[0]) / 1000 for step, times in found.items()}


def decode_wave(wave: list[Heard]) -> list:
    now_us = time.time_ns() // 1000
    return [prediction_codec.decode(call, now_us) for call in wave]


def encode_wave(requests: list) -> list[bytes]:
    return [prediction_codec.encode(request) for request in requests]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wave", type=int, nargs="*", default=list(SIZES), help="calls in a wave")
    arguments = parser.parse_args()
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        feature_set, views = make_views()
        document = plan_document(feature_set, views)
        store = fill_store(folder / "online", compile_plan(document))
        clock, meter = SystemClock(), Meter()
        tally = Tally(meter, number_of)
        journal = JournalWriter(folder / "journal", name="bench", clock=clock)
        parts = {"store": store, "journal": journal, "clock": clock, "tally": tally, "code_of": number_of}
        watched_tally = WatchedTally(Meter(), number_of)
        pipeline, watched = Pipeline(**parts), Watched(**{**parts, "tally": watched_tally})
        table = make_table(folder, document)
        pipeline.swap(table)
        watched.swap(table)
        plane = DataPlane(
            pipeline=pipeline,
            outcomes=OutcomeRecorder(journal=journal, tally=tally),
            clock=clock,
            meter=meter,
            batch_rows_max=BATCH_ROWS,
        )
        calls = make_calls()
        settle_garbage_collector()
        print(f"core {core}; µs a call; {ROUNDS} rounds of {CALLS} calls, each another unit")
        print(f"{'wave':>6}{'whole':>9}" + "".join(f"{step:>10}" for step in STEPS))
        for size in arguments.wave:
            waves = [calls[at : at + size] for at in range(0, CALLS, size)]
            whole = whole_us(plane, waves)
            steps = steps_us(watched, watched_tally, waves)
            print(f"{size:>6}{whole:>9.2f}" + "".join(f"{steps[step]:>10.2f}" for step in STEPS))
        print(f"a row in batches of {BATCH_ROWS}: {row_us(plane):.2f}")
        journal.close()
        store.close()


if __name__ == "__main__":
    main()
