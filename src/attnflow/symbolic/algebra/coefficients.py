"""The field that the coefficients of exact series live in; power_series.py is the series.

A coefficient is a rational function of constants such as C, e^mu_0 or log C, one generator each.
Which constants occur shows only on the way: where one is missing, the computation starts again in
a larger field (``in_growing_field``). In a field of its own each coefficient is in lowest terms at
every step and a zero is seen as one, which sympy's expressions would not promise.
"""

from collections.abc import Callable, Mapping
from math import lcm
from typing import Any

import sympy as sp

from attnflow.symbolic.algebra.float_form import textbook

_FACTORED = 6  # with fewer generators than this a coefficient is shown factored
_TRIES = 60  # how often the coefficient field is enlarged


class NoExpansion(ValueError):
    """The expression has no expansion of the form asked for; the message says where it failed."""


class Grow(Exception):
    """The coefficient field lacks a generator (or a root of one): start again, larger."""

    def __init__(self, atom: sp.Expr, root: int) -> None:  # noqa: D107
        self.atom, self.root = atom, root


def _ordered(e: sp.Expr) -> list[sp.Symbol]:
    return sorted(e.free_symbols, key=str)


class Field:
    """Rational functions over the rationals in all atoms (symbols, e^mu_0, log C, ...) met so far.

    Args:
        atoms: atom -> q, where the generator is the q-th root of the atom.
        shown: atom -> (expression, offset), for an atom to be written as expression + offset.
    """

    def __init__(  # noqa: D107
        self,
        atoms: Mapping[sp.Expr, int],
        shown: Mapping[sp.Expr, tuple[sp.Expr, int]] | None = None,
    ) -> None:
        self.atoms, self.shown = dict(atoms), dict(shown or {})
        self._generator = {
            atom: sp.Dummy(f"g{i}", positive=True) for i, atom in enumerate(self.atoms)
        }
        self._domain = sp.QQ.frac_field(*(self._generator.values() or [sp.Dummy("unused")]))

    def __call__(self, constant: Any) -> Any:
        """The field element of a constant expression.

        Raises:
            Grow: an atom is missing.
        """
        return self._domain.from_sympy(self._rational(textbook(sp.sympify(constant, strict=True))))

    def expression(self, element: Any) -> sp.Expr:
        """A field element as a factored sympy expression."""
        (up, numerator), (down, denominator) = map(self._shown, (element.numer, element.denom))
        return sp.Mul(up / down, numerator, 1 / denominator)

    def _shown(self, polynomial: Any) -> tuple[sp.Expr, sp.Expr]:
        """Content and factors of a polynomial; found in the ring, where it is quick."""
        ring, values = polynomial.ring, []
        for place, (atom, root) in enumerate(self.atoms.items()):
            shown, offset = self.shown.get(atom, (self._written(atom), 0))
            if offset and root > 1:  # a root of the sum
                shown = shown + offset
            elif offset:
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

    def _written(self, atom: sp.Expr) -> sp.Expr:
        """An atom such as log m with what is written for the atoms within it."""
        within = {known: e + offset for known, (e, offset) in self.shown.items()}
        return atom.subs(within)

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
        raise Grow(atom, 1)

    def _power(self, atom: sp.Expr, exponent: sp.Rational) -> sp.Expr:
        root = self.atoms.get(atom, 0)
        if not root or root % exponent.q:
            raise Grow(atom, lcm(root or 1, int(exponent.q)))
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
                raise NoExpansion(
                    f"a root or logarithm of the negative constant {e} has no real value"
                )
            found += [(sp.Integer(p), side * n) for p, n in sp.factorint(content).items()]
            for factor, power in factors:
                base, inner = factor.subs(back).as_base_exp()
                if base is sp.S.Exp1:
                    base, inner = sp.exp(inner), sp.S.One
                found.append((base, side * power * inner))
        return found


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
        except Grow as missing:
            atoms[missing.atom] = missing.root
    raise NoExpansion(f"the coefficients need more than {_TRIES} independent constants")
