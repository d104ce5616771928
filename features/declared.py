"""What a definition file spells, before it is understood: its fields, and what a name may be."""

from __future__ import annotations

import re

import msgspec

from features.errors import DefinitionInvalidError

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
FEATURES_MAX = 4096
TAGS_MAX = 32
WORD_CHARS_MAX = 128


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
    type: str = ""
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
    owner: str = ""
    tags: list[str] = []


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
    owner: str = ""
    tags: list[str] = []


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


def tags_of(path: str, what: str, owner: str, tags: list[str]) -> tuple[str, ...]:
    """Return the tags in order, each once, or raise DefinitionInvalidError when they or the owner are too long."""
    require(len(owner) <= WORD_CHARS_MAX, path, f"{what}: owner has {WORD_CHARS_MAX} characters at most")
    require(len(tags) <= TAGS_MAX, path, f"{what}: has {TAGS_MAX} tags at most")
    for tag in tags:
        require(0 < len(tag) <= WORD_CHARS_MAX, path, f"{what}: a tag has 1 to {WORD_CHARS_MAX} characters")
    return tuple(sorted(set(tags)))
