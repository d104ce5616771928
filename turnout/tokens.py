"""The file that says who may ask a gateway for what: by the hash of a token, or by a certificate.

JSON, written by ``turnout tokens`` or by hand::

    {"identities": [
        {"name": "website", "roles": ["predict", "outcomes"], "sha256": "9f86d0…", "expires": "2027-01-01T00:00:00Z"},
        {"name": "trainer", "roles": ["admin"], "certificate": "URI:spiffe://example/trainer"}
    ]}

A token is 256 random bits, so nobody finds it by trying, and its SHA-256 is as good as a slow hash.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ROLES = ("predict", "outcomes", "read", "runs", "admin")
"""What an identity may do; `admin` may do everything that the others may."""

TOKEN_PREFIX = "turnout_"  # noqa: S105  (what scanners for leaked secrets look for)
_TOKEN_BYTES = 32
_IDENTITIES_MAX = 10_000
_FILE_BYTES_MAX = 8 * 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CERTIFICATE = re.compile(r"(?:CN|DNS|URI|EMAIL):[^\s].{0,510}")
_FIELDS = {"name", "roles", "sha256", "certificate", "expires"}


class TokenFileError(ValueError):
    """The file is not one of identities, or what is asked of it cannot be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who may do what.

    Attributes
    ----------
    name
        What the audit calls it.
    roles
        Of `ROLES`.
    sha256
        The hash of its token, in hex; empty where a certificate identifies it.
    certificate
        A name in its certificate: ``CN:``, ``DNS:``, ``URI:`` or ``EMAIL:`` and the value; empty where a token does.
    expires
        From when on it may do nothing; None: never.
    """

    name: str
    roles: tuple[str, ...]
    sha256: str = ""
    certificate: str = ""
    expires: dt.datetime | None = None

    def document(self) -> dict[str, Any]:
        """Return the identity as it stands in the file."""
        given: dict[str, Any] = {"name": self.name, "roles": list(self.roles)}
        if self.sha256:
            given["sha256"] = self.sha256
        if self.certificate:
            given["certificate"] = self.certificate
        if self.expires is not None:
            given["expires"] = self.expires.isoformat().replace("+00:00", "Z")
        return given


def new_token() -> str:
    """Return a random token."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def hash_of(token: str) -> str:
    """Return what the file keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_identities(path: Path) -> tuple[Identity, ...]:
    """Return the identities of a file, or raise OSError, or TokenFileError when any part of it is wrong."""
    with path.open("rb") as file:
        data = file.read(_FILE_BYTES_MAX + 1)
    if len(data) > _FILE_BYTES_MAX:
        raise TokenFileError(f"it is larger than {_FILE_BYTES_MAX} bytes")
    try:
        document = json.loads(data)
    except ValueError as error:
        raise TokenFileError(f"it is not JSON: {error}") from error
    if (
        not isinstance(document, dict)
        or set(document) != {"identities"}
        or not isinstance(document["identities"], list)
    ):
        raise TokenFileError('it is not {"identities": […]}')
    found = tuple(_identity(place, each) for place, each in enumerate(document["identities"]))
    check(found)
    return found


def check(identities: Iterable[Identity]) -> None:
    """Raise TokenFileError when two identities have the same name, token or certificate, or when there are too many."""
    seen: set[tuple[str, str]] = set()
    for each in identities:
        for kind, value in (("name", each.name), ("token", each.sha256), ("certificate", each.certificate)):
            if value and (kind, value) in seen:
                raise TokenFileError(f"two identities have the same {kind}: {each.name!r} is one of them")
            seen.add((kind, value))
    if len({value for kind, value in seen if kind == "name"}) > _IDENTITIES_MAX:
        raise TokenFileError(f"it has more than {_IDENTITIES_MAX} identities")


@contextlib.contextmanager
def edited(path: Path) -> Iterator[list[Identity]]:
    """Give the identities of a file to be changed, none where there is no file, and write them when the body ends.

    The file is replaced as a whole and only its owner may read it. Those who edit at the same time take turns.
    """
    import fcntl  # noqa: PLC0415  (where there is none, everything but the editing works)

    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        identities = list(read_identities(path)) if path.exists() else []
        yield identities
        check(identities)
        document = {"identities": [each.document() for each in identities]}
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    finally:
        os.close(folder)


def make_identity(
    name: str,
    roles: Iterable[str],
    *,
    sha256: str = "",
    certificate: str = "",
    expires: dt.datetime | None = None,
) -> Identity:
    """Return an identity, or raise TokenFileError when a part of it is not as it should be."""
    asked = set(roles)
    if not _NAME.fullmatch(name):
        raise TokenFileError(f"a name has 1 to 63 letters, digits and . _ @ -, which {name[:80]!r} does not")
    if not asked or not asked <= set(ROLES):
        raise TokenFileError(f"the roles of {name!r} are one or more of {', '.join(ROLES)}")
    if bool(sha256) == bool(certificate):
        raise TokenFileError(f"{name!r} has a token or a certificate, one of the two")
    if sha256 and not _SHA256.fullmatch(sha256):
        raise TokenFileError(f"the hash of {name!r} is not 64 hexadecimal digits in lower case")
    if certificate and not _CERTIFICATE.fullmatch(certificate):
        raise TokenFileError(f"the certificate of {name!r} is CN:, DNS:, URI: or EMAIL: and a value")
    if expires is not None and expires.tzinfo is None:
        raise TokenFileError(f"the time at which {name!r} expires has no zone; write Z for UTC")
    ordered = tuple(role for role in ROLES if role in asked)
    return Identity(name=name, roles=ordered, sha256=sha256, certificate=certificate, expires=expires)


def _identity(place: int, given: Any) -> Identity:
    if not isinstance(given, dict) or not set(given) <= _FIELDS:
        raise TokenFileError(f"identity {place} is not an object of {', '.join(sorted(_FIELDS))}")
    texts = {key: given.get(key, "") for key in ("name", "sha256", "certificate", "expires")}
    roles = given.get("roles", [])
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(roles, list):
        raise TokenFileError(f"identity {place}: its roles are a list, everything else is text")
    if not all(isinstance(role, str) for role in roles):
        raise TokenFileError(f"identity {place}: each role is text")
    expires = None
    if texts["expires"]:
        try:
            expires = dt.datetime.fromisoformat(texts["expires"])
        except ValueError as error:
            raise TokenFileError(f"identity {place} expires at no time: {error}") from error
    return make_identity(
        texts["name"], roles, sha256=texts["sha256"], certificate=texts["certificate"], expires=expires
    )
