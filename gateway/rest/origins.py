"""Which sites' pages may call: what a browser asks before it lets a page (CORS), and what it is answered.

A browser says by `Origin` whose page calls; a page cannot make it say another's. A call that says one which is not
listed is refused, not only kept from the page: it would be a prediction, or an outcome, all the same. Nothing that a
browser sends by itself (cookies, certificates) counts for a page of another site.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway.web.told import Told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.web.told import Asked

ANY = "*"
"""Pages of all sites."""

ASKED_AGAIN_S = 7200
"""For how long a browser may remember what it was answered."""

_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_ALLOWED = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "*, Authorization",  # the star does not stand for it
    "Access-Control-Max-Age": str(ASKED_AGAIN_S),
}
_SHOWN = "ETag, Retry-After, WWW-Authenticate"


def origins_in(text: str) -> list[str]:
    """Return the origins that a setting lists, or raise ValueError with the first that is none."""
    found = [each.strip() for each in text.split(",") if each.strip()]
    for each in found:
        if each != ANY and not _ORIGIN.fullmatch(each):
            raise ValueError(each)
    return found


class Origins:
    """Says whether a page may call, and tells browsers.

    Parameters
    ----------
    listed
        The origins, `*` for all; empty: no page may.
    """

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = frozenset(listed)

    def refuses(self, asked: Asked) -> bool:
        """Return whether a page calls that may not."""
        origin = asked.headers.get("Origin")
        return origin is not None and not self._listed & {ANY, origin}

    @staticmethod
    def asks_first(asked: Asked) -> bool:
        """Return whether a browser asks before it lets a page call."""
        return asked.method == "OPTIONS" and "Access-Control-Request-Method" in asked.headers

    def answer(self, asked: Asked) -> Told:
        """Answer a browser that asks whether a page may call that may."""
        told = Told(status=HTTPStatus.NO_CONTENT, headers=dict(_ALLOWED))
        return self.marked(asked, told)

    def marked(self, asked: Asked, told: Told) -> Told:
        """Return an answer with what lets a browser show it to the page that asked."""
        if not self._listed:
            return told
        if ANY not in self._listed:
            told.headers["Vary"] = ", ".join(filter(None, (told.headers.get("Vary"), "Origin")))
        if "Origin" in asked.headers and not self.refuses(asked):
            told.headers["Access-Control-Allow-Origin"] = ANY if ANY in self._listed else asked.headers["Origin"]
            told.headers["Access-Control-Expose-Headers"] = _SHOWN
        return told
