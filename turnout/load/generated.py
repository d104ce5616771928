"""Requests that are made up of what a model takes, the same for the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from turnout import tensors
from turnout.prediction import Ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from turnout.load.shape import Shape
    from turnout.tensor.v1 import tensor_pb2

_TEXTS = ("", "a", "north", "großer Ort", "x" * 40)
_WHOLE_MAX = 100


class CannotMakeUpError(ValueError):
    """What a model takes is not enough to make requests up."""


def generate(
    shape: Shape,
    *,
    count: int,
    seed: int,
    entities: Mapping[str, Sequence[str]],
    units: Sequence[str] = (),
    stored: bool = True,
) -> Iterator[bytes]:
    """Yield requests for one prediction each, or raise CannotMakeUpError.

    Parameters
    ----------
    shape
        What the model takes.
    count, seed
        How many, and what chance starts from.
    entities
        The values that each join key may have.
    units
        What is assigned; empty: what the gateway makes of the entity.
    stored
        Whether features are read from the online store; otherwise each is given by the caller, and no entity is.
    """
    chance = np.random.default_rng(seed)
    missing = [key for key in shape.join_keys if key not in entities] if stored else []
    if missing:
        raise CannotMakeUpError(f"the features of {shape.model} are of {', '.join(missing)}: say by --entity whose")
    for _ in range(count):
        asked = {key: values[int(chance.integers(len(values)))] for key, values in entities.items()} if stored else {}
        ask = Ask(
            entities=asked,
            unit_id=units[int(chance.integers(len(units)))] if units else None,
            features={name: float(chance.normal()) for name, _ in shape.given(stored=stored)},
            inputs={spec.name: _array(spec, chance) for spec in shape.inputs},
        )
        message = ask.message(shape.model)
        message.request_id = ""  # a request is sent many times, and each is a prediction of its own
        yield message.SerializeToString()


def _array(spec: tensor_pb2.TensorSpec, chance: np.random.Generator) -> NDArray[np.generic]:
    """Return one row of an input."""
    shape = [1 if extent < 0 else extent for extent in spec.shape]
    dtype = tensors.numpy_dtype(spec.data_type)
    if dtype is None or dtype.kind in "OU":
        return np.array(_TEXTS, object)[chance.integers(len(_TEXTS), size=shape)]
    if dtype.kind == "b":
        return chance.integers(2, size=shape).astype(dtype)
    if dtype.kind in "iu":
        return chance.integers(_WHOLE_MAX, size=shape).astype(dtype)
    return chance.normal(size=shape).astype(dtype)
