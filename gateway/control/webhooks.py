"""Delivering changes to webhooks: by one control plane at a time, at least once, in order within a lane."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.cloudevent import event_of, headers_of
from registry.deliveries import Outcome, derive, due, is_behind, next_due_us, settle, still_stands
from registry.errors import WebhookMissingError
from registry.webhooks import get_webhook, secret_of
from storage import leases
from storage.errors import UnavailableError
from storage.revision import get_change

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from gateway.control.posting import Poster
    from gateway.control.telling import Teller
    from registry.deliveries import Delivery
    from registry.webhooks import Webhook
    from storage.database import Database
    from storage.leases import Lease
    from storage.revision import Change

POLL_INTERVAL_S = 0.25
"""How often the database is looked at without having been told, for what another process changed."""
NAP_S_MIN = 0.005
LEASE = "webhooks"
LEASE_S = 5.0
FLIGHTS_MAX = 16
FLIGHTS_OF_WEBHOOK_MAX = 4
"""A receiver that is slow must not take the threads of all others."""
LANDING_S = 1.0
"""How long deliveries in flight may take at the stop."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a delivery is tried again, and when it is given up.

    Attributes
    ----------
    attempts_max
        After so many attempts it is given up.
    first_s, pause_max_s
        The pause after the first attempt, which doubles with each further one, and the longest. Each is shortened by up
        to a half at random, so that those who failed together do not come back together.
    """

    attempts_max: int = 20
    first_s: float = 1.0
    pause_max_s: float = 3600.0

    def pause_us(self, attempts: int) -> int:
        """Return how long to wait after so many attempts."""
        longest = min(self.first_s * 2.0 ** min(attempts - 1, 64), self.pause_max_s)
        return int(longest * random.uniform(0.5, 1.0) * 1e6)  # noqa: S311  (jitter needs no secrecy)


class WebhookCourier:
    """Makes changes into deliveries and delivers them.

    Any number may run on one database. Whoever finds something to do takes the lease first; what is written down is
    written in a transaction that shows the lease's token, so that one who lost it while it waited for a receiver writes
    nothing. When an attempt is due is by the database's time, never a replay clock's: it concerns the outside, and what
    one put off by a clock of its own that is wrong, no other would take up.

    Parameters
    ----------
    database
        Where webhooks, changes and deliveries are.
    poster
        What speaks HTTP.
    teller
        What tells people, by channels.
    policy
        When a delivery is tried again.
    """

    def __init__(self, database: Database, poster: Poster, teller: Teller, policy: RetryPolicy) -> None:
        self._database = database
        self._poster = poster
        self._teller = teller
        self._policy = policy
        self._holder = uuid.uuid4().hex
        self._lease: Lease | None = None
        self._lock = threading.Lock()
        self._flying: set[tuple[str, str]] = set()
        self._woken = threading.Event()
        self._pool = ThreadPoolExecutor(FLIGHTS_MAX, thread_name_prefix="webhook")

    def wake(self) -> None:
        """Look at the database at once."""
        self._woken.set()

    def run(self, stopped: threading.Event) -> None:
        """Deliver until stopped; a database that is away is looked at again later."""
        nap_s = POLL_INTERVAL_S
        while not stopped.is_set():
            self._woken.wait(nap_s)
            self._woken.clear()
            nap_s = POLL_INTERVAL_S
            try:
                nap_s = self.look()
            except UnavailableError as error:
                _log.warning("webhooks cannot be served now: %s", error.message)
                stopped.wait(POLL_INTERVAL_S)
            except Exception:  # noqa: BLE001  (the thread must outlive whatever it is)
                _log.exception("webhooks could not be served; trying again")
                stopped.wait(POLL_INTERVAL_S)

    def look(self) -> float:
        """Do what is due, or let others do it; return after how many seconds to look again, unwoken."""
        with self._database.read() as tx:
            behind, now_us = is_behind(tx), leases.database_now_us(tx)
            ready, next_us = due(tx, now_us=now_us), next_due_us(tx, after_us=now_us)
        with self._lock:
            busy = behind or bool(ready) or bool(self._flying)
        if not busy:
            self._release()
        elif self._held(behind=behind):
            with self._database.read() as tx:
                ready = due(tx, now_us=leases.database_now_us(tx))
            self._launch(ready)
        return POLL_INTERVAL_S if next_us is None else min(POLL_INTERVAL_S, max(NAP_S_MIN, (next_us - now_us) / 1e6))

    def close(self) -> None:
        """Let what is in flight land or cut it, and let others have the lease."""
        until = time.monotonic() + LANDING_S
        while self._flying and time.monotonic() < until:
            time.sleep(0.01)
        self._poster.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        try:
            self._release()
        except UnavailableError as error:
            _log.warning("the lease of the webhooks runs out by itself: %s", error.message)

    def _held(self, *, behind: bool) -> bool:
        """Return whether the lease is ours; if so, changes have been made into deliveries."""
        duration_us = int(LEASE_S * 1e6)
        lease = self._lease
        if lease is not None and not behind and lease.left_us() > duration_us // 2:
            return True
        with self._database.write() as tx:
            now_us = leases.database_now_us(tx)
            if lease is not None and lease.left_us() > 0:
                try:
                    lease = leases.renew(tx, lease, duration_us=duration_us, now_us=now_us)
                except leases.LeaseLostError:
                    lease = None
            else:
                lease = None
            if lease is None:
                lease = leases.acquire(tx, name=LEASE, holder=self._holder, duration_us=duration_us, now_us=now_us)
            if lease is not None and behind:
                derive(tx, now_us=now_us)
        self._lease = lease
        return lease is not None

    def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            with self._database.write() as tx:
                leases.release(tx, lease)

    def _launch(self, ready: list[Delivery]) -> None:
        lease = self._lease
        if lease is None:
            return
        for delivery in ready:
            key = (delivery.webhook, delivery.lane)
            with self._lock:
                of_webhook = sum(webhook == delivery.webhook for webhook, _ in self._flying)
                if len(self._flying) >= FLIGHTS_MAX:
                    return
                if key in self._flying or of_webhook >= FLIGHTS_OF_WEBHOOK_MAX:
                    continue
                self._flying.add(key)
            self._pool.submit(self._fly, delivery, lease, key)

    def _fly(self, delivery: Delivery, lease: Lease, key: tuple[str, str]) -> None:
        """Make one attempt and write down how it went; on a thread of its own."""
        try:
            write = self._attempt(delivery)
            if write is None:
                return
            with self._database.write() as tx:
                now_us = leases.database_now_us(tx)
                leases.renew(tx, lease, duration_us=int(LEASE_S * 1e6), now_us=now_us)
                write(tx, now_us)
        except leases.LeaseLostError:
            _log.info("another control plane goes on with the webhooks; it delivers %s again", delivery.revision)
        except UnavailableError as error:
            _log.warning("a delivery cannot be written down and will come again: %s", error.message)
        except WebhookMissingError:
            pass  # it was deleted meanwhile
        except Exception:  # noqa: BLE001  (the loop must outlive whatever it is)
            _log.exception("a delivery failed; trying again")
        finally:
            with self._lock:
                self._flying.discard(key)
            self._woken.set()

    def _attempt(self, delivery: Delivery) -> Callable[[Connection, int], None] | None:
        """Send the event and return what writes down how that went.

        None when the delivery was read before the attempt before this one.
        """
        with self._database.read() as tx:
            if not still_stands(tx, delivery):
                return None
            webhook, secret = get_webhook(tx, delivery.webhook), secret_of(tx, delivery.webhook)
            change = get_change(tx, delivery.revision)
        attempts_max, pause_us = self._policy.attempts_max, self._policy.pause_us(delivery.attempts + 1)
        if webhook.channel:
            return self._teller.attempt(delivery, webhook.channel, attempts_max=attempts_max, pause_us=pause_us)
        outcome = self._post(webhook, secret, change)
        return lambda tx, now_us: settle(
            tx, delivery, outcome, attempts_max=attempts_max, pause_us=pause_us, now_us=now_us
        )

    def _post(self, webhook: Webhook, secret: str, change: Change | None) -> Outcome:
        if change is None:  # a foreign key holds it
            return Outcome(0, "the change is not there any more")
        body = event_of(change, webhook.source)
        message_id = f"{webhook.id}-{change.revision}"
        headers = headers_of(body, secret=secret, message_id=message_id, now_s=int(time.time()))
        return self._poster.post(webhook.url, body, headers)
