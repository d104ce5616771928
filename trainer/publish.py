"""Publication: a fitted estimator becomes a version, with its lineage, its certificate and its probe rows."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.profile import ColumnProfile, ProfileBuilder
from trainer.answers import columns, of_graph
from trainer.certificate import Verdict
from trainer.evaluation.verdict import INCREASES
from trainer.export import export
from trainer.importance import importance
from trainer.lineage import code_fingerprint, graph_fingerprint
from trainer.parity import ProbeRows, certify, probe_rows
from turnout import resources
from turnout.registry.v1 import comparison_pb2
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.tensors import to_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from features.profile import Profile
    from trainer.certificate import Certificate
    from trainer.export import Exported
    from trainer.fit import Fitted, Model
    from trainer.importance import Importance
    from trainer.records.policy import Task
    from trainer.table import TrainingTable
    from turnout.control import Control

_PARITY_ROWS_MAX = 20_000
LABEL = "label"
"""What a profile calls the label."""
DIRECTIONS = {
    name: comparison_pb2.METRIC_DIRECTION_INCREASE if better else comparison_pb2.METRIC_DIRECTION_DECREASE
    for name, better in INCREASES.items()
}
"""Which way each of the trainer's metrics is better."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that may be published: an estimator whose ONNX graph was proved to answer as it does.

    Attributes
    ----------
    fitted, exported, certificate, probe
        What was learned, the graph, the proof, and the rows that every load replays.
    feature_set
        The feature set's id.
    data_fingerprint, code_fingerprint
        Of the training table; of the training code and the graph.
    definition
        The digest of the set's definition that the table was made of; empty when that is not known.
    profile
        What the table looks like: what later rows are compared with.
    importance
        How much each feature matters on the rows that were held out; None where none were.
    """

    fitted: Fitted
    exported: Exported
    certificate: Certificate
    probe: ProbeRows
    feature_set: str
    data_fingerprint: str
    code_fingerprint: str
    definition: str = ""
    profile: Profile | None = None
    importance: Importance | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """A version that was published, and the revision of the metadata that holds it."""

    version: int
    revision: int
    artifact_sha256: str


def prove(fitted: Fitted, table: TrainingTable, *, tolerance: float = 1e-4) -> Candidate:
    """Return the candidate that an estimator makes, or raise ExportFailedError or ParityRefusedError."""
    rows = table.rows[-_PARITY_ROWS_MAX:]
    names, held_out = table.feature_names, fitted.held_out
    exported, certificate = faithful(fitted.estimator, table.rows, tolerance=tolerance, names=names)
    return Candidate(
        fitted=fitted,
        exported=exported,
        certificate=certificate,
        probe=probe_rows(exported, rows),
        feature_set=table.feature_set,
        data_fingerprint=table.fingerprint,
        code_fingerprint=f"{code_fingerprint()} {graph_fingerprint(exported.content)}",
        definition=table.definition,
        profile=profile_of(table, fitted.held_out, exported.content, fitted.task),
        importance=importance(fitted.estimator, exported, table.rows[held_out], table.labels[held_out], names)
        if len(held_out)
        else None,
    )


def faithful(
    estimator: Model, rows: NDArray[np.float64], *, tolerance: float = 1e-4, names: Sequence[str] = ()
) -> tuple[Exported, Certificate]:
    """Return the first form of the graph that answers as the estimator does: float32, else float64.

    Scaling in float32 moves values over the thresholds of trees behind it; in float64 they are rounded as trees do it.

    Raises
    ------
    ExportFailedError, ParityRefusedError
        There is none.
    """
    asked, exported = rows[-_PARITY_ROWS_MAX:], export(estimator, rows, names=names)
    certificate = certify(estimator, exported, asked, tolerance=tolerance)
    if certificate.verdict is Verdict.DISAGREES and exported.dtype == "float32":
        try:
            wider = export(estimator, rows, wide=True, names=names)
            proved = certify(estimator, wider, asked, tolerance=tolerance)
        except Exception:  # noqa: BLE001  (ONNX Runtime refuses some graphs of float64 by classes of its own)
            certificate.require()
        else:
            exported, certificate = (
                (wider, proved) if proved.verdict is not Verdict.DISAGREES else (exported, certificate)
            )
    certificate.require()
    return exported, certificate


def profile_of(table: TrainingTable, held_out: NDArray[np.int64], content: bytes, task: Task) -> Profile:
    """Return the profile of a training table: its features, ``label``, and the answers on the rows that were held out.

    What the graph says of rows that it learned from is surer than what it will say of others, hence only those.
    """
    builder = ProfileBuilder("training", [*table.feature_names, LABEL])
    builder.add(np.column_stack([table.rows, table.labels]), event_time_us=table.event_time_us)
    profile = builder.profile()
    if not len(held_out):
        return profile
    said = columns(of_graph(content, table.rows[held_out], task), task)
    outputs = {name: ColumnProfile.of(values) for name, values in said.items()}
    return replace(profile, columns={**profile.columns, **outputs}).compressed()


def publish(
    control: Control, model: str, candidate: Candidate, *, description: str, parents: Sequence[int] = ()
) -> Published:
    """Publish a candidate as the model's next version, or raise TurnoutError with nothing kept.

    Parameters
    ----------
    control
        The gateway.
    model
        The model's name; the model is created when there is none.
    candidate
        What is published.
    description
        What it is and why it was made.
    parents
        The versions of the model that it was made from.
    """
    facts, probe = said_of(candidate, description=description, parents=parents)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(candidate.exported.content)
        response = control.publish_version(model, path, facts=facts, probe=probe)
    _, version = resources.parse_version(response.version.name)
    return Published(version, response.revision, response.version.artifact_sha256)


def said_of(
    candidate: Candidate, *, description: str, parents: Sequence[int] = ()
) -> tuple[registry_pb.VersionFacts, registry_pb.Probe]:
    """Return what is said of the version, and the rows that every load replays."""
    fitted = candidate.fitted
    probe = registry_pb.Probe(
        inputs=to_tensors(candidate.probe.inputs),
        outputs=to_tensors(candidate.probe.outputs),
        tolerance=candidate.certificate.tolerance,
    )
    facts = registry_pb.VersionFacts(
        description=description,
        algorithm=fitted.algorithm,
        framework=fitted.framework,
        parameters=fitted.parameters,
        metrics=fitted.metrics,
        metric_directions={name: way for name, way in DIRECTIONS.items() if name in fitted.metrics},
        data_fingerprint=candidate.data_fingerprint,
        code_fingerprint=candidate.code_fingerprint,
        parents=parents,
        feature_set=candidate.feature_set,
        trained_on_digest=candidate.definition,
        parity_json=candidate.certificate.to_json(),
        profile_json=candidate.profile.to_json() if candidate.profile else "",
        importance_json=candidate.importance.to_json() if candidate.importance else "",
    )
    return facts, probe
