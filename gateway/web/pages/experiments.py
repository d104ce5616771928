"""All experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.html import Html, el, join, table
from gateway.web.page import Page
from gateway.web.words import advice_badge, all_of, experiment_link, model_link, state_badge, time_of
from turnout.experiments.v1 import experiment_service_pb2 as pb

if TYPE_CHECKING:
    from gateway.web.page import Visit

_ORDER = (
    pb.EXPERIMENT_STATE_RUNNING,
    pb.EXPERIMENT_STATE_PAUSED,
    pb.EXPERIMENT_STATE_DRAFT,
    pb.EXPERIMENT_STATE_CONCLUDED,
    pb.EXPERIMENT_STATE_ARCHIVED,
)


def show(visit: Visit) -> Html:
    """Return the list of experiments, those that run first."""
    found = list(all_of(visit.experiments.ListExperiments, pb.ListExperimentsRequest(), "experiments"))
    found.sort(key=lambda each: (_ORDER.index(each.state), -each.start_time_us, each.name))
    rows = [
        (
            experiment_link(each.name),
            state_badge(each.state),
            model_link(each.model),
            ", ".join(f"{arm.variant} {arm.share:.4g}" for arm in each.variants),
            f"{each.coverage:.4g}",
            time_of(each.start_time_us),
            _advice(visit, each),
            each.winner,
        )
        for each in found
    ]
    columns = ("Experiment", "State", "Model", "Split", "Coverage", "Started", "Advice", "Winner")
    empty = "No experiment was created yet."
    return join(el("h1", "Experiments"), table("Experiments, those that run first", columns, rows, empty=empty))


def _advice(visit: Visit, experiment: pb.Experiment) -> Html:
    """Return what the newest look of a live experiment advised."""
    if experiment.state not in {pb.EXPERIMENT_STATE_RUNNING, pb.EXPERIMENT_STATE_PAUSED}:
        return Html("")
    looks = visit.experiments.ListLooks(pb.ListLooksRequest(name=experiment.name, spread_max=1)).looks
    return advice_badge(looks[-1]) if looks else Html("")


PAGE = Page(path="/experiments", title=lambda _: "Experiments", show=show, nav="Experiments", place=2)
