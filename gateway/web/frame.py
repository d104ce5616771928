"""What stands around every page: the links, who visits, what happened last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.html import Html, el, join, link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.web.page import Page

MARK = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M4 23h24M8 23C18 23 17 9 28 9" fill="none" '
    'stroke="#0b7a75" stroke-width="3.4" stroke-linecap="round"/></svg>'
)
"""A track and its turnout."""


def whole_page(
    title: str,
    content: Html,
    *,
    links: Sequence[Page],
    here: str,
    visitor: Html,
    news: tuple[str, bool] | None,
) -> bytes:
    """Return a page.

    Parameters
    ----------
    content
        What is between header and footer.
    links
        The pages that are linked at the top.
    here
        The path of the page among them that this one is, or belongs to.
    visitor
        Who visits.
    news
        What happened last, and whether it went well.
    """
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{title} · Turnout"),
        el("link", rel="icon", href="/mark.svg", type="image/svg+xml"),
        el("link", rel="stylesheet", href="/style.css"),
    )
    nav = el(
        "nav",
        el(
            "ul",
            *(
                el("li", link(page.path, page.nav, aria_current="page" if page.path == here else None))
                for page in links
            ),
        ),
        aria_label="Main",
    )
    header = el("header", link("/", Html(MARK), el("span", "Turnout"), class_="wordmark"), nav, visitor)
    told = None
    if news is not None:
        words, good = news
        told = el("p", words, class_=f"news {'good' if good else 'bad'}", role="status" if good else "alert")
    main = el("main", told, content, id="content", tabindex="-1")
    body = el("body", link("#content", "To the content", class_="skip"), header, main)
    return join(Html("<!doctype html>"), el("html", head, body, lang="en")).encode()
