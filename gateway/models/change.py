"""Run one graph on two sets of rows in a process of its own: `python -m gateway.models.change GRAPH BEFORE AFTER`.

BEFORE and AFTER are probe files with as many rows each, whose inputs count. One JSON object is printed, how the answers
differ: `{"outputs": [...]}` as `gateway.models.difference` has it, or `{"reason": ...}` in words.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gateway.errors import VersionUnloadableError
from gateway.models.check import be_modest
from gateway.models.difference import difference
from registry.probe import decode
from storage.errors import DomainError

_FILES = 3
_USAGE = 2


def change(graph: Path, rows: list[Path]) -> dict[str, object]:
    """Return what is to be printed; raises nothing for a graph or rows that do not fit one another."""
    from gateway.models.session import Session  # noqa: PLC0415  imports the runtime, after the limits stand

    try:
        session = Session(graph)
        probes = [decode(path.read_bytes()) for path in rows]
    except (VersionUnloadableError, DomainError) as error:
        return {"reason": error.message}
    if any(set(probe.inputs) != {port.name for port in session.inputs} for probe in probes):
        return {"reason": "the graph takes inputs that are not among the features, so it cannot be asked again"}
    try:
        before, after = (session.run(probe.inputs) for probe in probes)
    except Exception as error:  # noqa: BLE001  (ONNX Runtime's exceptions share no base but this one)
        return {"reason": f"the graph fails on the rows: {str(error).strip()[:200]}"}
    names = [port.name for port in session.outputs]
    return {"outputs": [difference(name, *pair) for name, *pair in zip(names, before, after, strict=True)]}


def main(arguments: list[str]) -> int:
    """Run the graph that the arguments name, print the finding and return the exit code."""
    if len(arguments) != _FILES:
        sys.stderr.write("usage: python -m gateway.models.change GRAPH BEFORE AFTER\n")
        return _USAGE
    graph, *rows = (Path(argument) for argument in arguments)
    be_modest(graph)
    sys.stdout.write(json.dumps(change(graph, rows)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
