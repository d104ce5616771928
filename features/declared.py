"""What a definition file spells, before it is understood: its fields, and what a name may be."""

from __future__ import annotations

import re

import msgspec

from features.errors import DefinitionInvalidError

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
FEATURES_MAX = 4096


class SourceText(msgspec.Struct, forbid_unknown_fields=True):
    """A source as a file spells it."""

    name: str
    kind: str
    path: str
    null_text: str = ""
    table: str = ""


class FeatureText(msgspec.Struct, forbid_unknown_fields=True):
    """A feature of a view as a file spells it."""

    name: str
    default: float | None = None
    description: str = ""


class ViewText(msgspec.Struct, forbid_unknown_fields=True):
    """A view as a file spells it."""

    name: str
    join_keys: list[str]
    features: list[FeatureText]
    sql: str = ""
    python: str = ""
    inputs: list[str] = []
    ttl: str = ""
    refresh: str = ""
    description: str = ""


class RequestText(msgspec.Struct, forbid_unknown_fields=True):
    """A default of a request feature as a file spells it."""

    name: str
    default: float


class TransformText(msgspec.Struct, forbid_unknown_fields=True):
    """A transform of a set as a file spells it."""

    name: str
    expression: str
    type: str = "float64"
    description: str = ""


class SetText(msgspec.Struct, forbid_unknown_fields=True):
    """A set as a file spells it."""

    name: str
    features: list[str]
    request: list[RequestText] = []
    transform: list[TransformText] = []
    stale_up_to: str = ""
    refuse: list[str] = []
    description: str = ""


class FileText(msgspec.Struct, forbid_unknown_fields=True):
    """All that one file declares."""

    source: list[SourceText] = []
    view: list[ViewText] = []
    set: list[SetText] = []


def require(condition: object, path: str, message: str) -> None:
    """Raise DefinitionInvalidError with the file unless the condition holds."""
    if not condition:
        raise DefinitionInvalidError(f"{path}: {message}", path=path)


def named(path: str, kind: str, name: str) -> str:
    """Return the name, or raise DefinitionInvalidError unless it is one that a view or a set may have."""
    require(
        NAME.fullmatch(name),
        path,
        f"{kind} {name!r}: a name is 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter",
    )
    return name
