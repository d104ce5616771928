"""Clients that still send while a drain ends what they have open."""

import time

TALK = "/turnout.test.Echo/Talk"
UNAVAILABLE = 14


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
