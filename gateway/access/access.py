"""From what a caller shows to who it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.access.caller import ANYBODY, Caller
from gateway.access.directory import Directory
from gateway.errors import (
    CertificateUnknownError,
    CredentialsMissingError,
    RoleMissingError,
    TokenExpiredError,
    TokenInvalidError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SCHEME = "bearer "


class Access:
    """Says who a caller is.

    Parameters
    ----------
    identities
        The file of identities; None: there is none.
    certificates
        Whether clients are asked for a certificate of an authority that is trusted. Without a file each such
        certificate may do everything: to be given one is the authority.
    """

    def __init__(self, identities: Path | None = None, *, certificates: bool = False) -> None:
        self._directory = None if identities is None else Directory(identities)
        self._certificates = certificates

    @property
    def asks(self) -> bool:
        """Whether a caller must show anything."""
        return self._directory is not None or self._certificates

    @property
    def edition(self) -> int:
        """Which set of identities is in force, the file having been looked at."""
        directory = self._directory
        if directory is None:
            return 0
        directory.look()
        return directory.edition

    def caller(self, authorization: str | None, certificate: Sequence[str]) -> Caller:
        """Return who asks.

        Parameters
        ----------
        authorization
            What the call says under that name; a token counts before a certificate.
        certificate
            The names in the certificate that the client showed.

        Raises
        ------
        CredentialsMissingError, TokenInvalidError, TokenExpiredError
            It is not known who asks.
        CertificateUnknownError
            The certificate is in order, and nobody's in the file.
        """
        if not self.asks:
            return ANYBODY
        directory = self._directory
        if directory is None:
            return self._by_authority(certificate)
        directory.look()
        if authorization is not None:
            found = _by_token(directory, authorization)
        elif certificate:
            known = directory.by_certificate(certificate)
            if known is None:
                raise CertificateUnknownError(
                    f"no identity has the certificate {certificate[0]!r}", certificate=certificate[0]
                )
            found = known
        else:
            raise CredentialsMissingError("this gateway wants a token: send `authorization: Bearer TOKEN`")
        if found.expires_s <= time.time():
            raise TokenExpiredError(f"the {found.credential} of {found.name!r} has expired", identity=found.name)
        return found

    @staticmethod
    def _by_authority(certificate: Sequence[str]) -> Caller:
        if not certificate:
            raise CredentialsMissingError("this gateway wants a certificate of an authority that it trusts")
        return Caller(name=certificate[0], credential="certificate")


def require(caller: Caller, role: str) -> None:
    """Raise RoleMissingError unless the caller has the role."""
    if role not in caller.roles:
        raise RoleMissingError(
            f"{caller.name!r} may not do this: it takes the role `{role}`", identity=caller.name, role=role
        )


def _by_token(directory: Directory, authorization: str) -> Caller:
    if not authorization[: len(_SCHEME)].lower() == _SCHEME:
        raise TokenInvalidError("the authorization is not `Bearer TOKEN`")
    found = directory.by_token(authorization[len(_SCHEME) :].strip())
    if found is None:
        raise TokenInvalidError("no identity has this token")
    return found
