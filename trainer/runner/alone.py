"""One training without a run at the gateway: `python -m trainer.runner.alone`, which `turnout train` becomes.

The steps are those of a run, each in a child within the policy's budget; what is not asked of the gateway is nothing
but a record.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from storage.errors import DomainError
from trainer.errors import StepFailedError
from trainer.records.policy import Training
from trainer.records.rules import check, document_of
from trainer.runner import child
from trainer.runner.definitions import definition_in
from trainer.runner.folder import JOB, failure, finished
from trainer.runner.tables import MODEL
from turnout import resources
from turnout.cli.literals import LiteralError
from turnout.cli.policy_file import read_policy
from turnout.control import Control
from turnout.errors import TurnoutError
from turnout.registry.v1 import registry_service_pb2 as registry_pb

_SCRIPT = "script"
_STEPS = ("table", "train", "evaluate")
_REFUSED = 3


def main() -> int:
    """Train, say what came of it as JSON, and return the exit code: 3 for a candidate that was not blessed."""
    asked = _parser().parse_args()
    try:
        found = _train(asked)
    except (DomainError, TurnoutError, LiteralError) as error:
        sys.stderr.write(f"turnout train: {error}\n")
        return 1
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0 if found["verdict"] == "BLESSED" else _REFUSED


def _train(asked: argparse.Namespace) -> dict[str, Any]:
    definition = definition_in(read_policy(asked.policy).policy)
    if asked.script:
        definition = replace(definition, training=Training(definition.training.task, seed=asked.seed, script=_SCRIPT))
    check(definition)
    job = {
        "run": "",
        "reason": f"turnout train {asked.policy.name}",
        "as_of_us": asked.as_of_us or time.time_ns() // 1_000,
        "server": asked.server,
        "trainer": "turnout train",
        "timeout_s": asked.timeout_s,
        "allowed": list(asked.allow or ("sklearn",)),
        "scripts": {_SCRIPT: shlex.split(asked.script)} if asked.script else {},
        "definition": document_of(definition),
        "champion_recipe": None,
    }
    with tempfile.TemporaryDirectory(prefix="turnout-train-") as name:
        folder = Path(name)
        (folder / JOB).write_text(json.dumps(job))
        results = {step: _step(step, folder, definition.budget) for step in _STEPS}
        trained, judged = results["train"], results["evaluate"]
        said = {"verdict": judged["verdict"], "reasons": judged["reasons"], "metrics": judged["metrics"]}
        said |= {"comparisons": judged["comparisons"], "parity": trained["parity"], "search": trained["search"]}
        if asked.out:
            shutil.copyfile(folder / MODEL, asked.out)
        if asked.publish and judged["verdict"] == "BLESSED":
            said["version"] = _publish(folder, definition.model, asked)
    return said


def _step(step: str, folder: Path, budget: Any) -> dict[str, Any]:
    ended = child.perform(step, folder, budget, connected=step == "table", lost=lambda: False)
    found = finished(folder, step) if ended.code == 0 else None
    if found is None:
        sentence = failure(folder, step).get("sentence") or f"ended with {ended.code}: {ended.log.strip()[-500:]}"
        raise StepFailedError(f"the step {step!r} failed: {sentence}", step=step)
    return found


def _publish(folder: Path, model: str, asked: argparse.Namespace) -> str:
    """Publish the candidate with its facts and probe rows, and return the version's name."""
    facts = registry_pb.VersionFacts.FromString((folder / "facts.pb").read_bytes())
    probe = registry_pb.Probe.FromString((folder / "probe.pb").read_bytes())
    with Control(asked.server, actor="turnout train", timeout_s=asked.timeout_s) as control:
        published = control.publish_version(
            model, folder / MODEL, facts=facts, probe=probe if probe.inputs else None, alias=asked.alias
        )
    return resources.version_name(*resources.parse_version(published.version.name))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.runner.alone")
    parser.add_argument("policy", type=Path, help="the policy as TOML")
    parser.add_argument("--script", default="", help="a command in place of the policy's estimator")
    parser.add_argument("--allow", action="append", help="a package that estimators may be of")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--as-of", dest="as_of_us", type=int, default=0, help="microseconds since the Unix epoch")
    parser.add_argument("--out", type=Path, help="where the ONNX file is left")
    parser.add_argument("--publish", action="store_true", help="publish what is blessed")
    parser.add_argument("--alias", default="", help="of the version that is published")
    parser.add_argument("--server", default="127.0.0.1:8003", help="the control port, host:port")
    parser.add_argument("--timeout", dest="timeout_s", type=float, default=600.0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
