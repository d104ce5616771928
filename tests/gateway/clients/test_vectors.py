"""One file of requests and their bytes, which each client's own tests read too."""

from __future__ import annotations

import json

from turnout.tensors import DTYPES


def test_the_python_client_makes_the_bytes_of_the_vectors(root, vectors):
    cases = json.loads((root / "clients/vectors.json").read_text())
    assert {case["case"].lower() for case in cases} >= set(DTYPES)
    for case in cases:
        assert vectors.bytes_of(case).hex() == case["bytes"], case["case"]


def test_the_vectors_are_what_the_tool_writes(root, vectors):
    assert (root / "clients/vectors.json").read_text() == vectors.text()
