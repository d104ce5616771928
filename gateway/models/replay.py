"""Probe rows replayed on a session: at publication, and again at every load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import ProbeDisagreesError, ProbeInvalidError, ProbeRunError
from registry.probe import disagreement

if TYPE_CHECKING:
    from gateway.models.session import Port, Session
    from registry.probe import Probe

_KINDS = {"O": "string", "U": "string"}


def replay(session: Session, probe: Probe) -> None:
    """Run the probe rows and return when the outputs agree.

    Raises
    ------
    ProbeInvalidError
        The rows do not fit the session's inputs.
    ProbeRunError
        The graph fails on them.
    ProbeDisagreesError
        The outputs are others.
    """
    probe.checked()
    expected = {port.name for port in session.inputs}
    if expected != set(probe.inputs):
        raise ProbeInvalidError(
            f"the probe gives the inputs {sorted(probe.inputs)}; the graph takes {sorted(expected)}",
            inputs=",".join(sorted(expected)),
        )
    for port in session.inputs:
        _check_fits(port, probe)
    try:
        outputs = session.run(probe.inputs)
    except Exception as error:  # ONNX Runtime's exceptions share no base but this one
        raise ProbeRunError(f"the graph fails on the probe rows: {str(error).strip()[:300]}") from error
    got = dict(zip((port.name for port in session.outputs), outputs, strict=True))
    problem = disagreement(probe.outputs, got, probe.tolerance)
    if problem is not None:
        raise ProbeDisagreesError(f"the probe rows disagree: {problem}", tolerance=probe.tolerance)


def _check_fits(port: Port, probe: Probe) -> None:
    array = probe.inputs[port.name]
    dtype = _KINDS.get(array.dtype.kind, array.dtype.name)
    if dtype != port.dtype:
        raise ProbeInvalidError(f"the probe's input {port.name!r} is {dtype}; the graph takes {port.dtype}")
    fits = len(array.shape) == len(port.shape) and all(
        declared in (-1, given) for declared, given in zip(port.shape, array.shape, strict=True)
    )
    if not fits:
        raise ProbeInvalidError(
            f"the probe's input {port.name!r} has the shape {list(array.shape)}; the graph takes {list(port.shape)}"
        )
