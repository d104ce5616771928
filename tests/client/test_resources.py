from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout import resources

IDS = st.from_regex(r"\A[a-z][a-z0-9_-]{0,62}\Z")


@given(IDS)
def test_every_kind_of_name_gives_its_id_back(identity):
    assert resources.model_id(resources.model_name(identity)) == identity
    assert resources.experiment_id(resources.experiment_name(identity)) == identity
    assert resources.view_id(resources.view_name(identity)) == identity
    assert resources.set_id(resources.set_name(identity)) == identity


@given(IDS, st.integers(min_value=1, max_value=10**17))
def test_a_versions_name_gives_its_model_and_number_back(identity, number):
    assert resources.parse_version(resources.version_name(identity, number)) == (identity, number)


@pytest.mark.parametrize("identity", ["", "A", "1a", "-a", "a b", "a/b", "a" * 64, "a\n", "é", "models/a"])
def test_what_is_not_an_id_is_refused(identity):
    with pytest.raises(resources.ResourceNameError):
        resources.model_name(identity)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "models/x",
        "models/x/versions",
        "models/x/versions/",
        "models/x/versions/0",
        "models/x/versions/01",
        "models/x/versions/-1",
        "models/x/versions/1/",
        "models/x/aliases/1",
        "model/x/versions/1",
        "models/X/versions/1",
        "models/x/versions/1000000000000000000",
        "models/x/versions/\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_what_is_not_a_versions_name_is_refused(name):
    with pytest.raises(resources.ResourceNameError):
        resources.parse_version(name)


def test_a_name_of_another_kind_is_refused_with_the_form_that_is_expected():
    with pytest.raises(resources.ResourceNameError, match=r"expected experiments/\{experiment\}"):
        resources.experiment_id("models/x")
