"""The reference of what a gateway says: the reasons of its refusals with their status codes, and its metrics."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import check_contract

from gateway.rest.problem import STATUSES
from gateway.rpc.status import CODES
from gateway.telemetry.families import FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

_REASON = re.compile(r"((?:  // .*\n)+)  REASON_([A-Z0-9_]+) = \d+( \[deprecated = true\])?;")


def pages(root: Path) -> dict[str, str]:
    """Return the pages by where the site has them."""
    return {"reference/reasons.md": _reasons(root), "reference/metrics.md": _metrics()}


def kinds_of_reasons(root: Path) -> dict[str, str]:
    """Return the status code that each reason travels with."""
    codes = {kind.__name__: code.name for kind, code in CODES}
    bases: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for package in check_contract.PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    bases[node.name] = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                    if reason := check_contract.reason_of(node):
                        reasons.setdefault(reason, node.name)

    def code_of(name: str) -> str:
        if name in codes:
            return codes[name]
        return next((code for base in bases.get(name, []) if (code := code_of(base)) != "INTERNAL"), "INTERNAL")

    return {reason: code_of(name) for reason, name in reasons.items()}


def _reasons(root: Path) -> str:
    text = (root / "protos/turnout/refusal/v1/reason.proto").read_text(encoding="utf-8")
    codes = kinds_of_reasons(root)
    lines = [
        "# Reasons",
        "",
        "Each refusal has a `google.rpc.ErrorInfo` with the domain `turnout`, one of these reasons, and facts.",
        "Over HTTP they are in the `application/problem+json`. A program that meets one that it does not know goes by",
        "the status code.",
        "[What is promised of them](../compatibility.md). In the contract they are",
        "[turnout.refusal.v1.Reason](contract/turnout.refusal.v1.md#Reason).",
        "",
        "| reason | status code | HTTP | is |",
        "|---|---|---|---|",
    ]
    for comment, name, deprecated in sorted(_REASON.findall(text), key=lambda found: found[1]):
        if name == "UNSPECIFIED":
            continue
        code = codes[name] if not deprecated else codes.get(name, "")
        said = " ".join(line.strip(" /") for line in comment.splitlines()).replace("|", "\\|").replace("<", "&lt;")
        lines.append(f"| `{name}` | {code} | {STATUSES.get(code, 500)} | {said} |")
    return "\n".join(lines) + "\n"


def _metrics() -> str:
    lines = [
        "# Metrics",
        "",
        "What `/metrics` on the HTTP port shows, in Prometheus' text format. What to watch of it is in",
        "[operations](../operations.md).",
        "",
        "| metric | kind | labels | is |",
        "|---|---|---|---|",
    ]
    for family in FAMILIES.values():
        labels = ", ".join(f"`{label}`" for label in family.labels)
        said = family.help.replace("|", "\\|").replace("<", "&lt;")
        lines.append(f"| `{family.name}` | {family.kind.value} | {labels} | {said} |")
    return "\n".join(lines) + "\n"
