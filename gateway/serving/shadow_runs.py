"""Running a shadow on calls that were answered, and recording what it made of them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import numpy as np

from gateway.errors import JournalUnavailableError
from gateway.journal.record import Shadow, encode
from gateway.serving.admission import check_inputs
from gateway.serving.request import Request
from gateway.serving.running import run_version
from gateway.serving.stored import feed
from gateway.serving.walk import Share
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from features.lookup import FeatureMatrix
    from features.plan import FeaturePlan
    from features.store import OnlineStore
    from gateway.journal.writer import JournalWriter
    from gateway.models.slots import Slot
    from gateway.serving.table import ShadowTarget
    from storage.clock import Clock

_log = logging.getLogger(__name__)


class ShadowRuns:
    """Runs shadows, from one thread.

    A shadow that is bound to the feature set of the version that answered runs on the very row that was served. Another
    one's row is read from the store, as a call of its own would be.

    Parameters
    ----------
    store
        The online features.
    open_journal
        Opens the writer of the shadows' records, which is another one than that of the predictions: nobody who waits
        for an answer waits for it. It is opened for the first record.
    clock
        What dates the records.
    code_of
        The gRPC status code of an error.
    """

    def __init__(
        self,
        *,
        store: OnlineStore,
        open_journal: Callable[[], JournalWriter],
        clock: Clock,
        code_of: Callable[[DomainError], int],
    ) -> None:
        self._store = store
        self._open_journal = open_journal
        self._journal: JournalWriter | None = None
        self._clock = clock
        self._code_of = code_of

    def run(self, shadow: ShadowTarget, requests: Sequence[Request]) -> tuple[int, int, float]:
        """Run and record the answered ones of some calls.

        Returns how many have a pair now, how many failed, and how long one took, in seconds. What could not be recorded
        is neither.
        """
        began = time.monotonic()
        live = [request for request in requests if request.error is None and request.target is not None]
        twins = [_twin(request) for request in live]
        slot = shadow.slot
        _refuse_misfits(slot, twins)
        now_us = self._clock.now_us()
        inherited = [_has_row(request, slot) for request in live]
        run_us: dict[str, int] = {}
        for inherits in (True, False):
            part = [twin for twin, has in zip(twins, inherited, strict=True) if has is inherits and twin.error is None]
            if part:
                self._run_part(slot, part, now_us, inherits=inherits, run_us=run_us)
        records = [
            self._record(shadow, request, twin, run_us, now_us) for request, twin in zip(live, twins, strict=True)
        ]
        if not self._append(records):
            return 0, 0, (time.monotonic() - began) / max(1, len(requests))
        failed = sum(twin.error is not None for twin in twins)
        return len(twins) - failed, failed, (time.monotonic() - began) / max(1, len(requests))

    def close(self) -> None:
        """Close the writer of the records."""
        if self._journal is not None:
            self._journal.close()

    def _run_part(
        self, slot: Slot, twins: list[Request], now_us: int, *, inherits: bool, run_us: dict[str, int]
    ) -> None:
        """Feed and run calls whose features come from one place."""
        share = Share(slot, twins, now_us)
        spent_s = 0.0

        def ran(_rows: int, began: float) -> None:
            nonlocal spent_s
            spent_s += time.monotonic() - began

        try:
            if inherits:
                readers = share.readers()
                rows = np.frombuffer(b"".join([twin.feature_row for twin in readers]))
                share.take(readers, rows.reshape(len(readers), -1))
            else:
                feed(self._store, [share], _UNCOUNTED)
            run_version(slot, share.requests, ran, share.matrix)
        except Exception:  # noqa: BLE001  (whatever it is, the others go on)
            _log.exception("version %d of model %s failed as a shadow", slot.key.version, slot.key.model)
            for twin in twins:
                if twin.error is None and twin.layout is None:
                    twin.error = DomainError("internal error; the gateway's log has the particulars")
        each_us = int(spent_s * 1e6 / len(twins))
        run_us |= {twin.request_id: each_us for twin in twins}

    def _record(
        self, shadow: ShadowTarget, request: Request, twin: Request, run_us: dict[str, int], now_us: int
    ) -> bytes:
        slot = shadow.slot
        error = twin.error
        return encode(
            Shadow(
                request_id=request.request_id,
                time_us=now_us,
                event_time_us=now_us if request.event_time_us is None else request.event_time_us,
                model=slot.key.model,
                version=slot.key.version,
                digest=slot.digest,
                live_version=request.target.slot.key.version if request.target is not None else 0,
                share=shadow.share,
                unit_id=request.unit_id,
                entities=dict(request.entities),
                feature_set=slot.feature_set,
                features=twin.feature_row,
                view_status=twin.view_status,
                view_age_ms=list(twin.view_age_ms),
                outputs=[] if error is not None else twin.outputs,
                run_us=run_us.get(request.request_id, 0),
                status=0 if error is None else self._code_of(error),
                reason="" if error is None else error.reason,
            )
        )

    def _append(self, records: Sequence[bytes]) -> bool:
        """Write records and return whether that worked."""
        if not records:
            return True
        if self._journal is None:
            self._journal = self._open_journal()
        try:
            self._journal.append(records)
        except JournalUnavailableError:
            return False
        return True


def _twin(request: Request) -> Request:
    """Return the call as it came, for another version, with the features that were served to it."""
    twin = Request(
        request.request_id,
        request.model,
        None,
        entities=request.entities,
        unit_id=request.unit_id,
        event_time_us=request.event_time_us,
        attributes=request.attributes,
        tensors=request.tensors,
        features=request.features,
    )
    twin.feature_row = request.feature_row
    twin.view_status = request.view_status
    twin.view_age_ms = request.view_age_ms
    return twin


def _has_row(request: Request, slot: Slot) -> bool:
    """Return whether a call was served the very row that a version takes."""
    target = request.target
    return bool(
        request.feature_row and target is not None and slot.plan and target.slot.feature_set == slot.feature_set
    )


def _refuse_misfits(slot: Slot, twins: Sequence[Request]) -> None:
    """Give those their error whose inputs another version takes and this one does not."""
    for twin in twins:
        try:
            check_inputs(twin, slot)
        except DomainError as error:
            twin.error = error


class _Uncounted:
    """Counts nothing: what a shadow reads is no reading that a caller waited for."""

    def count_read(self, began: float) -> None:
        """Count no read."""

    def count_features(self, plan: FeaturePlan, matrix: FeatureMatrix) -> None:
        """Count no features."""


_UNCOUNTED = _Uncounted()
