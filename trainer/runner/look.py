"""One check: what a policy's triggers say, by a child within the policy's budget."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from storage.errors import DomainError
from trainer.champion import find_champion
from trainer.errors import StepFailedError
from trainer.records.rules import document_of
from trainer.runner import child
from trainer.runner.definitions import definition_in
from trainer.runner.folder import JOB, failure, finished
from turnout import plain
from turnout.errors import ConflictError, MissingError, TurnoutError
from turnout.trainer.v1 import policy_pb2, run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.runner.perform import Shop
    from turnout.control import Control

_LOOK = "look"


def look(control: Control, due: pb.ClaimCheckResponse, shop: Shop) -> None:
    """Make a check and give what it found, or why it could not be made."""
    folder = shop.folder / due.check.name.removeprefix("policies/").replace("/checks/", "-check-")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    request = pb.FinishCheckRequest(name=due.check.name, token=due.token)
    try:
        request.evidence.extend(_message(each) for each in _evidence(control, due, shop, folder))
    except DomainError as error:
        request.failure = error.message
    except TurnoutError as error:
        if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            raise
        request.failure = str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        control.training.FinishCheck(request)
    except (ConflictError, MissingError):
        return  # another trainer makes it by now, or the policy is gone


def _evidence(control: Control, due: pb.ClaimCheckResponse, shop: Shop, folder: Path) -> list[dict[str, Any]]:
    definition = definition_in(due.policy)
    champion = find_champion(control, definition.model)
    job = {
        "server": shop.server,
        "trainer": shop.name,
        "timeout_s": shop.timeout_s,
        "now_us": due.now_us,
        "definition": document_of(definition),
        "champion_as_of_us": _as_of(control, champion.run) if champion and champion.run else 0,
    }
    (folder / JOB).write_text(json.dumps(job))
    ended = child.perform(_LOOK, folder, definition.budget, connected=True, lost=lambda: False)
    found = finished(folder, _LOOK) if ended.code == 0 else None
    if found is None:
        sentence = failure(folder, _LOOK).get("sentence") or f"ended with {ended.code}: {ended.log.strip()[-500:]}"
        raise StepFailedError(f"the check failed: {sentence}")
    evidence: list[dict[str, Any]] = found["evidence"]
    return evidence


def _as_of(control: Control, run: str) -> int:
    try:
        made_us: int = control.training.GetRun(pb.GetRunRequest(name=run)).run.as_of_us
    except TurnoutError:
        return 0
    return made_us


def _message(found: dict[str, Any]) -> run_pb2.TriggerEvidence:
    return run_pb2.TriggerEvidence(
        kind=plain.number_of(policy_pb2.TriggerKind.DESCRIPTOR, found["kind"], "kind"),
        verdict=plain.number_of(run_pb2.TriggerVerdict.DESCRIPTOR, found["verdict"].lower(), "verdict"),
        sentence=found["sentence"],
        evidence_json=json.dumps(found["evidence"]),
    )
