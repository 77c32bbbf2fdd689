"""Normal forms: an expression as a rational function of independent generators.

Exponentials, roots and logarithms are split until what is left of them is algebraically
independent as far as the rules here know (e^(a+b) = e^a e^b, log(ab) = log a + log b for positive
a and b, log omega(z) = z - omega(z)). Then two questions have a fast and always ending answer:
is the expression zero (``vanishes``), and what is its factored form (``tidy``).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from math import comb, lcm, prod

import sympy as sp

from attnflow.symbolic.algebra.float_form import factored, textbook
from attnflow.symbolic.algebra.functions import kepler, wright_omega
from attnflow.symbols import C, alpha, alpha0, beta, k, m, mu, mu0, nu, nu0, probability, t, x

LARGEST_SUM = 100_000
"""Terms that ``vanishes`` multiplies out at most: more take minutes."""

_UNIT = {alpha, alpha0}  # between 0 and 1
_SIGNED = {mu, mu0, nu, nu0, x}


def sample(symbols: set[sp.Symbol], index: int = 0) -> dict[sp.Symbol, sp.Rational]:
    """A point in the domain of the given symbols: exact, the same at every call, one per index."""
    point = {}
    for place, symbol in enumerate(sorted(symbols, key=str)):
        fraction = sp.Rational((37 * (index + 1) + 61 * (place + 1)) % 97 + 1, 99)
        if symbol in _UNIT:
            point[symbol] = fraction
        elif symbol in _SIGNED:
            point[symbol] = 5 * fraction - 2
        else:
            least = {C: 2, m: 5, k: 1}.get(symbol, 0 if symbol == t else sp.Rational(1, 3))
            point[symbol] = least + 3 * fraction
    return point


@dataclass
class Generators:
    """The independent pieces of an expression, each with the symbol that stands for it.

    Attributes:
        back: symbol -> what it stands for.
        roots: symbol h -> (q, X) where h^q = X.
    """

    exponents: dict[sp.Expr, int] = field(default_factory=dict)  # core -> common denominator
    bases: dict[sp.Expr, int] = field(default_factory=dict)  # base of roots -> common denominator
    symbols: dict[sp.Expr, sp.Symbol] = field(default_factory=dict)
    back: dict[sp.Symbol, sp.Expr] = field(default_factory=dict)
    roots: dict[sp.Symbol, tuple[int, sp.Expr]] = field(default_factory=dict)

    def stand_for(self, piece: sp.Expr) -> sp.Symbol:
        """The symbol of a piece, the same for pieces whose arguments are equal."""
        if piece in self.symbols:
            return self.symbols[piece]
        for known, symbol in self.symbols.items():
            if known.func is piece.func and len(known.args) == len(piece.args) and piece.args:
                if not isinstance(piece, sp.exp | sp.log | sp.Pow) and all(
                    a == b or vanishes(a - b) for a, b in zip(known.args, piece.args, strict=True)
                ):
                    self.symbols[piece] = symbol
                    return symbol
        symbol = sp.Dummy(f"g{len(self.back)}", positive=True)
        self.symbols[piece], self.back[symbol] = symbol, piece
        return symbol


def rational(expr: sp.Expr) -> tuple[sp.Expr, Generators]:
    """The expression as a rational function of generators, and what these stand for."""
    return _generators(_spread(textbook(sp.sympify(expr, strict=True).subs(beta, probability))))


def _generators(spread: sp.Expr) -> tuple[sp.Expr, Generators]:
    found = Generators()
    for e in spread.atoms(sp.exp):
        for term in sp.Add.make_args(e.exp):
            number, core = term.as_coeff_Mul()
            if number.is_Rational:
                found.exponents[core] = lcm(found.exponents.get(core, 1), number.q)
    for e in spread.atoms(sp.Pow):
        if e.exp.is_Rational and not e.exp.is_Integer and not isinstance(e, sp.exp):
            found.bases[e.base] = lcm(found.bases.get(e.base, 1), e.exp.q)
    return _replace(spread, found), found


def _replace(e: sp.Expr, found: Generators) -> sp.Expr:
    if isinstance(e, sp.exp):
        result = sp.S.One
        for term in sp.Add.make_args(e.exp):
            number, core = term.as_coeff_Mul()
            if not number.is_Rational:
                number, core = sp.S.One, term
            q = found.exponents.get(core, 1)
            result *= found.stand_for(sp.exp(core / q)) ** (number * q)
        return result
    if isinstance(e, sp.Pow) and e.exp.is_Rational and not e.exp.is_Integer:
        q = found.bases[e.base]
        symbol = found.stand_for(sp.Pow(e.base, sp.Rational(1, q)))
        found.roots[symbol] = (q, _replace(e.base, found))
        return symbol ** (e.exp * q)
    if isinstance(e, sp.Add | sp.Mul) or (isinstance(e, sp.Pow) and e.exp.is_Integer):
        return e.func(*(_replace(a, found) for a in e.args))
    if e.is_Symbol or e.is_Number or not e.args and not e.free_symbols:
        return e
    return found.stand_for(e)


@lru_cache(maxsize=4096)
def _spread(e: sp.Expr) -> sp.Expr:
    """Exponentials and logarithms split into independent ones."""
    if not e.args:
        return e
    if isinstance(e, sp.Integral):
        return e
    if isinstance(e, sp.sinh | sp.cosh | sp.tanh):
        return _spread(e.rewrite(sp.exp))
    args = [_spread(a) for a in e.args]
    if isinstance(e, sp.Abs) and args[0].free_symbols == {C}:  # sqrt((C - 1)^2), C > 1
        return -args[0] if _negative(args[0]) else args[0]
    if isinstance(e, sp.exp):
        return _exponential(sp.expand(args[0]))
    if isinstance(e, sp.log):
        return _logarithm(args[0])
    if isinstance(e, sp.Pow) and not args[1].is_Integer:
        if args[0] is sp.S.Exp1:
            return _exponential(sp.expand(args[1]))
        return _exponential(sp.expand(args[1] * _logarithm(args[0])))
    return e.func(*args)


def _exponential(exponent: sp.Expr) -> sp.Expr:
    rest, result = [], sp.S.One
    if any(e.base.is_Add and e.exp.is_negative for e in exponent.atoms(sp.Pow)):
        quotient, found = rational(exponent)
        up, down = sp.fraction(sp.cancel(sp.together(quotient)))
        exponent = sp.Add(*(term / down for term in sp.Add.make_args(up))).subs(found.back)
    for term in sp.Add.make_args(exponent):
        number, core = term.as_coeff_Mul()
        if isinstance(core, sp.log) and number.is_Rational:
            result *= core.args[0] ** number
        else:
            rest.append(term)
    return result * sp.exp(sp.Add(*rest))


@lru_cache(maxsize=1024)
def _logarithm(argument: sp.Expr) -> sp.Expr:
    """Log of a product of positive factors as a sum of logarithms."""
    if isinstance(argument, wright_omega):
        return argument.args[0] - argument
    if argument.is_Symbol or argument.is_Integer:
        return sp.log(argument)
    quotient, found = rational(argument)
    up, down = sp.fraction(sp.together(quotient))
    try:
        (constant, over), (divisor, under) = sp.factor_list(up), sp.factor_list(down)
    except sp.PolynomialError:
        return sp.log(argument)
    number, result = constant / divisor, sp.S.Zero
    factors = [*over, *((factor, -power) for factor, power in under)]
    for factor, power in factors:
        piece = factor.subs(found.back)
        if not factor.is_Symbol and _negative(piece):
            piece, number = sp.expand(-piece), number * (-1) ** power
        if isinstance(piece, sp.exp):
            result += power * piece.exp
        elif isinstance(piece, wright_omega):
            result += power * (piece.args[0] - piece)
        elif isinstance(piece, sp.Pow) and piece.exp.is_Rational:
            result += power * piece.exp * sp.log(piece.base)
        else:
            result += power * sp.log(piece)
    if number.is_negative:
        return sp.log(argument)
    return result + sp.expand_log(sp.log(number), force=True)


def _negative(expr: sp.Expr) -> bool:
    value = sp.N(expr.subs(sample(expr.free_symbols)), 20)
    return bool(value.is_real and value < 0)


def vanishes(expr: sp.Expr) -> bool:
    """Whether the expression is brought to 0 by the rules of this module (False: not decided)."""
    spread = _spread(textbook(sp.sympify(expr, strict=True).subs(beta, probability)))
    quotient, found = _generators(_spread(_without_bare_kepler(spread)))
    numerator = sp.fraction(sp.together(quotient))[0]
    if _terms(numerator) > LARGEST_SUM:
        return False
    numerator = sp.expand(numerator)
    for _ in range(4):  # roots may hold roots
        if numerator == 0 or not found.roots:
            break
        for symbol, (q, base) in found.roots.items():
            numerator = _reduce_root(numerator, symbol, q, base)
    return numerator == 0


def _terms(expr: sp.Expr) -> int:
    """How many terms the expression has at most, multiplied out."""
    if isinstance(expr, sp.Add):
        return sum(map(_terms, expr.args))
    if isinstance(expr, sp.Mul):
        return prod(map(_terms, expr.args))
    if isinstance(expr, sp.Pow) and expr.exp.is_Integer and expr.exp > 0:
        return comb(_terms(expr.base) + int(expr.exp) - 1, int(expr.exp))
    return 1


def agree(left: sp.Expr, right: sp.Expr, digits: int = 50, points: int = 4) -> bool:
    """Compare two expressions at points of the domain, to so many digits: a check, no proof.

    >>> agree(sp.log(1 + sp.exp(mu)), mu + sp.log(1 + sp.exp(-mu)))
    True
    >>> agree(sp.exp(mu), sp.exp(mu) + sp.Rational(1, 10**40))
    False
    """
    left, right = sp.sympify(left, strict=True), sp.sympify(right, strict=True)
    symbols = left.free_symbols | right.free_symbols
    for index in range(points):
        point = sample(symbols, index)
        one, other = (sp.N(side.subs(point), digits + 10) for side in (left, right))
        apart = abs(one - other)
        if not apart.is_comparable:  # undefined there, or a number that nothing evaluates
            return False
        if apart > sp.Float(10, digits) ** -digits * max(1, abs(one), abs(other)):
            return False
    return True


def _without_bare_kepler(e: sp.Expr) -> sp.Expr:
    """V = kepler(e, M), outside of exponentials, as M - e sinh v."""
    if isinstance(e, sp.exp) or not e.has(kepler):
        return e
    if isinstance(e, kepler):
        return e.args[1] - e.args[0] * (sp.exp(e) - sp.exp(-e)) / 2
    return e.func(*(_without_bare_kepler(a) for a in e.args))


def _reduce_root(numerator: sp.Expr, symbol: sp.Symbol, q: int, base: sp.Expr) -> sp.Expr:
    """Write h^q as its base, throughout a polynomial in h."""
    if symbol not in numerator.free_symbols:
        return numerator
    terms = sp.Poly(numerator, symbol).terms()
    reduced = sum(c * base ** (power // q) * symbol ** (power % q) for (power,), c in terms)
    return sp.expand(sp.fraction(sp.together(reduced))[0])


def gather(expr: sp.Expr, *variables: sp.Symbol) -> sp.Expr:
    """A sum of monomials in what depends on the variables, coefficients factored."""
    return sp.Add(*(c * piece for piece, c in monomials(expr, *variables).items()))


def monomials(expr: sp.Expr, *variables: sp.Symbol) -> dict[sp.Expr, sp.Expr]:
    """The terms of ``gather``: what depends on the variables -> coefficient."""
    quotient, found = rational(expr)
    depends = {g: piece for g, piece in found.back.items() if piece.free_symbols & set(variables)}
    moving = [*variables, *depends]
    gathered: dict[sp.Expr, sp.Expr] = {}
    for term in sp.Add.make_args(sp.expand(quotient)):
        coefficient, monomial = sp.factor(term).as_independent(*moving, as_Add=False)
        gathered[monomial] = gathered.get(monomial, 0) + coefficient
    result: dict[sp.Expr, sp.Expr] = {}
    for monomial, coefficient in gathered.items():
        factored = sp.factor(coefficient)
        if factored != 0:
            result[monomial.subs(found.back)] = readable(factored.subs(found.back))
    return result


def readable(expr: sp.Expr) -> sp.Expr:
    """Factored, with 1 - alpha and merged logarithms where they occur."""
    return factored(expr) if expr.has(alpha, sp.log) else expr


def collected(expr: sp.Expr, symbol: sp.Symbol) -> sp.Expr:
    """Every factor that is a sum, as a polynomial in the symbol."""
    factors = []
    for factor in sp.Mul.make_args(expr):
        base, power = factor.as_base_exp()
        if base.is_Add and symbol in base.free_symbols and power.is_Integer:
            factor = sp.collect(sp.expand(base), symbol) ** power
        factors.append(factor)
    return sp.Mul(*factors)
