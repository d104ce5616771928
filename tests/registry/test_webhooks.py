"""Webhooks: every change arrives, at least once, in the order of its model, signed."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gateway.control import webhooks as courier_module
from gateway.control.channels import Channels
from gateway.control.posting import Poster, is_allowed
from gateway.control.telling import Teller
from gateway.control.webhooks import RetryPolicy, WebhookCourier
from registry.aliases import set_alias
from registry.deliveries import (
    Outcome,
    counts,
    derive,
    due,
    is_behind,
    list_deliveries,
    redeliver,
    settle,
    still_stands,
)
from registry.errors import DeliveryMissingError, NameInvalidError, WebhookExistsError, WebhookInvalidError
from registry.models import create_model
from registry.versions import add_version
from registry.webhooks import create_webhook, delete_webhook, get_webhook, update_webhook
from storage import leases
from storage.revision import current_revision, list_changes, record_change

NOW_US = 1_700_000_000_000_000
PROMPT = RetryPolicy(attempts_max=1000, first_s=0.01, pause_max_s=0.05)
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
PATIENCE_S = 60
SECONDS_A_MOVE = (
    0.4  # of 1.4 attempts or so each; one in fifteen waits for the timeout, a revived receiver for its start
)


def wait_until(holds, patience_s=PATIENCE_S):
    until = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.01)


class Receiver:
    """A receiver in this process: keeps what it gets and answers as it is told."""

    def __init__(self):
        self.got = []
        self.answer = lambda _event: 204
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.got.append(event)
                answer = outer.answer(event)
                self.send_response(answer)
                if answer == 302:
                    self.send_header("location", outer.url + "/elsewhere")
                self.end_headers()

            def log_message(self, *_arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def couriers(database):
    """Return what starts couriers on the database; all are stopped at the end."""
    stopped = threading.Event()
    running = []

    def start(*, policy=PROMPT, private=True, timeout_s=10.0, run=True):
        courier = WebhookCourier(
            database, Poster(private=private, timeout_s=timeout_s), Teller(database, Channels({})), policy
        )
        database.on_commit(courier.wake)
        thread = threading.Thread(target=courier.run, args=(stopped,))
        if run:
            thread.start()
            running.append(thread)
        running.append(courier)
        return courier

    yield start
    stopped.set()
    for each in running:
        each.join() if isinstance(each, threading.Thread) else each.close()


@pytest.fixture(name="models")
def _models(database, draft):
    """Return three models with two versions each."""
    names = ["fraud", "risk", "spam"]
    with database.write() as tx:
        for name in names:
            create_model(tx, name, actor="a", now_us=NOW_US)
            for _ in range(2):
                add_version(tx, draft(name), actor="a", now_us=NOW_US)
    return names


def create(database, url, name="hook", **filters):
    with database.write() as tx:
        return create_webhook(tx, name, url=url, secret=SECRET, actor="a", now_us=NOW_US, **filters)


def move(database, model, number=1, alias="canary"):
    with database.write() as tx:
        return set_alias(tx, model, number, alias=alias, actor="ann", now_us=NOW_US).revision


def states(database, name="hook"):
    with database.read() as tx:
        return {each.revision: each.state for each in list_deliveries(tx, name, limit_max=1000)}


def assert_signed(headers, body):
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(b"k" * 32, signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert headers["content-type"].startswith("application/cloudevents+json")


class MortalReceiver:
    """A receiver that fails and dies at random, started again whenever it is dead."""

    def __init__(self, folder, trouble):
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
            self.port = probe.getsockname()[1]
        self.log, self._trouble = folder / "received", trouble
        self.deaths = -1
        self.process = None
        self.revive()

    def revive(self):
        if self.process is None or self.process.poll() is not None:
            self.deaths += 1
            arguments = [self.port, self.log, self.deaths, self._trouble]
            script = [sys.executable, "-S", str(Path(__file__).with_name("receiver.py"))]
            self.process = subprocess.Popen([*script, *map(str, arguments)])

    def received(self):
        """Return the headers and bodies of what it wrote down, in the order of their arrival."""
        lines = self.log.read_bytes().splitlines() if self.log.exists() else []
        return [(line["headers"], base64.b64decode(line["body"])) for line in map(json.loads, lines)]

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize("moves", [30, pytest.param(1500, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_every_event_arrives_in_order_and_signed_though_the_receiver_fails_and_dies(
    database, models, couriers, tmp_path, moves
):
    receiver = MortalReceiver(tmp_path, trouble=0.4)
    try:
        create(database, f"http://127.0.0.1:{receiver.port}/hook?from=turnout", event_kinds=["alias.*"])
        for _ in range(2):
            couriers(timeout_s=0.5)
        dice = random.Random(8)  # noqa: S311  (a test)
        expected = {model: [] for model in models}
        for step in range(moves):
            model = dice.choice(models)
            expected[model].append(move(database, model, 1 + step % 2))
            receiver.revive()

        def all_delivered():
            receiver.revive()
            with database.read() as tx:  # what is not yet made into deliveries is not delivered either
                return not is_behind(tx) and set(counts(tx, ["hook"])["hook"]) <= {"delivered"}

        wait_until(all_delivered, patience_s=PATIENCE_S + moves * SECONDS_A_MOVE)
        received = receiver.received()
    finally:
        receiver.close()
    for headers, body in received:
        assert_signed({name.lower(): value for name, value in headers.items()}, body)
    arrived = {model: [] for model in models}
    for _, body in received:
        event = json.loads(body)
        model = event["subject"].removeprefix("models/")
        if event["data"]["revision"] not in arrived[model]:
            arrived[model].append(event["data"]["revision"])
    assert arrived == expected
    assert receiver.deaths > 0
    assert len(received) > moves  # some came twice: taken, and the answer lost


@pytest.mark.usefixtures("models")
def test_an_event_is_a_cloudevent_that_tells_the_change(database, couriers, receiver):
    create(database, receiver.url, event_kinds=["alias.moved"], source="//prod.example")
    couriers()
    revision = move(database, "fraud", 2)
    wait_until(lambda: receiver.got)
    (event,) = receiver.got
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": str(revision),
        "source": "//prod.example",
        "type": "turnout.alias.moved",
        "subject": "models/fraud",
        "time": "2023-11-14T22:13:20.000000Z",
        "datacontenttype": "application/json",
        "sequence": f"{revision:019d}",
    }
    assert data["actor"] == "ann"
    assert data["before"] == {"alias": "canary", "version": 0, "generation": 0, "expires_us": 0}
    assert data["after"] == {"alias": "canary", "version": 2, "generation": 1, "expires_us": 0}
    assert SECRET not in json.dumps(data)


@pytest.mark.usefixtures("models")
def test_a_webhook_hears_of_its_kinds_and_models_from_its_creation_on(database, couriers, receiver):
    move(database, "fraud")
    create(database, receiver.url, event_kinds=["alias.moved"], models=["fraud"])
    couriers()
    move(database, "risk")
    with database.write() as tx:
        create_webhook(tx, "other", url=receiver.url, models=["spam"], actor="a", now_us=NOW_US)
    last = move(database, "fraud", 2)
    wait_until(lambda: states(database).get(last) == "delivered")
    assert [event["id"] for event in receiver.got] == [str(last)]


@pytest.mark.usefixtures("models")
def test_a_webhook_for_a_model_hears_of_its_policies_and_experiments_too(database, couriers, receiver):
    create(database, receiver.url, models=["fraud"])
    couriers()
    with database.write() as tx:
        revisions = [
            record_change(tx, kind=kind, resource=about, actor="a", detail={"model": model}, now_us=NOW_US)
            for kind, about, model in (
                ("training.failed", "policies/nightly/runs/1", "models/fraud"),
                ("training.failed", "policies/weekly/runs/1", "models/risk"),
                ("experiment.concluded", "experiments/blue", "models/fraud"),
            )
        ]
    wait_until(lambda: states(database).get(revisions[2]) == "delivered")
    assert {event["id"] for event in receiver.got} == {str(revisions[0]), str(revisions[2])}


@pytest.mark.usefixtures("models")
def test_a_paused_webhook_misses_nothing(database, couriers, receiver):
    create(database, receiver.url, event_kinds=["alias.moved"])
    couriers()

    def pause(paused):
        with database.write() as tx:
            update_webhook(tx, "hook", {"paused": paused}, actor="a", now_us=NOW_US)

    pause(paused=True)
    moved = [move(database, "fraud", 1 + step % 2) for step in range(3)]
    assert receiver.got == []
    pause(paused=False)
    wait_until(lambda: len(receiver.got) == len(moved))
    assert [event["data"]["revision"] for event in receiver.got] == moved


@pytest.mark.usefixtures("models")
def test_what_is_given_up_is_kept_lets_the_next_pass_and_can_be_redelivered(database, couriers, receiver):
    first_revision = []
    receiver.answer = lambda event: 500 if event["data"]["revision"] in first_revision else 204
    create(database, receiver.url, event_kinds=["alias.moved"])
    with database.read() as tx:
        first_revision.append(current_revision(tx) + 1)
    couriers(policy=RetryPolicy(attempts_max=3, first_s=0.01))
    first, second = move(database, "fraud"), move(database, "fraud", 2)
    assert [first] == first_revision
    wait_until(lambda: states(database) == {first: "dead", second: "delivered"})
    assert [event["data"]["revision"] for event in receiver.got] == [first, first, first, second]
    with database.read() as tx:
        dead = list_deliveries(tx, "hook", state="dead", limit_max=10)
    assert [(each.attempts, each.status_code, each.error) for each in dead] == [(3, 500, "the receiver answered 500")]
    first_revision.clear()
    with database.write() as tx:
        assert redeliver(tx, "hook", now_us=NOW_US) == 1
        with pytest.raises(DeliveryMissingError):
            redeliver(tx, "hook", revision=10**9, now_us=NOW_US)
    wait_until(lambda: set(states(database).values()) == {"delivered"})


@pytest.mark.usefixtures("models")
def test_a_lane_that_waits_holds_up_no_other(database, couriers, receiver):
    receiver.answer = lambda event: 500 if event["subject"] == "models/fraud" else 204
    create(database, receiver.url, event_kinds=["alias.moved"])
    couriers(policy=RetryPolicy(first_s=3600.0))
    held, behind, free = move(database, "fraud"), move(database, "fraud", 2), move(database, "risk")
    wait_until(lambda: states(database).get(free) == "delivered" and receiver.got)
    assert states(database) == {held: "pending", behind: "pending", free: "delivered"}
    wait_until(lambda: {event["data"]["revision"] for event in receiver.got} == {held, free})


@pytest.mark.usefixtures("models")
def test_who_lost_the_lease_while_a_receiver_took_its_time_writes_nothing(database, couriers, receiver):
    arrived, let_go = [], threading.Event()

    def slow_at_first(_event):
        arrived.append(1)
        if len(arrived) == 1:
            assert let_go.wait(PATIENCE_S)
            return 500
        return 204

    receiver.answer = slow_at_first
    create(database, receiver.url, event_kinds=["alias.moved"])
    slow, other = couriers(run=False), couriers(run=False)
    revision = move(database, "fraud")
    slow.look()
    wait_until(lambda: arrived)
    with database.write() as tx:  # time passes: the lease expires and goes to the other one
        tx.exec_driver_sql("UPDATE leases SET expires_us = 0")
    other.look()
    wait_until(lambda: states(database) == {revision: "delivered"})
    let_go.set()
    slow.close()
    with database.read() as tx:
        (delivery,) = list_deliveries(tx, "hook", limit_max=10)
    assert (delivery.state, delivery.attempts, delivery.status_code) == ("delivered", 1, 204)


@pytest.mark.usefixtures("models")
def test_while_one_holds_the_lease_the_others_deliver_nothing(database, couriers, receiver):
    create(database, receiver.url)
    waiting = couriers(run=False)
    with database.write() as tx:
        held = leases.acquire(
            tx, name=courier_module.LEASE, holder="another", duration_us=10**12, now_us=time.time_ns() // 1000
        )
    move(database, "fraud")
    waiting.look()
    assert states(database) == {}
    with database.write() as tx:
        leases.release(tx, held)
    waiting.look()
    wait_until(lambda: receiver.got)


@pytest.mark.usefixtures("models")
def test_many_changes_are_made_into_deliveries_each_once(database, receiver):
    create(database, receiver.url, event_kinds=["alias.moved"])
    moved = {move(database, "fraud", 1 + step % 2) for step in range(12)}
    for _ in range(3):
        with database.write() as tx:
            derive(tx, now_us=NOW_US)
    assert set(states(database)) == moved
    with database.read() as tx:
        assert [each.revision for each in due(tx, now_us=NOW_US)] == [min(moved)]
        assert get_webhook(tx, "hook").cursor_revision == current_revision(tx)


@pytest.mark.usefixtures("models")
def test_an_attempt_of_what_was_attempted_since_changes_nothing(database, receiver):
    create(database, receiver.url, event_kinds=["alias.moved"])
    revision = move(database, "fraud")
    with database.write() as tx:
        derive(tx, now_us=NOW_US)
        (read,) = due(tx, now_us=NOW_US)
        assert still_stands(tx, read)
        settle(tx, read, Outcome(204), attempts_max=3, pause_us=0, now_us=NOW_US)
        assert not still_stands(tx, read)
        settle(tx, read, Outcome(500, "late"), attempts_max=1, pause_us=0, now_us=NOW_US)
    assert states(database) == {revision: "delivered"}


@pytest.mark.usefixtures("models")
def test_a_deleted_webhook_leaves_nothing_but_the_audit(database, receiver):
    create(database, receiver.url)
    move(database, "fraud")
    with database.write() as tx:
        derive(tx, now_us=NOW_US)
        delete_webhook(tx, "hook", actor="a", now_us=NOW_US)
    with database.read() as tx:
        kinds = [change.kind for change in list_changes(tx, before_revision=None, limit_max=3)]
        said = [change for change in list_changes(tx, before_revision=None, limit_max=100) if SECRET in str(change)]
    assert kinds == ["webhook.deleted", "alias.moved", "webhook.created"]
    assert said == []


BAD_URLS = [
    "ftp://host/x",
    "http://",
    "file:///etc/passwd",
    "http://user:word@host/",
    "http://host/#part",
    "http://host:99999/",
    "http://ho st/",
    "http://host/\r\nx: y",
    "https://" + "h" * 3000,
]


def test_values_of_another_form_are_refused(database):
    create(database, "http://host/")
    for error, values in [
        (WebhookExistsError, {}),
        (NameInvalidError, {"name": "No Name"}),
        (WebhookInvalidError, {"name": "b", "event_kinds": ["everything"]}),
        (NameInvalidError, {"name": "b", "models": ["No Model"]}),
        (WebhookInvalidError, {"name": "b", "source": "a b"}),
    ]:
        with pytest.raises(error):
            create(database, "http://host/", **values)
    for url in BAD_URLS:
        with pytest.raises(WebhookInvalidError):
            create(database, url, name="b")
    with database.write() as tx, pytest.raises(WebhookInvalidError):
        create_webhook(tx, "b", url="http://host/", secret=SECRET[:20], actor="a", now_us=NOW_US)


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1::1", True, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("10.1.2.3", False, True),
        ("192.168.0.1", False, True),
        ("100.64.0.1", False, True),
        ("fd00::1", False, True),
        ("2002:0a00:0001::1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("2002:a9fe:a9fe::1", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),  # noqa: S104  (what must be refused)
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("255.255.255.255", False, False),
    ],
)
def test_private_addresses_take_a_setting_and_those_of_the_link_are_never_connected_to(address, public, private):
    assert is_allowed(address, private=False) is public
    assert is_allowed(address, private=True) is private


def test_a_private_address_is_refused_before_anything_is_sent(receiver):
    outcome = Poster(private=False).post(receiver.url, b"{}", {})
    assert (outcome.status_code, receiver.got) == (0, [])
    assert "--webhook-private" in outcome.error


def test_redirects_are_not_followed(receiver):
    receiver.answer = lambda _event: 302
    outcome = Poster(private=True).post(receiver.url, b"{}", {})
    assert (outcome.status_code, outcome.error, len(receiver.got)) == (302, "redirects are not followed", 1)


@pytest.mark.parametrize(
    "pieces", [b"HTTP/1.1 204 No", b"", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000, b"nonsense\r\n\r\n"]
)
def test_a_receiver_that_drips_floods_or_talks_nonsense_is_cut_off(pieces):
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve():
            made, _ = server.accept()
            with made, contextlib.suppress(OSError):
                made.sendall(pieces)
                while not done.wait(0.05):
                    made.sendall(b"z")

        thread = threading.Thread(target=serve)
        thread.start()
        outcome = Poster(private=True, timeout_s=0.5).post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {})
        done.set()
        thread.join()
    assert not outcome.delivered


def test_pauses_double_up_to_the_longest_and_differ():
    policy = RetryPolicy(first_s=1.0, pause_max_s=60.0)
    for attempts, longest in [(1, 1), (2, 2), (5, 16), (9, 60), (5000, 60)]:
        pauses = {policy.pause_us(attempts) for _ in range(50)}
        assert len(pauses) > 1
        assert all(longest / 2 <= pause / 1e6 <= longest for pause in pauses)
