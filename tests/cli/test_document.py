from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.admin.v1 import admin_service_pb2
from turnout.cli.document import document_of, elements
from turnout.experiments.v1 import experiment_service_pb2
from turnout.features.v1 import feature_service_pb2
from turnout.registry.v1 import registry_service_pb2
from turnout.tensors import to_tensor


def test_every_field_is_there_and_integers_are_integers():
    assert document_of(registry_service_pb2.Alias(alias="champion", version=2**53 + 1)) == {
        "alias": "champion",
        "version": 2**53 + 1,
        "generation": 0,
        "expire_time_us": 0,
    }


def test_an_absent_optional_field_is_null_and_a_given_zero_is_zero():
    assert document_of(feature_service_pb2.FeatureValue())["age_ms"] is None
    assert document_of(feature_service_pb2.FeatureValue(age_ms=0))["age_ms"] == 0


def test_an_absent_message_is_null():
    assert document_of(registry_service_pb2.PublishVersionResponse())["version"] is None


def test_of_a_oneof_only_the_member_that_is_set_appears():
    without = document_of(experiment_service_pb2.Comparison(metric="m", not_enough_data="too few"))
    assert without == {
        "metric": "m",
        "variant": "",
        "not_enough_data": "too few",
        "finding": "UNSPECIFIED",
        "adjusted_p_value": None,
    }
    estimate = experiment_service_pb2.Estimate(p_value=0.5)
    assert document_of(experiment_service_pb2.Comparison(estimate=estimate))["estimate"]["p_value"] == 0.5


def test_enumerations_are_short_names():
    metric = experiment_service_pb2.Metric(kind="METRIC_KIND_SQUARED_ERROR", role="METRIC_ROLE_SUCCESS")
    found = document_of(metric)
    assert (found["kind"], found["direction"], found["role"]) == ("SQUARED_ERROR", "UNSPECIFIED", "SUCCESS")


def test_json_fields_are_the_value_that_they_hold():
    change = document_of(admin_service_pb2.Change(revision=1, detail_json='{"a": [1, null]}'))
    assert change["detail"] == {"a": [1, None]}
    assert document_of(admin_service_pb2.Change())["detail"] is None


def test_maps_are_sorted_by_key():
    facts = registry_service_pb2.VersionFacts(metrics={"b": 1.5, "a": float("nan")})
    assert list(document_of(facts)["metrics"].items()) == [("a", None), ("b", 1.5)]


def test_tensors_are_nested_lists():
    tensor = document_of(to_tensor("x", np.float32([[0.1, np.inf]])))
    assert tensor == {"name": "x", "data_type": "FLOAT32", "shape": [1, 2], "data": [[0.1, None]]}
    assert document_of(to_tensor("x", ["é"]))["data"] == ["é"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@given(data=st.data())
def test_printed_numbers_are_the_numbers(dtype, data):
    width = np.dtype(dtype).itemsize * 8
    values = data.draw(st.lists(st.floats(width=width, allow_nan=False, allow_infinity=False), max_size=5))
    array = np.array(values, dtype)
    printed = json.loads(json.dumps(elements(array)))
    assert np.array(printed, dtype).tobytes() == array.tobytes()


def test_every_message_of_the_contract_has_a_document():
    for module in (admin_service_pb2, experiment_service_pb2, feature_service_pb2, registry_service_pb2):
        for name in module.DESCRIPTOR.message_types_by_name:
            json.dumps(document_of(getattr(module, name)()), allow_nan=False)
