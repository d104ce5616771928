from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from turnout import ids

TIMES = st.integers(0, 2**48 - 1)
RANDOM = st.binary(min_size=10, max_size=10)


def test_the_example_of_rfc_9562_appendix_a6_is_made():
    rand_a, rand_b = 0xCC3, 0x18C4DC0C0C07398F
    random_bytes = (rand_a << 62 | rand_b).to_bytes(10, "big")
    assert ids.uuid7(0x017F22E279B0, random_bytes) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(TIMES, RANDOM)
def test_version_variant_and_time_stand_where_they_must(time_ms, random_bytes):
    made = uuid.UUID(ids.uuid7(time_ms, random_bytes))
    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, time_ms)


@given(TIMES, TIMES, RANDOM, RANDOM)
def test_later_ids_sort_after_earlier_ones(one, other, random_one, random_other):
    if one < other:
        assert ids.uuid7(one, random_one) < ids.uuid7(other, random_other)


def test_ids_do_not_repeat():
    assert len({ids.new_request_id() for _ in range(2000)}) == 2000
