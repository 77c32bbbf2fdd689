"""Gradient descent by finite steps, with momentum, as a flow that follows it to second order.

A step is V <- p V + f(x), x <- x + eta V, where f is the velocity of gradient flow, eta the
learning rate and p the momentum; with Nesterov's, x <- x + eta (f(x) + p V). Per step, time
h = eta/(1 - p) passes. What the steps follow up to O(h^2), in every step and from any
start, is

    kappa u' + u = f + sigma (Df) u,   x' = u,

from the velocity u = kick f at the start (and u grows by kick times a jump of f at a switch).
Without momentum kappa = 0, and this is x' = f - (eta/2) (Df) f: the flow of L + (eta/4) |grad L|^2.
"""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.symbolic.algebra.float_form import textbook
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import alpha, eta, mu, omega, p, rho


@dataclass(frozen=True)
class StepCorrection:
    """The numbers of the corrected flow, as expressions in the learning rate eta and momentum p.

    Attributes:
        step: h, the time that passes in a step.
        inertia: kappa, the time in which the velocity forgets; at p = 0 its limit is 0.
        bend: sigma, the factor of the derivative of the flow along itself.
        kick: share of a jump of f that the velocity takes over at once (all of it from rest).
        lag: k, minus the slow motion's first-order correction: x' = f - lag (Df) f + O(h^2).
        stable: the largest eta times curvature at which steps do not grow from sign to sign.
    """

    step: sp.Expr
    inertia: sp.Expr
    bend: sp.Expr
    kick: sp.Expr
    lag: sp.Expr
    stable: sp.Expr


def derive_step_correction(nesterov: bool = False) -> StepCorrection:
    """The corrected flow from the recursion of the steps.

    A mode e^(r n) of the recursion with f = 0 has r = 0 or r = log p, so that kappa = -step/log p
    forgets as the steps do. On what is slow the recursion reads x' + (lag) x'' = f, which fixes
    sigma; a constant f, whose steps are a sum of powers of p, fixes the kick. Under a curvature,
    f = -curvature x, the first mode to grow is that of alternating signs.

    Source: derivation of finite steps and momentum.
    """
    step = eta / (1 - p)
    inertia = -step / sp.log(p)
    ahead = p if nesterov else sp.S.Zero  # in steps, f is used before it is reached
    lag = step * (1 + p) / (2 * (1 - p)) - ahead * step
    behind = p**2 if nesterov else p  # steps lag behind the flow by step x behind/(1 - p) for ever
    return StepCorrection(
        step=step,
        inertia=inertia,
        bend=inertia - lag,
        kick=1 - step * behind / ((1 - p) * inertia),
        lag=lag,
        stable=2 * (1 + p) / (1 + 2 * ahead),
    )


@lru_cache(maxsize=256)
def derive_drift(paradigm: Paradigm) -> sp.Expr:
    """How the first integral drifts under finite steps: dK/d mu over the lag, to first order.

    Along x' = f - lag (Df) f the gradient of K changes it by lag f'(D^2 K) f, since K rests along
    f itself; and D^2 K is diagonal. Per margin, on the orbit (alpha = omega/(1 + omega)), this is

        rho mu' (rho Phi'^2 omega/(1 + omega)^2 - Phi''),

    so that the drift is one quadrature along the closed form.

    Raises:
        NoFirstIntegral: the paradigm has none.

    Source: derivation of finite steps and momentum.
    """
    slope = derive_first_integral(paradigm).slope
    speed = derive_flow(paradigm).mu_dot.subs(alpha, omega / (1 + omega))
    turning = rho * slope**2 * omega / (1 + omega) ** 2 - sp.diff(textbook(slope), mu)
    return rho * speed * turning
