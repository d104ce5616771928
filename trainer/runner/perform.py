"""One run: its steps in order, each done once, by a child or by calls of the contract."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trainer.errors import StepFailedError
from trainer.records.life import Step
from trainer.records.rules import document_of
from trainer.runner import child, on_ray
from trainer.runner.child import ClaimLostError
from trainer.runner.definitions import definition_in
from trainer.runner.folder import JOB, failure, finished
from turnout import resources
from turnout.errors import PreconditionError, TurnoutError
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.trainer.v1 import run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from trainer.records.policy import Definition
    from trainer.runner.claim import Claim
    from turnout.control import Control

_log = logging.getLogger(__name__)
CHALLENGER = "challenger"
_BLESSED = "BLESSED"
_REFUSING = frozenset({"PARITY_REFUSED"})
"""Failures of a candidate, and not of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What a trainer works with.

    Attributes
    ----------
    server
        The gateway's control port.
    name
        Who works.
    folder
        Where runs leave their files.
    allowed
        The packages that estimators may be of.
    scripts
        The operator's scripts by name: a command each.
    timeout_s
        The deadline of a call that moves data.
    ray
        The address of a Ray cluster that does the steps which need no gateway; empty: this machine does.
    stopped
        Whether this trainer is to end: what it works on goes on elsewhere, or when it is started again.
    """

    server: str
    name: str
    folder: Path
    allowed: Sequence[str] = ("sklearn",)
    scripts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    timeout_s: float = 600.0
    ray: str = ""
    stopped: Callable[[], bool] = lambda: False


class RefusedError(Exception):
    """The candidate has not shown what it must; the reasons are the arguments."""


def perform(control: Control, claim: Claim, shop: Shop) -> None:
    """Bring a run to its end, or as far as it goes before the claim is lost."""
    definition = definition_in(claim.run.policy)
    folder = shop.folder / claim.run.name.removeprefix("policies/").replace("/runs/", "-")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _Performance(control, claim, shop, definition, folder).run()
    except RefusedError as refused:
        claim.finish("refused", [str(each) for each in refused.args])
    except ClaimLostError:
        if shop.stopped():
            return
        _log.info("%s goes on elsewhere, or is over", claim.run.name)
    except StepFailedError as error:
        claim.finish("failed", [error.message])
    except TurnoutError as error:
        if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            raise  # the claim runs out, and the run goes on when the gateway is there again
        claim.finish("failed", [str(error)])
    shutil.rmtree(folder, ignore_errors=True)


class _Performance:
    """One run's steps with what they share."""

    def __init__(self, control: Control, claim: Claim, shop: Shop, definition: Definition, folder: Path) -> None:
        self._control = control
        self._claim = claim
        self._shop = shop
        self._definition = definition
        self._folder = folder

    def run(self) -> None:
        """Do what is not done."""
        self._write_job()
        if self._claim.run.version:  # published: what led there is not needed any more
            self._deploy()
            return
        self._in_child(Step.TABLE, connected=True)
        self._write_job()
        self._in_child(Step.TRAIN, connected=False)
        judged = self._in_child(Step.EVALUATE, connected=False)
        if judged["verdict"] != _BLESSED:
            raise RefusedError(*judged["reasons"])
        self._publish(judged)
        self._deploy()

    def _write_job(self) -> None:
        run = self._claim.run
        job = {
            "run": run.name,
            "reason": run.reason,
            "as_of_us": run.as_of_us,
            "server": self._shop.server,
            "trainer": self._shop.name,
            "timeout_s": self._shop.timeout_s,
            "allowed": list(self._shop.allowed),
            "scripts": {name: list(program) for name, program in self._shop.scripts.items()},
            "definition": document_of(self._definition),
            "champion_recipe": self._champion_recipe(),
        }
        aside = self._folder / f"{JOB}.tmp"
        aside.write_text(json.dumps(job))
        aside.rename(self._folder / JOB)

    def _champion_recipe(self) -> dict[str, Any] | None:
        """Return the policy by which a run made the champion; None where none did, or it is gone."""
        champion = (finished(self._folder, Step.TABLE) or {}).get("champion")
        if not champion or not champion["run"]:
            return None
        try:
            made = self._control.training.GetRun(pb.GetRunRequest(name=champion["run"])).run
        except TurnoutError:
            return None
        return _recipe(made)

    def _in_child(self, step: Step, *, connected: bool) -> dict[str, Any]:
        """Return what a step found; one that is done, and whose files are here, is not done again."""
        found = finished(self._folder, step)
        if found is None:
            self._claim.report(step)
            (self._folder / f"{step}.failed.json").unlink(missing_ok=True)
            ended = self._performed(step, connected=connected)
            found = finished(self._folder, step) if ended.code == 0 else None
            if found is None:
                self._fail(step, ended)
                raise AssertionError  # pragma: no cover  (the line above raises)
        if self._claim.done(step) is None:
            self._claim.report(step, found)
        return found

    def _performed(self, step: Step, *, connected: bool) -> child.Ended:
        """Do a step, on the cluster where there is one and the step needs no gateway."""
        budget = self._definition.budget

        def lost() -> bool:
            return self._claim.lost or self._shop.stopped()

        if self._shop.ray and not connected:
            return on_ray.perform(self._shop.ray, step, self._folder, budget, lost=lost)
        return child.perform(step, self._folder, budget, connected=connected, lost=lost)

    def _fail(self, step: Step, ended: child.Ended) -> None:
        said = failure(self._folder, step)
        if said.get("reason") in _REFUSING:
            raise RefusedError(said["sentence"])
        sentence = said.get("sentence") or f"ended with {ended.code}: {ended.log.strip()[-500:]}"
        raise StepFailedError(f"the step {step.value!r} failed: {sentence}", step=step)

    def _publish(self, judged: dict[str, Any]) -> None:
        self._claim.report(Step.PUBLISH)
        facts = registry_pb.VersionFacts.FromString((self._folder / "facts.pb").read_bytes())
        facts.metrics["blessed"] = 1.0
        facts.metrics.update({name: value for name, value in judged["metrics"].items() if value is not None})
        for found in judged["comparisons"]:
            facts.metrics[f"{found['metric']}_gain_lower"] = found["lower"]
        probe = registry_pb.Probe.FromString((self._folder / "probe.pb").read_bytes())
        model = self._definition.model
        published = self._control.publish_version(
            model,
            self._folder / "model.onnx",
            facts=facts,
            probe=probe if probe.inputs else None,
            alias=CHALLENGER,
            run=self._claim.run.name,
            run_token=self._claim.token,
        )
        self._claim.report(Step.PUBLISH, {"version": resources.parse_version(published.version.name)[1]})

    def _deploy(self) -> None:
        version = resources.parse_version(self._claim.run.version)[1]
        if self._claim.done(Step.PUBLISH) is None:
            # Killed between the publication and its report.
            self._claim.report(Step.PUBLISH, {"version": version})
        self._claim.report(Step.DEPLOY)
        try:
            self._claim.deploy()
        except PreconditionError as error:
            raise RefusedError(f"it is published, and gets no traffic: {error}") from error


def _recipe(made: run_pb2.Run) -> dict[str, Any]:
    """Return the policy by which a run made its version; what a search found stands in place of the search."""
    definition = definition_in(made.policy)
    training = definition.training
    said = next((each.result_json for each in made.steps if each.step == run_pb2.RUN_STEP_TRAIN), "")
    found = (json.loads(said or "{}").get("search") or {}).get("parameters")
    if found and training.estimator is not None:
        learns = replace(training.estimator, parameters={**training.estimator.parameters, **found})
        definition = replace(definition, training=replace(training, estimator=learns, search=None))
    return document_of(definition)
