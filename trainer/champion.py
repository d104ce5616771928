"""The version that serves, as a candidate's opponent: what it takes, and what it says of rows."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

# ONNX Runtime's Linux wheels send telemetry unless this stands before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from trainer.errors import EvaluationFailedError
from trainer.rounding import rounded
from turnout import resources
from turnout.errors import MissingError
from turnout.registry.v1 import registry_service_pb2 as registry_pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from turnout.control import Control

    Floats = NDArray[np.float64]

CHAMPION = "champion"
_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_CLASSES = 2


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that serves.

    Attributes
    ----------
    feature_set, feature_names
        The set's id, and its features in order; empty where callers send every input.
    run
        The run that made it; empty when no run did.
    generation
        Of the alias: what a promotion compares.
    """

    version: int
    feature_set: str
    published_us: int
    metrics: dict[str, float]
    run: str
    trained_on: str
    generation: int
    feature_names: tuple[str, ...] = ()

    def with_features(self, names: Sequence[str]) -> Champion:
        """Return it with the names of its features."""
        return replace(self, feature_names=tuple(names))

    def document(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)


def find_champion(control: Control, model: str) -> Champion | None:
    """Return the version that serves; None where there is none, or no such model."""
    try:
        found = control.registry.GetModel(registry_pb.GetModelRequest(name=resources.model_name(model))).model
    except MissingError:
        return None
    alias = next((each for each in found.aliases if each.alias == CHAMPION), None)
    if alias is None:
        return None
    name = resources.version_name(model, alias.version)
    version = control.registry.GetVersion(registry_pb.GetVersionRequest(name=name)).version
    return Champion(
        version=alias.version,
        feature_set=resources.set_id(version.facts.feature_set) if version.facts.feature_set else "",
        published_us=version.create_time_us,
        metrics=dict(version.facts.metrics),
        run=dict(version.facts.tags).get("run", ""),
        trained_on=version.feature_set_digest,
        generation=alias.generation,
    )


def probabilities(content: bytes, rows: Floats) -> Floats:
    """Return what a graph says of rows: the probabilities of the label 1 [n], or raise EvaluationFailedError.

    They are in an output `probabilities`, else in the first of floating point; of two columns it is the second.

    Parameters
    ----------
    content
        The ONNX file.
    rows
        Rows [n, features], rounded here as the gateway does it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        said = _ask(session, rows)
    except EvaluationFailedError:
        raise
    except Exception as error:  # ONNX Runtime raises classes of its own, which have no common one
        raise EvaluationFailedError(f"the graph does not answer the rows: {error}") from error
    if said.shape[1] > _CLASSES:
        raise EvaluationFailedError(f"the graph gives {said.shape[1]} numbers a row; two classes are compared")
    found: Floats = said[:, -1]
    if not (np.isfinite(found).all() and (found >= 0).all() and (found <= 1).all()):
        raise EvaluationFailedError("what the graph gives is no probability")
    return found


def _ask(session: onnxruntime.InferenceSession, rows: Floats) -> Floats:
    inputs = [each for each in session.get_inputs() if each.type in _DTYPES]
    outputs = [each.name for each in session.get_outputs() if each.type in _DTYPES]
    if len(inputs) != 1 or not outputs:
        raise EvaluationFailedError("the graph has not one input and an output of floating point")
    output = "probabilities" if "probabilities" in outputs else outputs[0]
    fed = {inputs[0].name: rounded(rows).astype(_DTYPES[inputs[0].type])}
    return np.asarray(session.run([output], fed)[0], dtype=np.float64).reshape(len(rows), -1)
