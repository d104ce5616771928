"""Run two graphs on the same rows in a process of its own: `python -m gateway.models.difference FIRST SECOND ROWS…`.

ROWS are probe files, whose inputs count and whose expected outputs do not. One JSON object is printed:
`{"outputs": [...]}`, or `{"reason": ...}` in words when the two cannot be run on the same rows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gateway.errors import VersionUnloadableError
from gateway.models.check import be_modest
from registry.probe import decode
from storage.errors import DomainError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILES_MIN = 3
_USAGE = 2


def compare(first: Path, second: Path, rows: list[Path]) -> dict[str, object]:
    """Return what is to be printed; raises nothing for graphs or rows that do not fit one another."""
    from gateway.models.session import Session  # noqa: PLC0415  imports the runtime, after the limits stand

    try:
        sessions = [Session(first), Session(second)]
        probes = [decode(path.read_bytes()) for path in rows]
    except (VersionUnloadableError, DomainError) as error:
        return {"reason": error.message}
    takes = [{port.name: port.dtype for port in session.inputs} for session in sessions]
    if takes[0] != takes[1]:
        return {"reason": "the two take different inputs, so they cannot be asked the same"}
    answers: list[list[list[NDArray[Any]]]] = [[], []]
    for probe in probes:
        if set(probe.inputs) != set(takes[0]):
            return {"reason": "the rows are not those that the graphs take"}
        for place, session in enumerate(sessions):
            try:
                answers[place].append(session.run(probe.inputs))
            except Exception as error:  # noqa: BLE001  (ONNX Runtime's exceptions share no base but this one)
                return {"reason": f"a graph fails on the rows: {str(error).strip()[:200]}"}
    names = [[port.name for port in session.outputs] for session in sessions]
    shared = [name for name in names[0] if name in names[1]]
    outputs = []
    for name in shared:
        sides = [[answer[names[place].index(name)] for answer in answers[place]] for place in range(len(sessions))]
        outputs.append(difference(name, *(_joined(side) for side in sides)))
    return {"outputs": outputs}


def difference(name: str, first: NDArray[Any], second: NDArray[Any]) -> dict[str, object]:
    """Return how two answers to the same rows differ."""
    rows = len(first)
    facts: dict[str, object] = {"output": name, "rows": rows}
    if first.shape != second.shape or first.dtype.kind != second.dtype.kind:
        return facts | {"equal_rows": 0, "flips": rows}
    same = (first == second) | ((first != first) & (second != second))  # noqa: PLR0124  (NaN equals NaN here)
    equal = np.asarray(same).reshape(rows, -1).all(axis=1)
    facts["equal_rows"] = int(equal.sum())
    if first.dtype.kind != "f":
        return facts | {"flips": int(rows - equal.sum())}
    delta = np.where(same, 0.0, np.abs(first.astype(np.float64) - second.astype(np.float64)))
    known = delta[np.isfinite(delta)]  # a number against NaN or an infinity is unequal and has no size
    return facts | {
        "max_delta": float(known.max()) if known.size else None,
        "mean_delta": float(known.mean()) if known.size else None,
    }


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    rows = [np.atleast_1d(part) for part in parts]
    return np.concatenate(rows) if len({row.shape[1:] for row in rows}) == 1 else rows[0]


def main(arguments: list[str]) -> int:
    """Compare the files that the arguments name, print the finding and return the exit code."""
    if len(arguments) < _FILES_MIN:
        sys.stderr.write("usage: python -m gateway.models.difference FIRST SECOND ROWS...\n")
        return _USAGE
    first, second, *rows = (Path(argument) for argument in arguments)
    be_modest(max((first, second), key=lambda file: file.stat().st_size))
    sys.stdout.write(json.dumps(compare(first, second, rows)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
