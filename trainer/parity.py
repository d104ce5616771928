"""Parity: whether the ONNX graph answers as the estimator does, proved on real and on adversarial rows."""

from __future__ import annotations

import importlib.metadata
import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

# ONNX Runtime's Linux wheels send telemetry unless this stands before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from trainer.errors import ParityRefusedError
from trainer.rounding import loses_detail, rounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from trainer.export import Exported
    from trainer.fit import Classifier

_ADVERSARIAL_BASES_MAX = 64
_PROBE_ROWS_MAX = 1_024
# The part of the rows that may differ by more than the tolerance without a flip: a row that lies on a tree's threshold.
_STEP_RATE_MAX = 0.001


class Verdict(StrEnum):
    """What the comparison says."""

    AGREES = "AGREES"
    AGREES_WITH_STEPS = "AGREES_WITH_STEPS"
    DISAGREES = "DISAGREES"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a set of rows compares.

    Attributes
    ----------
    rows
        How many were compared.
    max_delta, mean_delta
        The largest and the mean difference of a probability.
    beyond_tolerance
        Rows with a difference above the tolerance.
    label_flips
        Rows that got another label although the estimator's two best classes lie further apart than the tolerance.
    ties
        Rows that got another label where they do not.
    """

    rows: int
    max_delta: float
    mean_delta: float
    beyond_tolerance: int
    label_flips: int
    ties: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """How closely a graph agrees with its estimator, and where that was found.

    Attributes
    ----------
    verdict
        DISAGREES on any flip, or when more than one row in a thousand differs by more than the tolerance.
    reason
        Why, as a sentence; empty for AGREES.
    tolerance
        The largest difference of a probability that passes.
    dtype
        The element type of the graph's input.
    real, adversarial
        The comparison on rows of the training table, and on rows made from them to provoke.
    left_out
        Kinds of adversarial rows that were not compared, and why: what the estimator itself refuses, and missing
        values where no real row has any (an estimator's answer to those is an accident of its code).
    versions
        The libraries that took part.
    """

    verdict: Verdict
    reason: str
    tolerance: float
    dtype: str
    real: Agreement
    adversarial: Agreement
    left_out: dict[str, str]
    versions: dict[str, str]

    def to_json(self) -> str:
        """Return the certificate as a JSON object."""
        return json.dumps(asdict(self), sort_keys=True)

    def require(self) -> None:
        """Raise ParityRefusedError unless the verdict passes."""
        if self.verdict is Verdict.DISAGREES:
            raise ParityRefusedError(
                f"the ONNX graph does not answer as the estimator does: {self.reason}",
                label_flips=self.real.label_flips + self.adversarial.label_flips,
                max_delta=max(self.real.max_delta, self.adversarial.max_delta),
            )


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
    estimator: Classifier, exported: Exported, rows: NDArray[np.float64], *, tolerance: float = 1e-4, seed: int = 0
) -> Certificate:
    """Return the certificate of an exported classifier.

    Both answer the same values: what `fit.rounded` makes of the rows, as the estimator learned from them. The gateway
    rounds so too, when it fills the graph's input.

    Parameters
    ----------
    estimator
        The classifier that was exported.
    exported
        Its graph.
    rows
        Real rows [n, features] with n at least 1, as they will come.
    tolerance
        The largest difference of a probability that passes.
    seed
        Of the choice of rows that adversarial ones are made from.
    """
    run = runner(exported)
    wide = loses_detail(rows)
    real = _compare(estimator, run, rounded(rows, wide=wide), tolerance)
    parts, left_out = [], {}
    for kind, made in adversarial_rows(rows, seed=seed).items():
        if not len(made):
            left_out[kind] = "no real row has such a value"
        elif not _accepts(estimator, made):
            left_out[kind] = "the estimator refuses it"
        else:
            parts.append(rounded(made, wide=wide))
    adversarial = _compare(estimator, run, np.concatenate(parts) if parts else rows[:0], tolerance)
    verdict, reason = _judge(real, adversarial, tolerance)
    return Certificate(verdict, reason, tolerance, exported.dtype, real, adversarial, left_out, _versions())


def adversarial_rows(rows: NDArray[np.float64], *, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return rows made to provoke a disagreement, by kind: each a real row with one column changed."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(rows), size=min(_ADVERSARIAL_BASES_MAX, len(rows)), replace=False)
    bases = rows[np.sort(chosen)]
    finite = np.where(np.isfinite(rows), rows, 0.0)
    low, high = finite.min(axis=0), finite.max(axis=0)
    single = finite.astype(np.float32)
    neighbours = np.nextafter(single[chosen], np.float32(np.inf)).astype(np.float64)
    return {
        "lowest": _replace(bases, lambda column: low[column]),
        "highest": _replace(bases, lambda column: high[column]),
        "zero": _replace(bases, lambda _: 0.0),
        "far below": _replace(bases, lambda column: low[column] - 1e3 * (high[column] - low[column] + 1)),
        "far above": _replace(bases, lambda column: high[column] + 1e3 * (high[column] - low[column] + 1)),
        "next float32": _replace(bases, lambda column: neighbours[np.argsort(chosen), column]),
        "missing": _replace(bases, lambda _: np.nan, columns=np.flatnonzero(np.isnan(rows).any(axis=0))),
        "infinite": _replace(bases, lambda _: np.inf),
    }


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
    order = np.argsort(run(rows)["probabilities"][:, -1], kind="stable")
    chosen = rows[order[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]]
    return ProbeRows({exported.input: chosen.astype(exported.dtype)}, run(chosen))


def _replace(
    bases: NDArray[np.float64],
    value: Callable[[int], float | NDArray[np.float64]],
    *,
    columns: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Return the rows once for each of the columns (all, unless named), with that column changed."""
    chosen = range(bases.shape[1]) if columns is None else columns.tolist()
    made = np.repeat(bases[np.newaxis], len(chosen), axis=0)
    for index, column in enumerate(chosen):
        made[index, :, column] = value(column)
    return made.reshape(-1, bases.shape[1])


def _accepts(estimator: Classifier, rows: NDArray[np.float64]) -> bool:
    """Return whether the estimator takes such rows: scikit-learn refuses what it cannot take by ValueError."""
    try:
        estimator.predict_proba(rows[:1])
    except ValueError:
        return False
    return True


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


def _compare(
    estimator: Classifier,
    run: Callable[[NDArray[np.float64]], dict[str, NDArray[Any]]],
    rows: NDArray[np.float64],
    tolerance: float,
) -> Agreement:
    """Return how the two answer the rows."""
    if not len(rows):
        return Agreement(0, 0.0, 0.0, 0, 0, 0)
    expected = estimator.predict_proba(rows)
    outputs = run(rows)
    # A difference that is not a number is as bad as one can be.
    delta = np.nan_to_num(np.abs(expected - outputs["probabilities"]), nan=np.inf).max(axis=1)
    labels = estimator.classes_[expected.argmax(axis=1)]
    differs = labels != outputs["label"]
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * tolerance
    return Agreement(
        rows=len(rows),
        max_delta=float(delta.max()),
        mean_delta=float(delta.mean()),
        beyond_tolerance=int((delta > tolerance).sum()),
        label_flips=int((differs & clear).sum()),
        ties=int((differs & ~clear).sum()),
    )


def _judge(real: Agreement, adversarial: Agreement, tolerance: float) -> tuple[Verdict, str]:
    """Return the verdict and its reason."""
    for name, part in (("real", real), ("adversarial", adversarial)):
        if part.label_flips:
            return Verdict.DISAGREES, f"{part.label_flips} of {part.rows} {name} rows get another label"
    for name, part in (("real", real), ("adversarial", adversarial)):
        if part.beyond_tolerance > _STEP_RATE_MAX * part.rows:
            return (
                Verdict.DISAGREES,
                f"{part.beyond_tolerance} of {part.rows} {name} rows differ by more than {tolerance:g}",
            )
    if real.beyond_tolerance or adversarial.beyond_tolerance:
        steps = real.beyond_tolerance + adversarial.beyond_tolerance
        return (
            Verdict.AGREES_WITH_STEPS,
            f"{steps} rows on a threshold differ by more than {tolerance:g}; no label differs",
        )
    return Verdict.AGREES, ""


def _versions() -> dict[str, str]:
    """Return the versions of the libraries that took part."""
    names = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "protobuf")
    return {name: importlib.metadata.version(name) for name in names}
