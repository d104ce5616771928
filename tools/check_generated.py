"""Fail when what is generated and committed is not what would be: code, the table of settings, the OpenAPI file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import write_openapi
import write_settings

PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")
ROOTS = ("turnout", "gateway")
"""Where generated code lives; a proto's path is its Python path."""


def generated(folder: Path) -> dict[str, bytes]:
    """Return the generated files below a folder's roots: relative path to content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for root in ROOTS
        for pattern in PATTERNS
        for path in (folder / root).rglob(pattern)
    }


def complaints(committed: dict[str, bytes], fresh: dict[str, bytes]) -> list[str]:
    """Return one line for each file that is missing, left over or different."""
    lines = [f"{name}: is generated, but not in the tree" for name in sorted(fresh.keys() - committed.keys())]
    lines += [f"{name}: is in the tree, but no longer generated" for name in sorted(committed.keys() - fresh.keys())]
    both = sorted(fresh.keys() & committed.keys())
    return lines + [f"{name}: differs from what is generated" for name in both if fresh[name] != committed[name]]


def main() -> int:
    """Generate into a temporary folder, compare with the tree in the working directory, and return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        run = subprocess.run(["buf", "generate", "--output", name], check=False, capture_output=True, text=True)
        if run.returncode != 0:
            print(run.stderr, file=sys.stderr)
            return run.returncode
        found = complaints(generated(Path.cwd()), generated(Path(name)))
    text = write_settings.PAGE.read_text(encoding="utf-8")
    if write_settings.page(text) != text:
        found.append(f"{write_settings.PAGE}: its table differs from what the settings say of themselves")
    if write_openapi.FILE.read_text(encoding="utf-8") != write_openapi.text():
        found.append(f"{write_openapi.FILE}: differs from what the contract and the routes say")
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print("run `make generate` and commit what it writes", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
