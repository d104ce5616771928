"""A shadow on the command line, from its calls to what they say, against a real gateway."""

from __future__ import annotations

import time

import numpy as np
import pytest

from turnout.client import Client, Outcome
from turnout.control import Control

UNITS = 60
WAIT_S = 60


@pytest.fixture
def scales(gateway, scaling_model, tmp_path):
    """A model whose first version multiplies by two, and whose second by three."""
    with Control(gateway.control_address) as control:
        for scale, alias in ((2, "champion"), (3, "")):
            file = tmp_path / f"{scale}.onnx"
            file.write_bytes(scaling_model(scale))
            control.publish_version("scales", file, alias=alias)


@pytest.mark.usefixtures("scales")
def test_two_versions_are_compared_on_the_same_calls(at_gateway, gateway):
    assert at_gateway("shadow", "set", "scales", "--version", 2, "--wait").code == 0
    noise = np.random.default_rng(1)
    with Client(gateway.data_address) as client:
        for number in range(UNITS):
            answer = client.predict("scales", unit_id=f"u{number}", inputs={"x": np.float32([[1, 1, 1]])})
            seen = Outcome("seen", 8.5 + noise.normal() / 10, request_id=answer.request_id)
            assert client.record_outcomes([seen])[0].recorded
    asked = ("shadow", "compare", "scales", 1, 2, "--kind", "absolute_error", "--outcome", "seen", "--output", "total")
    until = time.monotonic() + WAIT_S
    while (found := at_gateway(*asked, "--json").document)["pairs"] < UNITS and time.monotonic() < until:
        time.sleep(0.1)
    assert (found["pairs"], found["pending_pairs"], found["failed_pairs"]) == (UNITS, 0, 0)
    # 60 of the 100 units that are needed: nothing is claimed of them.
    assert "60 units have a pair" in found["not_enough_data"]
    told = at_gateway(*asked, "--minimum-units", 50, "--method", "fixed", "--json").document
    assert told["finding"] == "BETTER"
    assert told["estimate"]["difference"] == pytest.approx(-2, abs=0.1)
    assert told["estimate"]["control_units"] == UNITS
    printed = at_gateway(*asked, "--minimum-units", 50).out
    assert "paired_sequence" in printed
    assert "finding: BETTER" in printed
    assert at_gateway(*asked, "--since", "2999-01-01").out.count("0 units have a pair") == 1
    assert (
        at_gateway("shadow", "compare", "scales", 1, 2, "--kind", "guess", "--outcome", "a", "--output", "b").code == 2
    )


DEFINITION = """
experiment = "foreseen"
model = "scales"
minimum_units = 20
[[variants]]
variant = "two"
version = 1
share = 0.5
control = true
[[variants]]
variant = "three"
version = 2
share = 0.5
[[metrics]]
metric = "sold"
kind = "mean"
outcome = "sold"
output = "total"
covariate = "control_prediction"
direction = "increase"
role = "success"
"""


@pytest.mark.usefixtures("scales")
def test_what_the_controls_version_foresees_takes_noise_off_an_experiment(at_gateway, gateway, tmp_path):
    (tmp_path / "experiment.toml").write_text(DEFINITION)
    at_gateway("experiments", "create", tmp_path / "experiment.toml")
    at_gateway("experiments", "start", "foreseen", "--wait")
    noise = np.random.default_rng(2)

    def sell(units):
        with Client(gateway.data_address) as client:
            for number in units:
                size = float(noise.uniform(1, 9))
                answer = client.predict("scales", unit_id=f"u{number}", inputs={"x": np.float32([[size, 0, 0]])})
                sold = Outcome("sold", size + noise.normal() / 2, request_id=answer.request_id)
                assert client.record_outcomes([sold])[0].recorded

    def estimate():
        advice = at_gateway("experiments", "recommend", "foreseen", "--json").document
        return advice["analysis"]["comparisons"][0]["estimate"], advice["reasons"]

    assert at_gateway("shadow", "set", "scales", "--version", 1, "--wait").code == 0
    sell(range(80))
    until = time.monotonic() + WAIT_S
    while (found := estimate())[0]["variance_kept"] == 1 and time.monotonic() < until:
        time.sleep(0.2)
    assert found[0]["variance_kept"] < 0.2
    assert found[0]["method"].startswith("cuped")
    at_gateway("shadow", "remove", "scales", "--wait")
    sell(range(80, 160))
    told, reasons = estimate()
    assert told["variance_kept"] == 1
    assert any("let it be the model's shadow" in reason for reason in reasons)
