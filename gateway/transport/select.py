"""Which transport a worker opens, and why."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Literal

from gateway.errors import TransportUnavailableError
from gateway.transport.grpcio import GrpcioTransport
from gateway.transport.selftest import find_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.transport.port import Transport, Wiring

_log = logging.getLogger(__name__)

Kind = Literal["auto", "native", "grpcio"]


def open_transport(kind: Kind, wiring: Wiring) -> Transport:
    """Return a transport that is bound by `start`, or raise TransportUnavailableError when `native` cannot serve here.

    Parameters
    ----------
    kind
        `auto` takes native where its wheel imports and its self-test passes, else grpcio.
    wiring
        What the transport is opened with.

    Returns
    -------
    Transport
        Its `why` says in a sentence why it was taken; the log has it too.
    """
    transport = _open(kind, wiring)
    _log.info("transport %s: %s", transport.name, transport.why)
    return transport


def _open(kind: Kind, wiring: Wiring) -> Transport:
    if kind == "grpcio":
        return GrpcioTransport(wiring)
    native = _native()
    fault = native if isinstance(native, str) else find_fault(native)
    if fault is None and not isinstance(native, str):
        why = "it was asked for" if kind == "native" else "its wheel imports and its self-test passed"
        return native(wiring, why)
    if kind == "native":
        raise TransportUnavailableError(f"the native transport cannot serve here: {fault}", fault=fault)
    return GrpcioTransport(wiring, why=f"the native transport cannot serve here: {fault}")


def _native() -> Callable[[Wiring, str], Transport] | str:
    """Return what opens a native transport, or why there is none."""
    try:
        module = importlib.import_module("gateway.transport.native")
    except ImportError as error:
        return f"it does not import ({error})"

    def open_native(wiring: Wiring, why: str) -> Transport:
        transport: Transport = module.NativeTransport(wiring, why=why)
        return transport

    return open_native
