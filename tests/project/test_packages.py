"""What is installed, and what is imported where."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import packages_distributions

import pytest

PLAIN_NAMES = ("gateway", "registry", "features", "experiments", "trainer", "storage", "turnout")
HEAVY = ("scipy", "sklearn", "skl2onnx", "duckdb", "pyarrow", "sqlalchemy", "alembic", "pandas")
DATA_PLANE_PATTERNS = (
    "gateway/transport/*.py",
    "gateway/serving/*.py",
    "gateway/models/*.py",
    "gateway/journal/record.py",
    "gateway/journal/writer.py",
    "experiments/assignment.py",
    "features/plan.py",
    "features/fetch.py",
    "features/codec.py",
    "features/*_store.py",
)


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_no_other_installed_distribution_owns_a_package_of_ours(name):
    assert set(packages_distributions().get(name, ["turnout"])) == {"turnout"}


def loaded_by(python, statement, root):
    """Return the top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([python, "-c", code], cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_the_data_plane_loads_nothing_heavy(python, root):
    paths = sorted(path for pattern in DATA_PLANE_PATTERNS for path in root.glob(pattern))
    modules = [
        str(path.relative_to(root).with_suffix("")).replace("/", ".").removesuffix(".__init__") for path in paths
    ]
    for area in (
        "gateway.transport",
        "gateway.serving",
        "gateway.models",
        "gateway.journal",
        "experiments",
        "features",
    ):
        assert any(module.startswith(area) for module in modules), area
    statement = "\n".join(f"import {module}" for module in modules)
    assert loaded_by(python, statement, root).isdisjoint(HEAVY)


def test_a_worker_loads_nothing_heavy_nor_what_sends_traces(python, root):
    loaded = loaded_by(python, "import gateway.bootstrap.worker", root)
    assert loaded.isdisjoint({*HEAVY, "opentelemetry", "requests"})


def test_a_control_plane_that_starts_loads_neither_what_analyses_nor_what_migrates(python, root):
    loaded = loaded_by(python, "import gateway.__main__", root)
    assert loaded.isdisjoint({"scipy", "alembic", "sklearn", "skl2onnx", "pandas", "opentelemetry", "requests"})


def test_the_client_loads_neither_numpy_nor_the_server(python, root):
    loaded = loaded_by(python, "import turnout", root)
    assert loaded.isdisjoint({*HEAVY, "numpy", "onnxruntime", *(set(PLAIN_NAMES) - {"turnout"})})


def test_dependency_ranges_have_an_upper_bound(root):
    text = (root / "pyproject.toml").read_text()
    project = text[text.index("[project]") : text.index("[project.scripts]")]
    ranges = re.findall(r'^    "([A-Za-z][A-Za-z0-9_.\[\],-]*)((?:[<>=~!].*?)?)(?:;.*)?",$', project, re.MULTILINE)
    assert len(ranges) > 20
    loose = [name for name, bounds in ranges if not name.startswith("turnout[") and not re.search(r"<|==", bounds)]
    assert loose == []


def test_whatever_imports_onnx_runtime_turns_its_telemetry_off_first(root):
    loud = []
    for package in PLAIN_NAMES:
        for path in (root / package).rglob("*.py"):
            text = path.read_text()
            imported = re.search(r"^\s*(?:import|from) onnxruntime", text, re.MULTILINE)
            switch = text.find("ORT_DISABLE_TELEMETRY")
            if imported and not 0 <= switch < imported.start():
                loud.append(str(path.relative_to(root)))
    assert loud == []
