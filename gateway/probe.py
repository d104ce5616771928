"""Ask a gateway whether it serves: `python -m gateway.probe HOST:PORT`, for container health checks."""

from __future__ import annotations

import sys

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


def main(arguments: list[str]) -> int:
    """Return 0 when the address given as the only argument serves, 1 when not, 2 on wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m gateway.probe HOST:PORT\n")
        return 2
    return 0 if serves(arguments[0]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
