"""A set's transforms as nodes in front of a graph, which then takes what is given and stored, and needs no gateway.

The new input is float64, as rows are in the gateway, whatever the graph took: a transform is computed before it is
rounded. Constants are made from the number of rows, so that no optimizer sees them: ONNX Runtime would turn
``1 / x * y`` into ``y / x``, and drop the ``+ 0`` that turns a negative zero into a positive one.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from features.expression import Applied, Constant, Operand
from features.transforms import is_computed
from trainer.errors import ExportFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.expression import Expression
    from features.transforms import Transform

RAW_INPUT = "raw_features"
_OPSET_MIN = 16
_PREFIX = "turnout_transform_"
_NODES = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "negate": "Neg",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "equal": "Equal",
    "and": "And",
    "or": "Or",
    "not": "Not",
    "is_missing": "IsNaN",
    "abs": "Abs",
    "floor": "Floor",
    "ceil": "Ceil",
    "sqrt": "Sqrt",
    "log": "Log",
    "exp": "Exp",
}


def with_transforms(
    content: bytes, feature_input: str, *, features: Sequence[str], raw: Sequence[str], transforms: Sequence[Transform]
) -> bytes:
    """Return a graph that takes the raw columns and gives what the old one gives of the features.

    Parameters
    ----------
    content
        An ONNX file.
    feature_input
        Its input of the features: float32 or float64 [rows, features].
    features
        The columns that it takes, `transform.name` where they are computed.
    raw
        The columns that the new graph's input `raw_features`, float64 [rows, raw], has.
    transforms
        In their order.

    Raises
    ------
    ExportFailedError
        The graph is of an older format than the nodes need, or has a name of theirs.
    """
    model = onnx.load_from_string(content)
    opset = max((each.version for each in model.opset_import if each.domain in {"", "ai.onnx"}), default=0)
    if opset < _OPSET_MIN:
        raise ExportFailedError(f"transforms need the operator set {_OPSET_MIN}, and the graph is of {opset}")
    graph = model.graph
    old = next((port for port in graph.input if port.name == feature_input), None)
    if old is None or RAW_INPUT in {port.name for port in graph.input}:
        raise ExportFailedError(f"the graph has no input {feature_input!r}, or one called {RAW_INPUT!r}")
    nodes = _Nodes(raw)
    for transform in transforms:
        nodes.add_transform(transform)
    nodes.join(features, feature_input, old.type.tensor_type.elem_type)
    new = helper.make_tensor_value_info(RAW_INPUT, TensorProto.DOUBLE, [None, len(raw)])
    inputs = [new if port is old else port for port in graph.input]
    del graph.input[:]
    graph.input.extend(inputs)
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes.nodes, *kept])
    graph.initializer.extend(nodes.initializers)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ExportFailedError(f"the graph does not take transforms: {error}") from error
    written: bytes = model.SerializeToString()
    return written


class _Nodes:
    """Grows the nodes that stand in front; each value is a column, float64 or bool [rows, 1]."""

    def __init__(self, raw: Sequence[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._raw = {name: place for place, name in enumerate(raw)}
        self._columns: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self._count = 0
        self._column_shape = ""

    def add_transform(self, transform: Transform) -> None:
        """Compute a transform; those after it may take it."""
        value = self._computed(transform.tree)
        if transform.type == "float32":
            value = self._rounded(value)
        elif transform.type == "bool":
            value = self._cast(value, TensorProto.DOUBLE)
        self._columns[transform.column] = value

    def join(self, features: Sequence[str], name: str, element_type: int) -> None:
        """Put the features side by side under the name and in the type that the graph takes."""
        parts = []
        for computed, run in groupby(features, is_computed):
            if computed:
                parts += [self._columns[feature] for feature in run]
            else:
                parts.append(self._gathered([self._raw[feature] for feature in run]))
        joined = self._node("Concat", parts, axis=1)
        self.nodes.append(helper.make_node("Cast", [joined], [name], to=element_type))

    def _computed(self, expression: Expression) -> str:
        if isinstance(expression, Constant):
            return self._constant(expression.value)
        if isinstance(expression, Operand):
            if expression.name not in self._columns:
                self._columns[expression.name] = self._gathered([self._raw[expression.name]])
            return self._columns[expression.name]
        return self._applied(expression)

    def _applied(self, expression: Applied) -> str:
        name = expression.operation
        values = [self._computed(argument) for argument in expression.arguments]
        if name in _NODES:
            return self._node(_NODES[name], values)
        first, *others = values
        if name == "not_equal":
            return self._node("Not", [self._node("Equal", values)])
        if name == "if":
            return self._where(*values)
        if name == "float32":
            return self._rounded(first)
        if name == "clip":
            low, high = others
            return self._chosen(self._chosen(first, low, "Greater"), high, "Less")
        for other in others:
            if name == "coalesce":
                first = self._where(self._node("IsNaN", [first]), other, first)
            else:
                first = self._chosen(first, other, "Less" if name == "min" else "Greater")
        return first

    def _chosen(self, first: str, other: str, better: str) -> str:
        """Return the lesser or the greater of two, the first where they are equal, NaN where one is."""
        nan = self._constant(float("nan"))
        rest = self._node("Where", [self._node(better, [other, first]), other, nan])
        return self._where(self._node(f"{better}OrEqual", [first, other]), first, rest)

    def _where(self, condition: str, one: str, other: str) -> str:
        """Return the one or the other; a zero that is chosen is positive, whatever a runtime makes of its sign."""
        return self._node("Add", [self._node("Where", [condition, one, other]), self._constant(0.0)])

    def _rounded(self, value: str) -> str:
        return self._cast(self._cast(value, TensorProto.FLOAT), TensorProto.DOUBLE)

    def _cast(self, value: str, element_type: int) -> str:
        return self._node("Cast", [value], to=element_type)

    def _gathered(self, places: list[int]) -> str:
        return self._node("Gather", [RAW_INPUT, self._stored(np.array(places, np.int64))], axis=1)

    def _constant(self, value: float) -> str:
        if repr(value) not in self._constants:
            if not self._column_shape:
                one = self._node("Gather", [RAW_INPUT, self._stored(np.array([0], np.int64))], axis=1)
                self._column_shape = self._node("Shape", [one])
            tensor = numpy_helper.from_array(np.array([value], np.float64))
            self._constants[repr(value)] = self._node("ConstantOfShape", [self._column_shape], value=tensor)
        return self._constants[repr(value)]

    def _stored(self, array: np.ndarray) -> str:
        name = self._name()
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def _node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = self._name()
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"{_PREFIX}{self._count}"
