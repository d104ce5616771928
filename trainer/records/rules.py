"""Whether a policy may be: judged before it is kept, each refusal with the field that it is about."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields
from typing import TYPE_CHECKING, NoReturn

import msgspec
from croniter import croniter

from trainer.records.batches import check_batches
from trainer.records.errors import PolicyInvalidError
from trainer.records.policy import (
    DAY_US,
    METRICS,
    WATCHED,
    Calibration,
    Definition,
    DeploymentMode,
    OutcomeMetric,
    Task,
    TriggerKind,
)
from trainer.records.search import check_search
from trainer.records.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.records.policy import Estimator, Plain

TRIGGERS_MAX = 32
GUARDRAILS_MAX = 8
SLICES_MAX = 4
CHANNELS_MAX = 8
FOLDS_MAX = 20
CLASSES_MAX = 100
TRANSFORMERS_MAX = 16
SQL_CHARS_MAX = 65_536
PARAMETERS_CHARS_MAX = 16_384
TEXT_CHARS_MAX = 1_024
INTERVAL_US_MIN = 1_000_000
TIME_US_MAX = 4_000 * DAY_US
COUNT_MAX = 2**40

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_COLUMN = re.compile(r"[A-Za-z_][\w.]{0,127}", re.ASCII)
_CRON_FIELDS = 5
WEIGHT_MAX = 1e6
_OF_METRICS = (TriggerKind.PERFORMANCE, TriggerKind.ESTIMATED_PERFORMANCE)


def definition_of(document: Mapping[str, object]) -> Definition:
    """Return the policy that a document of plain values defines, or raise PolicyInvalidError."""
    try:
        definition = msgspec.convert(document, Definition)
    except msgspec.ValidationError as error:
        raise PolicyInvalidError(f"the policy is not one: {error}") from error
    check(definition)
    return definition


def document_of(definition: Definition) -> Plain:
    """Return the policy as plain values, which `definition_of` takes."""
    document: Plain = msgspec.to_builtins(definition)
    return document


def check(definition: Definition) -> None:
    """Raise PolicyInvalidError when the policy breaks a rule."""
    _check_numbers(definition, "")
    _text(definition.description, "description")
    _check_schedule(definition)
    _check_triggers(definition)
    _check_data(definition)
    _check_training(definition)
    _check_evaluation(definition)
    _check_deployment(definition)
    _check_notifications(definition)
    _check_budget(definition)


def _check_numbers(value: object, where: str) -> None:
    """Refuse numbers that are none, and times and counts that are negative or beyond all reason."""
    for each in fields(value):  # type: ignore[arg-type]  # a dataclass, by all callers
        found, name = getattr(value, each.name), f"{where}{each.name}"
        if isinstance(found, float) and not math.isfinite(found):
            _refuse(name, "is not a number")
        if isinstance(found, int) and not 0 <= found <= max(TIME_US_MAX, COUNT_MAX):
            _refuse(name, f"is {found}; it is 0 to {max(TIME_US_MAX, COUNT_MAX)}")
        if hasattr(found, "__dataclass_fields__"):
            _check_numbers(found, f"{name}.")


def _check_schedule(definition: Definition) -> None:
    schedule = definition.check
    if schedule.cron and schedule.interval_us:
        _refuse("check", "has a cron expression and an interval; one of them says when")
    if schedule.cron and not (
        len(schedule.cron) <= TEXT_CHARS_MAX
        and len(schedule.cron.split()) == _CRON_FIELDS
        and croniter.is_valid(schedule.cron)
    ):
        _refuse("check.cron", f"{schedule.cron[:80]!r} is not a cron expression of five fields")
    if schedule.interval_us and schedule.interval_us < INTERVAL_US_MIN:
        _refuse("check.interval_us", "is shorter than a second")


def _check_triggers(definition: Definition) -> None:
    if len(definition.triggers) > TRIGGERS_MAX:
        _refuse("triggers", f"are more than {TRIGGERS_MAX}")
    for trigger in definition.triggers:
        known = SETTINGS[trigger.kind]
        for name, value in trigger.settings.items():
            where = f"triggers.{trigger.kind}.{name[:64]}"
            if name not in known:
                _refuse(where, f"is not known; there are {', '.join(known)}")
            problem = known[name].problem(value)
            if problem:
                _refuse(where, problem)


def _check_data(definition: Definition) -> None:
    data = definition.data
    if not _NAME.fullmatch(data.feature_set):
        _refuse("data.feature_set", "must name a feature set")
    if not data.label_sql.strip() or len(data.label_sql) > SQL_CHARS_MAX:
        _refuse("data.label_sql", f"must be SQL of at most {SQL_CHARS_MAX} characters")
    for name in ("validation_share", "test_share"):
        if not 0 <= getattr(data, name) < 1:
            _refuse(f"data.{name}", "is a part of the rows: 0 to below 1")
    if not data.test_share:
        _refuse("data.test_share", "is 0: nothing would judge what was learned")
    if data.validation_share + data.test_share >= 1:
        _refuse("data.test_share", "and the validation share leave nothing to learn from")
    if data.gap < data.label_delay_us:
        _refuse("data.gap_us", "is shorter than the label delay: what is judged by would have been learned from")
    if not data.rows_max:
        _refuse("data.rows_max", "is 0")
    if data.folds > FOLDS_MAX:
        _refuse("data.folds", f"are more than {FOLDS_MAX}")


def _check_training(definition: Definition) -> None:
    training = definition.training
    if (training.estimator is None) == (not training.script):
        _refuse("training", "has an estimator or a script: one of them")
    if training.script and not _NAME.fullmatch(training.script):
        _refuse("training.script", "is the name of a script that the operator allows, not a path")
    of_an_estimator = (
        training.transformers, training.early_stopping_rounds, training.balanced, training.class_weights,
        training.rows_per_rarest, training.search, training.calibration is not Calibration.NONE,
    )  # fmt: skip
    if training.script and any(of_an_estimator):
        _refuse("training", "has settings that only an estimator takes")
    if len(training.transformers) > TRANSFORMERS_MAX:
        _refuse("training.transformers", f"are more than {TRANSFORMERS_MAX}")
    for each in (*training.transformers, *([] if training.estimator is None else [training.estimator])):
        _check_estimator(each)
    needs = training.early_stopping_rounds or training.calibration is not Calibration.NONE or training.search
    if needs and not definition.data.validation_share:
        _refuse("data.validation_share", "is 0; early stopping, calibration and a search need validation rows")
    _check_classes(definition)
    if training.search is not None:
        check_search(training.search, _refuse)
    check_batches(definition, _refuse)


def _check_classes(definition: Definition) -> None:
    """Refuse what is of classes where numbers are learned, and triggers that judge another task."""
    training = definition.training
    weights, ratio = training.class_weights, training.rows_per_rarest
    of_classes = (training.balanced, training.calibration is not Calibration.NONE, weights, ratio)
    if training.task is Task.REGRESSION and any(of_classes):
        _refuse("training", "is of numbers: there are no classes to balance, to weigh, to sample or to calibrate")
    if training.balanced and weights:
        _refuse("training.class_weights", "and `balanced` both say what classes weigh")
    if len(weights) > CLASSES_MAX or not all(0 < each < WEIGHT_MAX for each in weights):
        _refuse("training.class_weights", f"are at most {CLASSES_MAX} numbers above 0 and below {WEIGHT_MAX:g}")
    if training.task is Task.BINARY and len(weights) not in (0, 2):
        _refuse("training.class_weights", "are two, of the labels 0 and 1")
    if ratio and not 1 <= ratio < WEIGHT_MAX:
        _refuse("training.rows_per_rarest", f"is at least 1 and below {WEIGHT_MAX:g}")
    for trigger in definition.triggers:
        metrics, metric = WATCHED[training.task], trigger.settings.get("metric", WATCHED[Task.BINARY][0])
        if trigger.kind is TriggerKind.ESTIMATED_PERFORMANCE and training.task is not Task.BINARY:
            _refuse(f"triggers.{trigger.kind}", "estimates of labels 0 and 1 alone")
        if trigger.kind in _OF_METRICS and metric not in metrics:
            _refuse(f"triggers.{trigger.kind}.metric", f"must be one of this task: {', '.join(metrics)}")
        if trigger.kind is TriggerKind.CHANGE_POINT and training.task is Task.REGRESSION:
            _refuse(f"triggers.{trigger.kind}", "judges errors of probabilities; those of numbers have no bound")


def _check_estimator(estimator: Estimator) -> None:
    if len(estimator.path) > TEXT_CHARS_MAX or not _PATH.fullmatch(estimator.path):
        _refuse("training.estimator.path", f"{estimator.path[:80]!r} is not an import path such as sklearn.svm.SVC")
    if any(part.startswith("_") for part in estimator.path.split(".")):
        _refuse("training.estimator.path", f"{estimator.path[:80]!r} names what is private")
    for name, value in estimator.parameters.items():
        if not name.isidentifier() or not _is_plain(value):
            _refuse(f"training.estimator.parameters.{name[:64]}", "must be a plain value: number, text, truth, or list")
    if len(json.dumps(estimator.parameters)) > PARAMETERS_CHARS_MAX:
        _refuse("training.estimator.parameters", f"have more than {PARAMETERS_CHARS_MAX} characters")


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_plain(one) and not isinstance(one, list) for one in value)
    return value is None or isinstance(value, bool | int | float | str)


def _check_evaluation(definition: Definition) -> None:
    evaluation = definition.evaluation
    known = METRICS[definition.training.task]
    named = [*([] if evaluation.primary is None else [evaluation.primary]), *evaluation.guardrails]
    for each in named:
        if each.metric not in known:
            _refuse("evaluation", f"has no metric {each.metric[:64]!r} for this task; there are {', '.join(known)}")
        if each.margin < 0:
            _refuse(f"evaluation.{each.metric}.margin", "is negative")
    if len(evaluation.guardrails) > GUARDRAILS_MAX or len(evaluation.slices) > SLICES_MAX:
        _refuse("evaluation", f"has at most {GUARDRAILS_MAX} guardrails and {SLICES_MAX} slices")
    for column in evaluation.slices:
        if not _COLUMN.fullmatch(column):
            _refuse("evaluation.slices", f"{column[:64]!r} is not the name of a column")
    if not 0 < evaluation.alpha < 0.5:  # noqa: PLR2004  (above that it is a coin's)
        _refuse("evaluation.alpha", "is a probability above 0 and below 0.5")
    if evaluation.minimum_gain < 0:
        _refuse("evaluation.minimum_gain", "is negative")
    if not 0 < evaluation.parity_tolerance <= 0.1:  # noqa: PLR2004  (a probability that is off by more is another one)
        _refuse("evaluation.parity_tolerance", "is above 0 and at most 0.1")


def _check_deployment(definition: Definition) -> None:
    deployment = definition.deployment
    if deployment.mode in (DeploymentMode.RAMP, DeploymentMode.EXPERIMENT) and not deployment.outcome:
        _refuse("deployment.outcome", "must name the outcome that the arms are compared by")
    shares = deployment.shares
    if list(shares) != sorted(set(shares)) or not all(0 < share <= 1 for share in shares):
        _refuse("deployment.shares", "rise, above 0 and at most 1")
    if not 0 < deployment.shadow_share <= 1:
        _refuse("deployment.shadow_share", "is above 0 and at most 1")
    if deployment.outcome_increases and deployment.outcome_metric is OutcomeMetric.SQUARED_ERROR:
        _refuse("deployment.outcome_increases", "is true, and no error is better for being larger")
    if deployment.outcome_margin < 0:
        _refuse("deployment.outcome_margin", "is negative")


def _check_budget(definition: Definition) -> None:
    for name in ("runs_per_day", "wall_time_s", "memory_bytes", "failures_max"):
        if not getattr(definition.budget, name):
            _refuse(f"budget.{name}", "is 0")


def _check_notifications(definition: Definition) -> None:
    notifications = definition.notifications
    if len(notifications.channels) > CHANNELS_MAX:
        _refuse("notifications.channels", f"are more than {CHANNELS_MAX}")
    if notifications.channels and not (notifications.on_trigger or notifications.on_completion):
        _refuse("notifications.channels", "are told nothing without `on_trigger` or `on_completion`")


def _text(text: str, where: str) -> None:
    if len(text) > TEXT_CHARS_MAX:
        _refuse(where, f"has more than {TEXT_CHARS_MAX} characters")


def _refuse(field: str, problem: str) -> NoReturn:
    raise PolicyInvalidError(f"`{field}` {problem}", field=field)
