"""What the Open Inference Protocol tells of a version: metadata, configuration, statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.inference import grpc_service_pb2 as pb
from gateway.inference import model_config_pb2
from gateway.rpc.dtypes import INFER_NAME_OF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.models.session import Port
    from gateway.models.slots import Slot, VersionKey
    from gateway.serving.tally import VersionCounts

PLATFORM = "onnxruntime_onnx"
_CONFIG_TYPES = {
    name: model_config_pb2.DataType.Value(f"TYPE_{'STRING' if infer == 'BYTES' else infer}")
    for name, infer in INFER_NAME_OF.items()
}


def described(ports: Sequence[Port]) -> list[pb.ModelMetadataResponse.TensorMetadata]:
    """Return what a graph declares of its inputs or outputs."""
    return [
        pb.ModelMetadataResponse.TensorMetadata(name=port.name, datatype=INFER_NAME_OF[port.dtype], shape=port.shape)
        for port in ports
    ]


def config_of(slot: Slot) -> model_config_pb2.ModelConfig:
    """Return the configuration of a loaded version."""
    facts = {"artifact_sha256": slot.digest, "version": str(slot.key.version)}
    if slot.feature_set:
        facts["feature_set"] = slot.feature_set
    return model_config_pb2.ModelConfig(
        name=slot.key.model,
        platform=PLATFORM,
        backend="onnxruntime",
        input=[
            model_config_pb2.ModelInput(
                name=port.name,
                data_type=_CONFIG_TYPES[port.dtype],
                dims=port.shape,
                optional=port.name == slot.feature_input,
            )
            for port in slot.session.inputs
        ],
        output=[
            model_config_pb2.ModelOutput(name=port.name, data_type=_CONFIG_TYPES[port.dtype], dims=port.shape)
            for port in slot.session.outputs
        ],
        instance_group=[
            model_config_pb2.ModelInstanceGroup(
                name=slot.key.model, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU, count=1
            )
        ],
        default_model_filename="model.onnx",
        parameters={name: model_config_pb2.ModelParameter(string_value=value) for name, value in facts.items()},
        model_transaction_policy=model_config_pb2.ModelTransactionPolicy(decoupled=False),
    )


def statistics_of(key: VersionKey, counts: VersionCounts) -> pb.ModelStatistics:
    """Return what a version answered so far."""
    calls = counts.answered + counts.failed
    return pb.ModelStatistics(
        name=key.model,
        version=str(key.version),
        last_inference=int(counts.last_s * 1000),
        inference_count=counts.rows,
        execution_count=counts.runs,
        inference_stats=pb.InferStatistics(
            success=_duration(counts.answered, counts.answered_us),
            fail=_duration(counts.failed, counts.failed_us),
            queue=_duration(calls, counts.queue_us),
            compute_infer=_duration(counts.runs, counts.run_us),
        ),
        batch_stats=[
            pb.InferBatchStatistics(batch_size=rows, compute_infer=_duration(count, us))
            for rows, (count, us) in sorted(counts.sizes.items())
        ],
    )


def _duration(count: int, us: int) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=count, ns=us * 1000)
