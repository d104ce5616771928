"""Models that MLflow saved, published as they lie; what is no model, or would run code, is refused."""

import json

import pytest

MLMODEL = """
artifact_path: model
flavors:
  onnx:
    data: model.onnx
    onnx_version: 1.19.0
    providers: [CPUExecutionProvider]
  python_function:
    loader_module: mlflow.onnx
    data: model.onnx
mlflow_version: 3.18.0
model_uuid: 1f0c
run_id: abc
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]'
utc_time_created: '2026-01-01 00:00:00.000000'
"""


@pytest.fixture
def folder(tmp_path, scaling_model):
    place = tmp_path / "model"
    place.mkdir()
    (place / "model.onnx").write_bytes(scaling_model(2.0))
    (place / "MLmodel").write_text(MLMODEL)
    return place


def test_a_model_that_mlflow_saved_is_published(at_gateway, folder):
    told = at_gateway("registry", "import-mlflow", folder, "--model", "imported", "--json").document
    facts = told["version"]["facts"]
    assert facts["framework"] == "onnx 1.19.0"
    assert facts["tags"]["mlflow.run_id"] == "abc"
    assert json.loads(facts["dataset"].partition(": ")[2])[0]["tensor-spec"]["shape"] == [-1, 3]
    assert at_gateway("models", "show", "imported", "--json").document["model"]["latest_version"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flavors:\n  sklearn:\n    pickled_model: model.pkl\n", "no 'onnx'"),
        ("flavors:\n  onnx:\n    data: ../../../etc/passwd\n", "holds no file"),
        ("!!python/object/apply:os.system ['touch ran']\n", "cannot be read"),
        ("[", "cannot be read"),
        ("text", "not what MLflow writes"),
    ],
)
def test_what_cannot_be_published_is_refused(turnout, folder, text, said, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "MLmodel").write_text(text)
    done = turnout("registry", "import-mlflow", folder, "--model", "imported")
    assert done.code == 2
    assert said in done.err
    assert not (folder / "ran").exists()
