"""Batches between bytes and the pipeline: a table of columns in, one table for each version that answered out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import repeat
from math import prod
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError

from gateway.errors import BatchTooLargeError, InputMismatchError, RequestIdRepeatedError, RequestMalformedError
from gateway.rpc.dtypes import NAME_OF, NUMBER_OF
from gateway.rpc.prediction_codec import error_of, malformed_id
from gateway.serving.identity import time_ordered_id, time_ordered_ids
from gateway.serving.inputs import WIDTHS
from gateway.serving.request import NOTHING, NOTHING_GIVEN, GivenTensor, Request
from turnout.serving.v1 import prediction_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.serving.table import Target
    from turnout.tensor.v1 import tensor_pb2

T = TypeVar("T")

_ID = re.compile(r"[!-~]{1,128}")
_IDS = re.compile(r"(?:[!-~]{1,128}\n)*")
_LENGTH_BYTES = 4


def decode(payload: bytes, *, now_us: int, deadline: float | None, rows_max: int) -> list[Request]:
    """Return a batch's rows as requests; one with an error has left already.

    Raises
    ------
    RequestMalformedError
        The columns make no table.
    InputMismatchError
        A tensor cannot be cut into rows.
    BatchTooLargeError
        There are more rows than are taken.
    """
    try:
        message = pb.BatchPredictRequest.FromString(payload)
    except DecodeError:
        raise RequestMalformedError("the request is not a turnout.serving.v1.BatchPredictRequest") from None
    rows, model = message.rows, message.model
    if not model:
        raise RequestMalformedError("`model` is empty; say which model is asked", field="model")
    if message.version < 0:
        raise RequestMalformedError("`version` counts from 1", field="version")
    if rows < 1:
        raise RequestMalformedError("`rows` is how many rows there are, at least 1", field="rows")
    if rows > rows_max:
        raise BatchTooLargeError(
            f"a batch has at most {rows_max} rows (`batch_rows_max`); this one has {rows}: send it in parts",
            rows=rows,
            batch_rows_max=rows_max,
        )
    version, alias = message.version, message.alias
    columns = zip(
        _identities(message.request_ids, rows, now_us),
        _texts("entities", message.entities, rows),
        _plain("unit_ids", message.unit_ids, rows) or repeat(""),
        _times(message.event_times_us, rows),
        _texts("attributes", message.attributes, rows),
        _tensors(message.inputs, rows),
        _numbers(message.features, rows),
        strict=False,
    )
    requests = [
        # By position: this runs for every row.
        Request(
            request_id,
            model,
            deadline,
            version,
            alias,
            entities,
            unit_id,
            event_time_us,
            attributes,
            tensors,
            features,
        )
        for request_id, entities, unit_id, event_time_us, attributes, tensors, features in columns
    ]
    if message.request_ids:
        _check_identities(requests)
    return requests


def _plain(field: str, values: Sequence[T], rows: int) -> list[T]:
    """Return a column's values, none where it has none; or raise RequestMalformedError."""
    if values and len(values) != rows:
        raise RequestMalformedError(f"`{field}` has {len(values)} values; the batch has {rows} rows", field=field)
    return list(values)


def _identities(given: Sequence[str], rows: int, now_us: int) -> list[str]:
    ids = _plain("request_ids", given, rows)
    if not ids:
        return time_ordered_ids(now_us, rows)
    return [one or time_ordered_id(now_us) for one in ids] if "" in ids else ids


def _check_identities(requests: Sequence[Request]) -> None:
    """Give an error to each row whose identity cannot be one, or was that of a row before it."""
    ids = [request.request_id for request in requests]
    if not _IDS.fullmatch("\n".join((*ids, ""))):
        for request in requests:
            if not _ID.fullmatch(request.request_id):
                request.error = malformed_id()
    if len(set(ids)) < len(ids):
        seen: dict[str, int] = {}
        for row, request in enumerate(requests):
            first = seen.setdefault(request.request_id, row)
            if first != row and request.error is None:
                request.error = RequestIdRepeatedError(
                    f"row {first} of the batch has the same `request_id`; each prediction has its own",
                    field="request_id",
                    first_row=first,
                )


def _names(field: str, columns: Sequence[pb.TextColumn] | Sequence[pb.NumberColumn], rows: int) -> list[str]:
    """Return the columns' names, or raise RequestMalformedError unless each is named once and has a value a row."""
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise RequestMalformedError(f"two columns of `{field}` have the same name", field=field)
    for column in columns:
        if len(column.values) != rows:
            raise RequestMalformedError(
                f"column `{column.name}` of `{field}` has {len(column.values)} values; the batch has {rows} rows",
                field=field,
                column=column.name,
            )
    return names


def _texts(field: str, columns: Sequence[pb.TextColumn], rows: int) -> Iterable[Mapping[str, str]]:
    names = _names(field, columns, rows)
    if not names:
        return repeat(NOTHING)
    values = [list(column.values) for column in columns]
    if any("" in column for column in values):
        return [
            {name: value for name, value in zip(names, row, strict=True) if value} for row in zip(*values, strict=True)
        ]
    if len(names) == 1:
        return [{names[0]: value} for value in values[0]]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _numbers(columns: Sequence[pb.NumberColumn], rows: int) -> Iterable[Mapping[str, float]]:
    names = _names("features", columns, rows)
    if not names:
        return repeat(NOTHING_GIVEN)
    table = [dict(zip(names, row, strict=True)) for row in _rows(columns)]
    for column in columns:
        for row, given in enumerate(_plain(f"features.{column.name}.given", column.given, rows)):
            if not given:
                del table[row][column.name]
    return table


def _rows(columns: Sequence[pb.NumberColumn]) -> Iterable[tuple[float, ...]]:
    return zip(*(column.values for column in columns), strict=True)


def _times(values: Sequence[int], rows: int) -> Iterable[int | None]:
    times = _plain("event_times_us", values, rows)
    return [time or None for time in times] if times else repeat(None)


def _tensors(tensors: Sequence[tensor_pb2.Tensor], rows: int) -> Iterable[list[GivenTensor]]:
    if not tensors:
        return iter(list, None)  # a new empty list for each row
    return [list(row) for row in zip(*(_cut(tensor, rows) for tensor in tensors), strict=True)]


def _cut(tensor: tensor_pb2.Tensor, rows: int) -> list[GivenTensor]:
    """Return the rows of a tensor, or raise InputMismatchError."""
    name, dtype, shape, data = tensor.name, NAME_OF.get(tensor.data_type, ""), tuple(tensor.shape), tensor.data
    if not shape or shape[0] != rows or min(shape) < 0:
        raise InputMismatchError(
            f"input `{name}` of a batch of {rows} rows has the shape [{rows}, …], not {list(shape)}", input=name
        )
    row_shape = (1, *shape[1:])
    if dtype == "string":
        ends = _ends_of_strings(name, data, rows=rows, each=prod(row_shape))
    else:
        width = WIDTHS.get(dtype, 0) * prod(row_shape)
        if len(data) != width * rows:
            raise InputMismatchError(
                f"input `{name}` has {len(data)} bytes; shape {list(shape)} of {dtype or 'no type'} takes "
                f"{width * rows}",
                input=name,
                expected=width * rows,
            )
        ends = list(range(width, width * rows + 1, width)) if width else [0] * rows
    starts = [0, *ends[:-1]]
    return [GivenTensor(name, dtype, row_shape, data[start:end]) for start, end in zip(starts, ends, strict=True)]


def _ends_of_strings(name: str, data: bytes, *, rows: int, each: int) -> list[int]:
    """Return where the length-prefixed strings of each row end."""
    ends, at = [], 0
    if rows * each * _LENGTH_BYTES <= len(data):  # before walking as many as a shape may claim
        for _ in range(rows):
            for _ in range(each):
                at += _LENGTH_BYTES + int.from_bytes(data[at : at + _LENGTH_BYTES], "little")
            ends.append(at)
    if not ends or at != len(data):
        raise InputMismatchError(f"input `{name}` does not hold {rows * each} length-prefixed strings", input=name)
    return ends


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows that one target answered with outputs of one shape."""

    target: Target
    rows: list[int]
    requests: list[Request]


def encode(requests: Sequence[Request]) -> bytes:
    """Return the reply to a batch whose rows are all answered or have an error."""
    response = pb.BatchPredictResponse()
    response.request_ids.extend([request.request_id for request in requests])
    groups: dict[tuple[object, ...], _Group] = {}
    for row, request in enumerate(requests):
        target = request.target
        if request.error is not None or target is None or request.layout is None:
            response.errors.add(row=row, error=None if request.error is None else error_of(request.error))
            continue
        key = (target, request.layout.shapes)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(target, [], [])
        group.rows.append(row)
        group.requests.append(request)
    for group in groups.values():
        _fill(response.parts.add(), group)
    return response.SerializeToString()


def _fill(part: pb.BatchPart, group: _Group) -> None:
    target, requests = group.target, group.requests
    part.version, part.experiment, part.variant = target.slot.key.version, target.experiment, target.variant
    part.rows.extend(group.rows)
    for place, output in enumerate(requests[0].outputs):
        first, *rest = output.shape or (1,)
        part.outputs.add(
            name=output.name,
            data_type=NUMBER_OF[output.dtype],
            shape=(first * len(requests), *rest),
            data=b"".join([request.data[place] for request in requests]),
        )
    plan = target.slot.plan
    if plan is None or not requests[0].view_status:
        return
    statuses = b"".join([request.view_status for request in requests])
    ages = [age for request in requests for age in request.view_age_ms]
    count = len(plan.views)
    for place, view in enumerate(plan.views):
        column = part.feature_status.add(view=view.name)
        column.status.extend(statuses[place::count])  # type: ignore[arg-type]  # the numbers are those of the enum
        column.age_ms.extend(ages[place::count])
