"""Tables in: what the columns of a pandas or polars DataFrame, or of an Arrow table, are to a model.

No library of tables is imported here: a table is whatever gives columns by their names.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from turnout.batch import BatchAsk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

    import numpy as np
    from numpy.typing import NDArray

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class TableError(ValueError):
    """A table's column holds what cannot be sent."""


class Table(Protocol):
    """What gives columns by their names: ``pandas.DataFrame``, ``polars.DataFrame``, ``pyarrow.Table``."""

    def __len__(self) -> int:
        """Return how many rows there are."""
        ...

    def __getitem__(self, name: str, /) -> Sized:
        """Return a column."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a table's columns are to a model. Columns that are not named are not sent.

    Parameters
    ----------
    entities, features, attributes
        The columns that are, by their own names; or by the model's names, each with the column that it is.
    inputs
        The model's inputs, each with the column or columns that make a row of it: one column of dtype ``float32``
        is an input ``[rows, 1]``, four of them ``[rows, 4]``. Their dtype must be the input's.
    unit_id, request_id
        The column that says it.
    event_time
        The column that says it, in microseconds since the Unix epoch or as a time; one without a zone is UTC.

    Examples
    --------
    >>> Columns(entities=["carrier"], features={"hour": "departure_hour"}, unit_id="passenger")
    Columns(entities=['carrier'], features={'hour': 'departure_hour'}, attributes=(), inputs={}, unit_id='passenger', \
request_id=None, event_time=None)
    """

    entities: Sequence[str] | Mapping[str, str] = ()
    features: Sequence[str] | Mapping[str, str] = ()
    attributes: Sequence[str] | Mapping[str, str] = ()
    inputs: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    unit_id: str | None = None
    request_id: str | None = None
    event_time: str | None = None


def pieces(
    table: Table, columns: Columns, *, version: int | None, alias: str | None, rows_max: int
) -> Iterator[BatchAsk]:
    """Give a table's rows as batches of at most ``rows_max``, in their order, or raise TableError."""
    rows = len(table)
    if not rows:
        raise TableError("the table has no rows")
    entities = {name: _texts(table, column) for name, column in _named(columns.entities)}
    attributes = {name: _texts(table, column) for name, column in _named(columns.attributes)}
    features = {name: _numbers(table, column) for name, column in _named(columns.features)}
    inputs = {name: _input(table, made_of) for name, made_of in columns.inputs.items()}
    units = None if columns.unit_id is None else _texts(table, columns.unit_id)
    requests = None if columns.request_id is None else [one or "" for one in _texts(table, columns.request_id)]
    times = None if columns.event_time is None else _times_us(table, columns.event_time)
    for first in range(0, rows, rows_max):
        part = slice(first, first + rows_max)
        yield BatchAsk(
            entities={name: values[part] for name, values in entities.items()} or None,
            unit_ids=None if units is None else units[part],
            version=version,
            alias=alias,
            inputs={name: array[part] for name, array in inputs.items()} or None,
            features={name: values[part] for name, values in features.items()} or None,
            attributes={name: values[part] for name, values in attributes.items()} or None,
            event_times_us=None if times is None else times[part],
            request_ids=None if requests is None else requests[part],
        )


def _named(columns: Sequence[str] | Mapping[str, str]) -> list[tuple[str, str]]:
    return list(columns.items()) if isinstance(columns, Mapping) else [(name, name) for name in columns]


def _column(table: Table, name: str) -> Sized:
    try:
        return table[name]
    except Exception as error:  # each library has its own kind
        raise TableError(f"the table has no column {name!r}") from error


def _values(table: Table, name: str) -> list[object]:
    """Return a column's values as Python's own, None where there is none."""
    column = _column(table, name)
    for method in ("to_pylist", "to_list", "tolist"):
        made = getattr(column, method, None)
        if made is not None:
            return [None if _is_null(value) else value for value in made()]
    raise TableError(f"the column {name!r} is a {type(column).__name__}, whose values cannot be told")


def _is_null(value: object) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in {"NAType", "NaTType"}  # pandas' own


def _texts(table: Table, name: str) -> list[str | None]:
    return [_text(name, value) for value in _values(table, name)]


def _text(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TableError(f"the column {name!r} holds a {type(value).__name__}; texts and whole numbers can be sent as text")


def _numbers(table: Table, name: str) -> list[float | None]:
    return [_number(name, value) for value in _values(table, name)]


def _number(name: str, value: object) -> float | None:
    if value is None or isinstance(value, (int, float)):
        return value
    raise TableError(f"the column {name!r} holds a {type(value).__name__}, not a number")


def _times_us(table: Table, name: str) -> list[int | None]:
    return [_time_us(name, value) for value in _values(table, name)]


def _time_us(name: str, value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, dt.datetime):
        zoned = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
        return (zoned - _EPOCH) // _MICROSECOND
    raise TableError(f"the column {name!r} holds a {type(value).__name__}, not a time or microseconds")


def _input(table: Table, made_of: str | Sequence[str]) -> NDArray[np.generic]:
    """Return the rows of an input, ``[rows, columns]``."""
    import numpy as np  # noqa: PLC0415  (loaded at first use)

    names = [made_of] if isinstance(made_of, str) else list(made_of)
    stacked: NDArray[np.generic] = np.stack([np.asarray(_column(table, name)) for name in names], axis=1)
    return stacked
