"""A gateway whose metadata is in PostgreSQL."""

import time

import grpc
import psycopg
import pytest

from turnout.outcomes.v1 import outcome_service_pb2
from turnout.registry.v1 import registry_service_pb2 as rpb

PATIENCE_S = 60


def champion(operator):
    model = operator.registry.GetModel(rpb.GetModelRequest(name="models/m")).model
    return next(alias.version for alias in model.aliases if alias.alias == "champion")


def test_publications_and_promotions_survive_a_kill_of_everything(launch, operate, postgresql, tmp_path):
    flags = ("--database", postgresql.create())
    gateway = launch(tmp_path / "state", *flags)
    operator = operate(gateway)
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 3.0)
    operator.promote("m", 2)
    assert operator.predict("m").version == 2
    assert not (tmp_path / "state" / "turnout.db").exists()
    gateway.kill()
    again = operate(launch(tmp_path / "state", *flags))
    assert champion(again) == 2
    assert again.predict("m").version == 2


def test_what_was_served_is_served_on_where_the_database_is_older_and_refused_after_the_limit(
    launch, operate, postgresql, tmp_path, refusal
):
    url = postgresql.create()
    gateway = launch(tmp_path / "state", "--database", url)
    operator = operate(gateway)
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 3.0)
    newest = operator.promote("m", 2).revision
    gateway.kill()
    revision_is(url, newest - 1)  # as a copy says that lags
    again = operate(launch(tmp_path / "state", "--database", url, "--stale-max-s", "1"))
    assert again.status().revision == newest
    until = time.monotonic() + PATIENCE_S
    while answers(again):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert refusal(again.predict, "m")[:2] == (grpc.StatusCode.UNAVAILABLE, "GATEWAY_STALE")
    outcome = outcome_service_pb2.Outcome(request_id="before", name="late", value=1)
    assert again.record(outcome).results[0].status == outcome_service_pb2.OUTCOME_STATUS_RECORDED
    revision_is(url, newest)
    stale_since(again, silent=False)
    assert again.predict("m").version == 2


def answers(operator):
    try:
        return operator.predict("m").version == 2
    except grpc.RpcError:
        return False


def revision_is(url, value):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE revision SET value = %s", [value])


def test_without_its_database_a_gateway_serves_on_and_refuses_changes_until_it_is_back(
    launch, operate, postgresql, tmp_path
):
    url = postgresql.create()
    operator = operate(launch(tmp_path / "state", "--database", url))
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 3.0)
    operator.wait(operator.promote("m", 1).revision)
    postgresql.only_read(url, "on")
    assert operator.predict("m").version == 1
    assert "no changes" in refused_to_promote(operator).details()
    postgresql.only_read(url, "off")
    postgresql.refuse(url)
    assert operator.predict("m").version == 1
    assert "does not answer" in refused_to_promote(operator).details()
    assert operator.predict("m").version == 1
    served = stale_since(operator, silent=True)
    assert {each.revision for each in served.workers} == {served.revision}
    postgresql.allow(url)
    stale_since(operator, silent=False)
    operator.promote("m", 2)
    assert operator.predict("m").version == 2


def refused_to_promote(operator):
    with pytest.raises(grpc.RpcError) as refused:
        operator.promote("m", 2, wait=False)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "DATABASE_UNREACHABLE" in str(refused.value.trailing_metadata())
    return refused.value


def stale_since(operator, *, silent):
    """Wait until the gateway says that the database is silent, or answers again, and return its status."""
    until = time.monotonic() + PATIENCE_S
    while bool((status := operator.status()).stale_since_us) is not silent:
        assert time.monotonic() < until, status
        time.sleep(0.05)
    return status
