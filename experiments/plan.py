"""How an experiment is judged: what was settled before anyone looked."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from experiments.errors import ExperimentInvalidError

LOOKS_MAX = 50
DEFAULT_LOOKS = 5
UNITS_MAX = 10**12
NAME_CHARS_MAX = 256
TIME_US_MAX = 2**62


class Method(enum.StrEnum):
    """How often one may look, and so how far an estimate must be from nothing."""

    FIXED = "fixed"
    SEQUENCE = "sequence"
    GROUP_SEQUENTIAL = "group_sequential"


class Spending(enum.StrEnum):
    """How alpha is spread over the looks of a group sequential test."""

    OBRIEN_FLEMING = "obrien_fleming"
    POWER = "power"


class Correction(enum.StrEnum):
    """What is promised of several claims together."""

    HOLM = "holm"
    HOCHBERG = "hochberg"
    BENJAMINI_HOCHBERG = "benjamini_hochberg"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Plan:
    """How an experiment is judged.

    Parameters
    ----------
    method
        None: group sequential when `planned_units` says how many units will come, else a confidence sequence.
    correction
        Over the success metrics and treatments.
    planned_units
        The units of all arms with outcomes, at which it is to end; 0: not known.
    looks, spending
        Of a group sequential test.
    stratify_by
        The attribute of a call whose values are strata; empty: none.
    planned_end_us
        When it is to end, in microseconds since the Unix epoch; 0: not planned. What is not settled then is stopped.
    """

    method: Method | None = None
    correction: Correction = Correction.HOLM
    planned_units: int = 0
    looks: int = DEFAULT_LOOKS
    spending: Spending = Spending.OBRIEN_FLEMING
    stratify_by: str = ""
    planned_end_us: int = 0

    @property
    def settled_method(self) -> Method:
        """The method, with the default applied."""
        if self.method is not None:
            return self.method
        return Method.GROUP_SEQUENTIAL if self.planned_units else Method.SEQUENCE


def validate_plan(plan: Plan) -> None:
    """Raise ExperimentInvalidError unless the plan keeps every rule."""
    if not 0 <= plan.planned_units <= UNITS_MAX:
        raise ExperimentInvalidError(f"planned_units is {plan.planned_units}, not from 0 to {UNITS_MAX}")
    if not 1 <= plan.looks <= LOOKS_MAX:
        raise ExperimentInvalidError(f"looks is {plan.looks}, not from 1 to {LOOKS_MAX}")
    if not 0 <= plan.planned_end_us <= TIME_US_MAX:
        raise ExperimentInvalidError(f"planned_end_us is {plan.planned_end_us}, which is no time")
    if plan.method is Method.GROUP_SEQUENTIAL and not plan.planned_units:
        raise ExperimentInvalidError(
            "a group sequential test needs planned_units: alpha is spent by the part of them that has come"
        )
    if len(plan.stratify_by) > NAME_CHARS_MAX:
        raise ExperimentInvalidError(f"stratify_by is longer than {NAME_CHARS_MAX} characters")
