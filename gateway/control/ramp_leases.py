"""Who looks after ramps: the lease of each, and the gateways that are there besides.

A gateway judges guardrails by its own journal. Where several share a database the others answer calls, too, that it
does not see; so each of them says that it is there, by a lease in its own name, while any ramp goes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.leases import acquire, database_now_us, list_held

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from storage.leases import Lease

LEASE_US = 10_000_000
_GATEWAYS = "experiments.gateway."


@dataclass(frozen=True, slots=True)
class Judges:
    """Who looks after a ramp, and who else is there; gateways by their holders' names.

    Parameters
    ----------
    judge
        Whose journal the ramp is judged by; empty: nobody looks after it now.
    unseen
        The others, whose calls are not seen.
    """

    judge: str = ""
    unseen: tuple[str, ...] = ()


def take(tx: Connection, experiment: str, *, holder: str) -> Lease | None:
    """Return the lease of a ramp, or None while another gateway has it."""
    return acquire(tx, name=_name(experiment), holder=holder, duration_us=LEASE_US, now_us=database_now_us(tx))


def announce(tx: Connection, *, holder: str) -> Lease | None:
    """Say that this gateway is there, for the time of a lease."""
    name = _GATEWAYS + hashlib.blake2b(holder.encode(), digest_size=16).hexdigest()
    return acquire(tx, name=name, holder=holder, duration_us=LEASE_US, now_us=database_now_us(tx))


def judges_of(tx: Connection, experiment: str) -> Judges:
    """Return who looks after a ramp now, and who else is there."""
    now_us = database_now_us(tx)
    held = [
        each.holder for each in list_held(tx, prefix=_name(experiment), now_us=now_us) if each.name == _name(experiment)
    ]
    judge = held[0] if held else ""
    there = [each.holder for each in list_held(tx, prefix=_GATEWAYS, now_us=now_us)]
    return Judges(judge, tuple(sorted(each for each in there if each != judge)))


def _name(experiment: str) -> str:
    return f"experiments.ramp.{experiment}"
