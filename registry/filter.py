"""The filter language of searches, in the style of AIP-160: text in, a tree out.

::

    expression = sequence of factors joined by AND
    factor     = terms joined by OR            (OR binds tighter than AND, as AIP-160 has it)
    term       = [NOT | -] ( comparison | "(" expression ")" )
    comparison = field operator value          operators: =  !=  <  <=  >  >=  :
    field      = name { "." ( name | "quoted" ) }
    value      = word | number | "quoted"      `field:*` asks whether there is one

For example ``metrics.auc >= 0.8 AND tags.team = "risk" AND NOT stage = archived``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.errors import FilterInvalidError

CHARS_MAX = 4096
COMPARISONS_MAX = 64
DEPTH_MAX = 16

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<operator><=|>=|!=|=|<|>|:)
      | (?P<bracket>[()])
      | "(?P<quoted>(?:[^"\\]|\\.)*)"
      | (?P<word>[^\s()=<>!:"]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[^\s.]+(?:\.[^\s.]+)*)?")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field against one value; `present` asks only whether there is one."""

    field: str
    name: str
    operator: str
    value: str
    present: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    """What is inside does not hold."""

    inside: Tree


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """One part holds at least."""

    parts: tuple[Tree, ...]


Tree = Comparison | Not | All | Any


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Tree | None:
    """Return the tree of a filter, None for an empty one, or raise FilterInvalidError that says where it goes wrong."""
    if len(text) > CHARS_MAX:
        raise FilterInvalidError(f"a filter has at most {CHARS_MAX} characters", at=CHARS_MAX)
    tokens = _tokens(text)
    if not tokens:
        return None
    parser = _Parser(tokens, len(text))
    tree = parser.expression(0)
    parser.end()
    return tree


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise FilterInvalidError(f"the filter cannot be read from {text[at : at + 20]!r} on", at=at)
        kind = str(match.lastgroup)
        body = match[kind]
        tokens.append(_Token(kind, _ESCAPE.sub(r"\1", body) if kind == "quoted" else body, match.start(kind)))
        at = match.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: list[_Token], length: int) -> None:
        self._tokens = tokens
        self._length = length
        self._next = 0
        self._comparisons = 0

    def expression(self, depth: int) -> Tree:
        if depth > DEPTH_MAX:
            raise FilterInvalidError(f"brackets go at most {DEPTH_MAX} deep", at=self._here())
        parts = [self._factor(depth)]
        while (token := self._peek()) is not None and token.text != ")":
            if not self._keyword("AND") and token.kind == "operator":
                raise self._unexpected("AND")
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def end(self) -> None:
        if self._peek() is not None:
            raise self._unexpected("the end")

    def _factor(self, depth: int) -> Tree:
        parts = [self._term(depth)]
        while self._keyword("OR"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _term(self, depth: int) -> Tree:
        if self._keyword("NOT"):
            return Not(self._term(depth))
        token = self._peek()
        if token is not None and (token.kind, token.text) == ("bracket", "("):
            self._next += 1
            inside = self.expression(depth + 1)
            if not self._take("bracket", ")"):
                raise self._unexpected("`)`")
            return inside
        if token is not None and token.kind == "word" and token.text.startswith("-") and len(token.text) > 1:
            self._tokens[self._next] = _Token("word", token.text[1:], token.at + 1)
            return Not(self._comparison())
        return self._comparison()

    def _comparison(self) -> Comparison:
        self._comparisons += 1
        if self._comparisons > COMPARISONS_MAX:
            raise FilterInvalidError(f"a filter has at most {COMPARISONS_MAX} comparisons", at=self._here())
        field, name = self._field()
        operator = self._peek()
        if operator is None or operator.kind != "operator":
            raise self._unexpected(f"an operator after `{field}`")
        self._next += 1
        value = self._peek()
        if value is None or value.kind not in {"word", "quoted"}:
            raise self._unexpected(f"a value after `{operator.text}`")
        self._next += 1
        present = (operator.text, value.kind, value.text) == (":", "word", "*")
        return Comparison(field, name, operator.text, value.text, present)

    def _field(self) -> tuple[str, str]:
        token = self._peek()
        if token is None or token.kind != "word":
            raise self._unexpected("a field")
        self._next += 1
        head, dot, name = token.text.partition(".")
        following = self._peek()
        if dot and not name and following is not None and following.kind == "quoted":  # tags."a name with spaces"
            self._next += 1
            return head, following.text
        if not _PATH.fullmatch(token.text):
            raise FilterInvalidError(f"{token.text[:64]!r} is not a field", at=token.at)
        return head, name

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _keyword(self, word: str) -> bool:
        return self._take("word", word)

    def _take(self, kind: str, text: str) -> bool:
        token = self._peek()
        if token is None or (token.kind, token.text) != (kind, text):
            return False
        self._next += 1
        return True

    def _here(self) -> int:
        token = self._peek()
        return self._length if token is None else token.at

    def _unexpected(self, wanted: str) -> FilterInvalidError:
        token = self._peek()
        found = "the filter ends" if token is None else f"there is {token.text[:32]!r}"
        return FilterInvalidError(
            f"the filter wants {wanted} at character {self._here()}, but {found}", at=self._here()
        )
