"""Who may pass at the data plane's edge: each call of a wave is let in, or refused with the reason why not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.access.access import require
from gateway.rpc.authority import OPEN, role_of
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from gateway.access.access import Access
    from gateway.transport.port import Call, Metadata

AUTHORIZATION = "authorization"

_KNOWN_MAX = 4096
"""How many credentials are remembered; past it all are learned anew."""


class Gate:
    """Lets calls in by the authority table.

    Who has shown a credential before is known by it alone, so that a call costs two look-ups. Only what is let in is
    remembered.

    Parameters
    ----------
    access
        Says who a caller is.
    paths
        The methods, in the order in which calls name them.
    """

    def __init__(self, access: Access, paths: Sequence[str]) -> None:
        self._access = access
        self._roles = tuple(role_of(path) for path in paths)
        self._known: dict[Hashable, tuple[frozenset[int], float]] = {}
        self._edition = -1

    def admitted(self, wave: list[Call], refuse: Callable[[Call, DomainError], None]) -> list[Call]:
        """Return the calls that may go on; the others are refused."""
        edition = self._access.edition
        if edition != self._edition:
            self._known, self._edition = {}, edition
        known = self._known
        now_s = time.time()
        passed = []
        for call in wave:
            credential: Hashable = authorization_in(call.metadata)
            if credential is None:
                credential = tuple(call.certificate)
            places, expires_s = known.get(credential, _NOTHING)
            if call.method in places and now_s < expires_s:
                passed.append(call)
                continue
            try:
                self._learn(call, credential)
            except DomainError as error:
                refuse(call, error)
            else:
                passed.append(call)
        return passed

    def _learn(self, call: Call, credential: Hashable) -> None:
        """Ask who it is and remember what that one may do, or raise why the call may not go on."""
        role = self._roles[call.method]
        if role == OPEN:
            return
        authorization = credential if isinstance(credential, str) else None
        caller = self._access.caller(authorization, call.certificate)
        require(caller, role)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        places = frozenset(place for place, each in enumerate(self._roles) if each == OPEN or each in caller.roles)
        self._known[credential] = (places, caller.expires_s)


_NOTHING: tuple[frozenset[int], float] = (frozenset(), 0.0)


def authorization_in(metadata: Metadata) -> str | None:
    """Return what a call's metadata says under `authorization`; None when it says nothing."""
    for key, value in metadata:
        if key == AUTHORIZATION:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return None
