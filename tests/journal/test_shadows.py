"""Shadows in the journal: a kind of their own, paired with predictions and never counted among them."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from gateway.control.erasing import Erasures
from gateway.journal.commits import Commit, EventFolders, Part, write_commit
from gateway.journal.compact import compact
from gateway.journal.log import EventLog
from gateway.journal.record import SHADOW_KIND, Output, Prediction, Shadow, decode, encode
from gateway.journal.rewriting import Rewriter, Subject
from gateway.journal.tail import EventTail
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock


@pytest.fixture
def folders(tmp_path):
    return EventFolders(tmp_path)


@pytest.fixture
def write(folders):
    def write(*records, name="w"):
        writer = JournalWriter(folders.journal, name=name, clock=SystemClock())
        writer.append([encode(record) for record in records])
        writer.close()

    return write


def _live(request, *, model="delay", time=10, value=0.5):
    return Prediction(
        request_id=request,
        time_us=time,
        event_time_us=9,
        model=model,
        version=1,
        unit_id=f"u-{request}",
        experiment="canary",
        variant="old",
        epoch=2,
        outputs=[Output("p", "float32", (1,), np.float32(value).tobytes())],
        latency_us=80,
    )


def _shadow(request, *, model="delay", time=20, value=0.75, **fields):
    return Shadow(
        request_id=request,
        time_us=time,
        event_time_us=9,
        model=model,
        version=2,
        digest="cd",
        live_version=1,
        share=0.5,
        unit_id=f"u-{request}",
        entities={"carrier": "UA"},
        features=np.array([1.5, -3.0]).tobytes(),
        view_status=b"\x01",
        view_age_ms=[5],
        outputs=[Output("p", "float32", (1,), np.float32(value).tobytes())],
        run_us=12,
        **fields,
    )


def _everywhere(folders, check):
    """Run the check over live records and again over Parquet."""
    check(EventLog(folders.state))
    assert compact(folders).failed == {}
    check(EventLog(folders.state))


def test_a_shadow_stands_beside_its_prediction_and_is_not_counted_as_one(folders, write):
    write(_live("a"), _live("b"), _live("alone"), name="live")
    # A retry runs the shadow a second time; the first counts. One of another model's call has no pair.
    write(_shadow("a"), _shadow("b", value=0.5), _shadow("a", time=30, value=9.0), _shadow("alone", model="x"))

    def check(log):
        counts = log.counts()
        assert (counts.predictions, counts.records) == (3, 3)
        with log.snapshot() as connection:
            pairs = connection.sql("SELECT * FROM pairs ORDER BY request_id").to_arrow_table()
            shadows = connection.sql("SELECT * FROM shadows ORDER BY ALL").to_arrow_table()
        first, second = pairs.to_pylist(maps_as_pydicts="strict")
        assert first["live_outputs"] == {"p": [0.5]}
        assert first["shadow_outputs"] == {"p": [0.75]}
        assert (first["live_version"], first["shadow_version"], first["share"]) == (1, 2, 0.5)
        assert (first["experiment"], first["variant"], first["unit_id"]) == ("canary", "old", "u-a")
        assert (first["live_latency_us"], first["shadow_run_us"]) == (80, 12)
        assert second["shadow_outputs"] == second["live_outputs"]
        assert shadows.num_rows == 3
        row = shadows.to_pylist(maps_as_pydicts="strict")[0]
        assert (row["features"], row["entities"], row["digest"]) == ([1.5, -3.0], {"carrier": "UA"}, "cd")

    _everywhere(folders, check)
    assert [path.parts[-2] for path in sorted((folders.events / "shadows").rglob("*.parquet"))] == [
        "model=delay",
        "model=x",
    ]


def test_shadows_are_followed_as_events_of_their_kind(folders, write):
    write(_live("a"), _shadow("a"), _shadow("a", time=30))

    def check(log):
        assert [event.kind for event in EventTail(log).newest(10)] == ["predictions", "shadows"]

    _everywhere(folders, check)


@pytest.mark.parametrize(
    ("subject", "left"), [(Subject(unit_id="u-a"), ["b"]), (Subject(key="carrier", value="UA"), [])]
)
def test_who_is_erased_is_erased_from_the_shadows_too(folders, write, subject, left):
    write(_live("a"), _live("b"), _shadow("a"), _shadow("b"))
    compact(folders)
    rewriter = Rewriter(folders)
    erasures = Erasures(folders)
    assert rewriter.erase(subject, dry_run=True).shadows == 2 - len(left)
    erasures.ask(subject)
    erasures.erase(rewriter)
    with EventLog(folders.state).snapshot() as connection:
        assert [row[0] for row in connection.execute("SELECT request_id FROM shadows").fetchall()] == left


def test_a_record_of_an_earlier_or_a_later_release_is_read():
    full = _shadow("a", reason="X")
    values = list(msgspec.to_builtins(full))
    encode_values = msgspec.msgpack.Encoder().encode
    earlier = decode(bytes([SHADOW_KIND]) + encode_values(values[:5]))
    assert (earlier.request_id, earlier.version, earlier.live_version, earlier.share) == ("a", 2, 0, 1.0)
    assert decode(bytes([SHADOW_KIND]) + encode_values([*msgspec.structs.astuple(full), "more"])) == full


def test_files_of_a_kind_that_a_later_release_adds_are_left_alone(folders, write):
    write(_live("a"), _shadow("a"))
    compact(folders)
    source = next((folders.events / "shadows").rglob("*.parquet"))
    parts = []
    for number in range(10):
        path = folders.events / "riddles" / f"part-later-{number}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pq.ParquetFile(source).read(), path)
        parts.append(Part("riddles", str(path.relative_to(folders.events)), 1))
    write_commit(folders, Commit("later", 9, 10, 1, 2, tuple(parts)))
    log = EventLog(folders.state)
    assert log.counts().predictions == 1
    assert [event.kind for event in EventTail(log).newest(10)] == ["predictions", "shadows"]
    assert Rewriter(folders).merge() == 0
    assert Rewriter(folders).sweep() == 0
    assert len(list((folders.events / "riddles").iterdir())) == 10
