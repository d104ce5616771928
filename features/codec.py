"""Keys and values of the online store.

::

    key   = "f1:" view ":" schema_id ":{" entity "}"          one blob per (view, entity)
    value = u16 schema_id | u8 codec | u8 flags | i64 event_us | i64 written_us        20 bytes, little-endian
            | null bitmap, ceil(n/8) bytes | float64[n]

The braces make all views of an entity share a slot in a Redis cluster. The schema number stands in the key, so that two
layouts of one view live side by side while versions that were trained on either are served. `event_us` is when the
value became true, `written_us` when it became known. A value of its header alone, with a codec of its own, is a
tombstone: that there is no value since `event_us`. Readers find nothing there, and older writes stay out.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HEADER = struct.Struct("<HBBqq")
TIMES = struct.Struct("<qq")
TIMES_AT = 4
CODEC_FLOAT64 = 1
CODEC_MARKER = 2
CODEC_TOMBSTONE = 3
FLAG_NULLS = 1
SCHEMA_ID_MAX = 0xFFFF
ENTITY_CHARS_MAX = 64
NEVER_US = -(1 << 63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run of `materialize` has come.

    Attributes
    ----------
    since_us, until_us
        Its window; None is from the beginning.
    chunks
        How many are written.
    entity
        The join keys of the last one written; None where none is.
    """

    since_us: int | None
    until_us: int
    chunks: int
    entity: tuple[str, ...] | None


def key_prefix(view: str, schema_id: int) -> str:
    """Return what the keys of a view's values begin with; the entity, as `entity_text` gives it, follows."""
    return f"f1:{view}:{schema_id}:{{"


def marker_key(view: str, schema_id: int) -> bytes:
    """Return the key of the marker that says up to when a view is materialized in this store."""
    return f"m1:{view}:{schema_id}".encode()


def progress_key(view: str, schema_id: int) -> bytes:
    """Return the key of the mark that says how far an unfinished run has come in this store."""
    return f"p1:{view}:{schema_id}".encode()


def joined(values: Sequence[str]) -> str:
    """Return one text for the values of a view's join keys, in their order; different values give different texts."""
    if len(values) == 1:
        return values[0]
    return "".join([f"{len(value)}:{value}" for value in values])


def entity_text(entity: str) -> str:
    """Return how an entity stands in a key: itself and a brace, or past 64 characters a 128-bit hash, told apart."""
    if len(entity) <= ENTITY_CHARS_MAX:
        return entity + "}"
    return hashlib.blake2b(entity.encode(), digest_size=16).hexdigest() + "}#"


def entity_key(prefix: str, entity: str) -> bytes:
    """Return the key of an entity's value under a view's prefix."""
    return (prefix + entity_text(entity)).encode()


def bitmap_bytes(features: int) -> int:
    """Return the length of the null bitmap."""
    return (features + 7) // 8


def value_bytes(features: int) -> int:
    """Return the length of a value."""
    return HEADER.size + bitmap_bytes(features) + 8 * features


def value_dtype(features: int) -> np.dtype[np.void]:
    """Return the packed structure of a value: head (schema_id, codec and flags as one number), times, nulls, values."""
    return np.dtype(
        [
            ("head", "<u4"),
            ("event_us", "<i8"),
            ("written_us", "<i8"),
            ("nulls", "u1", (bitmap_bytes(features),)),
            ("values", "<f8", (features,)),
        ]
    )


def head_of(schema_id: int, flags: int) -> int:
    """Return the first four bytes of a float64 value as one number."""
    return schema_id | CODEC_FLOAT64 << 16 | flags << 24


def encode_values(
    *,
    schema_id: int,
    event_us: NDArray[np.int64],
    written_us: NDArray[np.int64],
    values: NDArray[np.float64],
    nulls: NDArray[np.bool_],
) -> list[bytes]:
    """Return one blob per row.

    Parameters
    ----------
    schema_id
        The number of the view's layout.
    event_us, written_us
        Microseconds since the Unix epoch, [rows].
    values
        [rows, features]; what stands where `nulls` is true does not matter and is stored as NaN.
    nulls
        [rows, features].
    """
    rows, features = values.shape
    table = np.zeros(rows, dtype=value_dtype(features))
    table["head"] = np.where(nulls.any(axis=1), head_of(schema_id, FLAG_NULLS), head_of(schema_id, 0))
    table["event_us"] = event_us
    table["written_us"] = written_us
    table["nulls"] = np.packbits(nulls, axis=1, bitorder="little")
    table["values"] = np.where(nulls, np.nan, values)
    size = value_bytes(features)
    packed = table.tobytes()
    return [packed[start : start + size] for start in range(0, len(packed), size)]


def encode_marker(*, until_us: int, written_us: int) -> bytes:
    """Return the marker's value."""
    return HEADER.pack(0, CODEC_MARKER, 0, until_us, written_us)


def encode_tombstone(*, schema_id: int, event_us: int, written_us: int) -> bytes:
    """Return the value that says that there is none."""
    return HEADER.pack(schema_id, CODEC_TOMBSTONE, 0, event_us, written_us)


def encode_progress(progress: Progress) -> bytes:
    """Return the value of a progress mark: of two, the one of the later window wins, then the one that is further."""
    head = HEADER.pack(0, CODEC_MARKER, 0, progress.until_us, progress.chunks)
    return head + json.dumps([progress.since_us, progress.entity]).encode()


def decode_progress(blob: bytes) -> Progress:
    """Return what `encode_progress` wrote."""
    until_us, chunks = times_of(blob)
    since_us, entity = json.loads(blob[HEADER.size :])
    return Progress(
        since_us=since_us, until_us=until_us, chunks=chunks, entity=None if entity is None else tuple(entity)
    )


def times_of(blob: bytes) -> tuple[int, int]:
    """Return the event time and the written time of a value or a marker."""
    event_us, written_us = TIMES.unpack_from(blob, TIMES_AT)
    return event_us, written_us
