"""One experiment: its split, what the kept looks say, and what may be done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from gateway.web.html import Html, badge, el, facts, join, link, section, table
from gateway.web.looks import kept_looks
from gateway.web.page import FormError, Page, choice_of, field_of, number_in, reason_field
from gateway.web.plots import split_bar
from gateway.web.ramps import goes, ramp_forms, ramp_of, ramp_section
from gateway.web.words import advice_words, crumb, model_link, state_badge, time_of, version_link
from turnout import resources
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.report.experiment import ExperimentReport, experiment_sections
from turnout.report.words import enum_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.web.page import Visit

_SERVICE = "/turnout.experiments.v1.ExperimentService"
_DRAFT, _RUNNING = pb.EXPERIMENT_STATE_DRAFT, pb.EXPERIMENT_STATE_RUNNING
_PAUSED, _CONCLUDED = pb.EXPERIMENT_STATE_PAUSED, pb.EXPERIMENT_STATE_CONCLUDED


def show(visit: Visit) -> Html:
    """Return the page of an experiment."""
    name = _name(visit)
    experiment = visit.experiments.GetExperiment(pb.GetExperimentRequest(name=name)).experiment
    looks = kept_looks(visit, name)
    ramp = ramp_of(visit, experiment)
    return join(
        crumb(link("/experiments", "Experiments")),
        el("h1", visit.params["experiment"], " ", state_badge(experiment.state)),
        el("p", experiment.description, class_="soft") if experiment.description else None,
        _advice(looks),
        split_bar(experiment.variants),
        _facts(experiment, looks),
        _actions(visit, experiment, ramp_forms(visit, ramp), splits=not goes(ramp)),
        ramp_section(visit, experiment, ramp),
        Html(experiment_sections(ExperimentReport(experiment, looks[-1], looks[:-1]))) if looks else None,
        section("Definition", _metrics(experiment), _scope(experiment)),
    )


def _name(visit: Visit) -> str:
    return resources.experiment_name(visit.params["experiment"])


def _advice(looks: Sequence[pb.GetRecommendationResponse]) -> Html:
    """Return what the newest look advised, and why."""
    if not looks:
        return el("p", "Nobody has looked at its data yet.", class_="soft")
    advice = looks[-1]
    lead = el("p", el("strong", advice_words(advice).capitalize()), ", as of ", time_of(advice.analysis.time_us))
    return join(lead, el("ul", *(el("li", reason) for reason in advice.reasons)))


def _facts(experiment: pb.Experiment, looks: Sequence[pb.GetRecommendationResponse]) -> Html:
    pairs: list[tuple[str, object]] = [
        ("Model", model_link(experiment.model)),
        ("Owner", experiment.owner),
        ("Coverage", f"{experiment.coverage:.4g} of its units"),
        ("Part of the model's layer", f"{experiment.layer_share:.4g}" if experiment.HasField("layer_share") else None),
        ("Unit", enum_words(pb.UnitKind, experiment.unit) if experiment.unit else None),
        ("Epoch of the split", experiment.epoch or None),
        ("Started", time_of(experiment.start_time_us)),
        ("Concluded", time_of(experiment.conclude_time_us)),
        ("Winner", experiment.winner),
        ("Alpha", f"{experiment.alpha:g}"),
        ("Method", enum_words(pb.AnalysisMethod, experiment.plan.method) if experiment.plan.method else None),
    ]
    if looks:
        last = looks[-1]
        pairs.append(("Looks kept", f"{last.analysis.look:,}"))
        if last.HasField("confidence"):
            pairs.append(("Confidence", f"{last.confidence:.4%}"))
        if last.HasField("remaining_units"):
            pairs.append(("Units still needed", f"{last.remaining_units:,}"))
    return facts(pairs)


def _actions(visit: Visit, experiment: pb.Experiment, ramp: Html, *, splits: bool) -> Html:
    """Return the forms that this state allows; while a ramp goes, it sets the split."""
    state = experiment.state
    forms: list[Html] = []
    if state in {_RUNNING, _PAUSED, _CONCLUDED}:
        note = "Analyses the events that were recorded until now, and keeps the look."
        forms.append(visit.action("Look now", "look", method=f"{_SERVICE}/GetRecommendation", note=note))
    if state == _DRAFT:
        note = "Its units get their variants as soon as every worker has taken the change over."
        forms.append(visit.action("Start", "start", method=f"{_SERVICE}/StartExperiment", style="main", note=note))
    if state in {_RUNNING, _PAUSED} and splits:
        forms.append(_split_form(visit, experiment))
    if state == _RUNNING:
        note = "Its units get the champion until it is resumed."
        forms.append(visit.action("Pause", "pause", reason_field(), method=f"{_SERVICE}/PauseExperiment", note=note))
    if state == _PAUSED:
        note = "Its units get the variants that they had."
        forms.append(
            visit.action(
                "Resume", "resume", reason_field(), method=f"{_SERVICE}/ResumeExperiment", style="main", note=note
            )
        )
    if state in {_RUNNING, _PAUSED}:
        forms.append(_conclude_form(visit, experiment))
    if state == _CONCLUDED:
        note = "It can be changed no more."
        forms.append(
            visit.action("Archive", "archive", reason_field(), method=f"{_SERVICE}/ArchiveExperiment", note=note)
        )
    body = join(ramp, *forms)
    return el("div", body, class_="actions") if body else body


def _split_form(visit: Visit, experiment: pb.Experiment) -> Html:
    fields = [
        field_of(each.variant, f"share.{each.variant}", value=f"{each.share:.6g}", inputmode="decimal", required=True)
        for each in experiment.variants
    ]
    return visit.action(
        "Change the split",
        "split",
        *fields,
        el("input", type="hidden", name="etag", value=experiment.etag),
        el(
            "label",
            el("span", "Only say how many would move"),
            el("input", type="checkbox", name="dry_run", value="yes"),
            class_="check",
        ),
        method=f"{_SERVICE}/SetTrafficSplit",
        note="The shares sum to 1. As few units move as can, and the analysis goes on by the split in force.",
    )


def _conclude_form(visit: Visit, experiment: pb.Experiment) -> Html:
    winners = [("", "none")] + [(each.variant, each.variant) for each in experiment.variants]
    return visit.action(
        "Conclude",
        "conclude",
        choice_of("Winner", "winner", winners),
        el(
            "label",
            el("span", "Promote the winner's version"),
            el("input", type="checkbox", name="promote", value="yes"),
            class_="check",
        ),
        reason_field(),
        method=f"{_SERVICE}/ConcludeExperiment",
        style="danger",
        note="It ends for good. A winner's version that is promoted has to pass the model's gates.",
    )


def look(visit: Visit) -> str:
    """Look at the data now."""
    advice = visit.experiments.GetRecommendation(pb.GetRecommendationRequest(name=_name(visit)))
    return f"Looked: {advice_words(advice)}."


def start(visit: Visit) -> str:
    """Begin to assign units."""
    answer = visit.experiments.StartExperiment(pb.StartExperimentRequest(name=_name(visit)))
    return f"Started, as of revision {answer.revision}."


def pause(visit: Visit) -> str:
    """Give its units the champion."""
    request = pb.PauseExperimentRequest(name=_name(visit), reason=visit.form.get("reason", ""))
    return f"Paused, as of revision {visit.experiments.PauseExperiment(request).revision}."


def resume(visit: Visit) -> str:
    """Assign its units as before."""
    request = pb.ResumeExperimentRequest(name=_name(visit), reason=visit.form.get("reason", ""))
    return f"Resumed, as of revision {visit.experiments.ResumeExperiment(request).revision}."


def archive(visit: Visit) -> str:
    """Close it to every change."""
    request = pb.ArchiveExperimentRequest(name=_name(visit), reason=visit.form.get("reason", ""))
    return f"Archived, as of revision {visit.experiments.ArchiveExperiment(request).revision}."


def split(visit: Visit) -> str:
    """Change the shares, or say what that would move."""
    shares = {
        name.removeprefix("share."): number_in(visit.form, name, float)
        for name in visit.form
        if name.startswith("share.")
    }
    dry_run = visit.form.get("dry_run") == "yes"
    etag = visit.form.get("etag", "")
    if not etag:
        raise FormError("the form names no etag: open the page again")
    request = pb.SetTrafficSplitRequest(name=_name(visit), shares=shares, etag=etag, dry_run=dry_run)
    answer = visit.experiments.SetTrafficSplit(request)
    moved = f"{answer.moved_share:.2%} of the units"
    if dry_run:
        of_last = f"of the last {answer.recent_units:,} units, {answer.moved_units:,}"
        return f"{moved} would move; {of_last}. Nothing was changed."
    return f"The split is changed as of revision {answer.revision}: {moved} moved."


def conclude(visit: Visit) -> str:
    """End it."""
    winner = visit.form.get("winner", "")
    request = pb.ConcludeExperimentRequest(
        name=_name(visit),
        winner=winner,
        promote=visit.form.get("promote") == "yes",
        reason=visit.form.get("reason", ""),
    )
    answer = visit.experiments.ConcludeExperiment(request)
    won = f"{winner} won" if winner else "nobody won"
    return f"Concluded, {won}, as of revision {answer.revision}."


def _ramp_act(verb: str, request: Any, words: str) -> Callable[[Visit], str]:
    """Return what calls a method about the ramp."""

    def act(visit: Visit) -> str:
        asked = request(name=_name(visit), reason=visit.form.get("reason", ""))
        if verb == "ApproveRampStep":
            asked.step = number_in(visit.form, "step", int)
        getattr(visit.experiments, verb)(asked)
        return words

    return act


def _metrics(experiment: pb.Experiment) -> Html:
    rows = [
        (
            each.metric,
            enum_words(pb.MetricRole, each.role),
            enum_words(pb.MetricKind, each.kind),
            each.outcome or each.output,
            enum_words(pb.Direction, each.direction),
            f"{each.margin:.4g}"
            if each.HasField("margin")
            else f"{each.absolute_margin:.4g} absolute"
            if each.absolute_margin
            else "",
        )
        for each in experiment.metrics
    ]
    return table("What is measured", ("Metric", "Role", "Kind", "Of", "Better is", "Margin"), rows)


def _scope(experiment: pb.Experiment) -> Html:
    arms = [
        (
            [each.variant, " ", badge("control") if each.control else ""],
            version_link(resources.model_id(experiment.model), each.version),
            each.alias,
            f"{each.share:.6g}",
        )
        for each in experiment.variants
    ]
    listed = table("Variants", ("Variant", "Serves", "Resolved from", "Share"), arms, numbers=(3,))
    forced = table("Units with a variant of their own", ("Unit", "Variant"), sorted(experiment.forced.items()))
    targeting = None
    if experiment.HasField("targeting"):
        document = json.dumps(MessageToDict(experiment.targeting), indent=1, ensure_ascii=False)
        targeting = join(el("h3", "For these calls only"), el("pre", document))
    return join(listed, forced, targeting)


PAGE = Page(
    path="/experiments/{experiment}",
    title=lambda visit: visit.params["experiment"],
    show=show,
    actions={
        "look": look,
        "start": start,
        "pause": pause,
        "resume": resume,
        "archive": archive,
        "split": split,
        "conclude": conclude,
        "ramp-pause": _ramp_act("PauseRamp", pb.PauseRampRequest, "The ramp stays where it is."),
        "ramp-resume": _ramp_act("ResumeRamp", pb.ResumeRampRequest, "The ramp goes on."),
        "ramp-approve": _ramp_act("ApproveRampStep", pb.ApproveRampStepRequest, "The step is approved."),
        "ramp-abort": _ramp_act("AbortRamp", pb.AbortRampRequest, "The ramp is aborted."),
    },
    under="/experiments",
)
