"""Policies, checks and runs as the contract has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.errors import RequestMalformedError
from trainer.records.life import RunState, Step
from trainer.records.rules import definition_of, document_of
from turnout import plain, resources
from turnout.trainer.v1 import policy_pb2, run_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.records.checks import Check
    from trainer.records.policies import Policy
    from trainer.records.policy import Definition
    from trainer.records.runs import Run, RunEvent, StepRow

_KINDS = policy_pb2.TriggerKind.DESCRIPTOR
_STATES = run_pb2.RunState.DESCRIPTOR
_STEPS = run_pb2.RunStep.DESCRIPTOR
_VERDICTS = run_pb2.TriggerVerdict.DESCRIPTOR
_KEPT = ("name", "paused", "pause_reason", "next_check_us", "etag", "create_time_us", "create_actor")
"""What of a policy's message is not its definition."""


Parsed = TypeVar("Parsed")


def parsed(parse: Callable[[str], Parsed], name: str) -> Parsed:
    """Return what a resource name says, or raise RequestMalformedError."""
    try:
        return parse(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def definition(message: policy_pb2.Policy) -> Definition:
    """Return the policy that a message defines, or raise RequestMalformedError or PolicyInvalidError."""
    return definition_of(_document(message))


def merged(present: Definition, message: policy_pb2.Policy, paths: list[str]) -> Definition:
    """Return a policy with the named fields replaced by the message's."""
    known = {field.name for field in policy_pb2.Policy.DESCRIPTOR.fields} - set(_KEPT)
    if not paths or set(paths) - known:
        raise RequestMalformedError(f"of a policy one may update {', '.join(sorted(known))}: name at least one of them")
    document, given = document_of(present), _document(message)
    for path in paths:
        document.pop(path, None)
        if path in given:
            document[path] = given[path]
    return definition_of(document)


def policy_message(policy: Policy) -> policy_pb2.Policy:
    """Return a policy's message."""
    message = definition_message(policy.definition)
    message.name = resources.policy_name(policy.id)
    message.paused = policy.paused
    message.pause_reason = policy.pause_reason
    message.next_check_us = policy.next_check_us
    message.etag = str(policy.etag)
    message.create_time_us = policy.created_us
    message.create_actor = policy.created_by
    return message


def definition_message(found: Definition) -> policy_pb2.Policy:
    """Return the message of what a policy defines, what was not given filled in."""
    document = _given(document_of(found))
    document["model"] = resources.model_name(found.model)
    document["data"]["feature_set"] = resources.set_name(found.data.feature_set)
    message = policy_pb2.Policy()
    plain.fill(message, document)
    return message


def check_message(check: Check) -> run_pb2.Check:
    """Return a check's message."""
    return run_pb2.Check(
        name=resources.check_name(check.policy, check.number),
        dry_run=check.dry_run,
        done=check.done,
        verdict=_number(_VERDICTS, check.verdict.lower()),
        evidence=[_evidence_message(each) for each in check.evidence],
        run=resources.run_name(check.policy, check.run) if check.run else "",
        sentence=check.sentence,
        create_time_us=check.created_us,
        end_time_us=check.ended_us,
        actor=check.actor,
    )


def evidence_document(message: run_pb2.TriggerEvidence) -> dict[str, Any]:
    """Return what one trigger said as it is kept, or raise RequestMalformedError."""
    if not message.kind or not message.verdict:
        raise RequestMalformedError("the evidence of a trigger has its kind and its verdict")
    try:
        evidence = json.loads(message.evidence_json or "{}")
    except ValueError as error:
        raise RequestMalformedError("evidence_json is not JSON") from error
    return {
        "kind": plain.short_name(_KINDS, message.kind),
        "verdict": plain.short_name(_VERDICTS, message.verdict).upper(),
        "sentence": message.sentence[:1_000],
        "evidence": evidence,
    }


def run_message(run: Run) -> run_pb2.Run:
    """Return a run's message."""
    return run_pb2.Run(
        name=run.name,
        model=resources.model_name(run.model),
        state=_number(_STATES, run.state.value),
        trigger=_number(_KINDS, run.trigger),
        check=resources.check_name(run.policy, run.check) if run.check else "",
        reason=run.reason,
        actor=run.actor,
        policy=definition_message(run.definition),
        as_of_us=run.as_of_us,
        steps=[_step_message(each) for each in run.steps],
        version=resources.version_name(run.model, run.version) if run.version else "",
        experiment=resources.experiment_name(run.experiment) if run.experiment else "",
        findings=run.findings,
        trainer=run.trainer,
        create_time_us=run.created_us,
        end_time_us=run.ended_us,
        etag=str(run.etag),
    )


def event_message(event: RunEvent) -> run_pb2.RunEvent:
    """Return an event's message."""
    return run_pb2.RunEvent(number=event.number, time_us=event.time_us, kind=event.kind, message=event.message)


def step_of(number: int) -> Step:
    """Return a step by its number, or raise RequestMalformedError."""
    if number not in _STEPS.values_by_number or not number:
        raise RequestMalformedError("a report is of a step: table, train, evaluate, publish or deploy")
    return Step(plain.short_name(_STEPS, number))


def state_of(number: int) -> RunState:
    """Return a state by its number, or raise RequestMalformedError."""
    if number not in _STATES.values_by_number or not number:
        raise RequestMalformedError("a run comes to a state: published, deployed, deploying, refused or failed")
    return RunState(plain.short_name(_STATES, number))


def _document(message: policy_pb2.Policy) -> dict[str, Any]:
    try:
        document = plain.document_of(message)
    except plain.PlainError as error:
        raise RequestMalformedError(str(error)) from error
    for name in _KEPT:
        document.pop(name, None)
    if message.model:
        document["model"] = parsed(resources.model_id, message.model)
    if message.data.feature_set:
        document["data"]["feature_set"] = parsed(resources.set_id, message.data.feature_set)
    return document


def _given(value: Any) -> Any:
    """Return plain values without what is not given: null, and `none` of what the contract does not enumerate so."""
    if isinstance(value, dict):
        return {
            name: _given(one)
            for name, one in value.items()
            if one is not None and (name, one) != ("calibration", "none")
        }
    if isinstance(value, list | tuple):
        return [_given(one) for one in value]
    return value


def _evidence_message(found: dict[str, Any]) -> run_pb2.TriggerEvidence:
    return run_pb2.TriggerEvidence(
        kind=_number(_KINDS, found["kind"]),
        verdict=_number(_VERDICTS, found["verdict"].lower()),
        sentence=found["sentence"],
        evidence_json=json.dumps(found["evidence"]),
        runs=found.get("runs", 0),
        blessed=found.get("blessed", 0),
    )


def _step_message(step: StepRow) -> run_pb2.StepReport:
    return run_pb2.StepReport(
        step=_number(_STEPS, step.step.value),
        done=step.done,
        result_json=step.result,
        start_time_us=step.began_us,
        end_time_us=step.done_us,
        attempts=step.attempts,
    )


def _number(enum: Any, name: str) -> Any:
    return plain.number_of(enum, name, enum.name) if name else 0
