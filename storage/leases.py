"""Leases: one holder at a time, for a time, with a token that only grows.

When a lease ends is by the database's time, which is the same for all who share it, however wrong their clocks are.

A holder that was thought dead may wake up after its lease went to another. So whatever is done under a lease is done
in a transaction that first calls `renew` with the holder's token: an older token is refused.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, text, update

from storage.clock import SystemClock
from storage.errors import ConflictError
from storage.schema import leases

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from storage.clock import Clock


class LeaseLostError(ConflictError):
    """The lease expired or went to another holder."""

    reason = "LEASE_LOST"


_NOW_US = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")


def database_now_us(tx: Connection) -> int:
    """Return the database's own time in microseconds since the Unix epoch: the same for all who share it."""
    if tx.dialect.name == "sqlite":  # all who share it are on one machine, and it has no clock but the machine's
        return SystemClock().now_us()
    now_us: int = tx.execute(_NOW_US).scalar_one()
    return now_us


def shared_now_us(tx: Connection, clock: Clock) -> int:
    """Return the time that all who share the database agree on: its own, where the clock is a machine's."""
    return database_now_us(tx) if isinstance(clock, SystemClock) else clock.now_us()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to be the only one, until `expires_us`."""

    name: str
    holder: str
    token: int
    expires_us: int
    ends_s: float = field(default=0.0, compare=False)

    def left_us(self) -> int:
        """Return how long it lasts by this process's monotonic clock, without asking the database."""
        return int((self.ends_s - time.monotonic()) * 1e6)


def acquire(tx: Connection, *, name: str, holder: str, duration_us: int, now_us: int) -> Lease | None:
    """Return the lease with a new token, or None while another one's has not expired; now is `database_now_us`.

    The same holder gets it anew at any time: a process that restarted under its old name need not wait.
    """
    present = tx.execute(select(leases).where(leases.c.name == name)).one_or_none()
    token = 1 if present is None else present.token + 1
    lease = Lease(name, holder, token, now_us + duration_us, _ends_s(duration_us))
    if present is None:
        tx.execute(insert(leases).values(name=name, holder=holder, token=1, expires_us=lease.expires_us))
        return lease
    if present.holder != holder and present.expires_us > now_us:
        return None
    tx.execute(
        update(leases)
        .where(leases.c.name == name)
        .values(holder=holder, token=lease.token, expires_us=lease.expires_us)
    )
    return lease


def renew(tx: Connection, lease: Lease, *, duration_us: int, now_us: int) -> Lease:
    """Return the lease with a later end, or raise LeaseLostError when it expired or another one has it."""
    renewed = Lease(lease.name, lease.holder, lease.token, now_us + duration_us, _ends_s(duration_us))
    done = tx.execute(
        update(leases)
        .where(leases.c.name == lease.name, leases.c.token == lease.token, leases.c.expires_us > now_us)
        .values(expires_us=renewed.expires_us)
    )
    if done.rowcount == 0:
        raise LeaseLostError(f"the lease {lease.name!r} is no longer {lease.holder!r}'s", lease=lease.name)
    return renewed


def release(tx: Connection, lease: Lease) -> None:
    """Let others have the lease at once; nothing happens when it is no longer this holder's."""
    tx.execute(update(leases).where(leases.c.name == lease.name, leases.c.token == lease.token).values(expires_us=0))


def list_held(tx: Connection, *, prefix: str, now_us: int) -> list[Lease]:
    """Return the leases whose names begin so and that have not expired, by name."""
    named = leases.c.name.startswith(prefix, autoescape=True)
    query = select(leases).where(named, leases.c.expires_us > now_us).order_by(leases.c.name)
    return [Lease(row.name, row.holder, row.token, row.expires_us) for row in tx.execute(query)]


def _ends_s(duration_us: int) -> float:
    return time.monotonic() + duration_us / 1e6
