"""One run of training: how far it is, what the candidate showed, and how its version stands at each gate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.web.html import Html, badge, el, facts, join, link, section, table
from gateway.web.page import FormError, Page, href, reason_field
from gateway.web.training import comparisons, read, run_badge
from gateway.web.words import crumb, experiment_link, model_link, time_of, version_link
from turnout import resources
from turnout.registry.v1 import gate_pb2
from turnout.report.words import enum_words
from turnout.trainer.v1 import policy_pb2, run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.web.page import Visit

_CANCEL = "/turnout.trainer.v1.TrainerService/CancelRun"
_OPEN = (run_pb2.RUN_STATE_QUEUED, run_pb2.RUN_STATE_RUNNING)


def show(visit: Visit) -> Html:
    """Return the page of a run."""
    policy = visit.params["policy"]
    run = visit.training.GetRun(pb.GetRunRequest(name=_name(visit))).run
    results = {each.step: read(each.result_json) for each in run.steps}
    cancel = visit.action("Cancel", "cancel", reason_field(), method=_CANCEL, style="danger")
    return join(
        crumb(link("/policies", "Training"), link(href("policies", policy), policy)),
        el("h1", f"{policy}, run {visit.params['run']} ", run_badge(run.state)),
        el("ul", *(el("li", each) for each in run.findings)) if run.findings else None,
        _facts(run),
        el("div", cancel, class_="actions") if run.state in _OPEN else None,
        section("Steps", _steps(run)),
        section("Beside the champion", _judgement(results.get(run_pb2.RUN_STEP_EVALUATE, {}))),
        section("Parity", _parity(results.get(run_pb2.RUN_STEP_TRAIN, {}))),
        section("Gates", _gates(visit, run)),
    )


def _name(visit: Visit) -> str:
    number = visit.params["run"]
    if not (number.isascii() and number.isdigit() and len(number) < 19):  # noqa: PLR2004  (what an int64 holds)
        raise FormError(f"{number[:40]!r} is no run's number")
    return resources.run_name(visit.params["policy"], int(number))


def _facts(run: run_pb2.Run) -> Html:
    model, number = resources.parse_version(run.version) if run.version else ("", 0)
    return facts(
        (
            ("Model", model_link(run.model)),
            ("Trigger", enum_words(policy_pb2.TriggerKind, run.trigger) if run.trigger else "somebody asked"),
            ("Why", run.reason),
            ("Asked by", run.actor),
            ("Version", version_link(model, number) if number else ""),
            ("Experiment", experiment_link(run.experiment) if run.experiment else ""),
            ("Data as of", time_of(run.as_of_us)),
            ("Made", time_of(run.create_time_us)),
            ("Ended", time_of(run.end_time_us)),
            ("Trainer", run.trainer),
        )
    )


def _steps(run: run_pb2.Run) -> Html:
    rows = [
        (
            enum_words(run_pb2.RunStep, each.step),
            badge("done", "good") if each.done else badge("begun", "wait"),
            time_of(each.start_time_us),
            f"{(each.end_time_us - each.start_time_us) / 1e6:,.1f} s" if each.done else "",
            each.attempts,
        )
        for each in run.steps
    ]
    columns = ("Step", "State", "Begun", "Took", "Attempts")
    return table("How far it is", columns, rows, numbers=(3, 4), empty="Nothing was begun yet.")


def _judgement(found: dict[str, Any]) -> Html:
    if not found.get("verdict"):
        return Html("")
    blessed = found["verdict"] == "BLESSED"
    verdict = badge("blessed" if blessed else "not blessed", "good" if blessed else "bad")
    rows = f" on {found['rows']:,} rows that neither has learned from" if found.get("rows") else ""
    by_metric = [(one["metric"], one) for one in found.get("comparisons") or ()]
    worth = [("New data, the champion's recipe", found.get("of_data")), ("The new recipe", found.get("of_model"))]
    return join(
        el("p", verdict, rows),
        el("ul", *(el("li", each) for each in found.get("reasons", ()))),
        comparisons("The candidate beside the champion", by_metric, other="Champion"),
        comparisons("What new data and the new recipe are worth", worth, other="Other"),
        comparisons("By slice", list((found.get("slices") or {}).items()), other="Champion"),
    )


def _parity(found: dict[str, Any]) -> Html:
    certificate = found.get("parity") or found.get("certificate") or {}
    plain = [(key, value) for key, value in certificate.items() if isinstance(value, (str, int, float))]
    return facts((key.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else value) for key, value in plain)


def _gates(visit: Visit, run: run_pb2.Run) -> Html:
    if not run.version:
        return Html("")
    answer = visit.registry.GetGateStatus(gate_pb2.GetGateStatusRequest(name=run.version))
    now = _verdicts("How its version stands at each gate now", answer.now)
    kept = _verdicts("How it stood when it became the champion", answer.kept)
    return join(now or el("p", "Its model asks for nothing before a promotion.", class_="soft"), kept)


def _verdicts(caption: str, verdicts: Iterable[gate_pb2.GateVerdict]) -> Html:
    rows = [
        (
            each.gate.replace("_", " "),
            badge("passes", "good") if each.passed else badge("overridden" if each.overridden else "stops it", "bad"),
            el("p", each.sentence, f" ({each.override_reason})" if each.override_reason else ""),
            _particulars(each),
        )
        for each in verdicts
    ]
    return table(caption, ("Gate", "Says", "Why", "Evidence"), rows)


def _particulars(verdict: gate_pb2.GateVerdict) -> Html:
    found = read(verdict.evidence_json)
    if not found:
        return Html("")
    words = el("summary", "Show", el("span", f" the evidence of {verdict.gate}", class_="hidden"))
    return el("details", words, el("pre", json.dumps(found, indent=1, ensure_ascii=False)))


def _cancel(visit: Visit) -> str:
    visit.training.CancelRun(pb.CancelRunRequest(name=_name(visit), reason=visit.form.get("reason", "")))
    return "Cancelled."


PAGE = Page(
    path="/policies/{policy}/runs/{run}",
    title=lambda visit: f"{visit.params['policy']}, run {visit.params['run']}",
    show=show,
    actions={"cancel": _cancel},
    under="/policies",
)
