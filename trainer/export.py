"""Export: a fitted estimator as an ONNX file."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from skl2onnx.sklapi import CastTransformer
from sklearn.base import is_regressor
from sklearn.pipeline import Pipeline

from trainer.converters import register_converters
from trainer.errors import ExportFailedError
from trainer.rounding import loses_detail
from trainer.thresholds import lower_thresholds, thresholds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from trainer.fit import Model

INPUT, PROBABILITIES, NUMBER = "features", "probabilities", "variable"
# The newest that skl2onnx 1.20 is tested with; ONNX Runtime reads far newer ones.
_OPSETS = {"": 21, "ai.onnx.ml": 3}

_DTYPES: dict[int, str] = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64"}
_OF_TREES = ("tree_", "estimators_", "_predictors", "booster_", "get_booster")


@dataclass(frozen=True, slots=True)
class Exported:
    """An estimator as ONNX.

    Attributes
    ----------
    content
        The bytes of the file.
    dtype, input
        What its one input [rows, features] takes, ``float32`` or ``float64``; the input's name.
    output
        Where it gives probabilities [rows, classes], or numbers [rows, 1].
    """

    content: bytes
    dtype: str
    input: str = INPUT
    output: str = PROBABILITIES


def export(
    estimator: Model, rows: NDArray[np.float64], *, wide: bool | None = None, names: Sequence[str] = ()
) -> Exported:
    """Return the estimator as ONNX with plain tensors as outputs, or raise ExportFailedError.

    The input is float32 unless a column's magnitude would lose detail by that; then it is float64, and what trees take
    is rounded inside the graph, behind the scaling, as scikit-learn's own trees do it.

    Parameters
    ----------
    estimator
        A fitted classifier or regressor.
    rows
        Rows it was fitted to [n, features]; they decide the input's type.
    wide
        Whether the input is float64, whatever the rows say; None: they decide.
    names
        What the columns are, written into the file's metadata as `features`, a JSON list.
    """
    wide = bool(loses_detail(rows).any()) if wide is None else wide
    kind = DoubleTensorType if wide else FloatTensorType
    subject = _with_cast(estimator) if wide else estimator
    numbers = is_regressor(estimator)
    register_converters(estimator)
    try:
        with warnings.catch_warnings():
            # skl2onnx 1.20 gives truth values where the format has integers; protobuf 6 warns, 7 will refuse.
            warnings.filterwarnings("ignore", message=r"Field onnx\.", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=r"Field onnx\.", category=UserWarning)
            graph = to_onnx(
                subject,
                initial_types=[(INPUT, kind([None, rows.shape[1]]))],
                options=None if numbers else {id(subject): {"zipmap": False}},
                target_opset=_OPSETS,
            )
    except Exception as error:  # the converters raise anything, from TypeError to errors of their own
        raise ExportFailedError(
            f"{type(estimator).__name__} cannot be written as ONNX: {error}", estimator=type(estimator).__name__
        ) from error
    lower_thresholds(graph, thresholds_of(estimator))
    if names:
        graph.metadata_props.add(key="features", value=json.dumps(list(names)))
    output = NUMBER if numbers else PROBABILITIES
    return Exported(graph.SerializeToString(), "float64" if wide else "float32", output=output)


def of_script(content: bytes) -> Exported | None:
    """Return a graph that a script wrote with its ports; None where it has not one input and an output of numbers."""
    graph = onnx.load_model_from_string(content).graph
    stored = {each.name for each in graph.initializer}
    inputs = [port for port in graph.input if port.name not in stored]
    outputs = [port.name for port in graph.output if port.type.tensor_type.elem_type in _DTYPES]
    output = next((name for name in (PROBABILITIES, NUMBER) if name in outputs), outputs[0] if outputs else "")
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type not in _DTYPES or not output:
        return None
    return Exported(content, _DTYPES[inputs[0].type.tensor_type.elem_type], inputs[0].name, output)


def _with_cast(estimator: Any) -> Any:
    """Return the estimator with a rounding to float32 in front of the last step where that step is made of trees."""
    steps = list(estimator.steps) if isinstance(estimator, Pipeline) else [("estimator", estimator)]
    if not _is_trees(steps[-1][1]) or isinstance(steps[max(0, len(steps) - 2)][1], CastTransformer):
        return estimator
    return Pipeline([*steps[:-1], ("cast", CastTransformer()), steps[-1]])


def _is_trees(estimator: object) -> bool:
    """Return whether ONNX Runtime takes the estimator as a TreeEnsemble, which refuses a float64 classifier."""
    return any(hasattr(estimator, name) for name in _OF_TREES)
