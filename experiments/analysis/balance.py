"""Whether the arms are alike in what the treatment cannot have touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData
from experiments.analysis.sequence import sequence_interval
from experiments.analysis.welch import contrast, fixed_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.analysis.welch import Stratum

IMBALANCE_BELOW = 0.001


@dataclass(frozen=True, slots=True)
class BalanceCheck:
    """One thing in which the arms should be alike.

    Parameters
    ----------
    what, variant
        What was compared, and which treatment with the control.
    control_mean, treatment_mean, p_value
        What was found; NaN-free: without a finding `reason` says why.
    imbalance
        Whether the arms differ: p below 0.001.
    reason
        Why it could not be checked; empty when it was.
    """

    what: str
    variant: str
    control_mean: float = 0.0
    treatment_mean: float = 0.0
    p_value: float = 1.0
    imbalance: bool = False
    reason: str = ""


def check_balance(what: str, variant: str, strata: Sequence[Stratum], *, watched: bool) -> BalanceCheck:
    """Return whether two arms have the same mean of something that came before the treatment.

    Parameters
    ----------
    what
        For example a covariate, or the age of the features: a treatment whose features are fresher wins by that alone.
    strata
        One for each epoch.
    watched
        Whether one looks again and again.

    Notes
    -----
    Welch's test at 0.001 within epochs, or the confidence sequence at 0.001 where one looks again and again: one in a
    thousand right experiments is called imbalanced.
    """
    found = contrast(strata)
    if isinstance(found, NotEnoughData):
        return BalanceCheck(what, variant, reason=found.reason)
    judged = sequence_interval if watched else fixed_interval
    p_value = judged(found, alpha=IMBALANCE_BELOW).p_value
    return BalanceCheck(
        what, variant, found.control_mean, found.treatment_mean, p_value, imbalance=p_value < IMBALANCE_BELOW
    )
