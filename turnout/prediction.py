"""Predictions as the client sees them: the request that is built and the answer that is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnout import errors, ids, tensors
from turnout.serving.v1 import prediction_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
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
    outputs: dict[str, NDArray[np.generic]]
    views: tuple[ViewReading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a call for a prediction says, but for the model; the fields are those of ``Client.predict``.

    In a stream, ``timeout_s`` is how long this answer may take from when the gateway takes the message up.
    """

    entities: Mapping[str, str] | None = None
    unit_id: str | None = None
    version: int | None = None
    alias: str | None = None
    inputs: Mapping[str, ArrayLike] | None = None
    features: Mapping[str, float] | None = None
    attributes: Mapping[str, str] | None = None
    event_time_us: int | None = None
    request_id: str | None = None
    timeout_s: float | None = None

    def streamed(self, model: str) -> pb.StreamPredictRequest:
        """Return the request as a stream's message, or raise ValueError."""
        timeout_ms = None if self.timeout_s is None else max(1, round(self.timeout_s * 1000))
        return pb.StreamPredictRequest(request=self.message(model), timeout_ms=timeout_ms)

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


def read_answer(response: pb.StreamPredictResponse) -> Prediction | errors.TurnoutError:
    """Return what became of a stream's message, or raise TensorError when its tensors are malformed."""
    if response.HasField("prediction"):
        return read_prediction(response.prediction)
    return read_error(response.error)


def read_error(error: pb.PredictionError) -> errors.TurnoutError:
    """Return the error in an answer as the one that a call of its own would have raised."""
    return errors.from_parts(error.code, error.reason, error.message, dict(error.facts))


def status_name(status: pb.ViewStatus.ValueType) -> str:
    """Return the name of a view's status, for example ``PRESENT``; its number when it is newer than this client."""
    known = status in pb.ViewStatus.values()
    return pb.ViewStatus.Name(status).removeprefix(_STATUS_PREFIX) if known else str(status)


def _read_view(reading: pb.ViewReading) -> ViewReading:
    age_ms = reading.age_ms if reading.HasField("age_ms") else None
    return ViewReading(reading.view, status_name(reading.status), age_ms)
