"""The audit: every change, who made it, and what was before and after."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from gateway.web.html import Html, el, join, link, table
from gateway.web.page import Page, field_of
from gateway.web.words import time_of
from turnout.admin.v1 import admin_service_pb2 as pb

if TYPE_CHECKING:
    from gateway.web.page import Visit

SHOWN = 50


def show(visit: Visit) -> Html:
    """Return a page of the audit, the newest first."""
    resource = visit.query.get("resource", "")
    request = pb.ListEventsRequest(page_size=SHOWN, page_token=visit.query.get("page", ""), resource=resource)
    answer = visit.admin.ListEvents(request)
    rows = [
        (
            f"{each.revision:,}",
            time_of(each.time_us),
            each.kind,
            el("code", each.resource),
            each.actor,
            _detail(each),
        )
        for each in answer.events
    ]
    search = el(
        "form",
        field_of("Resource", "resource", value=resource, placeholder="models/flights"),
        el("button", "Show", type="submit"),
        class_="inline",
    )
    older = None
    if answer.next_page_token:
        query = urlencode({"resource": resource, "page": answer.next_page_token})
        older = el("p", link(f"/changes?{query}", "Older changes"), class_="turn")
    columns = ("Revision", "Time", "What", "Of", "By", "Particulars")
    empty = "Nothing was changed yet." if not resource else "Nothing was changed of it, or not on this page."
    return join(el("h1", "Changes"), search, table("Changes, the newest first", columns, rows, empty=empty), older)


def _detail(event: pb.AuditEvent) -> Html:
    parts = [
        (title, json.dumps(json.loads(text), indent=1, ensure_ascii=False))
        for title, text in (("what", event.detail_json), ("before", event.before_json), ("after", event.after_json))
        if text and text not in {"{}", "null"}
    ]
    if event.peer:
        parts.append(("from", event.peer))
    if not parts:
        return Html("")
    shown = [[el("small", title), el("pre", text)] for title, text in parts]
    return el("details", el("summary", "Show", el("span", f" particulars of {event.kind}", class_="hidden")), shown)


PAGE = Page(path="/changes", title=lambda _: "Changes", show=show, nav="Changes", place=9)
