"""The folder of a run on its trainer's machine: what a step left, believed only as long as its digests hold."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

JOB = "job.json"


def finish(folder: Path, step: str, result: dict[str, Any], files: list[str]) -> None:
    """Write down that a step is done, all at once: what it found, and the digests of what it left."""
    digests = {name: digest_of(folder / name) for name in files}
    aside = folder / f"{step}.tmp"
    aside.write_text(json.dumps({"result": result, "files": digests}, allow_nan=False))
    aside.rename(folder / f"{step}.json")


def finished(folder: Path, step: str) -> dict[str, Any] | None:
    """Return what a step found, or None when it is not done, or what it left is not what it was."""
    try:
        said = json.loads((folder / f"{step}.json").read_text())
        intact = all(digest_of(folder / name) == digest for name, digest in said["files"].items())
    except (OSError, ValueError, KeyError):
        return None
    result: dict[str, Any] = said["result"]
    return result if intact else None


def failure(folder: Path, step: str) -> dict[str, str]:
    """Return how a step failed: its reason and a sentence; empty when it did not say."""
    try:
        found: dict[str, str] = json.loads((folder / f"{step}.failed.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def digest_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
