"""Which of the 10 000 slots belongs to which variant, and how few of them move when the shares change.

A new experiment's slots are GrowthBook's ranges: variant *i* owns ``[cum_i, cum_i + coverage * share_i)`` of [0, 1),
where ``cum_i`` sums the shares before it. So a greater coverage only ever adds slots to each variant: nobody moves.

When the shares change, the slots that are in the experiment stay in it, and exactly as many change hands as the
variants' counts differ: the total-variation distance between the two splits, the least that any re-split can move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from experiments.bucketing import BUCKETS
from experiments.errors import SharesInvalidError, ShareTooSmallError

if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODY = -1
SHARE_TOLERANCE = 1e-9
# How far a number of slots may be from a whole one through rounding of the shares alone.
_SLOT_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Allocation:
    """The slots under one split.

    Parameters
    ----------
    epoch
        Counts the splits that were in force, from 1.
    shares
        What was asked for, in the order of the variants.
    runs
        (first slot, number of slots, position of the variant), ascending; slots in no run are in no experiment.
    """

    epoch: int
    shares: tuple[float, ...]
    runs: tuple[tuple[int, int, int], ...]

    def slots(self) -> list[int]:
        """Return the owner of each slot: a variant's position, or -1."""
        owners = [NOBODY] * BUCKETS
        for first, length, owner in self.runs:
            owners[first : first + length] = [owner] * length
        return owners

    def counts(self) -> tuple[int, ...]:
        """Return how many slots each variant has."""
        totals = [0] * len(self.shares)
        for _, length, owner in self.runs:
            totals[owner] += length
        return tuple(totals)

    def propensities(self) -> tuple[float, ...]:
        """Return the probability of each variant for a unit that is in the experiment; they sum to 1."""
        counts = self.counts()
        return tuple(count / sum(counts) for count in counts)


def check_shares(shares: Sequence[float]) -> None:
    """Raise SharesInvalidError unless the shares are finite, in [0, 1], and sum to 1 within 1e-9."""
    for share in shares:
        if not (math.isfinite(share) and 0 <= share <= 1):
            raise SharesInvalidError(f"the share {share} is not in [0, 1]", share=share)
    total = math.fsum(shares)
    if abs(total - 1) > SHARE_TOLERANCE:
        raise SharesInvalidError(f"the shares sum to {total!r}, not to 1; they are not rescaled", total=repr(total))


def allocate(shares: Sequence[float], *, coverage: float) -> Allocation:
    """Return the first epoch's slots by GrowthBook's ranges.

    Parameters
    ----------
    shares
        One for each variant; they sum to 1.
    coverage
        The part of all units that is in the experiment, in (0, 1].

    Raises
    ------
    SharesInvalidError
        The shares or the coverage are not what they must be.
    ShareTooSmallError
        A share is above zero and covers no slot.
    """
    check_shares(shares)
    if not (math.isfinite(coverage) and 0 < coverage <= 1):
        raise SharesInvalidError(f"the coverage {coverage} is not in (0, 1]", coverage=coverage)
    owners = [NOBODY] * BUCKETS
    start = 0.0
    for position, share in enumerate(shares):
        end = start + coverage * share
        # The comparison is GrowthBook's, in floating point, so that a slot on an edge goes the same way in both.
        for slot in range(max(0, int(start * BUCKETS) - 1), min(BUCKETS, int(end * BUCKETS) + 2)):
            if start <= slot / BUCKETS < end:
                owners[slot] = position
        start += share
    return _packed(owners, shares=shares, epoch=1)


def resplit(present: Allocation, shares: Sequence[float]) -> Allocation:
    """Return the next epoch's slots under new shares, with as few slots moved as can be.

    Each variant's count is its share of the slots that are in the experiment, rounded down or up to a whole slot
    (towards what it has now where both are possible); a variant that must shrink gives its highest slots.

    Raises
    ------
    SharesInvalidError
        The shares are not a split, or not one for each variant.
    ShareTooSmallError
        A share is above zero and comes to no slot.
    """
    check_shares(shares)
    if len(shares) != len(present.shares):
        raise SharesInvalidError(f"{len(shares)} shares were given for {len(present.shares)} variants")
    owners = present.slots()
    before = present.counts()
    after = before if tuple(shares) == present.shares else _apportion(shares, before)
    given: list[int] = []
    for position, (had, gets) in enumerate(zip(before, after, strict=True)):
        if gets < had:
            own = [slot for slot, owner in enumerate(owners) if owner == position]
            given += own[gets:]
    free = iter(sorted(given))
    for position, (had, gets) in enumerate(zip(before, after, strict=True)):
        for _ in range(gets - had):
            owners[next(free)] = position
    return _packed(owners, shares=shares, epoch=present.epoch + 1)


def grow(present: Allocation, *, coverage: float) -> Allocation:
    """Return the next epoch's slots under a greater coverage and the same shares: nobody who is in it moves.

    Where no split was changed yet these are GrowthBook's ranges; else each variant gets as many of the free slots,
    the lowest first, as its share of the new number wants.

    Raises
    ------
    SharesInvalidError
        The coverage is not in (0, 1], or less than the present one: units would have to leave.
    """
    ranges = allocate(present.shares, coverage=coverage)
    owners = present.slots()
    if all(old in {NOBODY, new} for old, new in zip(owners, ranges.slots(), strict=True)):
        return _packed(ranges.slots(), shares=present.shares, epoch=present.epoch + 1)
    had = present.counts()
    missing = sum(ranges.counts()) - sum(had)
    if missing < 0:
        raise SharesInvalidError(f"the coverage cannot shrink to {coverage}: units would have to leave the experiment")
    total, counts = sum(had) + missing, list(had)
    for slot in [slot for slot, owner in enumerate(owners) if owner == NOBODY][:missing]:
        # Who is furthest below its share gets the next.
        position = max(range(len(counts)), key=lambda i: (present.shares[i] * total - counts[i], -i))
        counts[position] += 1
        owners[slot] = position
    return _packed(owners, shares=present.shares, epoch=present.epoch + 1)


def reshape(present: Allocation, *, coverage: float, shares: Sequence[float]) -> Allocation:
    """Return the next epoch's slots under other shares and, where that is greater, another coverage.

    New slots go to who is furthest below its new share, so that as few as can be change hands, and none where the
    shares stay.

    Raises
    ------
    SharesInvalidError, ShareTooSmallError
        As `resplit` and `grow`.
    """
    after = present
    if coverage * BUCKETS > sum(present.counts()):
        after = grow(replace(present, shares=tuple(shares)), coverage=coverage)
        after = replace(after, shares=present.shares)
    if tuple(shares) != present.shares:
        after = resplit(after, shares)
    return replace(after, epoch=present.epoch + 1)


def moved_share(before: Allocation, after: Allocation) -> float:
    """Return the part of the experiment's slots whose variant is another in `after` than in `before`."""
    pairs = [(old, new) for old, new in zip(before.slots(), after.slots(), strict=True) if old != NOBODY]
    return sum(old != new for old, new in pairs) / len(pairs)


def _apportion(shares: Sequence[float], before: Sequence[int]) -> list[int]:
    """Return whole numbers of slots that sum to what there is, each its exact quota rounded down or up."""
    total = sum(before)
    quotas = [share * total for share in shares]
    counts = [math.floor(quota + _SLOT_TOLERANCE) for quota in quotas]
    remainders = [quota - count for quota, count in zip(quotas, counts, strict=True)]
    unfinished = [i for i, remainder in enumerate(remainders) if remainder > _SLOT_TOLERANCE]
    # Who has more than the lower number already keeps it; then the greatest remainder, then the first.
    unfinished.sort(key=lambda i: (before[i] <= counts[i], -remainders[i], i))
    for i in unfinished[: total - sum(counts)]:
        counts[i] += 1
    return counts


def _packed(owners: Sequence[int], *, shares: Sequence[float], epoch: int) -> Allocation:
    """Return the allocation of these slots, or raise ShareTooSmallError."""
    runs: list[tuple[int, int, int]] = []
    first = 0
    for owner, group in groupby(owners):
        length = len(list(group))
        if owner != NOBODY:
            runs.append((first, length, owner))
        first += length
    allocation = Allocation(epoch=epoch, shares=tuple(shares), runs=tuple(runs))
    for share, count in zip(shares, allocation.counts(), strict=True):
        if share > 0 and count == 0:
            raise ShareTooSmallError(
                f"the share {share} is less than one of {BUCKETS} slots: its variant would never get a unit",
                share=share,
            )
    return allocation
