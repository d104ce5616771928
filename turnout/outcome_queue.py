"""What a buffer of outcomes holds: those that wait, those that are on their way, and what was refused.

It decides and waits for nothing, so that the buffer for threads and the one for asyncio are the same but for how they
wait. An outcome leaves it when the gateway has said that it is recorded, or that it never will be. One whose call
failed goes back to the head: recording an outcome twice is harmless.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from turnout import errors
from turnout.streams import PAUSES_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from turnout.outcome import Outcome, OutcomeResult


class OutcomesRefusedError(errors.InvalidError):
    """The gateway refused outcomes for good; ``refused`` holds each with its reason."""

    def __init__(self, refused: Sequence[tuple[Outcome, OutcomeResult]]) -> None:
        first = refused[0][1]
        words = f"{len(refused)} outcomes were refused, the first because: {first.message}"
        super().__init__("INVALID_ARGUMENT", first.reason or "INVALID", words)
        self.args = (refused,)
        self.refused = list(refused)


class OutcomesUnsentError(errors.UnavailableError):
    """Outcomes could not be recorded in time; ``outcomes`` holds them, for whoever wants to keep them elsewhere."""

    def __init__(self, outcomes: Sequence[Outcome], fault: str) -> None:
        super().__init__("UNAVAILABLE", "OUTCOMES_UNSENT", f"{len(outcomes)} outcomes are not recorded: {fault}")
        self.args = (outcomes, fault)
        self.outcomes = list(outcomes)


class OutcomeQueue:
    """Outcomes on their way to a gateway.

    Parameters
    ----------
    batch_max
        How many go in one call.
    outcomes_max
        How many there may be.
    on_refused
        Is told of what is refused for good; None: it is kept for ``raise_refused``.
    """

    def __init__(
        self, *, batch_max: int, outcomes_max: int, on_refused: Callable[[Outcome, OutcomeResult], None] | None
    ) -> None:
        if not 1 <= batch_max <= outcomes_max:
            raise ValueError(f"a batch has from 1 to {outcomes_max} outcomes, as many as may wait; not {batch_max}")
        self._batch_max = batch_max
        self._outcomes_max = outcomes_max
        self._on_refused = on_refused
        self._waiting: deque[Outcome] = deque()
        self._flying: list[Outcome] = []
        self._refused: list[tuple[Outcome, OutcomeResult]] = []
        self._failed = 0
        self.fault = ""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._flying)

    @property
    def has_room(self) -> bool:
        """Whether one more may be added."""
        return len(self) < self._outcomes_max

    @property
    def is_batch(self) -> bool:
        """Whether a whole batch waits."""
        return len(self._waiting) >= self._batch_max

    def add(self, outcome: Outcome) -> None:
        """Take an outcome, or raise ValueError when it can never be sent."""
        outcome.message()
        self._waiting.append(outcome)

    def take(self) -> list[Outcome]:
        """Return the next batch; nothing else is taken until it is settled or has failed."""
        while self._waiting and len(self._flying) < self._batch_max:
            self._flying.append(self._waiting.popleft())
        return self._flying

    def settle(self, results: Sequence[OutcomeResult]) -> None:
        """Let go of what was recorded or refused; what could not be written now waits again, first in line."""
        sent, self._flying = self._flying, []
        again = []
        for outcome, result in zip(sent, results, strict=True):
            if result.recorded:
                continue
            if result.status != "INVALID":
                again.append(outcome)
                self.fault = result.message
            elif self._on_refused is None:
                self._refused.append((outcome, result))
            else:
                self._on_refused(outcome, result)
        self._failed = self._failed + 1 if again else 0
        self._waiting.extendleft(reversed(again))

    def fail(self, fault: Exception) -> None:
        """Put the batch back, first in line."""
        sent, self._flying = self._flying, []
        self._waiting.extendleft(reversed(sent))
        self._failed += 1
        self.fault = str(fault)

    @property
    def pause_s(self) -> float:
        """How long to wait before the next call."""
        return PAUSES_S[min(self._failed, len(PAUSES_S)) - 1] if self._failed else 0.0

    def raise_refused(self) -> None:
        """Raise OutcomesRefusedError where something was refused since the last time."""
        if self._refused:
            refused, self._refused = self._refused, []
            raise OutcomesRefusedError(refused)

    def unsent(self) -> OutcomesUnsentError:
        """Return the error that holds all that is here."""
        return OutcomesUnsentError([*self._flying, *self._waiting], self.fault or "there was no time")
