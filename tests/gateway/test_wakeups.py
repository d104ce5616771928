"""Gateways that tell each other of changes, through a real Redis."""

import threading
import time

import pytest

from features.redis_inspection import inspect_channel
from gateway.control.wakeups import Wakeups

PATIENCE_S = 30


class Listener:
    """One gateway's end, and how often it was woken."""

    def __init__(self, url):
        self.woken = 0
        self.wakeups = Wakeups(url, wake=self._wake)
        self.wakeups.start()

    def _wake(self):
        self.woken += 1


@pytest.fixture
def server(start_redis, tmp_path_factory):
    return start_redis(tmp_path_factory.mktemp("redis", numbered=True))


@pytest.fixture
def listen():
    made = []

    def make(url):
        made.append(Listener(url))
        return made[-1]

    yield make
    for each in made:
        each.wakeups.close()


def wait_until(holds):
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.01)


def test_who_sees_a_revision_first_wakes_the_others_and_nobody_answers(server, listen):
    one, other, stranger = listen(server.url), listen(server.url), listen(server.url.replace("db=0", "db=1"))
    wait_until(lambda: all(each.wakeups.listening for each in (one, other, stranger)))
    before = (one.woken, other.woken, stranger.woken)
    one.wakeups.say(7)
    wait_until(lambda: other.woken > before[1])
    other.wakeups.say(7)  # as its publisher does, having looked
    other.wakeups.say(8)
    wait_until(lambda: one.woken > before[0])
    assert (one.woken, other.woken, stranger.woken) == (before[0] + 1, before[1] + 1, before[2])


def test_without_redis_nobody_waits_and_all_are_woken_when_it_is_back(server, listen):
    one, other = listen(server.url), listen(server.url)
    wait_until(lambda: one.wakeups.listening and other.wakeups.listening)
    server.kill()
    wait_until(lambda: not one.wakeups.listening and not other.wakeups.listening)
    began = threading.active_count()
    for revision in range(1000):
        one.wakeups.say(revision)
    assert threading.active_count() <= began
    assert "does not answer" in inspect_channel(server.url).warnings[0]
    before = other.woken
    server.start()
    wait_until(lambda: other.woken > before and one.wakeups.listening)
    assert inspect_channel(server.url).found == ["it takes messages"]
    one.wakeups.say(1001)
    wait_until(lambda: other.woken > before + 1)
