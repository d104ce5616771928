"""Which Redis server has a key: the one there is, the master that Sentinels name, or the owner of a cluster's slot."""

from __future__ import annotations

import socket
import time
from binascii import crc_hqx
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from features.redis_wire import Parser, ReplyError, Wire, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.redis_address import Place, RedisAddress
    from features.redis_wire import Command

SLOTS = 16384


class RefusedError(OSError):
    """A server lets nobody in, or does not understand."""


class Routes(Protocol):
    """Finds the server of a key."""

    def wire(self, key: bytes) -> Wire:
        """Return the connection to the server that has a key."""
        ...

    def wires(self, until: float) -> list[Wire]:
        """Return the connections to all servers."""
        ...

    def groups(self, keys: Sequence[bytes]) -> list[list[int]]:
        """Return the places of the keys that one MGET may ask for together."""
        ...

    def at(self, place: Place) -> Wire:
        """Return the connection to a server that another one named."""
        ...

    def refresh(self, until: float) -> None:
        """Look again who has what."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class OneServer:
    """All keys are at one server, which is looked for whenever a connection is opened."""

    def __init__(self, address: RedisAddress, budget_s: float) -> None:
        self._wire = Wire(
            lambda left_s: connect(address, left_s),
            budget_s=budget_s,
            exclusive=address.tls is not None,
        )

    def wire(self, key: bytes) -> Wire:
        """Return the connection to the server that has a key."""
        del key
        return self._wire

    def wires(self, until: float) -> list[Wire]:
        """Return the connections to all servers."""
        del until
        return [self._wire]

    def groups(self, keys: Sequence[bytes]) -> list[list[int]]:
        """Return all keys as one group."""
        return [list(range(len(keys)))]

    def at(self, place: Place) -> Wire:
        """Return the one connection: a single server names no others."""
        del place
        return self._wire

    def refresh(self, until: float) -> None:
        """Find the master anew with the next command."""
        del until
        self._wire.close()

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()


class Cluster:
    """Keys are at the owners of their slots."""

    def __init__(self, address: RedisAddress, budget_s: float) -> None:
        self._address = address
        self._budget_s = budget_s
        self._wires: dict[Place, Wire] = {}
        self._owners: list[Place] = []

    def wire(self, key: bytes) -> Wire:
        """Return the connection to the server that has a key, or raise OSError when no node says who has what."""
        if not self._owners:
            self.refresh(time.monotonic() + self._budget_s)
        return self.at(self._owners[slot_of(key)])

    def wires(self, until: float) -> list[Wire]:
        """Return the connections to all masters."""
        self.refresh(until)
        return [self.at(place) for place in dict.fromkeys(self._owners)]

    def groups(self, keys: Sequence[bytes]) -> list[list[int]]:
        """Return the keys of each slot as a group."""
        groups: dict[int, list[int]] = {}
        for place, key in enumerate(keys):
            groups.setdefault(slot_of(key), []).append(place)
        return list(groups.values())

    def at(self, place: Place) -> Wire:
        """Return the connection to a node."""
        wire = self._wires.get(place)
        if wire is None:
            wire = self._wires[place] = Wire(
                partial(self._dial, place), budget_s=self._budget_s, exclusive=self._address.tls is not None
            )
        return wire

    def refresh(self, until: float) -> None:
        """Ask the nodes, one after another until one answers, who has which slots."""
        failure: OSError = ConnectionError("no node of the cluster is known")
        for place in [*self._wires, *self._address.places]:
            try:
                [ranges] = self.at(place).ask([("CLUSTER", "SLOTS")], until)
                self._owners = _owners(ranges, place)
            except OSError as error:
                failure = error
            else:
                return
        raise failure

    def close(self) -> None:
        """Close all connections."""
        for wire in list(self._wires.values()):
            wire.close()

    def _dial(self, place: Place, left_s: float) -> socket.socket:
        return dial(self._address, place, left_s)


def _owners(ranges: Any, asked: Place) -> list[Place]:
    """Return the owner of each slot from the answer of CLUSTER SLOTS; a node that names no host means itself."""
    if isinstance(ranges, ReplyError):
        raise RefusedError(str(ranges))
    owners: list[Place | None] = [None] * SLOTS
    for start, stop, master, *_ in ranges:
        owners[start : stop + 1] = [(master[0].decode() or asked[0], master[1])] * (stop + 1 - start)
    known = [owner for owner in owners if owner is not None]
    if len(known) < SLOTS:
        raise ConnectionError("the cluster has slots that no node owns")
    return known


def slot_of(key: bytes) -> int:
    """Return a key's slot in a cluster: that of what its first braces hold, where they hold something."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def dial(address: RedisAddress, place: Place, left_s: float) -> socket.socket:
    """Open a connection to a server and get in, or raise OSError."""
    commands: list[Command] = []
    if address.password:
        login = (address.user, address.password) if address.user else (address.password,)
        commands.append(("AUTH", *login))
    if address.db:
        commands.append(("SELECT", str(address.db)))
    return _opened(address, place, commands, left_s)[0]


def connect(address: RedisAddress, left_s: float) -> socket.socket:
    """Open a connection to the one server, to the master, or to the first node of a cluster that lets one in."""
    if address.kind != "cluster":
        find = _master if address.kind == "sentinel" else _only
        return dial(address, find(address, left_s), left_s)
    failure: OSError = ConnectionError("no node of the cluster is known")
    for place in address.places:
        try:
            return dial(address, place, left_s / len(address.places))
        except OSError as error:
            failure = error
    raise failure


def _only(address: RedisAddress, left_s: float) -> Place:
    del left_s
    return address.places[0]


def _master(address: RedisAddress, left_s: float) -> Place:
    """Ask the Sentinels where the master is."""
    (place,) = ask_sentinels(address, [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)], left_s)
    host, port = place
    return host.decode(), int(port)


def ask_sentinels(address: RedisAddress, asked: Sequence[Command], left_s: float) -> list[Any]:
    """Return the replies of the first Sentinel that answers and knows the master, or raise OSError."""
    commands: list[Command] = []
    if address.sentinel_password:
        login = (address.sentinel_user,) if address.sentinel_user else ()
        commands.append(("AUTH", *login, address.sentinel_password))
    before = len(commands)
    commands.extend(asked)
    until = time.monotonic() + left_s
    failure: OSError = ConnectionError("no Sentinel is known")
    for place in address.places:
        try:
            # One that does not answer must leave time for the others, and for the master itself.
            share_s = max(0.001, until - time.monotonic()) / (len(address.places) + 1)
            opened, replies = _opened(address, place, commands, share_s)
            opened.close()
        except OSError as error:
            failure = error
            continue
        if replies[-1] is None:
            failure = RefusedError(f"the Sentinels know no master {address.service!r}")
            continue
        return replies[before:]
    raise failure


def _opened(
    address: RedisAddress, place: Place, commands: Sequence[Command], left_s: float
) -> tuple[socket.socket, list[Any]]:
    """Open a connection and send some first commands; return it with their replies, none of them an error."""
    if left_s <= 0:
        raise TimeoutError("no time is left to connect")
    host, port = place
    if port:
        connected = socket.create_connection(place, timeout=left_s)
    else:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.settimeout(left_s)
    try:
        if port:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            connected.connect(host)
        if address.tls is not None:
            connected = address.tls.wrap_socket(connected, server_hostname=host)
        replies = _greet(connected, commands)
    except BaseException:
        connected.close()
        raise
    return connected, replies


def _greet(connected: socket.socket, commands: Sequence[Command]) -> list[Any]:
    parser = Parser()
    replies: list[Any] = []
    if commands:
        connected.sendall(b"".join([pack(command) for command in commands]))
    while len(replies) < len(commands):
        received = connected.recv(4096)
        if not received:
            raise ConnectionResetError("the server closed the connection")
        parser.feed(received)
        while (reply := parser.gets()) is not False:
            if isinstance(reply, ReplyError):
                raise RefusedError(str(reply))
            replies.append(reply)
    return replies
