"""How long something lasts, in words."""

from __future__ import annotations

_UNITS_S = (("d", 86_400), ("h", 3_600), ("min", 60))


def lasting(time_us: int) -> str:
    """Return a time in the unit that suits it, for example `20.7 d`; times of less than two minutes are in seconds."""
    seconds = time_us / 1e6
    for name, size in _UNITS_S:
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"
