"""Export: a fitted scikit-learn estimator as an ONNX file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from skl2onnx.sklapi import CastTransformer
from sklearn.pipeline import Pipeline

from trainer.errors import ExportFailedError
from trainer.rounding import loses_detail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainer.fit import Classifier

INPUT = "features"
# The newest that skl2onnx 1.20 is tested with; ONNX Runtime reads far newer ones.
_OPSET = 21


@dataclass(frozen=True, slots=True)
class Exported:
    """An estimator as ONNX.

    Attributes
    ----------
    content
        The bytes of the file.
    dtype, input
        What its one input [rows, features] takes, ``float32`` or ``float64``; the input's name.
    """

    content: bytes
    dtype: str
    input: str = INPUT


def export(estimator: Classifier, rows: NDArray[np.float64], *, wide: bool | None = None) -> Exported:
    """Return the estimator as ONNX with plain tensors as outputs, or raise ExportFailedError.

    The input is float32 unless a column's magnitude would lose detail by that; then it is float64, and what trees take
    is rounded inside the graph, behind the scaling, as scikit-learn's own trees do it.

    Parameters
    ----------
    estimator
        A fitted classifier.
    rows
        Rows it was fitted to [n, features]; they decide the input's type.
    wide
        Whether the input is float64, whatever the rows say; None: they decide.
    """
    wide = bool(loses_detail(rows).any()) if wide is None else wide
    kind = DoubleTensorType if wide else FloatTensorType
    subject = _with_cast(estimator) if wide else estimator
    try:
        with warnings.catch_warnings():
            # skl2onnx 1.20 gives truth values where the format has integers; protobuf 6 warns, 7 will refuse.
            warnings.filterwarnings("ignore", message=r"Field onnx\.", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=r"Field onnx\.", category=UserWarning)
            graph = to_onnx(
                subject,
                initial_types=[(INPUT, kind([None, rows.shape[1]]))],
                options={id(subject): {"zipmap": False}},
                target_opset=_OPSET,
            )
    except Exception as error:  # the converters raise anything, from TypeError to errors of their own
        raise ExportFailedError(
            f"{type(estimator).__name__} cannot be written as ONNX: {error}", estimator=type(estimator).__name__
        ) from error
    return Exported(graph.SerializeToString(), "float64" if wide else "float32")


def _with_cast(estimator: Any) -> Any:
    """Return the estimator with a rounding to float32 in front of the last step where that step is made of trees."""
    steps = list(estimator.steps) if isinstance(estimator, Pipeline) else [("estimator", estimator)]
    if not _is_trees(steps[-1][1]):
        return estimator
    return Pipeline([*steps[:-1], ("cast", CastTransformer()), steps[-1]])


def _is_trees(estimator: object) -> bool:
    """Return whether ONNX Runtime takes the estimator as a TreeEnsemble, which refuses a float64 classifier."""
    return any(hasattr(estimator, name) for name in ("tree_", "estimators_", "_predictors"))
