"""Try a published file in a process of its own: `python -m gateway.models.check FILE PROBE SETTINGS`.

A file may crash, stall or eat the memory of whatever loads it. So the control plane never does: it starts this, which
reads the graph, loads it under the very settings that workers load it under (a JSON object), replays the probe rows
(their path is empty when there are none), and prints one JSON object: `{"signature": {...}}`, or
`{"reason": ..., "message": ..., "facts": {...}}`. Exit code 0 in both cases.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import asdict
from pathlib import Path

from gateway.errors import VersionUnloadableError
from gateway.models.replay import replay
from registry.deployment import Deployment
from registry.errors import OpsetUnknownError
from registry.probe import decode
from registry.signature import read_signature
from storage.errors import DomainError

MEMORY_BASE_BYTES = 4 * 1024**3
MEMORY_PER_FILE_BYTE = 6
FINDING_BYTES_MAX = 16 * 1024**2  # standard output may be a file
NICENESS = 10
_ARGUMENTS = 3
_USAGE = 2


def check(file: Path, probe: Path | None, deployment: Deployment) -> dict[str, object]:
    """Return what is to be printed; raises nothing for a file that is refused."""
    try:
        # Before the runtime is imported: what is refused here needs none of it.
        signature = read_signature(file)
        _try(file, probe, deployment)
    except DomainError as error:
        return {"reason": error.reason, "message": error.message, "facts": error.facts}
    return {"signature": asdict(signature)}


def _try(file: Path, probe: Path | None, deployment: Deployment) -> None:
    from gateway.models.session import Session  # noqa: PLC0415  imports the runtime

    try:
        session = Session(file, deployment)
    except VersionUnloadableError as error:
        # The runtime may know fewer operator sets than the onnx package that read the graph.
        if "opset" in error.message.lower() or "ir version" in error.message.lower():
            raise OpsetUnknownError(error.message) from error
        raise
    if probe is not None:
        replay(session, decode(probe.read_bytes()))


def be_modest(file: Path) -> None:
    """Stand back behind whatever serves on this machine, and bound what this process may take.

    Memory by the length of the file; no long file is written, and no core is left.
    """
    os.nice(NICENESS)
    memory_bytes = MEMORY_BASE_BYTES + MEMORY_PER_FILE_BYTE * file.stat().st_size
    for what, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, FINDING_BYTES_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))


def main(arguments: list[str]) -> int:
    """Check the file that the arguments name, print the finding and return the exit code."""
    if len(arguments) != _ARGUMENTS:
        sys.stderr.write("usage: python -m gateway.models.check FILE PROBE SETTINGS\n")
        return _USAGE
    file, probe, settings = Path(arguments[0]), arguments[1], Deployment.from_document(json.loads(arguments[2]))
    be_modest(file)
    sys.stdout.write(json.dumps(check(file, Path(probe) if probe else None, settings)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
