"""What can go wrong with an experiment."""

from __future__ import annotations

from storage.errors import ConflictError, ExistsError, InvalidError, MissingError, PreconditionError


class ExperimentInvalidError(InvalidError):
    """The definition breaks a rule; nothing of it is repaired."""

    reason = "EXPERIMENT_INVALID"


class SharesInvalidError(InvalidError):
    """The shares are not a split of the units: not finite, negative, or they do not sum to 1."""

    reason = "SHARES_INVALID"


class ShareTooSmallError(InvalidError):
    """A share is above zero and yet smaller than one slot, so its variant would never get a unit."""

    reason = "SHARE_TOO_SMALL"


class TargetingInvalidError(InvalidError):
    """The condition on the calls' attributes is none that can be asked."""

    reason = "TARGETING_INVALID"


class VariantUnknownError(InvalidError):
    """The experiment has no variant of that name."""

    reason = "VARIANT_UNKNOWN"


class AssignmentUnreadableError(InvalidError):
    """The assignment document is not one that this release can compile."""

    reason = "ASSIGNMENT_UNREADABLE"


class ExperimentMissingError(MissingError):
    """There is no experiment of that name."""

    reason = "EXPERIMENT_NOT_FOUND"


class ExperimentExistsError(ExistsError):
    """There is an experiment of that name."""

    reason = "EXPERIMENT_EXISTS"


class ExperimentChangedError(ConflictError):
    """The experiment has changed since the caller looked: its etag is another."""

    reason = "EXPERIMENT_CHANGED"


class ExperimentStateError(PreconditionError):
    """The experiment's state does not allow this."""

    reason = "EXPERIMENT_STATE"


class FieldFixedError(PreconditionError):
    """The field cannot be updated in the experiment's state, or never."""

    reason = "FIELD_FIXED"


class ModelBusyError(PreconditionError):
    """Other experiments, running or paused, hold the model's units."""

    reason = "MODEL_BUSY"


class UnitMissingError(InvalidError):
    """A unit without an id is in no experiment."""

    reason = "UNIT_MISSING"


class AliasUnresolvedError(MissingError):
    """A variant names an alias that its model does not have."""

    reason = "ALIAS_NOT_FOUND"


class ShadowInvalidError(InvalidError):
    """The shadow names no version, or its share is none."""

    reason = "SHADOW_INVALID"


class ShadowMissingError(MissingError):
    """The model has no shadow."""

    reason = "SHADOW_NOT_FOUND"


class RampInvalidError(InvalidError):
    """The ramp breaks a rule; nothing of it is repaired."""

    reason = "RAMP_INVALID"


class RampMissingError(PreconditionError):
    """The experiment has no ramp, or it was not started."""

    reason = "RAMP_NOT_FOUND"


class RampRunsError(PreconditionError):
    """The experiment's ramp sets its shares and coverage for as long as it goes."""

    reason = "RAMP_RUNS"


class RampStateError(PreconditionError):
    """The ramp's state does not allow this."""

    reason = "RAMP_STATE"


class RampMovedError(ConflictError):
    """The ramp, or its experiment, has changed since it was looked at."""

    reason = "RAMP_MOVED"


class HoldoutBusyError(PreconditionError):
    """Experiments hold places that the hold-out would take."""

    reason = "HOLDOUT_BUSY"
