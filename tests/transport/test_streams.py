"""What every transport promises of streams whose messages are calls of the waves."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

SAY = "/turnout.test.Echo/Say"
TALK = "/turnout.test.Echo/Talk"
DETAIL = ("detail-bin", b"\x00\xff\x80")
MIB = 1024 * 1024
WAIT_S = 10.0


def wait_until(condition):
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def payloads(server):
    return [call.payload for call in server.seen]


def test_the_answers_of_several_streams_come_in_the_order_of_their_messages(server, talk):
    def ask(number):
        with server.channel() as channel:
            sent = [b"%d/%d" % (number, place) for place in range(500)]
            return list(talk(channel).send(*sent).half_close()) == sent

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))
    assert len(server.seen) == 2000


def test_a_stream_without_messages_ends_well(channel, talk):
    stream = talk(channel).half_close()
    assert list(stream) == []
    assert stream.call.code() is grpc.StatusCode.OK


def test_empty_and_large_messages_come_back(channel, talk):
    stream = talk(channel).send(b"", bytes(5 * MIB), b"x").half_close()
    assert [len(answer) for answer in stream] == [0, 5 * MIB, 1]


def test_a_message_that_is_answered_late_is_answered_before_those_behind_it(channel, server, talk):
    stream = talk(channel).send(b"hold", b"one", b"two").half_close()
    wait_until(lambda: len(server.seen) == 3)
    server.release()
    assert list(stream) == [b"hold", b"one", b"two"]


def test_messages_join_the_waves_of_other_calls(channel, say, server, talk):
    first = say.future(b"block")
    wait_until(lambda: server.seen)
    streams = [talk(channel).send(b"message", b"message").half_close() for _ in range(2)]
    calls = [say.future(b"call") for _ in range(3)]
    time.sleep(0.3)  # long enough for all to arrive
    server.gate.set()
    assert first.result(WAIT_S) == b"block"
    assert [call.result(WAIT_S) for call in calls] == [b"call"] * 3
    assert [list(stream) for stream in streams] == [[b"message"] * 2] * 2
    assert server.waves[0] == 1
    assert max(server.waves) > 1
    assert sum(server.waves) == 8


def test_metadata_and_the_deadline_of_the_stream_are_those_of_its_messages(channel, server, talk):
    began = time.monotonic()
    stream = talk(channel, metadata=(("key", "value"), DETAIL), timeout=20).send(b"x")
    assert next(stream) == b"x"
    assert {("key", "value"), DETAIL} <= {(key, value) for key, value in server.seen[0].metadata}
    assert began + 10 < server.seen[0].deadline < time.monotonic() + 21
    endless = talk(channel, timeout=None).send(b"x")
    assert next(endless) == b"x"
    assert server.seen[1].deadline is None


def test_a_stream_that_has_its_limit_of_messages_unanswered_is_not_read_further(serve, talk):
    server = serve(stream_calls_max=4)
    with server.channel() as channel:
        stream = talk(channel).send(*[b"hold"] * 20).half_close()
        server.hold(4)
        assert channel.unary_unary(SAY)(b"x", timeout=WAIT_S) == b"x"
        time.sleep(0.2)
        assert len(server.held) == 4
        for place in range(20):
            wait_until(lambda place=place: len(server.seen) == min(21, place + 5))  # `x` is among them
            call = server.held.pop(0)
            call.reply(call.payload)
        assert list(stream) == [b"hold"] * 20


def test_a_client_that_does_not_read_is_not_read_either_and_holds_up_nobody(serve, talk):
    server = serve(stream_calls_max=4)
    with server.channel(("grpc.http2.bdp_probe", 0)) as slow, server.channel() as channel:
        stream = talk(slow).send(*[b"grow%d" % MIB] * 100).half_close()
        wait_until(lambda: server.seen)
        say = channel.unary_unary(SAY)
        seen = -1
        while seen != (seen := len(server.seen) - server.seen_of(b"x")):  # until it stands still
            time.sleep(0.3)
            assert say(b"x", timeout=WAIT_S) == b"x"
        assert seen < 20
        assert [len(answer) for answer in stream] == [MIB] * 100


def test_a_failure_ends_the_stream_after_the_answers_before_it(channel, server, talk):
    stream = talk(channel).send(b"hold", b"one", b"fail", b"two")
    wait_until(lambda: len(server.seen) == 4)
    server.release()
    assert (next(stream), next(stream)) == (b"hold", b"one")
    error = stream.refused()
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "nöt found: 100 %"
    assert [(key, value) for key, value in error.trailing_metadata()] == [DETAIL, ("key", "value")]


def test_a_pipeline_that_raises_ends_the_stream_with_internal_and_tells_nothing(channel, talk):
    error = talk(channel).send(b"raise secret").refused()
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()


@pytest.mark.parametrize("message", [b"x" * 2000, b"grow2000"])
def test_a_message_or_an_answer_past_its_limit_ends_the_stream(serve, talk, message):
    server = serve(request_bytes_max=1000, response_bytes_max=1000)
    with server.channel() as channel:
        stream = talk(channel).send(b"x")
        assert next(stream) == b"x"
        assert stream.send(message).refused().code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_cancelled_stream_is_dropped_as_far_as_it_has_not_run(serve, talk):
    server = serve(streams_max=2)
    with server.channel() as channel:
        blocked = talk(channel).send(b"block")
        wait_until(lambda: server.seen)
        stream = talk(channel).send(*[b"message"] * 3)
        time.sleep(0.2)  # they wait for the pipeline now
        stream.call.cancel()
        time.sleep(0.2)
        server.gate.set()  # the one thread hears of it when it is free
        # The next stream is let in when the first is known to have gone.
        wait_until(lambda: talk(channel).half_close().call.exception(WAIT_S) is None)
        assert next(blocked) == b"block"
        assert next(blocked.send(b"x")) == b"x"
    assert payloads(server) == [b"block", b"x"]


def test_a_stream_past_its_deadline_ends_and_late_answers_harm_nothing(channel, server, say, talk):
    error = talk(channel, timeout=0.2).send(b"hold").refused()
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: all(call.cancelled for call in server.held))
    server.release()
    assert say(b"x", timeout=WAIT_S) == b"x"


def test_a_stream_past_the_bound_is_refused_at_once_with_the_details_that_were_given(serve, talk):
    server = serve(streams_max=2)
    with server.channel() as channel:
        streams = [talk(channel).send(b"x") for _ in range(2)]
        assert [next(stream) for stream in streams] == [b"x", b"x"]
        error = talk(channel).send(b"y").refused()
        assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
        assert [(key, value) for key, value in error.trailing_metadata()] == [DETAIL]
        assert list(streams[0].half_close()) == []
        wait_until(lambda: talk(channel).half_close().call.exception(WAIT_S) is None)
        assert channel.unary_unary(SAY)(b"z", timeout=WAIT_S) == b"z"


def test_a_drain_answers_what_streams_have_sent_and_then_ends_them_as_unavailable(serve, talk, in_background):
    server = serve()
    with server.channel() as channel:
        busy = talk(channel).send(b"one", b"hold")
        idle = talk(channel).send(b"two")
        assert (next(busy), next(idle)) == (b"one", b"two")
        server.hold(1)
        drained = in_background(server.transport.drain, WAIT_S)
        ended = idle.refused()
        assert ended.code() is grpc.StatusCode.UNAVAILABLE
        assert ended.details() == "draining"
        busy.send(b"late")
        server.release()
        assert next(busy) == b"hold"
        assert busy.refused().code() is grpc.StatusCode.UNAVAILABLE
        assert drained() is True
    assert b"late" not in payloads(server)


def test_a_stream_that_was_sent_whole_is_answered_whole(serve):
    """No further frame of the client wakes the server up for the messages behind the first that there is room for."""
    if shutil.which("h2load") is None:
        pytest.skip("h2load is not installed")
    server = serve(stream_calls_max=4)
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"".join(b"\x00" + struct.pack(">I", 5) + b"%05d" % place for place in range(200)))
        body.flush()
        command = ["h2load", "-n", "4", "-c", "2", "-m", "1", "-d", body.name, "-H", "content-type: application/grpc"]
        command += ["-H", "te: trailers", f"http://127.0.0.1:{server.port}{TALK}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "4 succeeded, 0 failed" in done.stdout
    assert f"({4 * 200 * 10}) data" in done.stdout
