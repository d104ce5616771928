"""Clients that still send while a server ends what they have open."""

import contextlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import grpc

SAY = "/turnout.test.Echo/Say"
TALK = "/turnout.test.Echo/Talk"
UNAVAILABLE = 14
ENDED_S_MAX = 10.0


def test_who_sends_on_while_a_drain_ends_the_stream_reads_what_was_answered_and_why_it_ended(
    serve, engine, wire, in_background
):
    server = serve()
    client = engine(server.port)
    stream = client.begin(TALK)
    client.send(stream, wire.message(b"one"))
    while stream not in client.bodies:
        assert client.read()
    drained = in_background(server.transport.drain, 10.0)
    for _ in range(40):  # nothing is read meanwhile, and a client that cannot send any more might never do so
        client.session.send_data(stream, wire.message(b"late"))
        client.socket.sendall(client.session.data_to_send())
        time.sleep(0.01)
    assert client.status(stream) == UNAVAILABLE
    assert client.bodies[stream].startswith(wire.message(b"one"))
    client.socket.close()
    assert drained() is True


def test_a_server_that_is_closed_among_calls_of_all_kinds_holds_nothing_afterwards(serve):
    draw = random.Random(41)  # noqa: S311  (not a secret)
    for round_ in range(4):
        channels = []
        server = serve(calls_max=16, streams_max=8)
        over = threading.Event()
        with ThreadPoolExecutor(9) as pool:
            asking = [pool.submit(ask, server, place, over, draw.random(), channels) for place in range(9)]
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                time.sleep(0.01)
                server.release()
            if round_ % 2:
                server.transport.drain(0.1)
            server.transport.close()
            server.release()
            over.set()
            # A stream that its client did not end at its deadline ends with its channel.
            _, hanging = wait(asking, timeout=ENDED_S_MAX)
            for channel in channels if hanging else ():
                channel.close()
            for one in asking:
                one.result()
        assert server.transport.calls_in_flight() == 0
        for thread in threading.enumerate():
            if thread.name == "transport":
                thread.join(10.0)
                assert not thread.is_alive()


def ask(server, place, over, seed, channels):
    """Stream, call and cancel, each with more or less time, until told to stop."""
    draw = random.Random(seed)  # noqa: S311  (as above)
    with server.channel() as channel:
        channels.append(channel)
        say, talk = channel.unary_unary(SAY), channel.stream_stream(TALK)
        while not over.is_set():
            with contextlib.suppress(grpc.RpcError):
                if place % 3 == 0:
                    list(talk(iter([b"a", b"hold", b"b"] * 3), timeout=draw.choice([0.05, 0.2, 1.0])))
                elif place % 3 == 1:
                    say(draw.choice([b"x", b"hold", b"fail"]), timeout=draw.choice([0.01, 0.1, 1.0]))
                else:
                    call = say.future(b"hold", timeout=1.0)
                    time.sleep(draw.random() * 0.02)
                    call.cancel()
