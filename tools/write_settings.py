"""Write the table of settings into docs/settings.md, from what the settings' class says of itself."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from gateway.bootstrap.settings import Settings

PAGE = Path("docs/settings.md")
BEGIN, END = "<!-- settings: written by `make generate` -->\n", "<!-- end of settings -->\n"


def table() -> str:
    """Return the table: each setting with its default and what it is."""
    lines = ["| setting | default | is |\n", "|---|---|---|\n"]
    for names, text in _told():
        shown = ", ".join(f"`{name}`" for name in names)
        defaults = ", ".join(_default(name) for name in names)
        lines.append(f"| {shown} | {defaults} | {text} |\n")
    return "".join(lines)


def page(text: str) -> str:
    """Return the page with the table that is true today."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _told() -> list[tuple[list[str], str]]:
    """Return the entries of the class's docstring: names, and what is said of them."""
    attributes = (Settings.__doc__ or "").partition("----------\n")[2]
    entries: list[tuple[list[str], str]] = []
    for line in attributes.splitlines():
        if re.match(r"    \S", line):
            entries.append(([name.strip() for name in line.split(",")], ""))
        elif line.strip():
            names, text = entries[-1]
            entries[-1] = (names, f"{text} {line.strip()}".strip().replace("``", "`").replace("|", "\\|"))
    return entries


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.is_required():
        return "must be given"
    if field.default is None or field.default == "":
        return "none"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
