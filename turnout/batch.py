"""Batches as the client sees them: the table that is sent, and the answers row by row or part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from turnout import ids, table_out, tensors
from turnout.prediction import Prediction, ViewReading, read_error, status_name
from turnout.serving.v1 import prediction_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray

    from turnout import errors

Texts = Mapping[str, Sequence[str | None]]
"""Columns of text by name; None, as an empty text does, says that the row does not name it."""

Numbers = Mapping[str, "Sequence[float | None] | NDArray[np.generic]"]
"""Columns of numbers by name; None says that the row does not give it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAsk:
    """What a batch says, but for the model; the fields are those of ``Client.predict_batch``."""

    entities: Texts | None = None
    unit_ids: Sequence[str | None] | None = None
    version: int | None = None
    alias: str | None = None
    inputs: Mapping[str, ArrayLike] | None = None
    features: Numbers | None = None
    attributes: Texts | None = None
    event_times_us: Sequence[int | None] | None = None
    request_ids: Sequence[str] | None = None

    def message(self, model: str) -> pb.BatchPredictRequest:
        """Return the request, with a request id for each row unless they are given, or raise ValueError."""
        if self.version is not None and self.alias is not None:
            raise ValueError("give a version or an alias, not both")
        inputs = tensors.to_tensors(self.inputs or {})
        rows = self._rows([list(tensor.shape) for tensor in inputs])
        request = pb.BatchPredictRequest(
            model=model,
            rows=rows,
            entities=_texts(self.entities),
            unit_ids=[unit or "" for unit in self.unit_ids or ()],
            event_times_us=[time or 0 for time in self.event_times_us or ()],
            request_ids=self.request_ids or [ids.new_request_id() for _ in range(rows)],
            attributes=_texts(self.attributes),
            inputs=inputs,
            features=_numbers(self.features),
        )
        if self.version is not None:
            request.version = self.version
        if self.alias is not None:
            request.alias = self.alias
        return request

    def _rows(self, shapes: list[list[int]]) -> int:
        """Return how many rows the first column has that is there; the gateway compares the others."""
        columns: list[Any] = [
            *(self.entities or {}).values(),
            *(shape and range(shape[0]) for shape in shapes),
            *(self.features or {}).values(),
            *(self.attributes or {}).values(),
            *(one for one in (self.request_ids, self.unit_ids, self.event_times_us) if one is not None),
        ]
        if not columns or len(columns[0]) == 0:
            raise ValueError("a batch has at least one column, with a value for each row")
        return len(columns[0])


@dataclass(frozen=True, slots=True, eq=False)
class BatchPart:
    """The rows of a batch that one version answered for one variant, with outputs of one shape.

    Attributes
    ----------
    version, experiment, variant
        As in a Prediction.
    rows
        Which rows of the batch these are, from 0.
    outputs
        The model's outputs by name; the rows' outputs follow one another along the first axis.
    statuses, ages_ms
        How the stored features came about, by view: one value for each row.
    """

    version: int
    experiment: str
    variant: str
    rows: list[int]
    outputs: dict[str, NDArray[np.generic]]
    statuses: dict[str, list[str]]
    ages_ms: dict[str, list[int | None]]


class BatchPrediction(Sequence["Prediction | errors.TurnoutError"]):
    """The answers to a batch: a sequence with one Prediction, or the error in its place, for each row.

    Attributes
    ----------
    model
        The model's name.
    request_ids
        The identities of the predictions, row by row.
    parts
        The rows that were answered, as tables: the quick way to all outputs.
    errors
        Why each of the other rows was not answered, by row.
    """

    __slots__ = ("_places", "errors", "model", "parts", "request_ids")

    def __init__(
        self, *, model: str, request_ids: list[str], parts: list[BatchPart], errors: dict[int, errors.TurnoutError]
    ) -> None:
        self.model = model
        self.request_ids = request_ids
        self.parts = parts
        self.errors = errors
        self._places = {row: (part, place) for part in parts for place, row in enumerate(part.rows)}

    def __repr__(self) -> str:
        return f"<BatchPrediction of {self.model}: {len(self)} rows, {len(self.errors)} of them not answered>"

    def __len__(self) -> int:
        return len(self.request_ids)

    def to_pandas(self) -> pd.DataFrame:
        """Return the answers as a DataFrame, one row for each; pandas must be there. See ``table_out.columns_of``."""
        return table_out.to_pandas(self)

    def to_arrow(self) -> pa.Table:
        """Return the answers as an Arrow table, one row for each; pyarrow must be there."""
        return table_out.to_arrow(self)

    @overload
    def __getitem__(self, row: int) -> Prediction | errors.TurnoutError: ...

    @overload
    def __getitem__(self, row: slice) -> list[Prediction | errors.TurnoutError]: ...

    def __getitem__(
        self, row: int | slice
    ) -> Prediction | errors.TurnoutError | list[Prediction | errors.TurnoutError]:
        """Return what became of a row, or of several."""
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        at = range(len(self))[row]
        if at in self.errors:
            return self.errors[at]
        part, place = self._places[at]
        each = {name: len(array) // len(part.rows) for name, array in part.outputs.items()}
        return Prediction(
            request_id=self.request_ids[at],
            model=self.model,
            version=part.version,
            experiment=part.experiment,
            variant=part.variant,
            outputs={
                name: array[place * each[name] : (place + 1) * each[name]] for name, array in part.outputs.items()
            },
            views=tuple(
                ViewReading(view, statuses[place], part.ages_ms[view][place])
                for view, statuses in part.statuses.items()
            ),
        )


def read_batch(model: str, response: pb.BatchPredictResponse) -> BatchPrediction:
    """Return the answers that a message holds, or raise TensorError when its tensors are malformed."""
    return joined(model, [response])


def joined(model: str, responses: Sequence[pb.BatchPredictResponse]) -> BatchPrediction:
    """Return the answers of several calls as those of one, or raise TensorError when tensors are malformed."""
    request_ids: list[str] = []
    parts: list[BatchPart] = []
    faults: dict[int, errors.TurnoutError] = {}
    for response in responses:
        first = len(request_ids)
        parts += [_part(part, first=first) for part in response.parts]
        faults |= {first + one.row: read_error(one.error) for one in response.errors}
        request_ids += response.request_ids
    return BatchPrediction(model=model, request_ids=request_ids, parts=parts, errors=faults)


def _part(part: pb.BatchPart, *, first: int = 0) -> BatchPart:
    """Return a part of a call whose rows begin at ``first``."""
    return BatchPart(
        version=part.version,
        experiment=part.experiment,
        variant=part.variant,
        rows=[first + row for row in part.rows],
        outputs=tensors.to_arrays(part.outputs),
        statuses={column.view: [status_name(status) for status in column.status] for column in part.feature_status},
        ages_ms={
            column.view: [None if age_ms < 0 else age_ms for age_ms in column.age_ms] for column in part.feature_status
        },
    )


def _texts(columns: Texts | None) -> Iterable[pb.TextColumn]:
    return [
        pb.TextColumn(name=name, values=[value or "" for value in values]) for name, values in (columns or {}).items()
    ]


def _numbers(columns: Numbers | None) -> Iterable[pb.NumberColumn]:
    made = []
    for name, values in (columns or {}).items():
        given = [value is not None for value in values]
        column = pb.NumberColumn(name=name, values=[0.0 if value is None else float(value) for value in values])
        if not all(given):
            column.given.extend(given)
        made.append(column)
    return made
