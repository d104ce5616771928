"""Pieces of a page: no script, nothing loaded from elsewhere, readable in light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from turnout.report.style import PAGE_STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def document(title: str, body: str) -> str:
    """Return a whole page of a body that is HTML already."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{PAGE_STYLE}</style></head><body>
{body}
</body></html>
"""


def figure(svg: str, caption: str) -> str:
    """Return a plot with its caption, which is HTML already."""
    return f'<figure><div class="scroll" tabindex="0">{svg}</div><figcaption>{caption}</figcaption></figure>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()) -> str:
    """Return a table of texts, those of the columns at these places to the right; '' when it has no row."""
    right = set(numbers)

    def line(cells: Sequence[str], element: str) -> str:
        made = "".join(
            f"<{element}{' class=number' if place in right else ''}>{escape(cell)}</{element}>"
            for place, cell in enumerate(cells)
        )
        return f"<tr>{made}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="scroll" tabindex="0"><table>{line(columns, "th")}{body}</table></div>' if body else ""


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and values in two columns."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td class=value>{escape(value)}</td></tr>" for name, value in pairs)
    return f"<table>{rows}</table>"


def keys(named: Iterable[tuple[str, str]]) -> str:
    """Return what the colours of a plot mean: pairs of a class and words."""
    return "".join(f'<span class="key {style}"></span>{escape(words)}' for style, words in named)
