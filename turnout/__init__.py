"""Turnout: what a user imports.

``Client`` and ``AsyncClient`` ask for predictions and record outcomes, ``Security`` is what they show to a gateway, and
``errors`` holds what they raise. All of them are loaded at first use, so that ``import turnout`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnout import errors as errors
    from turnout.aio import AsyncClient as AsyncClient
    from turnout.client import Client as Client
    from turnout.security import Security as Security

__all__ = ["AsyncClient", "Client", "Security", "errors"]

_HOMES = {
    "AsyncClient": "turnout.aio",
    "Client": "turnout.client",
    "Security": "turnout.security",
    "errors": "turnout.errors",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module that it lives in, or raise AttributeError."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'turnout' has no attribute {name!r}")
    module = importlib.import_module(home)
    return module if name == "errors" else getattr(module, name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
