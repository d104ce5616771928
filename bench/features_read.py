"""What one read of online features costs: microseconds a call for waves of 1, 16 and 64 calls over three views.

Run with `python bench/features_read.py`. The process is pinned to one core, and each figure is the best of several
rounds, so that what else runs on the machine disturbs it least. The floor is the bare read: the same keys, no decoding.
"Transforms" is what three transforms of eight operations cost beside, of the whole wave.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

import numpy as np

from features.codec import encode_values, entity_key
from features.definitions import BoundView, Feature, FeatureSet, View
from features.fetch import fetch
from features.kernels import Kernels
from features.lookup import Lookup
from features.plan import FeaturePlan, compile_plan, plan_document
from features.store import OnlineStore, open_store
from features.transforms import Transform, operands_beside

if TYPE_CHECKING:
    from collections.abc import Callable

VIEWS = 3
FEATURES = 5
ENTITIES = 20_000
WAVES = 200
ROUNDS = 7
SIZES = (1, 4, 16, 64)


def make_plan() -> FeaturePlan:
    features = tuple(Feature(name=f"f{place}", default=0.0) for place in range(FEATURES))
    views = [View(name=f"v{place}", join_keys=(f"k{place}",), sql="", features=features) for place in range(VIEWS)]
    names = ("request.hour", *(f"{view.name}.{feature.name}" for view in views for feature in features))
    feature_set = FeatureSet(name="bench", features=names, view_digests=())
    return compile_plan(plan_document(feature_set, [BoundView(view=view, schema_id=1) for view in views]))


def make_kernels() -> tuple[Kernels, int]:
    """Return the transforms, compiled, and how many columns they and their operands are."""
    transforms = (
        Transform(name="above", expression="request.price / share.mean - 1"),
        Transform(name="busy", expression="transform.above > 0.02 and share.volume > 1", type="bool"),
        Transform(name="night", expression="if(request.hour < 6 or request.hour >= 22, 1, 0)"),
    )
    columns = [*(transform.column for transform in transforms), *operands_beside((), transforms)]
    return Kernels(transforms, list(dict.fromkeys(columns))), len(columns)


def fill(store: OnlineStore, plan: FeaturePlan) -> None:
    rng = np.random.default_rng(7)
    for view in plan.views:
        blobs = encode_values(
            schema_id=1,
            event_us=np.zeros(ENTITIES, np.int64),
            written_us=np.zeros(ENTITIES, np.int64),
            values=rng.random((ENTITIES, FEATURES)),
            nulls=np.zeros((ENTITIES, FEATURES), np.bool_),
        )
        store.put_many((entity_key(view.prefix, f"e{place}"), blob) for place, blob in enumerate(blobs))


def best_us(work: Callable[[int], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for wave in range(WAVES):
            work(wave)
        best = min(best, time.perf_counter() - begun)
    return best / WAVES * 1e6


def main() -> None:
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    plan = make_plan()
    rng = np.random.default_rng(11)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"lmdb://{folder}/online", writable=True)
        fill(store, plan)
        print(f"core {core}, {VIEWS} views of {FEATURES} features, {ENTITIES} entities each, LMDB")
        print(
            f"{'calls':>6} {'wave us':>9} {'us/call':>9} {'us/view':>9} {'bare read us/call':>18} {'transforms us':>14}"
        )
        kernels, columns = make_kernels()
        for size in SIZES:
            waves = [
                [{f"k{place}": f"e{rng.integers(ENTITIES)}" for place in range(VIEWS)} for _ in range(size)]
                for _ in range(WAVES)
            ]
            keys = [
                [entity_key(view.prefix, call[view.join_keys[0]]) for view in plan.views for call in calls]
                for calls in waves
            ]
            wave_us = best_us(lambda wave, waves=waves: fetch(store, [Lookup(plan, waves[wave])], 1))
            bare_us = best_us(lambda wave, keys=keys: store.get_many(keys[wave]))
            rows = rng.random((size, columns))
            kernels_us = best_us(lambda _wave, rows=rows: kernels.fill(rows))
            per_call = wave_us / size
            print(
                f"{size:>6} {wave_us:>9.1f} {per_call:>9.2f} {per_call / VIEWS:>9.2f} {bare_us / size:>18.2f} "
                f"{kernels_us:>14.1f}"
            )
        store.close()


if __name__ == "__main__":
    main()
