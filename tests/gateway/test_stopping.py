import contextlib
import subprocess
import sys
import threading
import time

import pytest

from gateway.bootstrap.stopping import StopRequest

SIGNALLED = """
import random
import signal
from gateway.bootstrap.stopping import StopRequest

chance = random.Random(1)
for number in range(20_000):
    request = StopRequest()
    request.ask_on(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00001, 0.0001))
    if number % 2:
        request.wait()
    while not request.wait(0.00002):
        pass
"""


def test_a_signal_at_any_instant_of_a_wait_is_heard():
    # With a threading.Event in its place some rounds never end.
    subprocess.run([sys.executable, "-c", SIGNALLED], check=True, timeout=60)


@pytest.fixture
def request_to_stop():
    with contextlib.closing(StopRequest()) as made:
        yield made


@pytest.mark.parametrize("times", [1, 100_000])
def test_asking_before_the_wait_and_more_than_once_is_enough(request_to_stop, times):
    for _ in range(times):
        request_to_stop.ask()
    assert request_to_stop.is_asked
    assert [request_to_stop.wait(), request_to_stop.wait(0.0), request_to_stop.wait(0.0)] == [True] * 3


def test_another_thread_ends_the_wait(request_to_stop):
    threading.Timer(0.05, request_to_stop.ask).start()
    assert request_to_stop.wait(30.0)


def test_a_wait_ends_with_its_time(request_to_stop):
    started = time.monotonic()
    assert not request_to_stop.wait(0.02)
    assert time.monotonic() - started >= 0.02
    assert not request_to_stop.is_asked
