import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.plan import compile_plan
from gateway.journal.record import Output
from gateway.models.layout import Layout
from gateway.models.session import Session
from gateway.models.slots import Slot, VersionKey
from gateway.rpc import prediction_codec
from gateway.rpc.dtypes import NUMBER_OF
from gateway.serving.identity import time_ordered_id, time_ordered_ids
from gateway.serving.request import Request
from gateway.serving.table import Target
from gateway.transport.port import Call
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.tensor.v1 import tensor_pb2

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TIME_US = st.integers(0, (1 << 48) * 1000 - 1)

OUTPUTS = st.builds(
    Output,
    name=NAMES,
    dtype=st.sampled_from(sorted(NUMBER_OF)),
    shape=st.lists(st.integers(0, 1 << 40), max_size=4).map(tuple),
    data=st.binary(max_size=300) | st.sampled_from([127, 128, 16_383, 16_384, 1 << 21]).map(bytes),
)
STATUSES = st.integers(1, max(pb.ViewStatus.values()))
AGES = st.integers(-1, 300) | st.sampled_from([16_383, 16_384, (1 << 28) - 1, 1 << 28, 1 << 32, (1 << 63) // 1000])
VIEWS = st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True)
READINGS = st.lists(st.tuples(VIEWS, STATUSES, AGES), max_size=5, unique_by=lambda each: each[0])


@pytest.fixture(scope="session")
def session(tmp_path_factory, onnx_bytes):
    path = tmp_path_factory.mktemp("codec") / "model.onnx"
    path.write_bytes(onnx_bytes(2.0))
    return Session(path)


def plan_of(views):
    """Return the plan of a set that takes one feature of each view."""
    return compile_plan(
        {
            "set": "s",
            "digest": "",
            "features": [f"{name}.f" for name in views],
            "requests": [],
            "views": [
                {
                    "name": name,
                    "digest": "",
                    "schema_id": 1,
                    "join_keys": ["key"],
                    "ttl_us": 0,
                    "features": ["f"],
                    "defaults": [0.0],
                }
                for name in views
            ],
        }
    )


def answered(session, *, key, arm, outputs, readings, request_id):
    """Return a request as the pipeline leaves it."""
    experiment, variant = arm
    slot = Slot(
        key,
        digest="",
        session=session,
        plan=plan_of([name for name, _, _ in readings]) if readings else None,
        feature_set="",
        feature_input="",
        stackable=True,
    )
    target = Target(slot=slot, experiment=experiment, variant=variant)
    request = Request(request_id=request_id, model=key.model, deadline=0.0)
    request.target = Target(slot=slot, experiment=experiment, variant=variant, head=prediction_codec.head_of(target))
    request.layout = Layout(
        [(each.name, each.dtype, each.shape) for each in outputs], [len(each.data) for each in outputs]
    )
    request.data = tuple(each.data for each in outputs)
    request.view_status = bytes(status for _, status, _ in readings)
    request.view_age_ms = [age for _, _, age in readings]
    return request


@settings(deadline=None, max_examples=300)
@given(
    key=st.builds(VersionKey, NAMES, st.integers(1, (1 << 63) - 1)),
    arm=st.tuples(NAMES, NAMES),
    outputs=st.lists(OUTPUTS, max_size=4),
    readings=READINGS,
    request_id=ASCII,
)
def test_a_reply_is_what_the_contract_reads_back_field_by_field(session, key, arm, outputs, readings, request_id):
    request = answered(session, key=key, arm=arm, outputs=outputs, readings=readings, request_id=request_id)
    encoded = prediction_codec.encode(request)
    expected = pb.PredictResponse(
        request_id=request_id,
        model=key.model,
        version=key.version,
        experiment=arm[0],
        variant=arm[1],
        outputs=[
            tensor_pb2.Tensor(name=each.name, data_type=NUMBER_OF[each.dtype], shape=each.shape, data=each.data)
            for each in outputs
        ],
        feature_status=[
            pb.ViewReading(view=view, status=status, age_ms=None if age < 0 else age) for view, status, age in readings
        ],
    )
    assert pb.PredictResponse.FromString(encoded) == expected
    # A second time, from what is remembered.
    assert prediction_codec.encode(request) == encoded


TENSORS = st.builds(
    tensor_pb2.Tensor,
    name=NAMES,
    data_type=st.sampled_from(tensor_pb2.DataType.values()),
    shape=st.lists(INT64, max_size=4),
    data=st.binary(max_size=64),
)
PINS = st.sampled_from([{}, {"version": 1}, {"version": (1 << 63) - 1}, {"alias": "challenger"}])
MAPS = st.dictionaries(NAMES, NAMES, max_size=4)


@settings(deadline=None)
@given(
    fields=st.fixed_dictionaries(
        {
            "model": NAMES.filter(bool),
            "entities": MAPS,
            "unit_id": NAMES,
            "request_id": ASCII,
            "attributes": MAPS,
            "inputs": st.lists(TENSORS, max_size=3),
            "features": st.dictionaries(NAMES, st.floats(allow_nan=False), max_size=4),
        },
        optional={"event_time_us": INT64},
    ),
    pin=PINS,
    deadline=st.none() | st.floats(0, 1e9),
)
def test_a_call_is_read_field_by_field(fields, pin, deadline):
    message = pb.PredictRequest(**fields, **pin)
    request = prediction_codec.decode(Call(0, message.SerializeToString(), deadline=deadline), now_us=1)
    assert {name: getattr(request, name) for name in ("model", "entities", "unit_id", "request_id", "attributes")} == {
        name: fields[name] for name in ("model", "entities", "unit_id", "request_id", "attributes")
    }
    assert (request.version, request.alias) == (pin.get("version", 0), pin.get("alias", ""))
    assert request.event_time_us == fields.get("event_time_us")
    assert (request.features or {}) == fields["features"]
    assert [(each.name, each.shape, each.data) for each in request.tensors or ()] == [
        (each.name, tuple(each.shape), each.data) for each in fields["inputs"]
    ]
    assert [NUMBER_OF.get(each.dtype, 0) for each in request.tensors or ()] == [
        each.data_type for each in fields["inputs"]
    ]
    assert request.deadline == deadline


@given(now_us=TIME_US)
def test_a_made_request_id_is_a_version_7_uuid_of_its_time(now_us):
    made = uuid.UUID(time_ordered_id(now_us))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert str(made) == time_ordered_id(now_us)[:19] + str(made)[19:]
    assert made.int >> 80 == now_us // 1000


@given(st.lists(TIME_US, min_size=2, max_size=20, unique=True))
def test_made_request_ids_sort_by_their_microsecond(times_us):
    made = {now_us: time_ordered_id(now_us) for now_us in times_us}
    assert sorted(made.values()) == [made[now_us] for now_us in sorted(times_us)]


def test_made_request_ids_of_one_instant_differ():
    assert len({time_ordered_id(0) for _ in range(100_000)}) == 100_000


def test_ids_made_together_stand_in_order_between_those_made_one_by_one():
    ids = [time_ordered_id(0), *time_ordered_ids(0, 256), time_ordered_id(0)]
    assert ids == sorted(set(ids))


def test_numpy_names_every_number_type_of_the_contract():
    assert all(np.dtype(name).name == name for name in NUMBER_OF if name not in {"string", "bool"})
