"""Reading off the first bytes of a request which model it is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inference import grpc_service_pb2
from gateway.rpc.named import model_named_by
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.tensor.v1 import tensor_pb2

MODELS = st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True)
PADDING = st.sampled_from([0, 100, 1_000, 100_000])


@given(MODELS, PADDING)
@pytest.mark.parametrize("message", [pb.PredictRequest, pb.BatchPredictRequest])
def test_both_kinds_of_predicting_name_it_first(message, model, padding):
    request = message(model=model, inputs=[tensor_pb2.Tensor(name="x", data=bytes(padding))])
    assert model_named_by(request.SerializeToString()) == model


@given(MODELS, PADDING)
def test_so_does_the_open_inference_protocol(model, padding):
    request = grpc_service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[bytes(padding)])
    assert model_named_by(request.SerializeToString()) == model


@given(MODELS, PADDING)
def test_a_message_of_a_stream_holds_a_request_that_does(model, padding):
    request = pb.PredictRequest(model=model, inputs=[tensor_pb2.Tensor(name="x", data=bytes(padding))])
    streamed = pb.StreamPredictRequest(request=request).SerializeToString()
    assert model_named_by(streamed, nested=True) == model


@given(st.binary(max_size=20), st.booleans())
def test_any_bytes_name_some_model_or_none(payload, nested):
    assert isinstance(model_named_by(payload, nested=nested), str)
