"""What the Open Inference Protocol tells of the server and its models."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from gateway.inference import grpc_service_pb2 as pb


def test_the_server_is_live_and_ready_and_says_what_it_is(stub):
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    told = stub.ServerMetadata(pb.ServerMetadataRequest())
    assert (told.name, told.version) == ("turnout", version("turnout"))


def test_a_model_is_ready_when_it_could_answer_and_a_stranger_is_not(stub):
    def ready(name, version=""):
        return stub.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready

    assert [ready("m"), ready("m", "2"), ready("m", "challenger")] == [True, True, True]
    assert [ready("nobody"), ready("m", "99"), ready("m", "abc"), ready("")] == [False, False, False, False]


def test_metadata_and_configuration_name_what_the_graph_takes_and_gives(stub):
    told = stub.ModelMetadata(pb.ModelMetadataRequest(name="every"))
    assert (told.name, list(told.versions), told.platform) == ("every", ["1"], "onnxruntime_onnx")
    assert [(each.name, each.datatype, list(each.shape)) for each in told.inputs] == [
        (f"in_{each.datatype}", each.datatype, [-1, 2]) for each in told.inputs
    ]
    assert len(told.inputs) == len(told.outputs) == 13
    config = stub.ModelConfig(pb.ModelConfigRequest(name="every")).config
    assert (config.name, config.platform, config.backend, config.max_batch_size) == (
        "every",
        "onnxruntime_onnx",
        "onnxruntime",
        0,
    )
    assert [(each.name, list(each.dims)) for each in config.input] == [(each.name, [-1, 2]) for each in told.inputs]
    assert not any(each.optional for each in config.input)


def test_what_a_feature_set_fills_is_optional(stub):
    config = stub.ModelConfig(pb.ModelConfigRequest(name="bound", version="champion")).config
    assert [(each.name, each.optional) for each in config.input] == [("x", True)]
    assert config.parameters["feature_set"].string_value.startswith("flight-delay@")


def test_statistics_count_calls_rows_and_runs_by_version(stub, verdict, raw):
    def counted(**which):
        [found] = stub.ModelStatistics(pb.ModelStatisticsRequest(**which)).model_stats
        return found

    before = counted(name="plain", version="1")
    rows = np.ones((3, 4), np.float32)
    for _ in range(5):
        assert verdict(stub.ModelInfer, pb.ModelInferRequest(model_name="plain", **raw(rows)))[0] == "OK"
    wrong = pb.ModelInferRequest(model_name="plain", **raw(rows[:, :2]))
    assert verdict(stub.ModelInfer, wrong)[0] == "INVALID_ARGUMENT"  # never assigned: no version's failure
    after = counted(name="plain")
    assert (after.name, after.version) == ("plain", "1")
    assert after.inference_count - before.inference_count == 15
    assert 1 <= after.execution_count - before.execution_count <= 5
    assert after.inference_stats.success.count - before.inference_stats.success.count == 5
    assert after.inference_stats.success.ns > before.inference_stats.success.ns
    assert after.inference_stats.success.ns >= after.inference_stats.compute_infer.ns > 0
    assert after.inference_stats.fail == before.inference_stats.fail
    assert sum(each.compute_infer.count for each in after.batch_stats) == after.execution_count
    assert sum(each.batch_size * each.compute_infer.count for each in after.batch_stats) == after.inference_count
    assert after.last_inference >= before.last_inference
    everything = stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
    names = [(each.name, each.version) for each in everything]
    assert names == sorted(names)
    assert {("plain", "1"), ("m", "1"), ("m", "2")} <= set(names)


def test_unknown_models_and_versions_are_not_found(stub, refusal):
    for ask, request in (
        (stub.ModelMetadata, pb.ModelMetadataRequest),
        (stub.ModelConfig, pb.ModelConfigRequest),
        (stub.ModelStatistics, pb.ModelStatisticsRequest),
    ):
        code, reason, _ = refusal(ask, request(name="nobody"))
        assert (code.name, reason) == ("NOT_FOUND", "MODEL_NOT_SERVED")
        code, reason, _ = refusal(ask, request(name="m", version="99"))
        assert (code.name, reason) == ("NOT_FOUND", "VERSION_NOT_SERVED")


def test_the_index_lists_versions_with_their_states(stub, refusal):
    index = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
    listed = [(each.name, each.version, each.state, each.reason) for each in index]
    assert ("m", "1", "READY", "") in listed
    assert ("m", "2", "READY", "") in listed
    assert listed == sorted(listed)
    code, reason, _ = refusal(stub.RepositoryIndex, pb.RepositoryIndexRequest(repository_name="elsewhere"))
    assert (code.name, reason) == ("INVALID_ARGUMENT", "REQUEST_MALFORMED")
