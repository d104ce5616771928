"""Time on an axis, in microseconds since the Unix epoch, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
_STEPS_S = (1, 5, 15, 60, 300, 900, 3_600, 10_800, 21_600, 43_200, 86_400)
_TICKS_MAX = 12


def moment_of(time_us: float) -> datetime:
    """Return the moment, in UTC."""
    return _EPOCH + timedelta(microseconds=int(time_us))


def day_text(time_us: float) -> str:
    """Return the day of a moment, for example `3 Jun`."""
    moment = moment_of(time_us)
    return f"{moment.day} {moment:%b}"


def time_text(time_us: float) -> str:
    """Return a midnight as its day, for example `3 Jun`, and any other moment as its time, for example `14:30`."""
    moment = moment_of(time_us)
    if not time_us % _DAY_US:
        return day_text(time_us)
    return f"{moment:%H:%M}" if not moment.second else f"{moment:%H:%M:%S}"


def time_ticks(low_us: float, high_us: float) -> list[float]:
    """Return round moments between two, so many that their names do not touch."""
    reach_s = max(high_us - low_us, 0) / _SECOND_US
    step_s = next((step for step in _STEPS_S if reach_s / step < _TICKS_MAX), _STEPS_S[-1])
    step_us = step_s * _SECOND_US
    first, last = int(-(-low_us // step_us)), int(high_us // step_us)
    every = max(1, -(-(last - first + 1) // _TICKS_MAX))
    return [float(at * step_us) for at in range(first, last + 1, every)]
