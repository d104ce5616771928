"""All policies of training, and the newest runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.html import Html, badge, el, join, section, table
from gateway.web.page import Page
from gateway.web.training import policy_link, run_badge, run_link, verdict_badge
from gateway.web.words import all_of, model_link, time_of, version_link
from turnout import resources
from turnout.report.words import enum_words
from turnout.trainer.v1 import policy_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.web.page import Visit
    from turnout.trainer.v1 import run_pb2

RUNS_SHOWN = 30


def show(visit: Visit) -> Html:
    """Return the policies with what their last looks said, and the newest runs."""
    found = list(all_of(visit.training.ListPolicies, pb.ListPoliciesRequest(), "policies"))
    runs = visit.training.ListRuns(pb.ListRunsRequest(page_size=RUNS_SHOWN)).runs
    columns = ("Policy", "Model", "State", "Looks at", "Last look", "When", "Next look")
    rows = [_row(visit, each) for each in found]
    empty = "No policy was created yet: `turnout policies create FILE` makes one."
    return join(
        el("h1", "Training"),
        table("Policies of training", columns, rows, empty=empty),
        section("Runs", runs_table("The newest runs of all policies", runs, of_policy=True)) if found else None,
    )


def runs_table(caption: str, runs: Iterable[run_pb2.Run], *, of_policy: bool = False) -> Html:
    """Return runs with what made them and what came of them."""
    rows = []
    for each in runs:
        model, number = resources.parse_version(each.version) if each.version else ("", 0)
        made_by = enum_words(policy_pb2.TriggerKind, each.trigger) if each.trigger else each.actor
        found = each.findings[0] if each.findings else each.reason
        first = (policy_link(f"policies/{resources.parse_run(each.name)[0]}"),) if of_policy else ()
        rows.append(
            (
                run_link(each.name),
                *first,
                run_badge(each.state),
                time_of(each.create_time_us),
                made_by,
                version_link(model, number) if number else "",
                el("p", found),
            )
        )
    heads = ("Run", *(("Policy",) if of_policy else ()), "State", "Made", "By", "Version", "What came of it")
    return table(caption, heads, rows, empty="No run was made yet.")


def _row(visit: Visit, policy: policy_pb2.Policy) -> tuple[object, ...]:
    checks = visit.training.ListChecks(pb.ListChecksRequest(parent=policy.name, page_size=1)).checks
    last = checks[0] if checks else None
    return (
        policy_link(policy.name),
        model_link(policy.model),
        badge("paused", "wait") if policy.paused else badge("active", "main"),
        ", ".join(enum_words(policy_pb2.TriggerKind, each.kind) for each in policy.triggers),
        verdict_badge(last.verdict) if last and last.done else badge("waits", "wait") if last else "",
        time_of(last.end_time_us or last.create_time_us) if last else "",
        "" if policy.paused else time_of(policy.next_check_us),
    )


PAGE = Page(path="/policies", title=lambda _: "Training", show=show, nav="Training", place=3)
