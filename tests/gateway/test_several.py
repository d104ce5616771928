"""Two gateways with state folders of their own on one PostgreSQL, one bucket for events, and one Redis for wake-ups."""

from __future__ import annotations

import http.server
import json
import threading
import time

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.bootstrap.recovery import main
from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.events.v1 import event_service_pb2
from turnout.experiments.v1 import experiment_service_pb2 as epb
from turnout.outcomes.v1 import outcome_service_pb2
from turnout.registry.v1 import registry_service_pb2 as rpb
from turnout.registry.v1 import watch_pb2
from turnout.registry.v1 import webhook_service_pb2 as wpb
from turnout.registry.v1 import webhook_service_pb2_grpc as wpb_grpc

PATIENCE_S = 60


class Receiver:
    """Keeps the revisions that it is told of."""

    def __init__(self):
        self.revisions = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.revisions.append(event["data"].get("revision", 0))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


@pytest.fixture(scope="module")
def receiver():
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def events(bucket_server):
    """Return where the gateways share their events; the credentials are in the environment meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", bucket_server.keys[0])
        patch.setenv("AWS_SECRET_ACCESS_KEY", bucket_server.keys[1])
        yield bucket_server.create()


@pytest.fixture(scope="module")
def pair(launch, operator_of, postgresql, start_redis, tmp_path_factory, events):
    """Return two operators, each of a gateway of its own; the artifacts are on a file system that both have."""
    redis = start_redis(tmp_path_factory.mktemp("redis", numbered=True))
    sharing = ("--wakeups", redis.url, "--events", events, "--segment-age-max-s", "0.5", "--compact-interval-s", "0.5")
    url = postgresql.create()
    operators, shared = [], tmp_path_factory.mktemp("shared")
    for name in ("one", "other"):
        state = tmp_path_factory.mktemp(name) / "state"
        state.mkdir()
        (state / "artifacts").symlink_to(shared)
        operators.append(operator_of(launch(state, "--database", url, "--webhook-private", *sharing)))
    one, _ = operators
    one.publish("m", 2.0, alias="champion")
    one.publish("m", 3.0)
    yield operators
    for operator in operators:
        operator.close()
        operator.gateway.kill()


def wait_until(holds):
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.02)


def set_alias(operator, alias="canary", version=1, **fields):
    request = rpb.SetAliasRequest(name=f"models/m/versions/{version}", alias=alias, **fields)
    return operator.registry.SetAlias(request, timeout=20)


def moves(operator, alias):
    request = rpb.ListAliasHistoryRequest(parent="models/m", alias=alias)
    return list(operator.registry.ListAliasHistory(request, timeout=20).moves)


def test_a_promotion_by_either_reaches_the_predictions_of_both(pair):
    for step, by in enumerate([*pair, *pair]):
        version = 2 - step % 2
        revision = by.promote("m", version, wait=False).revision
        for operator in pair:
            operator.wait(revision)
            assert operator.predict("m").version == version


def test_who_follows_one_sees_what_is_changed_at_the_other(pair):
    one, other = pair
    watch = other.registry.WatchModels(watch_pb2.WatchModelsRequest(), timeout=60)
    first = next(watch)
    assert {model.name for model in first.models} == {"models/m"}
    revision = set_alias(one, version=2).revision
    later = next(each for each in watch if each.revision >= revision)
    assert {alias.alias: alias.version for alias in later.models[0].aliases}["canary"] == 2
    watch.cancel()


def test_an_alias_that_ends_by_itself_ends_once(pair):
    for step in range(3):
        alias = f"brief{step}"
        set_alias(pair[step % 2], alias=alias, expire_time_us=time.time_ns() // 1000 + 3_000_000)
    wait_until(lambda: all(len(moves(pair[0], f"brief{step}")) > 1 for step in range(3)))
    set_alias(pair[0])  # what comes after is later than any second removal would have been written
    for step in range(3):
        assert [move.removed for move in moves(pair[1], f"brief{step}")] == [True, False]


def test_each_knows_of_the_other(pair):
    def listed(operator):
        return {each.data_address: each for each in operator.admin.ListGateways(apb.ListGatewaysRequest()).gateways}

    addresses = {operator.gateway.data_address for operator in pair}
    wait_until(lambda: all(listed(pair[0]).get(each, apb.Gateway()).ready_workers for each in addresses))
    found = listed(pair[1])
    assert found.keys() == addresses
    assert len({each.name for each in found.values()}) == 2
    for each in found.values():
        assert (each.alive, each.stopped, each.workers, each.ready_workers) == (True, False, 1, 1)
        assert "models/m/versions/1" in each.versions


def test_both_analyse_what_either_journalled(pair):
    one, other = pair
    experiment = one.start_experiment("m", name="shared")
    other.wait()
    for number in range(40):
        asked, told = (one, other) if number % 2 else (other, one)
        answer = asked.predict("m", request_id=f"shared-{number}", unit_id=f"u{number}")
        assert answer.experiment == "shared"
        told.record(outcome_service_pb2.Outcome(request_id=f"shared-{number}", name="late", value=number % 3))
    wait_until(lambda: all(operator.counts().joined_outcomes == 40 for operator in pair))
    request = epb.AnalyzeExperimentRequest(name=experiment.name)
    reports = [operator.experiments.AnalyzeExperiment(request) for operator in pair]
    units = [sorted((each.variant, each.units) for each in report.counts) for report in reports]
    assert units[0] == units[1]
    assert sum(count for _, count in units[0]) == 40
    one.experiments.ConcludeExperiment(epb.ConcludeExperimentRequest(name=experiment.name, reason="all seen"))


def test_what_a_dead_gateway_left_on_its_disk_is_brought_back(pair, events, launch, operator_of, tmp_path, capfd):
    _, other = pair
    lost = operator_of(launch(tmp_path / "lost", "--events", events, "--segment-age-max-s", "3600"))
    lost.publish("gone", 2.0, alias="champion")
    lost.wait()
    for number in range(10):
        lost.predict("gone", request_id=f"gone-{number}", unit_id=f"u{number}")
    lost.close()
    assert main(["--events", events, str(tmp_path / "lost")]) == 1  # it runs
    lost.gateway.kill()
    capfd.readouterr()
    wait_until(lambda: main(["--events", events, str(tmp_path / "lost")]) == 0)  # its worker ends a moment later
    done = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert sum(each["compacted_records"] for each in done) == 10
    assert (done[-1]["open_segments"], done[-1]["waiting_segments"], done[-1]["failing_segments"]) == (0, 0, {})
    assert main(["--events", events, str(tmp_path / "lost")]) == 0
    assert json.loads(capfd.readouterr().out)["shipped_segments"] == 0
    request = event_service_pb2.CountEventsRequest(model="gone")
    wait_until(lambda: other.events.CountEvents(request).predictions == 10)


def test_events_are_delivered_by_one_and_after_its_death_by_the_other(pair, receiver):
    one, other = pair
    hooks = {operator: wpb_grpc.WebhookServiceStub(operator.control) for operator in pair}
    created = hooks[one].CreateWebhook(
        wpb.CreateWebhookRequest(
            webhook=wpb.Webhook(name="webhooks/hook", url=receiver.url, event_kinds=["alias.*"], models=["models/m"])
        )
    )
    assert created.secret.startswith("whsec_")
    assert created.secret not in str(hooks[other].GetWebhook(wpb.GetWebhookRequest(name="webhooks/hook")))
    assert hooks[other].TestWebhook(wpb.TestWebhookRequest(name="webhooks/hook")).delivered
    receiver.revisions.clear()
    expected = [set_alias(pair[step % 2], version=1 + step % 2).revision for step in range(20)]
    wait_until(lambda: len(set(receiver.revisions)) == len(expected))
    assert list(dict.fromkeys(receiver.revisions)) == expected
    # Both have something to do from now on; the one that is killed may hold the lease.
    for paused in (True, False):
        hooks[other].UpdateWebhook(
            wpb.UpdateWebhookRequest(
                webhook=wpb.Webhook(name="webhooks/hook", paused=paused), update_mask=FieldMask(paths=["paused"])
            )
        )
        if paused:
            expected += [set_alias(one, version=1 + step % 2).revision for step in range(20)]
    one.gateway.kill()
    expected += [set_alias(other, version=1 + step % 2).revision for step in range(5)]
    wait_until(lambda: len(set(receiver.revisions)) == len(expected))
    assert list(dict.fromkeys(receiver.revisions)) == expected
    request = wpb.ListDeliveriesRequest(parent="webhooks/hook")
    wait_until(
        lambda: (
            {each.state for each in hooks[other].ListDeliveries(request).deliveries} == {wpb.DELIVERY_STATE_DELIVERED}
        )
    )
