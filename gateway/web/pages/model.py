"""One model: its versions, its aliases over time, its shadow, and what may be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import CallRefusedError
from gateway.web.html import Html, badge, el, facts, join, link, section, table
from gateway.web.page import Page, choice_of, number_in, reason_field
from gateway.web.plots import alias_lanes
from gateway.web.words import all_of, crumb, experiment_link, load_badge, state_badge, time_of, version_link
from turnout import resources
from turnout.admin.v1 import admin_service_pb2 as admin_pb
from turnout.experiments.v1 import experiment_service_pb2 as experiments_pb
from turnout.experiments.v1 import shadow_service_pb2 as shadows_pb
from turnout.registry.v1 import registry_service_pb2 as pb
from turnout.report.words import enum_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.web.page import Visit

PROMOTE = "/turnout.registry.v1.RegistryService/PromoteVersion"
ROLLBACK = "/turnout.registry.v1.RegistryService/RollbackModel"
MOVES_SHOWN = 20
_NOT_FOUND = 5


def show(visit: Visit) -> Html:
    """Return the page of a model."""
    name = resources.model_name(visit.params["model"])
    model = visit.registry.GetModel(pb.GetModelRequest(name=name)).model
    versions = list(all_of(visit.registry.ListVersions, pb.ListVersionsRequest(parent=name), "versions"))
    moves = list(all_of(visit.registry.ListAliasHistory, pb.ListAliasHistoryRequest(parent=name), "moves"))
    status = visit.admin.GetServingStatus(admin_pb.GetServingStatusRequest())
    found = all_of(visit.experiments.ListExperiments, experiments_pb.ListExperimentsRequest(), "experiments")
    experiments = [each for each in found if each.model == name]
    described = el("p", model.description, class_="soft") if model.description else None
    return join(
        crumb(link("/models", "Models")),
        el("h1", visit.params["model"]),
        described,
        _facts(model),
        _actions(visit, model, versions),
        section(
            "Aliases over time",
            el(
                "figure",
                el(
                    "div",
                    alias_lanes(moves, status.now_us),
                    class_="scroll",
                    tabindex="0",
                    role="region",
                    aria_label="Aliases over time",
                ),
            ),
        )
        if moves
        else None,
        section("Versions", _versions(visit.params["model"], model, versions, status)),
        section("Experiments", _experiments(experiments)),
        section("Shadow", _shadow(visit, name)),
        section("Alias moves", _moves(visit.params["model"], moves)),
    )


def promote(visit: Visit) -> str:
    """Make a version the champion."""
    number = number_in(visit.form, "version", int)
    request = pb.PromoteVersionRequest(
        name=resources.version_name(visit.params["model"], number),
        generation=number_in(visit.form, "generation", int),
        reason=visit.form.get("reason", ""),
    )
    answer = visit.registry.PromoteVersion(request)
    return f"Version {number} is the champion, as of revision {answer.revision}."


def roll_back(visit: Visit) -> str:
    """Make the champion before the present one the champion again."""
    request = pb.RollbackModelRequest(
        name=resources.model_name(visit.params["model"]),
        generation=number_in(visit.form, "generation", int),
        reason=visit.form.get("reason", ""),
    )
    answer = visit.registry.RollbackModel(request)
    return f"Version {answer.alias.version} is the champion again, as of revision {answer.revision}."


def _champion(model: pb.Model) -> pb.Alias:
    return next((each for each in model.aliases if each.alias == "champion"), pb.Alias())


def _facts(model: pb.Model) -> Html:
    champion = _champion(model)
    name = resources.model_id(model.name)
    tags = [badge(f"{key}: {value}") for key, value in sorted(model.tags.items())]
    return facts(
        (
            ("Champion", version_link(name, champion.version) if champion.version else badge("none", "wait")),
            ("Owner", model.owner),
            ("Created", time_of(model.create_time_us)),
            ("Newest version", model.latest_version or None),
            ("Gates", ", ".join(gate.kind for gate in model.gates) if model.gates else None),
            ("Tags", el("span", tags, class_="badges") if tags else None),
        )
    )


def _actions(visit: Visit, model: pb.Model, versions: Sequence[pb.Version]) -> Html:
    champion = _champion(model)
    generation = el("input", type="hidden", name="generation", value=champion.generation)
    others = [
        (str(each.version), f"version {each.version}")
        for each in reversed(versions)
        if each.version != champion.version
    ]
    forms = [
        visit.action(
            "Promote",
            "promote",
            choice_of("Version", "version", others),
            generation,
            reason_field(),
            method=PROMOTE,
            style="main",
            note="It answers every call that no pin and no experiment takes. The champion before it stays loaded.",
        )
        if others
        else None,
        visit.action(
            "Roll back",
            "rollback",
            generation,
            reason_field(required=True),
            method=ROLLBACK,
            style="danger",
            note="The champion before the present one answers again, at once.",
        )
        if champion.generation > 1
        else None,
    ]
    body = join(*forms)
    return el("div", body, class_="actions") if body else body


def _versions(
    name: str, model: pb.Model, versions: Sequence[pb.Version], status: admin_pb.GetServingStatusResponse
) -> Html:
    aliases: dict[int, list[Html]] = {}
    for each in model.aliases:
        aliases.setdefault(each.version, []).append(badge(each.alias, "main" if each.alias == "champion" else ""))
    loaded: dict[int, list[admin_pb.LoadState.ValueType]] = {}
    for worker in status.workers:
        for held in worker.versions:
            if held.model in {name, model.name}:
                loaded.setdefault(held.version, []).append(held.state)
    rows = [
        (
            version_link(name, each.version),
            el("span", aliases.get(each.version, ()), class_="badges"),
            enum_words(pb.Stage, each.stage),
            el("span", [load_badge(state) for state in sorted(set(loaded.get(each.version, ())))], class_="badges"),
            each.facts.algorithm,
            ", ".join(f"{metric} {value:.4g}" for metric, value in sorted(each.facts.metrics.items())[:3]),
            time_of(each.create_time_us),
            each.create_actor,
        )
        for each in sorted(versions, key=lambda each: -each.version)
    ]
    columns = ("Version", "Aliases", "Stage", "In the workers", "Algorithm", "Metrics", "Published", "By")
    return table("Versions, the newest first", columns, rows, empty="No version was published yet.")


def _experiments(experiments: Sequence[experiments_pb.Experiment]) -> Html:
    rows = [
        (experiment_link(each.name), state_badge(each.state), time_of(each.start_time_us), each.winner)
        for each in experiments
    ]
    return table("Experiments of this model", ("Experiment", "State", "Started", "Winner"), rows)


def _shadow(visit: Visit, name: str) -> Html:
    request = shadows_pb.GetShadowRequest(name=f"{name}/shadow")
    try:
        shadow = visit.shadows.GetShadow(request).shadow
    except CallRefusedError as error:
        if error.code != _NOT_FOUND:
            raise
        return Html("")
    counts = shadow.counts
    runs = (
        version_link(visit.params["model"], shadow.running_version)
        if shadow.running_version
        else badge("nothing", "wait")
    )
    return facts(
        (
            ("Runs", [runs, f" ({shadow.alias})" if shadow.alias else ""]),
            ("Share of calls", f"{shadow.share:.4g}"),
            ("Paired", f"{counts.paired:,}"),
            ("Failed", f"{counts.failed:,}"),
            ("Dropped", f"{counts.dropped:,}"),
            ("Set", [time_of(shadow.set_us), f" by {shadow.set_by}"]),
        )
    )


def _moves(name: str, moves: Sequence[pb.AliasMove]) -> Html:
    newest = sorted(moves, key=lambda each: (-each.time_us, -each.generation))[:MOVES_SHOWN]
    rows = [
        (
            time_of(each.time_us),
            each.alias,
            version_link(name, each.from_version) if each.from_version else "",
            badge("removed") if each.removed else version_link(name, each.to_version),
            each.actor,
            [[badge("rollback", "wait"), " "] if each.rollback else "", each.reason],
        )
        for each in newest
    ]
    columns = ("Time", "Alias", "From", "To", "By", "Reason")
    return table(f"The newest of {len(moves)} moves", columns, rows)


PAGE = Page(
    path="/models/{model}",
    title=lambda visit: visit.params["model"],
    show=show,
    actions={"promote": promote, "rollback": roll_back},
    under="/models",
)
