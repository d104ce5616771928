"""The online store in Redis: one MGET reads a wave, a script writes by compare-and-set."""

from __future__ import annotations

import hashlib
import math
import re
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from features.codec import times_of
from features.errors import StoreFullError, StoreUnavailableError
from features.redis_address import parse_address
from features.redis_replicas import Replicas
from features.redis_routes import Cluster, OneServer
from features.redis_wire import ReplyError, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from features.redis_routes import Routes
    from features.redis_wire import Command, Pending, Wire

CHUNK_PAIRS_MAX = 1000
WRITE_BUDGET_MS = 5000
_REDIRECTIONS_MAX = 5
_US_PER_MS = 1000

# One key a call, so that they run on a cluster too. Times are compared as numbers: exact below 2^53 microseconds
# (the year 2255), which Lua's doubles hold. What is written again lives as long as it would now.
_PUT = """
local stored = redis.call('GET', KEYS[1])
if stored then
    if stored == ARGV[1] then
        if ARGV[2] ~= '0' then redis.call('PEXPIREAT', KEYS[1], ARGV[2]) end
        return 0
    end
    local old_event, old_written = struct.unpack('<i8i8', stored, 5)
    local new_event, new_written = struct.unpack('<i8i8', ARGV[1], 5)
    if old_event > new_event or (old_event == new_event and old_written > new_written) then return 0 end
end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2]) end
return 1
"""
_FORGET = """
local times = redis.call('GETRANGE', KEYS[1], 4, 11)
if #times == 8 and struct.unpack('<i8', times) < tonumber(ARGV[1]) then return redis.call('DEL', KEYS[1]) end
return 0
"""
_SHA = {script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (_PUT, _FORGET)}
_GLOB = re.compile(rb"[*?\[\]\\]")


class RedisStore:
    """Blobs in a Redis server, behind Sentinels, or in a cluster. Safe to share among threads.

    Parameters
    ----------
    url
        As `features.redis_address` says.
    read_budget_ms
        How long a read may take, connecting included.
    """

    far = True
    __slots__ = ("_fall_back", "_read_budget_s", "_reader", "_writer")

    def __init__(self, url: str, *, read_budget_ms: int) -> None:
        address = parse_address(url)
        routes = Cluster if address.kind == "cluster" else OneServer
        self._read_budget_s = read_budget_ms / 1000
        self._reader: Routes = routes(address, self._read_budget_s)
        self._fall_back: Callable[[], bool] = _nowhere
        if address.replica_lag_max_s:
            replicas = self._reader = Replicas(address, self._reader, self._read_budget_s)
            self._fall_back = replicas.fall_back
        self._writer: Routes = routes(address, WRITE_BUDGET_MS / 1000)

    def get_many(self, keys: Sequence[bytes], *, until: float = math.inf) -> list[bytes | None]:
        """Return the blob of each key, None where there is none: one MGET, in a cluster one for each slot at once."""
        if not keys:
            return []
        until = min(until, time.monotonic() + self._read_budget_s)
        try:
            return _read(self._reader, keys, until)
        except OSError as error:
            if self._fall_back():
                return self.get_many(keys, until=until)
            raise StoreUnavailableError(f"the online store does not answer: {error}") from error

    def tables(self) -> None:
        """Return nothing: it is asked by keys."""

    def put_many(self, pairs: Iterable[tuple[bytes, bytes]], *, kept_us: int = 0) -> int:
        """Write what is not older than what is stored, in pipelined chunks; return how many changed."""
        calls = ((key, (blob, _expiry_ms(blob, kept_us))) for key, blob in pairs)
        return self._run(_PUT, calls)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its blob, some perhaps twice."""
        for keys in self._scan(b"*"):
            try:
                blobs = _read(self._writer, keys, _write_until())
            except OSError as error:
                raise StoreUnavailableError(f"the online store does not answer: {error}") from error
            yield from ((key, blob) for key, blob in zip(keys, blobs, strict=True) if blob is not None)

    def forget(self, prefix: bytes, before_us: int) -> int:
        """Remove the values of keys that begin so and that became true before a time; return how many there were."""
        pattern = _GLOB.sub(rb"\\\g<0>", prefix) + b"*"
        return self._run(_FORGET, ((key, (before_us,)) for keys in self._scan(pattern) for key in keys))

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()
        self._writer.close()

    def _scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Yield the keys that match, some at a time."""
        try:
            for wire in self._writer.wires(_write_until()):
                cursor = b"0"
                while True:
                    command = ("SCAN", cursor, "MATCH", pattern, "COUNT", CHUNK_PAIRS_MAX)
                    cursor, keys = _checked(wire.ask([command], _write_until()))[0]
                    if keys:
                        yield keys
                    if cursor == b"0":
                        break
        except OSError as error:
            raise StoreUnavailableError(f"the online store does not answer: {error}") from error

    def _run(self, script: str, calls: Iterable[tuple[bytes, tuple[Any, ...]]]) -> int:
        """Run a script for each key with its arguments, and return the sum of what it returns."""
        total = 0
        remaining = iter(calls)
        try:
            while chunk := list(islice(remaining, CHUNK_PAIRS_MAX)):
                commands: list[tuple[bytes, Command]] = [
                    (key, ("EVALSHA", _SHA[script], 1, key, *arguments)) for key, arguments in chunk
                ]
                total += sum(_checked(_all(self._writer, commands, _write_until(), script)))
        except OSError as error:
            raise StoreUnavailableError(f"the online store cannot be written: {error}") from error
        return total


def _nowhere() -> bool:
    """Say that a read that failed has nowhere else to go."""
    return False


def _expiry_ms(blob: bytes, kept_us: int) -> int:
    """Return when Redis lets go of a value, in milliseconds since the Unix epoch; 0: never."""
    return max(1, -(-(times_of(blob)[0] + kept_us) // _US_PER_MS)) if kept_us else 0


def _write_until() -> float:
    return time.monotonic() + WRITE_BUDGET_MS / 1000


def _checked(replies: list[Any]) -> list[Any]:
    """Return the replies, or raise what the first error among them means."""
    for reply in replies:
        if isinstance(reply, ReplyError):
            if str(reply).startswith("OOM"):
                raise StoreFullError("the online store has no memory left: raise its maxmemory")
            raise StoreUnavailableError(f"the online store refuses: {reply}")
    return replies


def _read(routes: Routes, keys: Sequence[bytes], until: float) -> list[bytes | None]:
    groups = routes.groups(keys)
    if len(groups) == 1:
        [reply] = routes.wire(keys[0]).ask([("MGET", *keys)], until)
        if not isinstance(reply, ReplyError):
            blobs: list[bytes | None] = reply
            return blobs
        replies = [reply]
    else:
        commands: list[tuple[bytes, Command]] = [
            (keys[group[0]], ("MGET", *[keys[place] for place in group])) for group in groups
        ]
        replies = _sent(routes, commands, until)
    found: list[bytes | None] = [None] * len(keys)
    for group, reply in zip(groups, replies, strict=True):
        own: Any = reply
        if isinstance(reply, ReplyError):  # the slot moves: each key by itself
            singly: list[tuple[bytes, Command]] = [(keys[place], ("GET", keys[place])) for place in group]
            own = _checked(_all(routes, singly, until))
        for place, blob in zip(group, own, strict=True):
            found[place] = blob
    return found


def _sent(routes: Routes, commands: Sequence[tuple[bytes, Command]], until: float) -> list[Any]:
    """Send each command to the server that has its key, to all servers at once, and return the replies in order."""
    parts: dict[Wire, list[int]] = {}
    for place, (key, _) in enumerate(commands):
        parts.setdefault(routes.wire(key), []).append(place)
    if len(parts) == 1:
        return next(iter(parts)).ask([command for _, command in commands], until)
    pending: list[tuple[list[int], Pending]] = []
    replies: list[Any] = [None] * len(commands)
    failure: OSError | None = None
    for wire, places in parts.items():
        try:
            frame = b"".join([pack(commands[place][1]) for place in places])
            pending.append((places, wire.send(frame, len(places), until)))
        except OSError as error:
            failure = error
    for places, each in pending:
        try:
            for place, reply in zip(places, each.replies(), strict=True):
                replies[place] = reply
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure
    return replies


def _all(routes: Routes, commands: Sequence[tuple[bytes, Command]], until: float, script: str = "") -> list[Any]:
    """Send commands as `_sent` does, and again where a server lacks the script or says that another one has the key."""
    replies = _sent(routes, commands, until)
    lacking = [
        place
        for place, reply in enumerate(replies)
        if isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")
    ]
    if lacking:
        for wire in {routes.wire(commands[place][0]) for place in lacking}:
            _checked(wire.ask([("SCRIPT", "LOAD", script)], until))
        again = _sent(routes, [commands[place] for place in lacking], until)
        for place, reply in zip(lacking, again, strict=True):
            replies[place] = reply
    for place, reply in enumerate(replies):
        if isinstance(reply, ReplyError):
            replies[place] = _redirected(routes, commands[place], reply, until, script)
    return replies


def _redirected(routes: Routes, keyed: tuple[bytes, Command], reply: Any, until: float, script: str) -> Any:
    """Return the reply of the server that has the key after all; or the error when there is none."""
    key, command = keyed
    wire = routes.wire(key)
    for _ in range(_REDIRECTIONS_MAX):
        if not isinstance(reply, ReplyError):
            break
        kind, *rest = str(reply).split()
        before: list[Command] = []
        if kind in {"MOVED", "ASK"}:
            host, _, port = rest[1].rpartition(":")
            if kind == "MOVED":
                routes.refresh(until)
            else:
                before = [("ASKING",)]
            wire = routes.at((host, int(port)))
        elif kind == "NOSCRIPT":
            before = [("SCRIPT", "LOAD", script)]
        elif kind == "READONLY":  # a master no longer: Sentinels name another one
            routes.refresh(until)
            wire = routes.wire(key)
        elif kind in {"TRYAGAIN", "CLUSTERDOWN"}:
            time.sleep(0.01)
        else:
            break
        *_, reply = wire.ask([*before, command], until)
    return reply
