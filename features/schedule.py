"""When a view is due: by an interval, or by a cron expression in UTC."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

from croniter import croniter

_TTL = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)
_UNIT_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_CRON_FIELDS = 5
_CRON_CHARS_MAX = 128
_JITTER_US_MAX = 60_000_000
_JITTER_PART = 10


def ttl_us_of(text: str) -> int | None:
    """Return the microseconds that `30s`, `5m`, `12h` or `14d` stand for, 0 for an empty text, None for another."""
    if not text:
        return 0
    match = _TTL.fullmatch(text)
    return None if match is None else int(match[1]) * _UNIT_US[match[2]]


def refresh_is_valid(refresh: str) -> bool:
    """Return whether a text is empty, an interval or a cron expression of five fields."""
    if ttl_us_of(refresh) is not None:
        return True
    return len(refresh) <= _CRON_CHARS_MAX and len(refresh.split()) == _CRON_FIELDS and bool(croniter.is_valid(refresh))


def due_us(refresh: str, *, view: str, last_us: int | None) -> int | None:
    """Return when a view is due that was last materialized as of `last_us`; None for never, 0 for at once.

    Each view is due a little later than its schedule says, by a time of its own (a tenth of the interval, a minute at
    the most), so that those of one schedule do not all come at once.
    """
    if not refresh:
        return None
    if last_us is None:
        return 0
    interval_us = ttl_us_of(refresh)
    if interval_us is None:
        last = datetime.fromtimestamp(last_us / 1e6, UTC)
        after: datetime = croniter(refresh, last).get_next(datetime)
        later: datetime = croniter(refresh, after).get_next(datetime)
        next_us, interval_us = int(after.timestamp() * 1e6), int((later - after).total_seconds() * 1e6)
    else:
        next_us = last_us + interval_us
    return next_us + _share(view) * min(interval_us // _JITTER_PART, _JITTER_US_MAX) // 256


def _share(view: str) -> int:
    """Return a number below 256 of a name's own."""
    return hashlib.sha256(view.encode()).digest()[0]
