from __future__ import annotations

import threading

from gateway.serving.lanes import Lanes


class Turns:
    """Notes the turns; each waits until it is let go on."""

    def __init__(self):
        self.seen = []
        self.began = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def take(self, items):
        self.seen.append(list(items))
        self.began.release()
        assert self.go_on.acquire(timeout=30)


def put(lanes, key, item, turn):
    """Return whether there was room for an item of one call."""
    if not lanes.reserve(key, 1):
        return False
    lanes.put(key, item, 1, turn)
    return True


def made(*, threads_max=1, calls_max=100, turn_calls_max=4):
    return Lanes("test", threads_max=threads_max, calls_max=calls_max, turn_calls_max=turn_calls_max)


def test_what_waits_during_a_turn_makes_the_next_one_up_to_its_bound():
    lanes, turns = made(), Turns()
    assert put(lanes, "a", 0, turns.take)
    assert turns.began.acquire(timeout=30)
    for item in range(1, 7):
        assert put(lanes, "a", item, turns.take)
    turns.go_on.release(3)
    for _ in range(2):
        assert turns.began.acquire(timeout=30)
    assert turns.seen == [[0], [1, 2, 3, 4], [5, 6]]


def test_lanes_take_turns_with_one_another():
    lanes, turns = made(turn_calls_max=1), Turns()
    assert put(lanes, "a", "a0", turns.take)
    assert turns.began.acquire(timeout=30)
    for item in ("a1", "a2", "a3"):
        assert put(lanes, "a", item, turns.take)
    assert put(lanes, "b", "b0", turns.take)
    turns.go_on.release(5)
    for _ in range(4):
        assert turns.began.acquire(timeout=30)
    assert turns.seen == [["a0"], ["b0"], ["a1"], ["a2"], ["a3"]]


def test_one_lane_has_one_turn_at_a_time_and_another_goes_beside_it():
    lanes, turns = made(threads_max=2), Turns()
    assert put(lanes, "a", "a0", turns.take)
    assert turns.began.acquire(timeout=30)
    assert put(lanes, "a", "a1", turns.take)
    assert put(lanes, "b", "b0", turns.take)
    assert turns.began.acquire(timeout=30)
    assert turns.seen == [["a0"], ["b0"]]
    turns.go_on.release(3)
    assert turns.began.acquire(timeout=30)
    assert turns.seen == [["a0"], ["b0"], ["a1"]]


def test_a_greedy_lane_gets_half_of_the_room_and_two_a_third_each():
    lanes, turns = made(calls_max=12, turn_calls_max=1), Turns()
    taken = [put(lanes, "a", item, turns.take) for item in range(12)]
    assert taken.count(True) == 6
    assert not put(lanes, "a", "more", turns.take)
    taken = [put(lanes, "b", item, turns.take) for item in range(12)]
    assert taken.count(True) == 3
    assert put(lanes, "c", "first", turns.take)
    turns.go_on.release(10)
    for _ in range(10):
        assert turns.began.acquire(timeout=30)


def test_room_comes_back_with_the_end_of_a_turn():
    lanes, turns = made(calls_max=1), Turns()
    assert put(lanes, "a", 0, turns.take)
    assert not put(lanes, "b", 1, turns.take)
    turns.go_on.release()
    lanes.close()
    assert turns.seen == [[0]]


def test_a_crowd_is_let_in_as_far_as_there_is_room():
    lanes, turns = made(calls_max=12), Turns()
    assert lanes.reserve("a", 40) == 6
    lanes.put("a", "six", 6, turns.take)
    assert lanes.reserve("a", 1) == 0
    assert lanes.reserve("b", 2) == 2
    lanes.put("b", "two", 2, turns.take)
    turns.go_on.release(2)
    lanes.close()
    assert turns.seen == [["six"], ["two"]]


def test_a_lane_goes_on_after_a_turn_that_raised_and_gives_its_room_back():
    lanes, turns = made(calls_max=1), Turns()

    def fail(items):
        raise ValueError(items)

    assert put(lanes, "a", 0, fail)
    while not put(lanes, "a", 1, turns.take):
        pass
    turns.go_on.release()
    lanes.close()
    assert turns.seen == [[1]]
