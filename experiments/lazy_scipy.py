"""SciPy's parts, loaded when one of their functions is first called.

They are more than a third of all that a control plane would load at its start, and many never analyse anything.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scipy import optimize, special, stats
else:

    class _Part:
        """Looks like a module, and loads it when it is first asked for something."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            value = getattr(importlib.import_module(self._name), attribute)
            setattr(self, attribute, value)
            return value

    optimize, special, stats = _Part("scipy.optimize"), _Part("scipy.special"), _Part("scipy.stats")

__all__ = ["optimize", "special", "stats"]
