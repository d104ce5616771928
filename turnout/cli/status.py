"""`turnout status`, `turnout top` and `turnout gateways`: what each worker serves, and how it fares."""

import time
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live

from turnout.admin.v1 import admin_service_pb2 as pb
from turnout.cli import literals, options, show
from turnout.cli.document import document_of, enum_name
from turnout.control import Control
from turnout.registry.v1 import governance_pb2

_WORKERS = (
    "slot",
    "pid",
    "ready",
    "restarts",
    "revision",
    "per s",
    "failed/s",
    "p50",
    "p99",
    "wave",
    "in flight",
    "processors",
    "memory",
)
_GATEWAYS = (
    "gateway",
    "",
    "heard of",
    "turnout",
    "zone",
    "host",
    "data",
    "control",
    "workers",
    "revision",
    "per s",
)
_VERSIONS = ("model", "version", "state", "workers", "why")


def status(
    *,
    governance: Annotated[
        bool, typer.Option("--governance", help="Show how far the system does what it exists for instead, in ratios.")
    ] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Show the gateway's revision, what its workers serve, and how they fared in the last minute."""
    with options.control(server) as connection:
        if governance:
            told = connection.registry.GetGovernance(governance_pb2.GetGovernanceRequest())
            show.emit(document_of(told), lambda: [_governance(told)], as_json=as_json)
            return
        answer = _ask(connection)
    show.emit(document_of(answer), lambda: _render(answer), as_json=as_json)


def top(
    *,
    server: options.Server = options.SERVER,
    interval_s: Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")] = 1.0,
    count: Annotated[int, typer.Option("--count", min=0, help="Looks to take; 0: until it is interrupted.")] = 0,
) -> None:
    """Show the same again and again."""
    with options.control(server) as connection, Live(console=show.console(), auto_refresh=False) as live:
        looks = 0
        while True:
            live.update(Group(*_render(_ask(connection))), refresh=True)
            looks += 1
            if looks == count:
                return
            time.sleep(interval_s)


def gateways(*, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """List the gateways that share this one's metadata database, dead ones too for a week."""
    with options.control(server) as connection:
        answer = connection.admin.ListGateways(pb.ListGatewaysRequest())
    rows = [
        (
            each.name.removeprefix("gateways/"),
            "alive" if each.alive else "stopped" if each.stopped else "DEAD",
            literals.format_time(each.seen_time_us),
            each.turnout_version,
            each.zone,
            each.host,
            each.data_address,
            each.control_address,
            f"{each.ready_workers}/{each.workers}",
            each.revision,
            round(each.predictions_per_s, 1),
        )
        for each in answer.gateways
    ]
    show.emit(document_of(answer), lambda: [show.table("Gateways", _GATEWAYS, rows)], as_json=as_json)


def _ask(connection: Control) -> pb.GetServingStatusResponse:
    return connection.admin.GetServingStatus(pb.GetServingStatusRequest())


def _render(answer: pb.GetServingStatusResponse) -> Iterable[RenderableType]:
    traffic = answer.traffic
    facts = [
        ("turnout", answer.turnout_version),
        ("revision", answer.revision),
        (
            "the database has been silent since",
            literals.format_time(answer.stale_since_us) if answer.stale_since_us else "",
        ),
        ("clock", literals.format_time(answer.now_us)),
        ("transport", ", ".join(sorted({one.transport for one in answer.workers if one.transport}))),
        ("last", f"{traffic.window_s:.0f} s"),
        ("predictions", f"{traffic.predictions_per_s:.1f}/s in waves of {traffic.wave_calls_mean:.1f}"),
        ("failed", f"{traffic.failures_per_s:.2f}/s" if traffic.failures_per_s else ""),
        ("refused", f"{traffic.shed_per_s:.2f}/s" if traffic.shed_per_s else ""),
        ("latency", f"p50 {_time(traffic.p50_us)}, p99 {_time(traffic.p99_us)}" if traffic.p50_us else ""),
    ]
    return (
        show.facts("Gateway", facts),
        show.table("Workers", _WORKERS, [_worker(one) for one in answer.workers]),
        show.table("Versions", _VERSIONS, _versions(answer.workers)),
    )


def _governance(told: governance_pb2.GetGovernanceResponse) -> RenderableType:
    rows = [
        (
            one.name.replace("_", " "),
            f"{one.ratio:.1%}" if one.HasField("ratio") else "not enough data",
            one.numerator,
            one.denominator,
            one.counted,
        )
        for one in told.ratios
    ]
    return show.table(f"Governance at revision {told.revision}", ("what", "ratio", "n", "of", "counted"), rows)


def _worker(worker: pb.Worker) -> tuple[object, ...]:
    traffic = worker.traffic
    return (
        worker.slot,
        worker.pid,
        worker.ready,
        worker.restarts,
        worker.revision,
        f"{traffic.predictions_per_s:.1f}",
        f"{traffic.failures_per_s:.2f}",
        _time(traffic.p50_us),
        _time(traffic.p99_us),
        f"{traffic.wave_calls_mean:.1f}",
        worker.calls_in_flight,
        f"{traffic.processors:.2f}",
        f"{worker.resident_bytes / 2**20:.0f} MiB",
    )


def _versions(workers: Iterable[pb.Worker]) -> list[tuple[object, ...]]:
    """Return each version in each of its states, with the workers that hold it so."""
    held: dict[tuple[str, int, str, str], list[str]] = {}
    for worker in workers:
        for one in worker.versions:
            state = enum_name(pb.LoadState.DESCRIPTOR, one.state)
            held.setdefault((one.model, one.version, state, one.reason), []).append(str(worker.slot))
    return [(*key[:3], ", ".join(slots), key[3]) for key, slots in sorted(held.items())]


def _time(us: int) -> str:
    """Return microseconds for people."""
    if not us:
        return "-"
    return f"{us} us" if us < 10_000 else f"{us / 1000:.1f} ms"  # noqa: PLR2004  (four digits are read at a glance)
