"""A shadow on the command line: set, shown while it runs, its pairs taken out, removed."""

from __future__ import annotations

import time

import numpy as np
import pyarrow.parquet as pq

from turnout.client import Client

WAIT_S = 30
ROW = np.array([[1, 2, 3]], np.float32)


def test_a_shadow_is_set_followed_and_removed(at_gateway, gateway, write_model, tmp_path):
    for scale in (2.0, 3.0):
        assert at_gateway("models", "publish", "shade", write_model(scale)).code == 0
    assert at_gateway("models", "promote", "shade", 1, "--wait").code == 0
    done = at_gateway("shadow", "set", "shade", "--version", 2, "--reason", "to see", "--wait", "--json")
    assert done.document["shadow"]["running_version"] == 2
    with Client(gateway.data_address) as client:
        for number in range(5):
            client.predict("shade", inputs={"x": ROW}, request_id=f"shade-{number}")
    until = time.monotonic() + WAIT_S
    while at_gateway("shadow", "show", "shade", "--json").document["counts"]["paired"] < 5:
        assert time.monotonic() < until
    listed = at_gateway("shadow", "list")
    assert "shade" in listed.out
    file = tmp_path / "shadows.parquet"
    assert at_gateway("events", "export", file, "--kind", "shadow").code == 0
    rows = pq.read_table(file).to_pylist(maps_as_pydicts="strict")
    assert {row["request_id"] for row in rows} == {f"shade-{number}" for number in range(5)}
    assert all(row["outputs"]["score"] == [3.0, 6.0, 9.0] for row in rows)
    assert at_gateway("events", "count", "--json").document["predictions"] == 5
    removed = at_gateway("shadow", "remove", "shade", "--wait")
    assert removed.out == "nothing runs in the shadow of shade any more\n"
    gone = at_gateway("shadow", "show", "shade")
    assert gone.code == 1
    assert "SHADOW_NOT_FOUND" in gone.err


def test_a_shadow_is_of_a_version_or_an_alias(at_gateway):
    for given in ((), ("--version", 1, "--alias", "challenger")):
        assert at_gateway("shadow", "set", "shade", *given).code == 2
