"""A request whose body has not come whole: gRPC's frame, put together and looked at while it grows."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from gateway.transport.native.status import Refusal
from gateway.transport.port import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED

if TYPE_CHECKING:
    from gateway.transport.native.head import Head

PREFIX = struct.Struct(">BI")
PREFIX_BYTES = PREFIX.size
# zlib's window bits: gzip alone, and zlib's own frame, which HTTP calls deflate.
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}


def too_large(size: int, limit: int) -> Refusal:
    """Return the refusal of a request that is larger than the limit."""
    return Refusal(RESOURCE_EXHAUSTED, f"SERVER: Received message larger than max ({size} vs. {limit})")


class Arriving:
    """What has come of a request.

    Attributes
    ----------
    head
        What its headers say.
    since
        When it began, on the monotonic clock.
    size
        How many bytes are held for it.
    wanted
        How long its message says it is; None until it does.
    """

    __slots__ = ("_body", "_compressed", "_prefix", "head", "since", "size", "wanted")

    def __init__(self, head: Head, since: float) -> None:
        self.head = head
        self.since = since
        self.size = 0
        self.wanted: int | None = None
        self._prefix = b""
        self._compressed = False
        self._body = bytearray()  # not a list of pieces: a piece may be one byte

    def add(self, data: bytes, limit: int) -> Refusal | None:
        """Take what has come; return why the request is refused, if it is."""
        if self.wanted is None:
            missing = PREFIX_BYTES - len(self._prefix)
            self._prefix += data[:missing]
            data = data[missing:]
            if len(self._prefix) < PREFIX_BYTES:
                return None
            flag, self.wanted = PREFIX.unpack(self._prefix)
            if flag > 1:
                return Refusal(INTERNAL, "a message's first byte is neither 0 nor 1")
            self._compressed = flag == 1
            if self._compressed and self.head.encoding == b"identity":
                return Refusal(INTERNAL, "a message says that it is compressed, its headers do not say how")
            if self.wanted > limit:
                return too_large(self.wanted, limit)
        self.size += len(data)
        if self.size > self.wanted:
            return Refusal(UNIMPLEMENTED, "the method takes one message")
        self._body += data
        return None

    def finish(self, limit: int) -> bytes | Refusal:
        """Return the message, once all has come, or why there is none."""
        if self.wanted is None:
            if self._prefix:
                return Refusal(INTERNAL, "the request ends within a message")
            return Refusal(UNIMPLEMENTED, "the method takes one message, and none came")
        if self.size < self.wanted:
            return Refusal(INTERNAL, "the request ends within a message")
        payload = bytes(self._body)
        return inflate(payload, self.head.encoding, limit) if self._compressed else payload


def inflate(payload: bytes, encoding: bytes, limit: int) -> bytes | Refusal:
    """Return what was compressed, never making more of it than the limit."""
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = inflater.decompress(payload, limit + 1)
    except zlib.error:
        return Refusal(INTERNAL, "a message cannot be decompressed")
    if len(plain) > limit:
        return too_large(len(plain), limit)
    if not inflater.eof:
        return Refusal(INTERNAL, "a compressed message ends early")
    return plain
