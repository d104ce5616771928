"""Several processes on one port, as workers are."""

from __future__ import annotations

import signal
import threading
import time

import grpc

WAIT_S = 10.0


def ask(port):
    """Return which process answers a new connection."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        say = channel.unary_unary("/turnout.test.Echo/Say")
        return int(say(b"x", timeout=WAIT_S, wait_for_ready=True))


def test_two_processes_share_one_port(kind, spawn, free_port):
    first, first_port = spawn(kind, free_port)
    second, second_port = spawn(kind, free_port)
    assert first_port == second_port == free_port
    assert {ask(free_port) for _ in range(40)} == {first.pid, second.pid}


def test_sigterm_drains_one_process_and_the_other_goes_on(kind, spawn, free_port):
    first, _ = spawn(kind, free_port)
    second, _ = spawn(kind, free_port)
    failures = []
    stop = threading.Event()

    def load():
        while not stop.is_set():
            options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(f"127.0.0.1:{free_port}", options=options) as channel:
                say = channel.unary_unary("/turnout.test.Echo/Say")
                for _ in range(20):
                    try:
                        say(b"x", timeout=WAIT_S)
                    except grpc.RpcError as error:
                        failures.append(error.code())

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGTERM)
    assert first.wait(WAIT_S) == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert set(failures) <= {grpc.StatusCode.UNAVAILABLE}
    assert {ask(free_port) for _ in range(10)} == {second.pid}


def test_a_process_started_again_serves_the_same_port(kind, spawn, free_port):
    first, _ = spawn(kind, free_port)
    assert ask(free_port) == first.pid
    first.send_signal(signal.SIGTERM)
    assert first.wait(WAIT_S) == 0
    second, _ = spawn(kind, free_port)
    assert ask(free_port) == second.pid
