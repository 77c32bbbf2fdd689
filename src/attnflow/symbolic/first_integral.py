"""The first integral, found by a separability test on the loss, never typed per paradigm.

On an orbit d nu/d mu = rho ((C-1)/C) (1 - alpha) Q with Q = alpha L_alpha/L_mu. Where Q is free of
alpha (every loss F(alpha psi(mu)) has Q = psi/psi', whatever F), the variables separate:

    nu + e^nu/B - rho Phi(mu) is constant,   Phi' = ((C-1)/C) Q(mu).
"""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.float_form import stable, textbook, verify
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbolic.reduction import metric
from attnflow.symbols import alpha, mu


@dataclass(frozen=True)
class FirstIntegral:
    """nu + e^nu/B - rho Phi(mu), constant along the flow.

    Attributes:
        ratio: Q(mu) = alpha L_alpha/L_mu = psi/psi'.
        slope: Phi'(mu) = ((C-1)/C) Q(mu), in a form that floats survive.
    """

    ratio: sp.Expr
    slope: sp.Expr


@lru_cache(maxsize=256)
def derive_first_integral(paradigm: Paradigm) -> FirstIntegral:
    """The first integral of a paradigm, if alpha L_alpha/L_mu is free of alpha.

    Raises:
        NoFirstIntegral: the quotient depends on alpha; the message says what still works.

    Source: derivation of the first integral.
    """
    flow = derive_flow(paradigm)
    quotient = alpha * flow.loss_alpha / flow.loss_mu
    at_full_focus = stable(quotient.subs(alpha, 1))
    if not verify(quotient, at_full_focus):
        raise NoFirstIntegral(
            f"paradigm {paradigm.name!r} has no first integral of the known form: "
            f"alpha L_alpha/L_mu depends on alpha, so mu and nu do not separate; "
            f"use simulate (or freeze one part), which need none"
        )
    slope = metric[0] / metric[1] * at_full_focus
    return FirstIntegral(ratio=textbook(at_full_focus), slope=stable(textbook(slope)))


def check_free_of_alpha(paradigm: Paradigm) -> sp.Expr:
    """d/d alpha of alpha L_alpha/L_mu, brought to normal form: 0 where a first integral exists."""
    flow = derive_flow(paradigm)
    derivative = sp.diff(textbook(stable(alpha * flow.loss_alpha / flow.loss_mu)), alpha)
    return stable(derivative) if derivative.has(alpha, mu) else derivative
