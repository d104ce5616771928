"""Pages: how many items one has, and the opaque token that says where the next one begins."""

from __future__ import annotations

import base64
import binascii

from gateway.errors import RequestMalformedError

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1000


def page_size(asked: int) -> int:
    """Return how many items the page has: 0 means 100, more than 1 000 means 1 000, or raise RequestMalformedError."""
    if asked < 0:
        raise RequestMalformedError(f"page_size is {asked}; it cannot be negative", page_size=asked)
    return min(asked or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def token_for(key: str | int) -> str:
    """Return the token of the page that begins after the item of this key."""
    return base64.urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def text_after(token: str) -> str:
    """Return the text that the page begins after, empty for the first page; or raise RequestMalformedError."""
    try:
        padded = token + "=" * (-len(token) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise _foreign() from error


def number_after(token: str) -> int | None:
    """Return the number that the page begins after, None for the first page; or raise RequestMalformedError."""
    text = text_after(token)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < len(str(2**63))):
        raise _foreign()
    return int(text)


def _foreign() -> RequestMalformedError:
    return RequestMalformedError("page_token is not one that this method gave; begin again without it")
