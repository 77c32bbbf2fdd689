"""Adam and its limits.

Adam divides the gradient, entry by entry, by a running root of its mean square. With small steps
and a short memory the quotient is the sign of the gradient. Then only the directions of the entries
count, and these are the same for every paradigm as long as no gradient vanishes: the entry of the
true class moves up, those of the other classes down, scores up on the foreground and down on the
background. So all paradigms have one trajectory, and losses cannot be told apart.

If the gradient is divided by its norm as a whole, both coordinates of the plane are slowed or
hastened alike. The orbit stays, and so does its first integral; what changes is the clock, which
becomes the length of the way in the metric of the plane.
"""

import sympy as sp
from _common import Derivation, velocities
from _model import hard, lvml, population, slopes, soft

from attnflow.symbolic.catalogue import HARD, LVML, SOFT
from attnflow.symbolic.flow import background_length, metric, overall_speed, relative_speed
from attnflow.symbolic.optimizers import derive_arc, sign_velocity
from attnflow.symbols import (
    B,
    C,
    alpha,
    attention,
    beta,
    eta_classifier,
    eta_focus,
    k,
    m,
    mu,
    mu_dot,
    nu,
    nu_dot,
    probability,
    r,
    rho,
    s,
    t,
    tau,
    theta,
)

POOLS = {SOFT: soft, HARD: hard, LVML: lvml}
WRONG = sp.Symbol("c", positive=True)  # C - 1
GROWN = sp.Symbol("y", positive=True)  # e^mu - 1, above zero for mu > 0
REST = sp.Symbol("q", positive=True)  # 1 - alpha


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(16, "Adam and its limits", __doc__)
    signs(told)
    for paradigm in POOLS:
        never_vanishes(told, paradigm)
    for paradigm in POOLS:
        norm(told, paradigm)
    for paradigm in POOLS:
        arc(told, paradigm)
    return told


def above_zero(expr: sp.Expr) -> sp.Expr:
    """The expression with symbols of known sign, for mu > 0 and more than one class."""
    found = expr.subs({mu: sp.log(1 + GROWN), 1 - alpha: REST, C: 1 + WRONG}, simultaneous=True)
    return sp.powsimp(sp.simplify(found))


def signs(told: Derivation) -> None:
    """The velocities of sign descent, from the signs of the entries."""
    own, other = above_zero(1 - 1 / C), above_zero(-1 / C)
    told.prove(
        "margin",
        "Sign descent: the margin",
        mu_dot,
        sign_velocity[0],
        "The velocity of W has the signs of I - 11'/C. An entry moves with eta_c, the one of the "
        "true class up and the others down, and a margin with the difference.",
        (sp.sign(own), sp.S.One),
        (sp.sign(other), -sp.S.One),
        (r * eta_classifier * (sp.sign(own) - sp.sign(other)), sign_velocity[0]),
    )
    told.prove(
        "focus",
        "Sign descent: the focus score",
        nu_dot,
        sign_velocity[1],
        "Entries of w move up, those on the background down, shared or distinct; the score is that "
        "of the foreground less that of the background.",
        (r * eta_focus - s * (-eta_focus), sign_velocity[1]),
    )
    plain = {r: 1, s: 0, eta_classifier: 1, eta_focus: 1}
    told.prove(
        "trajectory",
        "Sign descent: every paradigm's trajectory",
        mu,
        2 * t,
        "From zero in the plain setting; the focus score is t, and the focus weight passes 1/2 at "
        "t = log B.",
        (sp.integrate(sign_velocity[0].subs(plain), (t, 0, t)), 2 * t),
        (sp.integrate(sign_velocity[1].subs(plain), (t, 0, t)), t),
        (attention.subs(nu, sp.log(B)), sp.Rational(1, 2)),
    )


def never_vanishes(told: Derivation, paradigm) -> None:
    """Both velocities are above zero wherever mu is, so that no sign changes on the way."""
    speed, turn = (e.subs({rho: 1, tau: 1}) for e in velocities(paradigm.expanded))
    if paradigm is HARD:
        # log(C beta) = log(1 + x) with x above zero
        excess = (C - 1) * (sp.exp(mu) - 1) / (sp.exp(mu) + C - 1)
        claims = [
            (C * probability - 1, excess),
            (turn, alpha * (1 - alpha) * sp.log(1 + excess) / C),
            (sp.sign(above_zero(excess)), sp.S.One),
        ]
    elif paradigm is SOFT:
        pull = alpha * (1 - alpha) * (C - 1) * mu / (C * (sp.exp(alpha * mu) + C - 1))
        margin = sp.Symbol("u", positive=True)
        positive = pull.subs({mu: margin, 1 - alpha: REST, C: 1 + WRONG}, simultaneous=True)
        claims = [(turn, pull), (sp.sign(positive), sp.S.One)]
    else:
        claims = [(sp.sign(sp.factor(above_zero(turn))), sp.S.One)]
    told.prove(
        f"pull-{paradigm.name}",
        f"{paradigm.title}: no gradient vanishes",
        sp.sign(nu_dot, evaluate=False),
        sp.S.One,
        "For mu > 0 the focus is pulled up, and the margin always.",
        *claims,
        (sp.sign(sp.factor(speed.subs({1 - alpha: REST, C: 1 + WRONG}, simultaneous=True))), 1),
    )


def norm(told: Derivation, paradigm) -> None:
    """The norm of the gradient over all entries, from explicit matrices with m = C = 3."""
    size = 3
    W = sp.Matrix(size, size, lambda i, j: sp.Symbol(f"W_{i}{j}", real=True))
    V = sp.Matrix(size, 1, lambda i, _: sp.Symbol(f"V_{i}", real=True))
    w = [sp.Symbol(f"w_{i}", real=True) for i in range(size)]
    v = [sp.Symbol("v", real=True)]
    centred = sp.eye(size) - sp.ones(size) / size
    score = sp.log(2 * alpha / (1 - alpha)) / r
    at = {W[i, j]: mu / r * centred[i, j] for i in range(size) for j in range(size)}
    at |= dict.fromkeys([*V, *v], sp.S.Zero) | dict.fromkeys(w, score)
    loss = population(POOLS[paradigm], W, V, w, v, size, 1, (r, s))
    found = sp.Add(*(e**2 for e in slopes(loss, [*W, *V, *w, *v], at)))
    told.prove(
        f"norm-{paradigm.name}",
        f"{paradigm.title}: norm of the gradient",
        sp.Symbol(r"\left|\nabla L\right|", positive=True) ** 2,
        square(mu_dot, nu_dot),
        "Over all entries, background included; theta is its norm in those of the foreground.",
        (
            found,
            square(*velocities(paradigm.expanded))
            .subs({rho: relative_speed("shared"), theta: background_length("shared")})
            .subs({tau: overall_speed, C: size, m: size, k: 1}),
        ),
    )


def square(speed: sp.Expr, turn: sp.Expr) -> sp.Expr:
    """The squared norm of the full gradient from the velocities of the plane."""
    return (r / tau) ** 2 * (
        metric[0] * speed**2 + metric[1] * (1 + C * theta**2) * (turn / rho) ** 2
    )


def arc(told: Derivation, paradigm) -> None:
    """The clock of normalised gradient flow."""
    speed, turn = velocities(paradigm.expanded)
    found = derive_arc(paradigm)
    told.prove(
        f"arc-{paradigm.name}",
        f"{paradigm.title}: length of the way",
        sp.Symbol(r"\frac{ds}{d\mu}", real=True),
        found,
        "The norm of the gradient times the pace; the square of both sides was compared.",
        (found**2, (square(speed, turn) / speed**2).subs(tau, overall_speed)),
        (probability, beta.subs(beta, probability)),
    )


if __name__ == "__main__":
    main().finish()
