"""The registry's values as messages of the contract, and back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from features.profile import Profile
from gateway.control.publication import Publication, RunClaim
from gateway.errors import RequestMalformedError
from registry.errors import ProbeInvalidError
from registry.probe import TOLERANCE_DEFAULT, Probe
from registry.records import Stage, VersionFacts
from turnout import resources, tensors
from turnout.registry.v1 import comparison_pb2, gate_pb2
from turnout.registry.v1 import registry_service_pb2 as pb
from turnout.tensor.v1 import tensor_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry.records import Alias, AliasMove, Model, TensorSpec, Version

JSON_BYTES_MAX = 1024**2

_STAGES = {
    Stage.DEVELOPMENT: pb.STAGE_DEVELOPMENT,
    Stage.STAGING: pb.STAGE_STAGING,
    Stage.PRODUCTION: pb.STAGE_PRODUCTION,
    Stage.ARCHIVED: pb.STAGE_ARCHIVED,
}
_DIRECTIONS: dict[int, str] = {
    comparison_pb2.METRIC_DIRECTION_INCREASE: "increase",
    comparison_pb2.METRIC_DIRECTION_DECREASE: "decrease",
}
DIRECTION_NUMBERS = {
    name: comparison_pb2.MetricDirection.Value(f"METRIC_DIRECTION_{name.upper()}") for name in _DIRECTIONS.values()
}
_DTYPES = {name: tensor_pb2.DataType.Value(f"DATA_TYPE_{name.upper()}") for name in tensors.DTYPES}


def model_id(name: str) -> str:
    """Return the id in a model's resource name, or raise RequestMalformedError."""
    try:
        return resources.model_id(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def version_key(name: str) -> tuple[str, int]:
    """Return the model and the number in a version's resource name, or raise RequestMalformedError."""
    try:
        return resources.parse_version(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def json_object(text: str, field: str) -> dict[str, object]:
    """Return the JSON object in a field, an empty one for no text, or raise RequestMalformedError."""
    if not text:
        return {}
    if len(text) > JSON_BYTES_MAX:
        raise RequestMalformedError(f"{field} is longer than {JSON_BYTES_MAX} bytes", field=field)
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestMalformedError(f"{field} is not JSON: {error}", field=field) from error
    if not isinstance(value, dict):
        raise RequestMalformedError(f"{field} is not a JSON object", field=field)
    return value


def publication(head: pb.PublishHead) -> Publication:
    """Return what is published, or raise RequestMalformedError or ProbeInvalidError."""
    return Publication(
        model=model_id(head.parent),
        artifact_sha256=head.artifact_sha256,
        facts=_facts(head.facts),
        probe=_probe(head.probe) if head.HasField("probe") and (head.probe.inputs or head.probe.outputs) else None,
        alias=head.alias,
        finite_inputs=tuple(head.finite_inputs),
        offset=head.offset,
        signature=head.manifest_signature,
        trained_on_digest=head.facts.trained_on_digest,
        run=run_claim(head),
    )


def run_claim(head: pb.PublishHead) -> RunClaim | None:
    """Return the training run that a publication is of, None for none, or raise RequestMalformedError."""
    if not head.run:
        return None
    try:
        return RunClaim(*resources.parse_run(head.run), token=head.run_token)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=head.run[:128]) from error


def model_message(model: Model) -> pb.Model:
    """Return the model's message."""
    return pb.Model(
        name=resources.model_name(model.id),
        description=model.description,
        owner=model.owner,
        tags=dict(model.tags),
        create_time_us=model.created_us,
        aliases=[alias_message(alias) for alias in model.aliases],
        latest_version=model.latest_version,
        properties=dict(model.properties),
        gates=[gate_message(gate) for gate in model.gates],
        etag=model.etag,
        delete_time_us=model.deleted_us,
    )


def gate_message(gate: Mapping[str, object]) -> gate_pb2.Gate:
    """Return a gate's message."""
    settings = {name: value for name, value in gate.items() if name != "kind"}
    return gate_pb2.Gate(kind=str(gate["kind"]), settings_json=json.dumps(settings) if settings else "")


def gate_document(gate: gate_pb2.Gate) -> dict[str, object]:
    """Return a gate as the registry keeps it, or raise RequestMalformedError."""
    return {**json_object(gate.settings_json, "gates.settings_json"), "kind": gate.kind}


def alias_message(alias: Alias) -> pb.Alias:
    """Return the alias's message."""
    return pb.Alias(
        alias=alias.alias, version=alias.version, generation=alias.generation, expire_time_us=alias.expires_us
    )


def version_message(version: Version, *, whole: bool = False) -> pb.Version:
    """Return the version's message; the profile of its training table is large, and there when the whole is asked."""
    return pb.Version(
        name=resources.version_name(version.model, version.number),
        version=version.number,
        artifact_sha256=version.artifact_sha256,
        artifact_bytes=version.artifact_bytes,
        inputs=_specs(version.signature.inputs),
        outputs=_specs(version.signature.outputs),
        facts=_facts_message(version.facts, whole=whole),
        create_time_us=version.created_us,
        create_actor=version.created_by,
        stage=_STAGES[version.stage],
        probe_rows=version.probe_rows,
        description=version.description,
        tags=dict(version.tags),
        properties=dict(version.properties),
        deprecated_reason=version.deprecated,
        signed_by=version.signed_by,
        etag=version.etag,
        delete_time_us=version.deleted_us,
        feature_set_digest=version.feature_set_digest,
    )


def stage_of(stage: pb.Stage.ValueType) -> Stage:
    """Return the stage, or raise RequestMalformedError for none."""
    for ours, theirs in _STAGES.items():
        if theirs == stage:
            return ours
    raise RequestMalformedError("`stage` says where the version goes: development, staging or archived", field="stage")


def move_message(move: AliasMove) -> pb.AliasMove:
    """Return the move's message."""
    return pb.AliasMove(
        alias=move.alias,
        generation=move.generation,
        from_version=move.from_version,
        to_version=move.to_version,
        time_us=move.time_us,
        actor=move.actor,
        reason=move.reason,
        evidence_json=json.dumps(move.evidence) if move.evidence else "",
        removed=move.removed,
        expire_time_us=move.expires_us,
        rollback=move.rollback,
    )


def _specs(specs: Sequence[TensorSpec]) -> list[tensor_pb2.TensorSpec]:
    return [
        tensor_pb2.TensorSpec(name=spec.name, data_type=_DTYPES[spec.dtype], shape=spec.shape, finite=spec.finite)
        for spec in specs
    ]


def _facts(facts: pb.VersionFacts) -> VersionFacts:
    for name, value in facts.metrics.items():
        if not math.isfinite(value):
            raise RequestMalformedError(f"the metric {name!r} is {value}; leave out what could not be measured")
    return VersionFacts(
        description=facts.description,
        algorithm=facts.algorithm,
        framework=facts.framework,
        parameters=dict(facts.parameters),
        metrics=dict(facts.metrics),
        data_fingerprint=facts.data_fingerprint,
        code_fingerprint=facts.code_fingerprint,
        parents=tuple(facts.parents),
        feature_set=_feature_set_id(facts.feature_set),
        parity=json_object(facts.parity_json, "parity_json"),
        tags=dict(facts.tags),
        dataset=facts.dataset,
        parents_elsewhere=tuple(version_key(name) for name in facts.parents_elsewhere),
        metric_directions={name: _DIRECTIONS[value] for name, value in facts.metric_directions.items() if value},
        profile=_profile(facts.profile_json),
        importance=_importance(facts.importance_json),
    )


def _feature_set_id(name: str) -> str:
    """Return the id of a feature set that is given as its id or its resource name."""
    if "/" not in name:
        return name
    try:
        return resources.set_id(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def _profile(text: str) -> dict[str, object]:
    """Return the document of a profile, or raise RequestMalformedError for a text that is none."""
    document = json_object(text, "profile_json")
    try:
        if document:
            Profile.from_document(document)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RequestMalformedError(f"profile_json is no profile: {error}", field="profile_json") from error
    return document


def _importance(text: str) -> dict[str, object]:
    """Return the document of an importance, or raise RequestMalformedError for a text that is none."""
    document = json_object(text, "importance_json")
    given: Any = document.get("features", [])
    is_one = not document or (
        isinstance(given, list)
        and isinstance(document.get("metric"), str)
        and all(isinstance(document.get(name), int | float) for name in ("loss", "rows"))
        and all(
            isinstance(one, dict)
            and isinstance(one.get("feature"), str)
            and all(isinstance(one.get(name), int | float) for name in ("increase", "standard_error"))
            and isinstance(one.get("native"), int | float | None)
            for one in given
        )
    )
    if not is_one:
        raise RequestMalformedError("importance_json has no metric, loss, rows and features", field="importance_json")
    return document


def _facts_message(facts: VersionFacts, *, whole: bool) -> pb.VersionFacts:
    return pb.VersionFacts(
        description=facts.description,
        algorithm=facts.algorithm,
        framework=facts.framework,
        parameters=dict(facts.parameters),
        metrics=dict(facts.metrics),
        data_fingerprint=facts.data_fingerprint,
        code_fingerprint=facts.code_fingerprint,
        parents=facts.parents,
        feature_set=resources.set_name(facts.feature_set) if facts.feature_set else "",
        parity_json=json.dumps(facts.parity) if facts.parity else "",
        tags=dict(facts.tags),
        dataset=facts.dataset,
        parents_elsewhere=[resources.version_name(*parent) for parent in facts.parents_elsewhere],
        metric_directions={name: DIRECTION_NUMBERS[value] for name, value in facts.metric_directions.items()},
        profile_json=json.dumps(facts.profile) if facts.profile and whole else "",
        importance_json=json.dumps(facts.importance) if facts.importance else "",
    )


def _probe(probe: pb.Probe) -> Probe:
    for side in (probe.inputs, probe.outputs):
        if len({tensor.name for tensor in side}) != len(side):
            raise ProbeInvalidError("the probe gives a tensor twice")
    try:
        inputs, outputs = tensors.to_arrays(probe.inputs), tensors.to_arrays(probe.outputs)
    except tensors.TensorError as error:
        raise ProbeInvalidError(f"the probe rows cannot be read: {error}") from error
    tolerance = probe.tolerance if probe.HasField("tolerance") else TOLERANCE_DEFAULT
    return Probe(inputs, outputs, tolerance)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
