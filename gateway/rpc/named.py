"""Which model a request is for, by its first bytes: for calls that may be refused before anybody reads them."""

from __future__ import annotations

_FIRST_FIELD = 0x0A
"""The tag of a field of bytes with the number 1. Both protocols name the model there, and everybody writes it first."""
_MORE = 0x80


def model_named_by(payload: bytes, *, nested: bool = False) -> str:
    """Return the model that a request names, or the request within a message; empty where one cannot tell."""
    try:
        at = 0
        if nested:
            while payload[at + 1] & _MORE:
                at += 1
            at += 2
        if payload[at] != _FIRST_FIELD or payload[at + 1] & _MORE:
            return ""
        return payload[at + 2 : at + 2 + payload[at + 1]].decode("utf-8", "replace")
    except IndexError:
        return ""
