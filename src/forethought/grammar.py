"""Predicates on named quantities: text in, a frozen expression out. A small grammar of its own; nothing is evaluated as code.

either     = both { "or" both }
both       = part { "and" part }
part       = "not" part | "(" either ")" | comparison
comparison = term ( ">" | ">=" | "<" | "<=" ) term { ... }     "0.2 < x <= 0.8" is a chain
term       = number | name                                     battery, position[0], position.x, arm.joint.z
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, final

from forethought.errors import UsageError, unknown_name

EXAMPLE = 'write it like "position.x > 0.8 and not (position.y < 0.5 or battery <= 20)"'
DEEPEST = 50
AXES = {".x": "[0]", ".y": "[1]", ".z": "[2]"}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])"
    r"|(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*|\[\d+\])*)|(?P<sign>[<>]=?|==|!=|[()]))"
)


@final
@dataclass(frozen=True)
class Name:
    """A quantity, as written."""

    text: str


Term: TypeAlias = Name | float


@final
@dataclass(frozen=True)
class Above:
    """left > right, or left >= right where not `strict`."""

    left: Term
    right: Term
    strict: bool


@final
@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Expression


@final
@dataclass(frozen=True)
class Both:
    """All parts hold."""

    parts: tuple[Expression, ...]


@final
@dataclass(frozen=True)
class Either:
    """At least one part holds."""

    parts: tuple[Expression, ...]


Expression: TypeAlias = Above | Not | Both | Either


def parse(text: str) -> Expression:
    """The expression that a predicate's text means. Raises UsageError with the place, and what was expected there.

    >>> parse("0.5 >= x")
    Above(left=0.5, right=Name(text='x'), strict=False)
    """
    return _Parser(text).whole()


def names_in(expression: Expression) -> Iterator[str]:
    """Every name, as written, from left to right."""
    if isinstance(expression, Above):
        yield from (term.text for term in (expression.left, expression.right) if isinstance(term, Name))
    elif isinstance(expression, Not):
        yield from names_in(expression.part)
    else:
        for part in expression.parts:
            yield from names_in(part)


def canonical(name: str, names: tuple[str, ...]) -> str:
    """The quantity that a name means: itself, or with .x, .y, .z for [0], [1], [2]. Raises UsageError.

    >>> canonical("position.y", ("position[0]", "position[1]"))
    'position[1]'
    """
    if name in names:
        return name
    numbered = next((name[: -len(axis)] + index for axis, index in AXES.items() if name.endswith(axis)), name)
    if numbered not in names:
        raise unknown_name("quantity", name, names)
    return numbered


@final
class _Parser:
    """Recursive descent over the tokens; `at` is the next one."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0
        self.tokens = list(_tokens(text))

    def whole(self) -> Expression:
        expression = self._either()
        if self._next()[0]:
            raise self._error("and, or, or the end")
        return expression

    def _either(self) -> Expression:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self) -> Expression:
        parts = [self._part()]
        while self._take("and"):
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _part(self) -> Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            raise UsageError(f"the predicate nests more than {DEEPEST} deep; write it flatter")
        if self._take("not"):
            found: Expression = Not(self._part())
        elif self._take("("):
            found = self._either()
            if not self._take(")"):
                raise self._error("')'")
        else:
            found = self._comparison()
        self.depth -= 1
        return found

    def _comparison(self) -> Expression:
        terms, links = [self._term()], []
        while self._next()[1] in ("<", "<=", ">", ">=", "==", "!="):
            sign = self._next()[1]
            if sign in ("==", "!="):
                raise self._error("<, <=, > or >=, as two measured numbers are never equal: give a range, 0.4 < x < 0.6")
            self.at += 1
            terms.append(self._term())
            left, right = (terms[-2], terms[-1]) if sign[0] == ">" else (terms[-1], terms[-2])
            links.append(Above(left, right, len(sign) == 1))
        if not links:
            raise self._error("<, <=, > or >=")
        return links[0] if len(links) == 1 else Both(tuple(links))

    def _term(self) -> Term:
        kind, token, _ = self._next()
        if kind not in ("number", "name") or token in ("and", "or", "not"):
            raise self._error("a number or a name")
        self.at += 1
        return float(token) if kind == "number" else Name(token)

    def _next(self) -> tuple[str, str, int]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("", "", len(self.text))

    def _take(self, token: str) -> bool:
        found = self._next()[1] == token
        self.at += found
        return found

    def _error(self, expected: str) -> UsageError:
        _, token, place = self._next()
        got = f"'{token}'" if token else "the end"
        return UsageError(f"predicate '{self.text}': got {got} at character {place + 1}, expected {expected}; {EXAMPLE}")


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            place = at + len(text[at:]) - len(text[at:].lstrip())
            raise UsageError(f"predicate '{text}': got '{text[place]}' at character {place + 1}, expected a number, a name, "
                             f"a comparison or a parenthesis; {EXAMPLE}")  # fmt: skip
        yield match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)
        at = match.end()
