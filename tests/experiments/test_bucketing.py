from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.analysis.replay import buckets_of
from experiments.assignment import bucket_of, fnv1a32
from experiments.bucketing import BUCKETS, bucket_after, seed_state
from experiments.crowd import CROWD_MIN, buckets_after


def fnv(octets):
    """The published definition, written another way: modular arithmetic on whole numbers, octet by octet."""
    state = 2166136261
    for octet in octets:
        state = (state ^ octet) * 16777619 % 2**32
    return state


def oracle(seed: str, unit: str) -> int:
    return fnv(str(fnv((seed + unit).encode("utf-8"))).encode("ascii")) % 10000


# The FNV authors' own test vectors for 32-bit FNV-1a.
@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"b", 0xE70C2DE5), (b"foobar", 0xBF9CF968)],
)
def test_fnv1a32_gives_the_published_vectors(data, expected):
    assert fnv1a32(data) == expected


# The version 2 cases of `hash` in GrowthBook's SDK specification, times 10 000.
@pytest.mark.parametrize(
    ("seed", "unit", "expected"),
    [
        ("seed", "a", 505),
        ("seed", "b", 2696),
        ("foo", "ab", 2575),
        ("foo", "def", 2019),
        ("89123klj", "8952klfjas09ujkasdf", 1240),
        ("90850943850283058242805", "123", 7516),
        ("()**(%$##$%#$#", '___)((*":&', 128),
    ],
)
def test_buckets_are_those_of_growthbook_version_2(seed, unit, expected):
    assert bucket_of(seed, unit) == expected


# Ours: golden, so that no release ever moves a unit. Outside ASCII it is the UTF-8 bytes that count.
@pytest.mark.parametrize(
    ("seed", "unit", "expected"),
    [
        ("", "a", 216),
        ("v1-against-v2", "N14228", 4959),
        ("fraud-canary", "user-123", 6586),
        ("flight-delay", "UA/1545/2013-01-01T05:15", 2394),
        ("seed", "😀id", 2566),
        ("naïve", "łódź", 7250),
    ],
)
def test_buckets_never_change(seed, unit, expected):
    assert bucket_of(seed, unit) == expected


@settings(deadline=None)
@given(seed=st.text(max_size=20), unit=st.text(max_size=40))
def test_buckets_equal_an_independent_implementation(seed, unit):
    assert bucket_of(seed, unit) == oracle(seed, unit)
    assert bucket_after(seed_state(seed), unit) == oracle(seed, unit)


@settings(deadline=None)
@given(state=st.integers(0, 9).flatmap(lambda power: st.integers(0, min(10 ** (power + 1), 1 << 32) - 1)))
@example(0)
@example(10**6 - 1)
@example(10**6)
@example((1 << 32) - 1)
def test_hashes_of_every_length_are_hashed_again_digit_by_digit(state):
    # No unit's bytes follow, so the state is the hash.
    assert bucket_after(state, "") == fnv(str(state).encode()) % 10000


@settings(deadline=None)
@given(
    seed=st.text(max_size=20),
    units=st.lists(st.text(max_size=20), min_size=CROWD_MIN, max_size=2 * CROWD_MIN),
    long=st.sampled_from(["", "x" * 64, "x" * 65, "ł" * 40]),
)
def test_units_that_are_hashed_together_get_what_they_get_alone(seed, units, long):
    state = seed_state(seed)
    for together in (units, [*units, long], [], [long]):
        assert buckets_after(state, together) == [bucket_after(state, unit) for unit in together]


def test_hashes_of_every_length_are_hashed_again_together_as_they_are_alone():
    states = {min(10**power + more, (1 << 32) - 1) for power in range(11) for more in (-1, 0, 1)}
    for state in states:
        units = [""] * (CROWD_MIN - 1) + ["a"]
        assert buckets_after(state, units) == [bucket_after(state, unit) for unit in units]


def test_a_hundred_thousand_ids_fall_evenly_and_independently_of_the_seed():
    units = [f"user-{number}" for number in range(100_000)]
    one = [bucket_of("one", unit) // 1000 for unit in units]
    two = [bucket_of("two", unit) // 1000 for unit in units]
    counts = Counter(one)
    assert stats.chisquare([counts[cell] for cell in range(10)]).pvalue > 0.001
    pairs = Counter(zip(one, two, strict=True))
    table = [[pairs[row, column] for column in range(10)] for row in range(10)]
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_another_process_gives_the_same_buckets():
    script = "from experiments.assignment import bucket_of; print([bucket_of('s', str(n)) for n in range(200)])"
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=30)
    assert answer.stdout.strip() == str([bucket_of("s", str(n)) for n in range(200)])


def test_every_bucket_can_come():
    assert len({bucket_of("seed", str(number)) for number in range(120_000)}) == BUCKETS


def test_a_worker_that_assigns_loads_nothing_heavy():
    script = (
        "import sys, experiments.assignment\n"
        "heavy = {'scipy', 'sklearn', 'duckdb', 'pyarrow', 'sqlalchemy', 'numpy', 'grpc'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=30)
    assert answer.stdout.strip() == "[]"


@settings(deadline=None)
@given(st.text(max_size=12), st.lists(st.text(max_size=20), max_size=12))
def test_many_buckets_at_once_are_those_of_one_at_a_time(seed, units):
    assert buckets_of(seed, units).tolist() == [bucket_of(seed, unit) for unit in units]
