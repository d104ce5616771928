"""Make the environment in which the stock clients of the Open Inference Protocol run, and print its Python.

They need one of their own: a process holds one copy of the protocol's messages, theirs or ours. Exits with 75 when the
package registry cannot be reached, so that whoever needs the clients can go without.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv" / "peers" / "clients"
REQUIREMENTS = ROOT / "tests" / "gateway" / "inference" / "clients" / "requirements.txt"
UNREACHABLE = 75
_SIGNS = ("connection broken", "Could not fetch URL", "Temporary failure in name resolution", "Network is unreachable")


def main() -> int:
    """Make the environment unless it is there, print its Python and return the exit code."""
    made = FOLDER / ".made-with.txt"
    python = FOLDER / "bin" / "python"
    if not made.exists() or made.read_text() != REQUIREMENTS.read_text():
        shutil.rmtree(FOLDER, ignore_errors=True)
        venv.create(FOLDER, with_pip=True)
        # No dependencies: the list is whole, and leaves out what kserve's server alone needs.
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run = subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=False, capture_output=True, text=True)
        if run.returncode != 0:
            print(run.stderr, file=sys.stderr)
            return UNREACHABLE if any(sign in run.stderr for sign in _SIGNS) else run.returncode
        made.write_text(REQUIREMENTS.read_text())
    print(python)
    return 0


if __name__ == "__main__":
    sys.exit(main())
