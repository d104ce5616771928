"""What the chains say together: where each segment's records are in the bucket, and which erasures hold where."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.journal.rewriting import Subject
    from gateway.journal.shared.chains import Chains
    from gateway.journal.shared.entries import Entry, Shipped, ShippedPart


@dataclass(frozen=True, slots=True)
class SharedErasure:
    """An erasure that a gateway asked all of them for, by the entry that says so."""

    gateway: str
    number: int
    subject: Subject


class Index:
    """What is known of the chains, kept up with them.

    Attributes
    ----------
    shipped
        Each segment that is in the bucket, and the gateway that put it there.
    erasures
        All that were asked for.
    done
        For each erasure, by its entry, the gateways whose shipped events it holds for, and the predictions that went.
    """

    def __init__(self, chains: Chains) -> None:
        self._chains = chains
        self._seen: dict[str, int] = defaultdict(int)
        self._replaced: dict[str, ShippedPart | None] = {}
        self.shipped: dict[str, tuple[str, Shipped]] = {}
        self.erasures: list[SharedErasure] = []
        self.done: dict[tuple[str, int], dict[str, set[str]]] = defaultdict(dict)

    def refresh(self) -> None:
        """Take in the entries that are known by now."""
        for gateway in self._chains.names():
            entries = self._chains.entries(gateway)
            for number in range(self._seen[gateway], len(entries)):
                self._take(gateway, number + 1, entries[number])
            self._seen[gateway] = len(entries)

    def parts(self, shipped: Shipped) -> list[ShippedPart]:
        """Return where a segment's records are now."""
        found = (self.now(part) for part in shipped.parts)
        return [part for part in found if part is not None]

    def now(self, part: ShippedPart) -> ShippedPart | None:
        """Return what stands in a part's place by now; None when nothing of it was left."""
        current: ShippedPart | None = part
        while current is not None and current.key in self._replaced:
            current = self._replaced[current.key]
        return current

    def replaced_keys(self, gateway: str) -> list[str]:
        """Return the keys of what a gateway replaced: they are to be removed."""
        entries = self._chains.entries(gateway)
        erased = [each.key for entry in entries if entry.done is not None for each in entry.done.replaced]
        return erased + [key for entry in entries for key in entry.retired]

    def requests(self, erasure: SharedErasure) -> set[str]:
        """Return the predictions that went by an erasure, as far as any gateway has said."""
        return set[str]().union(*self.done[erasure.gateway, erasure.number].values())

    def open_for(self, gateway: str) -> list[SharedErasure]:
        """Return the erasures that do not hold, or not for all that is known, for what a gateway shipped."""
        return [
            erasure
            for erasure in self.erasures
            if gateway not in self.done[erasure.gateway, erasure.number]
            or not self.requests(erasure) <= self.done[erasure.gateway, erasure.number][gateway]
        ]

    def _take(self, gateway: str, number: int, entry: Entry) -> None:
        for shipped in entry.shipped:
            self.shipped.setdefault(shipped.segment, (gateway, shipped))
        if entry.erasure is not None:
            self.erasures.append(SharedErasure(gateway, number, entry.erasure))
        if entry.done is not None:
            holds = self.done[entry.done.gateway, entry.done.number]
            holds[gateway] = holds.get(gateway, set()) | set(entry.done.requests)
            self._replaced |= {each.key: each.by for each in entry.done.replaced}
        self._replaced |= dict.fromkeys(entry.retired)
