"""Elements of a page. Whatever is not HTML already is escaped, so that nothing can be forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_VOID = frozenset({"input", "meta", "link", "br", "hr"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = Any
"""HTML, text, a number, None for nothing, or several of these."""


def join(*children: Child) -> Html:
    """Return children one after another."""
    return Html("".join(_text(child) for child in children))


def el(name: str, /, *children: Child, **attributes: object) -> Html:
    """Return an element.

    Parameters
    ----------
    children
        What is in it.
    attributes
        ``class_`` is ``class``, ``aria_label`` is ``aria-label``; True stands without a value, None and False do not.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value not in (None, False))
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def link(href: str, *children: Child, **attributes: object) -> Html:
    """Return a link."""
    return el("a", *children, href=href, **attributes)


def section(title: str, *children: Child, note: Child = None) -> Html:
    """Return a part of a page with its heading; nothing when there is nothing in it."""
    body = join(*children)
    if not body:
        return Html("")
    return el("section", el("h2", title), el("p", note, class_="soft") if note else None, body)


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Child]],
    *,
    numbers: Iterable[int] = (),
    empty: str = "",
) -> Html:
    """Return a table; the first cell of a row is its heading. Without rows it is what `empty` says."""
    right = set(numbers)

    def style(place: int) -> str | None:
        return "number" if place in right else None

    head = el("tr", *(el("th", column, scope="col", class_=style(place)) for place, column in enumerate(columns)))
    body = [
        el(
            "tr",
            *(
                el("td" if place else "th", cell, scope=None if place else "row", class_=style(place))
                for place, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    if not body:
        return el("p", empty, class_="soft") if empty else Html("")
    whole = el("table", el("caption", caption), el("thead", head), el("tbody", body))
    return el("div", whole, class_="scroll", role="region", aria_label=caption, tabindex="0")


def facts(pairs: Iterable[tuple[str, Child]]) -> Html:
    """Return names and values; those without a value are left out."""
    known = [(name, value) for name, value in pairs if value not in (None, "")]
    rows = [el("div", el("dt", name), el("dd", value)) for name, value in known]
    return el("dl", *rows, class_="facts") if rows else Html("")


def badge(words: str, style: str = "") -> Html:
    """Return a word that tells a state."""
    return el("span", words, class_=f"badge {style}".strip())


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return escape(child)
    if isinstance(child, Iterable):
        return "".join(_text(each) for each in child)
    return escape(str(child))


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
