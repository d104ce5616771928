"""What MkDocs is told while it builds the site: which pages lie outside docs/, and which are made of the code.

A document of the tree stays where readers of the tree look for it; its links are rewritten to where the site has what
they lead to. A file that a page links to, and that is no page, becomes one that shows it: the site leads nowhere else.
What the reference says is made here of the contract, the command line and the gateway's own tables, and is not kept.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING

import site_commands
import site_contract
import site_links
import site_tables
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents outside docs/, the reference, and each file that a page shows."""
    for path, uri in site_links.OUTSIDE.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    pages = site_contract.pages(ROOT) | site_commands.pages() | site_tables.pages(ROOT)
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    known = {file.src_uri for file in files}
    for file in list(files.documentation_pages()):
        for path in site_links.targets(file.content_string, site_links.path_of(file.src_uri)):
            uri = site_links.uri_of(path)
            if uri not in known and (ROOT / path).is_file():
                known.add(uri)
                files.append(File.generated(config, uri, content=_shown(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Return a page whose links lead to where the site has what they mean; what leads nowhere, MkDocs refuses."""
    here = page.file.src_uri

    def rewritten(path: str) -> str:
        return posixpath.relpath(site_links.uri_of(path), posixpath.dirname(here) or ".")

    return site_links.relinked(markdown, site_links.path_of(here), rewritten)


def _shown(path: str) -> str:
    """Return the page that shows a file."""
    text = (ROOT / path).read_text(encoding="utf-8")
    fence = "`" * 8
    return f"# {path}\n\n{fence}{Path(path).suffix.removeprefix('.') or 'text'}\n{text.rstrip()}\n{fence}\n"
