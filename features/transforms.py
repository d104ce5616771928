"""On-request transforms: columns of a set that are computed of its others, as pure expressions, when a call comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from features.errors import DefinitionInvalidError
from features.expression import TRUTH, Expression, kind_of, operands_of
from features.expression_text import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TRANSFORM = "transform"
TYPES = ("float64", "float32", "bool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """A column that is computed.

    Attributes
    ----------
    name
        Unique in its set, which calls it `transform.name`.
    expression
        Its text.
    type
        `float64`; `float32`: rounded to it; `bool`: of an expression that gives a truth value, which becomes 1 or 0.
    description
        What it is.
    tree
        What the text says.
    """

    name: str
    expression: str
    type: str = "float64"
    description: str = ""
    tree: Expression = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the text, or raise DefinitionInvalidError."""
        if self.type not in TYPES:
            raise DefinitionInvalidError(f"transform {self.name}: type is one of {', '.join(TYPES)}, not {self.type!r}")
        try:
            tree = parse(self.expression)
        except DefinitionInvalidError as error:
            raise DefinitionInvalidError(f"transform {self.name}: {error.message}", **error.facts) from error
        if (kind_of(tree) == TRUTH) != (self.type == "bool"):
            raise DefinitionInvalidError(
                f"transform {self.name}: its expression gives a {kind_of(tree)} value, which is no {self.type}"
            )
        object.__setattr__(self, "tree", tree)

    @property
    def column(self) -> str:
        """Return its whole name."""
        return f"{TRANSFORM}.{self.name}"

    @property
    def operands(self) -> tuple[str, ...]:
        """Return the features that it takes."""
        return operands_of(self.tree)

    @property
    def meaning(self) -> list[str]:
        """Return all that changes its value; spaces and words about it do not."""
        return [self.name, self.type, str(self.tree)]

    def document(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            "name": self.name,
            "expression": self.expression,
            "type": self.type,
            "description": self.description,
        }


def transforms_of(documents: Iterable[Mapping[str, Any]]) -> tuple[Transform, ...]:
    """Return what documents of `Transform.document` describe."""
    return tuple(Transform(**document) for document in documents)


def operands_beside(features: Sequence[str], transforms: Sequence[Transform]) -> tuple[str, ...]:
    """Return what is read for the transforms alone: no input of the model, in the order in which they name it."""
    taken = dict.fromkeys(name for transform in transforms for name in transform.operands)
    return tuple(name for name in taken if name not in features)


def is_computed(feature: str) -> bool:
    """Return whether a feature of a set is one of its transforms."""
    return feature.startswith(TRANSFORM + ".")
