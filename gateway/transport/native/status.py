"""How a call ends in HTTP/2: its first headers, its trailers, and both at once where it fails before it answers."""

from __future__ import annotations

import base64
import functools
import re
from typing import NamedTuple

Headers = tuple[tuple[bytes, bytes], ...]

OK_HEAD: Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"))
OK_TRAILERS: Headers = ((b"grpc-status", b"0"),)

# Past this the details of an error are left out: no client takes header lists without bound.
_TRAILING_BYTES_MAX = 64 * 1024
_ESCAPED = re.compile(rb"[^ -$&-~]")


class Refusal(NamedTuple):
    """Why a request is not answered, by its headers alone."""

    code: int
    message: str
    extra: Headers = ()
    http: bytes = b"200"

    def headers(self) -> Headers:
        """Return the answer that has no message."""
        return ((b":status", self.http), *ended(self.code, self.message)[1:], *self.extra)


@functools.lru_cache(256)
def ended(code: int, message: str, trailing: tuple[tuple[str, str | bytes], ...] = ()) -> Headers:
    """Return the only headers of a call that fails before it answers."""
    details: list[tuple[bytes, bytes]] = []
    for key, value in trailing:
        name = key.lower().encode("latin-1")
        if name.endswith(b"-bin"):
            raw = value if isinstance(value, bytes) else value.encode()
            details.append((name, base64.b64encode(raw).rstrip(b"=")))
        else:
            details.append((name, value if isinstance(value, bytes) else value.encode("latin-1", "replace")))
    if sum(len(name) + len(value) for name, value in details) > _TRAILING_BYTES_MAX:
        details = []
    sentence = _ESCAPED.sub(lambda match: b"%%%02X" % match[0][0], message.encode()[:_TRAILING_BYTES_MAX])
    return (*OK_HEAD, (b"grpc-status", b"%d" % code), (b"grpc-message", sentence), *details)
