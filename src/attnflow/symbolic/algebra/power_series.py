"""Exact power series of any expression, computed one coefficient at a time.

An expression becomes a graph of lazy Laurent series whose coefficients are rational functions with
exact arithmetic; a coefficient is computed when it is asked for and kept. A series may be defined
by its own derivative, so the solution of a differential equation is expanded by writing the
equation down. Nothing here is asked of ``sympy.series`` or ``sympy.limit``: the cost is bounded.
"""

from collections.abc import Callable
from math import lcm
from typing import Any

import sympy as sp

from attnflow.symbolic.algebra.coefficients import Field, Grow, NoExpansion
from attnflow.symbolic.algebra.float_form import textbook

_SCAN = 12  # how many vanishing coefficients are passed before a series counts as hopeless


class Series:
    """A lazy Laurent series; coefficients below ``start`` vanish.

    Args:
        start: index of the first coefficient that may differ from zero.
        rule: index -> coefficient, for indices from ``start`` on.
    """

    def __init__(self, start: int, rule: Callable[[int], Any], zero: Any) -> None:  # noqa: D107
        self.start, self._rule, self._zero = start, rule, zero
        self._known: dict[int, Any] = {}

    def __getitem__(self, n: int) -> Any:  # noqa: D105
        if n < self.start:
            return self._zero
        if n not in self._known:
            self._known[n] = self._rule(n)
        return self._known[n]

    def leading(self, what: object = "the expression") -> int:
        """Index of the first coefficient that is not zero.

        Raises:
            NoExpansion: none is found among the first few.
        """
        for n in range(self.start, self.start + _SCAN):
            if self[n]:
                return n
        raise NoExpansion(f"{what} vanishes to order {_SCAN} at the point of expansion")


class Expansion:
    """Series of expressions, given the series of their variables.

    Args:
        field: the coefficients.
        clock: None, or the symbol mu where the series run in w = e^(-mu/q) and mu itself is a
            coefficient: then e^mu is w^-q and log w is -mu/q.
        compact: whether the constant term of every sum becomes a generator of its own.
    """

    def __init__(  # noqa: D107
        self, field: Field, clock: sp.Symbol | None = None, compact: bool = False
    ) -> None:
        self.field, self.clock, self.compact = field, clock, compact
        self.variables: dict[sp.Expr, Series] = {}
        self._memo: dict[sp.Expr, Series] = {}
        self._zero = field(0)

    def series(self, start: int, rule: Callable[[int], Any]) -> Series:
        """A lazy series with coefficients in this field."""
        return Series(start, rule, self._zero)

    def constant(self, value: Any, at: int = 0) -> Series:
        """Value times the ``at``-th power of the variable, as a series."""
        return self.series(at, lambda n: value if n == at else self._zero)

    def of(self, e: sp.Expr) -> Series:
        """The series of an expression in the variables.

        Raises:
            NoExpansion: an exponent grows without bound, or a divisor vanishes identically.
        """
        if e in self.variables:
            return self.variables[e]
        if e not in self._memo:
            self._memo[e] = self._build(e)
        return self._memo[e]

    def _build(self, e: sp.Expr) -> Series:
        if not e.free_symbols & set(self.variables):
            return self.constant(self.field(e))
        if isinstance(e, sp.Add):
            parts = [self.of(a) for a in e.args]
            start = min(p.start for p in parts)

            def rule(n: int) -> Any:
                total = sum((p[n] for p in parts), self._zero)
                return self.field.whole(total) if self.compact and n == 0 else total

            return self.series(start, rule)
        if isinstance(e, sp.Mul):
            product = self.of(e.args[0])
            for factor in e.args[1:]:
                product = self.product(product, self.of(factor))
            return product
        if isinstance(e, sp.exp):
            return self._exp(self.of(e.exp), e)
        if isinstance(e, sp.Pow) and e.exp.is_Rational:
            return self._pow(self.of(e.base), e.exp, e.base)
        if isinstance(e, sp.Pow):
            return self._exp(self.of(e.exp * sp.log(e.base)), e)
        if isinstance(e, sp.log):
            return self._log(self.of(e.args[0]), e.args[0])
        if isinstance(e, sp.Function) and len(e.args) == 1:
            return self._function(e)
        raise NoExpansion(f"no series is known for {e.func.__name__} in {e}")

    def product(self, a: Series, b: Series) -> Series:
        """The product of two series."""

        def rule(n: int) -> Any:
            total = self._zero
            for i in range(a.start, n - b.start + 1):
                left = a[i]
                if left:
                    total += left * b[n - i]
            return total

        return self.series(a.start + b.start, rule)

    def integral(self, initial: Any, velocity: Callable[[int], Any]) -> Series:
        """The series with this constant term and derivative (given by its coefficients)."""
        return self.series(0, lambda n: velocity(n - 1) / n if n else initial)

    def _pow(self, f: Series, p: sp.Rational, base: sp.Expr) -> Series:
        if p.is_Integer and 0 < p <= 4:
            result = f
            for _ in range(int(p) - 1):
                result = self.product(result, f)
            return result
        v = f.leading(base)
        start = v * p
        if not start.is_Integer and self.clock is not None:
            raise Grow(sp.exp(self.clock), self._root() * int(start.q))
        if not start.is_Integer:
            raise NoExpansion(f"{base} to the power {p} is not a series in whole powers")
        first = f[v] ** int(p) if p.is_Integer else self.field(self.field.expression(f[v]) ** p)
        s, p = int(start), self.field(p)
        result: Series

        def rule(n: int) -> Any:
            j = n - s
            if j == 0:
                return first
            total = self._zero
            for i in range(1, j + 1):
                if f[v + i]:
                    total += ((p + 1) * i - j) * f[v + i] * result[n - i]
            return total / (j * f[v])

        result = self.series(s, rule)
        return result

    def _exp(self, f: Series, e: sp.Expr) -> Series:
        if f.start < 0 and any(f[i] for i in range(f.start, 0)):
            raise NoExpansion(f"{e} grows faster than any power of e^mu")
        constant, shift = self.field.expression(f[0]), 0
        if self.clock is not None and self.clock in constant.free_symbols:
            constant = sp.expand(constant)
            speed = constant.coeff(self.clock, 1)
            constant = sp.expand(constant - speed * self.clock)
            if not speed.is_Rational or self.clock in constant.free_symbols:
                raise NoExpansion(f"{e} is not a series in powers of e^mu")
            root = self._root()
            if root % speed.q:
                raise Grow(sp.exp(self.clock), lcm(root, int(speed.q)))
            shift = -int(speed * root)
        first = self.field(sp.exp(constant))
        result: Series

        def rule(n: int) -> Any:
            j = n - shift
            if j == 0:
                return first
            terms = (i * f[i] * result[n - i] for i in range(1, j + 1) if f[i])
            return sum(terms, self._zero) / j

        result = self.series(shift, rule)
        return result

    def _root(self) -> int:
        """q, where the series run in e^(-mu/q)."""
        return self.field.atoms.get(sp.exp(self.clock), 1)

    def _log(self, f: Series, argument: sp.Expr) -> Series:
        v = f.leading(argument)
        if v and self.clock is None:
            raise NoExpansion(f"log({argument}) is singular at the start")
        first = self.field(sp.log(self.field.expression(f[v])))
        if self.compact:
            first = self.field.whole(first)
        if v:
            root = self._root()
            first -= self.field(self.clock) * v / root
        result: Series

        def rule(n: int) -> Any:
            if n == 0:
                return first
            terms = (i * result[i] * f[v + n - i] for i in range(1, n))
            return (n * f[v + n] - sum(terms, self._zero)) / (n * f[v])

        result = self.series(0, rule)
        return result

    def _function(self, e: sp.Expr) -> Series:
        """Any differentiable function, by the chain rule."""
        if isinstance(e, sp.functions.elementary.hyperbolic.HyperbolicFunction):
            return self.of(textbook(e.rewrite(sp.exp)))
        written = textbook(e)
        if written != e:
            return self.of(written)
        inner = self.of(e.args[0])
        if inner.start < 0 and any(inner[i] for i in range(inner.start, 0)):
            raise NoExpansion(f"{e} has an argument without a limit")
        first = self.field(e.func(self.field.expression(inner[0])))
        slot = sp.Dummy("y", real=True)
        slope = sp.diff(e.func(slot), slot).subs(slot, e.args[0])

        def rule(n: int) -> Any:
            if n == 0:
                return first
            outer = self.of(slope)
            terms = (i * inner[i] * outer[n - i] for i in range(1, n + 1) if inner[i])
            return sum(terms, self._zero) / n

        return self.series(0, rule)
