"""A small reader of the LaTeX that the library writes: text in, number out.

It knows the notation only (fractions, roots, brackets, implied products, function names), nothing
of sympy and nothing of the formulas, so that what it computes is what a reader of the page would.
"""

import re

from mpmath import mp, mpf

_TOKEN = re.compile(
    r"\\begin\{aligned\}|\\end\{aligned\}|\\operatorname\{\w+\}|\\d?dot\{\\\w+\}|\\mathcal\{O\}"
    r"|\\frac\{d\\?[A-Za-z]+(?:_\{\w\})?\}\{d\\?\w+\}|\\mathrm\{\w+\}|o\(1\)"
    r"|\\[A-Za-z]+'*|\\[,;! ]|\d+|[A-Za-z]'*|[-+^_{}()\[\],|=]"
)
_SKIPPED = {r"\quad", r"\,", r"\ ", r"\limits", r"\left", r"\right", r"\Bigl", r"\Bigr"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def _omega(z):
    return mp.lambertw(mp.exp(z)).real


def _kepler(e, mean):
    return mp.findroot(lambda v: v + e * mp.sinh(v) - mean, mp.asinh(mean / (1 + e)))


_FUNCTIONS = {
    r"\log": mp.log,
    r"\sinh": mp.sinh,
    r"\cosh": mp.cosh,
    r"\tanh": mp.tanh,
    r"\operatorname{Ei}": mp.ei,
    r"\operatorname{Kepler}": _kepler,
}


class Reader:
    """One formula, read from left to right."""

    def __init__(self, text: str, values: dict[str, mpf]) -> None:
        leftover = _TOKEN.sub("", text).strip()
        assert not leftover, f"unknown notation {leftover!r} in {text}"
        self.tokens = [t for t in _TOKEN.findall(text) if t not in _SKIPPED]
        self.place, self.values = 0, values

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        assert wanted is None or token == wanted, (
            f"{wanted} expected at {self.tokens[self.place :]}"
        )
        self.place += 1
        return token

    def whole(self) -> mpf:
        value = self.sum()
        assert not self.peek(), f"left over: {self.tokens[self.place :]}"
        return value

    def sum(self) -> mpf:
        total, sign = mpf(0), 1
        if self.peek() in "+-" and self.peek():
            sign = -1 if self.take() == "-" else 1
        total = sign * self.product()
        while self.peek() and self.peek() in "+-":
            sign = -1 if self.take() == "-" else 1
            total += sign * self.product()
        return total

    def product(self) -> mpf:
        value = self.power()
        while self.peek() and self.peek() not in {"+", "-", ")", "]", "}", ",", "=", "d", r"\end"}:
            value *= self.power()
        return value

    def power(self) -> mpf:
        base = self.atom()
        if self.peek() == "^":
            self.take()
            return base ** self.group()
        return base

    def group(self) -> mpf:
        if self.peek() in _CLOSING:
            opening = self.take()
            value = self.sum()
            self.take(_CLOSING[opening])
            return value
        return self.atom()

    def arguments(self) -> list[mpf]:
        braces = self.peek() == "{"
        if braces:
            self.take()
        self.take("(")
        found = [self.sum()]
        while self.peek() == ",":
            self.take()
            found.append(self.sum())
        self.take(")")
        if braces:
            self.take("}")
        return found

    def name(self, token: str) -> str:
        """A symbol with its subscript, as it was printed, blanks apart."""
        if self.peek() != "_":
            return token
        self.take()
        self.take("{")
        inner = ""
        while self.peek() != "}":
            inner += self.take()
        self.take("}")
        return f"{token}_{{{inner}}}"

    def atom(self) -> mpf:
        token = self.peek()
        if token in _CLOSING:
            return self.group()
        self.take()
        if token.isdigit():
            return mpf(int(token))
        if token == r"\pi":
            return +mp.pi
        if token == r"\infty":
            return mpf(13)  # a mark, as the integral's
        if token == r"\frac":
            return self.group() / self.group()
        if token == r"\sqrt":
            return mp.sqrt(self.group())
        if token == r"\int":
            return self.integral()
        if token == r"\lim":
            self.take("_"), self.take("{")
            while self.take() != "}":
                pass
            return self.power()
        if token == r"\mathcal{O}":
            self.take("(")
            self.take("t"), self.take("^")
            power = self.group()
            self.take(")")
            return self.values[f"O{int(power)}"]
        if token == r"\operatorname{Li}":
            self.take("_"), self.take("{"), self.take("2"), self.take("}")
            return mp.polylog(2, *self.arguments()).real
        if token in _FUNCTIONS:
            return self.call(_FUNCTIONS[token])
        if token == r"\omega" and self.peek() == "(":
            return self.call(_omega)
        if token == "e" and "e" not in self.values:
            return mp.e
        return self.values[self.name(token)]

    def call(self, function) -> mpf:
        if self.peek() == "^":  # f^{n}(x)
            self.take()
            power = self.group()
            return function(*self.arguments()) ** power
        return function(*self.arguments())

    def integral(self) -> mpf:
        """A mark in place of the integral: its integrand and its bounds, each with a weight."""
        self.take("_")
        low = self.group()
        self.take("^")
        high = self.group()
        inner = self.sum()
        self.take("d")
        self.take()
        return inner + 7 * low + 11 * high


def rows(body: str) -> list[tuple[str, str]]:
    """Left and right sides of the equations of a body, lines joined."""
    text = body.replace(r"\begin{aligned}", "").replace(r"\end{aligned}", "")
    found: list[tuple[str, str]] = []
    for row in re.split(r"\\\\(?:\[1ex\])?", text):
        if "={} &" in row:
            left, right = row.split("={} &")
            found.append((left.strip(), right.strip()))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {row.replace('&', '').strip()}")
        else:
            left, right = row.split(" = ")
            found.append((left.strip(), right.strip()))
    return found


def read(text: str, values: dict[str, mpf]) -> mpf:
    """The number that a formula stands for, given what its symbols stand for."""
    return Reader(text, values).whole()
