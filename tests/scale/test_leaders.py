"""The judge of leaders finds two at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from leaders import Row, check

RIGHT = [
    Row(1, 10, 11, "lease", "ramp", 1, "a", 100),
    Row(2, 50, 51, "lease", "ramp", 1, "a", 150),
    Row(2, 50, 52, "act", "ramp"),
    Row(3, 160, 161, "lease", "ramp", 2, "b", 260),
    Row(3, 160, 162, "act", "ramp"),
    Row(4, 170, 171, "lease", "ramp", 2, "b", 0),
    Row(5, 172, 173, "lease", "ramp", 3, "a", 300),
]


def test_leaders_one_after_the_other_are_right():
    assert check(RIGHT) == {"ramp": {"tokens": 3, "leaders changed": 2, "acts": 2}}


@pytest.mark.parametrize(
    "wrong",
    [
        Row(6, 200, 201, "act", "ramp"),  # shows no token
        Row(6, 200, 201, "lease", "ramp", 4, "b", 400),  # before the other's has ended
        Row(6, 200, 201, "lease", "ramp", 3, "b", 400),  # the other's token
        Row(6, 200, 201, "lease", "ramp", 2, "b", 400),  # an old one
        Row(6, 310, 311, "lease", "ramp", 3, "a", 410),  # renewed after its end
        Row(6, 200, 201, "act", "webhooks"),  # without any lease
    ],
)
def test_whoever_acts_without_leading_is_found(wrong):
    with pytest.raises(AssertionError):
        check([*RIGHT, wrong])
