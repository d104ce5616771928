"""Values of the contract as words."""

from __future__ import annotations

import re
from typing import Any

_P_MIN = 1e-12
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def enum_words(enum: Any, number: int) -> str:
    """Return an enumeration's value as words: `not enough data` for `RECOMMENDATION_STATUS_NOT_ENOUGH_DATA`."""
    value = enum.DESCRIPTOR.values_by_number.get(number)
    if value is None:
        return str(number)
    name: str = value.name
    return name.removeprefix(_HUMP.sub("_", enum.DESCRIPTOR.name).upper() + "_").replace("_", " ").lower()


def p_text(p_value: float) -> str:
    """Return a p-value in few digits; one so small that its digits say nothing as its bound."""
    return f"{p_value:.3g}" if p_value >= _P_MIN else f"< {_P_MIN:g}"
