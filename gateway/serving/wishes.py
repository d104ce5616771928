"""What others want of a worker: the newest desired set, and the models that it shall hold."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import ModelNotServedError, StillLoadingError, VersionUnloadableError
from gateway.models.policy import LoadState
from gateway.models.slots import VersionKey
from gateway.serving.standing import NOTHING_APPLIED, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from gateway.serving.table import Document

HOLD_S_MAX = 30.0
"""How long `hold` and `unhold` wait for what they asked for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """All that is wanted at one time.

    Attributes
    ----------
    number
        Rises with each wish.
    is_new
        Whether it, or what a load came to, was not looked at yet.
    document, offered_at
        The newest desired set, and when it came, on the monotonic clock; None before the first.
    holds
        The models that are held, each with the reason.
    forgiven
        The models whose failures are to be forgotten.
    """

    number: int
    is_new: bool
    document: Document | None
    offered_at: float
    holds: Mapping[str, str]
    forgiven: AbstractSet[str]


class Wishes:
    """Takes wishes from any thread, and gives them to the one that fulfils them.

    Parameters
    ----------
    spread
        Passes a hold of a model, or with None its end, to all workers of the gateway, this one included: each is then
        told by `be_held`. Without one a hold is this worker's alone.

    Attributes
    ----------
    progress
        What the worker serves, as it was last told.
    """

    def __init__(self, spread: Callable[[str, str | None], None] | None = None) -> None:
        self._spread = spread or self._keep
        self.progress = Progress(NOTHING_APPLIED, {})
        self._changed = threading.Condition()
        self._is_new = False
        self._closed = False
        self._number = 0
        self._document: Document | None = None
        self._offered_at = 0.0
        self._holds: dict[str, str] = {}
        self._forgiven: set[str] = set()
        self._forgiven_by: dict[str, int] = {}
        self._published_holds: Mapping[str, str] = {}
        self._settled = 0

    def offer(self, document: Document) -> None:
        """Say what is wanted now; an older revision than the newest one offered is passed over."""
        with self._changed:
            if self._document is None or document["revision"] > self._document["revision"]:
                self._document = document
                self._offered_at = time.monotonic()
                self._add()

    def hold(self, model: str, reason: str, *, timeout_s: float = HOLD_S_MAX) -> None:
        """Stop serving a model until `unhold` or the gateway's end; return when no new call reaches it here.

        Its versions drain and are freed; each is told as held, with the reason. A hold on a held model changes the
        reason. Other workers follow at once, without being waited for.

        Raises
        ------
        ModelNotServedError
            When nothing of the model is wanted, held or not.
        StillLoadingError
            When that was not done within the time.
        """
        with self._changed:
            self._known(model)
        self._spread(model, reason)
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._closed or self._published_holds.get(model) == reason, timeout_s
            ):
                raise StillLoadingError(f"after {timeout_s:g} s model `{model}` is not taken out of service yet")

    def unhold(self, model: str, *, timeout_s: float = HOLD_S_MAX) -> None:
        """Serve a model again; one that is not held is tried anew where it failed. Return when its champion answers.

        Raises
        ------
        ModelNotServedError
            When nothing of the model is wanted.
        VersionUnloadableError
            When its champion cannot be loaded; what answered before goes on.
        StillLoadingError
            When it was not loaded within the time.
        """
        with self._changed:
            self._known(model)
            before = self._forgiven_by.get(model, 0)
        self._spread(model, None)
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._closed or before < self._forgiven_by.get(model, 0) <= self._settled, timeout_s
            ):
                raise StillLoadingError(f"after {timeout_s:g} s model `{model}` is not loaded yet", model=model)
            champion = self._known(model)["champion"]
            standing = self.progress.standings.get(VersionKey(model, champion))
        if standing is not None and standing.state is not LoadState.READY:
            raise VersionUnloadableError(standing.reason, model=model, version=champion)

    def be_held(self, holds: Mapping[str, str], *, forgiven: str = "") -> None:
        """Say which models are held, each with its reason: all of them; and which one is to be tried anew."""
        with self._changed:
            self._holds = dict(holds)
            number = self._add()
            if forgiven:
                self._forgiven.add(forgiven)
                self._forgiven_by[forgiven] = number

    def close(self) -> None:
        """Want nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def look_again(self) -> None:
        """Let the same wish be looked at once more, since what is there has changed."""
        with self._changed:
            self._is_new = True
            self._changed.notify_all()

    def wait(self, timeout_s: float | None) -> Wish | None:
        """Return all that is wanted when there is something new or the time is over; None after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_new, timeout_s)
            if self._closed:
                return None
            is_new, self._is_new = self._is_new, False
            forgiven, self._forgiven = self._forgiven, set()
            return Wish(self._number, is_new, self._document, self._offered_at, self._holds, forgiven)

    def answer(self, wish: Wish, progress: Progress, *, settled: bool) -> None:
        """Say that a wish is published, and whether all of it was loaded or tried."""
        with self._changed:
            self.progress = progress
            self._published_holds = wish.holds
            if settled:
                self._settled = wish.number
            self._changed.notify_all()

    def _keep(self, model: str, reason: str | None) -> None:
        """Hold a model, or hold it no longer, in this worker alone."""
        with self._changed:
            others = {name: why for name, why in self._holds.items() if name != model}
            self.be_held(others if reason is None else {**others, model: reason}, forgiven="" if reason else model)

    def _add(self) -> int:
        """Wake who fulfils the wishes and return the number of the one that was added; with the lock held."""
        self._number += 1
        self._is_new = True
        self._changed.notify_all()
        return self._number

    def _known(self, model: str) -> Document:
        """Return a model's part of the newest desired set, or raise ModelNotServedError; with the lock held."""
        models: Document = self._document["models"] if self._document is not None else {}
        if model not in models:
            raise ModelNotServedError(f"model `{model}` is not served: it has no version with an alias", model=model)
        part: Document = models[model]
        return part
