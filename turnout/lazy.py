"""Names that a module gives away and does not load before somebody asks: importing the client costs next to nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def names_of(module: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return a module's ``__getattr__``, given the modules that its names live in."""

    def load(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home), name)

    return load
