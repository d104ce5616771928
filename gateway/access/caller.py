"""Who is asking, while a call is answered."""

from __future__ import annotations

import math
from contextvars import ContextVar
from dataclasses import dataclass

ROLES = frozenset({"predict", "outcomes", "read", "runs", "admin"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes
    ----------
    name
        The token's or the certificate's name in the file of identities, else the certificate's own; empty: unknown,
        which only a gateway that asks for nothing lets in.
    roles
        What it may do; everything is said, `admin` implies the others.
    credential
        `token`, `certificate` or `none`.
    expires_s
        From when on its credential counts for nothing, in seconds since the Unix epoch.
    """

    name: str = ""
    roles: frozenset[str] = ROLES
    credential: str = "none"
    expires_s: float = math.inf


ANYBODY = Caller()
"""Who asks a gateway that asks for no credentials."""

CALLER: ContextVar[Caller] = ContextVar("caller", default=ANYBODY)
"""Who made the call that this thread answers."""
