"""All models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.html import Html, el, join
from gateway.web.page import Page
from gateway.web.pages.overview import models_table
from gateway.web.words import all_of
from turnout.experiments.v1 import experiment_service_pb2 as experiments_pb
from turnout.registry.v1 import registry_service_pb2 as registry_pb

if TYPE_CHECKING:
    from gateway.web.page import Visit


def show(visit: Visit) -> Html:
    """Return the list of models."""
    models = list(all_of(visit.registry.ListModels, registry_pb.ListModelsRequest(), "models"))
    experiments = all_of(visit.experiments.ListExperiments, experiments_pb.ListExperimentsRequest(), "experiments")
    live = [each for each in experiments if each.state == experiments_pb.EXPERIMENT_STATE_RUNNING]
    return join(el("h1", "Models"), models_table(models, live))


PAGE = Page(path="/models", title=lambda _: "Models", show=show, nav="Models", place=1)
