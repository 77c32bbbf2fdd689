"""The Hessian of the full loss over (W, w) on the ansatz, block by block: how steep descent may be.

The Hessian commutes with permutations of the classes, so it acts by itself on directions that move
all classes alike and on directions xi with sum(xi) = 0 over the classes. Alike there is the plane
(mu, nu) alone, whose block is that of the reduced loss in its metric. Apart there are four:

    mu_y + xi_y,   nu_y + xi_y,   a bias xi across the columns of W,   logits xi of the background.

Without background the last drops out, the loss splits by class, and the first two are the plane
once more: each eigenvalue of the plane then occurs C times. (Two classes have no bias.) What is
orthogonal to all of these has the curvature of the bias, so it is never the steepest.
"""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from attnflow.symbolic.flow import derive_flow, derive_jacobian
from attnflow.symbolic.paradigm import INPUT, Paradigm
from attnflow.symbols import C, alpha, beta, mu, probability, rho, tau, theta


@dataclass(frozen=True)
class Curvature:
    """Symmetric matrices whose eigenvalues are those of the Hessian, learning rates included.

    In (alpha, mu; C, rho, tau, theta): theta = s/(r sqrt(n)) for n background vectors of norm s.

    Attributes:
        plane: of all classes alike, by (mu, nu).
        apart: of classes apart, by (mu, nu, bias, background), C - 1 times.
        background: of several background vectors apart, by (score, logits); zero beside one.
    """

    plane: sp.ImmutableDenseMatrix
    apart: sp.ImmutableDenseMatrix
    background: sp.ImmutableDenseMatrix


@lru_cache(maxsize=256)
def derive_curvature(paradigm: Paradigm) -> Curvature:
    """The blocks from the loss and from what attention averages.

    A paradigm that averages Q pools alpha Q(mu) + (1 - alpha) Q(mu_b), mu_b the background's
    margin, 0 on the ansatz; its loss is some psi of that, whose derivatives follow from L. One that
    is given by its loss alone sees no background. Within the wrong classes only the log-mean-exp
    of a margin bends: by -1/(C - 1) of the margin's slope.

    Source: derivation of the largest learning rate.
    """

    def by_nu(expr: sp.Expr) -> sp.Expr:
        return alpha * (1 - alpha) * sp.diff(expr, alpha)

    flow = derive_flow(paradigm)
    loss = paradigm.expanded
    up, pull = flow.loss_mu, by_nu(loss)
    behind = 1 - alpha
    bias, crossed, beside = -up / (C - 1), sp.S.Zero, sp.S.Zero
    seen = bent = several = sp.S.Zero  # first and second derivatives by mu_b, and by many of them
    if paradigm.averages is INPUT:
        psi = up / alpha
        bias, crossed, beside = (
            -psi * weight / (C - 1) for weight in (alpha**2, alpha * behind, behind**2)
        )
        seen, bent = psi * behind, sp.diff(psi, mu) / alpha * behind**2
    elif paradigm.averages is not None:
        quantity = paradigm.averages.subs(beta, probability)
        rising = sp.diff(quantity, mu)
        psi = up / (alpha * rising)
        first, second = rising.subs(mu, 0), sp.diff(rising, mu).subs(mu, 0)
        seen = psi * behind * first
        bent = sp.diff(psi, mu) / (alpha * rising) * (behind * first) ** 2 + psi * behind * second
        beside = -seen / (C - 1)
        several = psi * behind * (second * C - (C - 2) * first) * tau * theta**2 / (C - 1) ** 2
    own = rho / (1 + C * theta**2)  # the focus without the part that the background takes over
    slopes = derive_jacobian(paradigm)
    plane = symmetric(
        [-slopes[0, 0], tau * sp.sqrt(rho / (C * (C - 1))) * by_nu(up)], [-slopes[1, 1]]
    )
    apart = symmetric(
        [
            -slopes[0, 0],
            tau * sp.sqrt(own / (C * (C - 1))) * by_nu(up),
            sp.S.Zero,
            tau * theta * sp.sqrt(C / (C - 1)) / (C - 1) * sp.diff(seen, mu),
        ],
        [
            tau * own / C * by_nu(pull),
            sp.S.Zero,
            tau * theta * sp.sqrt(own) / (C - 1) * by_nu(seen),
        ],
        [tau / C * bias, tau * theta * sp.sqrt((C - 2) / (C * (C - 1))) * crossed],
        [tau * theta**2 * (bent * C / (C - 1) + (C - 2) * beside) / (C - 1)],
    )
    background = symmetric([-tau * own * theta**2 * pull, sp.S.Zero], [several])
    return Curvature(plane, apart, background)


def symmetric(*upper: list[sp.Expr]) -> sp.ImmutableDenseMatrix:
    """A symmetric matrix from the rows of its upper triangle."""
    size = len(upper)
    return sp.ImmutableDenseMatrix(size, size, lambda i, j: upper[min(i, j)][abs(i - j)])
