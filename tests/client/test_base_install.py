"""What the base install promises: it is small, and importing it is cheap."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "duckdb",
    "google.rpc",
    "lmdb",
    "onnx",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "rich",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "typer",
}


def loaded_by(code: str) -> set[str]:
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_importing_turnout_loads_nothing_but_the_standard_library():
    assert not loaded_by("import turnout") & ({"grpc", "numpy", "google.protobuf"} | HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "from turnout import Client, AsyncClient, errors",
        "from turnout.client import Client; Client().close()",
        "from turnout import Client; Client().outcome_buffer().close()",
    ],
)
def test_importing_the_client_loads_grpc_and_what_it_has_and_little_of_ours(code):
    loaded = loaded_by(code)
    assert not loaded & ({"numpy", "google.protobuf"} | HEAVY)
    assert len([name for name in loaded if name.startswith("turnout.")]) < 20


@pytest.mark.parametrize(
    "code",
    [
        "from turnout.control import Control",
        "import turnout.prediction, turnout.batch, turnout.table, turnout.outcome, turnout.streams",
    ],
)
def test_the_client_needs_only_grpc_and_protobuf_until_it_has_an_array(code):
    assert not loaded_by(code) & ({"numpy"} | HEAVY)


def test_the_libraries_and_processes_are_not_the_clients_business():
    ours = {"gateway", "trainer", "experiments", "registry", "features", "storage"}
    assert not loaded_by("import turnout.client, turnout.aio, turnout.control") & ours


def test_the_public_names_are_listed_and_an_unknown_one_is_refused():
    import turnout  # noqa: PLC0415  (imported where it is looked at)

    assert dir(turnout) == ["AsyncClient", "Client", "Security", "errors"]
    assert all(getattr(turnout, name) for name in dir(turnout))
    with pytest.raises(AttributeError, match="Server"):
        _ = turnout.Server
