"""A page of the console, and the visit of one: what a page is asked with and what it answers."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import quote, unquote

from gateway.web.html import Child, Html, el
from turnout.admin.v1 import admin_service_pb2_grpc
from turnout.experiments.v1 import experiment_service_pb2_grpc, shadow_service_pb2_grpc
from turnout.registry.v1 import registry_service_pb2_grpc
from turnout.trainer.v1 import trainer_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import grpc

T = TypeVar("T", int, float)


class Services(Protocol):
    """The services of the control port, as somebody who shows these credentials may use them."""

    @property
    def name(self) -> str:
        """Who that is; empty where nobody is asked, or it is not known."""

    def channel(self) -> grpc.Channel:
        """Return what a generated stub takes for a channel."""

    def may(self, path: str) -> bool:
        """Return whether a method may be called."""


@dataclass(kw_only=True)
class Visit:
    """One request for a page.

    Attributes
    ----------
    services
        The services, as the visitor may use them.
    params
        What the path's placeholders stand for.
    query, form
        What stands behind the path, and what was sent.
    seal
        What every form carries, so that no other site can send it.
    """

    services: Services
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    seal: str = ""

    @functools.cached_property
    def registry(self) -> registry_service_pb2_grpc.RegistryServiceStub:
        """Models, versions and aliases."""
        return registry_service_pb2_grpc.RegistryServiceStub(self.services.channel())

    @functools.cached_property
    def experiments(self) -> experiment_service_pb2_grpc.ExperimentServiceStub:
        """Experiments."""
        return experiment_service_pb2_grpc.ExperimentServiceStub(self.services.channel())

    @functools.cached_property
    def shadows(self) -> shadow_service_pb2_grpc.ShadowServiceStub:
        """What runs in the shadow."""
        return shadow_service_pb2_grpc.ShadowServiceStub(self.services.channel())

    @functools.cached_property
    def training(self) -> trainer_service_pb2_grpc.TrainerServiceStub:
        """Policies and runs of training."""
        return trainer_service_pb2_grpc.TrainerServiceStub(self.services.channel())

    @functools.cached_property
    def admin(self) -> admin_service_pb2_grpc.AdminServiceStub:
        """Operation of the gateway."""
        return admin_service_pb2_grpc.AdminServiceStub(self.services.channel())

    def action(
        self,
        title: str,
        verb: str,
        *fields: Child,
        method: str,
        style: str = "",
        note: Child = None,
    ) -> Html:
        """Return a form that is folded away, which sends an action of this page; nothing where it may not be done.

        Parameters
        ----------
        title
            What is done, as its button says.
        verb
            The action's name among the page's actions.
        fields
            What is to be filled in.
        method
            The full path of the method that it will call, for the authority.
        note
            What is to be known before.
        """
        if not self.services.may(method):
            return Html("")
        form = el(
            "form",
            el("p", note, class_="soft") if note else None,
            el("input", type="hidden", name="seal", value=self.seal),
            el("input", type="hidden", name="verb", value=verb),
            *fields,
            el("button", title, type="submit", class_=style or None),
            method="post",
        )
        return el("details", el("summary", title), form, class_="action")


class FormError(ValueError):
    """A form says something that cannot be read."""


def number_in(form: Mapping[str, str], name: str, kind: Callable[[str], T]) -> T:
    """Return a number of a form, or raise FormError."""
    try:
        return kind(form.get(name, ""))
    except ValueError as error:
        raise FormError(f"{name} is {form.get(name, '')[:40]!r}, which is no number") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: one file under `gateway.web.pages` makes it, in a constant `PAGE`.

    Attributes
    ----------
    path
        Where it is: ``/models/{model}``.
    title
        What it is called, of a visit.
    show
        Returns its content.
    actions
        What may be done on it, by name: each does it and returns a sentence that says what was done.
    nav, place
        Its word among the links at the top, and where it stands there; empty: it has none.
    under
        The page that it belongs to, whose link is marked.
    """

    path: str
    title: Callable[[Visit], str]
    show: Callable[[Visit], Html]
    actions: Mapping[str, Callable[[Visit], str]] = field(default_factory=dict)
    nav: str = ""
    place: int = 0
    under: str = ""

    def match(self, path: str) -> dict[str, str] | None:
        """Return what the placeholders stand for in a path; None when it is another page's."""
        found = re.fullmatch(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.path)), path)
        return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


def field_of(label: str, name: str, *, hint: str = "", **attributes: object) -> Html:
    """Return a field of a form with its label."""
    return el("label", el("span", label), el("input", name=name, **attributes), el("small", hint) if hint else None)


def choice_of(label: str, name: str, options: Sequence[tuple[str, str]], *, chosen: str = "") -> Html:
    """Return a choice among values with their words."""
    listed = [el("option", words, value=value, selected=value == chosen) for value, words in options]
    return el("label", el("span", label), el("select", listed, name=name))


def reason_field(*, required: bool = False) -> Html:
    """Return the field for a reason."""
    return field_of("Reason", "reason", required=required, maxlength="1000", hint="Kept in the history.")


def href(*parts: str) -> str:
    """Return a path of parts, each quoted."""
    return "/" + "/".join(quote(part, safe="") for part in parts)
