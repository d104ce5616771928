"""What each call says beside its request: who asks, and the caller's trace.

Where OpenTelemetry's API is installed, a call carries the current span's context.
"""

from __future__ import annotations

import importlib
from typing import Any

Metadata = tuple[tuple[str, str], ...]


class CallMetadata:
    """Gives the metadata of a call: what all calls say, and what ties it to the caller's trace where there is one.

    Parameters
    ----------
    always
        What all calls say.
    """

    def __init__(self, always: Metadata = ()) -> None:
        self._always = always
        self._propagate: Any = None
        try:
            self._propagate = importlib.import_module("opentelemetry.propagate")
        except ModuleNotFoundError:
            return

    def metadata(self) -> Metadata | None:
        """Return the metadata of a call that is made now, as the process's propagator writes it; None for none."""
        if self._propagate is None:
            return self._always or None
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier)
        return (*self._always, *((key.lower(), value) for key, value in carrier.items())) or None
