"""Whatever fits the protocol's fields, to both transports: an answer or a refusal, and the same one."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.inference import grpc_service_pb2 as pb
from gateway.rpc.dtypes import DTYPE_OF

NAMES = st.sampled_from(["", "x", "y", "plain", "sum", "every", "bound", "1", "champion", "in_FP32", "score"])
TEXTS = st.one_of(NAMES, st.text(max_size=30))
PARAMETERS = st.dictionaries(
    st.one_of(TEXTS, st.sampled_from(["turnout_unit_id", "turnout_entity_carrier", "turnout_feature_hour"])),
    st.one_of(
        st.builds(pb.InferParameter),
        st.builds(pb.InferParameter, bool_param=st.booleans()),
        st.builds(pb.InferParameter, int64_param=st.integers(-(2**63), 2**63 - 1)),
        st.builds(pb.InferParameter, string_param=TEXTS),
        st.builds(pb.InferParameter, double_param=st.floats()),
        st.builds(pb.InferParameter, uint64_param=st.integers(0, 2**64 - 1)),
    ),
    max_size=3,
)
CONTENTS = st.builds(
    pb.InferTensorContents,
    bool_contents=st.lists(st.booleans(), max_size=4),
    int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    fp32_contents=st.lists(st.floats(width=32), max_size=4),
    bytes_contents=st.lists(st.binary(max_size=5), max_size=4),
)
TENSORS = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=TEXTS,
    datatype=st.one_of(st.sampled_from([*DTYPE_OF, "BF16"]), TEXTS),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 4), max_size=4),
    parameters=PARAMETERS,
    contents=st.none() | CONTENTS,
)
REQUESTS = st.builds(
    pb.ModelInferRequest,
    model_name=TEXTS,
    model_version=TEXTS,
    id=TEXTS,
    parameters=PARAMETERS,
    inputs=st.lists(TENSORS, max_size=3),
    outputs=st.lists(
        st.builds(pb.ModelInferRequest.InferRequestedOutputTensor, name=TEXTS, parameters=PARAMETERS), max_size=2
    ),
    raw_input_contents=st.lists(st.binary(max_size=40), max_size=3),
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS)
def test_whatever_is_asked_the_answer_is_one_or_a_refusal(stubs, verdict, message):
    native, grpcio = (verdict(stub.ModelInfer, message)[0] for stub in stubs)
    assert native == grpcio  # the facts may differ: a map's entries come in any order
    assert native in {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}
