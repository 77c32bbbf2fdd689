"""Exact power series of any expression, computed one coefficient at a time.

An expression becomes a graph of lazy Laurent series whose coefficients are rational functions with
exact arithmetic; a coefficient is computed when it is asked for and kept. A series may be defined
by its own derivative, so the solution of a differential equation is expanded by writing the
equation down. Nothing here is asked of ``sympy.series`` or ``sympy.limit``: the cost is bounded.
"""

from collections.abc import Callable, Mapping
from math import lcm
from typing import Any

import sympy as sp

from attnflow.symbolic.stable import textbook

_SCAN = 12  # how many vanishing coefficients are passed before a series counts as hopeless
_FACTORED = 6  # with fewer generators than this a coefficient is shown factored
_TRIES = 60  # how often the coefficient field is enlarged


class NoExpansion(ValueError):
    """The expression has no expansion of the form asked for; the message says where it failed."""


class _Grow(Exception):
    """The coefficient field lacks a generator (or a root of one): start again with a larger field."""

    def __init__(self, atom: sp.Expr, root: int) -> None:
        self.atom, self.root = atom, root


def _ordered(e: sp.Expr) -> list[sp.Symbol]:
    return sorted(e.free_symbols, key=str)


class Field:
    """Rational functions over the rationals in all atoms (symbols, e^mu_0, log C, ...) met so far.

    Args:
        atoms: atom -> q, where the generator is the q-th root of the atom.
        shown: atom -> (expression, offset), for an atom to be written as expression + offset.
    """

    def __init__(
        self, atoms: Mapping[sp.Expr, int], shown: Mapping[sp.Expr, tuple[sp.Expr, int]] | None = None
    ) -> None:
        self.atoms, self.shown = dict(atoms), dict(shown or {})
        self._generator = {atom: sp.Dummy(f"g{i}", positive=True) for i, atom in enumerate(self.atoms)}
        self._domain = sp.QQ.frac_field(*(self._generator.values() or [sp.Dummy("unused")]))

    def __call__(self, constant: Any) -> Any:
        """The field element of a constant expression.

        Raises:
            _Grow: an atom is missing.
        """
        return self._domain.from_sympy(self._rational(textbook(sp.sympify(constant))))

    def expression(self, element: Any) -> sp.Expr:
        """A field element as a factored sympy expression."""
        (up, numerator), (down, denominator) = map(self._shown, (element.numer, element.denom))
        return sp.Mul(up / down, numerator, 1 / denominator)

    def _shown(self, polynomial: Any) -> tuple[sp.Expr, sp.Expr]:
        """Content and factors of a polynomial; found in the ring, where it is quick."""
        ring, values = polynomial.ring, []
        for place, (atom, root) in enumerate(self.atoms.items()):
            shown, offset = self.shown.get(atom, (atom, 0))
            if offset:
                polynomial = polynomial.compose(ring.gens[place], ring.gens[place] + offset)
            powers = [monomial[place] for monomial in polynomial]
            if any(power % root for power in powers):
                shown = shown ** sp.Rational(1, root)
            elif root > 1:
                polynomial = ring.from_dict(
                    {
                        (*key[:place], key[place] // root, *key[place + 1 :]): value
                        for key, value in polynomial.items()
                    }
                )
            values.append(shown)
        if not self.atoms:
            return polynomial.as_expr(), sp.S.One
        content, factors = self._split(polynomial)
        return sp.sympify(content), sp.Mul(*(f.as_expr(*values) ** n for f, n in factors))

    def _split(self, polynomial: Any) -> tuple[Any, list[tuple[Any, int]]]:
        """Content and factors; of a polynomial in many generators only the common monomial."""
        if len(self.atoms) < _FACTORED:
            return polynomial.factor_list()
        if not polynomial:
            return 0, []
        sign = -1 if polynomial.LC < 0 else 1
        content, rest = (sign * polynomial).primitive()
        powers = tuple(map(min, zip(*rest, strict=True)))
        rest = rest.quo(rest.ring.from_dict({powers: rest.ring.domain.one}))
        monomial = [(g, n) for g, n in zip(rest.ring.gens, powers, strict=True) if n]
        return sign * content, [*monomial, (rest, 1)]

    def whole(self, element: Any) -> Any:
        """The same value as one generator, if it is a sum: then it can be divided by cheaply.

        Its relation to the other generators is forgotten, so a sum that is zero is looked for by
        its value at a point.
        """
        if len(element.numer) < 2:
            return element
        value = self.expression(element)
        if value.is_Rational:
            return element
        point = {v: sp.Rational(31 + 17 * i, 13 + 5 * i) for i, v in enumerate(_ordered(value))}
        if abs(sp.N(value.subs(point), 60, maxn=400)) < sp.Float("1e-50"):
            return self(0)
        return self(value) if value in self.atoms else self._missing(value)

    def _missing(self, atom: sp.Expr) -> Any:
        raise _Grow(atom, 1)

    def _power(self, atom: sp.Expr, exponent: sp.Rational) -> sp.Expr:
        root = self.atoms.get(atom, 0)
        if not root or root % exponent.q:
            raise _Grow(atom, lcm(root or 1, int(exponent.q)))
        return self._generator[atom] ** (exponent * root)

    def _rational(self, e: sp.Expr) -> sp.Expr:
        if e.is_Rational:
            return e
        if e in self.atoms:
            return self._power(e, sp.S.One)
        if isinstance(e, sp.Add | sp.Mul):
            return e.func(*(self._rational(a) for a in e.args))
        if e is sp.S.Exp1:
            return self._power(e, sp.S.One)
        if isinstance(e, sp.exp):
            return sp.Mul(*(self._exponential(a) for a in sp.Add.make_args(sp.expand(e.exp))))
        if isinstance(e, sp.Pow) and e.exp.is_Integer:
            return self._rational(e.base) ** e.exp
        if isinstance(e, sp.Pow) and e.exp.is_Rational:
            parts = self._factors(e.base)
            return sp.Mul(*(self._root(part, power * e.exp) for part, power in parts))
        if isinstance(e, sp.log):
            parts = self._factors(e.args[0])
            return sp.Add(*(power * self._logarithm(part) for part, power in parts))
        return self._power(e, sp.S.One)

    def _exponential(self, term: sp.Expr) -> sp.Expr:
        rational, core = term.as_coeff_Mul()
        if isinstance(core, sp.log):
            return self._rational(core.args[0] ** rational)
        return self._power(sp.exp(core), rational)

    def _root(self, part: sp.Expr, power: sp.Rational) -> sp.Expr:
        if isinstance(part, sp.exp):
            return self._exponential(part.exp * power)
        return self._rational(part) ** power if power.is_Integer else self._power(part, power)

    def _logarithm(self, part: sp.Expr) -> sp.Expr:
        if isinstance(part, sp.exp):
            return self._rational(part.exp)
        return sp.S.Zero if part == 1 else self._power(sp.log(part), sp.S.One)

    def _factors(self, e: sp.Expr) -> list[tuple[sp.Expr, int]]:
        """A constant as a product of powers of atoms, primes and irreducible polynomials."""
        back = {g: atom ** sp.Rational(1, self.atoms[atom]) for atom, g in self._generator.items()}
        numerator, denominator = sp.fraction(sp.cancel(self._rational(e)))
        found: list[tuple[sp.Expr, int]] = []
        for side, polynomial in ((1, numerator), (-1, denominator)):
            content, factors = sp.factor_list(polynomial)
            if content.is_negative:
                raise NoExpansion(f"a root or logarithm of the negative constant {e} has no real value")
            found += [(sp.Integer(p), side * n) for p, n in sp.factorint(content).items()]
            for factor, power in factors:
                base, inner = factor.subs(back).as_base_exp()
                if base is sp.S.Exp1:
                    base, inner = sp.exp(inner), sp.S.One
                found.append((base, side * power * inner))
        return found


class Series:
    """A lazy Laurent series; coefficients below ``start`` vanish.

    Args:
        start: index of the first coefficient that may differ from zero.
        rule: index -> coefficient, for indices from ``start`` on.
    """

    def __init__(self, start: int, rule: Callable[[int], Any], zero: Any) -> None:
        self.start, self._rule, self._zero = start, rule, zero
        self._known: dict[int, Any] = {}

    def __getitem__(self, n: int) -> Any:
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

    def __init__(
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
        """value times the ``at``-th power of the variable, as a series."""
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
            return self.of(sp.exp(e.exp * sp.log(e.base)))
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
            raise _Grow(sp.exp(self.clock), self._root() * int(start.q))
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
                raise _Grow(sp.exp(self.clock), lcm(root, int(speed.q)))
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


def in_growing_field(
    atoms: Mapping[sp.Expr, int],
    compute: Callable[[Field], Any],
    shown: Mapping[sp.Expr, tuple[sp.Expr, int]] | None = None,
) -> Any:
    """``compute(field)`` in a field that is enlarged until it holds every constant that is met.

    Raises:
        NoExpansion: the constants do not come to an end.
    """
    atoms = dict(atoms)
    for _ in range(_TRIES):
        try:
            return compute(Field(atoms, shown))
        except _Grow as missing:
            atoms[missing.atom] = missing.root
    raise NoExpansion(f"the coefficients need more than {_TRIES} independent constants")
