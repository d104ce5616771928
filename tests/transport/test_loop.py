"""The native transport's loop: what other threads ask of it, it does, wherever they were interrupted."""

import sys
import threading
import time

import pytest

from gateway.transport.native.loop import Loop

RUNS_S_MAX = 10.0


@pytest.fixture
def loop():
    loop = Loop()
    thread = threading.Thread(target=loop.run, args=(lambda: None, ()), daemon=True)
    thread.start()
    yield loop
    loop.post(loop.stop)
    thread.join(RUNS_S_MAX)
    loop.close()


def runs(loop):
    """Whether a job that is posted now runs, though nothing else wakes the loop."""
    ran = threading.Event()
    loop.post(ran.set)
    return ran.wait(RUNS_S_MAX)


def test_a_job_runs_though_the_one_before_was_taken_while_it_was_still_being_posted(loop):
    """The poster is stopped before each line of `post`, with the loop awake; the loop then sleeps, and must wake."""
    awake = True

    def stay_awake():
        if awake:
            loop.call_later(0.0005, stay_awake)

    def stop_at_each_line(frame, event, _):
        if frame.f_code is not Loop.post.__code__:
            return None
        if event == "line":
            time.sleep(0.02)
        return stop_at_each_line

    loop.post(stay_awake)
    taken = threading.Event()
    sys.settrace(stop_at_each_line)
    try:
        loop.post(taken.set)
    finally:
        sys.settrace(None)
    assert taken.wait(RUNS_S_MAX)
    awake = False
    time.sleep(0.05)
    assert runs(loop)


def test_jobs_of_many_threads_all_run_in_the_order_of_each(loop):
    heard = {number: [] for number in range(4)}

    def post_many(number):
        for place in range(500):
            loop.post(heard[number].append, place)

    posters = [threading.Thread(target=post_many, args=(number,)) for number in heard]
    for poster in posters:
        poster.start()
    for poster in posters:
        poster.join()
    assert runs(loop)
    assert all(places == list(range(500)) for places in heard.values())
