"""POSTing events to where webhooks point, without being led elsewhere.

The gateway stands where others cannot reach, so an address that somebody typed must not become a way in: what the name
resolves to is looked at, and just that address is connected to; redirects are not followed; proxies are not asked.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from registry.deliveries import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT_S = 10.0
RESPONSE_BYTES_MAX = 4096
"""How much of an answer is read; only its status counts."""
ADDRESSES_MAX = 4

_TAKEN = range(200, 300)
_MOVED = range(300, 400)


class AddressRefusedError(OSError):
    """The name leads to no address that may be connected to."""


class Poster:
    """POSTs events.

    Parameters
    ----------
    private
        Whether addresses of this machine and of private networks may be connected to. Those of the link never are: the
        metadata service of a cloud is one.
    timeout_s
        How long one POST may take, from the connection to the status.
    """

    def __init__(self, *, private: bool, timeout_s: float = TIMEOUT_S) -> None:
        self._private = private
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._tls = ssl.create_default_context()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """POST once and say how that went; whatever happens is an outcome."""
        try:
            status = self._post(url, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Outcome(0, f"{type(error).__name__}: {error}")
        if status in _TAKEN:
            return Outcome(status)
        return Outcome(status, "redirects are not followed" if status in _MOVED else f"the receiver answered {status}")

    def close(self) -> None:
        """Cut what is in flight, and begin nothing more."""
        with self._lock:
            self._closed = True
            for each in self._open:
                _cut(each)

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        connection = http.client.HTTPConnection(host, port)
        connection.default_port = 443 if secure else 80  # what the header `host` leaves out
        with self._connected(host, port) as (plain, expired):
            connection.sock = self._tls.wrap_socket(plain, server_hostname=host) if secure else plain
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body=body, headers={**headers, "connection": "close"})
            with connection.getresponse() as response:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    response.read(RESPONSE_BYTES_MAX)
                status = response.status
        # A line that was cut short can read like a status.
        if expired.is_set():
            raise TimeoutError(f"no whole answer within {self._timeout_s:g} s")
        return status

    @contextlib.contextmanager
    def _connected(self, host: str, port: int) -> Iterator[tuple[socket.socket, threading.Event]]:
        """Give a connection that is cut after the timeout, whatever it is doing, and what says that it was."""
        made = self._connect(host, port)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _cut(made)

        end = threading.Timer(self._timeout_s, expire)
        end.daemon = True
        with self._lock:
            if self._closed:
                made.close()
                raise ConnectionAbortedError("the gateway stops")
            self._open.add(made)
        end.start()
        try:
            yield made, expired
        finally:
            end.cancel()
            with self._lock:
                self._open.discard(made)
            made.close()

    def _connect(self, host: str, port: int) -> socket.socket:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = dict.fromkeys(str(each[4][0]) for each in found)
        allowed = [each for each in addresses if is_allowed(each, private=self._private)]
        if not allowed:
            what = "" if self._private else "; --webhook-private allows private ones"
            raise AddressRefusedError(f"{host} leads to {', '.join(addresses)}, which may not be connected to{what}")
        failure: OSError | None = None
        for address in allowed[:ADDRESSES_MAX]:
            try:
                return socket.create_connection((address, port), timeout=self._timeout_s)
            except OSError as error:
                failure = error
        raise failure or AddressRefusedError(host)


def is_allowed(address: str, *, private: bool) -> bool:
    """Return whether an address may be connected to."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    if ip.is_loopback:
        return private
    if ip.is_unspecified or ip.is_multicast or ip.is_link_local or ip.is_reserved:
        return False
    return private or ip.is_global


def _cut(made: socket.socket) -> None:
    with contextlib.suppress(OSError):
        made.shutdown(socket.SHUT_RDWR)
