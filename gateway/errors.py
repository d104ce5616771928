"""What can go wrong in the gateway itself."""

from __future__ import annotations

from storage.errors import (
    CancelledError,
    DomainError,
    ExhaustedError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    MissingError,
    PreconditionError,
    UnavailableError,
    UnknownCallerError,
)


class InputMismatchError(InvalidError):
    """An input is not what the version's signature says."""

    reason = "INPUT_MISMATCH"


class RequestMalformedError(InvalidError):
    """The request's bytes or fields are not what the contract says."""

    reason = "REQUEST_MALFORMED"


class BatchTooLargeError(InvalidError):
    """A batch has more rows than are taken."""

    reason = "BATCH_TOO_LARGE"


class RequestIdRepeatedError(InvalidError):
    """Two rows of a batch have the same request id."""

    reason = "REQUEST_ID_REPEATED"


class ModelNotServedError(MissingError):
    """The model has no version that could answer."""

    reason = "MODEL_NOT_SERVED"


class VersionNotServedError(MissingError):
    """The pinned version is not loaded here."""

    reason = "VERSION_NOT_SERVED"


class OverloadedError(ExhaustedError):
    """More calls than the bound are in flight."""

    reason = "OVERLOADED"
    retry_after_s = 0.1


class FeaturesUnavailableError(UnavailableError):
    """The online store does not answer, and the feature set refuses to be served without it."""

    reason = "FEATURES_UNAVAILABLE"
    retry_after_s = 0.5


class FeaturesRefusedError(PreconditionError):
    """A value is missing or too old, and the feature set refuses to be served without it."""

    reason = "FEATURES_REFUSED"


class WatchersFullError(ExhaustedError):
    """As many follow the registry as may; the others ask again later, or another gateway."""

    reason = "WATCHERS_FULL"


class DeadlineSpentError(ExpiredError):
    """The call's deadline passed before it was answered."""

    reason = "DEADLINE_SPENT"


class CallCancelledError(CancelledError):
    """The client cancelled the call before it was answered."""

    reason = "CALL_CANCELLED"


class JournalUnavailableError(UnavailableError):
    """The journal cannot be written."""

    reason = "JOURNAL_UNAVAILABLE"


class StillLoadingError(UnavailableError):
    """No serving table was applied yet."""

    reason = "STILL_LOADING"


class VersionUnloadableError(InvalidError):
    """The version's file cannot be made into a session, or does not do what it promised."""

    reason = "VERSION_UNLOADABLE"


class ModelRunError(DomainError):
    """The model failed on this input."""

    reason = "MODEL_RUN_FAILED"


class CheckTimedOutError(InvalidError):
    """The published file took longer to load and to replay than a publication may."""

    reason = "CHECK_TIMED_OUT"


class CheckCrashedError(InvalidError):
    """The published file ended the process that tried it."""

    reason = "CHECK_CRASHED"


class TransportUnavailableError(PreconditionError):
    """The transport that was asked for cannot serve on this machine or port."""

    reason = "TRANSPORT_UNAVAILABLE"


class OutcomeInvalidError(InvalidError):
    """An outcome is malformed."""

    reason = "OUTCOME_INVALID"


class WorkerDrainingError(UnavailableError):
    """The worker takes no new calls."""

    reason = "WORKER_DRAINING"


class GatewayStaleError(UnavailableError):
    """The gateway has not heard of the metadata database for longer than it may answer without."""

    reason = "GATEWAY_STALE"


class DatabaseBehindError(UnavailableError):
    """The metadata database is older than what this gateway has served."""

    reason = "DATABASE_BEHIND"


class SettingInvalidError(InvalidError):
    """Settings do not go together."""

    reason = "SETTING_INVALID"


class CertificateUnusableError(InvalidError):
    """A certificate, its key or the certificates of the clients' authority cannot serve."""

    reason = "CERTIFICATE_UNUSABLE"


class IdentitiesUnusableError(InvalidError):
    """The file that says who may do what cannot be used."""

    reason = "IDENTITIES_UNUSABLE"


class CredentialsMissingError(UnknownCallerError):
    """The caller shows neither a token nor a certificate."""

    reason = "CREDENTIALS_MISSING"


class TokenInvalidError(UnknownCallerError):
    """The token is nobody's."""

    reason = "TOKEN_INVALID"


class TokenExpiredError(UnknownCallerError):
    """The credential counted once, and does not any more."""

    reason = "TOKEN_EXPIRED"


class CertificateUnknownError(ForbiddenError):
    """The certificate is in order, and no identity has it."""

    reason = "CERTIFICATE_UNKNOWN"


class RoleMissingError(ForbiddenError):
    """The caller does not have the role that the method takes."""

    reason = "ROLE_MISSING"


class StateFolderBusyError(PreconditionError):
    """Another gateway runs on the same state folder."""

    reason = "STATE_FOLDER_BUSY"


class CallRefusedError(Exception):
    """A call to a service of this process ended with an error's status.

    Parameters
    ----------
    message
        The sentence that a caller is told.
    code
        The number of the gRPC status code.
    cause
        The machine-readable reason.
    """

    def __init__(self, message: str, *, code: int, cause: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.cause = cause
