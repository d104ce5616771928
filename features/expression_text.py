"""Expressions over features, read from text into trees; nothing else is ever done with the text."""

from __future__ import annotations

import math
import re

from features.errors import DefinitionInvalidError
from features.expression import OPERATIONS, Applied, Constant, Expression, Operand, kind_of

EXPRESSION_CHARS_MAX = 2000
OPERATIONS_MAX = 200
DEPTH_MAX = 32

_CALLED = frozenset(name for name, operation in OPERATIONS.items() if not operation.sign)
_COMPARING = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal"}
_ADDING = {"+": "add", "-": "subtract"}
_MULTIPLYING = {"*": "multiply", "/": "divide"}
_SPACE = re.compile(r"[ \t\r\n]*", re.ASCII)
_WORDS = re.compile(
    r"(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<feature>[a-z][a-z0-9_-]*\.[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|==|!=|[-+*/<>(),])",
    re.ASCII,
)


def parse(text: str) -> Expression:
    """Return the tree of an expression, or raise DefinitionInvalidError with the place of what does not fit."""
    if len(text) > EXPRESSION_CHARS_MAX:
        raise DefinitionInvalidError(f"an expression has {EXPRESSION_CHARS_MAX} characters at most, not {len(text)}")
    return _Reader(text).whole()


class _Reader:
    """Reads one text: each method reads what its name says and leaves the rest."""

    __slots__ = ("_at", "_depth", "_kind", "_operations", "_text", "_word")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._operations = 0
        self._kind = self._word = ""
        self._go_on()

    def whole(self) -> Expression:
        """Read all of it."""
        expression = self._either()
        if self._kind:
            raise self._wrong(f"{self._word!r} is not expected")
        return expression

    def _either(self) -> Expression:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._wrong(f"it nests more than {DEPTH_MAX} deep")
        left = self._both()
        while self._takes("or"):
            left = self._applied("or", left, self._both())
        self._depth -= 1
        return left

    def _both(self) -> Expression:
        left = self._denial()
        while self._takes("and"):
            left = self._applied("and", left, self._denial())
        return left

    def _denial(self) -> Expression:
        denials = 0
        while self._takes("not"):
            denials += 1
        expression = self._comparison()
        for _ in range(denials):
            expression = self._applied("not", expression)
        return expression

    def _comparison(self) -> Expression:
        left = self._sum()
        name = _COMPARING.get(self._word)
        if name is None:
            return left
        self._go_on()
        return self._applied(name, left, self._sum())

    def _sum(self) -> Expression:
        left = self._product()
        while name := _ADDING.get(self._word):
            self._go_on()
            left = self._applied(name, left, self._product())
        return left

    def _product(self) -> Expression:
        left = self._negation()
        while name := _MULTIPLYING.get(self._word):
            self._go_on()
            left = self._applied(name, left, self._negation())
        return left

    def _negation(self) -> Expression:
        negations = 0
        while self._takes("-"):
            negations += 1
        expression = self._atom()
        for _ in range(negations):
            expression = self._applied("negate", expression)
        return expression

    def _atom(self) -> Expression:
        kind, word = self._kind, self._word
        if not kind:
            raise self._wrong("it ends where a value is expected")
        self._go_on()
        if kind == "number":
            if not math.isfinite(float(word)):
                raise self._wrong(f"{word} is more than a float64 holds")
            return Constant(float(word))
        if kind == "feature":
            return Operand(word)
        if word == "(":
            inner = self._either()
            self._expect(")")
            return inner
        if word in _CALLED:
            self._expect("(")
            arguments = [self._either()]
            while self._takes(","):
                arguments.append(self._either())
            self._expect(")")
            return self._applied(word, *arguments)
        raise self._wrong(f"{word!r} is no value: values are numbers, view.feature, request.feature and {_called()}")

    def _applied(self, name: str, *arguments: Expression) -> Applied:
        self._operations += 1
        if self._operations > OPERATIONS_MAX:
            raise self._wrong(f"it has more than {OPERATIONS_MAX} operations")
        operation = OPERATIONS[name]
        takes = operation.takes * len(arguments) if operation.many else operation.takes
        if len(arguments) != len(takes) or (operation.many and len(arguments) < 2):  # noqa: PLR2004  (two)
            wanted = "2 arguments or more" if operation.many else f"{len(operation.takes)} arguments"
            raise self._wrong(f"{name} takes {wanted}, not {len(arguments)}")
        for argument, kind in zip(arguments, takes, strict=True):
            if kind_of(argument) != kind:
                raise self._wrong(f"{operation.sign or name} takes a {kind} value, not a {kind_of(argument)} value")
        return Applied(name, arguments)

    def _takes(self, word: str) -> bool:
        if self._word != word:
            return False
        self._go_on()
        return True

    def _expect(self, word: str) -> None:
        if not self._takes(word):
            raise self._wrong(f"{word!r} is expected")

    def _go_on(self) -> None:
        """Read the next word; none is left where its kind is empty."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        match = _WORDS.match(self._text, self._at)
        if match is None:
            if self._at < len(self._text):
                raise self._wrong(f"{self._text[self._at]!r} is nothing that an expression has")
            self._kind = self._word = ""
            return
        self._at = match.end()
        self._kind, self._word = match.lastgroup or "", match.group()

    def _wrong(self, what: str) -> DefinitionInvalidError:
        return DefinitionInvalidError(f"the expression, at character {self._at}: {what}", place=self._at)


def _called() -> str:
    return ", ".join(sorted(f"{name}()" for name in _CALLED))
