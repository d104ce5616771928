"""The reference transport: grpcio's own server, whose events a loop of ours takes, so that calls make waves."""

from gateway.transport.grpcio.transport import GrpcioTransport

__all__ = ["GrpcioTransport"]
