"""What is measured, and what is done with the values before they are compared."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from experiments.errors import ExperimentInvalidError

TEXT_CHARS_MAX = 4096
OUTPUT_INDEX_MAX = 1_000_000
DEFAULT_MARGIN = 0.05
WINDOW_US_MAX = 400 * 86_400_000_000
CLASSES_MAX = 1000


class MetricKind(enum.StrEnum):
    """How a metric is computed from a unit's predictions and outcomes."""

    MEAN = "mean"
    SQUARED_ERROR = "squared_error"
    ABSOLUTE_ERROR = "absolute_error"
    LOG_LOSS = "log_loss"
    ACCURACY = "accuracy"
    BRIER = "brier"
    LATENCY = "latency"
    ERROR_RATE = "error_rate"
    FEATURE_DEFAULT_RATE = "feature_default_rate"
    FEATURE_AGE = "feature_age"
    PROPORTION = "proportion"
    RATIO = "ratio"
    COUNT = "count"
    QUANTILE = "quantile"


# Computed from an output of the model and an outcome; from the prediction alone; one value a unit.
OF_OUTPUT = frozenset(
    {
        MetricKind.SQUARED_ERROR,
        MetricKind.ABSOLUTE_ERROR,
        MetricKind.LOG_LOSS,
        MetricKind.ACCURACY,
        MetricKind.BRIER,
    }
)
OF_PREDICTION = frozenset(
    {MetricKind.LATENCY, MetricKind.ERROR_RATE, MetricKind.FEATURE_DEFAULT_RATE, MetricKind.FEATURE_AGE}
)
OF_UNIT = frozenset({MetricKind.PROPORTION, MetricKind.COUNT})
# Computed from the number that an outcome is, or from whether it is a category; from which of several categories it is.
OF_LABEL = OF_OUTPUT | {MetricKind.MEAN, MetricKind.PROPORTION, MetricKind.COUNT}
OF_CLASSES = frozenset({MetricKind.ACCURACY, MetricKind.BRIER, MetricKind.LOG_LOSS})


class Direction(enum.StrEnum):
    """Which way is better."""

    INCREASE = "increase"
    DECREASE = "decrease"


class Role(enum.StrEnum):
    """What a metric is for."""

    SUCCESS = "success"
    GUARDRAIL = "guardrail"
    MONITORING = "monitoring"


class Covariate(enum.StrEnum):
    """What is known of a unit before the treatment could touch it."""

    NONE = "none"
    PRE_EXPERIMENT = "pre_experiment"
    ATTRIBUTE = "attribute"
    CONTROL_PREDICTION = "control_prediction"


# Read from a unit's first call.
OF_CALL = frozenset({Covariate.ATTRIBUTE, Covariate.CONTROL_PREDICTION})


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured.

    Parameters
    ----------
    metric
        The name, unique in the experiment.
    outcome
        The name of the outcome that it is computed from; empty for what comes from the prediction alone.
    output, output_index
        The model's output and the element of its flattened row, where the kind or the covariate uses one.
    margin
        How much worse a guardrail may be, as a part of the control's mean.
    absolute_margin
        The same in the metric's unit, for means that may be 0; 0: not said. A guardrail holds within either.
    minimum_effect
        The least effect that matters, as a part of the control's mean; 0: not said.
    denominator
        The outcome that a ratio divides by.
    quantile
        Which quantile, in (0, 1), of the units' values.
    lower_cap, upper_cap
        A unit's value is moved to them where it lies beyond; None: no cap.
    winsorize
        A unit's value above this quantile of all arms' values together is moved to it; 0: none is.
    window_us
        An outcome counts when it happened within this time of its prediction, and a prediction when this time is over;
        0: every outcome that has come counts.
    missing_as_zero
        Whether a unit without the outcome counts with 0 (as one who did not buy), or not at all (as one not known yet).
    covariate, covariate_attribute
        What takes noise off, and the call's attribute that it is read from.
    label
        The category that counts as 1, any other as 0; empty: outcomes are numbers.
    classes
        The categories that the elements of the output from `output_index` on are the scores of; () where it is not
        asked which of several categories came.
    """

    metric: str
    kind: MetricKind
    outcome: str
    direction: Direction
    role: Role
    output: str = ""
    output_index: int = 0
    margin: float = DEFAULT_MARGIN
    absolute_margin: float = 0.0
    minimum_effect: float = 0.0
    denominator: str = ""
    quantile: float = 0.0
    lower_cap: float | None = None
    upper_cap: float | None = None
    winsorize: float = 0.0
    window_us: int = 0
    missing_as_zero: bool = False
    covariate: Covariate = Covariate.NONE
    covariate_attribute: str = ""
    label: str = ""
    classes: tuple[str, ...] = ()

    @property
    def reads_output(self) -> bool:
        """Whether it is computed from an output of the model, or takes one as its covariate."""
        return self.kind in OF_OUTPUT or self.covariate is Covariate.CONTROL_PREDICTION

    @property
    def more_is_better(self) -> bool:
        """Whether a greater value is the better one."""
        return self.direction is Direction.INCREASE


def validate_metric(metric: Metric) -> None:
    """Raise ExperimentInvalidError unless the metric keeps every rule."""
    what = f"the metric {metric.metric!r} ({metric.kind})"
    _require(metric.kind in OF_PREDICTION or 1 <= len(metric.outcome) <= TEXT_CHARS_MAX, f"{what} names no outcome")
    _require(metric.kind not in OF_PREDICTION or not metric.outcome, f"{what} comes from the prediction: no outcome")
    if metric.reads_output:
        _require(1 <= len(metric.output) <= TEXT_CHARS_MAX, f"{what} names no output")
        _require(0 <= metric.output_index <= OUTPUT_INDEX_MAX, f"{what} has the output_index {metric.output_index}")
    ratio = metric.kind is MetricKind.RATIO
    _require(bool(metric.denominator) is ratio, f"{what}: a ratio, and nothing else, names a denominator")
    _require(len(metric.denominator) <= TEXT_CHARS_MAX, f"{what}: its denominator's name is too long")
    if metric.kind is MetricKind.QUANTILE:
        _require(0 < metric.quantile < 1, f"{what} has the quantile {metric.quantile}, not in (0, 1)")
        _require(metric.covariate is Covariate.NONE, f"{what} takes no covariate")
    else:
        _require(metric.quantile == 0, f"{what} takes no quantile")
    _validate_categories(metric, what)
    _validate_values(metric, what)


def _validate_categories(metric: Metric, what: str) -> None:
    _require(not metric.label or metric.kind in OF_LABEL, f"{what} takes no label")
    _require(len(metric.label) <= TEXT_CHARS_MAX, f"{what}: its label is too long")
    if not metric.classes:
        return
    _require(metric.kind in OF_CLASSES, f"{what} takes no classes")
    _require(not metric.label, f"{what} has a label and classes: give one of them")
    _require(metric.covariate is not Covariate.CONTROL_PREDICTION, f"{what}: of several classes no one is a covariate")
    _require(
        1 < len(metric.classes) <= CLASSES_MAX, f"{what} has {len(metric.classes)} classes, not 2 to {CLASSES_MAX}"
    )
    _require(len(set(metric.classes)) == len(metric.classes), f"{what} names a class twice")
    _require(all(1 <= len(each) <= TEXT_CHARS_MAX for each in metric.classes), f"{what} has a class without a name")


def _validate_values(metric: Metric, what: str) -> None:
    for name in ("margin", "absolute_margin", "minimum_effect"):
        part = getattr(metric, name)
        _require(math.isfinite(part) and part >= 0, f"{what} has the {name} {part}, which is no size")
    _require(metric.winsorize == 0 or 0.5 < metric.winsorize < 1, f"{what}: winsorize is a quantile above 0.5")  # noqa: PLR2004
    caps = [cap for cap in (metric.lower_cap, metric.upper_cap) if cap is not None]
    _require(all(math.isfinite(cap) for cap in caps) and caps == sorted(caps), f"{what} has caps that are no range")
    _require(0 <= metric.window_us <= WINDOW_US_MAX, f"{what} has a window that is not from 0 to 400 days")
    _require(
        not metric.missing_as_zero or bool(metric.window_us),
        f"{what}: a missing outcome is a zero only once its window is over: give a window",
    )
    attribute = metric.covariate is Covariate.ATTRIBUTE
    _require(bool(metric.covariate_attribute) is attribute, f"{what}: covariate_attribute goes with attribute alone")


def _require(holds: bool, sentence: str) -> None:  # noqa: FBT001  (a condition and what is wrong when it fails)
    if not holds:
        raise ExperimentInvalidError(sentence)
