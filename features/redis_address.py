"""The addresses of Redis stores.

::

    redis://[user:password@]host[:6379][/db]                      one server
    unix://[user:password@]/path/of/socket[?db=0]                 one server on this machine
    redis+sentinel://[user:password@]host[:26379],host/name[/db]  the master that Sentinels name
    redis+cluster://[user:password@]host[:6379],host              a cluster, found by any of its nodes

``rediss://`` and the others with ``rediss`` speak TLS; ``?ssl_ca_certs=FILE`` says whose certificates are taken (the
system's when it is absent), ``&ssl_certfile=FILE&ssl_keyfile=FILE`` what is shown, ``&ssl_check_hostname=false`` that
the server's name is not compared. ``&sentinel_user=…&sentinel_password=…`` are for the Sentinels themselves. Special
characters of user and password are percent-encoded. ``?replica_lag_max_s=10`` after Sentinels' addresses lets reads go
to a replica that has heard of its master so lately; a master that has nothing to say speaks every ten seconds.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from features.errors import StoreUrlError

REDIS_PORT = 6379
SENTINEL_PORT = 26379

_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"})
_OPTIONS = _TLS_OPTIONS | {"db", "sentinel_user", "sentinel_password", "replica_lag_max_s"}

Place = tuple[str, int]
"""A host and a port; a socket's path and 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Where a store is and how one gets in.

    Attributes
    ----------
    kind
        `single`, `sentinel` or `cluster`.
    places
        The server, the Sentinels, or some nodes of the cluster.
    service
        What the Sentinels call the master; else empty.
    db
        The number of the database.
    user, password
        Who one is to the servers; empty: nobody in particular.
    sentinel_user, sentinel_password
        The same to the Sentinels.
    replica_lag_max_s
        How long ago a replica that is read may have heard of its master; 0: the master is read.
    tls
        What is spoken under the protocol; None: nothing.
    """

    kind: str
    places: tuple[Place, ...]
    service: str = ""
    db: int = 0
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    sentinel_user: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    replica_lag_max_s: float = 0.0
    tls: ssl.SSLContext | None = None


def parse_address(url: str) -> RedisAddress:
    """Return what an address says, or raise StoreUrlError; the error repeats neither user nor password."""
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    unknown = options.keys() - (_OPTIONS if scheme == "rediss" else _OPTIONS - _TLS_OPTIONS)
    if unknown:
        raise StoreUrlError(f"the address of the online store has an option that is not known here: {min(unknown)}")
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    path = [unquote(part) for part in parts.path.split("/")[1:]]
    service = ""
    if scheme == "unix":
        places: tuple[Place, ...] = ((unquote(parts.path), 0),)
        path = []
    else:
        port = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
        places = tuple(_place(host, port) for host in hosts.split(","))
    if kind == "sentinel":
        service, path = (path[0] if path else ""), path[1:]
        if not service:
            raise StoreUrlError("the address of the online store lacks the master's name: redis+sentinel://host/name")
    db = path[0] if path and path[0] else options.get("db", "0")
    if not db.isdecimal() or len(path) > 1 or (kind == "cluster" and db != "0"):
        raise StoreUrlError("the database in the online store's address is a number, and 0 in a cluster")
    return RedisAddress(
        kind=kind or "single",
        places=places,
        service=service,
        db=int(db),
        user=unquote(user),
        password=unquote(password),
        sentinel_user=options.get("sentinel_user", ""),
        sentinel_password=options.get("sentinel_password", ""),
        replica_lag_max_s=_lag(options, kind),
        tls=_tls(options) if scheme == "rediss" else None,
    )


def _lag(options: dict[str, str], kind: str) -> float:
    text = options.get("replica_lag_max_s", "0")
    if not text.isdecimal() or ("replica_lag_max_s" in options and kind != "sentinel"):
        raise StoreUrlError("replica_lag_max_s in the online store's address is whole seconds, and for Sentinels only")
    return float(text)


def _place(text: str, port: int) -> Place:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname:
            return parts.hostname, parts.port or port
    except ValueError:
        pass
    raise StoreUrlError("the address of the online store names no host, or a port that is no number")


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except (OSError, ValueError) as error:
        raise StoreUrlError(f"a certificate in the online store's address cannot be used: {error}") from error
    context.check_hostname = options.get("ssl_check_hostname", "true") != "false"
    return context
