"""Ask a gateway whether it serves, for container health checks.

`python -m gateway.probe HOST:PORT` asks a gRPC port that speaks without TLS; `http://HOST:PORT` and `https://HOST:PORT`
ask the HTTP port, which wants no credentials of those who ask for its health. Of several, one that serves is enough.
"""

from __future__ import annotations

import contextlib
import ssl
import sys
import urllib.parse
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 2.0


def serves(address: str, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Return whether the server at an address says SERVING for itself as a whole within the timeout."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            sys.stderr.write(f"{address}: {error.code().name}\n")
            return False
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        sys.stderr.write(f"{address}: {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}\n")
        return False
    return True


def is_well(url: str, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Return whether the HTTP port at an address says that all workers serve.

    The certificate is not checked: nothing is sent that could be stolen, and the answer is about this very machine.
    """
    target = urllib.parse.urlsplit(url)
    if target.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: HTTPConnection = HTTPSConnection(target.netloc, timeout=timeout_s, context=context)
    else:
        connection = HTTPConnection(target.netloc, timeout=timeout_s)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            sys.stderr.write(f"{url}: {error}\n")
            return False
    if status != HTTPStatus.OK:
        sys.stderr.write(f"{url}: {status}\n")
        return False
    return True


def main(arguments: list[str]) -> int:
    """Return 0 when one of the addresses serves, 1 when none does, 2 on wrong usage."""
    if not arguments:
        sys.stderr.write("usage: python -m gateway.probe HOST:PORT | http://HOST:PORT | https://HOST:PORT ...\n")
        return 2
    return 0 if any(map(_ask, arguments)) else 1


def _ask(address: str) -> bool:
    return is_well(address) if address.startswith(("http://", "https://")) else serves(address)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
