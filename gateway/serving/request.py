"""One prediction on its way through the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from gateway.journal.record import Output
    from gateway.serving.table import Target
    from storage.errors import DomainError


class GivenTensor:
    """A tensor as a caller sent it, not yet checked."""

    __slots__ = ("data", "dtype", "name", "shape")

    def __init__(self, name: str, dtype: str, shape: tuple[int, ...], data: bytes) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.data = data


class Request:
    """What is asked, and what becomes of it.

    The first group of attributes is what the caller sent; the second is filled in by the pipeline's steps. A request
    with an ``error`` has left the wave: no later step touches it.

    Attributes
    ----------
    deadline
        When the caller stops waiting, on the monotonic clock, in seconds.
    method
        What was called, for the counters: the method's short name.
    arrived
        When the call came, on the monotonic clock, in seconds; 0 when it came with its wave.
    wanted
        The outputs that are asked for, in the order of the reply; empty for all.
    echo
        What the reply repeats, for a protocol that has such a thing.
    rows
        How many rows its feeds have.
    feature_row
        The features as served, one float64 a feature.
    view_status, view_age_ms
        One for each view of the bound feature set.
    """

    __slots__ = (
        "alias",
        "arrived",
        "attributes",
        "deadline",
        "echo",
        "entities",
        "error",
        "event_time_us",
        "feature_row",
        "features",
        "feeds",
        "method",
        "model",
        "outputs",
        "request_id",
        "rows",
        "target",
        "tensors",
        "unit_id",
        "version",
        "view_age_ms",
        "view_status",
        "wanted",
    )

    def __init__(
        self,
        *,
        request_id: str,
        model: str,
        deadline: float,
        version: int = 0,
        alias: str = "",
        entities: dict[str, str] | None = None,
        unit_id: str = "",
        event_time_us: int | None = None,
        attributes: dict[str, str] | None = None,
        tensors: list[GivenTensor] | None = None,
        features: dict[str, float] | None = None,
    ) -> None:
        self.request_id = request_id
        self.model = model
        self.deadline = deadline
        self.version = version
        self.alias = alias
        self.entities = entities or {}
        self.unit_id = unit_id
        self.event_time_us = event_time_us
        self.attributes = attributes or {}
        self.tensors = tensors
        self.features = features
        self.method = ""
        self.arrived = 0.0
        self.wanted: tuple[str, ...] = ()
        self.echo = ""
        self.target: Target | None = None
        self.error: DomainError | None = None
        self.feeds: dict[str, np.ndarray] = {}
        self.rows = 0
        self.feature_row: np.ndarray | None = None
        self.view_status: bytes = b""
        self.view_age_ms: list[int] = []
        self.outputs: list[Output] = []
