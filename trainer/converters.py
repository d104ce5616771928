"""Converters of other libraries' estimators, registered where scikit-learn's own are found, pipelines included."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)

from trainer.errors import ExportFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLASSIFIER = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
_KNOWN = {
    "lightgbm": ("lightgbm.operator_converters.LightGbm", "convert_lightgbm", "LGBM", "LightGbm", {"split": None}),
    "xgboost": ("xgboost.operator_converters.XGBoost", "convert_xgboost", "XGB", "XGBoost", {}),
}


def register_converters(estimator: Any) -> None:
    """Let skl2onnx know what an estimator is made of, or raise ExportFailedError where the converter is missing."""
    for library in {type(part).__module__.partition(".")[0] for part in _parts(estimator)} & _KNOWN.keys():
        _register(library)


@functools.cache
def _register(library: str) -> None:
    module, name, prefix, alias, of_numbers = _KNOWN[library]
    try:
        convert = getattr(importlib.import_module(f"onnxmltools.convert.{module}"), name)
    except ImportError as error:
        raise ExportFailedError(f"{library} is written as ONNX by onnxmltools: install turnout[{library}]") from error
    made = importlib.import_module(library)
    for kind, shapes, options in (
        ("Classifier", calculate_linear_classifier_output_shapes, _CLASSIFIER),
        ("Regressor", calculate_linear_regressor_output_shapes, of_numbers),
    ):
        found = getattr(made, f"{prefix}{kind}")
        update_registered_converter(found, f"{alias}{found.__name__}", shapes, convert, options=options)


def _parts(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and those that it is made of."""
    yield estimator
    if hasattr(estimator, "get_params"):
        for value in estimator.get_params(deep=True).values():
            if hasattr(value, "fit"):
                yield value
