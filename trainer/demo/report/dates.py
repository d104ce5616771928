"""Replayed time on an axis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000
_TICKS_MAX = 12


def moment_of(time_us: float) -> datetime:
    """Return the moment, in UTC."""
    return _EPOCH + timedelta(microseconds=int(time_us))


def day_text(time_us: float) -> str:
    """Return the day, for example `3 Jun`."""
    moment = moment_of(time_us)
    return f"{moment.day} {moment:%b}"


def day_ticks(low_us: float, high_us: float) -> list[float]:
    """Return midnights between two moments, so many that their names do not touch."""
    first, last = int(-(-low_us // _DAY_US)), int(high_us // _DAY_US)
    every = max(1, -(-(last - first + 1) // _TICKS_MAX))
    return [float(day * _DAY_US) for day in range(first, last + 1, every)]
