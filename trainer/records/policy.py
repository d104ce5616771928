"""What a policy is. Times are microseconds; what is not given has the default that stands here."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
GIB = 1024**3

Plain = dict[str, Any]


class TriggerKind(enum.StrEnum):
    """What is looked at."""

    PERFORMANCE = "performance"
    ESTIMATED_PERFORMANCE = "estimated_performance"
    DRIFT = "drift"
    SKEW = "skew"
    MISSING = "missing"
    VOLUME = "volume"
    TIME = "time"
    DEFINITION = "definition"
    CHANGE_POINT = "change_point"
    JOINT_DRIFT = "joint_drift"


class Task(enum.StrEnum):
    """What is learned: labels 0 and 1; 0, 1, 2 and so on; numbers."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class Calibration(enum.StrEnum):
    """How probabilities are calibrated."""

    NONE = "none"
    SIGMOID = "sigmoid"
    ISOTONIC = "isotonic"


class DeploymentMode(enum.StrEnum):
    """What becomes of a version that was blessed."""

    NONE = "none"
    SHADOW = "shadow"
    EXPERIMENT = "experiment"
    RAMP = "ramp"
    IMMEDIATE = "immediate"


class OutcomeMetric(enum.StrEnum):
    """What the arms of an experiment or a ramp are compared by."""

    MEAN = "mean"
    SQUARED_ERROR = "squared_error"


@dataclass(frozen=True, slots=True)
class CheckSchedule:
    """How often triggers are looked at: by cron in UTC, or by an interval; neither: only when somebody asks."""

    cron: str = ""
    interval_us: int = 0
    jitter_us: int | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """What makes a run, with the settings of its kind."""

    kind: TriggerKind
    settings: Plain = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is learned from; see the contract's TrainingData."""

    feature_set: str
    label_sql: str
    label_delay_us: int = 0
    window_us: int = 0
    rows_max: int = 1_000_000
    validation_share: float = 0.1
    test_share: float = 0.2
    gap_us: int | None = None
    folds: int = 0

    @property
    def gap(self) -> int:
        """The time that is left out between two parts."""
        return self.label_delay_us if self.gap_us is None else self.gap_us


@dataclass(frozen=True, slots=True)
class Estimator:
    """A class by its import path, and its parameters."""

    path: str
    parameters: Plain = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """A search for parameters of the estimator; see the contract's Search."""

    trials: int = 0
    time_s: int = 0
    space: dict[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batches:
    """Learning from a table that memory does not hold; see the contract's Batches."""

    rows: int = 0
    passes: int = 1
    judged_rows: int = 100_000


@dataclass(frozen=True, slots=True)
class Training:
    """What learns: an estimator behind its transformers, or a script of the operator's."""

    task: Task = Task.BINARY
    estimator: Estimator | None = None
    transformers: tuple[Estimator, ...] = ()
    seed: int = 0
    early_stopping_rounds: int = 0
    balanced: bool = False
    calibration: Calibration = Calibration.NONE
    script: str = ""
    class_weights: tuple[float, ...] = ()
    rows_per_rarest: float = 0.0
    search: Search | None = None
    batches: Batches | None = None


@dataclass(frozen=True, slots=True)
class EvaluationMetric:
    """A metric of the held-out rows, and what is asked of it."""

    metric: str
    margin: float = 0.0
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a candidate must show; see the contract's Evaluation."""

    primary: EvaluationMetric | None = None
    minimum_gain: float = 0.0
    guardrails: tuple[EvaluationMetric, ...] = ()
    slices: tuple[str, ...] = ()
    alpha: float = 0.05
    rows_min: int = 100
    parity_tolerance: float = 1e-4


@dataclass(frozen=True, slots=True)
class Deployment:
    """What becomes of a version that was blessed; see the contract's Deployment."""

    mode: DeploymentMode = DeploymentMode.NONE
    shares: tuple[float, ...] = ()
    step_time_us: int = HOUR_US
    step_units: int = 100
    outcome: str = ""
    outcome_increases: bool = False
    outcome_margin: float = 0.0
    shadow_share: float = 1.0
    outcome_metric: OutcomeMetric = OutcomeMetric.MEAN
    output: str = "probabilities"
    output_index: int = 1


@dataclass(frozen=True, slots=True)
class Notifications:
    """Which events webhooks are told of, beyond the audit's; and the channels by which people are told of them."""

    on_trigger: bool = False
    on_completion: bool = False
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """What a policy may cost."""

    cooldown_us: int = HOUR_US
    runs_per_day: int = 24
    wall_time_s: int = 3600
    memory_bytes: int = 4 * GIB
    failures_max: int = 5


@dataclass(frozen=True, slots=True)
class Definition:
    """What somebody defines of a policy.

    Attributes
    ----------
    model
        The model's id.
    """

    model: str
    data: TrainingData
    training: Training
    description: str = ""
    check: CheckSchedule = CheckSchedule()
    triggers: tuple[Trigger, ...] = ()
    evaluation: Evaluation = Evaluation()
    deployment: Deployment = Deployment()
    notifications: Notifications = Notifications()
    budget: Budget = Budget()


METRICS = {
    Task.BINARY: {"brier": False, "log_loss": False, "roc_auc": True, "accuracy": True, "f1": True},
    Task.MULTICLASS: {"log_loss": False, "brier": False, "accuracy": True, "f1": True},
    Task.REGRESSION: {"rmse": False, "mae": False, "r2": True},
}
"""The metrics of each task, and whether more is better."""
WATCHED = {
    Task.BINARY: ("brier", "log_loss", "roc_auc", "accuracy", "f1"),
    Task.MULTICLASS: ("log_loss", "brier", "accuracy"),
    Task.REGRESSION: ("rmse", "mae"),
}
"""Those that triggers look at: they have intervals by themselves."""


def primary_of(definition: Definition) -> EvaluationMetric:
    """Return the metric in which a candidate must be better: the first of its task's unless given."""
    given = definition.evaluation.primary
    return given or EvaluationMetric(next(iter(METRICS[definition.training.task])))
