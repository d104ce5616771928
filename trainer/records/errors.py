"""What can go wrong with policies, checks and runs."""

from __future__ import annotations

from storage.errors import ConflictError, ExistsError, InvalidError, MissingError, PreconditionError


class PolicyInvalidError(InvalidError):
    """The policy breaks a rule; nothing of it is repaired."""

    reason = "POLICY_INVALID"


class PolicyExistsError(ExistsError):
    """There is a policy of that name."""

    reason = "POLICY_EXISTS"


class PolicyMissingError(MissingError):
    """There is no policy of that name."""

    reason = "POLICY_NOT_FOUND"


class PolicyChangedError(ConflictError):
    """Somebody changed the policy since the caller looked."""

    reason = "ETAG_MISMATCH"


class PolicyPausedError(PreconditionError):
    """The policy is paused."""

    reason = "POLICY_PAUSED"


class CheckMissingError(MissingError):
    """There is no such check."""

    reason = "CHECK_NOT_FOUND"


class RunMissingError(MissingError):
    """There is no such run."""

    reason = "RUN_NOT_FOUND"


class RunOpenError(PreconditionError):
    """The model has a run that is not over."""

    reason = "RUN_OPEN"


class RunStateError(PreconditionError):
    """Nothing leads from the run's state to this."""

    reason = "RUN_STATE"


class StepInvalidError(InvalidError):
    """The report of a step is not one that can be kept."""

    reason = "STEP_INVALID"


class ChampionChangedError(PreconditionError):
    """Another version is the champion than the one that the candidate was judged against."""

    reason = "CHAMPION_CHANGED"
