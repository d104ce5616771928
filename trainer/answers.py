"""Answers: what estimators and graphs say of rows, in one form for each task.

Of labels 0 and 1 it is the probability of 1 [n], of more classes those of all of them [n, classes], of numbers the
number [n].
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

# ONNX Runtime's Linux wheels send telemetry unless this stands before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from trainer.errors import EvaluationFailedError, TrainingTableError
from trainer.evaluation.metrics import weighted
from trainer.records.policy import METRICS, Task
from trainer.records.rules import CLASSES_MAX
from trainer.rounding import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_OUTPUTS = ("probabilities", "variable")
_CLASSES = 2
_SUM_SLACK = 1e-3


def of_estimator(estimator: Any, rows: Floats, task: Task) -> Floats:
    """Return what a fitted estimator says of rows [n, features]."""
    if task is Task.REGRESSION:
        return np.asarray(estimator.predict(rows), np.float64).reshape(len(rows))
    said = np.asarray(estimator.predict_proba(rows), np.float64)
    return said[:, 1] if task is Task.BINARY else said


def of_graph(content: bytes, rows: Floats, task: Task = Task.BINARY) -> Floats:
    """Return what a graph says of rows, or raise EvaluationFailedError.

    It is in an output `probabilities` or `variable`, else in the first of floating point.

    Parameters
    ----------
    content
        The ONNX file.
    rows
        Rows [n, features], rounded here as the gateway does it.
    task
        What is learned.
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
    return _checked(said, task)


def columns(said: Floats, task: Task) -> dict[str, Floats]:
    """Return answers as columns, as profiles and triggers call them."""
    if task is Task.REGRESSION:
        return {"output:variable": said}
    if task is Task.BINARY:
        return {"output:probabilities": said}
    return {f"output:probabilities.{number}": said[:, number] for number in range(said.shape[1])}


def metrics_of(task: Task, labels: NDArray[Any], said: Floats) -> dict[str, float]:
    """Return all metrics of a task that are defined on these rows, and `holdout_rows`."""
    whole = np.ones((1, len(labels)))
    found = {name: float(weighted(name, labels, said)(whole)[0]) for name in METRICS[task]}
    return {name: value for name, value in found.items() if np.isfinite(value)} | {"holdout_rows": float(len(labels))}


def check_labels(labels: Floats, task: Task) -> None:
    """Raise TrainingTableError when labels are none of the task's."""
    if not np.isfinite(labels).all():
        raise TrainingTableError("a label is no finite number")
    if task is Task.BINARY and not np.isin(labels, (0, 1)).all():
        raise TrainingTableError("a label is neither 0 nor 1")
    if (
        task is Task.MULTICLASS
        and not (np.equal(labels, labels.round()) & (labels >= 0) & (labels < CLASSES_MAX)).all()
    ):
        raise TrainingTableError(f"a label is none of 0, 1, 2 and so on, below {CLASSES_MAX}")


def check_part(labels: Floats, task: Task, *, part: str, classes: int) -> None:
    """Raise TrainingTableError when the labels of a part do not tell what they must.

    Parameters
    ----------
    labels
        Those of the part; `check_labels` has passed them.
    task
        What is learned.
    part
        Its name. What is learned from must have every class.
    classes
        How many there are in the whole table.
    """
    present = np.unique(labels)
    if len(present) < _CLASSES:
        raise TrainingTableError(f"the part {part!r} has one label alone", part=part)
    if task is Task.MULTICLASS and part == "train" and len(present) < classes:
        lacking = sorted(set(range(classes)) - {int(each) for each in present})
        raise TrainingTableError(f"the part 'train' has no row of the label {lacking[0]}", part=part)


def widened(said: Floats, classes: int) -> Floats:
    """Return answers of classes with columns of zeros for those that a model does not know of."""
    if said.ndim == 1 or said.shape[1] >= classes:
        return said
    return np.pad(said, ((0, 0), (0, classes - said.shape[1])))


def _ask(session: onnxruntime.InferenceSession, rows: Floats) -> Floats:
    inputs = [each for each in session.get_inputs() if each.type in _DTYPES]
    outputs = [each.name for each in session.get_outputs() if each.type in _DTYPES]
    if len(inputs) != 1 or not outputs:
        raise EvaluationFailedError("the graph has not one input and an output of floating point")
    output = next((name for name in _OUTPUTS if name in outputs), outputs[0])
    fed = {inputs[0].name: rounded(rows).astype(_DTYPES[inputs[0].type])}
    return np.asarray(session.run([output], fed)[0], dtype=np.float64).reshape(len(rows), -1)


def _checked(said: Floats, task: Task) -> Floats:
    """Return the answers in the form of the task, or raise EvaluationFailedError when they are not of it."""
    width = said.shape[1]
    if not np.isfinite(said).all():
        raise EvaluationFailedError("the graph gives what is no number")
    if task is Task.REGRESSION:
        if width != 1:
            raise EvaluationFailedError(f"the graph gives {width} numbers a row, where one is learned")
        return said[:, 0]
    if task is Task.BINARY and width > _CLASSES:
        raise EvaluationFailedError(f"the graph gives {width} numbers a row; two classes are compared")
    if not ((said >= 0).all() and (said <= 1).all()):
        raise EvaluationFailedError("what the graph gives is no probability")
    if task is Task.BINARY:
        return said[:, -1]
    if width < _CLASSES or (np.abs(said.sum(axis=1) - 1) > _SUM_SLACK).any():
        raise EvaluationFailedError("what the graph gives are no probabilities of classes: they do not add up to 1")
    return said
