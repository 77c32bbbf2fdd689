"""The largest learning rate.

Steps along a direction in which the loss bends upwards with curvature lambda multiply a deviation
by 1 - eta lambda. They are stable as long as that, or what momentum makes of it, is at most 1 in
size. So the largest eigenvalue of the Hessian of the full loss, over all entries of W and w, says
how large steps may be at a point of the trajectory.

The Hessian on the ansatz commutes with permutations of the classes. Directions in which all classes
move alike, and directions xi with sum(xi) = 0 over the classes, do not mix. Alike there is only the
plane of margin and focus score, with the Hessian of the reduced loss in its metric. Apart there are
four directions: margins mu + xi_y and scores nu + xi_y of the classes y, a bias xi in every column
of W, and logits xi of the background.

Without background the loss is a mean of losses that share no parameter, one for each class. Then
the plane's two eigenvalues occur C times. A background, which all classes share, does two things:
it adds to the speed of the common focus, in which it takes part, and it ties the margins of the
classes to the logits of the background. Both only add curvature.
"""

import sympy as sp
from _common import Derivation, velocities
from _model import hard, lvml, population, soft

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.catalogue import HARD, LVML, SOFT
from attnflow.symbolic.curvature import derive_curvature
from attnflow.symbolic.finite_steps import derive_step_correction
from attnflow.symbolic.flow import background_length, relative_speed
from attnflow.symbols import (
    C,
    alpha,
    curvature,
    eta,
    eta_classifier,
    eta_focus,
    k,
    m,
    mu,
    p,
    r,
    rho,
    s,
    tau,
    theta,
)

SIDES = {SOFT: soft, HARD: hard, LVML: lvml}
NAMES = (r"\mu", r"\nu", "b", "v")
NORM = sp.Rational(2, 3)


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(15, "The largest learning rate", __doc__)
    for nesterov in (False, True):
        stable(told, nesterov)
    for paradigm in SIDES:
        plane(told, paradigm)
        splits(told, paradigm)
    told.say(
        """The blocks of classes that move apart, against the loss of explicit matrices: three
        classes, a background of norm 2/3, second derivatives along each pair of directions."""
    )
    for paradigm in SIDES:
        apart(told, paradigm, "shared", 3)
    several(told, HARD)
    return told


def stable(told: Derivation, nesterov: bool) -> None:
    """From which eta lambda on the steps grow, f = -lambda x."""
    z = sp.Symbol("z", real=True)
    size = eta * curvature
    # x_(n+1) - (1 + p) x_n + p x_(n-1) = -size x_n, with Nesterov's -size (x_n + p (x_n - x_(n-1)))
    force = size * (z + p * (z - 1)) if nesterov else size * z
    modes = sp.expand(z**2 - (1 + p) * z + p + force)
    most = derive_step_correction(nesterov).stable
    at_most = {eta: most / curvature}
    told.prove(
        "stable-nesterov" if nesterov else "stable",
        "Where steps begin to grow" + (", with Nesterov's momentum" if nesterov else ""),
        size,
        most,
        "A mode z^n of the steps solves a quadratic equation. For small eta both roots lie within "
        "the unit circle; the first to leave it is z = - 1, since z = 1 solves it at eta = 0 only "
        "and a pair of complex roots has a product of less than 1.",
        (modes.subs(z, -1).subs(at_most), sp.S.Zero),
        (modes.subs(z, 1), size),
        (sp.diff(modes.subs(z, -1), eta).subs(p, 0), -curvature),
        (modes.coeff(z, 0), p * (1 - size) if nesterov else p),
    )


def plane(told: Derivation, paradigm) -> None:
    """The block of all classes alike: the reduced loss in its metric, learning rates included."""
    loss = paradigm.expanded
    found = derive_curvature(paradigm).plane

    def by_nu(expr: sp.Expr) -> sp.Expr:
        return alpha * (1 - alpha) * sp.diff(expr, alpha)

    lengths = sp.sqrt((C - 1) / tau), sp.sqrt(C / (tau * rho))
    second = ((sp.diff(loss, mu, 2), by_nu(sp.diff(loss, mu))), (None, by_nu(by_nu(loss))))
    for i, j in ((0, 0), (0, 1), (1, 1)):
        told.prove(
            f"plane-{paradigm.name}-{i}{j}",
            f"{paradigm.title}: all classes alike",
            sp.Symbol(f"H_{{{NAMES[i]} {NAMES[j]}}}", real=True),
            factored(found[i, j]) if i == j else found[i, j],
            "Second derivative of the reduced loss over the lengths of its directions.",
            (found[i, j], second[i][j] / (lengths[i] * lengths[j])),
        )


def splits(told: Derivation, paradigm) -> None:
    """Without background the classes move apart as they move alike."""
    found = derive_curvature(paradigm)
    alone = found.apart.subs(theta, 0)
    pooled = alpha if paradigm is SOFT else sp.S.One
    speed = velocities(paradigm.expanded)[0]
    told.prove(
        f"split-{paradigm.name}",
        f"{paradigm.title}: the bias",
        sp.Symbol("H_{b b}", real=True),
        factored(alone[2, 2]),
        "The curvature within the wrong classes, where only their log-mean-exp bends: the slope "
        "of the loss by the margin, and once more alpha where the input is averaged. Without "
        "background the other entries are those of the plane, or zero.",
        (alone[2, 2], pooled * speed / C),
        *((alone[i, j], found.plane[i, j]) for i, j in ((0, 0), (0, 1), (1, 1))),
        *((alone[i, j], sp.S.Zero) for i, j in ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (3, 3))),
    )


def settled(expr: sp.Expr, background: str, segments: int, classes: int) -> sp.Expr:
    """An entry for one foreground segment of norm 1, equal rates and a background of norm NORM."""
    expr = expr.subs({rho: relative_speed(background), theta: background_length(background)})
    plain = {tau: 1, eta_focus: 1, eta_classifier: 1, r: 1, k: 1}
    return expr.subs(plain).subs({m: segments, C: classes, s: NORM})


def explicit(pool, background: str, segments: int, directions: list) -> sp.Matrix:
    """Second derivatives of the loss of explicit matrices, C = 3, along pairs of directions."""
    kinds = 1 if background == "shared" else segments - 1
    score = sp.log(alpha / (1 - alpha) * (segments - 1))
    sizes = sp.symbols(f"e:{len(directions)}", real=True)
    centred = sp.eye(3) - sp.ones(3) / 3
    W, V = mu * centred, sp.zeros(3, kinds)
    w, v = sp.Matrix([score] * 3), sp.zeros(kinds, 1)
    for size, (dW, dV, dw, dv) in zip(sizes, directions, strict=True):
        W, V, w, v = W + size * dW, V + size * dV, w + size * dw, v + size * dv
    loss = population(pool, W, V, list(w), list(v), segments, 1, (sp.S.One, NORM))
    still = dict.fromkeys(sizes, 0)
    return sp.Matrix(
        len(sizes), len(sizes), lambda i, j: sp.diff(loss.subs(
            {e: 0 for n, e in enumerate(sizes) if n not in (i, j)}), sizes[i], sizes[j]).subs(still)
        if i <= j else 0,
    )  # fmt: skip


def apart(told: Derivation, paradigm, background: str, segments: int) -> None:
    """The block of classes apart against explicit matrices, along xi = (1, -1, 0)."""
    xi, still = sp.Matrix([1, -1, 0]), sp.zeros(3, 1)
    centred = sp.eye(3) - sp.ones(3) / 3
    margins = centred * sp.diag(*xi)
    bias = xi * sp.ones(1, 3)
    bias -= sp.Matrix.hstack(*(
        centred[:, y] * (bias[:, y].dot(centred[:, y]) / centred[:, y].dot(centred[:, y]))
        for y in range(3)
    ))  # fmt: skip
    nothing, none = sp.zeros(3, 3), sp.zeros(1, 1)
    directions = [
        (margins, still, still, none),
        (nothing, still, xi, none),
        (bias, still, still, none),
        (nothing, xi, still, none),
    ]
    lengths = [sp.sqrt(sum(e**2 for part in direction for e in part)) for direction in directions]
    found = derive_curvature(paradigm).apart
    measured = explicit(SIDES[paradigm], background, segments, directions)
    for i in range(4):
        for j in range(i, 4):
            entry = found[i, j]
            told.prove(
                f"apart-{paradigm.name}-{i}{j}",
                f"{paradigm.title}: classes apart",
                sp.Symbol(f"H_{{{NAMES[i]} {NAMES[j]}}}", real=True),
                factored(entry) if i == j and not entry.has(sp.sqrt(C)) else entry,
                "An entry of the block, of the margin, the score, the bias and the background.",
                (
                    settled(entry, background, segments, 3),
                    measured[i, j] / (lengths[i] * lengths[j]),
                ),
            )


def several(told: Derivation, paradigm) -> None:
    """Background vectors apart from each other: their scores, and their logits."""
    xi, apart_from = sp.Matrix([1, -1, 0]), sp.Matrix([1, -1])
    nothing = sp.zeros(3, 3)
    directions = [
        (nothing, sp.zeros(3, 2), sp.zeros(3, 1), apart_from),
        (nothing, xi * apart_from.T, sp.zeros(3, 1), sp.zeros(2, 1)),
    ]
    lengths = [sp.sqrt(sum(e**2 for part in direction for e in part)) for direction in directions]
    found = derive_curvature(paradigm).background
    measured = explicit(SIDES[paradigm], "distinct", 3, directions)
    for i, name in enumerate(("scores", "logits")):
        told.prove(
            f"several-{name}",
            f"{paradigm.title}: several background vectors",
            sp.Symbol(rf"H_{{\mathrm{{{name}}}}}", real=True),
            factored(found[i, i]),
            f"Their {name} may also move against each other; this is the curvature then.",
            (
                settled(found[i, i], "distinct", 3, 3),
                measured[i, i] / lengths[i] ** 2,
            ),
        )


if __name__ == "__main__":
    main().finish()
