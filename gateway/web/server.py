"""The HTTP port: whether the gateway is well, its metrics, and the console."""

from __future__ import annotations

import ssl
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.access.access import require
from gateway.transport.tls import names_of_peer
from gateway.web.console import FORM_BYTES_MAX, Asked
from gateway.web.metrics import GatewayCollector
from gateway.web.secure import SecureHTTPServer, certificate_shown
from storage.errors import ForbiddenError, UnknownCallerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.access.access import Access
    from gateway.control.fleet import Fleet
    from gateway.telemetry.meter import Meter
    from gateway.transport.tls import Certificates
    from gateway.web.console import Console

HEALTH_PATH = "/healthz"
METRICS_PATH = "/metrics"
READ = "read"
"""The role that the numbers take."""

IDLE_S_MAX = 30.0
"""How long a connection may say nothing."""


class WebServer:
    """Answers ``/healthz``, ``/metrics`` and the console's pages.

    Parameters
    ----------
    host, port
        Where; port 0 picks a free one.
    fleet
        Whether it answers.
    gather
        Returns the numbers to show.
    access
        Says who asks for them.
    console
        Answers everything else.
    tls
        The port's certificate; None: it speaks without TLS.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        fleet: Fleet,
        gather: Callable[[], Meter],
        access: Access,
        console: Console,
        tls: Certificates | None = None,
    ) -> None:
        registry = CollectorRegistry()
        registry.register(GatewayCollector(gather))

        class Handler(_Handler):
            metrics = registry
            workers = fleet
            asked = access
            pages = console

        self._server = SecureHTTPServer((host, port), Handler, tls=tls)

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
    asked: Access
    pages: Console
    timeout = IDLE_S_MAX

    def do_GET(self) -> None:
        """Answer a GET."""
        path = self.path.partition("?")[0]
        if path == HEALTH_PATH:
            ready = all(report.ready for report in self.workers.reports())
            self._send(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, b"ok\n" if ready else b"not ready\n")
        elif path == METRICS_PATH:
            self._send_metrics()
        else:
            self._send_page(b"")

    def do_POST(self) -> None:
        """Take a form of the console."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._send(HTTPStatus.LENGTH_REQUIRED, b"a form says how long it is\n")
        elif int(length) > FORM_BYTES_MAX:
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"no form is that long\n")
        else:
            self._send_page(self.rfile.read(int(length)))

    def _send_page(self, body: bytes) -> None:
        """Answer with a page of the console."""
        host, port = self.client_address[:2]
        certificate = certificate_shown(self.connection)
        told = self.pages.answer(
            Asked(
                method=self.command,
                target=self.path,
                headers=self.headers,
                body=body,
                certificate=names_of_peer(certificate),
                peer=f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}",
                secure=isinstance(self.connection, ssl.SSLSocket),
            )
        )
        self.send_response(told.status)
        self.send_header("Content-Type", told.content_type)
        self.send_header("Content-Length", str(len(told.body)))
        for name, value in told.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(told.body)

    def _send_metrics(self) -> None:
        """Show the numbers to those who may read."""
        if self.asked.asks:
            try:
                certificate = names_of_peer(certificate_shown(self.connection))
                require(self.asked.caller(self.headers.get("Authorization"), certificate), READ)
            except UnknownCallerError as error:
                self._send(HTTPStatus.UNAUTHORIZED, f"{error}\n".encode(), challenge="Bearer")
                return
            except ForbiddenError as error:
                self._send(HTTPStatus.FORBIDDEN, f"{error}\n".encode())
                return
        self._send(HTTPStatus.OK, generate_latest(self.metrics), CONTENT_TYPE_LATEST)

    def _send(
        self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8", *, challenge: str = ""
    ) -> None:
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep requests out of the log."""
