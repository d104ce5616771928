from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from turnout import tensors
from turnout.tensor.v1 import tensor_pb2

NUMERIC = [name for name in tensors.DTYPES if name != "string"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@given(st.data(), st.sampled_from(NUMERIC), st.sampled_from("<>="))
def test_numbers_come_back_bit_by_bit(data, name, order):
    array = data.draw(hnp.arrays(np.dtype(name).newbyteorder(order), SHAPES))
    tensor = tensors.to_tensor("x", array)
    back = tensors.to_array(tensor_pb2.Tensor.FromString(tensor.SerializeToString()))
    assert (back.dtype.name, back.shape) == (name, array.shape)
    assert back.tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
    assert tensors.dtype_name(tensor.data_type) == name


@given(hnp.arrays(np.dtype(object), SHAPES, elements=st.text(st.characters(exclude_categories=["Cs"]), max_size=8)))
def test_text_comes_back(array):
    back = tensors.to_array(tensors.to_tensor("x", array))
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


def test_text_travels_as_lengths_and_utf8():
    tensor = tensors.to_tensor("x", ["é", ""])
    assert tensor.data == b"\x02\x00\x00\x00\xc3\xa9\x00\x00\x00\x00"


def test_a_view_with_strides_is_sent_row_by_row():
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    assert tensors.to_array(tensors.to_tensor("x", array)).tolist() == array.tolist()


def test_what_is_read_cannot_be_written():
    array = tensors.to_array(tensors.to_tensor("x", np.ones(3)))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 2


@pytest.mark.parametrize(
    "value", [np.array([1j]), np.array([b"x"]), np.array(["2020"], "M8[D]"), [None], ["a", 1.5, None]]
)
def test_what_no_model_takes_is_refused(value):
    with pytest.raises(tensors.TensorError):
        tensors.to_tensor("x", np.asarray(value, dtype=object) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    "fields",
    [
        {"data_type": 12, "shape": [2], "data": bytes(15)},
        {"data_type": 12, "shape": [-1], "data": b""},
        {"data_type": 0, "shape": [1], "data": b"x"},
        {"data_type": 99, "shape": [1], "data": b"x"},
        {"data_type": 13, "shape": [1], "data": b""},
        {"data_type": 13, "shape": [1], "data": b"\x02\x00\x00\x00a"},
        {"data_type": 13, "shape": [1], "data": b"\x01\x00\x00\x00\xff"},
        {"data_type": 13, "shape": [1], "data": b"\x00\x00\x00\x00\x00"},
        {"data_type": 13, "shape": [10**15], "data": b"\x00\x00\x00\x00"},
        {"data_type": 13, "shape": [0, 2**62, 2**62]},
        {"data_type": 11, "shape": [0, 2**62, 2**62]},
        {"data_type": 11, "shape": [1] * 65, "data": b"\x00\x00\x00\x00"},
    ],
)
def test_a_malformed_tensor_is_refused(fields):
    with pytest.raises(tensors.TensorError):
        tensors.to_array(tensor_pb2.Tensor(name="x", **fields))
