"""ModelInfer over both transports: the same pipeline as Predict, the protocol's own words."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from gateway.inference import grpc_service_pb2 as pb
from turnout.serving.v1 import prediction_service_pb2_grpc

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


def infer(stub, model, raw, **fields):
    named = raw(ROW) | fields
    return stub.ModelInfer(pb.ModelInferRequest(model_name=model, **named), timeout=10)


def with_parameters(**values):
    return {name: pb.InferParameter(string_param=value) for name, value in values.items()}


def test_the_answer_says_who_answered_and_repeats_the_id(stub, raw, output_of):
    answer = infer(stub, "plain", raw, id="mine", parameters=with_parameters(turnout_request_id="r-1"))
    assert (answer.model_name, answer.model_version, answer.id) == ("plain", "1", "mine")
    assert {name: each.string_param for name, each in answer.parameters.items()} == {"turnout_request_id": "r-1"}
    assert [(each.name, each.datatype, list(each.shape)) for each in answer.outputs] == [("score", "FP32", [1, 4])]
    assert not answer.outputs[0].HasField("contents")
    assert output_of(answer).tolist() == (ROW * 5).tolist()


@pytest.mark.parametrize(("pin", "version"), [("1", "1"), ("2", "2"), ("challenger", "2"), ("champion", "1")])
def test_a_model_version_is_a_number_or_an_alias(stub, raw, output_of, pin, version):
    answer = infer(stub, "m", raw, model_version=pin)
    assert answer.model_version == version
    assert output_of(answer).tolist() == (ROW * (int(version) + 1)).tolist()
    assert "turnout_experiment" not in answer.parameters


def test_a_unit_gets_the_variant_that_predict_gives_it_and_is_told(one, stub, raw, request_for):
    seen = set()
    with grpc.insecure_channel(one.data_address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        for unit in map(str, range(20)):
            answer = infer(stub, "m", raw, parameters=with_parameters(turnout_unit_id=unit))
            expected = predict(request_for("m", row=ROW, unit_id=unit), timeout=10)
            told = {name: each.string_param for name, each in answer.parameters.items()}
            assert (answer.model_version, told["turnout_experiment"], told["turnout_variant"]) == (
                str(expected.version),
                expected.experiment,
                expected.variant,
            )
            assert answer.raw_output_contents[0] == expected.outputs[0].data
            seen.add(answer.model_version)
    assert seen == {"1", "2"}


def test_an_input_that_the_feature_set_covers_is_left_out_when_its_entities_are_given(stub, output_of):
    request = pb.ModelInferRequest(model_name="bound", parameters=with_parameters(turnout_entity_carrier="UA"))
    request.parameters["turnout_feature_hour"].int64_param = 9
    answer = stub.ModelInfer(request, timeout=10)
    assert output_of(answer).tolist() == [[9 * 7.0, 0.5 * 7.0, 10 * 7.0, 3 * 7.0]]
    metadata = (("turnout-entity-carrier", "nobody"), ("turnout-feature-hour", "9"))
    answer = stub.ModelInfer(pb.ModelInferRequest(model_name="bound"), timeout=10, metadata=metadata)
    assert output_of(answer).tolist() == [[9 * 7.0, 0.25 * 7.0, 1 * 7.0, 3 * 7.0]]


def test_outputs_come_as_they_were_asked_for(stub):
    arrays = every()
    request = pb.ModelInferRequest(model_name="every", **every_request(arrays))
    for name in ("out_FP64", "out_BOOL"):
        request.outputs.add(name=name)
    answer = stub.ModelInfer(request, timeout=10)
    assert [each.name for each in answer.outputs] == ["out_FP64", "out_BOOL"]
    assert list(answer.raw_output_contents) == [arrays["FP64"], arrays["BOOL"]]


def every():
    """Return two rows of two elements of each type, as they travel."""
    kinds = {
        "BOOL": np.array([1, 0, 0, 1], bool),
        "FP16": np.array([1.5, -2, 0, 65504], np.float16),
        "FP32": np.array([1.5, -2, np.inf, np.nan], np.float32),
        "FP64": np.array([1.5, -2, 1e300, np.nan]),
    }
    for bits in (8, 16, 32, 64):
        for name in (f"int{bits}", f"uint{bits}"):
            limits = np.iinfo(name)
            kinds[name.upper()] = np.array([limits.min, 0, 1, limits.max], name)
    encoded = {name: array.tobytes() for name, array in kinds.items()}
    words = [b"", b"a", "zwölf €".encode(), b"x" * 300]
    encoded["BYTES"] = b"".join(len(word).to_bytes(4, "little") + word for word in words)
    return encoded


def every_request(arrays):
    tensor = pb.ModelInferRequest.InferInputTensor
    inputs = [tensor(name=f"in_{kind}", datatype=kind, shape=[2, 2]) for kind in arrays]
    return {"inputs": inputs, "raw_input_contents": list(arrays.values())}


def test_elements_of_every_type_come_back_bit_by_bit(stub):
    arrays = every()
    answer = stub.ModelInfer(pb.ModelInferRequest(model_name="every", **every_request(arrays)), timeout=10)
    given = dict(zip([each.datatype for each in answer.outputs], answer.raw_output_contents, strict=True))
    assert given == arrays
    assert all(each.name == f"out_{each.datatype}" and list(each.shape) == [2, 2] for each in answer.outputs)


def test_a_stream_answers_in_order_and_goes_on_after_an_error(stub, raw, output_of):
    requests = [pb.ModelInferRequest(model_name="plain", id=str(n), **raw(ROW + n)) for n in range(50)]
    requests[7].model_name = "nobody"
    requests[9].raw_input_contents[0] = b"short"
    answers = list(stub.ModelStreamInfer(iter(requests), timeout=20))
    assert [answer.infer_response.id for answer in answers] == [str(n) for n in range(50)]
    for number, answer in enumerate(answers):
        if number == 7:
            assert "`nobody` is not served" in answer.error_message
        elif number == 9:
            assert "has 5 bytes" in answer.error_message
            assert answer.infer_response.model_name == "plain"
        else:
            assert answer.error_message == ""
            assert output_of(answer.infer_response).tolist() == ((ROW + number) * 5).tolist()


def test_inferences_are_journalled_as_predictions(one, operate, stub, raw):
    operator = operate(one)
    before = operator.counts().predictions
    infer(stub, "plain", raw)
    assert operator.counts().predictions == before + 1
