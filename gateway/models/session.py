"""The one place that speaks to ONNX Runtime."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# ONNX Runtime's Linux wheels send telemetry unless this stands before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from gateway.errors import VersionUnloadableError
from gateway.models.layout import Layouts
from registry.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

RUNTIME_VERSION: str = ort.__version__
PROVIDERS: tuple[str, ...] = tuple(ort.get_available_providers())
"""The execution providers that this build of ONNX Runtime has."""

_OPTIMIZATIONS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(string)": "string",
}


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of a session.

    Attributes
    ----------
    name
        The name in the graph.
    dtype
        The numpy name of the element type; ``string`` for text.
    shape
        The declared extents; -1 where any extent is taken.
    symbols
        The names of the extents that are -1, for example ``N``; empty where there is none.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    symbols: tuple[str, ...] = ()


class Session:
    """A graph that is ready to run, without spinning threads.

    Parameters
    ----------
    path
        The ONNX file. Loading from a path keeps the interpreter free; loading from bytes does not.
    deployment
        Its settings.

    Raises
    ------
    VersionUnloadableError
        When ONNX Runtime does not take the file.
    """

    __slots__ = ("_inner", "_output_names", "_run", "input_of", "inputs", "layouts", "output_names", "outputs")

    def __init__(self, path: Path, deployment: Deployment | None = None) -> None:
        deployment = deployment or Deployment()
        options = ort.SessionOptions()
        options.intra_op_num_threads = deployment.intra_op_threads
        options.inter_op_num_threads = deployment.inter_op_threads
        options.execution_mode = (
            ort.ExecutionMode.ORT_PARALLEL if deployment.inter_op_threads > 1 else ort.ExecutionMode.ORT_SEQUENTIAL
        )
        options.graph_optimization_level = _OPTIMIZATIONS[deployment.graph_optimization]
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        # Without the arena a session's memory goes back when it is freed; small models do not miss it.
        options.enable_cpu_mem_arena = deployment.arena
        options.log_severity_level = 4
        try:
            self._inner: Any = ort.InferenceSession(str(path), options, providers=list(deployment.execution_providers))
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            raise VersionUnloadableError(f"ONNX Runtime refuses the file: {_first_line(error)}") from error
        self.inputs = tuple(_port(node) for node in self._inner.get_inputs())
        self.outputs = tuple(_port(node) for node in self._inner.get_outputs())
        self.input_of = {spec.name: spec for spec in self.inputs}
        self.output_names = tuple(spec.name for spec in self.outputs)
        self._output_names = list(self.output_names)
        self.layouts = Layouts([(spec.name, spec.dtype) for spec in self.outputs])
        # The public run() checks names and copies lists first, which costs as much as a small model. Feeds are made
        # from the signature here, so the check is not needed.
        self._run: Any = getattr(self._inner, "_sess").run  # noqa: B009  (a private name, asked for on purpose)

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs in the order of the graph.

        Raises whatever ONNX Runtime raises when the graph fails on these inputs.
        """
        outputs: list[np.ndarray] = self._run(self._output_names, feeds, None)
        return outputs

    def close(self) -> None:
        """Free the graph's memory, which holds the interpreter for its time; nothing runs afterwards."""
        self._run = None
        self._inner = None


def _port(node: Any) -> Port:
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        raise VersionUnloadableError(
            f"`{node.name}` is {node.type}; only dense tensors are served (export classifiers with zipmap off)"
        )
    return Port(
        node.name,
        dtype,
        tuple(extent if isinstance(extent, int) else -1 for extent in node.shape),
        tuple(extent if isinstance(extent, str) else "" for extent in node.shape),
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
