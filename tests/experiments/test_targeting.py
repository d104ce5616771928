"""Which calls a condition means: against a second evaluator, written from its published form."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import TargetingInvalidError
from experiments.targeting import CONDITIONS_MAX, DEPTH_MAX, compile_condition, precedence

NAMES = ("country", "age", "app")
VALUES = (
    "",
    "DE",
    "FR",
    "DEU",
    "17",
    "18",
    "18.5",
    "-3",
    "1e3",
    "nan",
    "inf",
    "1.2.3",
    "1.2.3-rc.1",
    "2.0.0",
    "1.10.0",
)

# In the order of section 11 of the specification, and of its own example.
ORDERED = (
    *("0.9.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"),
    *("1.0.0-rc.1", "1.0.0", "1.2.3-rc.1", "1.2.3", "1.10.0", "2.0.0", "2.1.0", "2.1.1"),
)


def ends(values):
    return st.fixed_dictionaries({}, optional={"from": values, "below": values}).filter(
        lambda e: e and (len(e) == 1 or rank(e["from"]) < rank(e["below"]))
    )


def rank(value):
    return ORDERED.index(value) if isinstance(value, str) else value


numbers = ends(st.sampled_from([-5, 0, 17, 18, 18.5, 1000]))
versions = ends(st.sampled_from(ORDERED))
leaves = st.sampled_from(NAMES).flatmap(
    lambda name: st.one_of(
        st.sampled_from(VALUES).map(lambda v: {"attribute": name, "equals": v}),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=4).map(lambda v: {"attribute": name, "in": v}),
        st.sampled_from(("D", "DE", "1", "1.")).map(lambda v: {"attribute": name, "prefix": v}),
        numbers.map(lambda v: {"attribute": name, "range": v}),
        versions.map(lambda v: {"attribute": name, "semver": v}),
    )
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda each: {"all": each}),
        st.lists(inner, min_size=1, max_size=3).map(lambda each: {"any": each}),
        inner.map(lambda each: {"not": each}),
    ),
    max_leaves=8,
)
calls = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES))


def means(condition, call):  # noqa: PLR0911  (one for each form)
    """Say whether the condition means the call, walking the document each time."""
    match condition:
        case {"all": inner}:
            return not any(not means(each, call) for each in inner)
        case {"any": inner}:
            return any(means(each, call) for each in inner)
        case {"not": inner}:
            return not means(inner, call)
    if condition["attribute"] not in call:
        return False
    value = call[condition["attribute"]]
    match condition:
        case {"equals": wanted}:
            return value == wanted
        case {"in": wanted}:
            return value in wanted
        case {"prefix": wanted}:
            return value[: len(wanted)] == wanted
        case {"range": limits}:
            number = re.fullmatch(r"-?\d+(\.\d+)?(e\d+)?", value)
            return number is not None and within(float(value), limits, lambda end: end)
        case {"semver": limits}:
            return value in ORDERED and within(ORDERED.index(value), limits, ORDERED.index)
    raise AssertionError(condition)


def within(value, limits, place):
    return ("from" not in limits or place(limits["from"]) <= value) and (
        "below" not in limits or value < place(limits["below"])
    )


@given(condition=conditions, call=calls)
@settings(max_examples=500, deadline=None)
def test_a_condition_means_what_the_truth_table_says(condition, call):
    stored = json.loads(json.dumps(condition))
    assert compile_condition(stored)(call) is means(condition, call)


def test_versions_stand_in_the_order_of_the_specification():
    ordered = [precedence(text) for text in ORDERED]
    assert all(one < other for one, other in itertools.pairwise(ordered))
    assert precedence("1.0.0+build.7") == precedence("1.0.0")
    for text in ("", "1", "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "v1.2.3", "1.2.3 "):
        assert precedence(text) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"attribute": "a"},
        {"attribute": "", "equals": "x"},
        {"attribute": "a", "equals": 1},
        {"attribute": "a", "equals": "x", "in": ["x"]},
        {"attribute": "a", "in": []},
        {"attribute": "a", "in": "DE"},
        {"attribute": "a", "like": "x"},
        {"attribute": "a", "prefix": ""},
        {"attribute": "a", "range": {}},
        {"attribute": "a", "range": {"from": "1"}},
        {"attribute": "a", "range": {"from": True}},
        {"attribute": "a", "range": {"from": float("nan")}},
        {"attribute": "a", "range": {"from": 2, "below": 2}},
        {"attribute": "a", "range": {"from": 2, "to": 3}},
        {"attribute": "a", "semver": {"from": "1.2"}},
        {"attribute": "a", "semver": {"from": "2.0.0", "below": "1.0.0"}},
        {"attribute": "a", "equals": "x" * 257},
        {"all": []},
        {"any": {"attribute": "a", "equals": "x"}},
        {"not": [{"attribute": "a", "equals": "x"}]},
        {"all": ["x"]},
        {"all": [], "any": []},
        {"sometimes": []},
        {"any": [{"attribute": "a", "equals": "x"}] * CONDITIONS_MAX},
    ],
)
def test_a_condition_that_cannot_be_asked_is_refused(wrong):
    with pytest.raises(TargetingInvalidError):
        compile_condition(wrong)


def test_a_condition_that_is_too_deep_is_refused():
    condition = {"attribute": "a", "equals": "x"}
    for _ in range(DEPTH_MAX - 1):
        condition = {"not": condition}
    compile_condition(condition)
    with pytest.raises(TargetingInvalidError, match="deep"):
        compile_condition({"not": condition})
