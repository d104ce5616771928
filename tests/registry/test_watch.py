"""Following the registry: whole snapshots, no older than what the caller has, and signs of life."""

from __future__ import annotations

import grpc
import pytest

from gateway.rpc.registry_calls.watching import WATCHERS_MAX
from registry.aliases import remove_alias, set_alias
from registry.champion import promote
from registry.models import create_model, delete_model
from registry.versions import add_version
from storage.database import open_database
from storage.revision import current_revision
from turnout.registry.v1.watch_pb2 import WatchModelsRequest

NOW_US = 1_700_000_000_000_000
SECONDS = 60


def publish(database, draft, model="fraud", *, count=2):
    with database.write() as tx:
        create_model(tx, model, actor="a", now_us=NOW_US)
        for _ in range(count):
            add_version(tx, draft(model), actor="a", now_us=NOW_US)


def follow(served, after=None):
    return served.stub.WatchModels(WatchModelsRequest(after_revision=after), timeout=SECONDS)


def revision_of(database):
    with database.read() as tx:
        return current_revision(tx)


def test_the_first_message_is_the_whole_of_what_is_named(served, database, draft):
    publish(database, draft)
    publish(database, draft, "risk", count=0)
    with database.write() as tx:
        promote(tx, "fraud", 1, actor="a", now_us=NOW_US)
        set_alias(tx, "fraud", 2, alias="canary", expires_us=NOW_US + 10, actor="a", now_us=NOW_US)
    watch = follow(served)
    first = next(watch)
    watch.cancel()
    assert (first.revision, first.heartbeat) == (revision_of(database), False)
    fraud, risk = first.models
    assert [(each.alias, each.version, each.generation, each.expire_time_us) for each in fraud.aliases] == [
        ("canary", 2, 1, NOW_US + 10),
        ("champion", 1, 1, 0),
    ]
    assert [(each.version, each.stage) for each in fraud.versions] == [(1, "production"), (2, "development")]
    assert (risk.name, risk.latest_version, list(risk.aliases), list(risk.versions)) == ("models/risk", 0, [], [])


def test_a_later_message_holds_everything_again_and_not_what_is_gone(served, database, draft):
    publish(database, draft)
    publish(database, draft, "risk", count=0)
    watch = follow(served)
    before = next(watch).revision
    with database.write() as tx:
        set_alias(tx, "fraud", 2, alias="canary", actor="a", now_us=NOW_US)
    second = next(watch)
    assert second.revision > before
    assert [(model.name, len(model.aliases)) for model in second.models] == [("models/fraud", 1), ("models/risk", 0)]
    with database.write() as tx:
        remove_alias(tx, "fraud", "canary", actor="a", now_us=NOW_US)
        delete_model(tx, "risk", actor="a", now_us=NOW_US)
    third = next(watch)
    watch.cancel()
    assert [(model.name, len(model.aliases)) for model in third.models] == [("models/fraud", 0)]


def test_who_comes_back_hears_nothing_until_something_is_newer(serve, database, draft):
    served = serve(heartbeat_s=1.0)
    publish(database, draft)
    seen = revision_of(database)
    watch = follow(served, after=seen)
    sign = next(watch)
    assert (sign.heartbeat, sign.revision, list(sign.models)) == (True, seen, [])
    with database.write() as tx:
        set_alias(tx, "fraud", 1, alias="canary", actor="a", now_us=NOW_US)
    news = next(each for each in watch if not each.heartbeat)
    watch.cancel()
    assert (news.revision, len(news.models)) == (seen + 1, 1)
    assert next(follow(served, after=seen)).revision == seen + 1


def test_what_another_process_commits_is_seen_too(served, database, database_url, draft):
    publish(database, draft)
    watch = follow(served)
    next(watch)
    elsewhere = open_database(database_url)
    with elsewhere.write() as tx:
        set_alias(tx, "fraud", 1, alias="canary", actor="a", now_us=NOW_US)
    elsewhere.close()
    assert next(watch).models[0].aliases[0].alias == "canary"
    watch.cancel()


def test_as_many_follow_as_may_while_other_calls_are_answered_and_who_leaves_makes_room(served, database, draft):
    publish(database, draft)
    watches = [follow(served) for _ in range(WATCHERS_MAX)]
    for watch in watches:
        next(watch)
    with pytest.raises(grpc.RpcError) as refused:
        next(follow(served))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with database.write() as tx:
        set_alias(tx, "fraud", 1, alias="canary", actor="a", now_us=NOW_US)
    assert {next(watch).revision for watch in watches} == {revision_of(database)}
    for watch in watches:
        watch.cancel()

    def room():
        try:
            return next(follow(served)).models
        except grpc.RpcError:
            return None

    assert any(room() for _ in range(2000))
