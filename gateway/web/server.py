"""The HTTP port: whether the gateway is well, and its metrics."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.web.metrics import GatewayCollector

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.control.fleet import Fleet
    from gateway.telemetry.meter import Meter

HEALTH_PATH = "/healthz"
METRICS_PATH = "/metrics"


class WebServer:
    """Answers ``/healthz`` and ``/metrics``.

    Parameters
    ----------
    host, port
        Where; port 0 picks a free one.
    fleet
        Whether it answers.
    gather
        Returns the numbers to show.
    """

    def __init__(self, host: str, port: int, *, fleet: Fleet, gather: Callable[[], Meter]) -> None:
        registry = CollectorRegistry()
        registry.register(GatewayCollector(gather))

        class Handler(_Handler):
            metrics = registry
            workers = fleet

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True

    def start(self) -> int:
        """Begin to answer and return the bound port."""
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()
        return self._server.server_port

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    metrics: CollectorRegistry
    workers: Fleet

    def do_GET(self) -> None:
        """Answer a GET."""
        path = self.path.partition("?")[0]
        if path == HEALTH_PATH:
            ready = all(report.ready for report in self.workers.reports())
            self._send(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, b"ok\n" if ready else b"not ready\n")
        elif path == METRICS_PATH:
            self._send(HTTPStatus.OK, generate_latest(self.metrics), CONTENT_TYPE_LATEST)
        else:
            self._send(HTTPStatus.NOT_FOUND, b"not found\n")

    def _send(self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep requests out of the log."""
