"""How the workers are: what each serves, and how it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.html import Html, badge, el, join, section, table
from gateway.web.page import Page
from gateway.web.words import all_of, bytes_text, load_badge, model_link, time_of, version_link
from turnout import resources
from turnout.admin.v1 import admin_service_pb2 as pb
from turnout.experiments.v1 import shadow_service_pb2 as shadows_pb

if TYPE_CHECKING:
    from gateway.web.page import Visit


def show(visit: Visit) -> Html:
    """Return the page of the workers."""
    status = visit.admin.GetServingStatus(pb.GetServingStatusRequest())
    shadows = list(all_of(visit.shadows.ListShadows, shadows_pb.ListShadowsRequest(), "shadows"))
    seconds = status.traffic.window_s
    return join(
        el("h1", "Workers"),
        el(
            "p",
            f"Turnout {status.turnout_version}, revision {status.revision:,}, ",
            time_of(status.now_us),
            f". Rates and latencies are of the last {seconds:.0f} s." if seconds else ".",
            class_="soft",
        ),
        _workers(status),
        section("Versions in the workers", _versions(status)),
        section("Shadows", _shadows(shadows)),
    )


def _workers(status: pb.GetServingStatusResponse) -> Html:
    rows = []
    for worker in status.workers:
        behind = worker.revision < status.revision
        traffic = worker.traffic
        rows.append(
            (
                f"{worker.slot}",
                badge("ready", "good") if worker.ready else badge("not ready", "bad"),
                [f"{worker.revision:,} ", badge("behind", "wait") if behind else ""],
                worker.transport,
                f"{traffic.predictions_per_s:,.1f}",
                f"{traffic.failures_per_s:,.2f}",
                f"{traffic.shed_per_s:,.2f}",
                f"{traffic.p50_us / 1000:.2f}",
                f"{traffic.p99_us / 1000:.2f}",
                f"{worker.calls_in_flight:,}",
                f"{traffic.processors:.2f}",
                bytes_text(worker.resident_bytes),
                worker.restarts,
                worker.pid,
            )
        )
    columns = (
        "Worker", "State", "Revision", "Transport", "Predictions/s", "Failures/s", "Shed/s", "p50 ms", "p99 ms",
        "In flight", "Processors", "Versions' memory", "Restarts", "Process",
    )  # fmt: skip
    return table("Workers", columns, rows, numbers=range(4, 14), empty="There is no worker.")


def _versions(status: pb.GetServingStatusResponse) -> Html:
    found: dict[tuple[str, int], dict[int, pb.LoadedVersion]] = {}
    for worker in status.workers:
        for each in worker.versions:
            found.setdefault((each.model, each.version), {})[worker.slot] = each
    told = any(each.reason for by_slot in found.values() for each in by_slot.values())
    rows: list[tuple[Html | str, ...]] = []
    for (model, version), by_slot in sorted(found.items()):
        reasons = {each.reason for each in by_slot.values() if each.reason}
        states = [load_badge(by_slot[worker.slot].state) if worker.slot in by_slot else "" for worker in status.workers]
        why = ("; ".join(reasons),) if told else ()
        rows.append((model_link(resources.model_name(model)), version_link(model, version), *states, *why))
    why = ("Why",) if told else ()
    columns = ("Model", "Version", *(f"Worker {worker.slot}" for worker in status.workers), *why)
    return table("What each worker holds", columns, rows, empty="Nothing is loaded.")


def _shadows(shadows: list[shadows_pb.Shadow]) -> Html:
    rows = [
        (
            model_link(each.name.removesuffix("/shadow")),
            version_link(resources.shadow_model(each.name), each.running_version)
            if each.running_version
            else "nothing",
            each.alias,
            f"{each.share:.4g}",
            f"{each.counts.paired:,}",
            f"{each.counts.failed:,}",
            f"{each.counts.dropped:,}",
        )
        for each in shadows
    ]
    columns = ("Model", "Runs", "Alias", "Share", "Paired", "Failed", "Dropped")
    return table("What runs in the shadow of answers, since the gateway began", columns, rows, numbers=range(3, 7))


PAGE = Page(path="/workers", title=lambda _: "Workers", show=show, nav="Workers", place=3)
