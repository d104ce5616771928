"""Requests that are wrong in one way each, to both transports: refused by name, run by nobody, journalled nowhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.inference import grpc_service_pb2 as pb
from gateway.rpc.dtypes import DTYPE_OF, NUMBER_OF
from turnout.serving.v1 import prediction_service_pb2, prediction_service_pb2_grpc

WIDTHS = {kind: 4 if name == "string" else np.dtype(name).itemsize for kind, name in DTYPE_OF.items()}
TYPED = dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents")
TYPED |= dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents")
TYPED |= {"BOOL": "bool_contents", "INT64": "int64_contents", "UINT64": "uint64_contents"}
TYPED |= {"FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents"}
REFUSED = {"INVALID_ARGUMENT", "NOT_FOUND"}


def valid(model):
    """Return a request that is answered, with raw elements."""
    message = pb.ModelInferRequest(model_name=model)
    if model == "every":
        for kind in DTYPE_OF:
            message.inputs.add(name=f"in_{kind}", datatype=kind, shape=[3, 2])
            message.raw_input_contents.append(bytes(WIDTHS[kind] * 6))
    elif model == "sum":
        for name in "xy":
            message.inputs.add(name=name, datatype="FP32", shape=[2, 5])
            message.raw_input_contents.append(bytes(40))
    else:
        message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        message.raw_input_contents.append(bytes(16))
    return message


def typed(message):
    """Put the elements of a raw request into its contents, as far as the protocol has fields for them."""
    for at in reversed(range(len(message.inputs))):
        tensor = message.inputs[at]
        if tensor.datatype not in TYPED:
            del message.inputs[at]
            continue
        count = int(np.prod(tensor.shape))
        zero = {"bool_contents": False, "bytes_contents": b"", "fp32_contents": 0.0, "fp64_contents": 0.0}
        field = TYPED[tensor.datatype]
        getattr(tensor.contents, field).extend([zero.get(field, 0)] * count)
    del message.raw_input_contents[:]
    return message


# Each of these makes a valid request wrong in one way, and returns the input, output, field or parameter to blame.


def drop_input(draw, message):
    at = draw(st.integers(0, len(message.inputs) - 1))
    name = message.inputs[at].name
    del message.inputs[at], message.raw_input_contents[at]
    return name


def repeat_input(draw, message):
    at = draw(st.integers(0, len(message.inputs) - 1))
    message.inputs.add().CopyFrom(message.inputs[at])
    message.raw_input_contents.append(message.raw_input_contents[at])
    return message.inputs[at].name


def strange_input(draw, message):
    at = draw(st.integers(0, len(message.inputs) - 1))
    name = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=2000))
    if name in {each.name for each in message.inputs}:
        name += "?"
    if draw(st.booleans()):
        message.inputs[at].name = name
    else:
        message.inputs.add(name=name, datatype="FP32", shape=[1])
        message.raw_input_contents.append(bytes(4))
    return name


def other_datatype(draw, message):
    tensor = draw(st.sampled_from(list(message.inputs)))
    tensor.datatype = draw(st.sampled_from([kind for kind in DTYPE_OF if kind != tensor.datatype]))
    return tensor.name


def no_datatype(draw, message):
    tensor = draw(st.sampled_from(list(message.inputs)))
    tensor.datatype = draw(st.one_of(st.sampled_from(["", "BF16", "fp32", "FLOAT"]), st.text(max_size=500)))
    if tensor.datatype in DTYPE_OF:
        tensor.datatype = "INT128"
    return tensor.name


def wrong_extent(draw, message):
    tensor = draw(st.sampled_from(list(message.inputs)))
    axis = draw(st.integers(0, 1))
    wrong = st.sampled_from([0, -1, -5, -(2**63), 2**62, 2**63 - 1, 7])
    tensor.shape[axis] = draw(wrong)
    return tensor.name


def wrong_rank(draw, message):
    tensor = draw(st.sampled_from(list(message.inputs)))
    shape = draw(st.one_of(st.just([]), st.just([6]), st.lists(st.integers(-2, 3), min_size=3, max_size=200)))
    tensor.ClearField("shape")
    tensor.shape.extend(shape)
    return tensor.name


def wrong_length(draw, message):
    at = draw(st.integers(0, len(message.inputs) - 1))
    data = message.raw_input_contents[at]
    longer = st.binary(min_size=1, max_size=20).map(lambda more: data + more)
    shorter = st.integers(0, len(data) - 1).map(lambda length: data[:length])
    message.raw_input_contents[at] = draw(st.one_of(longer, shorter))
    return message.inputs[at].name


def wrong_entries(draw, message):
    if draw(st.booleans()) or len(message.inputs) == 1:
        message.raw_input_contents.append(b"")
        return ""
    del message.raw_input_contents[-1]
    return message.inputs[-1].name


def raw_and_typed(draw, message):
    tensor = draw(st.sampled_from(list(message.inputs)))
    tensor.contents.fp32_contents.extend([0.0] * draw(st.integers(0, 4)))
    return tensor.name


def wrong_contents(draw, message):
    typed(message)
    tensor = draw(st.sampled_from([each for each in message.inputs if each.datatype != "FP64"]))
    tensor.contents.fp64_contents.append(0.0)
    return tensor.name


def wrong_count(draw, message):
    if message.model_name == "every":
        typed(message)
        message.inputs.add(name="in_FP16", datatype="FP16", shape=[3, 2])
        return "in_FP16"
    tensor = draw(st.sampled_from(list(typed(message).inputs)))
    elements = getattr(tensor.contents, TYPED[tensor.datatype])
    if draw(st.booleans()):
        elements.append(elements[0])
    else:
        del elements[0]
    return tensor.name


def too_wide(draw, message):
    message.CopyFrom(typed(valid("every")))
    narrow = {"INT8": 2**7, "INT16": -(2**15) - 1, "UINT8": 2**8, "UINT16": 2**16}
    kind = draw(st.sampled_from(list(narrow)))
    [tensor] = [each for each in message.inputs if each.datatype == kind]
    getattr(tensor.contents, TYPED[kind])[draw(st.integers(0, 5))] = narrow[kind]
    return tensor.name


def broken_words(draw, message):
    message.CopyFrom(valid("every"))
    word = draw(
        st.sampled_from([b"\x01\0\0\0\xff", b"\xff\xff\xff\xff", b"\x02\0\0\0\xc3\x28", b"\x05\0\0\0ab", b"\0\0"])
    )
    [at] = [at for at, each in enumerate(message.inputs) if each.datatype == "BYTES"]
    message.raw_input_contents[at] = bytes(20) + word
    return "in_BYTES"


def broken_truth(draw, message):
    message.CopyFrom(valid("every"))
    [at] = [at for at, each in enumerate(message.inputs) if each.datatype == "BOOL"]
    message.raw_input_contents[at] = bytes([0, 1, 0, draw(st.integers(2, 255)), 1, 1])
    return "in_BOOL"


def not_finite(draw, message):
    message.CopyFrom(valid("strict"))
    row = np.zeros(4, np.float32)
    row[draw(st.integers(0, 3))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    message.raw_input_contents[0] = row.tobytes()
    return "x"


def strange_output(draw, message):
    name = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
    message.outputs.add(name=name)
    return name


def repeated_output(draw, message):
    name = {"every": "out_FP32", "sum": "sum"}.get(message.model_name, "score")
    for _ in range(draw(st.integers(2, 4))):
        message.outputs.add(name=name)
    return name


def disagreeing(draw, message):
    message.CopyFrom(valid("sum"))
    shape = draw(st.sampled_from([[3, 5], [2, 4], [1, 1]]))
    message.inputs[1].shape[:] = shape
    message.raw_input_contents[1] = bytes(4 * shape[0] * shape[1])
    return "y"


def wrong_parameter(draw, message):
    name, field, value = draw(
        st.sampled_from(
            [
                ("turnout_unit_id", "int64_param", 5),
                ("turnout_entity_carrier", "bool_param", True),
                ("turnout_entity_", "string_param", "x"),
                ("turnout_event_time_us", "string_param", "now"),
                ("turnout_event_time_us", "uint64_param", 2**64 - 1),
                ("turnout_feature_hour", "string_param", "9"),
                ("turnout_nothing", "string_param", "x"),
                ("sequence_id", "int64_param", 1),
                ("priority", "uint64_param", 1),
                ("timeout", "int64_param", 1),
                ("triton_x", "string_param", "x"),
            ]
        )
    )
    setattr(message.parameters[name], field, value)
    return name


def unserved_extension(draw, message):
    if draw(st.booleans()):
        message.inputs[0].parameters["shared_memory_region"].string_param = "r"
        return "shared_memory_region"
    message.outputs.add(name="score").parameters["classification"].int64_param = 3
    return "classification"


def strange_model(draw, message):
    message.model_name = draw(st.text(max_size=3000).filter(lambda text: text not in {"plain", "sum", "every", "m"}))
    return message.model_name or "model_name"


def strange_version(draw, message):
    numbers = st.sampled_from(["0", "99", "-1", "007", "1.0", "9" * 400, "9" * 18])
    message.model_version = draw(st.one_of(numbers, st.text(min_size=1, max_size=500).map("?".__add__)))
    return message.model_name


def strange_identity(draw, message):
    if draw(st.booleans()):
        message.id = "x" * 1025
        return "id"
    message.parameters["turnout_request_id"].string_param = draw(st.sampled_from(["x" * 129, "a b", "é", "\0"]))
    return "request_id"


def no_entity(_, message):
    message.CopyFrom(pb.ModelInferRequest(model_name="bound"))
    return "flight-delay"


WAYS = [
    value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and name not in {"valid", "typed"}
]


OF_TENSORS = [drop_input, repeat_input, strange_input, other_datatype, wrong_extent, wrong_rank, wrong_length]
OF_TENSORS += [broken_words, broken_truth, not_finite, disagreeing]


def as_predict(message):
    """Return the request of Predict that gives the same tensors."""
    request = prediction_service_pb2.PredictRequest(model=message.model_name)
    for tensor, data in zip(message.inputs, message.raw_input_contents, strict=True):
        number = NUMBER_OF[DTYPE_OF[tensor.datatype]]
        request.inputs.add(name=tensor.name, data_type=number, shape=tensor.shape, data=data)
    return request


@pytest.mark.usefixtures("unchanged")
@settings(
    deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(way=st.sampled_from(WAYS), model=st.sampled_from(["plain", "every", "sum", "m"]), data=st.data())
def test_a_request_that_is_wrong_in_one_way_is_refused_naming_what_is_wrong(stubs, channels, verdict, way, model, data):
    message = valid(model)
    blamed = way(data.draw, message)
    answers = [verdict(stub.ModelInfer, message) for stub in stubs]
    assert answers[0] == answers[1]
    code, facts = answers[0]
    assert code in REFUSED
    shown = set(facts.values()) | {fact.removesuffix("…") for fact in facts.values()}
    assert any(blamed.startswith(each) if len(each) > 50 else blamed == each for each in shown), (blamed, facts)
    if code == "INVALID_ARGUMENT" and "input" in facts:
        assert facts["expected"]
    if way in OF_TENSORS:
        for channel in channels:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            same_code, same_facts = verdict(predict, as_predict(message))
            assert (same_code, same_facts.get("input")) == (code, facts.get("input"))


def test_what_the_ways_begin_with_is_answered(stubs, verdict):
    for model in ("plain", "every", "sum", "m", "strict"):
        assert [verdict(stub.ModelInfer, valid(model)) for stub in stubs] == [("OK", {})] * 2
    for model in ("plain", "sum"):
        assert [verdict(stub.ModelInfer, typed(valid(model))) for stub in stubs] == [("OK", {})] * 2
