"""GrowthBook's kit, fed with our JSON, and OpenFeature's SDK, with our provider, give units what the gateway serves."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest
from google.protobuf import struct_pb2
from growthbook import GrowthBook
from openfeature import api
from openfeature.evaluation_context import EvaluationContext

from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.openfeature import TurnoutProvider

UNITS = [f"user-{number * 7919}" for number in range(9_990)] + [f"größe-{n}" for n in range(4)] + list("abcdef")
ASKED = 100
"""How many are asked one by one where the whole number would take minutes; the soak asks all."""
COUNTRIES = ("NZ", "DE", "FR")
FLAGS = ("canary", "aimed")


def country_of(place):
    return COUNTRIES[place % 3]


@pytest.fixture(scope="module")
def served(place):
    """Start three experiments on one model, move a split into pieces, and return what units are served."""
    targeting = struct_pb2.Struct()
    targeting.update({"any": [{"attribute": "country", "in": ["NZ", "DE"]}, {"attribute": "app", "prefix": "x."}]})
    place.create("canary", (0.5, 0.3, 0.2), layer_share=0.5, seed="salt 1", forced={"a": "v1", "b": "v0"})
    place.create("aimed", (0.5, 0.5), layer_share=0.3, coverage=0.7, targeting=targeting)
    place.create("later", (0.9, 0.1), layer_share=0.1, forced={"c": "v1"})
    place.create("draft", (0.5, 0.5), layer_share=0.05, start=False)
    with place.control() as control:
        for shares in ({"v0": 0.2, "v1": 0.3, "v2": 0.5}, {"v0": 0.4, "v1": 0.2, "v2": 0.4}):
            control.experiments.SetTrafficSplit(pb.SetTrafficSplitRequest(name="experiments/canary", shares=shares))
        control.wait_for_revision()
    found = {}
    with place.client() as client:
        for first in range(0, len(UNITS), 2000):
            part = range(first, min(first + 2000, len(UNITS)))
            answers = client.predict_batch(
                "scaled",
                unit_ids=[UNITS[place] for place in part],
                attributes={"country": [country_of(place) for place in part]},
                inputs={"x": np.zeros((len(part), 2), np.float32)},
            )
            assert not answers.errors
            found |= {UNITS[place]: (each.experiment, each.variant) for place, each in zip(part, answers, strict=True)}
    return found


def own(served, experiment, unit):
    return served[unit][1] if served[unit][0] == experiment else ""


def without_hashes_of_its_own(unit):
    return unit.isascii()  # outside ASCII the kits hash other bytes than UTF-8's, and disagree among themselves


def test_the_kit_gives_ten_thousand_units_what_the_gateway_serves(place, served):
    status, headers, document = place.ask("GET", "/api/features/any-key", role="read")
    assert status == 200, document
    assert set(document["features"]) == {"canary", "aimed", "later"}
    assert len(document["features"]["canary"]["rules"][-1]["ranges"]) > 3  # the split lies in pieces
    kit = GrowthBook(features=document["features"])
    wrong = []
    for place_, unit in enumerate(UNITS):
        if without_hashes_of_its_own(unit):
            kit.set_attributes({"id": unit, "country": country_of(place_)})
            told = {experiment: kit.get_feature_value(experiment, "?") for experiment in document["features"]}
            wrong += [(unit, told)] * any(told[one] != own(served, one, unit) for one in told)
    assert wrong == []
    assert {variant for experiment, variant in served.values() if experiment == "canary"} == {"v0", "v1", "v2"}
    again, _, nothing = place.ask("GET", "/api/features/k", role="read", headers={"If-None-Match": headers["ETag"]})
    assert (again, nothing) == (304, None)
    assert place.ask("GET", "/api/features/k", role="predict")[0] == 403
    assert place.ask("POST", "/api/features/k", {}, role="read")[0] == 405


def sample():
    every = list(enumerate(UNITS))
    return [*every[:: len(every) // ASKED], *every[-10:]]


def ask_provider(place, served, units):
    wrong = []
    with TurnoutProvider(place.control("read")) as provider:
        api.set_provider(provider)
        client = api.get_client()
        for place_, unit in units:
            context = EvaluationContext(unit, {"country": country_of(place_)})
            told = {one: client.get_string_value(one, "", context) for one in FLAGS}
            wrong += [(unit, told)] * any(told[one] != own(served, one, unit) for one in told)
        api.clear_providers()
    assert wrong == []


def test_the_provider_gives_units_what_the_gateway_serves(place, served):
    ask_provider(place, served, sample())


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_provider_gives_ten_thousand_units_what_the_gateway_serves(place, served):
    ask_provider(place, served, list(enumerate(UNITS)))


def ask_typescript(folder, place, contexts, *flags):
    """Return what OpenFeature's SDK for Node.js says of each context by our provider, flag by flag."""
    known = {"TURNOUT_SERVER": place.gateway.control_address, "TURNOUT_TOKEN": place.tokens["read"]}
    program = subprocess.run(
        ["node", "dist/examples/variants.js", *flags],
        cwd=folder,
        env=os.environ | known,
        input="".join(f"{json.dumps(context)}\n" for context in contexts),
        capture_output=True,
        text=True,
        check=False,
    )
    assert program.returncode == 0, program.stderr
    return [json.loads(line) for line in program.stdout.splitlines()]


def compare_typescript(folder, place, served, units):
    contexts = [{"targetingKey": unit, "country": country_of(place_)} for place_, unit in units]
    told = ask_typescript(folder, place, contexts, *FLAGS)
    assert len(told) == len(units)
    said = {unit: [one["value"] for one in each] for (_, unit), each in zip(units, told, strict=True)}
    assert said == {unit: [own(served, flag, unit) for flag in FLAGS] for _, unit in units}


def test_the_provider_for_typescript_gives_units_what_the_gateway_serves(typescript, place, served):
    compare_typescript(typescript, place, served, sample())


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_provider_for_typescript_gives_ten_thousand_units_what_the_gateway_serves(typescript, place, served):
    compare_typescript(typescript, place, served, list(enumerate(UNITS)))


def test_the_provider_for_typescript_says_what_it_cannot(typescript, place, served):
    assert served
    (without,) = ask_typescript(typescript, place, [{}], "canary")
    assert without[0]["errorCode"] == "TARGETING_KEY_MISSING"
    flags = ("nothing", "canary", "later")
    ((missing, forced, outside),) = ask_typescript(typescript, place, [{"targetingKey": "a"}], *flags)
    assert (missing["errorCode"], missing["value"]) == ("FLAG_NOT_FOUND", "")
    assert (forced["value"], forced["variant"], forced["reason"]) == ("v1", "v1", "SPLIT")
    assert "forced" in forced["flagMetadata"]["explanation"]
    assert (forced["flagMetadata"]["version"], forced["flagMetadata"]["propensity"]) == (2, 1)
    assert (outside["value"], outside["reason"]) == ("", "DEFAULT")


def test_the_provider_says_what_it_cannot(place, served):
    assert served
    with TurnoutProvider(place.control("read")) as provider:
        api.set_provider(provider)
        client = api.get_client()
        unit = EvaluationContext("a")
        assert client.get_string_details("nothing", "d", unit).error_code == "FLAG_NOT_FOUND"
        assert client.get_string_details("canary", "d").error_code == "TARGETING_KEY_MISSING"
        assert client.get_boolean_details("canary", False, unit).error_code == "TYPE_MISMATCH"
        told = client.get_string_details("canary", "d", unit)
        assert (told.value, told.variant, told.reason) == ("v1", "v1", "SPLIT")
        assert "forced" in told.flag_metadata["explanation"]
        assert client.get_integer_value("canary", 0, unit) == 2
        assert client.get_object_value("canary", {}, unit)["propensity"] == 1
        assert client.get_string_details("later", "d", unit).reason == "DEFAULT"
        api.clear_providers()
