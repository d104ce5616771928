from __future__ import annotations

import json
import threading
from concurrent import futures

import grpc
import pytest

from gateway.control.compaction import Compactor
from gateway.control.erasing import Eraser
from gateway.control.events import Events
from gateway.journal.commits import EventFolders
from gateway.journal.compact import compact
from gateway.journal.log import EventLog
from gateway.journal.record import Gap, Outcome, Prediction, encode
from gateway.journal.tail import EventTail
from gateway.journal.writer import JournalWriter
from gateway.rpc.event_service import EventService
from storage.clock import SystemClock
from storage.database import open_database
from turnout.events.v1 import event_service_pb2, event_service_pb2_grpc


def _prediction(number: int, *, model: str = "delay", features: bytes = b"") -> bytes:
    return encode(
        Prediction(request_id=str(number), time_us=number, event_time_us=0, model=model, version=1, features=features)
    )


@pytest.fixture
def writer(tmp_path):
    writer = JournalWriter(tmp_path / "journal", name="worker-0", clock=SystemClock())
    yield writer
    writer.close()


@pytest.fixture
def stub(tmp_path):
    server = grpc.server(futures.ThreadPoolExecutor(4))
    database = open_database(f"sqlite:///{tmp_path / 'turnout.db'}")
    clock = SystemClock()
    eraser = Eraser(database=database, clock=clock, tend=Compactor(tmp_path, clock).tend)
    service = EventService(Events(EventLog(tmp_path), poll_interval_ms=10, followers_max=1), eraser)
    event_service_pb2_grpc.add_EventServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield event_service_pb2_grpc.EventServiceStub(channel)
    server.stop(None).wait()
    database.close()


def _ids(events):
    return [event.row["request_id"] for event in events]


def test_the_newest_events_come_oldest_first_whether_live_or_compacted(tmp_path, writer):
    log = EventLog(tmp_path)
    for number in range(0, 30, 10):
        writer.append([_prediction(number + place) for place in range(10)])
        writer.seal()
    compact(EventFolders(tmp_path))
    writer.append([_prediction(30), _prediction(31)])
    assert _ids(EventTail(log).newest(15)) == [str(number) for number in range(17, 32)]
    assert _ids(EventTail(log).newest(2)) == ["30", "31"]
    assert len(EventTail(log).newest(1000)) == 32
    assert EventTail(log).newest(0) == []
    assert EventTail(log, model="fraud").newest(10) == []


def test_a_follower_gets_each_event_once_through_sealing_and_compaction(tmp_path, writer):
    tail = EventTail(EventLog(tmp_path, held_bytes_max=3_000))
    writer.append([_prediction(0), _prediction(1)])
    got = _ids(tail.newest(1))
    for number in range(2, 60):
        writer.append([_prediction(number), _prediction(number)])
        if number % 7 == 0:
            writer.seal()
        if number % 11 == 0:
            compact(EventFolders(tmp_path))
        if number % 5 == 0:
            got += _ids(tail.poll())
    got += _ids(tail.poll())
    assert got == [str(number) for number in range(1, 60)]
    assert tail.poll() == []


def test_events_are_counted_and_sent_over_the_contract(writer, stub):
    nan = b"\x00\x00\x00\x00\x00\x00\xf8\x7f"
    writer.append([_prediction(1, features=nan), _prediction(2, model="fraud")])
    writer.append(
        [
            encode(Outcome(request_id="1", name="late", value=1.0, event_time_us=3, time_us=3)),
            encode(Gap(time_us=4, lost={"canary/new": 5})),
        ]
    )
    counts = stub.CountEvents(event_service_pb2.CountEventsRequest(), timeout=30)
    assert (counts.predictions, counts.outcomes, counts.joined_outcomes, counts.lost_predictions) == (2, 1, 1, 5)
    assert stub.CountEvents(event_service_pb2.CountEventsRequest(model="fraud"), timeout=30).predictions == 1
    events = list(stub.TailEvents(event_service_pb2.TailEventsRequest(limit=10), timeout=30))
    assert [(event.kind, event.time_us) for event in events] == [(1, 1), (1, 2), (2, 3), (3, 4)]
    first = json.loads(events[0].json)
    assert (first["request_id"], first["features"]) == ("1", [None])
    assert json.loads(events[3].json)["lost"] == {"canary/new": 5}


def _follow(stub):
    """A call that follows, once there is a place for it, and the first event."""
    for _ in range(500):
        call = stub.TailEvents(event_service_pb2.TailEventsRequest(limit=1, follow=True), timeout=30)
        try:
            return call, json.loads(next(call).json)
        except grpc.RpcError:  # the one before has not gone yet
            threading.Event().wait(0.01)
    raise AssertionError("no follower left its place")


def test_a_follower_sees_new_events_until_it_leaves_and_leaves_its_place(writer, stub):
    writer.append([_prediction(1)])
    for number in range(1, 4):
        call, first = _follow(stub)
        assert first["request_id"] == str(number)
        writer.append([_prediction(number + 1)])
        assert json.loads(next(call).json)["request_id"] == str(number + 1)
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.TailEvents(event_service_pb2.TailEventsRequest(limit=1, follow=True), timeout=30))
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        call.cancel()


@pytest.mark.parametrize("limit", [-1, 1001])
def test_a_tail_of_a_length_that_is_not_offered_is_refused(stub, limit):
    for follow in (False, True):
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.TailEvents(event_service_pb2.TailEventsRequest(limit=limit, follow=follow), timeout=30))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_the_compactor_runs_until_it_is_told_to_stop_and_says_what_it_did(tmp_path, writer):
    compactor = Compactor(tmp_path, SystemClock(), interval_s=0.01)
    stop = threading.Event()
    thread = threading.Thread(target=compactor.run, args=(stop,))
    thread.start()
    writer.append([_prediction(1), _prediction(2)])
    writer.seal()
    for _ in range(500):
        if compactor.facts().records:
            break
        threading.Event().wait(0.01)
    stop.set()
    thread.join()
    facts = compactor.facts()
    assert (facts.records, facts.segments, facts.failed_runs, facts.failing) == (2, 1, 0, ())
    assert facts.last_run_us > 0
