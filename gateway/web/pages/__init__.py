"""The pages of the console. A file here with a constant `PAGE` is a page; nothing else is to be done for one."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.web.page import Page


def all_pages() -> list[Page]:
    """Return the pages, those first whose path has fewer placeholders."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    pages: list[Page] = [module.PAGE for module in modules if hasattr(module, "PAGE")]
    return sorted(pages, key=lambda page: (page.path.count("{"), page.path))
