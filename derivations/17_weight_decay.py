"""Weight decay.

Weight decay adds `(lambda/2) (|W|^2 + |w|^2)` to every loss; gradient flow then takes from each
entry a share of itself. The ansatz is a plane through the origin, which shrinking does not leave,
so two numbers are still enough. What they lose follows from the squared norms on the ansatz by the
metric alone, whatever the loss.

The focus weights have a part on the background too. Every symmetric gradient pulls the two parts in
one proportion, and from zero `w` keeps it; so its norm is that of the shortest `w` with its score.

What is lost depends on the score itself and not on the focus weight, so margin and score do not
separate any more, and the first integral of the flow without decay moves.
"""

import sympy as sp
from _common import Derivation, velocities
from _model import hard, lvml, population, slopes, soft

from attnflow.symbolic.catalogue import HARD, LVML, SOFT
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import (
    background_length,
    derive_decay,
    overall_speed,
    relative_speed,
    squared_norms,
)
from attnflow.symbols import (
    B,
    C,
    alpha,
    decay,
    eta_classifier,
    eta_focus,
    k,
    m,
    mu,
    mu_dot,
    nu,
    nu_dot,
    r,
    rho,
    s,
    tau,
    theta,
)

POOLS = {SOFT: soft, HARD: hard, LVML: lvml}
KINDS = {"shared": 1, "distinct": 2}  # background vectors of an input of m = 3, k = 1
SIZE = 3


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(17, "Weight decay", __doc__)
    norms(told)
    losses(told)
    told.say("""The full loss with its penalty, differentiated by every entry, moves margin and
        score by the flow of the loss and by what they lose, on both kinds of background.""")
    for paradigm in POOLS:
        entries(told, paradigm)
    for paradigm in POOLS:
        drift(told, paradigm)
    return told


def norms(told: Derivation) -> None:
    """The squared norms of W and w on the ansatz."""
    explicit = []
    for classes in (2, 3, 5):
        W = mu / r * (sp.eye(classes) - sp.ones(classes) / classes)
        explicit.append((squared_norms("shared")[0].subs(C, classes), (W.T * W).trace()))
    told.prove(
        "norm-classifier",
        "Squared norm of the classifier",
        sp.Symbol(r"\left|W\right|^2", positive=True),
        squared_norms("shared")[0],
        "The margin is `r` times that of the weights, on a direction of squared length `C - 1`.",
        *explicit,
    )
    claims = []
    for background, count in (("shared", sp.S.One), ("distinct", m - k)):
        # w is this on each foreground vector and on each of the background vectors
        on, off = r, -C * s / count
        score = r * on - s * off
        claims.append((C * (on * nu / score) ** 2 + count * (off * nu / score) ** 2,
                       squared_norms(background)[1]))  # fmt: skip
        claims.append(
            (squared_norms(background)[1], C * nu**2 / (r**2 * (1 + C * theta**2))
             .subs(theta, background_length(background)))
        )  # fmt: skip
    told.prove(
        "norm-focus",
        "Squared norm of the focus",
        sp.Symbol(r"\left|w\right|^2", positive=True),
        C * nu**2 / (r**2 * (1 + C * theta**2)),
        "For `n` background vectors, `theta = s/(r sqrt(n))`, the part on the background is "
        "`-C s/(n r)` times that on the foreground.",
        *claims,
    )


def losses(told: Derivation) -> None:
    """What mu and nu lose in a unit of time."""
    for place, (left, rate, of, what) in enumerate(
        ((mu_dot, eta_classifier, mu, "margin"), (nu_dot, eta_focus, nu, "focus score"))
    ):
        told.prove(
            f"decay-{what.split()[0]}",
            f"What the {what} loses",
            left,
            -decay * rate * of,
            "Minus the gradient of the penalty in the metric, beside the flow of the loss.",
            *((derive_decay(kind)[place], -decay * rate * of) for kind in KINDS),
        )


def entries(told: Derivation, paradigm) -> None:
    """Differentiate loss and penalty by every entry of explicit matrices, m = C = 3."""
    claims = []
    for background, count in KINDS.items():
        W = sp.Matrix(SIZE, SIZE, lambda i, j: sp.Symbol(f"W_{i}{j}", real=True))
        V = sp.Matrix(SIZE, count, lambda i, j: sp.Symbol(f"V_{i}{j}", real=True))
        w = [sp.Symbol(f"w_{i}", real=True) for i in range(SIZE)]
        v = [sp.Symbol(f"v_{i}", real=True) for i in range(count)]
        centred = sp.eye(SIZE) - sp.ones(SIZE) / SIZE
        score = sp.log(2 * alpha / (1 - alpha))  # nu for a focus weight alpha, B = 2
        off = -SIZE * s / count
        unit = score / (r**2 - s * off)
        at = {W[i, j]: mu / r * centred[i, j] for i in range(SIZE) for j in range(SIZE)}
        at |= dict.fromkeys(V, sp.S.Zero)
        at |= dict.fromkeys(w, r * unit) | dict.fromkeys(v, off * unit)
        loss = population(POOLS[paradigm], W, V, w, v, SIZE, 1, (r, s))
        every = [*W, *V, *w, *v]
        loss += decay / 2 * sp.Add(*(one**2 for one in every))
        found = dict(zip(every, slopes(loss, every, at), strict=True))
        speed, turn = (
            e.subs({rho: relative_speed(background), tau: overall_speed})
            .subs({C: SIZE, m: SIZE, k: 1})
            for e in velocities(paradigm.expanded)
        )  # fmt: skip
        lost = [pull.subs(nu, score) for pull in derive_decay(background)]
        claims += [
            (-eta_classifier * r * (found[W[0, 0]] - found[W[1, 0]]), speed + lost[0]),
            (-eta_focus * (r * found[w[0]] - s * found[v[0]]), turn + lost[1]),
            (found[v[0]] * r, off * found[w[0]]),  # w keeps its direction
            *((found[one], sp.S.Zero) for one in V),
        ]
    told.prove(
        f"entries-{paradigm.name}",
        f"{paradigm.title}: the margin with weight decay",
        mu_dot,
        velocities(paradigm.expanded)[0] - decay * eta_classifier * mu,
        "From the matrices for `m = C = 3`, with shared and with distinct background vectors; the "
        "focus score likewise, and neither leaves the ansatz.",
        *claims,
    )


def drift(told: Derivation, paradigm) -> None:
    """How weight decay moves the first integral of the flow without it."""
    slope = derive_first_integral(paradigm).slope
    flow = dict(zip((mu_dot, nu_dot), velocities(paradigm.expanded), strict=True))
    lost = dict(zip((mu_dot, nu_dot), derive_decay("shared"), strict=True))
    gradient = {mu_dot: -rho * slope, nu_dot: 1 / (1 - alpha)}  # of nu + e^nu/B - rho Phi(mu)
    weight = sp.exp(nu) / (sp.exp(nu) + B)
    change = decay * (eta_classifier * rho * mu * slope - eta_focus * nu / (1 - alpha))
    told.prove(
        f"drift-{paradigm.name}",
        f"{paradigm.title}: what becomes of the first integral",
        sp.Symbol(r"\dot{K}", real=True),
        change,
        "Along the flow of the loss it rests; what is lost moves it. It depends on the score `nu` "
        "beside the weight.",
        (sum(gradient[of] * (flow[of] + lost[of]) for of in gradient), change),
        (1 / (1 - weight), 1 + sp.exp(nu) / B),
    )


if __name__ == "__main__":
    main().finish()
