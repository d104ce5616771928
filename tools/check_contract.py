"""Hold the contract to what buf does not know: the reasons of refusals, and how a deprecation is said.

`turnout.refusal.v1.Reason` lists what the code's errors say. Programs branch on reasons; one renamed or gone
breaks them as a removed field does. A reason of the code that the contract lacks fails the check, and `--write` adds
it; one of the contract that no error says any more fails it, and stays: buf refuses to let go of what was released.

What has the option `deprecated` says in its comment since when, and what to use in its place.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path.cwd()
FILE = ROOT / "protos" / "turnout" / "refusal" / "v1" / "reason.proto"
PACKAGES = ("storage", "registry", "features", "experiments", "gateway", "trainer")
_VALUE = re.compile(r"^  REASON_([A-Z0-9_]+) = (\d+)( \[deprecated = true\])?;$", re.MULTILINE)
_REASON = re.compile(r"[A-Z][A-Z0-9_]+")
_DEPRECATED = re.compile(r"\bdeprecated = true\b")
_SAID = re.compile(r"Deprecated since \d+\.\d+: \S")


def reasons_of_code() -> dict[str, str]:
    """Return what the code's errors say: reason to the sentence that documents it."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text()
            if "reason" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef) and (reason := reason_of(node)):
                    found.setdefault(reason, (ast.get_docstring(node) or "").partition("\n\n")[0])
    return found


def reason_of(node: ast.ClassDef) -> str:
    """Return the reason that a class says; empty where it says none."""
    for line in node.body:
        target = (
            line.target
            if isinstance(line, ast.AnnAssign)
            else line.targets[0]
            if isinstance(line, ast.Assign)
            else None
        )
        value = getattr(line, "value", None)
        if (
            isinstance(target, ast.Name)
            and target.id == "reason"
            and isinstance(value, ast.Constant)
            and isinstance(value.value, str)
            and _REASON.fullmatch(value.value)
        ):
            return value.value
    return ""


def written(text: str, missing: dict[str, str]) -> str:
    """Return the contract's text with further values before its last brace."""
    number = max((int(value) for _, value, _ in _VALUE.findall(text)), default=0)
    lines = [text.rstrip().removesuffix("}").rstrip("\n")]
    for step, (reason, sentence) in enumerate(missing.items(), 1):
        lines += [f"  // {' '.join(sentence.split())}", f"  REASON_{reason} = {number + step};"]
    return "\n".join([*lines, "}"]) + "\n"


def unsaid_deprecations() -> list[str]:
    """Return where something is deprecated without a comment that says since when and what to use in its place.

    The comment is looked for right above the line of a field or value, and above the opening of what the option ends.
    """
    found = []
    for path in sorted((ROOT / "protos").rglob("*.proto")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if not _DEPRECATED.search(line):
                continue
            at = number
            while line.lstrip().startswith("option") and at > 0 and not lines[at].rstrip().endswith("{"):
                at -= 1
            above = at
            while above > 0 and lines[above - 1].lstrip().startswith("//"):
                above -= 1
            if not _SAID.search(" ".join(one.strip(" /") for one in lines[above:at])):
                found.append(f"{path.relative_to(ROOT)}:{number + 1}")
    return found


def main() -> int:
    """Compare the code with the contract, and return the exit code."""
    text = FILE.read_text()
    listed = {name: bool(deprecated) for name, _, deprecated in _VALUE.findall(text)}
    said = reasons_of_code()
    missing = {reason: sentence for reason, sentence in said.items() if reason not in listed}
    if missing and "--write" in sys.argv[1:]:
        FILE.write_text(written(text, missing))
        missing = {}
    gone = [name for name, old in listed.items() if name not in said and not old and name != "UNSPECIFIED"]
    for reason in missing:
        print(f"{reason} is said by an error, but not listed in {FILE.relative_to(ROOT)}", file=sys.stderr)
    for reason in gone:
        print(f"{reason} is listed in {FILE.relative_to(ROOT)}, but no error says it: was it renamed?", file=sys.stderr)
    unsaid = unsaid_deprecations()
    for place in unsaid:
        print(f"{place}: deprecated, but no comment says `Deprecated since 1.2: use ...`", file=sys.stderr)
    if missing:
        print("run `python tools/check_contract.py --write` and `make generate`, and commit both", file=sys.stderr)
    return int(bool(missing or gone or unsaid))


if __name__ == "__main__":
    sys.exit(main())
