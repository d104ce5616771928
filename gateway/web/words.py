"""How the console says times, states and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.html import Html, badge, el, link
from gateway.web.page import href
from turnout import resources
from turnout.admin.v1 import admin_service_pb2 as admin_pb
from turnout.experiments.v1 import experiment_service_pb2 as experiments_pb
from turnout.report.times import moment_of
from turnout.report.words import enum_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_STATES = {
    experiments_pb.EXPERIMENT_STATE_RUNNING: "main",
    experiments_pb.EXPERIMENT_STATE_PAUSED: "wait",
}
_LOADS = {
    admin_pb.LOAD_STATE_READY: "good",
    admin_pb.LOAD_STATE_FAILED: "bad",
    admin_pb.LOAD_STATE_LOADING: "wait",
    admin_pb.LOAD_STATE_HELD: "wait",
}
_ADVICE = {
    experiments_pb.RECOMMENDATION_SHIP: "good",
    experiments_pb.RECOMMENDATION_INVESTIGATE: "bad",
    experiments_pb.RECOMMENDATION_STOP: "bad",
}
_PAGE_MAX = 500


def time_of(time_us: int) -> Html:
    """Return a moment; nothing where there is none."""
    if not time_us:
        return Html("")
    moment = moment_of(time_us)
    return el("time", f"{moment:%Y-%m-%d %H:%M} UTC", datetime=moment.isoformat())


def state_badge(state: experiments_pb.ExperimentState.ValueType) -> Html:
    """Return where an experiment stands in its life."""
    return badge(enum_words(experiments_pb.ExperimentState, state), _STATES.get(state, ""))


def load_badge(state: admin_pb.LoadState.ValueType) -> Html:
    """Return where a version stands in a worker."""
    return badge(enum_words(admin_pb.LoadState, state), _LOADS.get(state, ""))


def advice_words(advice: experiments_pb.GetRecommendationResponse) -> str:
    """Return what is recommended."""
    return f"{enum_words(experiments_pb.Recommendation, advice.recommendation)} {advice.variant}".strip()


def advice_badge(advice: experiments_pb.GetRecommendationResponse) -> Html:
    """Return what is recommended, as a badge."""
    return badge(advice_words(advice), _ADVICE.get(advice.recommendation, ""))


def model_link(name: str) -> Html:
    """Return the link to a model's page, by its resource name."""
    model = resources.model_id(name)
    return link(href("models", model), model)


def version_link(model: str, version: int) -> Html:
    """Return the link to a version's page."""
    return link(href("models", model, "versions", str(version)), f"version {version}")


def experiment_link(name: str) -> Html:
    """Return the link to an experiment's page, by its resource name."""
    experiment = resources.experiment_id(name)
    return link(href("experiments", experiment), experiment)


def crumb(*links: Html) -> Html:
    """Return where a page stands."""
    return el("p", *(piece for each in links for piece in (each, " / ")), class_="crumb")


def bytes_text(size: int) -> str:
    """Return a number of bytes."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004  (units)
            return f"{size:.3g} {unit}" if unit != "B" else f"{size} B"
        size /= 1024  # type: ignore[assignment]  # a part of a unit
    return f"{size:.3g} GiB"


def all_of(call: Callable[[Any], Any], request: Any, items: str) -> Iterable[Any]:
    """Return the items of all pages of a list."""
    request.page_size = _PAGE_MAX
    while True:
        answer = call(request)
        yield from getattr(answer, items)
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token
