"""What a point-in-time training table costs: label rows joined to feature rows, in seconds and in memory.

Run with `nice python bench/point_in_time.py [LABELS ROWS]`; without arguments 1 000 000 labels and 10 000 000 rows,
half of them in each of two views: one of one join key, one of two with a time to live. One row in ten arrives late.
The table is read to its end and written as Parquet, with its fingerprint, as `turnout features training-data` does.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from features.definitions import Feature, FeatureSet, Source, View
from features.fingerprint import Fingerprint
from features.offline import OfflineLimits
from features.training import training_table

LABELS = 1_000_000
ROWS = 10_000_000
SPAN_S = 365 * 86_400
KEYS = 100_000
LIMITS = OfflineLimits(threads=2, memory_bytes_max=2 * 1024**3)


def write_sources(folder: Path, labels: int, rows: int) -> list[Source]:
    """Write the files, and return the sources that declare them."""
    moment = f"TIMESTAMP '2025-01-01' + to_seconds(CAST(floor(random() * {SPAN_S}) AS INTEGER))"
    late = "to_hours(CASE WHEN random() < 0.1 THEN 24 ELSE 0 END)"
    statements = {
        "labels": f"SELECT 'u' || (i * 7919 % {KEYS}) AS user, 's' || (i % 50) AS shop, {moment} AS event_time, "
        f"i % 2 AS label FROM range({labels}) AS t(i)",
        "users": f"SELECT *, event_time + {late} AS created_time FROM (SELECT 'u' || (i % {KEYS}) AS user, "
        f"{moment} AS event_time, random() AS a, random() AS b, random() AS c FROM range({rows // 2}) AS t(i))",
        "visits": f"SELECT *, event_time + {late} AS created_time FROM (SELECT 'u' || (i % {KEYS}) AS user, "
        f"'s' || (i % 50) AS shop, {moment} AS event_time, random() AS d, random() AS e "
        f"FROM range({rows - rows // 2}) AS t(i))",
    }
    sources = []
    for name, statement in statements.items():
        path = folder / f"{name}.parquet"
        duckdb.sql(f"COPY ({statement}) TO '{path}' (FORMAT parquet)")
        sources.append(Source(name=name, kind="parquet", path=str(path)))
    return sources


def views() -> list[View]:
    """Return the two views."""
    return [
        View(name="user", join_keys=("user",), sql="SELECT * FROM users", features=_features("abc")),
        View(
            name="visit",
            join_keys=("user", "shop"),
            sql="SELECT * FROM visits",
            features=_features("de"),
            ttl_us=90 * 86_400_000_000,
        ),
    ]


def main() -> None:
    labels, rows = (int(text) for text in sys.argv[1:3] or (LABELS, ROWS))
    both = views()
    feature_set = FeatureSet(
        name="bench",
        features=("user.a", "user.b", "user.c", "visit.d", "visit.e"),
        view_digests=tuple((view.name, view.digest) for view in both),
    )
    with tempfile.TemporaryDirectory() as folder:
        sources = write_sources(Path(folder), labels, rows)
        written_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        begun = time.perf_counter()
        spent = time.process_time()
        table = training_table(
            feature_set,
            both,
            sources=sources,
            label_sql="SELECT * FROM labels",
            start_us=None,
            end_us=None,
            limits=LIMITS,
        )
        found = 0
        with table as batches, pq.ParquetWriter(Path(folder) / "table.parquet", batches.schema) as writer:
            fingerprint = Fingerprint(batches.schema)
            for batch in batches:
                found += batch.num_rows
                fingerprint.add(batch)
                writer.write_batch(batch)
        wall_s = time.perf_counter() - begun
        cpu_s = time.process_time() - spent
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{labels} labels x {rows} feature rows in {len(both)} views: {found} rows out, {fingerprint.digest()[:12]}")
    print(f"{wall_s:.1f} s, {cpu_s:.1f} s of CPU, peak {peak_bytes / 1e9:.2f} GB (before: {written_bytes / 1e9:.2f})")


def _features(names: str) -> tuple[Feature, ...]:
    return tuple(Feature(name=name, default=0.0) for name in names)


if __name__ == "__main__":
    main()
