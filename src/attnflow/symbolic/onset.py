"""When the focus awakes: the time to a given focus weight from zero, among many segments.

While the focus is small, L_mu is proportional to alpha, so that dt/dmu = G(mu)/alpha; the first
integral gives alpha = e^(rho Phi)/B there. Where B is large all the time is spent so, and

    t/B -> Int_0^oo G(mu) e^(-rho Phi(mu)) d mu   as B -> oo,

for any focus weight short of 1: the margin at which it is reached, rho Phi = log B, grows without
bound, and what is left of the integral there vanishes. For many classes G/C and Phi have limits
too, which leaves one number: t ~ number x B C.
"""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.antiderivative import antiderivative
from attnflow.symbolic.algebra.coefficients import NoExpansion
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.late_time import leading_term
from attnflow.symbolic.orbit import derive_potential
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, alpha, mu, rho, tau

_y = sp.Symbol("y", positive=True)


@dataclass(frozen=True)
class Onset:
    """The time at which the focus awakes, from the zero start, for many segments.

    Attributes:
        growth: G(mu), the limit of alpha dt/dmu as alpha -> 0.
        value: the limit of t/B as B -> oo, in C, rho and tau; an Integral where no form was found.
        primitive: its integrand's antiderivative in mu, or None.
        many_classes: the limit of t/(B C) as C -> oo as well, for rho = tau = 1; likewise.
        many_primitive: the antiderivative of that integrand, or None.
    """

    growth: sp.Expr
    value: sp.Expr
    primitive: sp.Expr | None
    many_classes: sp.Expr
    many_primitive: sp.Expr | None


@lru_cache(maxsize=128)
def onset(paradigm: Paradigm) -> Onset | None:
    """The law of the onset; None where the rule does not apply.

    It applies where there is a first integral, the velocity of the margin is proportional to a
    small focus, and Phi' grows without bound.

    >>> from attnflow.symbolic.catalogue import LVML
    >>> onset(LVML).many_classes
    -2 + E

    Source: derivations/14_onset.py.
    """
    try:
        potential = derive_potential(paradigm)
        lead = leading_term(potential.slope)
    except (NoFirstIntegral, NoExpansion):
        return None
    growth = factored(alpha / derive_flow(paradigm).mu_dot).subs(alpha, 0)
    if lead.rate < 0 or (lead.rate == 0 and lead.power <= 0) or growth.has(alpha, sp.zoo, sp.nan):
        return None
    value, primitive = _integral(growth, rho * potential.value)
    limits = [sp.limit(e, C, sp.oo) for e in (growth.subs(tau, 1) / C, potential.slope)]
    rise = antiderivative(limits[1], mu)
    unbounded = any(e.has(C, sp.oo, sp.zoo, sp.nan, sp.Limit) for e in limits)
    if rise is None or unbounded or limits[0] == 0:
        return Onset(growth, value, primitive, *_no_limit(growth, potential.value))
    return Onset(growth, value, primitive, *_integral(limits[0], rise - rise.subs(mu, 0)))


def _no_limit(growth: sp.Expr, potential: sp.Expr) -> tuple[sp.Expr, None]:
    whole = sp.Integral(growth.subs(tau, 1) / C * sp.exp(-potential), (mu, 0, sp.oo))
    return sp.Limit(whole, C, sp.oo), None


def _integral(growth: sp.Expr, exponent: sp.Expr) -> tuple[sp.Expr, sp.Expr | None]:
    """The integral of growth e^-exponent over mu from 0 to infinity, and its antiderivative.

    A Gaussian; or, in y = e^(s mu) for an exponent s that occurs, what the table knows.
    """
    integrand = growth * sp.exp(-exponent)
    square = sp.expand(exponent).coeff(mu, 2)
    if mu not in growth.free_symbols and sp.expand(exponent - square * mu**2) == 0:
        root = sp.sqrt(factored(square))
        value = growth * sp.sqrt(sp.pi) / (2 * root)
        return value, value * sp.erf(root * mu)
    if integrand.free_symbols == {mu} and not exponent.has(sp.Integral):
        rates = {sp.diff(e.exp, mu) for e in exponent.atoms(sp.exp)}
        for rate in sorted((r for r in rates if r.is_Rational), key=abs):
            inside = sp.simplify(integrand.subs(mu, sp.log(_y) / rate) / (rate * _y))
            primitive = antiderivative(inside, _y)
            if primitive is not None:
                end = sp.limit(primitive, _y, sp.oo if rate > 0 else 0)
                value = sp.expand(end - primitive.subs(_y, 1))
                return value, primitive.subs(_y, sp.exp(rate * mu))
    return sp.Integral(integrand, (mu, 0, sp.oo)), None
