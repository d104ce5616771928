"""What can go wrong on the way from a training table to a published version."""

from __future__ import annotations

from storage.errors import InvalidError, PreconditionError


class TrainingTableError(InvalidError):
    """The training table lacks what training needs."""

    reason = "TRAINING_TABLE_UNFIT"


class ExportFailedError(PreconditionError):
    """The estimator cannot be written as ONNX."""

    reason = "EXPORT_FAILED"


class ParityRefusedError(PreconditionError):
    """The ONNX graph does not answer as the estimator does."""

    reason = "PARITY_REFUSED"


class EstimatorRefusedError(InvalidError):
    """The estimator is not one that this trainer may make, or cannot do what the policy asks of it."""

    reason = "ESTIMATOR_REFUSED"


class ScriptFailedError(PreconditionError):
    """The operator's script did not give a model."""

    reason = "SCRIPT_FAILED"


class SearchFailedError(PreconditionError):
    """No parameters could be searched for."""

    reason = "SEARCH_FAILED"


class EvaluationFailedError(PreconditionError):
    """Candidate and champion cannot be compared."""

    reason = "EVALUATION_FAILED"


class StepFailedError(PreconditionError):
    """A step of a run did not come to its end."""

    reason = "STEP_FAILED"


class TrainerBusyError(PreconditionError):
    """Another trainer works in the folder."""

    reason = "TRAINER_BUSY"
