import onnx
import pytest
from onnx import TensorProto, helper

from registry.errors import (
    ExternalDataError,
    GraphInvalidError,
    GraphUnreadableError,
    OpsetUnknownError,
    OutputNotTensorError,
    TensorTypeError,
)
from registry.records import Signature, TensorSpec
from registry.signature import read_signature


@pytest.fixture
def read(tmp_path):
    """Return what reads the signature of bytes."""

    def reading(data):
        path = tmp_path / "model.onnx"
        path.write_bytes(data)
        return read_signature(path)

    return reading


def test_the_signature_is_what_the_graph_declares(read, make_graph):
    expected = Signature((TensorSpec("x", "float32", (-1, 3)),), (TensorSpec("y", "float32", (-1, 1)),))
    assert read(make_graph()) == expected


def test_constants_that_old_files_list_as_inputs_are_none(read, make_graph):
    def old(model):
        model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 1]))

    assert [spec.name for spec in read(make_graph(old)).inputs] == ["x"]


def test_a_file_that_is_cut_anywhere_is_unreadable(read, make_graph):
    data = make_graph()
    for length in range(len(data)):
        with pytest.raises(GraphUnreadableError):
            read(data[:length])


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"PK\x03\x04 not onnx", b"{}"])
def test_what_is_no_onnx_is_unreadable(read, data):
    with pytest.raises(GraphUnreadableError):
        read(data)


def test_an_unknown_opset_is_refused_with_the_newest_one_known(read, make_graph):
    with pytest.raises(OpsetUnknownError, match="opset 999") as refused:
        read(make_graph(opset=999))
    assert int(refused.value.facts["known_max"]) >= 17


def test_an_unknown_format_is_refused(read, make_graph):
    def newer(model):
        model.ir_version = 999

    with pytest.raises(OpsetUnknownError, match="format 999"):
        read(make_graph(newer))


def outside(tensor):
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"


def test_external_data_is_refused(read, make_graph):
    with pytest.raises(ExternalDataError, match=r"\.\./etc/passwd"):
        read(make_graph(lambda model: outside(model.graph.initializer[0])))


def test_external_data_inside_a_branch_is_refused(read, make_graph):
    def branching(model):
        constant = helper.make_tensor("c", TensorProto.FLOAT, [1], [1.0])
        outside(constant)
        branch = helper.make_graph(
            [helper.make_node("Constant", [], ["b"], value=constant)],
            "branch",
            [],
            [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])],
        )
        model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))

    with pytest.raises(ExternalDataError):
        read(make_graph(branching))


def test_zipmap_is_refused_with_the_advice_that_helps(read, zipmap_graph):
    with pytest.raises(OutputNotTensorError, match="zipmap=False"):
        read(zipmap_graph)


def test_a_sequence_as_an_output_is_refused(read, make_graph):
    def sequence(model):
        model.graph.node.append(helper.make_node("SequenceConstruct", ["y"], ["s"]))
        model.graph.output.append(
            helper.make_value_info(
                "s", helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
            )
        )

    with pytest.raises(OutputNotTensorError):
        read(make_graph(sequence))


def test_a_type_that_is_not_served_is_refused(read, make_graph):
    def complex_input(model):
        model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.COMPLEX64, [1]))

    with pytest.raises(TensorTypeError, match="COMPLEX64"):
        read(make_graph(complex_input))


def test_an_operator_that_does_not_exist_is_refused(read, make_graph):
    def unknown(model):
        model.graph.node[0].op_type = "MatMulPlus"

    with pytest.raises(GraphInvalidError, match="MatMulPlus"):
        read(make_graph(unknown))


def test_a_real_file_written_by_onnx_is_read(tmp_path, make_graph):
    path = tmp_path / "saved.onnx"
    onnx.save_model(onnx.load_model_from_string(make_graph()), path)
    assert read_signature(path).inputs[0].shape == (-1, 3)
