"""The history of a policy's work, as the gateway keeps it: checks, runs, ramps and versions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.demo.sender import MODEL
from turnout import plain, resources
from turnout.experiments.v1 import experiment_service_pb2 as experiments_pb
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.trainer.v1 import run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from google.protobuf.message import Message

    from turnout.control import Control
    from turnout.experiments.v1 import ramp_pb2

_PAGE_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class History:
    """What became of policies.

    Attributes
    ----------
    checks, runs
        Of all policies, the oldest first; runs with what their steps found.
    ramps
        What happened to the ramp of each experiment that a run started, by the experiment's resource name.
    versions
        What was published, the oldest first.
    champions
        Which version became the champion when, the oldest first: (microseconds since the Unix epoch, version, reason).
    """

    checks: Sequence[run_pb2.Check]
    runs: Sequence[run_pb2.Run]
    ramps: Mapping[str, Sequence[ramp_pb2.RampEvent]]
    versions: Sequence[registry_pb.Version]
    champions: Sequence[tuple[int, int, str]]

    @property
    def fired(self) -> list[run_pb2.Check]:
        """The checks that made a run."""
        return [check for check in self.checks if check.run]

    def runs_of(self, policy: str, *states: run_pb2.RunState.ValueType) -> list[run_pb2.Run]:
        """Return a policy's runs, those of these states where any is given."""
        own = [run for run in self.runs if resources.parse_run(run.name)[0] == policy]
        return [run for run in own if not states or run.state in states]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            "checks": _documents(self.checks),
            "runs": _documents(self.runs),
            "ramps": {name: _documents(events) for name, events in self.ramps.items()},
            "champions": [
                {"time_us": time_us, "version": version, "reason": reason}
                for time_us, version, reason in self.champions
            ],
        }


def read_history(control: Control, policies: Iterable[str]) -> History:
    """Return the history of policies of the demo's model."""
    checks: list[run_pb2.Check] = []
    runs: list[run_pb2.Run] = []
    for policy in policies:
        parent = resources.policy_name(policy)
        checks += control.training.ListChecks(pb.ListChecksRequest(parent=parent, page_size=_PAGE_ROWS)).checks
        listed = control.training.ListRuns(pb.ListRunsRequest(parent=parent, page_size=_PAGE_ROWS)).runs
        runs += [control.training.GetRun(pb.GetRunRequest(name=run.name)).run for run in listed]
    model = resources.model_name(MODEL)
    versions = control.registry.ListVersions(registry_pb.ListVersionsRequest(parent=model)).versions
    return History(
        checks=sorted(checks, key=lambda check: check.create_time_us),
        runs=sorted(runs, key=lambda run: run.create_time_us),
        ramps={run.experiment: _events(control, run.experiment) for run in runs if run.experiment},
        versions=sorted(versions, key=lambda version: version.version),
        champions=_champions(control, model),
    )


def found(run: run_pb2.Run, step: run_pb2.RunStep.ValueType) -> dict[str, Any]:
    """Return what a step of a run found; empty where it was not done."""
    said = next((each.result_json for each in run.steps if each.step == step and each.done), "")
    document: dict[str, Any] = json.loads(said or "{}")
    return document


def _events(control: Control, experiment: str) -> list[ramp_pb2.RampEvent]:
    request = experiments_pb.ListRampEventsRequest(name=experiment, page_size=_PAGE_ROWS)
    return list(control.experiments.ListRampEvents(request).events)


def _documents(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [plain.document_of(message) for message in messages]


def _champions(control: Control, model: str) -> list[tuple[int, int, str]]:
    request = registry_pb.ListAliasHistoryRequest(parent=model, alias="champion")
    moves = control.registry.ListAliasHistory(request).moves
    return sorted((move.time_us, move.to_version, move.reason) for move in moves if not move.removed)
