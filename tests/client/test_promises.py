"""What the client promises of itself: three dependencies, the same names in both colours, and types for everything."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from turnout import AsyncClient, Client
from turnout.aio_outcome_buffer import AsyncOutcomeBuffer
from turnout.outcome_buffer import OutcomeBuffer
from turnout.serving.v1 import prediction_service_pb2

ROOT = Path(__file__).parents[2]


def public(kind):
    return {name: member for name, member in inspect.getmembers(kind) if not name.startswith("_") and callable(member)}


@pytest.mark.parametrize(("threads", "tasks"), [(Client, AsyncClient), (OutcomeBuffer, AsyncOutcomeBuffer)])
def test_both_colours_have_the_same_names_and_parameters(threads, tasks):
    one, other = public(threads), public(tasks)
    assert one.keys() == other.keys()
    for name in one:
        assert list(inspect.signature(one[name]).parameters) == list(inspect.signature(other[name]).parameters), name


def test_no_public_signature_says_any():
    import turnout.aio  # noqa: PLC0415
    import turnout.client  # noqa: PLC0415

    kinds = [
        *(getattr(turnout.client, name) for name in turnout.client.__all__),
        *(getattr(turnout.aio, name) for name in turnout.aio.__all__),
    ]
    assert len(set(kinds)) > 8
    loose = [
        f"{kind.__name__}.{name}: {said}"
        for kind in kinds
        for name, member in [("__init__", kind), *public(kind).items()]
        if (said := _said(member)) and re.search(r"\bAny\b", said)
    ]
    assert loose == []


def _said(member):
    try:
        return str(inspect.signature(member))
    except ValueError:  # builtins that say nothing
        return ""


def test_the_example_that_is_checked_by_mypy_strict_runs(address, script):
    script.on_batch = lambda request, _context: prediction_service_pb2.BatchPredictResponse(
        request_ids=request.request_ids,
        parts=[prediction_service_pb2.BatchPart(version=1, rows=range(request.rows), outputs=request.inputs)],
    )
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "client.py", address], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [one.model for one in script.predicted] == ["iris", "iris"]
    assert [outcome.name for request in script.recorded for outcome in request.outcomes] == ["correct"] * 3
    assert "version 1" in done.stdout
