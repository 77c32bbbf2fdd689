"""The first integral, found by a separability test on the loss, never typed per paradigm.

On an orbit d nu/d mu = rho ((C-1)/C) (1 - alpha) Q with Q = alpha L_alpha/L_mu. Where Q is free of
alpha (every loss F(alpha psi(mu)) has Q = psi/psi', whatever F), the variables separate, since
(1 + e^nu/B) (1 - alpha) = 1, and nu + e^nu/B - rho Phi(mu) is constant, Phi' = ((C-1)/C) Q(mu).
"""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.float_form import factored, stable, textbook
from attnflow.symbolic.algebra.normal_form import agree
from attnflow.symbolic.flow import derive_flow, metric
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import K0, B, Phi, alpha, delta, nu, nu0, odds, rho, x

CONSERVED = nu + sp.exp(nu) / B - rho * Phi
"""What is constant on an orbit; ``Phi`` stands for the paradigm's potential at mu."""

ARGUMENT = sp.expand(K0 - CONSERVED.subs(nu, x + sp.log(B)) + x + sp.exp(x))
"""z of x + e^x = z, which is CONSERVED = K_0 in the logit x = nu - log B of the focus."""

MOTION = sp.Add(
    *(stable(e.subs(nu, nu0 + delta) - e.subs(nu, nu0)) for e in CONSERVED.as_ordered_terms())
).subs(sp.exp(nu0), B * odds)
"""What a change delta of nu adds to nu + e^nu/B, without cancellation: delta + odds expm1(delta),
``odds`` = e^nu0/B. It equals rho (Phi(mu) - Phi(mu0)), so that a small motion keeps all digits."""


@dataclass(frozen=True)
class FirstIntegral:
    """nu + e^nu/B - rho Phi(mu), constant along the flow.

    Attributes:
        ratio: Q(mu) = alpha L_alpha/L_mu = psi/psi'.
        slope: Phi'(mu) = ((C-1)/C) Q(mu), in a form that floats survive.
        conserved: the constant quantity, in nu, B, rho and the symbol ``Phi`` for Phi(mu).
    """

    ratio: sp.Expr
    slope: sp.Expr
    conserved: sp.Expr = CONSERVED


@lru_cache(maxsize=256)
def derive_first_integral(paradigm: Paradigm) -> FirstIntegral:
    """The first integral of a paradigm, if alpha L_alpha/L_mu is free of alpha.

    >>> from attnflow.symbolic.catalogue import SOFT
    >>> derive_first_integral(SOFT).ratio
    mu

    Raises:
        NoFirstIntegral: the quotient depends on alpha; the message says what still works.

    Source: derivations/03_first_integral.py.
    """
    flow = derive_flow(paradigm)
    quotient = alpha * flow.loss_alpha / flow.loss_mu
    # any weight gives the same if one does; some are singular at 1, as the entropy of attention is
    values = (quotient.subs(alpha, weight) for weight in (sp.S.One, sp.S.Half))
    ratio = factored(next((v for v in values if not v.has(sp.nan, sp.zoo, sp.oo)), alpha))
    if not agree(quotient, ratio):
        raise NoFirstIntegral(
            f"paradigm {paradigm.name!r} has no first integral of the known form: "
            f"alpha L_alpha/L_mu depends on alpha, so mu and nu do not separate; "
            f"use simulate (or freeze one part), which need none"
        )
    return FirstIntegral(ratio, slope=stable(textbook(metric[0] / metric[1] * ratio)))


def separates(paradigm: Paradigm) -> bool:
    """Whether the paradigm has a first integral of the known form."""
    try:
        derive_first_integral(paradigm)
    except NoFirstIntegral:
        return False
    return True
