"""Webhooks: who wants to hear of which changes, and where."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlalchemy import delete, insert, select, update

from registry import tables
from registry.errors import FieldInvalidError, WebhookExistsError, WebhookInvalidError, WebhookMissingError
from registry.names import check_model_id, check_webhook_id
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

SOURCE_DEFAULT = "turnout"
SECRET_PREFIX = "whsec_"  # noqa: S105  (what every secret begins with)
SECRET_BYTES = 32
SECRET_BYTES_RANGE = (24, 64)
URL_CHARACTERS_MAX = 2048
FILTERS_MAX = 64
WEBHOOKS_MAX = 1000

_KIND = re.compile(r"[a-z_]+\.([a-z_]+|\*)")
_CHANNEL = re.compile(r"channel:([a-z][a-z0-9-]{0,62})", re.ASCII)
LANE_OF_CHANNEL = "channel"
_SOURCE = re.compile(r"[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]{1,256}")


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where to tell of changes, and of which; without its secret.

    Attributes
    ----------
    event_kinds
        Kinds of changes, `version.*` for all of one noun; none: all.
    models
        Ids of models; none: all of them, and what concerns no model.
    cursor_revision
        All changes up to here were made into deliveries, or are none of its business.
    """

    id: str
    url: str
    event_kinds: tuple[str, ...]
    models: tuple[str, ...]
    source: str
    paused: bool
    cursor_revision: int
    created_us: int
    created_by: str

    @property
    def channel(self) -> str:
        """The channel that people are told by; empty where a program is told by HTTP."""
        return channel_of(self.url)

    def lane_of(self, resource: str) -> str:
        """Return what stays in order with a resource: its model, or itself up to its first id; of a channel, all."""
        return LANE_OF_CHANNEL if self.channel else "/".join(resource.split("/")[:2])

    def hears_of(self, kind: str, resource: str, detail: Mapping[str, object]) -> bool:
        """Return whether a change is of its business: a model's own, or one whose detail says of which model it is.

        A channel is told what comes of a policy only where the policy names it.
        """
        named = detail.get("channels")
        if self.channel and kind.startswith("training.") and not (isinstance(named, list) and self.channel in named):
            return False
        if self.event_kinds and kind not in self.event_kinds and f"{kind.partition('.')[0]}.*" not in self.event_kinds:
            return False
        if not self.models:
            return True
        about = resource if resource.startswith("models/") else str(detail.get("model", ""))
        parts = about.split("/", 2)
        return parts[0] == "models" and len(parts) > 1 and parts[1] in self.models


_FIELDS = tuple(field.name for field in fields(Webhook))
_COLUMNS = tuple(tables.webhooks.c[name] for name in _FIELDS)


def create_webhook(
    tx: Connection,
    webhook_id: str,
    *,
    url: str,
    event_kinds: Sequence[str] = (),
    models: Sequence[str] = (),
    source: str = "",
    secret: str = "",
    actor: str,
    now_us: int,
) -> tuple[Webhook, str]:
    """Keep a webhook that hears of what changes from now on; return it with its secret.

    Raises
    ------
    WebhookExistsError
        There is one of that name.
    NameInvalidError, WebhookInvalidError
        A value is not of the form that it must have, or there are too many webhooks.
    """
    check_webhook_id(webhook_id)
    names = list(tx.execute(select(tables.webhooks.c.id)).scalars())
    if webhook_id in names:
        raise WebhookExistsError(f"there is a webhook {webhook_id!r} already", webhook=webhook_id)
    if len(names) >= WEBHOOKS_MAX:
        raise WebhookInvalidError(f"there are {WEBHOOKS_MAX} webhooks already, as many as there may be")
    values = _checked({"url": url, "event_kinds": event_kinds, "models": models, "source": source or SOURCE_DEFAULT})
    secret = secret or SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    key_of(secret)
    revision = record_change(
        tx,
        kind="webhook.created",
        resource=f"webhooks/{webhook_id}",
        actor=actor,
        detail=values,
        after=values,
        now_us=now_us,
    )
    kept = {"paused": False, "cursor_revision": revision, "created_us": now_us, "created_by": actor}
    tx.execute(insert(tables.webhooks).values(id=webhook_id, secret=secret, **values, **kept))
    return get_webhook(tx, webhook_id), secret


def get_webhook(tx: Connection, webhook_id: str) -> Webhook:
    """Return the webhook, or raise WebhookMissingError."""
    row = tx.execute(select(*_COLUMNS).where(tables.webhooks.c.id == webhook_id)).one_or_none()
    if row is None:
        raise WebhookMissingError(f"there is no webhook {webhook_id[:63]!r}", webhook=webhook_id[:63])
    return _webhook(row)


def list_webhooks(tx: Connection, *, after: str = "", limit_max: int = WEBHOOKS_MAX) -> list[Webhook]:
    """Return the webhooks behind a name, by name."""
    query = select(*_COLUMNS).where(tables.webhooks.c.id > after).order_by(tables.webhooks.c.id).limit(limit_max)
    return [_webhook(row) for row in tx.execute(query)]


def update_webhook(
    tx: Connection, webhook_id: str, changes: Mapping[str, object], *, actor: str, now_us: int
) -> Webhook:
    """Replace fields of a webhook and return it.

    Raises
    ------
    WebhookMissingError
        There is no such webhook.
    FieldInvalidError, WebhookInvalidError
        A field cannot be replaced, or its value is not of the form that it must have.
    """
    present = get_webhook(tx, webhook_id)
    known = {"url", "event_kinds", "models", "source", "paused"}
    if not changes or set(changes) - known:
        raise FieldInvalidError(f"of a webhook one may update {', '.join(sorted(known))}: name at least one of them")
    values = _checked(changes)
    before = {name: _plain(getattr(present, name)) for name in values}
    record_change(
        tx,
        kind="webhook.updated",
        resource=f"webhooks/{webhook_id}",
        actor=actor,
        detail=values,
        before=before,
        after=values,
        now_us=now_us,
    )
    tx.execute(update(tables.webhooks).where(tables.webhooks.c.id == webhook_id).values(**values))
    return get_webhook(tx, webhook_id)


def delete_webhook(tx: Connection, webhook_id: str, *, actor: str, now_us: int) -> int:
    """Remove a webhook with its deliveries and return the revision, or raise WebhookMissingError."""
    present = get_webhook(tx, webhook_id)
    tx.execute(delete(tables.webhook_deliveries).where(tables.webhook_deliveries.c.webhook == webhook_id))
    tx.execute(delete(tables.webhooks).where(tables.webhooks.c.id == webhook_id))
    return record_change(
        tx,
        kind="webhook.deleted",
        resource=f"webhooks/{webhook_id}",
        actor=actor,
        detail={},
        before={name: _plain(getattr(present, name)) for name in ("url", "event_kinds", "models", "source")},
        now_us=now_us,
    )


def secret_of(tx: Connection, webhook_id: str) -> str:
    """Return what the webhook signs with; for the one who delivers, never for an answer."""
    secret: str = tx.execute(select(tables.webhooks.c.secret).where(tables.webhooks.c.id == webhook_id)).scalar_one()
    return secret


def key_of(secret: str) -> bytes:
    """Return the bytes that a secret is, or raise WebhookInvalidError."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    low, high = SECRET_BYTES_RANGE
    if not secret.startswith(SECRET_PREFIX) or not low <= len(key) <= high:
        raise WebhookInvalidError(f"a secret is {SECRET_PREFIX!r} and {low} to {high} bytes in base64")
    return key


def _checked(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values as they are kept, or raise WebhookInvalidError."""
    checked = {name: _plain(value) for name, value in values.items()}
    if "url" in checked:
        _check_url(str(checked["url"]))
    if "source" in checked and _SOURCE.fullmatch(str(checked["source"])) is None:
        raise WebhookInvalidError("a source is a URI reference of at most 256 characters")
    kinds, models = checked.get("event_kinds", []), checked.get("models", [])
    if not (isinstance(kinds, list) and isinstance(models, list)) or max(len(kinds), len(models)) > FILTERS_MAX:
        raise WebhookInvalidError(f"a webhook has at most {FILTERS_MAX} kinds and as many models")
    for kind in kinds:
        if _KIND.fullmatch(kind) is None:
            raise WebhookInvalidError(f"{kind[:64]!r} is no kind of change; they look like alias.moved or version.*")
    for model in models:
        check_model_id(model)
    return checked


def channel_of(url: str) -> str:
    """Return the channel that an address is one of, `channel:NAME`; empty: it is none."""
    found = _CHANNEL.fullmatch(url)
    return found[1] if found else ""


def _check_url(url: str) -> None:
    if channel_of(url):
        return
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    else:
        fits = fits and parts.username is None and parts.password is None and not parts.fragment
    if not (fits and url.isascii() and url.isprintable() and " " not in url and len(url) <= URL_CHARACTERS_MAX):
        raise WebhookInvalidError(
            "a webhook's address is http://host/path or https://host/path, without user or fragment, or channel:NAME"
        )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value


def _webhook(row: Row[Any]) -> Webhook:
    values = {name: getattr(row, name) for name in _FIELDS}
    return Webhook(**values | {name: tuple(values[name]) for name in ("event_kinds", "models")})
