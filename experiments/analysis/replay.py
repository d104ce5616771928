"""A/A by re-salting: units whose outcomes are known are split anew, so that there is no effect to be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.analysis.findings import NotEnoughData
from experiments.analysis.joint import JointMoments
from experiments.analysis.ratio import linearise
from experiments.analysis.welch import Stratum, contrast, fixed_interval
from experiments.bucketing import BUCKETS, seed_state
from experiments.crowd import buckets_after
from experiments.lazy_scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

REPLAYS_MIN = 20


@dataclass(frozen=True, slots=True)
class Replay:
    """What the test said of splits that cannot differ.

    Parameters
    ----------
    replays
        How many there were.
    false_claims
        In how many of them p was at most alpha.
    expected_p_value
        Of that many under a binomial with alpha: small when the test is wrong more or less often than it says.
    uniform_p_value
        Of the p-values being uniform, by Kolmogorov and Smirnov.
    """

    replays: int
    false_claims: int
    expected_p_value: float
    uniform_p_value: float


def buckets_of(seed: str, units: Sequence[str]) -> NDArray[np.int64]:
    """Return the bucket of each unit under a seed: `experiments.bucketing.bucket_of`, for many at once."""
    return np.array(buckets_after(seed_state(seed), units), np.int64)


def replay_aa(
    units: Sequence[str],
    rows: NDArray[np.float64],
    *,
    seeds: Sequence[str],
    alpha: float = 0.05,
    treatment_share: float = 0.5,
) -> Replay | NotEnoughData:
    """Return what the fixed test says of splits under other seeds, or why there is nothing to replay.

    Parameters
    ----------
    units, rows
        The units' ids, and of each its numerator and its denominator.
    seeds
        One for each replay.

    Notes
    -----
    The units' outcomes are what they are, so that the splits differ by chance alone: skewed values, clustered units and
    all else that real data have are in it. A replay that is wrong much more often than alpha says that the test's
    assumptions do not hold on these data; one that is wrong less often, that they waste power.

    References
    ----------
    R. Kohavi, D. Tang, Y. Xu, *Trustworthy Online Controlled Experiments* (2020), chapter 19.
    """
    if len(seeds) < REPLAYS_MIN:
        return NotEnoughData(f"{len(seeds)} replays say nothing; {REPLAYS_MIN} are the fewest")
    p_values: list[float] = []
    for seed in seeds:
        treated = buckets_of(seed, units) < treatment_share * BUCKETS
        control, treatment = (linearise(JointMoments.of(rows[mask])) for mask in (~treated, treated))
        if isinstance(control, NotEnoughData) or isinstance(treatment, NotEnoughData):
            return NotEnoughData(f"under the seed {seed!r} an arm has no unit to compare")
        found = contrast([Stratum(control, treatment)])
        if isinstance(found, NotEnoughData):
            return found
        p_values.append(fixed_interval(found, alpha=alpha).p_value)
    false_claims = sum(p_value <= alpha for p_value in p_values)
    return Replay(
        replays=len(p_values),
        false_claims=false_claims,
        expected_p_value=float(stats.binomtest(false_claims, len(p_values), alpha).pvalue),
        uniform_p_value=float(stats.kstest(p_values, "uniform").pvalue),
    )
