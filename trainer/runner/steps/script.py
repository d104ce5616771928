"""Training by a script of the operator's: the table's path in, an ONNX file out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.champion import probabilities
from trainer.errors import ScriptFailedError
from trainer.lineage import graph_fingerprint
from trainer.runner.folder import digest_of
from turnout.registry.v1 import registry_service_pb2 as registry_pb

if TYPE_CHECKING:
    from trainer.records.policy import Definition
    from trainer.split import Parts
    from trainer.table import TrainingTable

_SAID_CHARACTERS_MAX = 500
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")


def train(
    job: dict[str, Any], folder: Path, definition: Definition, table: TrainingTable, parts: Parts
) -> tuple[dict[str, Any], list[str]]:
    """Run the script and return what is said of the model, and the files that are left; or raise ScriptFailedError.

    It gets the rows to learn from and to validate by, never those that judge: columns as the features are named,
    `label`, `event_time_us` and `part`. Its ONNX file is asked for every held-out row before it is believed to be one.
    """
    program = job["scripts"].get(definition.training.script)
    if program is None:
        raise ScriptFailedError(f"the operator of this trainer allows no script {definition.training.script!r}")
    given, wanted = folder / "rows.parquet", folder / "model.onnx"
    wanted.unlink(missing_ok=True)
    _write(given, table, parts)
    environment = {name: value for name, value in os.environ.items() if name in _KEPT}
    done = subprocess.run(  # noqa: S603  the operator's own program
        [*program, str(given), str(wanted)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        cwd=folder,
        env=environment,
        check=False,
    )
    said = (done.stderr or done.stdout).strip()[-_SAID_CHARACTERS_MAX:]
    if done.returncode or not wanted.is_file():
        what = f"ended with {done.returncode}" if done.returncode else "left no model"
        raise ScriptFailedError(f"the script {what}: {said}")
    probabilities(wanted.read_bytes(), table.rows[parts.test])
    content = wanted.read_bytes()
    facts = registry_pb.VersionFacts(
        description=f"{job['run']}: {job['reason']}"[:1_000],
        algorithm=definition.training.script,
        data_fingerprint=table.fingerprint,
        code_fingerprint=f"script:{_digest(program)} {graph_fingerprint(content)}",
        feature_set=table.feature_set,
        trained_on_digest=table.definition,
        tags={"run": job["run"]},
    )
    (folder / "facts.pb").write_bytes(facts.SerializeToString())
    (folder / "probe.pb").write_bytes(b"")
    return {"algorithm": definition.training.script, "parity": "no estimator to compare with"}, [
        "model.onnx",
        "facts.pb",
        "probe.pb",
    ]


def _digest(program: list[str]) -> str:
    """Return the sha256 of the last of a program's words that is a file; empty when none is."""
    return next((digest_of(Path(word)) for word in reversed(program) if Path(word).is_file()), "")


def _write(path: Path, table: TrainingTable, parts: Parts) -> None:
    columns: dict[str, Any] = {}
    order = [*parts.train, *parts.validation]
    for at, name in enumerate(table.feature_names):
        columns[name] = table.rows[order, at]
    columns["label"] = table.labels[order]
    columns["event_time_us"] = table.event_time_us[order]
    columns["part"] = ["train"] * len(parts.train) + ["validation"] * len(parts.validation)
    pq.write_table(pa.table(columns), path)
