"""Expressions over features, as trees; `features.expression_text` reads them.

::

    if(request.price > 0, request.price / share.price_sma_20 - 1, 0)

An expression is numbers, features (`view.feature`, `request.feature`, `transform.name`) and what is in `OPERATIONS`, by
sign or by name. Every number is a float64 and every operation one of IEEE 754: there is no null, what is missing is
NaN, and nothing raises. A truth value comes of a comparison and goes into `if`, `and`, `or`, `not`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER = "number"
TRUTH = "truth"


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation takes and gives; `takes` one kind an argument, or one for any number of them from two on."""

    takes: tuple[str, ...]
    gives: str
    sign: str = ""
    many: bool = False


OPERATIONS = {
    "add": Operation((NUMBER, NUMBER), NUMBER, "+"),
    "subtract": Operation((NUMBER, NUMBER), NUMBER, "-"),
    "multiply": Operation((NUMBER, NUMBER), NUMBER, "*"),
    "divide": Operation((NUMBER, NUMBER), NUMBER, "/"),
    "negate": Operation((NUMBER,), NUMBER, "-"),
    "less": Operation((NUMBER, NUMBER), TRUTH, "<"),
    "less_equal": Operation((NUMBER, NUMBER), TRUTH, "<="),
    "greater": Operation((NUMBER, NUMBER), TRUTH, ">"),
    "greater_equal": Operation((NUMBER, NUMBER), TRUTH, ">="),
    "equal": Operation((NUMBER, NUMBER), TRUTH, "=="),
    "not_equal": Operation((NUMBER, NUMBER), TRUTH, "!="),
    "and": Operation((TRUTH, TRUTH), TRUTH, "and"),
    "or": Operation((TRUTH, TRUTH), TRUTH, "or"),
    "not": Operation((TRUTH,), TRUTH, "not"),
    "if": Operation((TRUTH, NUMBER, NUMBER), NUMBER),
    "is_missing": Operation((NUMBER,), TRUTH),
    "coalesce": Operation((NUMBER,), NUMBER, many=True),
    "min": Operation((NUMBER,), NUMBER, many=True),
    "max": Operation((NUMBER,), NUMBER, many=True),
    "clip": Operation((NUMBER, NUMBER, NUMBER), NUMBER),
    "abs": Operation((NUMBER,), NUMBER),
    "floor": Operation((NUMBER,), NUMBER),
    "ceil": Operation((NUMBER,), NUMBER),
    "sqrt": Operation((NUMBER,), NUMBER),
    "log": Operation((NUMBER,), NUMBER),
    "exp": Operation((NUMBER,), NUMBER),
    "float32": Operation((NUMBER,), NUMBER),
}
"""By name. `coalesce` is its first argument that is not NaN; `min` and `max` of a NaN are NaN; `clip(x, low, high)` is
`min(max(x, low), high)`; a zero that these or `if` choose is positive. `float32` rounds to the nearest float32."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A number that the text gives."""

    value: float

    def __str__(self) -> str:
        """Return it as text that reads as the same number."""
        return repr(self.value)


@dataclass(frozen=True, slots=True)
class Operand:
    """A feature, by its whole name."""

    name: str

    def __str__(self) -> str:
        """Return its name."""
        return self.name


@dataclass(frozen=True, slots=True)
class Applied:
    """An operation on its arguments."""

    operation: str
    arguments: tuple[Expression, ...]

    def __str__(self) -> str:
        """Return it as text: equal for equal trees, whatever their text was."""
        return f"{self.operation}({', '.join(map(str, self.arguments))})"


Expression = Constant | Operand | Applied


def kind_of(expression: Expression) -> str:
    """Return whether an expression gives a number or a truth value."""
    return OPERATIONS[expression.operation].gives if isinstance(expression, Applied) else NUMBER


def operands_of(expression: Expression) -> tuple[str, ...]:
    """Return the features that an expression takes, each once, in the order in which it names them."""
    return tuple(dict.fromkeys(_operands(expression)))


def _operands(expression: Expression) -> Iterator[str]:
    if isinstance(expression, Operand):
        yield expression.name
    elif isinstance(expression, Applied):
        for argument in expression.arguments:
            yield from _operands(argument)
