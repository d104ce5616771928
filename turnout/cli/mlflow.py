"""Models that MLflow saved: the ONNX flavour of a model folder, and what its MLmodel file says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from turnout.cli.literals import LiteralError
from turnout.registry.v1 import registry_service_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

MLMODEL_BYTES_MAX = 1024**2
_TOLD = ("run_id", "model_id", "model_uuid", "mlflow_version", "utc_time_created", "artifact_path")


@dataclass(frozen=True, slots=True)
class SavedModel:
    """The ONNX file of a saved model, and what is said of it."""

    file: Path
    facts: pb.VersionFacts


def read_mlflow(folder: Path) -> SavedModel:
    """Return what a model folder holds, or raise LiteralError when it has no ONNX flavour that can be published."""
    document = _mlmodel(folder / "MLmodel")
    flavor = _mapping(_mapping(document, "flavors"), "onnx")
    if flavor.get("save_as_external_data") and any(folder.glob("**/*.data")):
        raise LiteralError("the model keeps its weights in files beside the graph: save it as one file")
    name = flavor.get("data", "model.onnx")
    file = (folder / str(name)).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise LiteralError(f"{folder} holds no file {str(name)[:120]!r}, which its ONNX flavour names")
    tags = {f"mlflow.{key}": str(document[key]) for key in _TOLD if document.get(key)}
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        tags |= {f"mlflow.metadata.{key}": str(value) for key, value in metadata.items()}
    return SavedModel(
        file,
        pb.VersionFacts(
            description=f"imported from MLflow: {document.get('artifact_path') or folder.name}",
            framework=f"onnx {flavor.get('onnx_version', '')}".strip(),
            dataset=_dataset(document),
            tags=tags,
        ),
    )


def _mlmodel(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MLMODEL_BYTES_MAX:
            raise LiteralError(f"{path} is longer than {MLMODEL_BYTES_MAX} bytes")
        # Plain values alone: what names a Python object is refused.
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LiteralError(f"{path} cannot be read: {str(error)[:300]}") from error
    if not isinstance(document, dict):
        raise LiteralError(f"{path} is not what MLflow writes")
    return document


def _mapping(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    if not isinstance(found, dict):
        there = ", ".join(sorted(str(key) for key in document)) or "nothing"
        raise LiteralError(f"MLmodel has no {name!r}; it has {there}. Only ONNX graphs can be served")
    return found


def _dataset(document: dict[str, Any]) -> str:
    """Return what the signature says that it takes, as MLflow wrote it; empty when it says nothing."""
    signature = document.get("signature")
    inputs = signature.get("inputs") if isinstance(signature, dict) else None
    return f"MLflow signature: {json.dumps(json.loads(inputs))}" if isinstance(inputs, str) else ""
