"""The identities in force, read again when their file changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import stat
import threading
import time
from typing import TYPE_CHECKING

from gateway.access.caller import ROLES, Caller
from gateway.errors import IdentitiesUnusableError
from turnout.tokens import TokenFileError, read_identities

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from turnout.tokens import Identity

LOOK_INTERVAL_S = 0.5
"""How often the file is looked at: what is revoked is refused this much later at the latest."""

_log = logging.getLogger(__name__)


class Directory:
    """The identities of a file. It may be asked from several threads.

    What cannot be read is reported, and what was in force stays: half a file must not lock everybody out.

    Parameters
    ----------
    path
        The file, as `turnout.tokens` describes it.

    Attributes
    ----------
    edition
        Raised whenever the identities in force change; what was learned of an earlier one is void.
    fault
        Why the file as it is now cannot be used; None when it can.

    Raises
    ------
    IdentitiesUnusableError
        When there is nothing to start with.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._looked_s = -math.inf
        self._hashes: list[tuple[bytes, Caller]] = []
        self._certificates: dict[str, Caller] = {}
        self.edition = 0
        self.fault: str | None = None
        self.look()
        if self.fault is not None:
            raise IdentitiesUnusableError(f"the identities cannot be read from {path.name}: {self.fault}")

    def look(self) -> None:
        """Read the file again if it has changed; looks no more often than `LOOK_INTERVAL_S`."""
        if time.monotonic() - self._looked_s < LOOK_INTERVAL_S:
            return
        with self._lock:
            self._looked_s = time.monotonic()
            try:
                found = self._path.stat()
                stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
                if stamp == self._stamp:
                    return
                if found.st_mode & stat.S_IWOTH:
                    raise TokenFileError("anybody on this machine may write it")  # noqa: TRY301  (one report for all)
                identities = read_identities(self._path)
            except (OSError, TokenFileError) as error:
                self._report(error)
                return
            self._stamp = stamp
            self._take(identities)

    def by_token(self, token: str) -> Caller | None:
        """Return whose token it is, expired or not; None: nobody's.

        It takes as long for a wrong token as for a right one.
        """
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        found = None
        for known, caller in self._hashes:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def by_certificate(self, names: Sequence[str]) -> Caller | None:
        """Return who has a certificate with one of these names; None: nobody. The first name that is known counts."""
        return next((self._certificates[name] for name in names if name in self._certificates), None)

    def _take(self, identities: Sequence[Identity]) -> None:
        callers = [(each, _caller(each)) for each in identities]
        self._hashes = [(bytes.fromhex(each.sha256), caller) for each, caller in callers if each.sha256]
        self._certificates = {each.certificate: caller for each, caller in callers if each.certificate}
        self.fault = None
        self.edition += 1
        if self.edition > 1:
            _log.info("%d identities were read again and are in force", len(callers))

    def _report(self, error: Exception) -> None:
        fault = (error.strerror or "it cannot be read") if isinstance(error, OSError) else str(error)
        if fault != self.fault and self.edition:
            _log.error("%s cannot be used (%s); the identities before stay in force", self._path.name, fault)
        self.fault = fault


def _caller(identity: Identity) -> Caller:
    return Caller(
        name=identity.name,
        roles=ROLES if "admin" in identity.roles else frozenset(identity.roles),
        credential="token" if identity.sha256 else "certificate",
        expires_s=math.inf if identity.expires is None else identity.expires.timestamp(),
    )
