"""Transforms as numpy: compiled once for each serving table, run over all the rows of a wave at once.

Training tables are filled by the same code, and graphs by the same operations (`trainer.transform_graph`). All are
exact but `log` and `exp`, which ONNX Runtime computes by other means, a few units in the last place apart.
"""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from features.expression import Constant, Operand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from features.expression import Expression
    from features.transforms import Transform

    Rows = NDArray[np.float64]
    Kernel = Callable[[list[Rows]], Any]


class Kernels:
    """The transforms of a set, compiled.

    Parameters
    ----------
    transforms
        In their order: each may take those before it.
    columns
        The whole names of the columns of the rows, the transforms among them.
    """

    __slots__ = ("_steps", "_taken")

    def __init__(self, transforms: Sequence[Transform], columns: Sequence[str]) -> None:
        places = {name: place for place, name in enumerate(columns)}
        taken = list(dict.fromkeys(name for transform in transforms for name in transform.operands))
        slots = {name: slot for slot, name in enumerate(taken)}
        self._taken = [places[name] for name in taken]
        self._steps = [
            (
                places[transform.column],
                slots.get(transform.column),
                _typed(_compiled(transform.tree, slots), transform.type),
            )
            for transform in transforms
        ]

    def fill(self, rows: Rows) -> None:
        """Compute the transforms of rows [rows, columns] in place, whatever stood there."""
        # One number beside another: numpy computes logarithms of what is scattered by other means.
        operands = [rows[:, place].copy() for place in self._taken]
        with np.errstate(all="ignore"):
            for place, slot, kernel in self._steps:
                rows[:, place] = kernel(operands)
                if slot is not None:
                    operands[slot] = rows[:, place].copy()


def _typed(kernel: Kernel, kind: str) -> Kernel:
    # A truth value is stored as 1 or 0.
    return (lambda operands: _rounded(kernel(operands))) if kind == "float32" else kernel


def _compiled(expression: Expression, slots: Mapping[str, int]) -> Kernel:
    """Return the function from the operands' columns to an expression's values."""
    if isinstance(expression, Constant):
        value = expression.value
        return lambda _operands: value
    if isinstance(expression, Operand):
        return itemgetter(slots[expression.name])
    operation = _OPERATIONS[expression.operation]
    match [_compiled(argument, slots) for argument in expression.arguments]:
        case [one]:
            return lambda operands: operation(one(operands))
        case [one, other]:
            return lambda operands: operation(one(operands), other(operands))
        case kernels:
            return lambda operands: operation(*[kernel(operands) for kernel in kernels])


def _rounded(value: Any) -> Any:
    return np.asarray(value).astype(np.float32).astype(np.float64)


def _chosen(condition: Any, one: Any, other: Any) -> Any:
    """Return the one or the other; a zero that is chosen is positive, since ONNX Runtime's is."""
    return np.where(condition, one, other) + 0.0


def _coalesced(first: Any, *others: Any) -> Any:
    for other in others:
        first = _chosen(np.isnan(first), other, first)
    return first


def _least(first: Any, *others: Any) -> Any:
    """Return the least; told by comparisons, as a graph has it: numpy's minimum has no twin there."""
    for other in others:
        first = _chosen(first <= other, first, np.where(other < first, other, math.nan))
    return first


def _greatest(first: Any, *others: Any) -> Any:
    for other in others:
        first = _chosen(first >= other, first, np.where(other > first, other, math.nan))
    return first


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "negate": np.negative,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "if": _chosen,
    "is_missing": np.isnan,
    "coalesce": _coalesced,
    "min": _least,
    "max": _greatest,
    "clip": lambda value, low, high: _least(_greatest(value, low), high),
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "sqrt": np.sqrt,
    "log": np.log,
    "exp": np.exp,
    "float32": _rounded,
}
