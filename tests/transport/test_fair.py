"""How waves and room are divided among kinds of calls."""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from gateway.transport.fair import Rivals, shares_of, take_wave
from gateway.transport.port import Call


def kind_of(call):
    return call.payload[:1]


def calls(*payloads):
    return [Call(0, payload) for payload in payloads]


@given(st.dictionaries(st.integers(0, 20), st.integers(1, 300), min_size=1), st.integers(0, 300))
def test_shares_are_even_but_for_those_who_ask_for_less(asked, room):
    shares = shares_of(asked, room)
    assert sum(shares.values()) == min(room, sum(asked.values()))
    assert all(shares[kind] <= asked[kind] for kind in asked)
    short = [share for kind, share in shares.items() if share < asked[kind]]
    # Who did not get all got as much as anybody, but for one that cannot be divided.
    assert all(share >= max(shares.values()) - 1 for share in short)


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=60), st.integers(1, 20))
def test_waves_take_all_that_waits_once_and_each_kind_in_its_order(kinds, calls_max):
    made = calls(*(kind + b"%d" % number for number, kind in enumerate(kinds)))
    waiting, taken = deque(made), []
    while waiting:
        wave = take_wave(waiting, calls_max, kind_of)
        assert 0 < len(wave) <= calls_max
        taken += wave
    assert Counter(map(id, taken)) == Counter(map(id, made))
    for kind in (b"a", b"b", b"c"):
        assert [call for call in taken if kind_of(call) == kind] == [call for call in made if kind_of(call) == kind]


def test_the_newest_of_the_largest_kind_goes_for_a_kind_that_is_behind():
    waiting = deque(calls(b"a1", b"a2", b"b1", b"a3"))
    rivals = Rivals(waiting, kind_of)
    (another_a, b2, b3) = calls(b"a4", b"b2", b"b3")
    assert not rivals.is_behind(another_a)
    assert rivals.is_behind(b2)
    assert rivals.displace(b2).payload == b"a3"
    assert [call.payload for call in waiting] == [b"a1", b"a2", b"b1", b"b2"]
    # They have as many now: nobody is behind.
    assert not rivals.is_behind(b3)


def test_calls_whose_clients_have_gone_are_not_counted():
    gone = calls(b"a1", b"a2", b"a3")
    for call in gone:
        call.cancelled = True
    rivals = Rivals(deque([*gone, *calls(b"b1", b"b2")]), kind_of)
    (a,) = calls(b"a4")
    assert rivals.is_behind(a)
    assert rivals.displace(a).payload == b"b2"
