"""What a search may try: ranges and choices for parameters of an estimator."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.records.policy import Search

TRIALS_MAX = 500
PARAMETERS_MAX = 16
CHOICES_MAX = 100
SPACE_CHARS_MAX = 16_384
_RANGE = {"low", "high", "log"}


def check_search(search: Search, refuse: Callable[[str, str], NoReturn]) -> None:
    """Refuse a search that is none."""
    if not 1 <= search.trials <= TRIALS_MAX:
        refuse("training.search.trials", f"is {search.trials}; it is 1 to {TRIALS_MAX}")
    if not 1 <= len(search.space) <= PARAMETERS_MAX or len(json.dumps(search.space)) > SPACE_CHARS_MAX:
        refuse(
            "training.search.space", f"has 1 to {PARAMETERS_MAX} parameters, of {SPACE_CHARS_MAX} characters at most"
        )
    for name, domain in search.space.items():
        problem = "is not the name of a parameter" if not name.isidentifier() else _problem(domain)
        if problem:
            refuse(f"training.search.space.{name[:64]}", problem)


def _problem(domain: Any) -> str:
    if domain.keys() == {"choices"}:
        choices = domain["choices"]
        plain = isinstance(choices, list) and all(isinstance(one, bool | int | float | str | None) for one in choices)
        return "" if plain and 1 <= len(choices) <= CHOICES_MAX else f"has 1 to {CHOICES_MAX} plain values as choices"
    if not {"low", "high"} <= domain.keys() <= _RANGE:
        return "is a range of `low` and `high`, perhaps with `log`, or has `choices`"
    low, high, log = domain["low"], domain["high"], domain.get("log", False)
    if not all(
        isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in (low, high)
    ):
        return "has ends that are numbers"
    if not isinstance(log, bool) or low > high or (log and low <= 0):
        return "has a low end that is not above the high one, and above 0 where `log` is true"
    return ""
