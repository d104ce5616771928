"""What every transport promises, proved over each with grpcio's own client."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SHOUT = "/turnout.test.Echo/Shout"
CHAT = "/turnout.test.Echo/Chat"
DETAIL = ("detail-bin", b"\x00\xff\x80")
MIB = 1024 * 1024
WAIT_S = 10.0


def wait_until(condition):
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def refused(method, payload=b"x", **call):
    with pytest.raises(grpc.RpcError) as caught:
        method(payload, timeout=call.pop("timeout", WAIT_S), **call)
    return caught.value


def trailing(error):
    return [(key, value) for key, value in error.trailing_metadata()]


def test_a_message_comes_back_as_it_was_sent(say):
    assert say(b"hello") == b"hello"
    assert say(b"") == b""
    assert say(bytes(range(256)) * 1000) == bytes(range(256)) * 1000


def test_each_method_is_known_by_its_place(channel, server):
    assert channel.unary_unary(SHOUT)(b"hello") == b"HELLO"
    assert server.seen[-1].method == 1


def test_64_threads_each_get_their_own_answers(say):
    def ask(thread):
        return all(say(b"%d/%d" % (thread, call), timeout=WAIT_S) == b"%d/%d" % (thread, call) for call in range(20))

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(ask, range(64)))


def test_a_wave_is_never_larger_than_its_limit(serve):
    server = serve(wave_calls_max=4)
    with server.channel() as channel:
        calls = [channel.unary_unary("/turnout.test.Echo/Say").future(b"x") for _ in range(64)]
        assert all(call.result(WAIT_S) == b"x" for call in calls)
    assert 1 <= max(server.waves) <= 4
    assert sum(server.waves) == 64


def test_calls_that_come_while_a_wave_is_answered_make_the_next_one(say, server):
    first = say.future(b"block")
    wait_until(lambda: server.seen)
    rest = [say.future(b"x") for _ in range(8)]
    time.sleep(0.2)  # long enough for all eight to arrive
    server.gate.set()
    assert first.result(WAIT_S) == b"block"
    assert [call.result(WAIT_S) for call in rest] == [b"x"] * 8
    assert server.waves == [1, 8]


def test_calls_that_expire_or_go_while_they_wait_hold_up_nobody(say, server):
    first = say.future(b"block")
    wait_until(lambda: server.seen)
    late = [say.future(b"late", timeout=0.1) for _ in range(4)]
    gone = [say.future(b"gone") for _ in range(4)]
    rest = [say.future(b"x") for _ in range(4)]
    assert {call.exception(WAIT_S).code() for call in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    for call in gone:
        call.cancel()
    time.sleep(0.1)
    server.gate.set()
    assert first.result(WAIT_S) == b"block"
    assert [call.result(WAIT_S) for call in rest] == [b"x"] * 4
    assert say(b"again", timeout=WAIT_S) == b"again"


def test_metadata_arrives_text_as_text_and_bin_as_bytes(say, server):
    say(b"x", metadata=(("key", "one"), ("key", "two"), DETAIL))
    metadata = [(key, value) for key, value in server.seen[-1].metadata]
    assert [value for key, value in metadata if key == "key"] == ["one", "two"]
    assert DETAIL in metadata
    assert all(key == key.lower() for key, _ in metadata)


def test_the_peer_is_the_clients_address(say, server):
    say(b"x")
    assert server.seen[-1].peer.startswith("ipv4:127.0.0.1:")


def test_the_deadline_arrives_and_its_absence_too(say, server):
    began = time.monotonic()
    say(b"x", timeout=5)
    assert began + 4 < server.seen[-1].deadline < time.monotonic() + 5.1
    say(b"x")
    assert server.seen[-1].deadline is None


def test_a_call_past_its_deadline_ends_and_its_late_answer_harms_nothing(say, server):
    assert refused(say, b"hold", timeout=0.1).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    server.hold(1)
    server.release()
    assert say(b"x", timeout=WAIT_S) == b"x"


def test_a_cancelled_call_is_known_to_be_gone_and_its_late_answer_harms_nothing(say, server):
    future = say.future(b"hold")
    server.hold(1)
    future.cancel()
    wait_until(lambda: server.held[0].cancelled)
    server.release()
    assert say(b"x", timeout=WAIT_S) == b"x"


def test_a_second_answer_changes_nothing(say, server):
    future = say.future(b"hold")
    server.hold(1)
    call = server.held.pop()
    call.reply(b"first")
    call.reply(b"second")
    call.fail(13, "third")
    assert future.result(WAIT_S) == b"first"


def test_calls_may_be_answered_later_and_from_other_threads(say, server):
    futures = [say.future(b"hold%d" % number) for number in range(8)]
    server.hold(8)
    assert say(b"x", timeout=WAIT_S) == b"x"
    threading.Thread(target=server.release).start()
    assert [future.result(WAIT_S) for future in futures] == [b"hold%d" % number for number in range(8)]


def test_an_error_brings_its_code_sentence_and_trailing_details(say):
    error = refused(say, b"fail")
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "nöt found: 100 %"
    assert trailing(error) == [DETAIL, ("key", "value")]


def test_a_pipeline_that_raises_fails_its_wave_with_internal_and_tells_nothing(say):
    error = refused(say, b"raise secret")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    assert say(b"x", timeout=WAIT_S) == b"x"


def test_sixteen_mib_pass_and_seventeen_are_refused(say, server):
    assert len(say(bytes(16 * MIB), timeout=60)) == 16 * MIB
    calls = len(server.seen)
    assert refused(say, bytes(17 * MIB), timeout=60).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(server.seen) == calls
    assert say(b"x", timeout=WAIT_S) == b"x"


def test_an_answer_past_its_limit_is_refused(serve):
    server = serve(response_bytes_max=1000)
    with server.channel() as channel:
        say = channel.unary_unary("/turnout.test.Echo/Say")
        assert len(say(b"grow1000", timeout=WAIT_S)) == 1000
        assert refused(say, b"grow1001").code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_reader_that_does_not_read_holds_up_nobody_and_gets_all_when_it_does(say, server, slow_reader):
    reader = slow_reader(b"grow4000000")
    wait_until(lambda: any(call.payload == b"grow4000000" for call in server.seen))
    for _ in range(20):
        assert say(b"x", timeout=WAIT_S) == b"x"
    assert reader.read_all() == 5 + 4_000_000


def test_a_reader_that_goes_away_unread_harms_nobody(say, server, slow_reader):
    reader = slow_reader(b"grow4000000")
    wait_until(lambda: any(call.payload == b"grow4000000" for call in server.seen))
    reader.close()
    assert say(b"x", timeout=WAIT_S) == b"x"


def test_health_answers_on_the_same_port(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_answers_on_the_same_port(channel):
    assert "grpc.health.v1.Health" in ProtoReflectionDescriptorDatabase(channel).get_services()


def test_streams_are_answered_on_the_same_port(channel):
    chat = channel.stream_stream(CHAT)
    assert list(chat(iter([b"one", b"two", b"three"]), timeout=WAIT_S)) == [b"ONE", b"TWO", b"THREE"]


def test_an_unknown_method_is_unimplemented(channel):
    for path in ("/turnout.test.Echo/Whisper", "/turnout.test.Nobody/Say"):
        assert refused(channel.unary_unary(path)).code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_call_past_the_bound_is_refused_at_once_with_the_details_that_were_given(serve):
    server = serve(calls_max=4)
    with server.channel() as channel:
        say = channel.unary_unary("/turnout.test.Echo/Say")
        held = [say.future(b"hold") for _ in range(4)]
        server.hold(4)
        error = refused(say)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details() == "no room"
        assert trailing(error) == [DETAIL]
        server.release()
        assert all(call.result(WAIT_S) == b"hold" for call in held)
        wait_until(lambda: say.future(b"x").exception(WAIT_S) is None)


def test_the_calls_of_clients_that_have_gone_free_their_room(serve):
    server = serve(calls_max=4)
    with server.channel() as channel:
        say = channel.unary_unary("/turnout.test.Echo/Say")
        held = [say.future(b"hold") for _ in range(4)]
        server.hold(4)
        for call in held:
            call.cancel()
        wait_until(lambda: all(call.cancelled for call in server.held))
        server.release()
        wait_until(lambda: say.future(b"x").exception(WAIT_S) is None)


def test_a_drain_finishes_what_is_held_and_refuses_what_is_new(serve, in_background):
    server = serve()
    with server.channel() as channel, server.channel() as late:
        held = [channel.unary_unary("/turnout.test.Echo/Say").future(b"hold") for _ in range(8)]
        grpc.channel_ready_future(late).result(WAIT_S)
        server.hold(8)
        drained = in_background(server.transport.drain, WAIT_S)
        time.sleep(0.1)
        calls = len(server.seen)
        error = refused(late.unary_unary("/turnout.test.Echo/Say"))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert len(server.seen) == calls
        server.release()
        assert [call.result(WAIT_S) for call in held] == [b"hold"] * 8
        assert drained() is True


def test_a_drain_waits_until_its_large_answers_have_left(serve, in_background):
    server = serve()
    with server.channel() as channel:
        held = [channel.unary_unary("/turnout.test.Echo/Say").future(b"hold" + bytes(2 * MIB)) for _ in range(8)]
        server.hold(8)
        drained = in_background(server.transport.drain, WAIT_S)
        server.release()
        assert [len(call.result(WAIT_S)) for call in held] == [2 * MIB + 4] * 8
        assert drained() is True


def test_a_drain_that_runs_out_of_time_says_so_and_the_close_ends_the_calls(serve):
    server = serve()
    with server.channel() as channel:
        held = channel.unary_unary("/turnout.test.Echo/Say").future(b"hold")
        server.hold(1)
        assert server.transport.drain(0.1) is False
        server.transport.close()
        assert held.exception(WAIT_S).code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_a_drain_under_load_loses_no_call_that_was_taken(serve, kind):
    server = serve()
    outcomes = []
    with server.channel() as channel:
        say = channel.unary_unary("/turnout.test.Echo/Say")

        def ask(thread):
            for number in range(10_000):
                payload = b"%d/%d" % (thread, number)
                try:
                    say(payload, timeout=WAIT_S)
                except grpc.RpcError as error:
                    outcomes.append((payload, error.code()))
                    return
                outcomes.append((payload, None))

        with ThreadPoolExecutor(8) as pool:
            asks = [pool.submit(ask, thread) for thread in range(8)]
            wait_until(lambda: len(outcomes) > 200)
            assert server.transport.drain(WAIT_S) is True
            server.transport.close()
            for one in asks:
                one.result(WAIT_S)
    answered = {payload for payload, code in outcomes if code is None}
    # grpc-core cancels what reaches it between its close and the client's learning of it; such a call never ran. A
    # process that ends instead of closing shows UNAVAILABLE only: tests/gateway/faults/test_sigterm.py.
    allowed = {grpc.StatusCode.UNAVAILABLE} | ({grpc.StatusCode.CANCELLED} if kind == "grpcio" else set())
    assert {code for _, code in outcomes if code} <= allowed
    assert {call.payload for call in server.seen} == answered


def test_the_port_can_be_taken_again_at_once(serve):
    first = serve()
    with first.channel() as channel:
        assert channel.unary_unary("/turnout.test.Echo/Say")(b"x", timeout=WAIT_S) == b"x"
        assert first.transport.drain(WAIT_S) is True
        first.transport.close()
        second = serve(f"127.0.0.1:{first.port}")
        assert second.port == first.port
        say = channel.unary_unary("/turnout.test.Echo/Say")
        assert say(b"again", timeout=WAIT_S, wait_for_ready=True) == b"again"
    assert second.seen[-1].payload == b"again"
