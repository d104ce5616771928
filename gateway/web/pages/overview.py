"""The first page: how the gateway does, what runs, what serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.html import Html, badge, el, join, link, section, table
from gateway.web.looks import kept_looks, readings_of
from gateway.web.page import Page
from gateway.web.plots import spark, split_bar
from gateway.web.words import advice_badge, all_of, experiment_link, model_link, state_badge, version_link
from turnout import resources
from turnout.admin.v1 import admin_service_pb2 as admin_pb
from turnout.experiments.v1 import experiment_service_pb2 as experiments_pb
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.report.effect import signed
from turnout.report.style import arm_style

if TYPE_CHECKING:
    from gateway.web.page import Visit

_LIVE = (experiments_pb.EXPERIMENT_STATE_RUNNING, experiments_pb.EXPERIMENT_STATE_PAUSED)


def show(visit: Visit) -> Html:
    """Return the overview."""
    status = visit.admin.GetServingStatus(admin_pb.GetServingStatusRequest())
    experiments = list(
        all_of(visit.experiments.ListExperiments, experiments_pb.ListExperimentsRequest(), "experiments")
    )
    live = [each for each in experiments if each.state in _LIVE]
    models = list(all_of(visit.registry.ListModels, registry_pb.ListModelsRequest(), "models"))
    cards = el("ul", *(el("li", _card(visit, each), class_="card") for each in live), class_="cards") if live else None
    return join(
        el("h1", "Overview"),
        _figures(status),
        section(
            "Live experiments",
            cards or el("p", "None runs. ", link("/experiments", "All experiments"), class_="soft"),
        ),
        section("Models", models_table(models, live)),
    )


def models_table(
    models: list[registry_pb.Model], live: list[experiments_pb.Experiment], caption: str = "Models and what answers"
) -> Html:
    """Return the models, with what answers and which experiments run."""
    rows = []
    for model in models:
        name = resources.model_id(model.name)
        held = {each.alias: each.version for each in model.aliases}
        champion = held.pop("champion", 0)
        running = [experiment_link(each.name) for each in live if each.model == model.name]
        rows.append(
            (
                model_link(model.name),
                version_link(name, champion) if champion else badge("no champion", "wait"),
                el("span", [badge(f"{alias} v{version}") for alias, version in sorted(held.items())], class_="badges"),
                [[each, " "] for each in running],
                model.owner,
                model.latest_version or "",
            )
        )
    columns = ("Model", "Champion", "Other aliases", "Experiments", "Owner", "Newest version")
    return table(caption, columns, rows, numbers=(5,), empty="No model was published yet.")


def _figures(status: admin_pb.GetServingStatusResponse) -> Html:
    traffic = status.traffic
    ready = sum(worker.ready for worker in status.workers)
    behind = sum(worker.revision < status.revision for worker in status.workers)
    pairs = (
        ("Predictions a second", f"{traffic.predictions_per_s:,.1f}"),
        ("Failures a second", f"{traffic.failures_per_s:,.2f}"),
        ("p50", f"{traffic.p50_us / 1000:.2f} ms" if traffic.p50_us else "none"),
        ("p99", f"{traffic.p99_us / 1000:.2f} ms" if traffic.p99_us else "none"),
        ("Workers ready", f"{ready} of {len(status.workers)}"),
        ("Revision", f"{status.revision:,}" + (f", {behind} behind" if behind else "")),
    )
    return el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in pairs), class_="figures")


def _card(visit: Visit, experiment: experiments_pb.Experiment) -> Html:
    looks = kept_looks(visit, experiment.name)
    advice = [" ", advice_badge(looks[-1])] if looks else ""
    return join(
        el("h3", experiment_link(experiment.name)),
        el("p", state_badge(experiment.state), advice, " on ", model_link(experiment.model), class_="soft"),
        split_bar(experiment.variants),
        _effects(experiment, looks),
    )


def _effects(experiment: experiments_pb.Experiment, looks: list[experiments_pb.GetRecommendationResponse]) -> Html:
    """Return a small plot of each success metric and treatment."""
    parts: list[Html] = []
    treatments = [each.variant for each in experiment.variants if not each.control]
    for metric in experiment.metrics:
        if metric.role != experiments_pb.METRIC_ROLE_SUCCESS:
            continue
        for place, variant in enumerate(treatments, 1):
            readings = readings_of(looks, metric.metric, variant)
            if not readings:
                continue
            last = readings[-1]
            words = f"{metric.metric}, {variant}: {signed(last.value)} [{signed(last.lower)}, {signed(last.upper)}]"
            if len(readings) > 1:
                parts.append(spark(readings, style=arm_style(place), words=words))
            parts.append(el("p", el("small", words)))
    return join(*parts) if parts else el("small", "No look has had enough data.")


PAGE = Page(path="/", title=lambda _: "Overview", show=show, nav="Overview", place=0)
