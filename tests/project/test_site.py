"""The site of the documents: it is built, leads somewhere, fetches nothing, and says all that the code has."""

from __future__ import annotations

import contextlib
import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer
from playwright.sync_api import TimeoutError  # noqa: A004

from gateway.telemetry.families import FAMILIES
from turnout.cli.connection import with_connection_options
from turnout.cli.main import app

FETCHED = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("use", "href")}
"""What a browser fetches by itself; a link of a page is followed by whoever wants to."""
BUILD_S = 60
SEARCH_MS, SEARCHES_MAX = 3_000, 10
INTERNAL = ["DEMO_FAILED", "INTERNAL", "MODEL_RUN_FAILED", "SHARE_FAILED"]
"""Reasons of no kind: what nobody outside can do anything about."""


class Leaf(HTMLParser):
    """What a page links to, what it fetches, and which anchors it has."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.fetched = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value)
            elif (tag, name) == ("a", "href"):
                self.links.add(value)
            elif (tag, name) in FETCHED:
                self.fetched.add(value)


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    """Return the folder of the site, built as `make docs` builds it: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    programs = Path(sys.prefix) / "bin"
    done = subprocess.run(
        [programs / "mkdocs", "build", "--site-dir", folder],  # --quiet would make it deaf to warnings
        cwd=root,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_S,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def leaves(site):
    return {path: Leaf(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_link_of_the_site_leads_to_a_page_and_an_anchor_of_it(site, leaves):
    broken = []
    for path, leaf in leaves.items():
        for link in leaf.links | leaf.fetched:
            where = urlsplit(link)
            if where.scheme:
                continue
            target = (path.parent / unquote(where.path)).resolve() if where.path else path
            anchors = leaves[target].anchors if target in leaves else set()
            if not target.is_file() or (where.fragment and unquote(where.fragment) not in anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []
    assert len(leaves) > 100


def test_the_site_fetches_nothing_from_elsewhere(site, leaves):
    elsewhere = {link for leaf in leaves.values() for link in leaf.fetched if urlsplit(link).netloc}
    assert elsewhere == set()
    assert [path for path in site.rglob("*.css") if re.search(r"url\([\"']?(?:https?:)?//", path.read_text())] == []


def test_lists_are_read_as_lists(site, leaves):
    """A list needs an empty line above it here, and none where the tree's readers see it."""
    told = [
        f"{path.relative_to(site)}: {found}"
        for path in leaves
        for found in re.findall(r"<p>[^<]*\n(?:- |\d+\. ).*", path.read_text())
    ]
    assert told == []


def test_the_reference_has_every_part_of_the_contract(root, site):
    missing = []
    for proto in sorted((root / "protos").rglob("*.proto")):
        text = proto.read_text()
        package = re.search(r"^package ([\w.]+);", text, re.MULTILINE)[1]
        page = (site / "reference" / "contract" / f"{package}.html").read_text()
        named = re.findall(r"^ *(?:service|message|enum) (\w+)", text, re.MULTILINE)
        named += re.findall(r"^ *rpc (\w+)", text, re.MULTILINE)
        missing += [f"{package}: {name}" for name in named if not re.search(rf'<h\d id="(?:\w+\.)*{name}"', page)]
        members = re.findall(r"^ +(?:[\w.<>, ]+ )?(\w+) = \d+(?: \[.*\])?;", text, re.MULTILINE)
        missing += [f"{package}: {name}" for name in members if f"<code>{name}</code>" not in page]
        comments = re.findall(r"^ *// ([A-Z][\w ,']+)$", text, re.MULTILINE)
        missing += [f"{package}: {line}" for line in comments if html.escape(line, quote=False) not in page]
    assert missing == []


def test_the_reference_has_every_command_with_each_of_its_options(site):
    page = html.unescape((site / "reference" / "commands.html").read_text())
    common = page.partition('id="connection"')[2]
    waiting = [("", with_connection_options(typer.main.get_command(app)))]
    seen = 0
    while waiting:
        words, command = waiting.pop()
        waiting += [(f"{words} {name}".strip(), one) for name, one in getattr(command, "commands", {}).items()]
        if hasattr(command, "commands") or command.hidden:
            continue
        seen += 1
        part = page.partition(f'id="{words.replace(" ", "-")}"')[2].split("<h3", 1)[0].split("<h2", 1)[0]
        part += common if 'href="#connection"' in part else ""
        for one in command.params:
            if not one.hidden and one.param_type_name == "option":
                assert all(flag in part for flag in one.opts), (words, one.opts)
    assert seen > 100


def test_the_reference_has_every_metric_and_every_reason_with_its_status(root, site):
    metrics = (site / "reference" / "metrics.html").read_text()
    assert [name for name in FAMILIES if f"<code>{name}</code>" not in metrics] == []
    reasons = (site / "reference" / "reasons.html").read_text()
    listed = re.findall(r"REASON_(\w+) = [1-9]", (root / "protos/turnout/refusal/v1/reason.proto").read_text())
    rows = dict(re.findall(r"<td><code>(\w+)</code></td>\s*<td>(\w+)</td>\s*<td>\d+</td>", reasons))
    assert sorted(rows) == sorted(listed)
    assert rows["MODEL_NOT_SERVED"] == "NOT_FOUND"
    assert rows["OVERLOADED"] == "RESOURCE_EXHAUSTED"
    assert sorted(name for name, code in rows.items() if code == "INTERNAL") == INTERNAL


def test_each_word_of_the_architecture_is_explained(root, site):
    table = (root / "ARCHITECTURE.md").read_text().partition("## Words\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([A-Z][^|]+) \|", table, re.MULTILINE)
    words = {word.strip().lower() for row in rows for word in row.split(",")}
    anchors = Leaf((site / "concepts.html").read_text()).anchors
    assert {word for word in words if word.replace(" ", "-") not in anchors} == set()


def test_it_opens_and_searches_from_a_folder_without_a_network(site, browser):
    context = browser.new_context(offline=True, color_scheme="dark")
    page = context.new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{site.as_uri()}/index.html")
    page.wait_for_function("typeof __index === 'object'")
    box = page.get_by_role("textbox", name="Search")
    result = page.locator(".md-search-result__link").first
    for _ in range(SEARCHES_MAX):  # what is typed before the page's script listens is not heard
        box.fill("")
        box.press_sequentially("slot table")
        with contextlib.suppress(TimeoutError):
            result.wait_for(timeout=SEARCH_MS)
            break
    assert "slot table" in result.inner_text().lower()
    result.click()
    page.wait_for_url("**/adr/**")
    context.close()
    assert [url for url in asked if urlsplit(url).scheme not in {"file", "data", "blob"}] == []
    assert complaints == []
