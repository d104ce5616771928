"""What the headers of a request say, read once for equal headers."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from gateway.transport.native.bounds import HEADER_LIST_BYTES_MAX
from gateway.transport.native.status import Headers, Refusal
from gateway.transport.peer import RESERVED_PREFIX
from gateway.transport.port import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.transport.port import Metadata

FORWARDED = -1
"""The place of a method that is not answered in waves."""

_KNOWN_MAX = 1024
_KNOWN_BYTES_MAX = 4096
_FIELD_OVERHEAD_BYTES = 32
_UNIT_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_CONTENT_TYPE = re.compile(rb"application/grpc([+;].*)?", re.IGNORECASE)
_CODECS = frozenset((b"identity", b"gzip", b"deflate"))
_NOT_METADATA = frozenset((b"content-type", b"te", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding"))


class Head:
    """What a request's headers say.

    Attributes
    ----------
    method
        The place of its method, or `FORWARDED`.
    metadata
        Shared by all calls whose headers are equal, but for the timeout.
    timeout_s
        How long the client waits; None: it does not say.
    encoding
        How its messages are compressed, if they say that they are.
    refusal
        Why it cannot be answered, if so.
    """

    __slots__ = ("encoding", "metadata", "method", "refusal", "timeout_s")

    def __init__(
        self,
        method: int,
        metadata: Metadata = (),
        *,
        timeout_s: float | None = None,
        encoding: bytes = b"identity",
        refusal: Refusal | None = None,
    ) -> None:
        self.method = method
        self.metadata = metadata
        self.timeout_s = timeout_s
        self.encoding = encoding
        self.refusal = refusal


class Heads:
    """Reads headers, and remembers what it read: most calls of a client have equal ones."""

    def __init__(self, methods: Sequence[str]) -> None:
        self._places: Mapping[bytes, int] = {path.encode(): place for place, path in enumerate(methods)}
        self._whole: dict[Headers, Head] = {}
        self._timeless: dict[Headers, Head] = {}

    def read(self, headers: Headers) -> Head:
        """Return what they say."""
        return self._whole.get(headers) or self._read(headers)

    def _read(self, headers: Headers) -> Head:
        timeout = next((value for name, value in headers if name == b"grpc-timeout"), None)
        timeless = headers if timeout is None else tuple(field for field in headers if field[0] != b"grpc-timeout")
        found = self._timeless.get(timeless)
        size = 0
        if found is None:
            size = sum(len(name) + len(value) + _FIELD_OVERHEAD_BYTES for name, value in timeless)
            found = _parse(timeless, size, self._places)
            _remember(self._timeless, timeless, found, size)
        if timeout is None or found.refusal is not None:
            return found
        match = _TIMEOUT.fullmatch(timeout)
        if match is None:
            return Head(FORWARDED, refusal=Refusal(INTERNAL, "grpc-timeout is not a time"))
        left_s = int(match[1]) * _UNIT_S[match[2]]
        head = Head(found.method, found.metadata, timeout_s=left_s, encoding=found.encoding)
        _remember(self._whole, headers, head, size)
        return head


def _remember(known: dict[Headers, Head], headers: Headers, head: Head, size: int) -> None:
    if size <= _KNOWN_BYTES_MAX:
        if len(known) >= _KNOWN_MAX:
            known.clear()  # clients that never say the same twice must not make it grow
        known[headers] = head


def _parse(headers: Headers, size: int, places: Mapping[bytes, int]) -> Head:
    fields = dict(headers)
    refusal = None
    encoding = fields.get(b"grpc-encoding", b"identity")
    if fields.get(b":method") != b"POST":
        refusal = Refusal(UNIMPLEMENTED, "gRPC is spoken here; it has POST only", http=b"405")
    elif not _CONTENT_TYPE.fullmatch(fields.get(b"content-type", b"")):
        refusal = Refusal(UNIMPLEMENTED, "gRPC is spoken here: content-type application/grpc", http=b"415")
    elif size > HEADER_LIST_BYTES_MAX:
        refusal = Refusal(
            RESOURCE_EXHAUSTED, f"received metadata size exceeds limit ({size} vs. {HEADER_LIST_BYTES_MAX})"
        )
    elif encoding not in _CODECS:
        sentence = f"compression {encoding.decode('latin-1')} is not known here"
        refusal = Refusal(UNIMPLEMENTED, sentence, ((b"grpc-accept-encoding", b"identity,deflate,gzip"),))
    method = places.get(fields.get(b":path", b""), FORWARDED)
    if refusal is not None or method == FORWARDED:
        return Head(FORWARDED, refusal=refusal)
    try:
        metadata = tuple(pair for name, value in headers if _is_metadata(name) for pair in _decode(name, value))
    except (binascii.Error, ValueError):
        return Head(FORWARDED, refusal=Refusal(INTERNAL, "binary metadata is not base64"))
    return Head(method, metadata, encoding=encoding)


def _is_metadata(name: bytes) -> bool:
    return not (name.startswith((b":", RESERVED_PREFIX)) or name in _NOT_METADATA)


def _decode(name: bytes, value: bytes) -> list[tuple[str, str | bytes]]:
    key = name.decode("latin-1")
    if not name.endswith(b"-bin"):
        return [(key, value.decode("latin-1"))]
    parts = (part.strip() for part in value.split(b","))
    return [(key, base64.b64decode(part + b"=" * (-len(part) % 4), validate=True)) for part in parts]
