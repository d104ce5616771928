"""One prediction on its way through the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.journal.record import Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from gateway.models.layout import Layout
    from gateway.serving.table import Target
    from gateway.transport.port import Call
    from storage.errors import DomainError


NOTHING: Mapping[str, str] = {}
"""What a call has that names no entities, or no attributes; never changed."""
NOTHING_GIVEN: Mapping[str, float] = {}
"""What a call has that gives no features; never changed."""


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
        When the caller stops waiting, on the monotonic clock, in seconds; None when it named no time.
    call
        The call that it came with; several requests may have one, or none.
    method
        What was called, for the counters: the method's short name.
    arrived
        When the call came, on the monotonic clock, in seconds; 0 when it came with its wave.
    wanted
        The outputs that are asked for, in the order of the reply; empty for all.
    echo
        What the reply repeats, for a protocol that has such a thing.
    feeds
        The arrays that the graph takes, by the names of its inputs; None when a feature set fills them all.
    rows
        How many rows its feeds have.
    feature_row
        The features as served: one float64 a feature, little-endian.
    view_status, view_age_ms
        One for each view of the bound feature set.
    layout, data
        What its outputs are, and the elements of each; None and empty without an answer.
    """

    __slots__ = (
        "alias",
        "arrived",
        "attributes",
        "call",
        "data",
        "deadline",
        "echo",
        "entities",
        "error",
        "event_time_us",
        "feature_row",
        "features",
        "feeds",
        "layout",
        "method",
        "model",
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

    def __init__(  # noqa: PLR0917  (by position, where it is made for every call)
        self,
        request_id: str,
        model: str,
        deadline: float | None,
        version: int = 0,
        alias: str = "",
        entities: Mapping[str, str] = NOTHING,
        unit_id: str = "",
        event_time_us: int | None = None,
        attributes: Mapping[str, str] = NOTHING,
        tensors: Sequence[GivenTensor] = (),
        features: Mapping[str, float] = NOTHING_GIVEN,
    ) -> None:
        self.request_id = request_id
        self.model = model
        self.deadline = deadline
        self.version = version
        self.alias = alias
        self.entities = entities
        self.unit_id = unit_id
        self.event_time_us = event_time_us
        self.attributes = attributes
        self.tensors = tensors
        self.features = features
        self.call: Call | None = None
        self.method = ""
        self.arrived = 0.0
        self.wanted: tuple[str, ...] = ()
        self.echo = ""
        self.target: Target | None = None
        self.error: DomainError | None = None
        self.feeds: dict[str, np.ndarray] | None = None
        self.rows = 1
        self.feature_row = b""
        self.view_status = b""
        self.view_age_ms: Sequence[int] = ()
        self.layout: Layout | None = None
        self.data: tuple[bytes, ...] = ()

    @property
    def outputs(self) -> list[Output]:
        """The outputs one by one; none without an answer."""
        kinds = () if self.layout is None else self.layout.tensors
        return [Output(*kind, elements) for kind, elements in zip(kinds, self.data, strict=True)]
