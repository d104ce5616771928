"""The console: finds the page, asks who visits, shows it or does what its form says.

Pages are made of what the services of the control port answer, asked as the visitor: whoever may not call a method
cannot use a form that calls it, and the audit knows who did. There is no script. A form is taken only with the seal of
the visitor's session, from this very site.
"""

from __future__ import annotations

import ipaddress
import logging
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from gateway.errors import CallRefusedError
from gateway.web.frame import MARK, whole_page
from gateway.web.html import Html, el, join, link
from gateway.web.page import FormError, Visit
from gateway.web.pages import all_pages
from gateway.web.session import SESSION_S_MAX, Sessions
from gateway.web.style import stylesheet
from gateway.web.told import Told
from turnout.resources import ResourceNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.web.page import Page, Services
    from gateway.web.session import Session
    from gateway.web.told import Asked

FORM_BYTES_MAX = 64 * 1024
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
_UNAUTHENTICATED = 16
_STATUSES = {
    3: HTTPStatus.BAD_REQUEST,
    5: HTTPStatus.NOT_FOUND,
    6: HTTPStatus.CONFLICT,
    7: HTTPStatus.FORBIDDEN,
    9: HTTPStatus.CONFLICT,
    10: HTTPStatus.CONFLICT,
    _UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}
"""What a browser is told of a gRPC status; anything else is an internal error."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: a form's Origin would then be `null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_log = logging.getLogger(__name__)


class Console:
    """Answers what is not health and metrics on the HTTP port.

    Parameters
    ----------
    services
        Gives the services of the control port to somebody, by what they show: authorization, certificate, peer.
    asks
        Whether a visitor must show anything.
    """

    def __init__(self, services: Callable[[str | None, Sequence[str], str], Services], *, asks: bool) -> None:
        self._services = services
        self._asks = asks
        self._sessions = Sessions()
        self._style = stylesheet().encode()
        self._pages = all_pages()
        self._links = sorted((page for page in self._pages if page.nav), key=lambda page: page.place)

    def answer(self, asked: Asked) -> Told:
        """Return what to tell a browser."""
        path = urlsplit(asked.target).path
        if path == "/style.css":
            return Told(status=HTTPStatus.OK, body=self._style, content_type="text/css; charset=utf-8")
        if path == "/mark.svg":
            return Told(status=HTTPStatus.OK, body=MARK.encode(), content_type="image/svg+xml")
        told = self._answer_page(path, asked)
        told.headers |= HEADERS
        return told

    def _answer_page(self, path: str, asked: Asked) -> Told:
        known = self._sessions.find(_cookie(asked))
        session = known or self._sessions.begin()
        told = self._answer_session(path, asked, session)
        if known is None and "Set-Cookie" not in told.headers:
            told.headers["Set-Cookie"] = _set_cookie(session, secure=asked.secure)
        return told

    def _answer_session(self, path: str, asked: Asked, session: Session) -> Told:
        form: dict[str, str] = {}
        if asked.method == "POST":
            form = dict(parse_qsl(asked.body.decode(errors="replace"), keep_blank_values=True))
            refusal = self._refusal(asked, session, form)
            if refusal:
                return self._problem(asked, session, "Not done", refusal, HTTPStatus.FORBIDDEN)
        if path == SIGN_IN:
            return self._sign_in(asked, session, form)
        if path == SIGN_OUT and asked.method == "POST":
            self._sessions.end(session)
            return self._see_other("/", asked, self._sessions.begin())
        for page in self._pages:
            params = page.match(path)
            if params is not None:
                visit = Visit(
                    services=self._services_of(asked, session),
                    params=params,
                    query=dict(parse_qsl(urlsplit(asked.target).query)),
                    form=form,
                    seal=self._sessions.seal(session),
                )
                return self._answer_visit(page, visit, path, asked, session)
        return self._problem(asked, session, "Not found", "There is no such page.", HTTPStatus.NOT_FOUND)

    def _answer_visit(self, page: Page, visit: Visit, path: str, asked: Asked, session: Session) -> Told:
        """Show a page, or do what its form says and show it anew."""
        try:
            if asked.method == "POST":
                return self._act(page, visit, path, asked, session)
            content, title = page.show(visit), page.title(visit)
        except CallRefusedError as error:
            return self._refused(error, asked, session)
        except (FormError, ResourceNameError) as error:
            return self._problem(asked, session, "Not found", str(error), HTTPStatus.NOT_FOUND)
        except Exception:  # noqa: BLE001  (a visitor is told, the log has the rest)
            _log.exception("a page was not shown")
            words = "Something went wrong here; the gateway's log has the particulars."
            return self._problem(asked, session, "Failed", words, HTTPStatus.INTERNAL_SERVER_ERROR)
        return self._frame(asked, session, title, content, HTTPStatus.OK, here=page.under or page.path)

    def _act(self, page: Page, visit: Visit, path: str, asked: Asked, session: Session) -> Told:
        """Do what a form says, and send the visitor to the page, which tells what came of it."""
        action = page.actions.get(visit.form.get("verb", ""))
        if action is None:
            return self._problem(asked, session, "Not done", "No such thing is done here.", HTTPStatus.BAD_REQUEST)
        try:
            self._sessions.tell(session, action(visit), good=True)
        except CallRefusedError as error:
            if error.code == _UNAUTHENTICATED:
                raise
            self._sessions.tell(session, f"Not done: {error.message}", good=False)
        except (FormError, ResourceNameError) as error:
            self._sessions.tell(session, f"Not done: {error}", good=False)
        return self._see_other(quote(path, safe="/%"), asked, session)

    def _refused(self, error: CallRefusedError, asked: Asked, session: Session) -> Told:
        """Show why a page is not shown, or the way in where it is not known who visits."""
        if error.code == _UNAUTHENTICATED:
            return self._see_other(f"{SIGN_IN}?next={quote(asked.target, safe='')}", asked, session)
        status = _STATUSES.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
        return self._problem(asked, session, status.phrase.capitalize(), error.message, status)

    def _services_of(self, asked: Asked, session: Session) -> Services:
        authorization = session.authorization or asked.headers.get("Authorization")
        return self._services(authorization, asked.certificate, asked.peer)

    def _refusal(self, asked: Asked, session: Session, form: Mapping[str, str]) -> str:
        """Return why a form is not taken; empty when it is."""
        site = asked.headers.get("Sec-Fetch-Site", "same-origin")
        host = asked.headers.get("Host", "")
        origin = asked.headers.get("Origin")
        if site != "same-origin" or (origin is not None and urlsplit(origin).netloc != host):
            return "The form was sent by another site."
        if not self._asks and not _is_address(host):
            # Without credentials a name that an attacker lets point here would do: an address cannot be made to.
            return "Without tokens, changes are taken only where the console is opened by its address or as localhost."
        if not self._sessions.is_sealed(session, form.get("seal", "")):
            return "The form is not of this session: open the page again and send it once more."
        return ""

    def _sign_in(self, asked: Asked, session: Session, form: Mapping[str, str]) -> Told:
        """Show the form for a token, or begin a session with one."""
        where = form.get("next") or dict(parse_qsl(urlsplit(asked.target).query)).get("next", "/")
        plain = where.isascii() and where.isprintable()  # it goes into a header
        if not plain or not where.startswith("/") or where.startswith(("//", "/\\")):
            where = "/"
        if asked.method == "POST":
            authorization = f"Bearer {form.get('token', '').strip()}"
            if self._services(authorization, (), asked.peer).name:
                self._sessions.end(session)
                return self._see_other(where, asked, self._sessions.begin(authorization))
            self._sessions.tell(session, "No identity has this token, or it has expired.", good=False)
        fields = [
            el("input", type="hidden", name="seal", value=self._sessions.seal(session)),
            el("input", type="hidden", name="next", value=where),
            el(
                "label",
                el("span", "Token"),
                el("input", type="password", name="token", required=True, autocomplete="current-password"),
                el("small", "As the gateway's operator made it with ", el("code", "turnout tokens create"), "."),
            ),
            el("button", "Sign in", type="submit", class_="main"),
        ]
        content = [el("h1", "Sign in"), el("form", fields, method="post", action=SIGN_IN, class_="sheet")]
        status = HTTPStatus.UNAUTHORIZED if asked.method == "POST" else HTTPStatus.OK
        return self._frame(asked, session, "Sign in", el("div", content), status)

    def _see_other(self, where: str, asked: Asked, session: Session) -> Told:
        cookie = _set_cookie(session, secure=asked.secure)
        return Told(status=HTTPStatus.SEE_OTHER, headers={"Location": where, "Set-Cookie": cookie})

    def _frame(
        self, asked: Asked, session: Session, title: str, content: Html, status: HTTPStatus, *, here: str = ""
    ) -> Told:
        news = self._sessions.take_news(session)
        visitor = self._visitor(asked, session)
        body = whole_page(title, content, links=self._links, here=here, visitor=visitor, news=news)
        return Told(status=status, body=body)

    def _problem(self, asked: Asked, session: Session, title: str, words: str, status: HTTPStatus) -> Told:
        """Return a page that says why there is no other."""
        return self._frame(asked, session, title, join(el("h1", title), el("p", words)), status)

    def _visitor(self, asked: Asked, session: Session) -> Html:
        """Return who visits, and the way in or out."""
        if not self._asks:
            return el("p", "no sign-in", class_="visitor")
        name = self._services_of(asked, session).name
        if session.authorization is None:
            return el("p", name or link(SIGN_IN, "Sign in"), class_="visitor")
        seal = el("input", type="hidden", name="seal", value=self._sessions.seal(session))
        out = el("form", seal, el("button", "Sign out", type="submit"), method="post", action=SIGN_OUT)
        return el("div", el("span", name), out, class_="visitor")


def _cookie_name(*, secure: bool) -> str:
    # The prefix lets browsers take it from this host alone, by TLS.
    return "__Host-turnout" if secure else "turnout"


def _cookie(asked: Asked) -> str:
    """Return what the session's cookie holds; empty when there is none."""
    try:
        found = SimpleCookie(asked.headers.get("Cookie", "")).get(_cookie_name(secure=asked.secure))
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _set_cookie(session: Session, *, secure: bool) -> str:
    rules = f"Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_S_MAX:.0f}"
    return f"{_cookie_name(secure=secure)}={session.key}; {rules}" + ("; Secure" if secure else "")


def _is_address(host: str) -> bool:
    """Return whether a host is an address, or this very machine by its name."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
