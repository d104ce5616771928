"""A claim of a run: kept alive by a thread, shown with whatever is said, and given up as soon as it is lost."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any, Self

from trainer.runner.child import ClaimLostError
from turnout import plain
from turnout.errors import ConflictError, MissingError, TurnoutError
from turnout.trainer.v1 import run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from turnout.control import Control

_log = logging.getLogger(__name__)
_RENEWALS = 3
"""How often a claim is renewed within its time."""


class Claim:
    """A run that this trainer works on.

    Parameters
    ----------
    control
        The gateway.
    run, token
        The run, and the fencing token of the claim.
    lease_us
        How long the claim lasts unless it is renewed.
    """

    def __init__(self, control: Control, run: run_pb2.Run, token: int, *, lease_us: int) -> None:
        self._control = control
        self.run = run
        self.token = token
        self._lease_us = lease_us
        self._lost = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="claim")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def lost(self) -> bool:
        """Whether the run is another trainer's by now, or over."""
        return self._lost.is_set()

    def done(self, step: str) -> dict[str, Any] | None:
        """Return what a step found, as it was kept; None when it is not done."""
        for each in self.run.steps:
            if plain.short_name(run_pb2.RunStep.DESCRIPTOR, each.step) == step and each.done:
                found: dict[str, Any] = json.loads(each.result_json or "{}")
                return found
        return None

    def report(self, step: str, result: dict[str, Any] | None = None, message: str = "") -> None:
        """Say that a step was begun or, with a result, done; or raise ClaimLostError."""
        report = run_pb2.StepReport(
            step=plain.number_of(run_pb2.RunStep.DESCRIPTOR, step, "step"),
            done=result is not None,
            result_json="" if result is None else json.dumps(result, allow_nan=False),
        )
        request = pb.ReportStepRequest(name=self.run.name, token=self.token, report=report, message=message)
        with _losing():
            self.run = self._control.training.ReportStep(request).run

    def finish(self, state: str, findings: Sequence[str] = ()) -> None:
        """Say how the run ended, or raise ClaimLostError."""
        request = pb.FinishRunRequest(
            name=self.run.name,
            token=self.token,
            state=plain.number_of(run_pb2.RunState.DESCRIPTOR, state, "state"),
            findings=findings,
        )
        with _losing():
            self._control.training.FinishRun(request)

    def deploy(self) -> None:
        """Let the gateway give the version what the policy says, which ends the claim; or raise ClaimLostError.

        Raises
        ------
        turnout.errors.PreconditionError
            A gate of the registry, or something that runs already, does not let it.
        """
        with _losing():
            self._control.training.DeployRun(pb.DeployRunRequest(name=self.run.name, token=self.token))

    def _keep(self) -> None:
        request = pb.RenewRunRequest(name=self.run.name, token=self.token, lease_us=self._lease_us)
        while not self._over.wait(self._lease_us / 1e6 / _RENEWALS):
            try:
                self._control.training.RenewRun(request)
            except (ConflictError, MissingError) as error:
                _log.info("%s is no longer this trainer's: %s", self.run.name, error)
                self._lost.set()
                return
            except TurnoutError as error:
                # The gateway may come back before the claim ends; if not, the next renewal is refused.
                _log.warning("the claim of %s cannot be renewed now: %s", self.run.name, error)


class _losing:  # noqa: N801  (reads as a verb where it is used)
    """Turn the refusal of a claim into ClaimLostError."""

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ConflictError | MissingError):
            raise ClaimLostError from error
