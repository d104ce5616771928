"""Training by a script of the operator's: the table's path in, an ONNX file out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.answers import metrics_of, of_graph, widened
from trainer.errors import ScriptFailedError
from trainer.export import of_script
from trainer.lineage import graph_fingerprint
from trainer.parity import probe_rows
from trainer.publish import DIRECTIONS, profile_of
from trainer.runner.folder import digest_of
from trainer.runner.tables import MODEL, classes_of
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.tensors import to_tensors

if TYPE_CHECKING:
    from trainer.runner.given import Given
    from trainer.split import Parts
    from trainer.table import TrainingTable

_SAID_CHARACTERS_MAX = 500
_PROBED_ROWS_MAX = 20_000
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")


def made(given: Given, parts: Parts) -> bytes:
    """Run the script and return the ONNX file that it left, or raise ScriptFailedError.

    It gets the rows to learn from and to validate by, never those that judge: columns as the features are named,
    `label`, `event_time_us` and `part`. Its file is asked for every held-out row before it is believed to be one.
    """
    name, folder = given.training.script, given.folder
    program = given.job["scripts"].get(name)
    if program is None:
        raise ScriptFailedError(f"the operator of this trainer allows no script {name!r}")
    rows, wanted = folder / "rows.parquet", folder / MODEL
    wanted.unlink(missing_ok=True)
    write_rows(rows, given.table, parts)
    environment = {name: value for name, value in os.environ.items() if name in _KEPT}
    done = subprocess.run(  # noqa: S603  the operator's own program
        [*program, str(rows), str(wanted)],
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
    return wanted.read_bytes()


def train(given: Given, parts: Parts) -> tuple[dict[str, Any], list[str]]:
    """Run the script for the last fold, and return what is said of the model, and the files that are left."""
    content, table, task = made(given, parts), given.table, given.task
    job, folder, name = given.job, given.folder, given.training.script
    said = of_graph(content, table.rows[parts.test], task)
    metrics = metrics_of(task, table.labels[parts.test], widened(said, classes_of(table, task)))
    program = job["scripts"][name]
    exported = of_script(content)
    facts = registry_pb.VersionFacts(
        description=f"{job['run']}: {job['reason']}".removeprefix(": ")[:1_000],
        algorithm=name,
        metrics=metrics | {"training_rows": float(len(parts.train))},
        metric_directions={name: way for name, way in DIRECTIONS.items() if name in metrics},
        data_fingerprint=table.fingerprint,
        code_fingerprint=f"script:{_digest(program)} {graph_fingerprint(content)}",
        feature_set=table.feature_set,
        trained_on_digest=table.definition,
        profile_json=profile_of(table, parts.test, content, task).to_json(),
        tags={"run": job["run"]} if job["run"] else {},
    )
    probe = registry_pb.Probe()
    if exported is not None:
        rows = probe_rows(exported, table.rows[-_PROBED_ROWS_MAX:])
        probe = registry_pb.Probe(inputs=to_tensors(rows.inputs), outputs=to_tensors(rows.outputs))
    (folder / "facts.pb").write_bytes(facts.SerializeToString())
    (folder / "probe.pb").write_bytes(probe.SerializeToString())
    return {"algorithm": name, "parity": "no estimator to compare with"}, [
        MODEL,
        "facts.pb",
        "probe.pb",
    ]


def _digest(program: list[str]) -> str:
    """Return the sha256 of the last of a program's words that is a file; empty when none is."""
    return next((digest_of(Path(word)) for word in reversed(program) if Path(word).is_file()), "")


def write_rows(path: Path, table: TrainingTable, parts: Parts) -> None:
    """Write the rows to learn from and to validate by to a Parquet file."""
    columns: dict[str, Any] = {}
    order = [*parts.train, *parts.validation]
    for at, name in enumerate(table.feature_names):
        columns[name] = table.rows[order, at]
    columns["label"] = table.labels[order]
    columns["event_time_us"] = table.event_time_us[order]
    columns["part"] = ["train"] * len(parts.train) + ["validation"] * len(parts.validation)
    pq.write_table(pa.table(columns), path)
