"""Parity: whether the ONNX graph answers as the estimator does, proved on real and on adversarial rows."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

# ONNX Runtime's Linux wheels send telemetry unless this stands before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from sklearn.base import is_regressor
from sklearn.pipeline import Pipeline

from trainer.adversarial import adversarial_rows, extreme_rows, threshold_rows
from trainer.certificate import Agreement, Certificate, Verdict, WorstRow
from trainer.rounding import loses_detail, rounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from trainer.export import Exported
    from trainer.fit import Model

_PROBE_ROWS_MAX = 1_024
_WORST, _WORST_DELTA = 3, 1e30
_SCALE_ROWS_MAX = 20_000
# The part of the rows next to splits that may get another answer, and another label: there the last bit decides.
_SPLIT_RATE_MAX, _FLIP_RATE_MAX = 0.05, 0.02
# The part of the rows that may differ by more than the tolerance without a flip: a row that lies on a tree's threshold.
_STEP_RATE_MAX = 0.001


@dataclass(frozen=True, slots=True)
class ProbeRows:
    """Rows whose outputs are known.

    Attributes
    ----------
    inputs, outputs
        Arrays by name; the first dimension counts the rows.
    """

    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]


def certify(
    estimator: Model, exported: Exported, rows: NDArray[np.float64], *, tolerance: float = 1e-4, seed: int = 0
) -> Certificate:
    """Return the certificate of an exported classifier or regressor.

    Both answer the same values: what `rounding.rounded` makes of the rows, as the estimator learned from them. The
    gateway rounds so too, when it fills the graph's input.

    Parameters
    ----------
    estimator
        What was exported.
    exported
        Its graph.
    rows
        Real rows [n, features] with n at least 1, as they will come.
    tolerance
        The largest difference that passes.
    seed
        Of the choice of rows that adversarial ones are made from.
    """
    wide = loses_detail(rows)
    compare = _Comparison(estimator, exported, rounded(rows, wide=wide), tolerance)
    real = compare.on(rounded(rows, wide=wide))
    parts, left_out = [], {}
    for kind, made in adversarial_rows(rows, seed=seed).items():
        if not len(made):
            left_out[kind] = "no real row has such a value"
        elif not compare.takes(made):
            left_out[kind] = "the estimator refuses it"
        else:
            parts.append(rounded(made, wide=wide))
    for kind, made in extreme_rows(rows).items():
        if not compare.takes(made):
            left_out[kind] = "the estimator refuses it"
        elif (found := compare.on(rounded(made, wide=wide))).beyond_tolerance:
            left_out[kind] = f"{found.beyond_tolerance} of {found.rows} rows differ: float32 ends there"
    adversarial = compare.on(np.concatenate(parts) if parts else rows[:0])
    near, problem = threshold_rows(estimator, exported.content, rows, seed=seed)
    if problem:
        left_out["next to splits"] = problem
    splits = compare.on(rounded(near, wide=wide))
    verdict, reason = _judge(real, adversarial, splits, tolerance)
    versions = _versions(type(_last(estimator)).__module__.partition(".")[0])
    return Certificate(verdict, reason, tolerance, exported.dtype, real, adversarial, splits, left_out, versions)


def probe_rows(exported: Exported, rows: NDArray[np.float64], *, count: int = 32) -> ProbeRows:
    """Return rows that cover the outputs evenly from the lowest to the highest, with the graph's answers.

    Parameters
    ----------
    exported
        The graph.
    rows
        Real rows [n, features] with n at least 1.
    count
        How many, 1 to 1 024; all rows when there are fewer.
    """
    run = runner(exported)
    count = max(1, min(count, _PROBE_ROWS_MAX, len(rows)))
    order = np.argsort(run(rows)[exported.output][:, -1], kind="stable")
    chosen = rows[order[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]]
    return ProbeRows({exported.input: chosen.astype(exported.dtype)}, run(chosen))


def runner(exported: Exported) -> Callable[[NDArray[np.float64]], dict[str, NDArray[Any]]]:
    """Return a function from rows to the graph's outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(exported.content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(rows: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(None, {exported.input: rows.astype(exported.dtype)}), strict=True))

    return run


class _Comparison:
    """The two side by side on the same rows."""

    def __init__(self, estimator: Any, exported: Exported, real: NDArray[np.float64], tolerance: float) -> None:
        self._estimator = estimator
        self._run = runner(exported)
        self._output = exported.output
        self._tolerance = tolerance
        self._numbers = is_regressor(estimator)
        said = self._say(real[:_SCALE_ROWS_MAX]) if self._numbers else np.zeros(1)
        self._middle, self._spread = float(said.mean()), float(said.std())

    def takes(self, rows: NDArray[np.float64]) -> bool:
        """Return whether the estimator takes such rows: scikit-learn refuses what it cannot take by ValueError."""
        try:
            self._say(rows[:1])
        except ValueError:
            return False
        return True

    def on(self, rows: NDArray[np.float64]) -> Agreement:
        """Return how the two answer the rows."""
        if not len(rows):
            return Agreement(0, 0.0, 0.0, 0, 0, 0)
        expected = self._say(rows)
        outputs = self._run(rows)
        got = np.asarray(outputs[self._output], np.float64).reshape(expected.shape)
        with np.errstate(invalid="ignore", over="ignore"):
            delta = np.abs(expected - got)
            if self._numbers:
                delta /= np.maximum(np.abs(expected - self._middle), self._spread or 1.0)
        same = (expected == got) | (np.isnan(expected) & np.isnan(got))
        # A difference that is not a number is as bad as one can be.
        delta = np.where(same, 0.0, np.nan_to_num(delta, nan=_WORST_DELTA, posinf=_WORST_DELTA)).max(axis=1)
        flips = ties = 0
        if not self._numbers:
            differs = self._estimator.classes_[expected.argmax(axis=1)] != outputs["label"]
            best = np.sort(expected, axis=1)
            clear = best[:, -1] - best[:, -2] > 2 * self._tolerance
            flips, ties = int((differs & clear).sum()), int((differs & ~clear).sum())
        order = np.argsort(-delta, kind="stable")[:_WORST]
        return Agreement(
            rows=len(rows),
            max_delta=float(delta.max()),
            mean_delta=float(delta.mean()),
            beyond_tolerance=int((delta > self._tolerance).sum()),
            label_flips=flips,
            ties=ties,
            worst=tuple(
                WorstRow(_texts(rows[at]), _texts(expected[at]), _texts(got[at]))
                for at in order
                if delta[at] > self._tolerance
            ),
        )

    def _say(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the estimator says of rows, [n, 1] of numbers and [n, classes] of probabilities."""
        with np.errstate(all="ignore"):  # what overflows on the way is the estimator's answer
            if self._numbers:
                return np.asarray(self._estimator.predict(rows), np.float64).reshape(len(rows), 1)
            return np.asarray(self._estimator.predict_proba(rows), np.float64)


def _judge(real: Agreement, adversarial: Agreement, splits: Agreement, tolerance: float) -> tuple[Verdict, str]:
    """Return the verdict and its reason."""
    for name, part, rate in (("real", real, 0.0), ("adversarial", adversarial, 0.0), ("split", splits, _FLIP_RATE_MAX)):
        if part.label_flips > rate * part.rows:
            return Verdict.DISAGREES, f"{part.label_flips} of {part.rows} {name} rows get another label"
    bounds = (("real", real, _STEP_RATE_MAX), ("adversarial", adversarial, _STEP_RATE_MAX))
    for name, part, rate in (*bounds, ("split", splits, _SPLIT_RATE_MAX)):
        if part.beyond_tolerance > rate * part.rows:
            return (
                Verdict.DISAGREES,
                f"{part.beyond_tolerance} of {part.rows} {name} rows differ by more than {tolerance:g}",
            )
    steps = real.beyond_tolerance + adversarial.beyond_tolerance + splits.beyond_tolerance
    if steps:
        flips = (
            f"{splits.label_flips} labels of rows next to splits differ" if splits.label_flips else "no label differs"
        )
        return (Verdict.AGREES_WITH_STEPS, f"{steps} rows on a threshold differ by more than {tolerance:g}; {flips}")
    return Verdict.AGREES, ""


def _texts(values: NDArray[np.float64]) -> tuple[str, ...]:
    return tuple(f"{value:.9g}" for value in values)


def _last(estimator: Any) -> object:
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def _versions(library: str) -> dict[str, str]:
    """Return the versions of the libraries that took part."""
    also = {"lightgbm": ("lightgbm", "onnxmltools"), "xgboost": ("xgboost-cpu", "xgboost", "onnxmltools")}
    found = {}
    for name in ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "protobuf", *also.get(library, ())):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
