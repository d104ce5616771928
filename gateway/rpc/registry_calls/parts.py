"""What the registry's calls work with."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from gateway.control.archive import Archives
    from gateway.control.clearances import Clearances
    from gateway.control.comparing import Comparing
    from gateway.control.governance import Governance
    from gateway.control.lineage import Lineages
    from gateway.control.publish import Publisher
    from gateway.control.upkeep import Upkeep
    from gateway.control.watching import Snapshots
    from storage.clock import Clock
    from storage.database import Database

CHUNK_BYTES_MAX = 1024**2
UPLOAD_TIMEOUT_S = 900.0
HEARTBEAT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryParts:
    """What the registry's calls work with.

    Attributes
    ----------
    database, clock
        Where models, versions and aliases are kept, and the time they are dated by.
    publisher
        What takes publications; it has its own transactions.
    clearances
        What gathers the evidence for the gates of a promotion.
    comparing, lineages
        What compares versions, and tells where they come from.
    upkeep, archives
        What looks after the artifacts, and what makes and takes in archives.
    snapshots
        What those see who follow the registry.
    governance
        What counts the ratios.
    upload_timeout_s
        How long one upload or download may take: it holds one of the port's threads, which a client that stalls must
        not do for ever.
    heartbeat_s
        How long those who follow the registry hear nothing before they get a sign of life.
    """

    database: Database
    clock: Clock
    publisher: Publisher
    clearances: Clearances
    comparing: Comparing
    lineages: Lineages
    upkeep: Upkeep
    archives: Archives
    snapshots: Snapshots
    governance: Governance
    upload_timeout_s: float = UPLOAD_TIMEOUT_S
    heartbeat_s: float = HEARTBEAT_S


class RegistryCalls:
    """Calls that share the parts.

    Parameters
    ----------
    parts
        What they work with.
    """

    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._database = parts.database
        self._clock = parts.clock


@contextlib.contextmanager
def cancelled_after(context: grpc.ServicerContext, timeout_s: float) -> Iterator[None]:
    """Cancel the call when the body takes longer, which ends whatever waits for its next message."""
    timer = threading.Timer(timeout_s, context.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
