"""One policy: what its triggers say and by which numbers, drift and estimates over time, its runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.web.html import Html, badge, el, facts, join, link, section, table
from gateway.web.page import Page, reason_field
from gateway.web.pages.policies import runs_table
from gateway.web.training import drift_of, drift_panels, estimate_plot, estimates_of, read, run_link, verdict_badge
from gateway.web.words import crumb, model_link, time_of
from turnout import resources
from turnout.report.words import enum_words
from turnout.trainer.v1 import policy_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.web.page import Visit
    from turnout.trainer.v1 import run_pb2

CHECKS_SHOWN, RUNS_SHOWN = 100, 30
SERVICE = "/turnout.trainer.v1.TrainerService"
_DRIFT_NOTE = (
    "Each look's effect of each column, in floors: at the dashed line it is as large as it must be to count. Red: it "
    "counted, being significant too."
)
_ESTIMATE_NOTE = "What the scores alone say of the metric, by calibration; and the same where labels have come."


def show(visit: Visit) -> Html:
    """Return the page of a policy."""
    name = resources.policy_name(visit.params["policy"])
    policy = visit.training.GetPolicy(pb.GetPolicyRequest(name=name)).policy
    found = visit.training.ListChecks(pb.ListChecksRequest(parent=name, page_size=CHECKS_SHOWN)).checks
    done = [each for each in reversed(found) if each.done]
    runs = visit.training.ListRuns(pb.ListRunsRequest(parent=name, page_size=RUNS_SHOWN)).runs
    estimates = estimates_of(done)
    state = badge("paused", "wait") if policy.paused else badge("active", "main")
    return join(
        crumb(link("/policies", "Training")),
        el("h1", visit.params["policy"], " ", state),
        el("p", policy.description, class_="soft") if policy.description else None,
        el("p", f"Paused: {policy.pause_reason}", class_="bad") if policy.paused and policy.pause_reason else None,
        _facts(policy),
        el("div", _actions(visit, policy), class_="actions"),
        section("What its triggers say", _last(done[-1])) if done else None,
        section("Drift over time", drift_panels(drift_of(done)), note=_DRIFT_NOTE),
        section("Estimated and real", estimate_plot(estimates), note=_ESTIMATE_NOTE) if estimates else None,
        section("Runs", runs_table("Its newest runs", runs)),
        section("Looks", _checks(found)),
    )


def _facts(policy: policy_pb2.Policy) -> Html:
    channels = ", ".join(policy.notifications.channels)
    return facts(
        (
            ("Model", model_link(policy.model)),
            ("Next look", "" if policy.paused else time_of(policy.next_check_us)),
            ("Learns", enum_words(policy_pb2.Task, policy.training.task)),
            ("Estimator", policy.training.estimator.path or policy.training.script),
            ("Of", policy.data.feature_set),
            ("Then", enum_words(policy_pb2.DeploymentMode, policy.deployment.mode)),
            ("Tells", channels),
            ("Created", time_of(policy.create_time_us)),
            ("By", policy.create_actor),
        )
    )


def _actions(visit: Visit, policy: policy_pb2.Policy) -> Html:
    look = visit.action(
        "Look now", "check", method=f"{SERVICE}/CheckTriggers", note="A trainer looks, and makes no run."
    )
    if policy.paused:
        resume = visit.action("Resume", "resume", method=f"{SERVICE}/ResumePolicy", style="main")
        return join(resume, look)
    start = visit.action("Start a run", "start", reason_field(), method=f"{SERVICE}/StartRun")
    pause = visit.action("Pause", "pause", reason_field(required=True), method=f"{SERVICE}/PausePolicy")
    return join(look, start, pause)


def _last(check: run_pb2.Check) -> Html:
    rows = [
        (
            enum_words(policy_pb2.TriggerKind, each.kind),
            verdict_badge(each.verdict),
            el("p", each.sentence),
            f"{each.blessed} of {each.runs}",
            _evidence(each),
        )
        for each in check.evidence
    ]
    heads = ("Trigger", "Says", "Why", "Blessed", "Numbers")
    when = el("p", "As of ", time_of(check.end_time_us), ". ", check.sentence, class_="soft")
    return join(when, table("What each trigger said at the last look", heads, rows))


def _evidence(each: run_pb2.TriggerEvidence) -> Html:
    numbers = read(each.evidence_json).get("numbers")
    if not numbers:
        return Html("")
    kind = enum_words(policy_pb2.TriggerKind, each.kind)
    words = el("summary", "Show", el("span", f" the numbers of {kind}", class_="hidden"))
    return el("details", words, el("pre", json.dumps(numbers, indent=1, ensure_ascii=False)))


def _checks(checks: Iterable[run_pb2.Check]) -> Html:
    rows = [
        (
            f"look {resources.parse_check(each.name)[1]}",
            verdict_badge(each.verdict) if each.done else badge("waits", "wait"),
            time_of(each.end_time_us or each.create_time_us),
            each.actor or "the schedule",
            run_link(each.run) if each.run else "",
            el("p", each.sentence),
        )
        for each in checks
    ]
    columns = ("Look", "Says", "When", "Asked by", "Made", "What came of it")
    return table("Its newest looks", columns, rows, empty="Nobody has looked yet.")


def _check(visit: Visit) -> str:
    name = resources.policy_name(visit.params["policy"])
    visit.training.CheckTriggers(pb.CheckTriggersRequest(name=name))
    return "A look was asked for; a trainer makes it."


def _start(visit: Visit) -> str:
    name = resources.policy_name(visit.params["policy"])
    run = visit.training.StartRun(pb.StartRunRequest(parent=name, reason=visit.form.get("reason", ""))).run
    return f"Run {resources.parse_run(run.name)[1]} waits for a trainer."


def _pause(visit: Visit) -> str:
    name = resources.policy_name(visit.params["policy"])
    visit.training.PausePolicy(pb.PausePolicyRequest(name=name, reason=visit.form.get("reason", "")))
    return "Paused: it makes neither looks nor runs."


def _resume(visit: Visit) -> str:
    visit.training.ResumePolicy(pb.ResumePolicyRequest(name=resources.policy_name(visit.params["policy"])))
    return "Resumed."


PAGE = Page(
    path="/policies/{policy}",
    title=lambda visit: visit.params["policy"],
    show=show,
    actions={"check": _check, "start": _start, "pause": _pause, "resume": _resume},
    under="/policies",
)
