"""Reads from a replica that is not too far behind, with the master behind it.

Theory of operation
-------------------
Once in `LOOK_S` one of the readers asks the replica how it stands: whether its link to the master is up, and how long
ago it last heard of it. While that is within the bound, reads go to the replica; else, and after a read of it that
failed, to the master until the next look. So what is read is at most the bound and one `LOOK_S` old. Writes never come
here.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from features.redis_routes import RefusedError, ask_sentinels, dial
from features.redis_wire import ReplyError, Wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from features.redis_address import Place, RedisAddress
    from features.redis_routes import Routes

LOOK_S = 1.0
_LOOK_SHARE = 0.25
"""What part of a read's budget the look may take."""


class Replicas:
    """Routes of reads: one of the master's replicas, else the master.

    Parameters
    ----------
    address
        Where the Sentinels are, who name the replicas.
    master
        Where reads go otherwise.
    budget_s
        How long an answer may take, and connecting.
    """

    def __init__(self, address: RedisAddress, master: Routes, budget_s: float) -> None:
        self._address = address
        self._master = master
        self._budget_s = budget_s
        self._replica = Wire(self._dial, budget_s=budget_s, exclusive=address.tls is not None)
        self._looking = threading.Lock()
        self._look_s = 0.0
        self._fresh = False

    def wire(self, key: bytes) -> Wire:
        """Return the connection that a read goes over now."""
        if time.monotonic() >= self._look_s and self._looking.acquire(blocking=False):
            try:
                self._fresh = self._look()
                self._look_s = time.monotonic() + LOOK_S
            finally:
                self._looking.release()
        return self._replica if self._fresh else self._master.wire(key)

    def wires(self, until: float) -> list[Wire]:
        """Return the master's connection."""
        return self._master.wires(until)

    def groups(self, keys: Sequence[bytes]) -> list[list[int]]:
        """Return all keys as one group."""
        return self._master.groups(keys)

    def at(self, place: Place) -> Wire:
        """Return the master's connection."""
        return self._master.at(place)

    def refresh(self, until: float) -> None:
        """Find the master anew with the next command."""
        self._master.refresh(until)

    def fall_back(self) -> bool:
        """Send reads to the master until the next look; return whether they went to the replica before."""
        was, self._fresh = self._fresh, False
        return was

    def close(self) -> None:
        """Close all connections."""
        self._replica.close()
        self._master.close()

    def _look(self) -> bool:
        """Return whether the replica is near enough to its master."""
        until = time.monotonic() + self._budget_s * _LOOK_SHARE
        try:
            (info,) = self._replica.ask([("INFO", "replication")], until)
        except OSError:
            return False
        if isinstance(info, ReplyError):
            return False
        facts = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        if facts.get("role") != "slave" or facts.get("master_link_status") != "up":
            self._replica.close()  # perhaps another one is better, or this one is the master by now
            return False
        return float(facts.get("master_last_io_seconds_ago", "inf")) <= self._address.replica_lag_max_s

    def _dial(self, left_s: float) -> socket.socket:
        until = time.monotonic() + left_s
        command = ("SENTINEL", "REPLICAS", self._address.service)
        (replicas,) = ask_sentinels(self._address, [command], left_s)
        found = []
        for fields in replicas:
            facts = {name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)}
            if facts["flags"] == "slave":  # else it is down, or cut off
                found.append((facts["ip"], int(facts["port"])))
        if not found:
            raise RefusedError(f"the Sentinels know no replica of {self._address.service!r} that is up")
        return dial(self._address, random.choice(found), until - time.monotonic())  # noqa: S311  (spreads the readers)
