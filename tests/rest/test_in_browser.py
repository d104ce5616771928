"""A page of another site, in a real browser: it predicts by fetch and by Connect's own client, where it may."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
PACKAGES = ("@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-web")
TOLD = "version 1: a virginica by 0.832"
TOLD_S = 30


def iris_model():
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["flower", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        "iris",
        [value("flower", TensorProto.FLOAT, [None, 4])],
        [value("probabilities", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.array([[0, 0], [0, 0], [0, 1], [0, 1]], np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def iris(place, tmp_path_factory):
    path = tmp_path_factory.mktemp("iris") / "iris.onnx"
    path.write_bytes(iris_model())
    with place.control() as control:
        control.publish_version("iris", path, alias="champion")
        control.wait_for_revision()
    return "iris"


def blocks(page, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def import_map(folder):
    """Return where a browser finds packages that a bundler would find: by what each exports as a module."""
    found = {"turnout-client/web": "/dist/src/web.js", "turnout-client/web/": "/dist/gen-web/"}
    for package in PACKAGES:
        exports = json.loads((folder / "node_modules" / package / "package.json").read_text())["exports"]
        for name, said in exports.items():
            where = said["import"] if isinstance(said["import"], str) else said["import"]["default"]
            found[package + name.removeprefix(".")] = f"/node_modules/{package}/{where.removeprefix('./')}"
    return json.dumps({"imports": found})


@pytest.fixture
def show(browser, pages, place, iris):
    """Return a function that opens a page with scripts, for somebody with a token, and gives what it comes to say."""
    assert iris
    contexts = []

    def show(script, *, role, address=None, head=""):
        known = {"token": place.tokens.get(role, ""), "gateway": f"http://127.0.0.1:{place.gateway.http}"}
        pages.page = f"<!DOCTYPE html><title>A page</title>{head}<body>{script}</body>"
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(
            "".join(f"sessionStorage.setItem({json.dumps(k)}, {json.dumps(v)});" for k, v in known.items())
        )
        page.goto(f"{address or pages.origin}/")
        page.wait_for_function("document.body.innerText.trim() !== ''", timeout=TOLD_S * 1000)
        return page.evaluate("document.body.innerText")

    yield show
    for context in contexts:
        context.close()


def test_the_page_of_the_documents_predicts_by_fetch_where_its_site_is_listed(place, pages, show):
    (program,) = blocks("docs/http.md", "js")
    program = program.replace("http://127.0.0.1:8002", f"http://127.0.0.1:{place.gateway.http}")
    script = f'<script type="module">try {{\n{program}}} catch (error) {{ document.body.textContent = error }}</script>'
    assert show(script, role="predict") == TOLD
    assert show(script, role="outcomes").startswith("ROLE_MISSING")  # the page is shown why
    assert show(script, role="predict", address=pages.other) == "TypeError: Failed to fetch"


def test_connects_own_client_predicts_and_records_in_a_browser(pages, typescript, show):
    pages.folder = typescript
    head = f'<script type="importmap">{import_map(typescript)}</script>'
    script = '<script type="module" src="/dist/examples/browser.js"></script>'
    assert show(script, role="admin", head=head) == TOLD
    assert show(script, role="outcomes", head=head).startswith("ROLE_MISSING: ")
    assert show(script, role="admin", head=head, address=pages.other).endswith("Failed to fetch")


def test_the_page_of_the_readme_is_the_example_in_less_than_forty_lines():
    program = (ROOT / "clients/typescript/examples/browser.ts").read_text()
    assert program in blocks("clients/typescript/README.md", "ts")
    assert len(program.splitlines()) < 40
