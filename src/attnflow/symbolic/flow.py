"""The symmetric ansatz, what a setting reduces to on it, and the gradient flow of a paradigm there.

Started at zero (or anywhere inside the ansatz) the matrices stay W = mu (I - 11'/C) and
w = nu 1 for ever, so gradient flow on (W, w) is gradient flow on (mu, nu) in the metric
(C - 1) d mu^2 + C d nu^2. Norms, learning rates and several foreground segments only change the
three numbers B, rho and tau:

    alpha = e^nu/(e^nu + B),   mu' = -tau L_mu/(C - 1),   nu' = -tau rho L_nu/C.
"""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import (
    C,
    alpha,
    decay,
    eta_classifier,
    eta_focus,
    k,
    m,
    mu,
    nu,
    r,
    rho,
    s,
    tau,
)

metric = (C - 1, C)
"""The ansatz's metric: squared lengths of d/d mu and d/d nu in the space of (W, w)."""

background_ratio = (m - k) / k
"""B: background segments to a foreground segment."""

overall_speed = eta_classifier * r**2
"""tau: the speed of mu, in margins, for a foreground vector of norm r."""


def background_length(background: str) -> sp.Expr:
    """theta: norm of the background, in those of the foreground, that the focus sees at once.

    A shared background vector is seen in all m - k background segments, so its own weight moves
    m - k times as fast as that of one of as many distinct vectors.
    """
    sharing = sp.S.One if background == "shared" else 1 / (m - k)
    return s / r * sp.sqrt(sharing)


def relative_speed(background: str) -> sp.Expr:
    """rho: speed of the focus relative to the classifier."""
    return eta_focus / eta_classifier * (1 + C * background_length(background) ** 2)


def squared_norms(background: str) -> tuple[sp.Expr, sp.Expr]:
    """|W|^2 and |w|^2 on the ansatz.

    A margin mu is r times that of W, and a score nu is r times the entry of w on a foreground
    vector less s times that on the background, which is -C theta^2 of it.
    """
    length = background_length(background)
    return (
        metric[0] * mu**2 / r**2,
        metric[1] * nu**2 / (r**2 * (1 + C * length**2)),
    )


def derive_decay(background: str) -> tuple[sp.Expr, sp.Expr]:
    """What weight decay adds to mu' and nu': minus the inverse metric times the penalty's gradient.

    The penalty is (decay/2) (|W|^2 + |w|^2); the velocities are those of any loss.

    >>> derive_decay("shared")
    (-eta_c*lambda_w*mu, -eta_f*lambda_w*nu)

    Source: derivation of weight decay.
    """
    penalties = (decay * norm / 2 for norm in squared_norms(background))
    speeds = (overall_speed, overall_speed * relative_speed(background))
    pulls = (
        -speed * sp.diff(penalty, by) / length
        for penalty, speed, by, length in zip(penalties, speeds, (mu, nu), metric, strict=True)
    )
    by_mu, by_nu = (sp.simplify(pull) for pull in pulls)
    return by_mu, by_nu


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


@lru_cache(maxsize=256)
def derive_jacobian(paradigm: Paradigm) -> sp.ImmutableDenseMatrix:
    """Df, the derivative of (mu', nu') by (mu, nu), in the flow's own symbols.

    Minus this matrix is the Hessian of the loss in the metric of the ansatz, learning rates
    included: its eigenvalues are those curvatures.

    Source: derivation of finite steps and momentum.
    """
    flow = derive_flow(paradigm)
    return sp.ImmutableDenseMatrix(
        [
            [sp.diff(velocity, mu), alpha * (1 - alpha) * sp.diff(velocity, alpha)]
            for velocity in (flow.mu_dot, flow.nu_dot)
        ]
    )
