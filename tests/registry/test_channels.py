"""People are told by channels: through real receivers, together, seldom, once, and without a word of the address."""

from __future__ import annotations

import email
import http.server
import json
import threading
import time
from email.header import decode_header, make_header
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from gateway.bootstrap.configuration import main as check_settings
from gateway.control.channels import Channel, read_channels
from gateway.control.posting import Poster
from gateway.control.telling import Teller, full_until, keep_channels
from gateway.control.webhooks import RetryPolicy, WebhookCourier
from gateway.control.wording import compose, fields_of, key_of
from gateway.errors import SettingInvalidError
from registry.deliveries import derive, due, list_deliveries
from registry.errors import WebhookExistsError, WebhookInvalidError
from registry.notices import Told
from registry.webhooks import create_webhook, get_webhook, list_webhooks
from storage.clock import SystemClock
from storage.database import open_database
from storage.revision import Change, record_change
from turnout.cli.policy_file import read_policy
from turnout.control import Control
from turnout.errors import TurnoutError
from turnout.registry.v1 import webhook_service_pb2 as webhook_pb
from turnout.trainer.v1 import run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

# The server in the test speaks without TLS, to itself.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

EXAMPLE = Path(__file__).parents[2] / "examples" / "retraining.toml"
PASSWORD = "hush-sesame-4711"  # noqa: S105  (looked for wherever it must not be)
HOUR_US = 3_600_000_000
PROMPT = RetryPolicy(attempts_max=1000, first_s=0.01, pause_max_s=0.05)
KINDS = ("triggered", "started", "blessed", "refused", "deployed", "rolled_back", "failed", "paused")


class Hooks:
    """A server of HTTP that takes what apprise's `json://` sends, or refuses it."""

    def __init__(self):
        self.got, self.refusing = [], False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                refusing = outer.refusing
                if not refusing:
                    outer.got.append(json.loads(body))
                self.send_response(503 if refusing else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://teller:{PASSWORD}@127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class FreePort(Controller):
    """A controller that is content with whichever port is free."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Mails:
    """A server of SMTP that asks for a password."""

    def __init__(self):
        self.got = []
        self._controller = FreePort(
            self, hostname="127.0.0.1", port=0, auth_required=True, auth_require_tls=False, authenticator=self._knows
        )
        self._controller.start()
        self.url = f"mailto://teller:{PASSWORD}@127.0.0.1:{self._controller.port}/?mode=insecure&format=text&from=t@example.com&to=ops@example.com"

    @staticmethod
    def _knows(_server, _session, _envelope, _mechanism, said):
        return AuthResult(success=(said.login, said.password) == (b"teller", PASSWORD.encode()))

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802  (aiosmtpd's name)
        self.got.append(email.message_from_bytes(envelope.content))
        return "250 OK"

    def close(self):
        self._controller.stop()


@pytest.fixture
def hooks():
    made = Hooks()
    yield made
    made.close()


@pytest.fixture
def mails():
    made = Mails()
    yield made
    made.close()


@pytest.fixture
def database(tmp_path):
    opened = open_database(f"sqlite:///{tmp_path}/turnout.db")
    yield opened
    opened.close()


@pytest.fixture
def write(tmp_path):
    """Return what writes a file of channels, each with its address in a file beside it, and reads it."""

    def written(urls, **settings):
        lines = []
        for name, url in urls.items():
            (tmp_path / f"{name}.url").write_text(url + "\n")
            lines += [f"[{name}]", f'url_file = "{tmp_path}/{name}.url"']
            lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        (tmp_path / "channels.toml").write_text("\n".join(lines))
        return tmp_path / "channels.toml"

    return written


@pytest.fixture
def courier(database):
    """Return what delivers on the database until the end of the test."""
    stopped, running = threading.Event(), []

    def start(channels):
        keep_channels(database, channels, SystemClock())
        made = WebhookCourier(database, Poster(private=True), Teller(database, channels), PROMPT)
        running.append((made, threading.Thread(target=made.run, args=(stopped,))))
        running[-1][1].start()
        return made

    yield start
    stopped.set()
    for made, thread in running:
        thread.join()
        made.close()


def happen(database, kind, *, channels=("ops",), **detail):
    """Write down that something came of a policy, as the records of training do."""
    about = {"policy": "policies/fares", "model": "models/fares", "channels": list(channels)}
    with database.write() as tx:
        return record_change(
            tx,
            kind=f"training.{kind}",
            resource="policies/fares/runs/1",
            actor="trainer",
            detail=about | detail,
            now_us=time.time_ns() // 1000,
        )


def wait_until(holds):
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.01)


def states(database, webhook="ops"):
    with database.read() as tx:
        return [each.state for each in list_deliveries(tx, webhook, limit_max=100)]


def test_all_that_comes_of_a_policy_reaches_a_hook_and_a_mailbox_that_it_names(database, write, courier, hooks, mails):
    channels = read_channels(write({"ops": hooks.url, "mail": mails.url, "others": hooks.url}))
    courier(channels)
    for number, kind in enumerate(KINDS):
        happen(database, kind, channels=("ops", "mail"), version=number, reason=f"because of {number}")
    wait_until(lambda: set(states(database)) == set(states(database, "mail")) == {"delivered"})
    assert len(states(database)) == len(states(database, "mail")) == len(KINDS)
    assert states(database, "others") == []
    by_hook = "\n".join(each["message"] for each in hooks.got)
    by_mail = "\n".join(each.get_payload(decode=True).decode() for each in mails.got)
    for said in (by_hook, by_mail):
        assert [f"because of {number}" in said for number in range(len(KINDS))] == [True] * len(KINDS)
        assert "version 4 is deployed" in said
        assert "policies/fares/runs/1" in said
    assert mails.got[0]["to"] == "ops@example.com"
    subject = str(make_header(decode_header(mails.got[0]["subject"])))
    assert subject.startswith("fares: a run was triggered")


def test_what_a_receiver_refuses_arrives_later_and_nothing_that_is_said_holds_the_address(
    database, write, courier, hooks, tmp_path, caplog
):
    caplog.set_level(1)
    channels = read_channels(write({"ops": hooks.url}))
    hooks.refusing = True
    courier(channels)
    happen(database, "failed", reason="no rows")

    def attempted():
        with database.read() as tx:
            return [each for each in list_deliveries(tx, "ops", limit_max=9) if each.attempts]

    wait_until(attempted)
    (waiting,) = attempted()
    assert (waiting.state, waiting.status_code, waiting.error) == ("pending", 503, "JSON did not take it: 503")
    assert channels.send("ops", "a", "b").error == "JSON did not take it: 503"
    hooks.refusing = False
    wait_until(lambda: states(database) == ["delivered"])
    assert [each["title"] for each in hooks.got] == ["fares: a run failed"]
    kept = b"".join(each.read_bytes() for each in tmp_path.glob("turnout.db*"))
    assert b"channel:ops" in kept
    assert PASSWORD.encode() not in kept
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr(channels.get("ops"))


def test_what_waits_goes_in_one_message_and_no_more_leave_than_the_hour_allows(database, write, hooks):
    channels = read_channels(write({"ops": hooks.url}, messages_per_hour=1))
    keep_channels(database, channels, SystemClock())
    teller = Teller(database, channels)

    def attempt():
        with database.write() as tx:
            derive(tx, now_us=0)
            ready = due(tx, now_us=time.time_ns() // 1000)
        for head in ready:
            written = teller.attempt(head, "ops", attempts_max=9, pause_us=0)
            with database.write() as tx:
                written(tx, time.time_ns() // 1000)
        return ready

    happen(database, "triggered", reason="drift")
    happen(database, "started")
    attempt()
    assert [each["title"] for each in hooks.got] == ["fares: a run was triggered, and 1 more"]
    happen(database, "failed", reason="no rows")
    assert len(attempt()) == 1
    # An hour has not passed: it waits, without having been attempted, whoever delivers next.
    assert attempt() == []
    assert len(hooks.got) == 1
    with database.read() as tx:
        (waiting,) = list_deliveries(tx, "ops", state="pending", limit_max=9)
    assert waiting.attempts == 0
    assert waiting.due_us > time.time_ns() // 1000 + HOUR_US * 0.9


def test_what_was_told_already_is_held_back_for_its_time_and_what_is_new_is_not(database, write, courier, hooks):
    courier(read_channels(write({"ops": hooks.url}, repeat_s=3600)))
    first = happen(database, "failed", findings=["no rows"])
    wait_until(lambda: states(database) == ["delivered"])
    happen(database, "failed", findings=["no rows"])
    wait_until(lambda: states(database) == ["delivered"] * 2)
    happen(database, "failed", findings=["no memory"])
    wait_until(lambda: states(database) == ["delivered"] * 3)
    assert [each["message"].splitlines()[1] for each in hooks.got] == ["no rows", "no memory"]
    with database.read() as tx:
        held = list_deliveries(tx, "ops", limit_max=9)[1]
    assert held.error == f"the same as {first}, which was told"


def test_one_who_lost_the_lease_writes_nothing_and_it_comes_again(database, write, hooks):
    channels = read_channels(write({"ops": hooks.url}))
    keep_channels(database, channels, SystemClock())
    happen(database, "failed", reason="no rows")
    for _ in range(2):  # the first dies between the message and the note of it
        with database.write() as tx:
            derive(tx, now_us=0)
            (head,) = due(tx, now_us=time.time_ns() // 1000)
        written = Teller(database, channels).attempt(head, "ops", attempts_max=9, pause_us=0)
    with database.write() as tx:
        written(tx, time.time_ns() // 1000)
    assert len(hooks.got) == 2
    assert states(database) == ["delivered"]
    assert Teller(database, channels).attempt(head, "ops", attempts_max=9, pause_us=0) is None


def change(number, kind, time_us=1_700_000_000_000_000, **detail):
    return Change(number, kind, "policies/p/runs/3", "trainer", detail, time_us, None, None, None, None)


def test_a_message_is_worded_by_the_channels_templates_and_says_the_same_once():
    about = {"policy": "policies/p", "model": "models/m"}
    changes = [
        change(7, "training.failed", **about, findings=["no rows", "no labels"]),
        change(8, "training.failed", **about, findings=["no rows", "no labels"]),
        change(9, "alias.moved"),
    ]
    channel = Channel(url_env="X", title="[$model] $what", body="$what: $why ($policy, $event)")
    message = compose(channel, changes)
    assert message.title == "[m] a run failed, and 1 more"
    assert message.body == "a run failed: no rows; no labels (p, 8)\n(2 times)\n\nalias.moved:  (, 9)"
    assert fields_of(changes[0])["time"] == "2023-11-14 22:13:20 UTC"
    assert key_of(changes[0]) == key_of(changes[1]) != key_of(changes[2])
    # What somebody gave as a reason cannot break the line that a subject is.
    assert "\n" not in compose(channel, [change(1, "training.paused", model="models/m\nBcc: x")]).title


def test_the_hours_messages_are_counted_by_when_they_left():
    channel = Channel(url_env="X", messages_per_hour=2)
    now = 10 * HOUR_US
    # Two changes of one message count once.
    left = [Told(now - ago, change(1, "training.failed")) for ago in (10, 10, HOUR_US - 5, HOUR_US + 5)]
    assert full_until(channel, left[:2], now) == 0
    assert full_until(channel, left, now) == now + 5
    assert full_until(channel, left, now + 6) == 0


def test_a_channel_that_cannot_be_is_refused_before_anything_is_told(tmp_path, database, write, hooks):
    def reading(text):
        (tmp_path / "channels.toml").write_text(text)
        return read_channels(tmp_path / "channels.toml")

    for text, said in (
        ("[ops]", "url_env or url_file"),
        ('[ops]\nurl_env = "A"\nurl_file = "b"', "one of the two"),
        ('[Ops]\nurl_env = "A"', "small letters"),
        ('[ops]\nurl_env = "A"\nurl = "json://x"', "unknown field `url`"),
        ('[ops]\nurl_env = "A"\ntitle = "$secret"', r"\$secret is nothing"),
        ('[ops]\nurl_env = "A"\nbody = "5 $"', "stands alone"),
        ('[ops]\nurl_env = "A"\nmessages_per_hour = 0', ">= 1"),
        ("[ops", "channels.toml"),
    ):
        with pytest.raises(SettingInvalidError, match=said):
            reading(text)
    channels = reading('[ops]\nurl_env = "TURNOUT_TEST_NO_SUCH_VARIABLE"')
    assert (
        channels.send("ops", "a", "b").error == "the variable TURNOUT_TEST_NO_SUCH_VARIABLE does not hold one address"
    )
    assert "no channel 'other'" in channels.send("other", "a", "b").error
    nonsense = read_channels(write({"ops": f"nonsense://{PASSWORD}"}))
    assert nonsense.send("ops", "a", "b").error.endswith("holds no address that apprise understands")
    with pytest.raises(WebhookInvalidError, match="there is no channel 'nowhere'"):
        Teller(database, channels).check("channel:nowhere")
    # The name is taken by what leads elsewhere.
    with database.write() as tx:
        create_webhook(tx, "ops", url="https://example.com", actor="somebody", now_us=1)
    with pytest.raises(WebhookExistsError):
        keep_channels(database, read_channels(write({"ops": hooks.url})), SystemClock())


def test_a_channel_is_made_once_and_hears_of_other_changes_where_a_webhook_says_so(database, write, courier, hooks):
    channels = read_channels(write({"ops": hooks.url}))
    courier(channels)
    keep_channels(database, channels, SystemClock())
    with database.write() as tx:
        assert [each.id for each in list_webhooks(tx)] == ["ops"]
        assert get_webhook(tx, "ops").event_kinds == ("training.*",)
        create_webhook(tx, "moves", url="channel:ops", event_kinds=["alias.*"], actor="somebody", now_us=1)
    with database.write() as tx:
        record_change(
            tx, kind="alias.moved", resource="models/fares/aliases/champion", actor="ann", detail={}, now_us=5
        )
    wait_until(lambda: states(database, "moves") == ["delivered"])
    assert [each["title"] for each in hooks.got] == ["fares: alias.moved"]


def test_a_gateway_that_is_killed_again_and_again_tells_all_that_came_of_a_policy(
    launch, write, hooks, tmp_path, capfd
):
    flags = ("--channels", str(write({"ops": hooks.url}, repeat_s=0)), "--webhook-retry-s", "0.05")
    asked = read_policy(EXAMPLE)
    asked.policy_id, asked.policy.model = "fares", "models/fares"
    asked.policy.notifications.channels.append("nowhere")
    asked.policy.budget.failures_max = 2
    hooks.refusing = True
    for life in range(2):
        gateway = launch(tmp_path / "state", *flags)
        with Control(gateway.control_address, actor="ada") as control:
            if not life:
                with pytest.raises(TurnoutError, match="there is no 'nowhere'"):
                    control.training.CreatePolicy(asked)
                asked.policy.notifications.channels[:] = ["ops"]
                control.training.CreatePolicy(asked)
            control.training.StartRun(pb.StartRunRequest(parent="policies/fares"))
            claimed = control.training.ClaimRun(pb.ClaimRunRequest(trainer="t"))
            failed = pb.FinishRunRequest(
                name=claimed.run.name,
                token=claimed.token,
                state=run_pb2.RUN_STATE_FAILED,
                findings=[f"the disk is full, {life}"],
            )
            control.training.FinishRun(failed)
        gateway.kill()
    hooks.refusing = False
    gateway = launch(tmp_path / "state", *flags)
    with Control(gateway.control_address) as control:  # the pauses between attempts have grown
        control.webhooks.RedeliverWebhook(webhook_pb.RedeliverWebhookRequest(name="webhooks/ops"))
    said = ["policies/fares/runs/1", "the disk is full, 0", "the disk is full, 1", "runs/2", "the policy is paused"]
    wait_until(lambda: all(each in "\n".join(one["message"] for one in hooks.got) for each in said))
    with Control(gateway.control_address) as control:
        tried = control.webhooks.TestWebhook(webhook_pb.TestWebhookRequest(name="webhooks/ops"))
        assert (tried.delivered, tried.error) == (True, "")
        (found,) = control.webhooks.ListWebhooks(webhook_pb.ListWebhooksRequest()).webhooks
        assert found.url == "channel:ops"
    assert gateway.stop() == 0
    check_settings(["check", "--state", str(tmp_path / "state"), *flags])
    printed = capfd.readouterr().out
    (part,) = [each for each in json.loads(printed)["parts"] if each["part"] == "channels"]
    assert (part["found"], part["failures"]) == (["ops: JSON"], [])
    files = [each for each in (tmp_path / "state").rglob("*") if each.is_file()]
    assert not [each for each in files if PASSWORD.encode() in each.read_bytes()]
    assert PASSWORD not in printed
