"""Visits that belong together: who has signed in, what a visitor is to be told next, and the seal of its forms."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

SESSIONS_MAX = 1024
"""How many sessions are kept; the one that was used longest ago goes first."""
SESSION_S_MAX = 12 * 3600.0
"""How long a session lasts that nobody uses."""
_KEY_BYTES = 32
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")

T = TypeVar("T")
News = tuple[str, bool]
"""What is told, and whether it went well."""


@dataclass(frozen=True, slots=True)
class Session:
    """One visitor's.

    Attributes
    ----------
    key
        What its cookie holds.
    authorization
        What is shown to the services for the visitor; None: nothing.
    """

    key: str
    authorization: str | None = None


class Sessions:
    """The sessions of a console, which end with it.

    Of a visitor who has not signed in nothing is kept: strangers cannot push out those who have.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(_KEY_BYTES)
        self._lock = threading.Lock()
        self._signed: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._news: OrderedDict[str, News] = OrderedDict()

    def find(self, key: str) -> Session | None:
        """Return the session of a cookie; None when it is not one that was given."""
        if _KEY.fullmatch(key) is None:
            return None
        now = time.monotonic()
        with self._lock:
            authorization, used_at = self._signed.get(key, (None, now))
            if authorization is None:
                return Session(key)
            if now - used_at > SESSION_S_MAX:
                del self._signed[key]
                return None
            self._signed[key] = (authorization, now)
            self._signed.move_to_end(key)
            return Session(key, authorization)

    def begin(self, authorization: str | None = None) -> Session:
        """Return a new session."""
        session = Session(secrets.token_urlsafe(_KEY_BYTES), authorization)
        if authorization is not None:
            with self._lock:
                _put(self._signed, session.key, (authorization, time.monotonic()))
        return session

    def end(self, session: Session) -> None:
        """Forget a session."""
        with self._lock:
            self._signed.pop(session.key, None)
            self._news.pop(session.key, None)

    def tell(self, session: Session, words: str, *, good: bool) -> None:
        """Remember what is told on the visitor's next page, and whether it went well."""
        with self._lock:
            _put(self._news, session.key, (words, good))

    def take_news(self, session: Session) -> News | None:
        """Return what is to be told, once."""
        with self._lock:
            return self._news.pop(session.key, None)

    def seal(self, session: Session) -> str:
        """Return what the forms of a session carry: nobody else can tell it."""
        return hmac.new(self._secret, session.key.encode(), hashlib.sha256).hexdigest()

    def is_sealed(self, session: Session, seal: str) -> bool:
        """Return whether a form was this session's."""
        return hmac.compare_digest(self.seal(session).encode(), seal.encode())


def _put(held: OrderedDict[str, T], key: str, value: T) -> None:
    held[key] = value
    while len(held) > SESSIONS_MAX:
        held.popitem(last=False)
