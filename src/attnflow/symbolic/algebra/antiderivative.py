"""A table of antiderivatives for the integrands that the flows lead to: small, fast, always ending.

Known are sums of c u^n e^(ku); rational functions of e^(wu), also times log(e^(wu) + c) or u, which
lead to dilogarithms; and rational functions of u times e^(ku), which lead to exponential
integrals. Every answer is verified by differentiation; where the table does not know, the answer
is None.
"""

from functools import lru_cache
from math import factorial

import sympy as sp

from attnflow.symbolic.algebra.functions import dilog_negexp
from attnflow.symbolic.algebra.normal_form import Generators, agree, rational, sample, vanishes

MOST_POLES = 20
LARGEST_FRACTION = 600
"""A fraction that is taken apart has so many poles at most, and so many operations for each and one
more: the terms of a larger one fill pages, and take minutes."""


class _Unknown(Exception):
    """The table has no entry for the integrand."""


@lru_cache(maxsize=512)
def antiderivative(integrand: sp.Expr, variable: sp.Symbol) -> sp.Expr | None:
    """A function whose derivative in ``variable`` is ``integrand``, or None.

    Args:
        integrand: an expression in the variable and further symbols.
        variable: the variable; the domain of the other symbols is that of attnflow.symbols.

    Returns:
        The antiderivative, verified by differentiation, without constant; None if not in the table.
    """
    try:
        result = _integrate(sp.sympify(integrand, strict=True), variable)
    except (_Unknown, sp.PolynomialError):
        return None
    derivative = sp.diff(result, variable)
    if vanishes(derivative - integrand) or agree(derivative, integrand):
        return result
    return None


def _integrate(integrand: sp.Expr, u: sp.Symbol) -> sp.Expr:
    """By what moves with u: one exponential, and logarithms that stand linearly beside it."""
    if u not in integrand.free_symbols:
        return integrand * u
    quotient, found = rational(integrand)
    moving = {g: piece for g, piece in found.back.items() if u in piece.free_symbols}
    rates = {g: sp.diff(e.exp, u) for g, e in moving.items() if isinstance(e, sp.exp)}
    logarithms = {g: e.args[0] for g, e in moving.items() if isinstance(e, sp.log)}
    if len(rates) + len(logarithms) < len(moving) or sp.Tuple(*rates.values()).has(u):
        raise _Unknown
    if len(rates) > 1 or found.roots:
        return _termwise(quotient, found, u)
    power, rate = next(iter(rates.items()), (sp.Dummy("E", positive=True), sp.S.One))
    # the generator is e^(rate u) times a constant, which the rules need not know: it is put back
    back = {**found.back, power: found.back.get(power, sp.exp(rate * u))}
    if not logarithms:
        return _plain(quotient, power, rate, u).subs(back)
    polynomial = sp.Poly(quotient, *logarithms)
    if polynomial.total_degree() > 1:
        raise _Unknown
    result = _plain(polynomial.coeff_monomial(1), power, rate, u)
    for g, argument in logarithms.items():
        inside = _in_generators(argument, found.back.get(power), power)
        result += _with_logarithm(polynomial.coeff_monomial(g), inside, power, rate, u)
    return result.subs(back)


def _in_generators(argument: sp.Expr, piece: sp.Expr | None, power: sp.Symbol) -> sp.Expr:
    """A logarithm's argument in the generator that stands for a piece elsewhere."""
    inside, more = rational(argument)
    renamed = {symbol: power for symbol, other in more.back.items() if other == piece}
    return inside.subs(renamed).subs(more.back)


def _termwise(quotient: sp.Expr, found: Generators, u: sp.Symbol) -> sp.Expr:
    """Several unrelated exponentials: a sum whose terms hold one each."""
    terms = sp.Add.make_args(sp.expand(quotient))
    if len(terms) < 2 or found.roots:
        raise _Unknown
    return sp.Add(*(_integrate(term.subs(found.back), u) for term in terms))


def _plain(f: sp.Expr, power: sp.Symbol, rate: sp.Expr, u: sp.Symbol) -> sp.Expr:
    """Integrands without logarithms, rational in u and E = e^(rate u)."""
    f = sp.together(f)
    if f == 0:
        return sp.S.Zero
    denominator = sp.factor(sp.fraction(f)[1])
    if u in denominator.free_symbols:
        return _exponential_integrals(f, power, rate, u)
    result = sp.S.Zero
    for (n,), coefficient in sp.Poly(f, u).terms():
        for term in _partial_fractions(coefficient, power):
            result += _power_times(n, term, power, rate, u)
    return result


def _partial_fractions(f: sp.Expr, variable: sp.Symbol) -> tuple[sp.Expr, ...]:
    if variable not in f.free_symbols:
        return (f,)
    f = sp.factor(f)
    poles = sp.degree(sp.fraction(f)[1], variable)
    if poles > MOST_POLES or (1 + poles) * sp.count_ops(f) > LARGEST_FRACTION:
        raise _Unknown
    return sp.Add.make_args(sp.expand(sp.apart(f, variable), deep=False))


def _power_times(n: int, term: sp.Expr, power: sp.Symbol, rate: sp.Expr, u: sp.Symbol) -> sp.Expr:
    """u^n times one partial fraction in E."""
    constant, inside = term.as_independent(power)
    base, exponent = inside.as_base_exp()
    if inside == 1:
        return constant * u ** (n + 1) / (n + 1)
    if base == power:
        return constant * _by_parts(n, exponent * rate, u) * power**exponent
    numerator, denominator = sp.fraction(inside)
    return constant * _pole(n, numerator, denominator, power, rate, u)


def _by_parts(n: int, slope: sp.Expr, u: sp.Symbol) -> sp.Expr:
    """The polynomial p for which p e^(slope u) is an antiderivative of u^n e^(slope u)."""
    falling = (sp.Rational(factorial(n), factorial(n - j)) for j in range(n + 1))
    return sp.Add(*((-1) ** j * f * u ** (n - j) / slope ** (j + 1) for j, f in enumerate(falling)))


def _pole(
    n: int, numerator: sp.Expr, denominator: sp.Expr, power: sp.Symbol, rate: sp.Expr, u: sp.Symbol
) -> sp.Expr:
    """u^n (numerator)/(a E + b)^p for n = 0, and n = 1 with a simple pole."""
    base, p = denominator.as_base_exp()
    linear = sp.Poly(base, power)
    if linear.degree() != 1 or power in numerator.free_symbols or not p.is_Integer:
        raise _Unknown
    a, b = linear.all_coeffs()
    c = sp.factor(b / a)
    scale = numerator / a**p
    if n == 0:
        # 1/(E (E + c)^p) dE/rate, by partial fractions in E
        result = sp.S.Zero
        for j in range(1, p):
            result += 1 / (j * c ** (p - j) * (power + c) ** j)
        return scale * (result + (rate * u - _log(power + c, power, rate, u)) / c**p) / rate
    if n == 1 and p == 1:
        inner = u * _log(power + c, power, rate, u) - _dilogarithm(c, rate, u)
        return scale / c * (u**2 / 2 - inner / rate)
    raise _Unknown


def _log(argument: sp.Expr, power: sp.Symbol, rate: sp.Expr, u: sp.Symbol) -> sp.Expr:
    value = argument.subs(power, sp.exp(rate * u))
    return sp.log(-argument if _is_negative(value) else argument)


def _is_negative(value: sp.Expr) -> bool:
    return bool(sp.N(value.subs(sample(value.free_symbols)), 20) < 0)


def _dilogarithm(c: sp.Expr, rate: sp.Expr, u: sp.Symbol) -> sp.Expr:
    """The integral of log(e^(rate u) + c), c > 0."""
    if _is_negative(c):
        raise _Unknown
    return u * sp.log(c) - dilog_negexp(rate * u - sp.log(c)) / rate


def _with_logarithm(
    f: sp.Expr, argument: sp.Expr, power: sp.Symbol, rate: sp.Expr, u: sp.Symbol
) -> sp.Expr:
    """f(E) log(a E + b), f a sum of powers of E: by parts; a dilogarithm where f is constant."""
    linear = sp.Poly(argument, power)
    if linear.degree() != 1 or u in f.free_symbols:
        raise _Unknown
    a, b = linear.all_coeffs()
    c = sp.factor(b / a)
    result = sp.S.Zero
    for term in _partial_fractions(f, power):
        constant, inside = term.as_independent(power)
        if inside == 1:
            result += constant * (_dilogarithm(c, rate, u) + u * sp.log(a))
            continue
        base, n = inside.as_base_exp()
        if base != power:
            raise _Unknown
        by_parts = power**n * sp.log(argument) / (n * rate)
        result += constant * (
            by_parts - _plain(power ** (n + 1) / (n * (power + c)), power, rate, u)
        )
    return result


def _exponential_integrals(f: sp.Expr, power: sp.Symbol, rate: sp.Expr, u: sp.Symbol) -> sp.Expr:
    """R(u) E^n: partial fractions in u, then by parts down to Ei."""
    numerator, denominator = sp.fraction(sp.together(f))
    common = sp.Poly(denominator, power)
    if len(common.terms()) > 1:
        raise _Unknown
    ((shift,), divisor) = common.terms()[0]
    result = sp.S.Zero
    for (n,), coefficient in sp.Poly(numerator, power).terms():
        slope = (n - shift) * rate
        for term in _partial_fractions(coefficient / divisor, u):
            result += _over_power(term, slope, power ** (n - shift), u)
    return result


def _over_power(term: sp.Expr, slope: sp.Expr, grown: sp.Expr, u: sp.Symbol) -> sp.Expr:
    """C u^n or c/(u - p)^n, times e^(slope u)."""
    constant, inside = term.as_independent(u)
    up, down = sp.fraction(inside)
    if u not in down.free_symbols:
        monomial = sp.Poly(inside, u)
        n = monomial.degree()
        if slope == 0:
            return constant * u ** (n + 1) / (n + 1)
        return constant * _by_parts(n, slope, u) * grown
    base, q = down.as_base_exp()
    linear = sp.Poly(base, u)
    if linear.degree() != 1 or u in up.free_symbols or not q.is_Integer:
        raise _Unknown
    a, b = linear.all_coeffs()
    p = sp.factor(-b / a)
    constant = constant * up / a**q
    gap = u - p
    if slope == 0:
        value = sp.log(-gap if _is_negative(gap) else gap) if q == 1 else gap ** (1 - q) / (1 - q)
        return constant * value
    result, factor = sp.S.Zero, sp.S.One
    for order in range(q, 1, -1):
        result -= factor * grown / ((order - 1) * gap ** (order - 1))
        factor *= slope / (order - 1)
    return constant * (result + factor * sp.exp(slope * p) * sp.Ei(slope * gap))
