"""What models and aliases may be called."""

from __future__ import annotations

import re

from registry.errors import NameInvalidError

_GRAMMAR = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_NUMBER_LIKE = re.compile(r"v[0-9]+")
RESERVED_ALIASES = frozenset({"latest"})


def check_model_id(name: str) -> str:
    """Return the name when a model may have it, or raise NameInvalidError."""
    return _checked(name, "model id")


def check_webhook_id(name: str) -> str:
    """Return the name when a webhook may have it, or raise NameInvalidError."""
    return _checked(name, "webhook's name")


def check_alias(name: str) -> str:
    """Return the name when an alias may have it, or raise NameInvalidError."""
    if name in RESERVED_ALIASES:
        raise NameInvalidError(f"{name!r} cannot be an alias: it always means the newest version", name=name)
    if _NUMBER_LIKE.fullmatch(name):
        raise NameInvalidError(f"{name!r} cannot be an alias: it reads like a version's number", name=name)
    return _checked(name, "alias")


def _checked(name: str, what: str) -> str:
    if _GRAMMAR.fullmatch(name) is None:
        raise NameInvalidError(
            f"{name[:80]!r} cannot be a {what}: 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter",
            name=name[:80],
        )
    return name
