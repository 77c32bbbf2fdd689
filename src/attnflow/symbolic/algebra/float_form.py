"""Rewrite an expression so that float64 survives, without changing its value.

Losses are written as in a paper; evaluated so, they cancel and overflow. ``stable`` brings an
expression to a quotient of factored polynomials in exponentials, alpha and 1 - alpha, in which
every factor is a sum of positive terms wherever the expression allows it:

- 1 - alpha becomes a symbol of its own (``complement``), computed without subtraction;
- log(Q) becomes log1p(Q - 1), or -log1p(1/Q - 1), whichever has a positive argument;
- e^u - 1 becomes expm1(u), C - 1 stays together, tanh u becomes a quotient of exponentials.

Nothing here knows a paradigm.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.core.function import Application
from sympy.functions.elementary.hyperbolic import HyperbolicFunction

from attnflow.symbolic.algebra.functions import erfc, expm1, log1p, log_quotient, logarithm
from attnflow.symbols import C, alpha, beta, complement, mu, probability

_c = sp.Symbol("c", positive=True)  # C - 1


def textbook(expr: sp.Expr) -> sp.Expr:
    """Undo ``stable``: log1p, expm1 and the complement of alpha written out."""
    for head in (log1p, expm1, log_quotient, logarithm, erfc):
        expr = expr.replace(head, lambda *a, h=head: h(*a)._eval_rewrite_as_log(*a))
    return expr.subs(complement, 1 - alpha)


def factored(expr: sp.Expr) -> sp.Expr:
    """The form for readers: factored, 1 - alpha kept together, logarithms merged.

    >>> factored(alpha - alpha**2)
    alpha*(1 - alpha)
    """
    return textbook(stable(expr))


@lru_cache(maxsize=512)
def stable(expr: sp.Expr) -> sp.Expr:
    """The same value in a form that floats survive; see the module's text.

    Args:
        expr: expression in alpha, mu, C (and beta, complement, or further symbols).

    Returns:
        An expression in alpha, complement, mu, C with ``log1p`` and ``expm1``.
    """
    expr = _by_exponentials(_by_few(sp.sympify(expr, strict=True)).subs(beta, probability))
    return _rational(_powers(_tails(expr))).subs(_c, C - 1)


_BY_FEW: dict[type[sp.Function], Callable[[sp.Expr], sp.Expr]] = {
    sp.sec: lambda u: 1 / sp.cos(u),
    sp.csc: lambda u: 1 / sp.sin(u),
    sp.cot: lambda u: 1 / sp.tan(u),
    sp.acot: lambda u: sp.atan(1 / u),
    sp.asec: lambda u: _arccos(1 / u),
    sp.acsc: lambda u: _arcsin(1 / u),
    sp.acos: lambda u: _arccos(u),
    sp.asin: lambda u: _arcsin(u),
    sp.acoth: lambda u: sp.atanh(1 / u),
    sp.acsch: lambda u: sp.asinh(1 / u),
    sp.asech: lambda u: sp.acosh(1 / u),
    sp.acosh: lambda u: 2 * sp.asinh(sp.sqrt((u - 1) / 2)),  # near 1 the digits are in u - 1
    sp.atanh: lambda u: sp.log((1 + u) / (1 - u)) / 2,
}


def _arccos(u: sp.Expr) -> sp.Expr:
    """The arc cosine, by what u lacks to 1: near there all its digits are in 1 - u."""
    return 2 * sp.atan(sp.sqrt((1 - u) / (1 + u)))


def _arcsin(u: sp.Expr) -> sp.Expr:
    """The arc sine, which near 1 keeps the digits of 1 - u too."""
    return 2 * sp.atan(u / (1 + sp.sqrt((1 - u) * (1 + u))))


def _by_few(expr: sp.Expr) -> sp.Expr:
    """Circular and hyperbolic functions by the few that tables of functions have."""
    for head, spelt in _BY_FEW.items():
        expr = expr.replace(head, spelt)
    return expr


def _by_exponentials(expr: sp.Expr) -> sp.Expr:
    """Hyperbolic functions of the state by exponentials: 1 - tanh(u)^2 would cancel."""
    return expr.replace(
        lambda e: isinstance(e, HyperbolicFunction) and e.has(alpha, mu),
        lambda e: e.rewrite(sp.exp),
    )


def _tails(expr: sp.Expr) -> sp.Expr:
    """1 + erf(u) as erfc(-u), 1 - erf(u) as erfc(u), and multiples of them, everywhere."""
    expr = expr.replace(sp.erfc, lambda u: 1 - sp.erf(u))
    return expr.replace(lambda e: e.is_Add and e.has(sp.erf), _tail)


def _tail(total: sp.Expr) -> sp.Expr:
    number, rest = total.as_coeff_Add()
    coefficient, core = rest.as_coeff_Mul()
    if isinstance(core, sp.erf) and number != 0 and abs(coefficient) == abs(number):
        return number * erfc(-sp.sign(coefficient / number) * core.args[0])
    return total


def _powers(expr: sp.Expr) -> sp.Expr:
    """Powers with a fractional exponent as exponentials of logarithms, gathered by the exponent.

    x^(2/3) is written x x^(-1/3) where exponents of 1/3 occur, and x^(9/4) as x x^(5/4) where the
    least is 5/4, so that all powers of one quantity are powers of one exponential.
    """
    return _gathered(expr, tuple(_sizes(expr)))


def _sizes(expr: sp.Expr) -> list[sp.Rational]:
    """The least of the fractional exponents that differ by whole numbers, up to sign.

    Exponents of sums come first: e^(mu/4) may stand beside (C + e^mu - 1)^(3/4), as a derivative
    leaves it, and is e^mu e^(-3 mu/4) there.
    """
    of_sums, of_exponentials = set(), set()
    for e in expr.atoms(sp.Pow, sp.exp):
        base, power = e.as_base_exp()
        if base is sp.S.Exp1:
            of_exponentials |= {abs(t.as_coeff_Mul()[0]) for t in sp.Add.make_args(power)}
        else:
            of_sums.add(abs(power))
    least: list[sp.Rational] = []
    for share in (*sorted(_fractions(of_sums)), *sorted(_fractions(of_exponentials))):
        if not any((share - s).is_integer or (share + s).is_integer for s in least):
            least.append(share)
    return least


def _fractions(numbers: set[sp.Expr]) -> set[sp.Expr]:
    return {n for n in numbers if n.is_Rational and not n.is_integer}


def _gathered(expr: sp.Expr, sizes: tuple[sp.Rational, ...]) -> sp.Expr:
    if not expr.args:
        return expr
    if not isinstance(expr, sp.Mul | sp.Pow | sp.exp):
        return expr.func(*(_gathered(a, sizes) for a in expr.args))
    groups: dict[sp.Expr, sp.Expr] = {}
    rest = []
    for factor in sp.Mul.make_args(expr):
        base, power = factor.as_base_exp()
        if base is sp.S.Exp1:  # e^(3 mu/2) = e^mu (e^mu)^(1/2)
            power, core = _gathered(power, sizes).as_coeff_Mul()
            base = sp.exp(core)
        else:
            base = _gathered(base, sizes)
        if not power.is_Rational or power.is_integer:
            rest.append(base**power)
            continue
        signed = [s * sign for s in sizes for sign in (sp.sign(power), -sp.sign(power))]
        share = next((s for s in signed if (power - s).is_integer), power)
        rest.append(base ** (power - share))
        size = abs(share)
        groups[size] = groups.get(size, sp.S.One) * base ** sp.sign(share)
    # logarithms within stay whole: split, as sympy would, they cancel
    groups = {size: g.replace(sp.log, logarithm) for size, g in groups.items()}
    return sp.Mul(*rest, *(sp.exp(size * logarithm(g)) for size, g in groups.items()))


def _rational(expr: sp.Expr) -> sp.Expr:
    """Normal form of an expression that is rational in its exponentials and logarithms."""
    atoms: dict[sp.Expr, sp.Symbol] = {}  # stable atom -> polynomial generator
    unit: dict[sp.Symbol, sp.Expr] = {}  # generator of an exponential -> its exponent

    def generator(atom: sp.Expr) -> sp.Symbol:
        return atoms.setdefault(atom, sp.Dummy(f"g{len(atoms)}", positive=True))

    def exponential(argument: sp.Expr) -> sp.Expr:
        result = sp.S.One
        for term in sp.Add.make_args(sp.expand(argument.subs(complement, 1 - alpha))):
            power, core = term.as_coeff_Mul()
            if not power.is_Integer:
                core, power = core / power.q, sp.Integer(power.p)
            if isinstance(core, sp.log):
                result *= core.args[0] ** power
                continue
            inner = _logarithms(core)
            symbol = generator(sp.exp(inner))
            unit[symbol] = inner
            result *= symbol**power
        return result

    def reduce(e: sp.Expr) -> sp.Expr:
        if isinstance(e, sp.exp):
            return exponential(e.exp)
        if isinstance(e, sp.log | logarithm | log1p):
            return generator(_logarithm(textbook(e).args[0]))
        if isinstance(e, expm1):
            return exponential(e.args[0]) - 1
        if isinstance(e, sp.Add | sp.Mul) or (isinstance(e, sp.Pow) and e.exp.is_Integer):
            return e.func(*(reduce(a) for a in e.args))
        if not e.args or not e.free_symbols:
            return e
        return generator(_inside(e))

    reduced = reduce(_merge_logarithms(expr)).subs(C, _c + 1).subs(complement, 1 - alpha)
    numerator, denominator = sp.fraction(sp.cancel(sp.together(reduced)))
    back = {symbol: atom for atom, symbol in atoms.items()}
    built = _product(numerator, unit) / _product(denominator, unit)
    return built.subs(back)


def _inside(expr: sp.Expr) -> sp.Expr:
    """A function of which nothing is known here: its arguments made stable, itself left alone."""
    if all(isinstance(a, sp.Expr) for a in expr.args):
        return expr.func(*(stable(a) for a in expr.args))
    return expr


def _product(polynomial: sp.Expr, unit: dict[sp.Symbol, sp.Expr]) -> sp.Expr:
    """A polynomial as a product of factors, each a sum of positive terms if it can be."""
    if not polynomial.free_symbols:
        return polynomial
    try:
        constant, factors = sp.factor_list(polynomial)
    except sp.PolynomialError:
        return polynomial
    result = constant
    for factor, power in factors:
        result *= _positive(factor, unit) ** power
    return result


def _positive(factor: sp.Expr, unit: dict[sp.Symbol, sp.Expr]) -> sp.Expr:
    """One irreducible factor: homogenised in alpha and its complement, or a difference as expm1."""
    difference = _exponential_difference(factor, unit)
    if difference is not None:
        return difference
    if alpha not in factor.free_symbols:
        return factor
    poly = sp.Poly(factor, alpha)
    degree = poly.degree()
    total = sp.expand(
        sum(
            coefficient * alpha**power * (alpha + complement) ** (degree - power)
            for (power,), coefficient in poly.terms()
        )
    )
    homogeneous = sp.collect(total, [alpha, complement], evaluate=False)
    return sum(monomial * _product(value, unit) for monomial, value in homogeneous.items())


def _exponential_difference(factor: sp.Expr, unit: dict[sp.Symbol, sp.Expr]) -> sp.Expr | None:
    """e^u - e^v as e^v expm1(u - v), for a factor that is a difference of two such monomials."""
    terms = [t for t in sp.Add.make_args(factor) if t.free_symbols & set(unit)]
    constant = sp.factor((factor - sum(terms)).subs(_c, C - 1))  # a multiple of a power of C, or 0
    terms += [constant] if constant != 0 else []
    if len(terms) != 2:
        return None
    (first, one), (second, other) = (term.as_coeff_Mul() for term in terms)
    known = unit | {C: sp.log(C)}
    powers = [one.as_powers_dict(), other.as_powers_dict()]
    if first + second != 0 or not all(g in known or g == 1 for p in powers for g in p):
        return None
    up, down = (sum(n * known[g] for g, n in p.items() if g in known) for p in powers)
    exponent = up - down
    if one == 1:  # keep e^u - 1 as expm1(u)
        first, one, other, exponent = -first, other, one, -exponent
    exponent = _merge_logarithms(textbook(sp.expand(exponent)))
    return first * other * expm1(_logarithms(exponent))


def _sign(expr: sp.Expr) -> int:
    """1 or -1 if every term of the polynomial has that sign, else 0."""
    if expr.has(expm1):
        return 0
    signs = {sp.sign(term.as_coeff_Mul()[0]) for term in sp.Add.make_args(sp.expand(expr))}
    return int(signs.pop()) if len(signs) == 1 else 0


def _logarithms(expr: sp.Expr) -> sp.Expr:
    """Every logarithm inside an expression in stable form."""
    return expr.replace(
        lambda e: isinstance(e, sp.log | logarithm), lambda e: _logarithm(e.args[0])
    )


@lru_cache(maxsize=512)
def _logarithm(argument: sp.Expr) -> sp.Expr:
    """log(argument) by log1p of a positive quantity, for a quotient of polynomials."""
    if not argument.free_symbols - {C} or argument.is_Symbol:
        return sp.log(argument)
    if isinstance(argument, sp.exp):
        return argument.exp
    argument = _powers(argument)
    dummies: dict[sp.Expr, sp.Symbol] = {}
    others: dict[sp.Expr, sp.Symbol] = {}

    def reduce(e: Any) -> sp.Expr:
        if isinstance(e, sp.log | logarithm):
            number, inner = _logarithm(e.args[0]).as_coeff_Mul()
            return number * others.setdefault(inner, sp.Dummy("F", positive=True))
        if isinstance(e, Application) and not isinstance(e, sp.exp):
            return others.setdefault(_inside(e), sp.Dummy("F", positive=True))
        if not isinstance(e, sp.exp):
            return e.func(*(reduce(a) for a in e.args)) if e.args else e
        result = sp.S.One
        exponent: Any = e.args[0]
        for term in sp.Add.make_args(sp.expand(exponent.subs(complement, 1 - alpha))):
            power, core = term.as_coeff_Mul()
            core, power = (
                (core, power) if power.is_Integer else (core / power.q, sp.Integer(power.p))
            )
            result *= dummies.setdefault(core, sp.Dummy("E", positive=True)) ** power
        return result

    quotient = reduce(argument).subs(C, _c + 1).subs(complement, 1 - alpha)
    numerator, denominator = sp.fraction(sp.cancel(sp.together(quotient)))
    unit = {symbol: _logarithms(core) for core, symbol in dummies.items()}
    difference = sp.expand(numerator - denominator)
    up, down, gap = (_product(p, unit) for p in (numerator, denominator, difference))
    sign = _sign(gap) if _sign(up) == _sign(down) == 1 else 0
    if sign < 0:
        form = -log1p(-gap / up)
    elif sign > 0:
        form = log1p(gap / down)
    else:
        form = log_quotient(up, down, gap)
    back = {symbol: sp.exp(inner) for symbol, inner in unit.items()}
    return _tails(form.subs(back | {symbol: atom for atom, symbol in others.items()}))


def _merge_logarithms(expr: sp.Expr) -> sp.Expr:
    """Sums k log(a) + k log(b) - k log(c) as k log(a b/c), so that the argument cancels."""
    logs = [  # sorted: sets differ from run to run
        e
        for e in sorted(expr.atoms(sp.log, logarithm), key=sp.default_sort_key)
        if not any(e in o.args[0].atoms(type(e)) for o in expr.atoms(sp.log, logarithm) if o != e)
    ]
    if len(logs) < 2:
        return expr
    stand = {e: sp.Dummy(f"l{i}") for i, e in enumerate(logs)}
    linear = sp.together(expr.subs(stand))
    numerator, denominator = sp.fraction(linear)
    try:
        poly = sp.Poly(numerator, *stand.values())
    except sp.PolynomialError:
        return expr
    if poly.total_degree() != 1:
        return expr
    rest, groups = poly.coeff_monomial(1), {}
    for log, symbol in stand.items():
        coefficient = sp.factor(poly.coeff_monomial(symbol))
        if coefficient == 0:
            continue
        for known in groups:
            ratio = sp.cancel(coefficient / known)
            if abs(ratio) == 1:  # a higher power of a sum would overflow
                groups[known] *= log.args[0] ** ratio
                break
        else:
            groups[coefficient] = log.args[0]
    merged = sum(k * sp.log(argument) for k, argument in groups.items())
    return (rest + merged) / denominator
