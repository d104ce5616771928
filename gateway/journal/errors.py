"""What can go wrong with what is in the journal; that it cannot be written is in `gateway.errors`."""

from __future__ import annotations

from storage.errors import ConflictError, ExhaustedError, InvalidError, PreconditionError


class RecordUnreadableError(InvalidError):
    """The bytes are not a record of a kind that this release knows."""

    reason = "RECORD_UNREADABLE"


class RecordTooLargeError(ExhaustedError):
    """One record is larger than a segment can frame."""

    reason = "RECORD_TOO_LARGE"


class SegmentDamagedError(InvalidError):
    """A sealed segment holds something that is not whole records from end to end."""

    reason = "SEGMENT_DAMAGED"


class CompactorBusyError(ConflictError):
    """Another process compacts this state folder."""

    reason = "COMPACTOR_BUSY"


class ChainBrokenError(PreconditionError):
    """What several gateways share of their events is not as it was written."""

    reason = "CHAIN_BROKEN"
