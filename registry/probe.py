"""Probe rows: inputs whose outputs are known, replayed at publication and at every load."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import ProbeInvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.generic]]

PROBE_ROWS_MAX = 1024
TOLERANCE_DEFAULT = 1e-4


@dataclass(frozen=True, slots=True)
class Probe:
    """Rows with known outputs.

    Parameters
    ----------
    inputs, outputs
        One array for each of the graph's inputs and for some or all of its outputs; rows come first. Text is an array
        of `str` objects, as ONNX Runtime takes and gives it.
    tolerance
        The largest difference between floating-point numbers that passes, absolute and relative alike.
    """

    inputs: Arrays
    outputs: Arrays
    tolerance: float = TOLERANCE_DEFAULT

    @property
    def rows(self) -> int:
        """How many rows there are; 0 when there is no input with rows."""
        return next((len(each) for each in self.inputs.values() if each.ndim), 0)

    def checked(self) -> Probe:
        """Return the probe itself, or raise ProbeInvalidError unless every input has the same 1 to 1 024 rows."""
        if not self.inputs or not self.outputs:
            raise ProbeInvalidError("a probe needs its inputs and its outputs")
        if not 0 <= self.tolerance < np.inf:
            raise ProbeInvalidError(f"the probe's tolerance {self.tolerance} is not a number from 0 up")
        for name, array in self.inputs.items():
            if array.ndim == 0 or len(array) != self.rows:
                raise ProbeInvalidError(f"the probe's input {name!r} does not have {self.rows} rows", input=name)
        if not 1 <= self.rows <= PROBE_ROWS_MAX:
            raise ProbeInvalidError(f"a probe has 1 to {PROBE_ROWS_MAX} rows, this one {self.rows}", rows=self.rows)
        return self

    def encode(self) -> bytes:
        """Return the probe as an .npz file that holds no pickle."""
        arrays = {f"in.{n}": _plain(name, array) for n, (name, array) in enumerate(self.inputs.items())}
        arrays |= {f"out.{n}": _plain(name, array) for n, (name, array) in enumerate(self.outputs.items())}
        # The names are data: a zip file's member cannot be called anything.
        head = json.dumps({"in": list(self.inputs), "out": list(self.outputs), "tolerance": self.tolerance})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, head=np.frombuffer(head.encode(), dtype=np.uint8), **arrays)
        return buffer.getvalue()


def decode(data: bytes) -> Probe:
    """Return the probe that `Probe.encode` wrote, or raise ProbeInvalidError."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            head = json.loads(file["head"].tobytes())
            inputs, outputs = (
                {name: _objects(file[f"{side}.{n}"]) for n, name in enumerate(head[side])} for side in ("in", "out")
            )
        return Probe(inputs, outputs, float(head["tolerance"]))
    except (ValueError, TypeError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ProbeInvalidError("the stored probe rows cannot be read") from error


def disagreement(expected: Arrays, got: Arrays, tolerance: float) -> str | None:
    """Return what is wrong with the outputs, in one sentence, or None when they are as expected.

    Floating-point numbers pass when |got - expected| <= tolerance * (1 + |expected|); NaN and infinities must be
    equal, and so must integers, booleans and text.
    """
    for name, wanted in expected.items():
        found = got.get(name)
        if found is None:
            return f"there is no output {name!r}"
        if found.shape != wanted.shape:
            return f"the output {name!r} has the shape {list(found.shape)}, expected was {list(wanted.shape)}"
        if found.dtype.kind != wanted.dtype.kind:
            return f"the output {name!r} has the type {found.dtype}, expected was {wanted.dtype}"
        wrong = _differs(wanted, found, tolerance)
        if wrong.any():
            return _worst(name, wanted, found, wrong)
    return None


def _differs(wanted: NDArray[np.generic], found: NDArray[np.generic], tolerance: float) -> NDArray[np.bool_]:
    if wanted.dtype.kind != "f":
        return np.asarray(wanted != found)
    return ~np.isclose(
        found.astype(np.float64), wanted.astype(np.float64), rtol=tolerance, atol=tolerance, equal_nan=True
    )


def _worst(name: str, wanted: NDArray[np.generic], found: NDArray[np.generic], wrong: NDArray[np.bool_]) -> str:
    where = np.argwhere(wrong)
    first = tuple(int(each) for each in where[0])
    rows = len(np.unique(where[:, 0])) if wrong.ndim else 1
    return (
        f"the output {name!r} differs in {rows} of {len(wanted) if wanted.ndim else 1} rows; at {list(first)} it is "
        f"{found[first]!s:.80}, expected was {wanted[first]!s:.80}"
    )


def _plain(name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the array in a dtype that needs no pickle."""
    if array.dtype.kind != "O":
        return array
    if any(not isinstance(each, str) or each.endswith("\0") for each in array.flat):
        raise ProbeInvalidError(f"the probe's {name!r} holds something that is not text, or text that ends with NUL")
    return array.astype(np.str_)


def _objects(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return array.astype(object) if array.dtype.kind == "U" else array
