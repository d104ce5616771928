"""Importance: how much worse the exported graph gets when one feature tells it nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline

from trainer.export import PROBABILITIES
from trainer.parity import runner
from trainer.rounding import loses_detail, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from trainer.export import Exported

    Floats = NDArray[np.float64]

ROWS_MAX = 5_000
REPEATS = 5
METRIC, OF_NUMBERS = "brier", "mse"


@dataclass(frozen=True, slots=True)
class FeatureImportance:
    """How much one feature matters.

    Attributes
    ----------
    feature
        Its name.
    increase
        By how much the mean loss grows when its values are permuted among the rows.
    standard_error
        Of that, over the rows.
    native
        What the estimator itself says of it; None where it says nothing of single features.
    """

    feature: str
    increase: float
    standard_error: float
    native: float | None


@dataclass(frozen=True, slots=True)
class Importance:
    """How much each feature matters, the most important first.

    Attributes
    ----------
    metric, loss
        The loss, and what it is with all features as they are.
    rows, repeats, seed
        On how many held-out rows, permuted how often, from which seed.
    native_kind
        What `native` is: ``impurity`` (a tree's decrease of impurity, as scikit-learn has it), ``coefficient`` (its
        size, times the standard deviation of what it multiplies); empty where there is none.
    features
        One entry a feature.
    """

    metric: str
    loss: float
    rows: int
    repeats: int
    seed: int
    native_kind: str
    features: tuple[FeatureImportance, ...]

    def to_json(self) -> str:
        """Return it as a JSON object."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)


def importance(
    estimator: object,
    exported: Exported,
    rows: Floats,
    labels: NDArray[Any],
    names: Sequence[str],
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Importance:
    r"""Return the permutation importance of each feature through the graph, and what the estimator says itself.

    Parameters
    ----------
    estimator, exported
        The fitted classifier of classes 0, 1 and so on, or regressor, and its graph, which is what is asked.
    rows, labels
        Rows that it has not learned from [n, features], and their labels; at most `ROWS_MAX` are taken, evenly.
    names
        The features.
    repeats, seed
        How often each feature is permuted, and from which seed.

    Notes
    -----
    The loss of a row is :math:`(p - y)^2`, of more than two classes :math:`\sum_k (p_k - [y = k])^2`. With :math:`d_i`
    the mean over the repeats of what row *i* loses by the permutation, the importance is :math:`\bar d` and its
    standard error :math:`s_d / \sqrt n`. Each row gets the value
    of another row in each repeat (a random cyclic shift of a random order), so that none keeps its own by chance.

    Assumptions: the rows are independent. Features that tell the same share their importance: each alone may look
    small, and permuted rows may be such as never occur.

    References
    ----------
    A. Fisher, C. Rudin, F. Dominici, *All Models are Wrong, but Many are Useful*, JMLR 20 (2019).
    """
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), ROWS_MAX)).astype(np.int64))
    wide = loses_detail(rows)
    rows, labels = rounded(rows[chosen], wide=wide), labels[chosen]
    run = runner(exported)

    def losses(given: Floats) -> Floats:
        said = np.asarray(run(given)[exported.output], np.float64).reshape(len(given), -1)
        if said.shape[1] <= 2:  # noqa: PLR2004  (a number, or two probabilities that say the same)
            return np.asarray((said[:, -1] - labels) ** 2)
        found: Floats = ((said - (labels[:, np.newaxis] == np.arange(said.shape[1]))) ** 2).sum(axis=1)
        return found

    whole = losses(rows)
    native, kind = native_importance(estimator, rows)
    found = []
    for column, name in enumerate(names):
        lost = _lost(losses, rows, column, whole, repeats=repeats, seed=seed)
        error = float(lost.std(ddof=1) / np.sqrt(len(lost))) if len(lost) > 1 else 0.0
        found.append(FeatureImportance(name, float(lost.mean()), error, None if native is None else native[column]))
    found.sort(key=lambda one: (-one.increase, one.feature))
    metric = METRIC if exported.output == PROBABILITIES else OF_NUMBERS
    return Importance(metric, float(whole.mean()), len(rows), repeats, seed, kind, tuple(found))


def native_importance(estimator: object, rows: Floats) -> tuple[list[float] | None, str]:
    """Return what an estimator says of each feature itself, and what kind of number that is; None and empty if nothing.

    Parameters
    ----------
    estimator
        A fitted one; of a pipeline the last step speaks, where the steps before keep one column for each feature.
    rows
        Rows as it takes them.
    """
    last: Any = estimator
    if isinstance(estimator, Pipeline):
        last = estimator.steps[-1][1]
        rows = np.asarray(estimator[:-1].transform(rows)) if len(estimator.steps) > 1 else rows
    features = rows.shape[1]
    trees = getattr(last, "feature_importances_", None)
    if trees is not None and len(trees) == features == _width(estimator, features):
        return [float(value) for value in trees], "impurity"
    weights = getattr(last, "coef_", None)
    if weights is not None and np.size(weights) == features == _width(estimator, features):
        sizes = np.abs(np.ravel(weights)) * np.nanstd(rows, axis=0)
        return [float(value) for value in sizes], "coefficient"
    return None, ""


def _width(estimator: object, otherwise: int) -> int:
    """Return how many features an estimator takes."""
    return int(getattr(estimator, "n_features_in_", otherwise))


def _lost(
    losses: Callable[[Floats], Floats], rows: Floats, column: int, whole: Floats, *, repeats: int, seed: int
) -> Floats:
    """Return what each row loses on average by permutations of a column."""
    generator = np.random.default_rng([seed, column])
    given, lost = rows.copy(), np.zeros(len(rows))
    for _ in range(repeats):
        order = generator.permutation(len(rows))
        shift = int(generator.integers(1, max(2, len(rows))))
        given[order, column] = rows[np.roll(order, shift), column]
        lost += losses(given) - whole
    return lost / repeats
