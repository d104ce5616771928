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
