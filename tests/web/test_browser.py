"""The pages in a real browser: nothing is complained of, all can be reached by keys, and axe-core finds no fault."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
import pytest

PAGES = {
    "overview": "/",
    "models": "/models",
    "model": "/models/delays",
    "version": "/models/delays/versions/2",
    "experiments": "/experiments",
    "experiment": "/experiments/canary",
    "draft": "/experiments/draft",
    "ramped": "/experiments/ramped",
    "training": "/policies",
    "policy": "/policies/delays",
    "run": "/policies/delays/runs/1",
    "workers": "/workers",
    "changes": "/changes",
    "missing": "/models/absent",
}
WIDTHS = {"wide": 1200, "phone": 390}
AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture
def open_page(browser, site):
    """Open a page as an administrator who has signed in by hand; whatever the browser complains of fails the test."""
    contexts, complaints = [], []

    def open_page(*, width=WIDTHS["wide"], scheme="light", scripts=True):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{site.http}/")
        page.get_by_label("Token").fill(site.tokens["admin"])
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Overview").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    # What is refused on purpose is a complaint to a browser, too.
    assert [each for each in complaints if "status of 40" not in each] == []


@pytest.mark.parametrize(("width", "scheme"), [("wide", "light"), ("phone", "dark")])
def test_axe_finds_no_fault_on_any_page(open_page, site, width, scheme, tmp_path):
    page = open_page(width=WIDTHS[width], scheme=scheme)
    source = AXE.read_text()
    faults = []
    for name, path in PAGES.items():
        page.goto(site.http + path)
        for summary in page.locator("main summary").all()[:4]:
            summary.click()
        page.evaluate(source)
        found = page.evaluate(f"axe.run({{runOnly: {RULES}}})")
        assert len(found["passes"]) > 10
        faults += [
            (name, one["impact"], one["id"], [node["html"][:200] for node in one["nodes"]])
            for one in found["violations"]
        ]
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width], (
            f"{name} is wider than the window"
        )
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    assert faults == []


def test_everything_can_be_read_and_done_without_scripts_and_by_keys_alone(open_page, site):
    page = open_page(scripts=False)
    page.goto(f"{site.http}/experiments/canary")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "To the content"
    page.get_by_text("Pause", exact=True).first.focus()
    page.keyboard.press("Enter")
    page.locator("details[open] input[name=reason]").fill("a look at the keys")
    page.keyboard.press("Enter")
    page.get_by_role("status").wait_for()
    assert page.get_by_role("status").inner_text().startswith("Paused")
    page.get_by_text("Resume", exact=True).first.click()
    page.locator("details[open] button").click()
    assert page.get_by_role("status").inner_text().startswith("Resumed")
    page.reload()
    assert page.get_by_role("status").count() == 0


def test_a_page_of_another_site_cannot_send_a_form(open_page, site):
    page = open_page()
    page.goto("about:blank")
    page.set_content(
        f'<form method="post" action="{site.http}/models/delays"><input name="verb" value="rollback">'
        '<input name="generation" value="1"><button>win a prize</button></form>'
    )
    with page.expect_navigation() as navigated:
        page.get_by_role("button").click()
    assert navigated.value.status == 403
    assert "sent by another site" in page.content()
