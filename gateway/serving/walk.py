"""The calls of a wave that go on together, and how they are divided."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from gateway.models.slots import Slot
    from gateway.serving.request import Request
    from gateway.serving.table import Target

Groups = dict["Target", list["Request"]]
"""The calls of a wave by what answers them."""


class Share:
    """The calls of a wave that one version answers; it is leased for them.

    Attributes
    ----------
    slot
        The version.
    requests
        At least one.
    matrix
        The input that the feature set fills, a row a call, where that is all the graph takes; else None, and each call
        has its own feeds.
    """

    __slots__ = ("matrix", "requests", "slot")

    def __init__(self, slot: Slot, requests: list[Request]) -> None:
        self.slot = slot
        self.requests = requests
        self.matrix: np.ndarray | None = None

    def readers(self) -> list[Request]:
        """Return the calls whose input is filled from the store."""
        slot = self.slot
        if slot.plan is None:
            return []
        name = slot.feature_input
        return [request for request in self.requests if request.feeds is None or name not in request.feeds]

    def take(self, readers: Sequence[Request], values: np.ndarray) -> None:
        """Take over the rows that were read for some of the calls."""
        rows = values.astype(self.slot.feature_dtype)
        if len(readers) == len(self.requests) and all(request.feeds is None for request in readers):
            self.matrix = rows
            return
        for at, request in enumerate(readers):
            feeds = request.feeds or {}
            feeds[self.slot.feature_input] = rows[at : at + 1]
            request.feeds = feeds

    def drop_failed(self) -> None:
        """Let go of the calls that have left the wave."""
        stay = [request.error is None for request in self.requests]
        if all(stay):
            return
        if self.matrix is not None:
            self.matrix = self.matrix[stay]
        self.requests = [request for request in self.requests if request.error is None]


def shares_of(groups: Groups) -> list[Share]:
    """Return the calls by the version that answers them: several targets may have one."""
    shares: dict[Slot, Share] = {}
    for target, requests in groups.items():
        share = shares.get(target.slot)
        if share is None:
            shares[target.slot] = Share(target.slot, requests)
        else:
            share.requests = share.requests + requests
    return list(shares.values())
