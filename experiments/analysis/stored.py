"""Values of the analysis as JSON and back: what a verdict is kept as, so that it can be computed again."""

from __future__ import annotations

import dataclasses
import enum
import json
import types
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from experiments.allocation import Allocation
from experiments.analysis.balance import BalanceCheck
from experiments.analysis.estimation import Adjusted
from experiments.analysis.evidence import Cell, Evidence, Maturity, MetricEvidence, VariantCount
from experiments.analysis.findings import (
    Comparison,
    Contrast,
    Estimate,
    NotEnoughData,
    Posterior,
    Relative,
    SampleRatioCheck,
)
from experiments.analysis.histogram import Histogram
from experiments.analysis.joint import JointMoments
from experiments.analysis.sequence import Running
from experiments.analysis.stages import Stage, StageCheck
from experiments.analysis.watch import Watch
from experiments.definition import Experiment
from experiments.plan import Plan

_T = TypeVar("_T")

# What annotations may name: modules import most of it for the type checker only.
_NAMES: dict[str, Any] = {
    each.__name__: each
    for each in (
        Adjusted, Allocation, BalanceCheck, Comparison, Contrast, Estimate, Evidence, Experiment, Histogram,
        JointMoments, Maturity, MetricEvidence, NotEnoughData, Plan, Posterior, Relative, Running, SampleRatioCheck,
        Stage, StageCheck, VariantCount, Watch,
    )
} | {"Cell": Cell, "Mapping": Mapping, "Sequence": Sequence}  # fmt: skip


def canonical(value: object) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, floats so that they come back bit by bit."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def plain(value: Any) -> Any:
    """Return a value of dataclasses, enums, tuples and mappings as what JSON knows.

    A mapping becomes a sorted list of pairs unless its keys are texts. Infinities stay as Python's JSON writes them.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        if all(type(key) is str for key in value):
            return {key: plain(each) for key, each in value.items()}
        return sorted(([plain(key), plain(each)] for key, each in value.items()), key=lambda pair: json.dumps(pair[0]))
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def rebuild(kind: type[_T], data: Any) -> _T:
    """Return the value of a type from what `plain` made of it.

    Fields that are not there get their defaults, so that what an older engine stored stays readable.
    """
    value: _T = _rebuild(kind, data)
    return value


def _rebuild(kind: Any, data: Any) -> Any:  # noqa: PLR0911  (one for each kind of type)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        inner = [each for each in arguments if each is not type(None)]
        return None if data is None else _rebuild(next(each for each in inner if _fits(each, data)), data)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004  (tuple[X, ...])
            return tuple(_rebuild(arguments[0], each) for each in data)
        return tuple(_rebuild(each, part) for each, part in zip(arguments, data, strict=True))
    if origin in {dict, Mapping}:
        pairs = data.items() if isinstance(data, dict) else data
        return {_rebuild(arguments[0], key): _rebuild(arguments[1], each) for key, each in pairs}
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, localns=_NAMES)
        names = [field.name for field in dataclasses.fields(kind) if field.name in data]
        make: Any = kind
        return make(**{name: _rebuild(hints[name], data[name]) for name in names})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(data)
    return float(data) if kind is float else data


def _fits(kind: Any, data: Any) -> bool:
    """Whether data may be of one kind of a union: dataclasses are told apart by their fields."""
    if not dataclasses.is_dataclass(kind):
        return True
    return set(data) <= {field.name for field in dataclasses.fields(kind)}
