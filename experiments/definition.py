"""What an experiment is: variants of one model, how units are split among them, what is measured."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experiments.allocation import allocate, check_shares
from experiments.errors import ExperimentInvalidError, VariantUnknownError
from experiments.metric import TEXT_CHARS_MAX, Covariate, Direction, Metric, MetricKind, Role, validate_metric
from experiments.plan import Plan, validate_plan
from experiments.ramp.definition import EVEN, Ramp, split_of, validate_ramp
from experiments.scope import Scope, UnitKind, validate_scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.allocation import Allocation

VARIANTS_MIN = 2
VARIANTS_MAX = 16
METRICS_MAX = 32
SEED_CHARS_MAX = 256
DEFAULT_ALPHA = 0.05
ALPHA_MIN = 1e-9  # far below any claim that is made, and far above where squares and tails vanish
ALPHA_BELOW = 0.5
DEFAULT_MINIMUM_UNITS = 100

__all__ = [
    "Direction",
    "Experiment",
    "Metric",
    "MetricKind",
    "Plan",
    "Role",
    "Scope",
    "State",
    "UnitKind",
    "Variant",
    "validate",
]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class State(enum.StrEnum):
    """Where an experiment stands in its life."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    CONCLUDED = "concluded"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm.

    Parameters
    ----------
    variant
        The name, unique in the experiment.
    version
        The number of the version that it serves.
    share
        The part of the experiment's units that it gets.
    control
        Whether the others are compared with it.
    alias
        The alias that the version was resolved from at creation; empty when the number was given.
    """

    variant: str
    version: int
    share: float
    control: bool = False
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment as it stands.

    Parameters
    ----------
    id, model
        Their ids.
    coverage
        The part of all units that is in the experiment, in (0, 1].
    seed
        Goes into the hash of the unit.
    alpha
        The error rate of a false claim.
    minimum_units
        The fewest units that an arm must have before anything is claimed.
    plan
        How it is judged.
    scope
        Whom it is for.
    ramp
        How its one treatment gets more and more of the units; None: the shares are what they are. A ramp sets shares
        and coverage from the start on.
    epoch
        Counts the splits that were in force; 0 for a draft.
    etag
        What compare-and-set compares.
    layer_first
        The first of the places in the model's layer that it holds, once it was started.
    allocation
        The split that is, or last was, in force; None for a draft.
    """

    id: str
    model: str
    variants: tuple[Variant, ...]
    metrics: tuple[Metric, ...]
    coverage: float = 1.0
    seed: str = ""
    description: str = ""
    owner: str = ""
    alpha: float = DEFAULT_ALPHA
    minimum_units: int = DEFAULT_MINIMUM_UNITS
    plan: Plan = field(default_factory=Plan)
    scope: Scope = field(default_factory=Scope)
    ramp: Ramp | None = None
    state: State = State.DRAFT
    epoch: int = 0
    etag: str = ""
    created_us: int = 0
    started_us: int = 0
    concluded_us: int = 0
    winner: str = ""
    layer_first: int = 0
    allocation: Allocation | None = None

    @property
    def control(self) -> Variant:
        """The variant that the others are compared with."""
        return next(each for each in self.variants if each.control)

    @property
    def treatments(self) -> tuple[Variant, ...]:
        """The variants that are compared with the control."""
        return tuple(each for each in self.variants if not each.control)

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares, in the order of the variants."""
        return tuple(each.share for each in self.variants)

    def variant(self, name: str) -> Variant:
        """Return the variant of that name, or raise VariantUnknownError."""
        for each in self.variants:
            if each.variant == name:
                return each
        known = ", ".join(each.variant for each in self.variants)
        raise VariantUnknownError(f"{self.id!r} has no variant {name[:80]!r}; it has {known}", variant=name[:80])


def validate(experiment: Experiment) -> None:
    """Raise ExperimentInvalidError, SharesInvalidError or ShareTooSmallError unless the definition keeps every rule.

    Nothing is repaired: shares that do not sum to 1 are refused, never rescaled.
    """
    _check_name(experiment.id, "experiment id")
    _check_name(experiment.model, "model id")
    for what, text in (("description", experiment.description), ("owner", experiment.owner)):
        _require(len(text) <= TEXT_CHARS_MAX, f"the {what} is longer than {TEXT_CHARS_MAX} characters")
    _require(1 <= len(experiment.seed) <= SEED_CHARS_MAX, f"the seed has 1 to {SEED_CHARS_MAX} characters")
    _require(
        ALPHA_MIN <= experiment.alpha < ALPHA_BELOW,
        f"alpha is {experiment.alpha}, not in [{ALPHA_MIN}, {ALPHA_BELOW})",
    )
    _require(experiment.minimum_units >= 2, "minimum_units is at least 2: one unit has no variance")  # noqa: PLR2004
    validate_plan(experiment.plan)
    _check_variants(experiment.variants)
    _check_metrics(experiment.metrics)
    validate_scope(experiment.scope, variants=frozenset(each.variant for each in experiment.variants))
    if experiment.scope.unit is UnitKind.REQUEST:
        before = [each.metric for each in experiment.metrics if each.covariate is Covariate.PRE_EXPERIMENT]
        _require(not before, f"the metric {before[:1]} looks at units before the experiment: a request has no before")
    allocate(experiment.shares, coverage=experiment.coverage)
    if experiment.ramp is not None:
        _check_ramp(experiment, experiment.ramp)


def ramped_shares(experiment: Experiment, share: float) -> tuple[float, tuple[float, ...]]:
    """Return the coverage and the shares, in the order of the variants, that give the candidate a part of the units.

    Whoever is in a started experiment stays in it: what is beyond the two slices is the control's.
    """
    coverage, control, candidate = split_of(share)
    if experiment.state is not State.DRAFT and experiment.coverage > coverage:
        coverage, candidate = experiment.coverage, share / experiment.coverage
        control = 1 - candidate
    return coverage, tuple(control if each.control else candidate for each in experiment.variants)


def _check_ramp(experiment: Experiment, ramp: Ramp) -> None:
    validate_ramp(ramp)
    _require(
        len(experiment.treatments) == 1,
        f"a ramp is for one control and one treatment, not for {len(experiment.treatments)}: its end concludes the "
        "experiment, which would take the others with it; give the candidate an experiment of its own beside this one, "
        "with a layer_share",
    )
    for step in ramp.steps:
        coverage, shares = ramped_shares(experiment, step.share)
        allocate(shares, coverage=coverage)
    if experiment.state is State.DRAFT:
        _require(
            experiment.shares == (EVEN, EVEN) and experiment.coverage == 1,
            "a ramp sets the shares and the coverage: give both variants 0.5, and cover all units",
        )


def _check_variants(variants: Sequence[Variant]) -> None:
    _require(
        VARIANTS_MIN <= len(variants) <= VARIANTS_MAX,
        f"an experiment has {VARIANTS_MIN} to {VARIANTS_MAX} variants, not {len(variants)}",
    )
    for each in variants:
        _check_name(each.variant, "variant")
        _require(each.version >= 1, f"the variant {each.variant!r} has no version")
    _check_unique([each.variant for each in variants], "variant")
    controls = sum(each.control for each in variants)
    _require(controls == 1, f"exactly one variant is the control, not {controls}")
    check_shares([each.share for each in variants])


def _check_metrics(metrics: Sequence[Metric]) -> None:
    _require(1 <= len(metrics) <= METRICS_MAX, f"an experiment has 1 to {METRICS_MAX} metrics, not {len(metrics)}")
    for each in metrics:
        _check_name(each.metric, "metric")
        validate_metric(each)
    _check_unique([each.metric for each in metrics], "metric")
    _require(any(each.role is Role.SUCCESS for each in metrics), "at least one metric has the role success")


def _check_name(name: str, what: str) -> None:
    _require(
        _NAME.fullmatch(name) is not None,
        f"{name[:80]!r} cannot be a {what}: 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter",
    )


def _check_unique(names: Sequence[str], what: str) -> None:
    for name in names:
        _require(names.count(name) == 1, f"the {what} {name!r} is there more than once")


def _require(holds: bool, sentence: str) -> None:  # noqa: FBT001  (a condition and what is wrong when it fails)
    if not holds:
        raise ExperimentInvalidError(sentence)
