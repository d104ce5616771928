"""All pages of a list as one."""

from collections.abc import Callable
from typing import Any

PAGE_SIZE = 1000


def all_pages(method: Callable[[Any], Any], request: Any, field: str) -> list[Any]:
    """Return what a listing method gives under ``field``, page after page."""
    request.page_size = PAGE_SIZE
    found: list[Any] = []
    while True:
        answer = method(request)
        found += getattr(answer, field)
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token
