"""Swaps under load: changes of the champion, with the window in which each took hold."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from turnout.control import Control

_SETTLED_S = 1.0


@dataclass(frozen=True, slots=True)
class SwapWindow:
    """A change of the champion while requests were coming.

    Attributes
    ----------
    what
        For example `promote version 2`.
    begin_s, applied_s
        When it was asked for, and when every worker served it; Unix seconds.
    """

    what: str
    begin_s: float
    applied_s: float

    @property
    def end_s(self) -> float:
        """Return when the window ends: a second after every worker served the change, when the old version is gone."""
        return self.applied_s + _SETTLED_S


def swap(control: Control, what: str, change: Callable[[], int]) -> SwapWindow:
    """Make the change and return its window; `change` returns the revision that holds it."""
    begin_s = time.time()
    control.wait_for_revision(change())
    return SwapWindow(what, begin_s, time.time())
