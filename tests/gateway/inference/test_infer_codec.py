from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from gateway.errors import InputMismatchError, RequestMalformedError, VersionNotServedError
from gateway.inference import grpc_service_pb2 as pb
from gateway.journal.record import Output
from gateway.models.layout import Layout
from gateway.models.session import Session
from gateway.models.slots import Slot, VersionKey
from gateway.rpc import infer_codec
from gateway.rpc.dtypes import INFER_NAME_OF
from gateway.rpc.infer_tensors import tensors_of
from gateway.serving.request import Request
from gateway.serving.table import Target
from gateway.transport.port import Call

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)
NUMBERS = [name for name in INFER_NAME_OF if name != "string"]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("session") / "same.onnx"
    onnx.save(model, path)
    return Session(path)


def decode(message, **call):
    return infer_codec.decode(Call(0, message.SerializeToString(), **call), 1_700_000_000_000_000)


def asked(**fields):
    return pb.ModelInferRequest(model_name="m", **fields)


@settings(deadline=None, max_examples=200)
@given(
    key=st.builds(VersionKey, TEXT.filter(bool), st.integers(1, 10**15)),
    arm=st.one_of(st.just(("", "")), st.tuples(TEXT.filter(bool), TEXT)),
    echo=TEXT,
    request_id=st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=128),
    outputs=st.lists(
        st.builds(Output, TEXT, st.sampled_from(list(INFER_NAME_OF)), SHAPES, st.binary(max_size=300)),
        max_size=3,
        unique_by=lambda output: output.name,
    ),
    data=st.data(),
)
def test_a_reply_is_what_the_protocol_reads_back_field_by_field(session, key, arm, echo, request_id, outputs, data):
    slot = Slot(key, digest="", session=session, plan=None, feature_set="", feature_input="", stackable=True)
    target = Target(slot=slot, experiment=arm[0], variant=arm[1])
    request = Request(request_id=request_id, model=key.model, deadline=0.0)
    request.target = Target(slot=slot, experiment=arm[0], variant=arm[1], infer_head=infer_codec.head_of(target))
    request.layout = Layout(
        [(each.name, each.dtype, each.shape) for each in outputs], [len(each.data) for each in outputs]
    )
    request.data = tuple(each.data for each in outputs)
    request.echo = echo
    names = [output.name for output in outputs]
    request.wanted = tuple(data.draw(st.permutations(names))) if names and data.draw(st.booleans()) else ()
    in_order = [outputs[names.index(name)] for name in request.wanted or names]
    expected = pb.ModelInferResponse(
        model_name=key.model,
        model_version=str(key.version),
        id=echo,
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(
                name=each.name, datatype=INFER_NAME_OF[each.dtype], shape=each.shape
            )
            for each in in_order
        ],
        raw_output_contents=[each.data for each in in_order],
    )
    expected.parameters["turnout_request_id"].string_param = request_id
    if arm[0]:
        expected.parameters["turnout_experiment"].string_param = arm[0]
        expected.parameters["turnout_variant"].string_param = arm[1]
    assert pb.ModelInferResponse.FromString(infer_codec.encode(request)) == expected
    streamed = pb.ModelStreamInferResponse.FromString(infer_codec.encode_streamed(request))
    assert (streamed.error_message, streamed.infer_response) == ("", expected)


def contents(dtype, values):
    fields = {"bool": "bool", "int64": "int64", "uint64": "uint64", "float32": "fp32", "float64": "fp64"}
    fields |= dict.fromkeys(("int8", "int16", "int32"), "int") | dict.fromkeys(("uint8", "uint16", "uint32"), "uint")
    return pb.InferTensorContents(**{f"{fields[dtype]}_contents": values})


@settings(deadline=None, max_examples=200)
@given(dtype=st.sampled_from(NUMBERS), shape=SHAPES, seed=st.integers(0, 2**32 - 1))
def test_typed_and_raw_elements_become_the_same_tensor(dtype, shape, seed):
    rng = np.random.default_rng(seed)
    array = np.frombuffer(rng.bytes(np.dtype(dtype).itemsize * int(np.prod(shape))), dtype).reshape(shape)
    if dtype == "bool":
        array = rng.random(shape) < 0.5
    array = np.nan_to_num(array) if array.dtype.kind == "f" else array
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype=INFER_NAME_OF[dtype], shape=shape)
    [raw] = tensors_of(asked(inputs=[tensor], raw_input_contents=[array.tobytes()]))
    assert (raw.name, raw.dtype, raw.shape, raw.data) == ("x", dtype, shape, array.tobytes())
    if dtype == "float16":
        return
    tensor.contents.CopyFrom(contents(dtype, array.ravel().tolist()))
    [typed] = tensors_of(asked(inputs=[tensor]))
    assert (typed.name, typed.dtype, typed.shape, typed.data) == ("x", dtype, shape, raw.data)


@settings(deadline=None)
@given(st.lists(st.text(max_size=10), min_size=1, max_size=5))
def test_text_travels_as_bytes_behind_their_lengths(items):
    encoded = [item.encode("utf-8", "surrogatepass") for item in items]
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="BYTES", shape=[len(items)])
    tensor.contents.bytes_contents.extend(encoded)
    [given_tensor] = tensors_of(asked(inputs=[tensor]))
    assert given_tensor.data == b"".join(len(item).to_bytes(4, "little") + item for item in encoded)


def refused(error, message, **call):
    with pytest.raises(error) as caught:
        decode(message, **call)
    return caught.value


def parameters(**values):
    message = asked()
    for name, value in values.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}[type(value)]
        setattr(message.parameters[name], kind, value)
    return message


def test_parameters_are_the_fields_of_predict():
    request = decode(
        parameters(
            turnout_entity_carrier="UA",
            turnout_entity_tail_number="N123",
            turnout_attribute_country="de",
            turnout_unit_id="u",
            turnout_request_id="r",
            turnout_event_time_us=-5,
            **{"turnout_feature_flights.delay": 1.5, "turnout_feature_hour": 7},
        )
    )
    assert request.entities == {"carrier": "UA", "tail_number": "N123"}
    assert request.attributes == {"country": "de"}
    assert request.features == {"flights.delay": 1.5, "hour": 7.0}
    assert (request.unit_id, request.request_id, request.event_time_us) == ("u", "r", -5)


def test_metadata_says_the_same_and_counts_less_than_parameters():
    metadata = [
        ("user-agent", "x"),
        ("turnout-actor", "me"),
        ("turnout-entity-tail_number", "N123"),
        ("turnout-attribute-country", "de"),
        ("turnout-feature-flights.delay", "1.5"),
        ("turnout-unit-id", "from metadata"),
        ("turnout-request-id", "r"),
        ("turnout-event-time-us", "7"),
    ]
    request = decode(parameters(turnout_unit_id="from parameters"), metadata=metadata)
    assert (request.entities, request.attributes) == ({"tail_number": "N123"}, {"country": "de"})
    assert request.features == {"flights.delay": 1.5}
    assert (request.unit_id, request.request_id, request.event_time_us) == ("from parameters", "r", 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("turnout_entity_carrier", 1),
        ("turnout_entity_", "x"),
        ("turnout_entity", "x"),
        ("turnout_attribute_country", True),
        ("turnout_feature_hour", "7"),
        ("turnout_feature_hour", True),
        ("turnout_unit_id", 1.0),
        ("turnout_request_id", 1),
        ("turnout_event_time_us", 1.0),
        ("turnout_event_time_us", True),
        ("turnout_event_time_us", "1"),
        ("turnout_typo", "x"),
        ("sequence_id", 5),
        ("priority", 1),
        ("timeout", 1000),
        ("triton_anything", "x"),
    ],
)
def test_parameters_that_say_what_cannot_be_taken_are_refused_by_name(name, value):
    assert refused(RequestMalformedError, parameters(**{name: value})).facts["parameter"] == name


@pytest.mark.parametrize(
    "item",
    [("turnout-event-time-us", "soon"), ("turnout-feature-x", "many"), ("turnout-typo", "x"), ("turnout-x-bin", b"x")],
)
def test_metadata_that_says_what_cannot_be_taken_is_refused_by_name(item):
    assert refused(RequestMalformedError, asked(), metadata=[item]).facts["parameter"] == item[0]


def test_parameters_that_ask_for_nothing_and_those_of_others_are_not_read():
    request = decode(parameters(sequence_id=0, priority=0, sequence_start=False, anything="x"))
    assert (request.entities, request.attributes) == ({}, {})


@pytest.mark.parametrize(
    ("text", "pin"), [("", (0, "")), ("7", (7, "")), ("champion", (0, "champion")), ("-1", (0, "-1")), ("٣", (0, "٣"))]
)
def test_a_model_version_is_a_number_an_alias_or_nothing(text, pin):
    request = decode(asked(model_version=text))
    assert (request.version, request.alias) == pin


@pytest.mark.parametrize("text", ["0", "007", "9" * 19, "9" * 10_000])
def test_numbers_that_no_version_has_are_not_found(text):
    refused(VersionNotServedError, asked(model_version=text))


@pytest.mark.parametrize("payload", [b"\xff", b"\x0a\x05ab", b"\x0a\x01\xff"])
def test_what_is_no_request_is_refused(payload):
    with pytest.raises(RequestMalformedError):
        infer_codec.decode(Call(0, payload), 0)


def test_bf16_is_refused_with_the_reason():
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="BF16", shape=[1])
    error = refused(InputMismatchError, asked(inputs=[tensor], raw_input_contents=[b"\0\0"]))
    assert "NumPy has no such type" in error.message
    assert error.facts["input"] == "x"


def test_a_shape_of_a_million_dimensions_is_refused_at_once():
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="INT8", shape=[2**62] * 1_000_000)
    tensor.contents.int_contents.append(1)
    assert refused(InputMismatchError, asked(inputs=[tensor])).facts["expected"] == "64"
