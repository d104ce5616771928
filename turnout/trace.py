"""Passing the caller's trace on: where OpenTelemetry's API is installed, a call carries the current span's context."""

from __future__ import annotations

import importlib
from typing import Any

Metadata = tuple[tuple[str, str], ...]


class TraceContext:
    """Gives the metadata that ties a call to the caller's trace; none where there is no trace, or no OpenTelemetry."""

    def __init__(self) -> None:
        self._propagate: Any = None
        try:
            self._propagate = importlib.import_module("opentelemetry.propagate")
        except ModuleNotFoundError:
            return

    def metadata(self) -> Metadata | None:
        """Return the metadata of a call that is made now, as the process's propagator writes it; None for none."""
        if self._propagate is None:
            return None
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier)
        return tuple((key.lower(), value) for key, value in carrier.items()) or None
