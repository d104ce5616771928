"""Telling people by channels: what waits goes together, the same is told once, and never too many messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.control.wording import compose, key_of
from registry.deliveries import settle
from registry.errors import WebhookInvalidError
from registry.notices import hold_back, postpone, told, waiting
from registry.webhooks import channel_of, create_webhook, list_webhooks
from storage.leases import database_now_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from gateway.control.channels import Channel, Channels
    from registry.deliveries import Delivery, Outcome
    from registry.notices import Told
    from storage.clock import Clock
    from storage.database import Database

HOUR_US = 3_600_000_000
KINDS = ("training.*",)
"""What the webhook of a channel hears of that the configuration made."""


def keep_channels(database: Database, channels: Channels, clock: Clock) -> None:
    """Make the webhook of each channel that has none, under the channel's name; raises WebhookExistsError."""
    with database.read() as tx:
        known = {each.id: each.url for each in list_webhooks(tx)}
    missing = [name for name in channels.names if known.get(name) != f"channel:{name}"]
    if not missing:
        return
    with database.write() as tx:
        known = {each.id: each.url for each in list_webhooks(tx)}
        for name in missing:
            if known.get(name) != f"channel:{name}":
                url = f"channel:{name}"
                create_webhook(tx, name, url=url, event_kinds=KINDS, actor="configuration", now_us=clock.now_us())


class Teller:
    """Tells people.

    Parameters
    ----------
    database
        Where what waits is.
    channels
        Where they are told.
    """

    def __init__(self, database: Database, channels: Channels) -> None:
        self._database = database
        self._channels = channels

    def check(self, url: str) -> None:
        """Raise WebhookInvalidError when an address is that of a channel that is not there."""
        name = channel_of(url)
        if name and self._channels.get(name) is None:
            raise WebhookInvalidError(f"there is no channel {name!r}: the gateway's --channels say which there are")

    def send(self, name: str, title: str, body: str) -> Outcome:
        """Send a message now."""
        return self._channels.send(name, title, body)

    def attempt(
        self, head: Delivery, name: str, *, attempts_max: int, pause_us: int
    ) -> Callable[[Connection, int], None] | None:
        """Tell what waits behind a delivery and itself; return what writes down how that went.

        None: it was read before the attempt before this one.
        """
        channel = self._channels.get(name)
        repeat_us = 0 if channel is None else int(channel.repeat_s * 1e6)
        with self._database.read() as tx:
            now_us = database_now_us(tx)
            batch = waiting(tx, head)
            before = told(tx, head.webhook, since_us=now_us - max(repeat_us, HOUR_US))
        if not batch or batch[0].delivery != head:
            return None
        until_us = 0 if channel is None else full_until(channel, before, now_us)
        if until_us:
            return lambda tx, _now_us: postpone(tx, head, due_us=until_us)
        known = {key_of(each.change): each.change.revision for each in before if each.time_us > now_us - repeat_us}
        news = [each for each in batch if key_of(each.change) not in known]
        outcome = None
        if news:
            message = compose(channel, [each.change for each in news]) if channel else None
            outcome = self._channels.send(name, message.title if message else "", message.body if message else "")

        def write(tx: Connection, now_us: int) -> None:
            for each in batch:
                earlier = known.get(key_of(each.change))
                if earlier is not None:
                    hold_back(tx, each.delivery, f"the same as {earlier}, which was told", now_us=now_us)
                elif outcome is not None:
                    settle(tx, each.delivery, outcome, attempts_max=attempts_max, pause_us=pause_us, now_us=now_us)

        return write


def full_until(channel: Channel, before: list[Told], now_us: int) -> int:
    """Return when the next message may leave, where the hour's number of them has left; 0: now."""
    left = sorted({each.time_us for each in before if each.time_us > now_us - HOUR_US}, reverse=True)
    if len(left) < channel.messages_per_hour:
        return 0
    return left[channel.messages_per_hour - 1] + HOUR_US
