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
