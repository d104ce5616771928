"""Several gateways, one log: every event at every gateway once, whatever stops when. A real S3-compatible store."""

from __future__ import annotations

import contextlib
import random
import shutil

import msgspec
import obstore
import pyarrow.parquet as pq
import pytest

from gateway.control.compaction import Compactor
from gateway.control.erasing import Eraser
from gateway.control.sharing import Sharing
from gateway.journal.commits import EventFolders
from gateway.journal.errors import ChainBrokenError
from gateway.journal.log import EventLog
from gateway.journal.record import Outcome, Prediction, encode
from gateway.journal.rewriting import Subject
from gateway.journal.shared.shared import SharedLog
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock
from storage.database import open_database
from storage.objects import Objects, ObjectsUnreachableError

_DAY_US = 86_400_000_000


class Stopped(Exception):  # noqa: N818  (a stop on purpose)
    """The process died here."""


class Gateway:
    """What a gateway does with its events; `again` is the same one after it was killed."""

    def __init__(self, folder, url, *, after=lambda _step: None, kept_days=None):
        self.folders, self._url, self._kept_days = EventFolders(folder), url, kept_days
        folder.mkdir(exist_ok=True)
        self.objects = Objects(url)
        self.shared = SharedLog(self.folders, self.objects, after=after)
        self.sharing = Sharing(self.folders, self.shared)
        self.compactor = Compactor(folder, SystemClock(), sharing=self.sharing, kept_days=kept_days)

    def again(self, **changes):
        return Gateway(self.folders.state, self._url, **{"kept_days": self._kept_days} | changes)

    def write(self, *records, name="worker-0"):
        """Write records to a segment and seal it."""
        writer = JournalWriter(self.folders.journal, name=name, clock=SystemClock())
        writer.append([encode(record) for record in records])
        writer.close()

    def run(self):
        self.compactor.run_once()

    def seen(self):
        with EventLog(self.folders.state).snapshot() as connection:
            return [
                connection.execute(f"SELECT request_id FROM {relation} ORDER BY ALL").fetchall()
                for relation in ("all_predictions", "all_outcomes", "joined")
            ]

    def erase(self, tmp_path, **subject):
        database = open_database(f"sqlite:///{tmp_path}/audit.db")
        try:
            eraser = Eraser(database=database, clock=SystemClock(), tend=self.compactor.tend, sharing=self.sharing)
            return eraser.erase(Subject(**subject), reason="asked to", actor="ada", dry_run=False)
        finally:
            database.close()


@pytest.fixture
def url(bucket_server, bucket_credentials):  # noqa: ARG001  (they are found in the environment)
    return bucket_server.create()


@pytest.fixture
def pair(tmp_path, url):
    return Gateway(tmp_path / "a", url), Gateway(tmp_path / "b", url)


def _prediction(name, *, day=20_000, unit="u"):
    return Prediction(
        request_id=name, time_us=day * _DAY_US, event_time_us=day * _DAY_US, model="delay", version=1, unit_id=unit
    )


def _outcome(name, *, day=20_000):
    return Outcome(request_id=name, name="late", value=1.0, event_time_us=day * _DAY_US, time_us=day * _DAY_US + 1)


def test_an_outcome_at_one_gateway_meets_its_prediction_at_the_other(pair):
    a, b = pair
    a.write(_prediction("r1"), _prediction("r2"))
    b.write(_outcome("r1"), _prediction("r3"))
    for _ in range(2):
        a.run()
        b.run()
    wanted = [[("r1",), ("r2",), ("r3",)], [("r1",)], [("r1",)]]
    assert a.seen() == b.seen() == wanted
    assert (a.sharing.facts.shipped, a.sharing.facts.fetched, a.sharing.facts.waiting) == (1, 1, 0)
    a.run()
    assert (a.sharing.facts.shipped, a.sharing.facts.fetched) == (1, 1)


def test_what_is_merged_here_is_whole_everywhere(pair):
    a, b = pair
    for number in range(12):
        a.write(_prediction(f"a{number:02d}"))
        a.run()
        if number % 5 == 0:
            b.write(_prediction(f"b{number:02d}"))
            b.run()
    a.run()
    b.run()
    a.run()
    assert a.compactor.facts().merged_parts > 0
    assert a.seen() == b.seen()
    assert len(a.seen()[0]) == 12 + 3


@pytest.mark.parametrize("step", ["put", "shipped", "fetched", "committed"])
def test_an_exchange_that_stops_anywhere_loses_and_doubles_nothing(tmp_path, url, step):
    a, b = Gateway(tmp_path / "a", url), Gateway(tmp_path / "b", url)
    for number in range(3):
        a.write(_prediction(f"a{number}"), _outcome(f"a{number}"))
        b.write(_prediction(f"b{number}"))
    wanted = [[(f"{name}{number}",) for name in "ab" for number in range(3)], *([[(f"a{at}",) for at in range(3)]] * 2)]
    generator = random.Random(step)  # noqa: S311  (which of two is killed)
    for _ in range(4):  # each time another of the two is killed at another such step
        victim = generator.choice((a, b))
        left = [generator.randrange(4)]

        def die(reached, left=left):
            if reached == step:
                left[0] -= 1
                if left[0] < 0:
                    raise Stopped

        with contextlib.suppress(Stopped):
            victim.again(after=die).run()
        other = b if victim is a else a
        other.again().run()
    for _ in range(2):
        a.again().run()
        b.again().run()
    assert a.seen() == b.seen() == wanted


def test_while_the_bucket_is_away_events_wait_here_and_catch_up_later(tmp_path, url, monkeypatch):
    a, b = Gateway(tmp_path / "a", url), Gateway(tmp_path / "b", url)
    with monkeypatch.context() as away:
        away.setattr(a.shared._chains, "refresh", _unreachable)
        for number in range(10):
            a.write(_prediction(f"r{number}"))
            a.run()
        facts = a.sharing.facts
        assert (facts.failed, facts.shipped, facts.waiting) == (10, 0, 10)
        assert facts.waiting_bytes > 0
        assert a.compactor.facts().merged_parts == 0
        assert len(a.seen()[0]) == 10
    a.run()
    b.run()
    assert (a.sharing.facts.shipped, a.sharing.facts.waiting) == (10, 0)
    assert a.seen() == b.seen()


def _unreachable():
    raise ObjectsUnreachableError("away")


def test_erased_events_are_gone_at_every_gateway_and_from_the_bucket(pair, tmp_path, bucket_server, url):
    a, b = pair
    a.write(_prediction("r1", unit="ann"), _prediction("r2", unit="bob"))
    b.write(_outcome("r1"), _outcome("r2"), _prediction("r3", unit="ann"))
    for _ in range(2):
        a.run()
        b.run()
    a.erase(tmp_path, unit_id="ann")
    b.run()
    a.run()
    wanted = [[("r2",)], [("r2",)], [("r2",)]]
    assert a.seen() == b.seen() == wanted
    assert a.sharing.facts.erasures_open == 0
    late = Gateway(tmp_path / "c", url)
    late.run()
    assert late.seen() == wanted
    store = bucket_server.raw(url)
    keys = [each["path"] for page in obstore.list(store, prefix="parts/") for each in page]
    assert keys
    for key in keys:
        (tmp_path / "object").write_bytes(bytes(obstore.get(store, key).bytes()))
        assert not {"r1", "r3"} & set(pq.read_table(tmp_path / "object")["request_id"].to_pylist())


def test_a_gateway_that_did_not_know_of_an_erasure_when_it_shipped_makes_it_hold_later(pair, tmp_path):
    a, b = pair
    a.run()
    a.erase(tmp_path, unit_id="ann")
    b.shared.learn = lambda: None  # it has not heard of it
    b.write(_prediction("r1", unit="ann"), _prediction("r2", unit="bob"))
    b.run()
    assert b.seen()[0] == [("r1",), ("r2",)]
    a.run()
    assert a.seen()[0] == [("r2",)]
    assert a.sharing.facts.erasures_open == 1
    again = b.again()
    again.run()
    a.run()
    late = Gateway(tmp_path / "c", a._url)
    late.run()
    assert again.seen() == a.seen() == late.seen() == [[("r2",)], [], []]


def test_what_was_kept_long_enough_is_removed_from_the_bucket_and_no_newcomer_misses_it(tmp_path, url):
    a = Gateway(tmp_path / "a", url, kept_days={"predictions": 10_000})
    a.write(_prediction("new"), _prediction("old", day=1))
    a.run()
    b = Gateway(tmp_path / "b", url)
    b.run()
    assert a.seen()[0] == b.seen()[0] == [("new",)]
    assert len(a.objects.folders("parts/")) == 1


def test_a_copy_of_a_folder_ships_beside_it_and_both_have_all(tmp_path, url):
    a = Gateway(tmp_path / "a", url)
    a.write(_prediction("r1"))
    a.run()
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    copy = Gateway(tmp_path / "copy", url)
    assert copy.shared.gateway == a.shared.gateway
    a.write(_prediction("r2"))
    copy.write(_prediction("r3"))
    for _ in range(2):
        a.run()
        copy.run()
    assert a.seen() == copy.seen()
    assert [name for (name,) in a.seen()[0]] == ["r1", "r2", "r3"]


def test_a_file_that_is_not_what_was_shipped_is_not_taken(pair, caplog):
    a, b = pair
    a.write(_prediction("r1"))
    a.run()
    ((_, shipped),) = a.shared.index.shipped.values()
    a.objects.remove(shipped.parts[0].key)
    assert a.objects.create(shipped.parts[0].key, b"something else")
    b.run()
    assert b.seen()[0] == []
    assert "is not what was shipped" in caplog.text
    assert b.sharing.facts.failed == 1


@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd.parquet", "/srv/x.parquet", "predictions/../../x.parquet", "commits/x.parquet", "predictions"],
)
def test_a_chain_that_names_files_elsewhere_is_refused(pair, path, tmp_path):
    a, b = pair
    a.write(_prediction("r1"))
    a.run()
    (entry,) = a.shared._chains.entries(a.shared.gateway)
    shipped = entry.shipped[0]
    part = msgspec.structs.replace(shipped.parts[0], part=msgspec.structs.replace(shipped.parts[0].part, path=path))
    forged = msgspec.structs.replace(entry, shipped=(msgspec.structs.replace(shipped, parts=(part,)),))
    b.objects.remove(f"chains/{a.shared.gateway}/000000000001.json")
    assert b.objects.create(f"chains/{a.shared.gateway}/000000000001.json", msgspec.json.encode(forged))
    b.shared.learn()
    with pytest.raises(ChainBrokenError, match="no gateway writes"):
        b.shared.fetch()
    assert list(tmp_path.rglob("x.parquet")) == []
