"""What can go wrong in the registry."""

from __future__ import annotations

from storage.errors import (
    ConflictError,
    ExhaustedError,
    ExistsError,
    InvalidError,
    MissingError,
    PreconditionError,
    UnavailableError,
)


class NameInvalidError(InvalidError):
    """An id or an alias is not 1 to 63 of a-z, 0-9, `-` and `_`, beginning with a letter."""

    reason = "NAME_INVALID"


class ModelMissingError(MissingError):
    """There is no model of that name."""

    reason = "MODEL_NOT_FOUND"


class ModelExistsError(ExistsError):
    """There is a model of that name."""

    reason = "MODEL_EXISTS"


class VersionMissingError(MissingError):
    """The model has no version of that number."""

    reason = "VERSION_NOT_FOUND"


class AliasMovedError(ConflictError):
    """The alias has moved since the caller looked: its generation is another."""

    reason = "ALIAS_MOVED"


class EtagMismatchError(ConflictError):
    """Somebody updated the model or the version since the caller looked."""

    reason = "ETAG_MISMATCH"


class FieldInvalidError(InvalidError):
    """An update names a field that cannot be updated, or gives it a value that it cannot have."""

    reason = "FIELD_INVALID"


class ModelDeletedError(PreconditionError):
    """The model is deleted; restore it first."""

    reason = "MODEL_DELETED"


class VersionDeletedError(PreconditionError):
    """The version is deleted; restore it first."""

    reason = "VERSION_DELETED"


class StillNeededError(PreconditionError):
    """The model or version serves: it is in production, an alias names it, or an experiment runs on it."""

    reason = "STILL_NEEDED"


class StageMoveError(PreconditionError):
    """A version does not go from the stage where it stands to the one that was asked for."""

    reason = "STAGE_MOVE"


class AliasMissingError(MissingError):
    """The model has no such alias."""

    reason = "ALIAS_NOT_FOUND"


class GateInvalidError(InvalidError):
    """A gate is not of a known kind, or its settings do not fit."""

    reason = "GATE_INVALID"


class GatesNotPassedError(PreconditionError):
    """The version does not pass its model's gates; nothing was changed."""

    reason = "GATES_NOT_PASSED"


class TaintedError(PreconditionError):
    """The version touches something that is marked as wrong; nothing was changed."""

    reason = "TAINTED"


class TaintMissingError(MissingError):
    """There is no such taint."""

    reason = "TAINT_NOT_FOUND"


class FilterInvalidError(InvalidError):
    """The filter of a search cannot be understood."""

    reason = "FILTER_INVALID"


class NoEarlierChampionError(PreconditionError):
    """There is no earlier champion to go back to."""

    reason = "NO_EARLIER_CHAMPION"


class ArtifactDigestError(InvalidError):
    """The bytes that arrived do not have the digest that was announced."""

    reason = "ARTIFACT_DIGEST_MISMATCH"


class ArtifactTooLargeError(InvalidError):
    """The artifact is longer than the limit."""

    reason = "ARTIFACT_TOO_LARGE"


class ArtifactMissingError(MissingError):
    """The store holds no artifact of that digest."""

    reason = "ARTIFACT_NOT_FOUND"


class ArtifactCorruptError(PreconditionError):
    """The bytes in the store no longer have their digest."""

    reason = "ARTIFACT_CORRUPT"


class ArtifactUrlError(InvalidError):
    """The address of the artifact store is of no known kind, or its library is not installed."""

    reason = "ARTIFACT_STORE_ADDRESS"


class StoreUnreachableError(UnavailableError):
    """The artifact store does not answer, or does not let us in."""

    reason = "ARTIFACT_STORE_UNREACHABLE"
    retry_after_s = 1.0


class UploadOffsetError(PreconditionError):
    """So many bytes of the upload are not here."""

    reason = "UPLOAD_OFFSET"


class UploadBusyError(ConflictError):
    """Somebody else is sending the same upload."""

    reason = "UPLOAD_BUSY"


class SignatureInvalidError(InvalidError):
    """No trusted key made the signature of the manifest."""

    reason = "SIGNATURE_INVALID"


class SignatureMissingError(InvalidError):
    """The version is not signed where only signed ones are taken."""

    reason = "SIGNATURE_MISSING"


class ArchiveInvalidError(InvalidError):
    """The archive is not what an export writes."""

    reason = "ARCHIVE_INVALID"


class ArchiveConflictError(PreconditionError):
    """The archive contradicts what is here. Nothing was taken in."""

    reason = "ARCHIVE_CONFLICT"


class StoreFullError(ExhaustedError):
    """The disk has no room for the artifact."""

    reason = "ARTIFACT_STORE_FULL"


class GraphUnreadableError(InvalidError):
    """The file is not a whole ONNX model: truncated, empty, or something else."""

    reason = "GRAPH_UNREADABLE"


class GraphInvalidError(InvalidError):
    """The ONNX model breaks the rules of ONNX."""

    reason = "GRAPH_INVALID"


class OpsetUnknownError(InvalidError):
    """The graph needs a newer set of operators, or a newer format, than this server runs."""

    reason = "OPSET_UNKNOWN"


class ExternalDataError(InvalidError):
    """The graph keeps tensors in files beside it, which are not published with it."""

    reason = "EXTERNAL_DATA"


class OutputNotTensorError(InvalidError):
    """An output is a sequence or a map."""

    reason = "OUTPUT_NOT_TENSOR"


class TensorTypeError(InvalidError):
    """An input or output has an element type, or no shape, that cannot be served."""

    reason = "TENSOR_TYPE_UNSUPPORTED"


class ProbeInvalidError(InvalidError):
    """The probe rows do not fit the graph."""

    reason = "PROBE_INVALID"


class ProbeDisagreesError(InvalidError):
    """The graph does not give what the probe rows say."""

    reason = "PROBE_DISAGREES"


class ProbeRunError(InvalidError):
    """The graph fails on the probe rows."""

    reason = "PROBE_RUN_FAILED"


class FeatureInputError(InvalidError):
    """The graph has no input that the feature set could fill, or more than one."""

    reason = "FEATURE_INPUT_MISMATCH"


class DeploymentInvalidError(InvalidError):
    """A setting of a session is not one that there is."""

    reason = "DEPLOYMENT_INVALID"


class FiniteInputError(InvalidError):
    """An input that should take finite numbers only is no floating-point input of the graph."""

    reason = "FINITE_INPUT_INVALID"


class WebhookMissingError(MissingError):
    """There is no webhook of that name."""

    reason = "WEBHOOK_NOT_FOUND"


class WebhookExistsError(ExistsError):
    """There is a webhook of that name."""

    reason = "WEBHOOK_EXISTS"


class WebhookInvalidError(InvalidError):
    """A webhook's address, kinds, source or secret is not of the form that it must have."""

    reason = "WEBHOOK_INVALID"


class DeliveryMissingError(MissingError):
    """The webhook has no delivery of that revision."""

    reason = "DELIVERY_NOT_FOUND"
