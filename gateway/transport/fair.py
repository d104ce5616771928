"""Which calls make the next wave, and which are refused, where more wait than there is room for: fairly by kind.

A kind is what calls compete as, mostly the model that they name; the edge says it. Kinds that ask for less than an even
share of the room get all they ask for, and the others share evenly what is left. So a flood at one model neither makes
those wait who ask another, nor keeps them out. Where all that waits fits into one wave, nobody is looked at.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, MutableSequence

    from gateway.transport.port import Call, KindOf


def take_wave(waiting: MutableSequence[Call], calls_max: int, kind_of: KindOf) -> list[Call]:
    """Take the next wave out of the calls that wait, each kind in the order of its calls."""
    if len(waiting) <= calls_max:
        wave = list(waiting)
        waiting.clear()
        return wave
    shares = shares_of(Counter(map(kind_of, waiting)), calls_max)
    wave, rest = [], []
    for call in waiting:
        kind = kind_of(call)
        if shares[kind]:
            shares[kind] -= 1
            wave.append(call)
        else:
            rest.append(call)
    waiting.clear()
    waiting.extend(rest)
    return wave


def shares_of(asked: dict[Hashable, int], room: int) -> dict[Hashable, int]:
    """Return how much of the room each kind gets: even shares, where those that ask for less leave the rest to others.

    What cannot be divided goes to those that ask for the most.
    """
    shares = {}
    for left, kind in zip(range(len(asked), 0, -1), sorted(asked, key=asked.__getitem__), strict=True):
        shares[kind] = min(asked[kind], room // left)
        room -= shares[kind]
    return shares


class Rivals:
    """The calls that wait, counted by kind once somebody must be refused; for one thread at a time.

    Parameters
    ----------
    waiting
        The calls that wait. Whoever changes it says so by `forget`.
    kind_of
        What a call competes as.
    """

    def __init__(self, waiting: MutableSequence[Call], kind_of: KindOf) -> None:
        self._waiting = waiting
        self._kind_of = kind_of
        self._counts: Counter[Hashable] | None = None
        self._largest: Hashable = None

    def forget(self) -> None:
        """Forget the counts: other calls wait now."""
        self._counts = None

    def is_behind(self, call: Call) -> bool:
        """Return whether a call's kind, with it, would still have fewer waiting than another kind has."""
        counts = self._counted()
        return counts[self._kind_of(call)] + 1 < counts[self._largest]

    def displace(self, call: Call) -> Call:
        """Let a call wait whose kind is behind, and return the one that must go for it: the newest of the largest."""
        waiting, kind_of = self._waiting, self._kind_of
        for place in range(len(waiting) - 1, -1, -1):
            if kind_of(waiting[place]) == self._largest and not waiting[place].cancelled:
                displaced = waiting[place]
                del waiting[place]
                waiting.append(call)
                counts = self._counted()
                counts[self._largest] -= 1
                counts[kind_of(call)] += 1
                self._largest = max(counts, key=counts.__getitem__)
                return displaced
        return call

    def _counted(self) -> Counter[Hashable]:
        counts = self._counts
        if counts is None:
            self._counts = counts = Counter(self._kind_of(call) for call in self._waiting if not call.cancelled)
            self._largest = max(counts, key=counts.__getitem__, default=None)
        return counts
