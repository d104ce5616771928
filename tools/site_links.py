"""Where the site has what a path of the tree means, and how links are found in a document."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCS = "docs/"
SHOWN = "files/"
"""Below it are the pages that show files."""
OUTSIDE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "clients/cpp/README.md": "start/cpp.md",
    "clients/go/README.md": "start/go.md",
    "clients/java/README.md": "start/java.md",
    "clients/rust/README.md": "start/rust.md",
    "clients/typescript/README.md": "start/typescript.md",
    "deploy/kubernetes/README.md": "kubernetes.md",
    "examples/prices/README.md": "examples/prices.md",
    "examples/flights/README.md": "examples/flights.md",
}
"""The pages that lie outside docs/."""
REFERENCE = {
    "protos/turnout": "reference/contract/index.md",
    "protos/turnout/refusal/v1/reason.proto": "reference/reasons.md",
    "gateway/telemetry/families.py": "reference/metrics.md",
}
"""What the reference says of a path of the tree, in place of the path."""
_PATHS = {uri: path for path, uri in OUTSIDE.items()}

_CODE = re.compile(r"^( *)(`{3,}).*?^ *\2`* *$|(`+)(?!`).+?(?<!`)\3(?!`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)((?:#[^)\s]*)?)(?=\))")


def uri_of(path: str) -> str:
    """Return where the site has a file of the tree."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    return REFERENCE.get(path, f"{SHOWN}{path}.md")


def path_of(uri: str) -> str:
    """Return the file of the tree that a page is, or would be in docs/."""
    return _PATHS.get(uri, DOCS + uri)


def relinked(text: str, path: str, rewritten: Callable[[str], str]) -> str:
    """Return a document of the tree with each link to another file replaced; code is left as it is."""
    folder = posixpath.dirname(path)

    def link(match: re.Match[str]) -> str:
        return rewritten(posixpath.normpath(posixpath.join(folder, match[1]))) + match[2]

    parts, at = [], 0
    for code in _CODE.finditer(text):
        parts += [_LINK.sub(link, text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*parts, _LINK.sub(link, text[at:])])


def targets(text: str, path: str) -> Iterator[str]:
    """Return the files of the tree that a document links to."""
    found: list[str] = []

    def note(target: str) -> str:
        found.append(target)
        return target

    relinked(text, path, note)
    return iter(found)
