"""Whether what a rig did while its pieces failed was right, judged by what was asked for and what was kept."""

from __future__ import annotations

import json
import time
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from leaders import check as check_leaders
from leaders import read as read_leaders
from traffic import DECOY, MODEL

from gateway.control.webhooks import FLIGHTS_MAX
from gateway.journal.log import EventLog
from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.control import Control
from turnout.registry.v1 import registry_service_pb2 as rpb

if TYPE_CHECKING:
    from rig import Rig
    from traffic import Change, Traffic

CONVERGE_S_MAX = 600.0
"""The long forms run at the lowest priority beside whatever else the machine does."""


def judge(rig: Rig, traffic: Traffic, *, full: list[tuple[float, float]] = ()) -> dict[str, object]:
    """Check every promise and return what was counted; `full` are the times in which a disk took nothing."""
    with Control(rig.control_address(rig.names[0])) as control:
        audit = _audit(control)
        _check_history(traffic.changes, audit)
        _check_champions(control, audit)
    _check_answers(traffic)
    again = _check_told(traffic, audit)
    leaders = leaders_of(rig.database)
    assert again <= leaders["webhooks"]["tokens"] * FLIGHTS_MAX, (again, leaders)
    traffic.receiver.close()
    lost = _check_events(rig, traffic, full)
    assert traffic.failures == [], traffic.failures[:5]
    return {
        "predictions": len(traffic.answers),
        "failed": len(traffic.failures),
        "outcomes": len(traffic.recorded),
        "outcomes refused": len(traffic.refused_outcomes),
        "changes": len(traffic.changes),
        "acknowledged": sum(bool(each.revision) for each in traffic.changes),
        "leaders": leaders,
        "told by webhooks": len(traffic.receiver.told),
        "told again": again,
        "answered while a disk was full, and told as lost": lost,
    }


def _audit(control: Control) -> list[apb.AuditEvent]:
    events, token = [], ""
    while True:
        page = control.admin.ListEvents(apb.ListEventsRequest(page_size=500, page_token=token))
        events += page.events
        token = page.next_page_token
        if not token:
            return sorted(events, key=lambda each: each.revision)


def _check_history(changes: list[Change], audit: list[apb.AuditEvent]) -> None:
    """Every acknowledged change was made once, every other one at most once, in an order that real time allows."""
    made: dict[str, list[int]] = {}
    keys = {each.key for each in changes}
    for event in audit:
        detail = json.loads(event.detail_json or "{}")
        for key in _named(event, detail) & keys:
            made.setdefault(key, []).append(event.revision)
    for change in changes:
        found = made.get(change.key, [])
        assert len(found) <= 1, (change, found)
        if change.revision:
            assert found == [change.revision], (change, found)
    done = sorted((each for each in changes if each.revision), key=lambda each: each.answered)
    for change in changes:
        for revision in made.get(change.key, []):
            for before in done:
                if before.answered >= change.asked:
                    break
                assert before.revision < revision, (before, change, revision)


def _named(event: apb.AuditEvent, detail: dict) -> set[str]:
    """Return what an event may be named by: the reason of a move, the share of a split."""
    if event.kind == "alias.removed":
        return set()
    if event.resource == "experiments/split":
        return {repr(json.loads(event.after_json or "{}").get("shares", {}).get("control"))}
    return {str(detail.get("reason", ""))}


def _check_champions(control: Control, audit: list[apb.AuditEvent]) -> None:
    """The champion's history is one chain; each alias that ends by itself ended once."""
    request = rpb.ListAliasHistoryRequest(parent=f"models/{MODEL}", alias="champion", page_size=1000)
    moves, token = [], ""
    while True:
        request.page_token = token
        page = control.registry.ListAliasHistory(request)
        moves += page.moves
        token = page.next_page_token
        if not token:
            break
    moves.sort(key=lambda each: each.generation)
    for before, after in pairwise(moves):
        assert (after.generation, after.from_version) == (before.generation + 1, before.to_version)
    ended = Counter(json.loads(event.detail_json)["alias"] for event in audit if event.kind == "alias.removed")
    assert not [alias for alias, count in ended.items() if count > 1], ended


def _check_answers(traffic: Traffic) -> None:
    """Each answer is of a version that somebody had asked to promote before it came, and computed by that version."""
    first = {1: 0.0}
    for change in traffic.changes:
        if change.kind == "promote":
            first.setdefault(change.version, change.asked)
    for answer in traffic.answers:
        assert abs(answer.scale - answer.version) < 1e-3, answer
        if answer.model == MODEL:
            assert answer.version != DECOY, answer
            assert first.get(answer.version, float("inf")) < answer.answered, answer
        else:
            assert answer.version in {1, 2}, answer


def leaders_of(database: str) -> dict[str, dict[str, int]]:
    """Return what was done under which lease, or raise AssertionError where two led at once."""
    found = check_leaders(read_leaders(database))
    for name in ("webhooks", "experiments.ramp.ramp"):
        assert found[name]["acts"] > 0, found
    gateways = [each for each in found if each.startswith("experiments.gateway.")]
    return {name: counts for name, counts in found.items() if name not in gateways}


def _check_told(traffic: Traffic, audit: list[apb.AuditEvent]) -> int:
    """Webhooks come to tell of every move that they are for; return how many they told more than once.

    Who dies between a delivery and writing that down has another one deliver again what was in flight.
    """
    wanted = {event.revision for event in audit if event.kind == "alias.moved"}
    until = time.monotonic() + CONVERGE_S_MAX
    while not {revision for revision in wanted if revision > min(traffic.receiver.told, default=0)} <= set(
        traffic.receiver.told
    ):
        assert time.monotonic() < until, sorted(wanted - set(traffic.receiver.told))
        time.sleep(0.2)
    return sum(count - 1 for count in traffic.receiver.told.values())


def _check_events(rig: Rig, traffic: Traffic, full: list[tuple[float, float]]) -> int:
    """Every gateway's log comes to hold each answered prediction and each acknowledged outcome exactly once."""
    excused = {
        each.request_id
        for each in traffic.answers
        if any(begin < each.answered and each.asked < end for begin, end in full)
    }
    answered = {each.request_id for each in traffic.answers}
    recorded = set(traffic.recorded)
    until = time.monotonic() + CONVERGE_S_MAX
    for name in rig.names:
        while True:
            with EventLog(rig.state(name)).snapshot() as log:
                predictions, outcomes = (
                    Counter(dict(log.execute(f"SELECT request_id, count(*) FROM {kind} GROUP BY 1").fetchall()))
                    for kind in ("predictions", "outcomes")
                )
                lost = log.execute("SELECT coalesce(sum(list_sum(map_values(lost))), 0) FROM gaps").fetchone()[0]
            assert max(predictions.values()) == 1, name
            assert max(outcomes.values()) == 1, name
            missing, missing_outcomes = answered - predictions.keys(), recorded - outcomes.keys()
            if not (missing - excused) and not missing_outcomes:
                assert len(missing) <= lost, (name, len(missing), lost)
                break
            if time.monotonic() > until:
                logs = "\n".join(rig.tail(each) for each in rig.names)
                what = f"{len(missing - excused)} predictions and {len(missing_outcomes)} outcomes"
                raise AssertionError(f"{name} lacks {what}\n{logs}")
            time.sleep(0.5)
    return int(lost)
