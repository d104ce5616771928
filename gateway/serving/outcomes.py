"""Taking outcomes: each is checked, and all that pass are in the journal before the answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gateway.errors import JournalUnavailableError, OutcomeInvalidError
from gateway.journal.record import Outcome, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.journal.writer import JournalWriter
    from gateway.serving.tally import Tally
    from storage.errors import DomainError

NAME_CHARS_MAX = 128


class OutcomeRecorder:
    """Puts outcomes into the journal."""

    def __init__(self, *, journal: JournalWriter, tally: Tally) -> None:
        self._journal = journal
        self._tally = tally

    def record(self, outcomes: Sequence[Outcome]) -> list[DomainError | None]:
        """Return for each outcome None when it is in the journal, else why it is not."""
        results: list[DomainError | None] = [_fault(outcome) for outcome in outcomes]
        self._keep(outcomes, results)
        self._tally.count_outcomes(results)
        return results

    def _keep(self, outcomes: Sequence[Outcome], results: list[DomainError | None]) -> None:
        """Put the faultless outcomes into the journal, all or none of them."""
        accepted = [outcome for outcome, fault in zip(outcomes, results, strict=True) if fault is None]
        if not accepted:
            return
        try:
            self._journal.append([encode(outcome) for outcome in accepted])
        except JournalUnavailableError as error:
            results[:] = [error if fault is None else fault for fault in results]


def _fault(outcome: Outcome) -> DomainError | None:
    """Return what is wrong with an outcome, or None."""
    if not outcome.request_id and not outcome.unit_id:
        return OutcomeInvalidError("an outcome has a `request_id` or a `unit_id`", field="subject")
    if outcome.unit_id and not outcome.request_id and not outcome.outcome_id:
        return OutcomeInvalidError("an outcome of a unit needs an `outcome_id`", field="outcome_id")
    if not outcome.name:
        return OutcomeInvalidError("`name` is empty", field="name")
    for field in ("request_id", "unit_id", "name", "outcome_id", "model", "label"):
        if len(getattr(outcome, field)) > NAME_CHARS_MAX:
            return OutcomeInvalidError(f"`{field}` is longer than {NAME_CHARS_MAX} characters", field=field)
    return _fault_of_value(outcome)


def _fault_of_value(outcome: Outcome) -> DomainError | None:
    """Return what is wrong with what an outcome says, or None."""
    if outcome.label and not math.isnan(outcome.value):
        return OutcomeInvalidError("an outcome has a `value` or a `label`, not both", field="label")
    if not outcome.label and not math.isfinite(outcome.value):
        return OutcomeInvalidError(f"`value` is {outcome.value}; it must be finite", field="value")
    if outcome.sequence < 0:
        return OutcomeInvalidError(f"`sequence` is {outcome.sequence}; it is not negative", field="sequence")
    return None
