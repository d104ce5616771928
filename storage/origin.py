"""Where the change that is being made comes from; the edge says it, the audit notes it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a change comes from.

    Attributes
    ----------
    peer
        The address of who asked; empty for what the gateway does by itself.
    credential
        What it showed: `token`, `certificate` or `none`.
    """

    peer: str = ""
    credential: str = "none"


NOWHERE = Origin()
"""Of what the gateway does by itself."""

ORIGIN: ContextVar[Origin] = ContextVar("origin", default=NOWHERE)
"""Where the call that this thread answers comes from."""
