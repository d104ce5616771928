"""What people may write about models and versions, and its bounds."""

from __future__ import annotations

from collections.abc import Mapping

from registry.errors import EtagMismatchError, FieldInvalidError

LABELS_MAX = 64
NAME_CHARS_MAX = 255
VALUE_CHARS_MAX = 4096
TEXT_CHARS_MAX = 65_536


def check_labels(what: str, labels: object) -> dict[str, str]:
    """Return tags or properties when they are within bounds, or raise FieldInvalidError."""
    if not isinstance(labels, Mapping) or len(labels) > LABELS_MAX:
        raise FieldInvalidError(f"`{what}` holds at most {LABELS_MAX} names with texts", field=what)
    for name, value in labels.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise FieldInvalidError(f"`{what}` holds texts by name", field=what)
        if not 1 <= len(name) <= NAME_CHARS_MAX or len(value) > VALUE_CHARS_MAX:
            raise FieldInvalidError(
                f"`{what}`: a name has 1 to {NAME_CHARS_MAX} characters, a value at most {VALUE_CHARS_MAX}", field=what
            )
    return dict(labels)


def check_text(what: str, text: object, *, chars_max: int = TEXT_CHARS_MAX) -> str:
    """Return a text when it is within its bound, or raise FieldInvalidError."""
    if not isinstance(text, str) or len(text) > chars_max:
        raise FieldInvalidError(f"`{what}` is a text of at most {chars_max} characters", field=what)
    return text


def check_etag(name: str, *, found: str, seen: str) -> None:
    """Raise EtagMismatchError when the caller has seen another etag than the present one; empty: not compared."""
    if seen and seen != found:
        raise EtagMismatchError(f"{name} was updated since you looked: look again", name=name, etag=found, seen=seen)
