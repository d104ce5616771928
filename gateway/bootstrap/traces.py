"""Where traced calls go: to a receiver, or nowhere, and then nothing that knows OpenTelemetry is loaded."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gateway.errors import SettingInvalidError
from gateway.telemetry.tracing import TracedCall, Tracer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.bootstrap.settings import Settings
    from gateway.telemetry.meter import Meter


class Traces:
    """The control plane's own tracer, and the way out for what all processes trace.

    Parameters
    ----------
    settings
        Whether and where to.
    meter
        Counts what was sent and what was not.

    Attributes
    ----------
    tracer
        Of the control port's calls; None when nothing is traced.

    Raises
    ------
    SettingInvalidError
        Traces are asked for and OpenTelemetry is not installed.
    """

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self.tracer: Tracer | None = None
        self._sender: Any = None
        if not settings.trace_otlp:
            return
        try:
            otlp = importlib.import_module("gateway.telemetry.otlp")
        except ImportError as error:
            raise SettingInvalidError("--trace-otlp needs OpenTelemetry: install turnout[otel]") from error
        self.tracer = Tracer("control", ratio=settings.trace_ratio, meter=meter)
        self._sender = otlp.SpanSender(
            settings.trace_otlp, version=version("turnout"), meter=meter, more=self.tracer.take
        )

    def take(self, calls: Iterable[TracedCall]) -> None:
        """Take what a worker traced."""
        if self._sender is not None:
            self._sender.offer(calls)

    def close(self) -> None:
        """Send what waits, once, and stop."""
        if self._sender is not None:
            self._sender.close()
