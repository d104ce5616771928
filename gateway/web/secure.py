"""An HTTP server that may speak TLS; each connection is greeted in its own thread, so a slow one holds up nobody."""

from __future__ import annotations

import logging
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from gateway.transport.tls import Certificates

HANDSHAKE_S_MAX = 10.0

_log = logging.getLogger(__name__)


class SecureHTTPServer(ThreadingHTTPServer):
    """The standard library's server, with the certificate in force for each new connection.

    Parameters
    ----------
    address
        Host and port.
    handler
        Answers requests.
    tls
        The certificate; None: no TLS.
    """

    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], *, tls: Certificates | None
    ) -> None:
        self._tls = tls
        super().__init__(address, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Greet a client, in its thread, and answer it."""
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(HANDSHAKE_S_MAX)
        try:
            secured = self._tls.context().wrap_socket(request, server_side=True)
        except OSError:  # ssl.SSLError is one: a stranger, a scanner, somebody who speaks plain HTTP
            return
        with secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong, except that a client went away."""
        del request, client_address
        if not isinstance(sys.exception(), OSError):
            _log.exception("a request was not answered")


def certificate_shown(connection: socket.socket) -> dict[str, Any] | None:
    """Return the certificate that a client showed and that was verified; None when it showed none."""
    return connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
