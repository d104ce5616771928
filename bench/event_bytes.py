"""How many bytes a prediction and its outcome take: in the journal, and as the Parquet that is shipped.

``python bench/event_bytes.py [--predictions 100000]``: random ids, an entity, features as random float64,
one output, by the journal's own writer and compactor.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np

from gateway.journal.commits import EventFolders
from gateway.journal.compact import compact
from gateway.journal.record import Outcome, Output, Prediction, encode
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

VIEWS = 3


def events(count: int, features: int) -> tuple[list[bytes], list[bytes]]:
    """Return so many predictions and their outcomes, encoded."""
    chance = np.random.default_rng(1)
    predictions, outcomes = [], []
    for _ in range(count):
        request_id, now_us = str(uuid.uuid4()), time.time_ns() // 1000
        unit = f"unit-{chance.integers(0, 1_000_000)}"
        predictions.append(
            encode(
                Prediction(
                    request_id=request_id,
                    time_us=now_us,
                    event_time_us=now_us,
                    model="fraud",
                    version=3,
                    digest="0" * 64,
                    experiment="fraud-canary",
                    variant="treatment",
                    propensity=0.5,
                    unit_id=unit,
                    entities={"account": unit},
                    feature_set="fraud@1",
                    features=chance.random(features).tobytes(),
                    view_status=b"\x01" * VIEWS,
                    view_age_ms=chance.integers(0, 3_600_000, VIEWS).tolist(),
                    outputs=[Output("score", "float32", (1,), chance.random(1, np.float32).tobytes())],
                    latency_us=int(chance.integers(100, 5000)),
                    run_us=int(chance.integers(5, 50)),
                    run_rows=1,
                )
            )
        )
        value = float(chance.integers(2))
        outcomes.append(
            encode(Outcome(request_id=request_id, name="fraud", value=value, event_time_us=0, time_us=now_us))
        )
    return predictions, outcomes


def size_of(payloads: list[bytes]) -> tuple[float, float]:
    """Return the bytes of each event in the journal and in Parquet."""
    with tempfile.TemporaryDirectory() as folder:
        folders = EventFolders(Path(folder))
        writer = JournalWriter(folders.journal, name="worker-0", clock=SystemClock())
        writer.append(payloads)
        writer.close()
        journal = sum(file.stat().st_size for file in folders.journal.rglob("*") if file.is_file())
        compact(folders)
        parquet = sum(file.stat().st_size for file in folders.events.rglob("*.parquet"))
    return journal / len(payloads), parquet / len(payloads)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--predictions", type=int, default=100_000)
    count = parser.parse_args().predictions
    for features in (10, 30, 150):
        predictions, outcomes = (size_of(payloads) for payloads in events(count, features))
        print(
            f"{features} features: a prediction {predictions[0]:.0f} bytes in the journal, {predictions[1]:.0f} as "
            f"Parquet; an outcome {outcomes[0]:.0f} and {outcomes[1]:.0f}"
        )


if __name__ == "__main__":
    main()
