"""Recording outcomes, for threads: what a client does on the other side of the data port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout.limits import BATCH_MAX, OUTCOMES_MAX, WAIT_S

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Iterable, Iterator

    from turnout.link import Link
    from turnout.outcome import Outcome, OutcomeResult
    from turnout.outcome_buffer import OutcomeBuffer


class Recording:
    """The calls of a client that record outcomes."""

    _link: Link
    _buffers: weakref.WeakSet[OutcomeBuffer]

    def record_outcome(
        self,
        name: str,
        value: float = 0.0,
        *,
        request_id: str = "",
        unit_id: str = "",
        outcome_id: str = "",
        event_time_us: int | None = None,
        model: str = "",
        label: str = "",
        sequence: int = 0,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> None:
        """Record one outcome, or raise TurnoutError: once this returns, it survives the death of every process.

        The parameters are the fields of ``Outcome``; ``timeout_s`` and ``retry`` are as in ``predict``.

        Raises
        ------
        errors.InvalidError
            The outcome is malformed.
        errors.UnavailableError
            The journal cannot be written now; recording again is harmless.
        ValueError
            Not exactly one of ``request_id`` and ``unit_id`` is given.
        """
        from turnout.outcome import Outcome  # noqa: PLC0415  (loaded at the first call)

        outcome = Outcome(name, value, request_id, unit_id, outcome_id, event_time_us, model, label, sequence)
        for result in self.record_outcomes([outcome], timeout_s=timeout_s, retry=retry):
            result.check()

    def record_outcomes(
        self, outcomes: Iterable[Outcome], *, timeout_s: float | None = None, retry: bool = True
    ) -> list[OutcomeResult]:
        """Return what became of each outcome of a batch, in order; raise TurnoutError only when the call itself failed.

        Parameters
        ----------
        outcomes
            At most 10 000. One that is refused does not keep the others from being recorded.
        timeout_s, retry
            As in ``predict``.

        Raises
        ------
        errors.TurnoutError
            The call failed; what was recorded is not known, and recording all of it again is harmless.
        ValueError
            An outcome names not exactly one of request id and unit.
        """
        from turnout.outcome import outcomes_request, read_results  # noqa: PLC0415  (loaded at the first call)

        request = outcomes_request(outcomes)
        return read_results(
            self._link.call(lambda stubs: stubs.outcomes.RecordOutcomes, request, timeout_s=timeout_s, retry=retry)
        )

    def record_outcomes_stream(
        self, batches: Iterable[Iterable[Outcome]], *, timeout_s: float | None = None, retry: bool = True
    ) -> Iterator[list[OutcomeResult]]:
        """Give what became of each batch of outcomes, in order; raise TurnoutError when the stream failed for good.

        Each batch is one message. When a worker goes away, the stream is opened anew and goes on with what was not
        acknowledged, as in ``predict_stream``.

        Parameters
        ----------
        batches
            At most 10 000 outcomes each.
        timeout_s
            The deadline of the whole stream, in seconds; None for none.
        retry
            Whether it is opened anew.
        """
        from turnout.outcome import outcomes_message, read_results  # noqa: PLC0415  (loaded at the first call)
        from turnout.streams import Feed, follow  # noqa: PLC0415  (loaded at the first call)

        link = self._link
        return follow(
            lambda messages, left_s: link.stubs().outcomes.StreamOutcomes(
                messages, timeout=left_s, metadata=link.metadata()
            ),
            Feed(batches, outcomes_message),
            read_results,
            timeout_s=timeout_s,
            attempts_max=link.setup.attempts_max if retry else 1,
        )

    def outcome_buffer(
        self,
        *,
        batch_max: int = BATCH_MAX,
        wait_s: float = WAIT_S,
        outcomes_max: int = OUTCOMES_MAX,
        on_refused: Callable[[Outcome, OutcomeResult], None] | None = None,
    ) -> OutcomeBuffer:
        """Return a buffer that records outcomes in batches from a thread of its own; see ``OutcomeBuffer``.

        It is closed, and so emptied, with the client, and when the interpreter exits.

        Parameters
        ----------
        batch_max
            How many outcomes a call takes.
        wait_s
            How long an outcome waits for others, in seconds.
        outcomes_max
            How many may wait; whoever adds one more waits for room.
        on_refused
            Is told of each outcome that the gateway refuses for good; None: they are raised by ``flush`` and ``close``.
        """
        from turnout.outcome_buffer import OutcomeBuffer  # noqa: PLC0415  (loaded at the first call)

        self._link.guard.check()
        buffer = OutcomeBuffer(
            self.record_outcomes, batch_max=batch_max, wait_s=wait_s, outcomes_max=outcomes_max, on_refused=on_refused
        )
        self._buffers.add(buffer)
        return buffer
