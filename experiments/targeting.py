"""Which calls an experiment is for: a condition on their attributes, checked at the door and compiled for the workers.

A condition is a small document, of values that JSON knows, with exactly one of these forms::

    {"attribute": "country", "equals": "DE"}
    {"attribute": "country", "in": ["DE", "FR"]}
    {"attribute": "city", "prefix": "San "}
    {"attribute": "age", "range": {"from": 18, "below": 65}}
    {"attribute": "app", "semver": {"from": "2.1.0", "below": "3.0.0"}}
    {"all": [...]}   {"any": [...]}   {"not": {...}}

An attribute that a call does not have satisfies none of the comparisons, and so does one that is not a number or not a
version where one is asked for; `not` turns that round, as it does any other answer. Loaded by every worker: nothing
heavy is imported here.

References
----------
*Semantic Versioning 2.0.0*, section 11: precedence, with pre-releases below their release; build metadata is ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from experiments.errors import TargetingInvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

CONDITIONS_MAX = 64
DEPTH_MAX = 8
VALUES_MAX = 1000
TEXT_CHARS_MAX = 256

Matches = Callable[[Mapping[str, str]], bool]
"""Says whether a call with these attributes is meant."""

_VERSION = re.compile(
    r"(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})"
    r"(?:-((?:0|[1-9][0-9]{0,9}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]{0,9}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z.-]+)?"
)
_Precedence = tuple[int, int, int, tuple[tuple[int, int, str], ...]]
_RELEASED = ((2, 0, ""),)
"""Stands above every pre-release: their identifiers begin with 0 or 1."""


def compile_condition(document: Mapping[str, Any]) -> Matches:
    """Return the function of a condition, or raise TargetingInvalidError."""
    _count(document, depth=1)
    return _compiled(document)


def precedence(text: str) -> _Precedence | None:
    """Return what orders semantic versions; None for what is none."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    major, minor, patch, pre = found.groups()
    order = _RELEASED if pre is None else tuple(_identifier(part) for part in pre.split("."))
    return int(major), int(minor), int(patch), order


def _identifier(part: str) -> tuple[int, int, str]:
    return (0, int(part), "") if part.isdigit() else (1, 0, part)


def _compiled(document: Mapping[str, Any]) -> Matches:
    if "attribute" in document:
        return _comparison(document)
    _require(len(document) == 1, f"a condition has one of all, any, not or attribute, not {_names(document)}")
    ((form, inner),) = document.items()
    if form == "not":
        negated = _compiled(_document(inner))
        return lambda attributes: not negated(attributes)
    _require(form in {"all", "any"}, f"a condition has one of all, any, not or attribute, not {_names(document)}")
    _require(isinstance(inner, list) and len(inner) > 0, f"{form!r} takes a list of at least one condition")
    parts = [_compiled(_document(each)) for each in inner]
    if form == "all":
        return lambda attributes: all(part(attributes) for part in parts)
    return lambda attributes: any(part(attributes) for part in parts)


def _comparison(document: Mapping[str, Any]) -> Matches:
    rest = dict(document)
    attribute = _text(rest.pop("attribute"), "an attribute's name")
    _require(bool(attribute), "an attribute's name is empty")
    _require(
        len(rest) == 1 and set(rest) <= _COMPARISONS.keys(),
        f"the condition on {attribute!r} has one of {', '.join(_COMPARISONS)}, not {_names(rest)}",
    )
    ((kind, operand),) = rest.items()
    return _COMPARISONS[kind](attribute, operand)


def _equals(attribute: str, operand: object) -> Matches:
    wanted = _text(operand, f"what {attribute!r} equals")
    return lambda attributes: attributes.get(attribute) == wanted


def _in(attribute: str, operand: object) -> Matches:
    _require(isinstance(operand, list) and 1 <= len(operand) <= VALUES_MAX, f"'in' takes 1 to {VALUES_MAX} texts")
    wanted = frozenset(_text(each, f"what {attribute!r} is in") for each in operand)  # type: ignore[attr-defined]
    return lambda attributes: attributes.get(attribute) in wanted


def _prefix(attribute: str, operand: object) -> Matches:
    wanted = _text(operand, f"what {attribute!r} begins with")
    _require(bool(wanted), "an empty prefix would match everything")

    def matches(attributes: Mapping[str, str]) -> bool:
        value = attributes.get(attribute)
        return value is not None and value.startswith(wanted)

    return matches


def _range(attribute: str, operand: object) -> Matches:
    lower, upper = _ends(attribute, operand, _bound)
    lowest = -math.inf if lower is None else lower
    highest = math.inf if upper is None else upper
    _require(lowest < highest, f"the range of {attribute!r} is empty")

    def matches(attributes: Mapping[str, str]) -> bool:
        value = attributes.get(attribute)
        if value is None:
            return False
        try:
            number = float(value)
        except ValueError:
            return False
        return math.isfinite(number) and lowest <= number < highest

    return matches


def _semver(attribute: str, operand: object) -> Matches:
    lower, upper = _ends(attribute, operand, _release)
    _require(lower is None or upper is None or lower < upper, f"the range of {attribute!r} is empty")

    def matches(attributes: Mapping[str, str]) -> bool:
        value = attributes.get(attribute)
        order = None if value is None else precedence(value)
        if order is None:
            return False
        return (lower is None or lower <= order) and (upper is None or order < upper)

    return matches


_COMPARISONS: Mapping[str, Callable[[str, object], Matches]] = {
    "equals": _equals,
    "in": _in,
    "prefix": _prefix,
    "range": _range,
    "semver": _semver,
}


def _ends(attribute: str, operand: object, read: Callable[[str, object], Any]) -> tuple[Any, Any]:
    """Return the ends of a range, from inclusive to exclusive; None where it is open."""
    ends = _document(operand)
    _require(
        bool(ends) and set(ends) <= {"from", "below"},
        f"the range of {attribute!r} takes 'from' (inclusive), 'below' (exclusive) or both",
    )
    return tuple(read(attribute, ends[key]) if key in ends else None for key in ("from", "below"))  # type: ignore[return-value]


def _bound(attribute: str, value: object) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    _require(good, f"an end of the range of {attribute!r} is {value!r}, not a finite number")
    return float(value)  # type: ignore[arg-type]


def _release(attribute: str, value: object) -> _Precedence:
    found = precedence(value) if isinstance(value, str) else None
    if found is None:
        raise TargetingInvalidError(f"{str(value)[:80]!r} for {attribute!r} is not a semantic version such as 2.1.0")
    return found


def _text(value: object, what: str) -> str:
    _require(isinstance(value, str), f"{what} is {str(value)[:80]!r}, not a text: attributes are texts")
    _require(len(value) <= TEXT_CHARS_MAX, f"{what} is longer than {TEXT_CHARS_MAX} characters")  # type: ignore[arg-type]
    return value  # type: ignore[return-value]


def _document(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TargetingInvalidError(f"a condition is an object, not {str(value)[:80]!r}")
    return value


def _names(document: Mapping[str, Any]) -> str:
    return " and ".join(str(each)[:80] for each in sorted(document)) or "nothing"


def _count(document: Mapping[str, Any], *, depth: int) -> int:
    """Return how many conditions there are, or raise where they are too many or too deep."""
    _require(depth <= DEPTH_MAX, f"conditions are nested more than {DEPTH_MAX} deep")
    inner: Sequence[object] = ()
    for form in ("all", "any"):
        if isinstance(document.get(form), list):
            inner = document[form]
    if isinstance(document.get("not"), Mapping):
        inner = [document["not"]]
    total = 1 + sum(_count(each, depth=depth + 1) for each in inner if isinstance(each, Mapping))
    _require(total <= CONDITIONS_MAX, f"there are more than {CONDITIONS_MAX} conditions")
    return total


def _require(holds: bool, sentence: str) -> None:  # noqa: FBT001  (a condition and what is wrong when it fails)
    if not holds:
        raise TargetingInvalidError(sentence)
