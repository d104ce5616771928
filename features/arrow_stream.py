"""A table as the bytes of an Arrow IPC stream, cut into chunks, with its fingerprint at the end."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa

from features.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Generator

    from features.offline import Batches

CHUNK_BYTES_MAX = 1024 * 1024


def chunks_of(reader: Batches, *, chunk_bytes_max: int = CHUNK_BYTES_MAX) -> Generator[tuple[bytes, str]]:
    """Yield the stream's bytes, each part with an empty text, at last no bytes with the table's fingerprint.

    Holds one batch at a time, and no part is longer than `chunk_bytes_max`.
    """
    fingerprint = Fingerprint(reader.schema)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, reader.schema) as writer:
        for batch in reader:
            fingerprint.add(batch)
            writer.write_batch(batch)
            yield from _taken(sink, chunk_bytes_max)
    yield from _taken(sink, chunk_bytes_max)
    yield b"", fingerprint.digest()


def _taken(sink: io.BytesIO, chunk_bytes_max: int) -> Generator[tuple[bytes, str]]:
    """Yield what was written, and empty the sink."""
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    for start in range(0, len(written), chunk_bytes_max):
        yield written[start : start + chunk_bytes_max], ""
