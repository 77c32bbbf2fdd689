"""The gradient flow of a paradigm in (mu, nu), from its loss and the metric of the ansatz."""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbolic.reduction import metric
from attnflow.symbols import alpha, mu, rho, tau


@dataclass(frozen=True)
class Flow:
    """Velocities of gradient flow, as expressions in (alpha, mu; C, rho, tau).

    Attributes:
        mu_dot: d mu/dt = -tau L_mu/(C - 1).
        nu_dot: d nu/dt = -tau rho L_nu/C with L_nu = alpha (1 - alpha) L_alpha.
        loss_mu: L_mu, the partial derivative of the loss.
        loss_alpha: L_alpha; minus this is the pull of the loss on the focus.
    """

    mu_dot: sp.Expr
    nu_dot: sp.Expr
    loss_mu: sp.Expr
    loss_alpha: sp.Expr


@lru_cache(maxsize=256)
def derive_flow(paradigm: Paradigm) -> Flow:
    """The flow from nothing but the loss: minus the inverse metric times its gradient.

    d alpha/d nu = alpha (1 - alpha) since alpha is a softmax weight and nu its score.

    Source: derivation of the flow; Vashisht and Ramaswamy (2023), section 3.
    """
    loss_mu, loss_alpha = sp.diff(paradigm.expanded, mu), sp.diff(paradigm.expanded, alpha)
    return Flow(
        mu_dot=-tau * loss_mu / metric[0],
        nu_dot=-tau * rho * alpha * (1 - alpha) * loss_alpha / metric[1],
        loss_mu=loss_mu,
        loss_alpha=loss_alpha,
    )
