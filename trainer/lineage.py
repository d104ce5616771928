"""Lineage: fingerprints of the code that trained and of the graph that came out."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import onnx

_GIT_TIMEOUT_S = 10
_SHORT = 32


def code_fingerprint(folder: Path | None = None) -> str:
    """Return what the training code is.

    ``git:COMMIT`` in a clean checkout, ``git:COMMIT+HASH`` with the hash of what was changed and added since, whatever
    kind of file, and ``files:HASH`` of the Python files where there is no checkout.

    Parameters
    ----------
    folder
        Where the code lies; this package's folder unless given.
    """
    place = Path(__file__).parent if folder is None else folder
    commit = _git(place, "rev-parse", "HEAD")
    if commit is None:
        return f"files:{_hash_of_files(place)}"
    changed = _git(place, "diff", "HEAD", "--binary", "--no-ext-diff", "--", ".")
    added = _git(place, "ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    if not changed and not added:
        return f"git:{commit.strip()}"
    digest = hashlib.sha256((changed or "").encode())
    for name in sorted(filter(None, (added or "").split("\0"))):
        digest.update(f"\0{name}\0".encode() + hashlib.sha256((place / name).read_bytes()).digest())
    return f"git:{commit.strip()}+{digest.hexdigest()[:_SHORT]}"


def graph_fingerprint(content: bytes) -> str:
    """Return a hash of an ONNX graph, all that was learned included: two different models never share one.

    What names the file and its maker (producer, version, documentation) is left out.
    """
    model = onnx.load_model_from_string(content)
    said = onnx.ModelProto(graph=model.graph, opset_import=model.opset_import, functions=model.functions)
    return f"onnx:{hashlib.sha256(said.SerializeToString(deterministic=True)).hexdigest()}"


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, or None where there is no git or no checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run(  # noqa: S603  the arguments are this module's own
        [git, "-C", str(folder), *arguments], capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
    )
    return done.stdout if done.returncode == 0 else None


def _hash_of_files(folder: Path) -> str:
    """Return a short hash of the names and bytes of the folder's Python files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:_SHORT]
