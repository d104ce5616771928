"""Write constraints.txt: the exact versions of everything in this environment, but for Turnout and the installers."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

HEAD = """\
# The set of versions that `make test` passed with; `make` installs exactly these. Why the ranges in pyproject.toml are
# what they are: docs/adr/0001-dependency-set.md. Written by `make constraints`.
"""
LEFT_OUT = {"turnout", "pip", "setuptools", "wheel"}


def main() -> None:
    """Write the file into the working directory."""
    pins = {d.name.lower(): f"{d.name}=={d.version}" for d in distributions() if d.name.lower() not in LEFT_OUT}
    Path("constraints.txt").write_text(HEAD + "".join(f"{pins[name]}\n" for name in sorted(pins)))


if __name__ == "__main__":
    main()
