"""When to change the paradigm: greedy curves, and the condition that a best switch fulfils.

On an orbit both the time and z = x + e^x, x = logit(alpha), are driven by mu: dt/d mu = g and
dz/d mu = rho Phi', where g depends on the state and Phi' on mu alone. Let V(mu, z) be the time
still needed for a focus level. Moving the margin at which paradigm A hands over to B by d mu
changes the total time by [g_A - g_B + V_z rho (Phi'_A - Phi'_B)] d mu, and V_z follows from the
orbit ahead, that ends at margin mu_f:

    V_z(mu) = Int_mu^{mu_f} g_z d mu - g(mu_f)/(rho Phi'(mu_f)),  g_z = alpha (1 - alpha)^2 g_alpha.

Greedy curves ask less: where two paradigms move the focus equally fast at this moment.
"""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.symbolic.algebra.float_form import factored, stable, textbook
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, alpha, costate, mu, rho


@dataclass(frozen=True)
class SwitchTerms:
    """What a paradigm contributes to the condition, as expressions in (alpha, mu; C, rho, tau).

    Attributes:
        pace: g = dt/d mu = 1/mu'.
        slope: dz/d mu = rho Phi'(mu), free of alpha.
        sensitivity: g_z, the derivative of the pace by z with mu held. dz = (1 + e^x) dx makes it
            alpha (1 - alpha)^2 dg/d alpha.
    """

    pace: sp.Expr
    slope: sp.Expr
    sensitivity: sp.Expr


@lru_cache(maxsize=256)
def derive_switch_terms(paradigm: Paradigm) -> SwitchTerms:
    """Pace, slope and sensitivity, from the loss.

    Raises:
        NoFirstIntegral: the paradigm has none.
    """
    pace = factored(1 / derive_flow(paradigm).mu_dot)
    return SwitchTerms(
        pace=pace,
        slope=rho * textbook(derive_first_integral(paradigm).slope),
        sensitivity=stable(alpha * (1 - alpha) ** 2 * sp.diff(pace, alpha)),
    )


@lru_cache(maxsize=256)
def derive_switch_condition(first: Paradigm, then: Paradigm) -> sp.Eq:
    """What holds where the best schedule goes over from one paradigm to another.

    g_A - g_B + lambda (slope_A - slope_B) = 0, with ``costate`` lambda = V_z along the part ahead.

    Raises:
        NoFirstIntegral: one of the paradigms has none.

    Source: Pontryagin's principle with mu as clock; derivation of switching.
    """
    a, b = derive_switch_terms(first), derive_switch_terms(then)
    return sp.Eq(a.pace - b.pace + costate * (a.slope - b.slope), 0)


@dataclass(frozen=True)
class GreedyCurve:
    """Where two paradigms move the focus equally fast, in the (mu, alpha) plane.

    Attributes:
        first, then: the paradigms compared.
        equation: L_alpha of one equals that of the other, since nu' is a common factor times it.
        alpha: the focus weight on the curve as a function of mu and C, None if no form was found.
    """

    first: Paradigm
    then: Paradigm
    equation: sp.Eq
    alpha: sp.Expr | None


@lru_cache(maxsize=256)
def greedy_curve(paradigm_a: Paradigm, paradigm_b: Paradigm) -> GreedyCurve:
    """The curve on which two paradigms teach the focus equally well.

    It is solved for alpha where the equation is linear in alpha, in e^{k alpha}, or in both.

    Args:
        paradigm_a: a Paradigm.
        paradigm_b: another.

    Returns:
        The equation, and alpha as a function of mu and C.

    Source: derivation of switching; the velocities are those of symbolic/flow.py.
    """
    left, right = (factored(-derive_flow(p).loss_alpha) for p in (paradigm_a, paradigm_b))
    return GreedyCurve(paradigm_a, paradigm_b, sp.Eq(left, right), _solve_for_alpha(left - right))


POINTS = tuple({C: sp.Integer(c), mu: sp.Rational(u)} for c, u in ((5, "1/2"), (20, 2), (3, "3/2")))
"""Where a form of a greedy curve is compared with its equation."""


def _on_curve(candidate: sp.Expr, difference: sp.Expr) -> bool:
    """Whether a solution lies in (0, 1) and solves the equation at sample points, to 20 digits."""
    for point in POINTS:
        value = sp.N(candidate.subs(point), 40)
        if not value.is_real or not 0 < value < 1:
            return False
        if abs(sp.N(difference.subs(alpha, value).subs(point), 30)) > sp.Float("1e-20"):
            return False
    return True


def _as_linear(difference: sp.Expr) -> tuple[sp.Expr, ...] | None:
    """a, b, c and k of a + b alpha + c e^{k alpha}, whose roots are those of the difference."""
    # logarithms stay whole: expanding would tear log(C beta) apart
    whole = {
        e: sp.Dummy(f"l{i}") for i, e in enumerate(difference.atoms(sp.log)) if not e.has(alpha)
    }
    back = {symbol: e for e, symbol in whole.items()}
    numerator = sp.expand(sp.fraction(sp.together(sp.expand(difference.subs(whole))))[0])
    growths = {e for e in numerator.atoms(sp.exp) if e.exp.has(alpha)}
    rates = {sp.diff(e.exp, alpha) for e in growths}
    if len(rates) > 1 or any(rate.has(alpha) for rate in rates):
        return None
    rate = rates.pop() if rates else sp.S.Zero
    growth = sp.Dummy("E", positive=True)
    linear = numerator.replace(
        lambda e: isinstance(e, sp.exp) and e.exp.has(alpha),
        lambda e: growth * sp.exp(e.exp - rate * alpha),
    )
    if not linear.is_polynomial(alpha, growth):
        return None
    poly = sp.Poly(linear, alpha, growth)
    if poly.total_degree() != 1:
        return None
    parts = (sp.factor(poly.coeff_monomial(unit)) for unit in (1, alpha, growth))
    return tuple(part.subs(back) for part in (*parts, rate))


def _solve_for_alpha(difference: sp.Expr) -> sp.Expr | None:
    """The root of a + b alpha + c e^{k alpha} (times anything) that lies in (0, 1)."""
    found = _as_linear(difference)
    if found is None:
        return None
    constant, by_alpha, by_growth, rate = found
    if by_growth == 0:
        candidates = [-constant / by_alpha]
    elif by_alpha == 0:
        candidates = [sp.log(sp.factor(-constant / by_growth)) / rate]
    else:
        shift = sp.cancel(constant / by_alpha)
        inner = sp.cancel(rate * by_growth / by_alpha) * sp.exp(-rate * shift)
        candidates = [-shift - sp.LambertW(inner, branch) / rate for branch in (0, -1)]
    return next((c for c in candidates if _on_curve(c, difference)), None)
