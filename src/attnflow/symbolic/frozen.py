"""One part held: the focus at a given alpha, or the classifier at a given mu.

Then the flow is one separable equation. Its time is an antiderivative, and where that is a sum of
the unknown and one or two exponentials of it, it is inverted by the Wright omega function or by
the hyperbolic Kepler equation. Patterns are recognised in the formula, not by paradigm.
"""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.symbolic.algebra.antiderivative import antiderivative
from attnflow.symbolic.algebra.float_form import factored, stable, textbook
from attnflow.symbolic.algebra.functions import kepler, wright_omega
from attnflow.symbolic.algebra.normal_form import (
    agree,
    collected,
    gather,
    monomials,
    readable,
    sample,
    vanishes,
)
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import alpha, alpha0, complement, mu, mu0, t, u, x, x0


@dataclass(frozen=True)
class Frozen:
    """Flow with one part held.

    Attributes:
        variable: what moves: ``mu`` (focus held at ``alpha``) or ``x`` = logit alpha (classifier
            held at ``mu``).
        start: its value at t = 0, ``mu0`` or ``x0``.
        pace: dt/d variable.
        primitive: G with t = G(variable) - G(start), or None where the table knows none.
        time: t as a function of the variable, an Integral where ``primitive`` is None.
        solution: the variable as a function of t, or None where no pattern fits.
    """

    variable: sp.Symbol
    start: sp.Symbol
    pace: sp.Expr
    primitive: sp.Expr | None
    time: sp.Expr
    solution: sp.Expr | None

    @property
    def time_of_alpha(self) -> sp.Expr:
        """For a held classifier: t as a function of alpha, from ``alpha0``."""
        return self.time.subs({x: _logit(alpha), x0: _logit(alpha0)})


def _logit(weight: sp.Expr) -> sp.Expr:
    return sp.log(weight / (1 - weight))


@lru_cache(maxsize=256)
def derive_frozen_focus(paradigm: Paradigm) -> Frozen:
    """Alpha held: t(mu), and mu(t) where a pattern fits.

    Source: derivation of the frozen focus.
    """
    pace = 1 / factored(derive_flow(paradigm).mu_dot)
    return _frozen(mu, mu0, pace, antiderivative(pace, mu))


@lru_cache(maxsize=256)
def derive_frozen_classifier(paradigm: Paradigm) -> Frozen:
    """Mu held: t(x) with x = logit alpha (x' = nu'), and x(t) where a pattern fits.

    The antiderivative is sought in x, then in alpha. At mu = 0 the focus does not move for a
    loss that treats all segments alike there, and the formulas are singular.

    Source: derivation of the frozen classifier.
    """
    slow = 1 / stable(derive_flow(paradigm).nu_dot)
    focus = {alpha: sp.exp(x) / (1 + sp.exp(x)), complement: 1 / (1 + sp.exp(x))}
    factors = (f.as_base_exp() for f in sp.Mul.make_args(slow.subs(focus)))
    joined = (sp.together(base) ** power for base, power in factors)
    pace = collected(textbook(sp.Mul(*joined)), sp.exp(x))
    # what depends on the held mu alone stays as it is written
    held = {e: sp.Dummy(real=True) for e in pace.atoms(sp.log) if x not in e.free_symbols}
    given = {symbol: e for e, symbol in held.items()}
    primitive = antiderivative(pace.subs(held), x)
    if primitive is None:
        in_alpha = antiderivative(textbook(slow).subs(held) / (alpha * (1 - alpha)), alpha)
        if in_alpha is not None:
            primitive = in_alpha.subs(1 - alpha, 1 / (1 + sp.exp(x))).subs(alpha, focus[alpha])
    found = _frozen(x, x0, pace.subs(held), primitive)
    solution = None if found.solution is None else found.solution.subs(given)
    primitive = None if found.primitive is None else found.primitive.subs(given)
    return Frozen(x, x0, found.pace.subs(given), primitive, found.time.subs(given), solution)


def _frozen(
    variable: sp.Symbol, start: sp.Symbol, pace: sp.Expr, primitive: sp.Expr | None
) -> Frozen:
    if primitive is None:
        time = sp.Integral(pace.subs(variable, u), (u, start, variable))
        return Frozen(variable, start, pace, None, time, None)
    gathered: sp.Expr = gather(primitive, variable)
    time = gathered - gathered.subs(variable, start)
    return Frozen(variable, start, pace, gathered, time, invert(gathered, variable, start))


def invert(primitive: sp.Expr, variable: sp.Symbol, start: sp.Symbol) -> sp.Expr | None:
    """The variable as a function of t, from G(variable) = t + G(start); None where no pattern fits.

    a e^(w v) + b v by the Wright omega function, a e^(w v) + b v - c e^(-w v) with a, b, c of
    one sign by the hyperbolic Kepler equation. The answer is verified in the equation.
    """
    terms = monomials(primitive, variable)
    terms.pop(sp.S.One, None)
    linear = terms.pop(variable, None)
    if linear is None or not 1 <= len(terms) <= 2 or not all(isinstance(e, sp.exp) for e in terms):
        return None
    rates = {sp.cancel(e.exp / variable): c for e, c in terms.items()}
    if any(variable in w.free_symbols for w in rates):
        return None

    def reduced(factor: sp.Expr) -> sp.Expr:
        """Factor (t + G(start)), term by term."""
        known = {e.subs(variable, start): c for e, c in (terms | {variable: linear}).items()}
        moved = (readable(sp.factor(factor * c)) * e for e, c in known.items())
        return readable(sp.factor(factor)) * t + sp.Add(*moved)

    if len(rates) == 1:
        ((w, a),) = rates.items()
        scale = _log(a * w / linear)
        answer = (sp.log(wright_omega(reduced(w / linear) + scale)) - scale) / w
    else:
        (w, a), (other, d) = rates.items()
        if _value(w) < 0:
            (w, a), (other, d) = (other, d), (w, a)
        a, c = a / linear, -d / linear
        if w + other != 0 or _value(a) < 0 or _value(c) < 0:
            return None
        shift = _log(c / a) / 2
        eccentricity = 2 * w * _root(a * c)
        answer = (kepler(eccentricity, reduced(w / linear) - shift) + shift) / w
    residual = primitive.subs(variable, answer), t + primitive.subs(variable, start)
    if vanishes(residual[0] - residual[1]) or agree(*residual):
        return answer
    return None


def _log(value: sp.Expr) -> sp.Expr:
    value = readable(sp.factor(value))
    up, down = sp.fraction(value)
    return -sp.log(down) if up == 1 else sp.log(value)


def _root(value: sp.Expr) -> sp.Expr:
    """The square root of a positive quotient, squares taken out."""
    outside = inside = sp.S.One
    for factor in sp.Mul.make_args(readable(sp.factor(value))):
        base, power = factor.as_base_exp()
        if power.is_Integer:
            outside *= (base if _value(base) > 0 else -base) ** (power // 2)
            inside *= base ** (power % 2)
        else:
            inside *= factor
    return outside * sp.sqrt(inside)


def _value(expr: sp.Expr) -> sp.Expr:
    return sp.N(expr.subs(sample(expr.free_symbols)), 20)
