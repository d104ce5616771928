"""Predictions as the client sees them: the request that is built and the answer that is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turnout import ids, tensors
from turnout.serving.v1 import prediction_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

_STATUS_PREFIX = "VIEW_STATUS_"


@dataclass(frozen=True, slots=True)
class ViewReading:
    """How the stored features of one view came about.

    Attributes
    ----------
    view
        The feature view's name.
    status
        ``PRESENT``, ``MISSING``, ``STALE``, ``UNAVAILABLE`` or ``GIVEN``.
    age_ms
        How old the value was; None when nothing was found.
    """

    view: str
    status: str
    age_ms: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The answer to one call.

    Attributes
    ----------
    request_id
        The identity of this prediction; outcomes refer to it.
    model
        The model's name.
    version
        The number of the version that answered.
    experiment
        The experiment that chose the version; empty when none did.
    variant
        The variant that answered; empty outside an experiment.
    outputs
        The model's outputs by name, in the order of its signature. Numbers are read-only; text is ``str`` objects.
    views
        How the stored features came about, view by view.
    """

    request_id: str
    model: str
    version: int
    experiment: str
    variant: str
    outputs: dict[str, NDArray[Any]]
    views: tuple[ViewReading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a call for a prediction says, but for the model; the fields are those of ``Client.predict``."""

    entities: Mapping[str, str] | None = None
    unit_id: str | None = None
    version: int | None = None
    alias: str | None = None
    inputs: Mapping[str, ArrayLike] | None = None
    features: Mapping[str, float] | None = None
    attributes: Mapping[str, str] | None = None
    event_time_us: int | None = None
    request_id: str | None = None

    def message(self, model: str) -> pb.PredictRequest:
        """Return the request, with a request id of its own unless one is given, or raise ValueError."""
        if self.version is not None and self.alias is not None:
            raise ValueError("give a version or an alias, not both")
        request = pb.PredictRequest(
            model=model,
            entities=self.entities,
            unit_id=self.unit_id or "",
            event_time_us=self.event_time_us,
            request_id=self.request_id or ids.new_request_id(),
            attributes=self.attributes,
            inputs=tensors.to_tensors(self.inputs) if self.inputs else (),
            features=self.features,
        )
        if self.version is not None:
            request.version = self.version
        if self.alias is not None:
            request.alias = self.alias
        return request


def read_prediction(response: pb.PredictResponse) -> Prediction:
    """Return the answer that a message holds, or raise TensorError when its tensors are malformed."""
    return Prediction(
        request_id=response.request_id,
        model=response.model,
        version=response.version,
        experiment=response.experiment,
        variant=response.variant,
        outputs=tensors.to_arrays(response.outputs),
        views=tuple(_read_view(reading) for reading in response.feature_status),
    )


def _read_view(reading: pb.ViewReading) -> ViewReading:
    known = reading.status in pb.ViewStatus.values()
    status = pb.ViewStatus.Name(reading.status).removeprefix(_STATUS_PREFIX) if known else str(reading.status)
    return ViewReading(reading.view, status, reading.age_ms if reading.HasField("age_ms") else None)
