"""The layout of a snapshot file: columns by view, one index of all entities.

::

    magic | place and length of the directory | ... sections, each at a multiple of 64 ... | directory (JSON)

    entities   ends u64[n + 1], texts bytes     the text of entity i, as `codec.entity_text` gives it
               index u32[slots]                 open addressing by crc32 of the text: 0, or i + 1
    a table    rows u32[n + 1]                  entity to row; absent where the rows are the entities themselves
               heads (head, event, written)[rows + 1], nulls u8[rows + 1, b], values f64[rows + 1, f]
    loose      pairs whose blob is not one of a table: u32 length of the key, u32 length of the blob, key, blob

The last row of a table is blank: that is where an entity that has no value is. A tombstone is a row without values.
Whatever a blob holds is kept bit by bit.
"""

from __future__ import annotations

import struct

import numpy as np

from features.codec import CODEC_TOMBSTONE, HEADER, value_bytes

MAGIC = b"TRNSNAP1"
HEAD = struct.Struct("<8sQQ")
LENGTHS = struct.Struct("<II")
ALIGNMENT = 64
HEAD_DTYPE = np.dtype([("head", "<u4"), ("event_us", "<i8"), ("written_us", "<i8")])
CODEC_AT = 2
FILE_NAME = "snapshot"

_BLOB_BITS = 65
"""A feature takes 64 bits of a value, and one of its bitmap."""


def prefix_of(key: bytes) -> bytes | None:
    """Return the part of a key before its entity, None where it is not the key of a view's value."""
    end = key.find(b"{") + 1
    return key[:end] if end and key.startswith(b"f1:") else None


def features_in(size: int) -> int | None:
    """Return how many features a value of so many bytes has; None where no value has that length."""
    features = (size - HEADER.size) * 8 // _BLOB_BITS
    return features if features > 0 and value_bytes(features) == size else None


def is_tombstone(blob: bytes) -> bool:
    """Return whether a blob says that there is no value."""
    return len(blob) == HEADER.size and blob[CODEC_AT] == CODEC_TOMBSTONE
