"""Looks at the Redis that settings name: one key is set and removed."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from features.redis_address import parse_address
from features.redis_routes import Cluster, OneServer, connect
from features.redis_wire import ReplyError, Wire
from storage.inspection import Inspection

if TYPE_CHECKING:
    from features.redis_routes import Routes

BUDGET_MS = 5000
KEPT_MS = 10_000


def inspect_redis(url: str) -> Inspection:
    """Return what is found at the address, of all servers of a cluster; raises StoreUrlError as `parse_address`."""
    address, inspection = parse_address(url), Inspection()
    budget_s = BUDGET_MS / 1000
    routes: Routes = (Cluster if address.kind == "cluster" else OneServer)(address, budget_s)
    until = time.monotonic() + budget_s
    try:
        wires = routes.wires(until)
        for wire in wires:
            _ask(wire, inspection, until)
        _write(routes, inspection, until)
        if address.kind == "cluster":
            inspection.found.append(f"{len(wires)} masters")
    except OSError as error:
        inspection.failures.append(f"it does not answer: {error}")
    finally:
        routes.close()
    return inspection


def inspect_channel(url: str) -> Inspection:
    """Return what is found of the Redis that wake-ups go by: a message is said, which means nothing to anybody."""
    address, inspection = parse_address(url), Inspection()
    budget_s = BUDGET_MS / 1000
    wire = Wire(lambda left_s: connect(address, left_s), budget_s=budget_s, exclusive=address.tls is not None)
    until = time.monotonic() + budget_s
    try:
        info, said = wire.ask([("INFO", "server"), ("PUBLISH", "turnout:check", b"1")], until)
        inspection.version = f"Redis {_facts(info).get('redis_version', '')}".strip()
        if isinstance(said, ReplyError):
            inspection.failures.append(f"it does not take a message: {said}")
        else:
            inspection.found.append("it takes messages")
    except OSError as error:
        inspection.warnings.append(f"it does not answer, so that changes are found by looking: {error}")
    finally:
        wire.close()
    return inspection


def _ask(wire: Wire, inspection: Inspection, until: float) -> None:
    with inspection.timing() as reading:
        (told,) = wire.ask([("TIME",)], until)
        if not isinstance(told, ReplyError):
            reading.time_s = int(told[0]) + int(told[1]) / 1e6
    info, policy = wire.ask([("INFO",), ("CONFIG", "GET", "maxmemory-policy")], until)
    facts = _facts(info)
    inspection.version = f"Redis {facts.get('redis_version', '')}".strip()
    if facts.get("role", "master") != "master":
        inspection.failures.append("it is a replica, which takes no writes: give the master's address, or Sentinels'")
    if isinstance(policy, ReplyError) or not policy:
        inspection.warnings.append("it does not say its maxmemory-policy: see to it that it is noeviction")
    elif facts.get("maxmemory", "0") != "0" and policy[1] != b"noeviction":
        inspection.warnings.append(
            f"its maxmemory-policy is {policy[1].decode()}: when memory is short, values vanish. Set noeviction"
        )


def _write(routes: Routes, inspection: Inspection, until: float) -> None:
    key = f"turnout:check:{secrets.token_hex(16)}".encode()
    replies = routes.wire(key).ask([("SET", key, b"1", "PX", KEPT_MS), ("DEL", key)], until)
    if refused := [reply for reply in replies if isinstance(reply, ReplyError)]:
        inspection.failures.append(f"it does not take a write: {refused[0]}")
    else:
        inspection.found.append("it takes writes")


def _facts(info: Any) -> dict[str, str]:
    if isinstance(info, ReplyError):
        return {}
    return dict(line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line)
