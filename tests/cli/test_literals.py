from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.cli import literals
from turnout.cli.literals import LiteralError


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("x=1,2,3", "x", np.float32([[1, 2, 3]])),
        ("x=1,2;3,4", "x", np.float32([[1, 2], [3, 4]])),
        ("x=-1.5e3", "x", np.float32([[-1500]])),
        ("x:int64=7", "x", np.int64([[7]])),
        ("x:int64[]=7", "x", np.array(7, np.int64)),
        ("x[3]=1,2,3", "x", np.float32([1, 2, 3])),
        ("x:float64[1,2,2]=1,2,3,4", "x", np.array([[[1, 2], [3, 4]]], np.float64)),
        ("x:bool=true,0,False", "x", np.array([[True, False, False]])),
        ("x:uint64=18446744073709551615", "x", np.array([[2**64 - 1]], np.uint64)),
        ("input:0=1", "input:0", np.float32([[1]])),
        ("x[0,3]=", "x", np.empty((0, 3), np.float32)),
    ],
)
def test_a_tensor_is_read_as_it_is_typed(text, name, expected):
    ((found, array),) = literals.parse_tensors([text]).items()
    assert found == name
    assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
    assert array.tolist() == expected.tolist()


def test_text_is_read_as_it_stands():
    assert literals.parse_tensors(["c:string=UA,A A"])["c"].tolist() == [["UA", "A A"]]


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "=1",
        "x=a",
        "x=1,",
        "x=1,2;3",
        "x[2]=1,2,3",
        "x[,]=1",
        "x:int64=1.5",
        "x:int8=300",
        "x:bool=maybe",
        "x:uint8=-1",
    ],
)
def test_what_is_no_tensor_is_refused(text):
    with pytest.raises(LiteralError):
        literals.parse_tensors([text])


def test_an_input_given_twice_is_refused():
    with pytest.raises(LiteralError, match="twice"):
        literals.parse_tensors(["x=1", "x=2"])


def test_pairs_keep_everything_after_the_first_equals_sign():
    assert literals.parse_pairs(["a=b=c", "d="], "--entity") == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("texts", [["a"], ["=b"], ["a=1", "a=2"]])
def test_what_is_no_pair_is_refused(texts):
    with pytest.raises(LiteralError, match="--entity"):
        literals.parse_pairs(texts, "--entity")


@pytest.mark.parametrize("text", ["x", "", "nan", "inf", "1e999"])
def test_what_is_no_finite_number_is_refused(text):
    with pytest.raises(LiteralError, match="finite"):
        literals.parse_number(text, "VALUE")


@pytest.mark.parametrize(("text", "number"), [("1", 1.0), ("-2.5", -2.5), ("true", 1.0), ("false", 0.0)])
def test_numbers_and_truths_are_read(text, number):
    assert literals.parse_number(text, "VALUE") == number


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  (hypothesis adds the zone)
def test_a_time_is_read_to_the_microsecond(moment):
    time_us = literals.parse_time(moment.isoformat())
    assert time_us == literals.parse_time(str(time_us))
    assert literals.parse_time(moment.replace(tzinfo=None).isoformat()) == time_us
    assert literals.parse_time(moment.isoformat().replace("+00:00", "+01:00")) == time_us - 3_600_000_000


def test_what_is_no_time_is_refused():
    with pytest.raises(LiteralError, match="ISO 8601"):
        literals.parse_time("yesterday")


def test_a_time_is_shown_in_utc_and_never_as_a_dash():
    assert literals.format_time(1_357_000_000_000_000) == "2013-01-01 00:26:40Z"
    assert literals.format_time(0) == "-"
