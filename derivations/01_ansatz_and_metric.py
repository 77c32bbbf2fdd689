"""The ansatz and its metric.

One of `m` segments carries the class `y`, the foreground vector `e_y`; the others are background.
The focus scores a segment by `<w, x>` and weighs the segments by a softmax of the scores; the
classifier is softmax of `W x`. Both matrices start at zero. The population loss does not change
when the classes are permuted, and neither does the start, so the matrices stay what every
permutation leaves alone: `W = mu (I - 11'/C)` and `w = nu 1`.

This turns a flow over matrices into a flow in the plane of margin `mu` and focus score `nu`. The
full losses, as they are defined over segments, become functions of `(alpha, mu)`; the lengths of
the two directions give the metric in which these descend.
"""

import sympy as sp
from _common import Derivation, by_probability, velocities
from _model import models, population, slopes, softmax_over

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.flow import background_ratio, metric
from attnflow.symbols import (
    B,
    C,
    L,
    alpha,
    attention,
    beta,
    inattention,
    k,
    m,
    mu,
    mu_dot,
    nu,
    probability,
    rho,
    tau,
)


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(1, "The ansatz and its metric", __doc__)
    plain = {rho: 1, tau: 1}

    # -- Weights and probabilities on the ansatz -------------------------------------------------
    scores = [nu] * 2 + [sp.S.Zero] * 3  # an explicit input: two foreground segments of five
    weights = [sp.exp(score) / sp.Add(*map(sp.exp, scores)) for score in scores]
    ratio = background_ratio
    told.prove(
        "focus-weight",
        "Focus weight on the true segments",
        alpha,
        attention,
        "The softmax over `k` segments of score `nu` and `m - k` of score 0 gives the true ones "
        "this weight together; for one true segment `B` is `m - 1`.",
        (attention.subs(B, ratio), k * sp.exp(nu) / (k * sp.exp(nu) + m - k)),
        (attention.subs(B, ratio).subs({m: 5, k: 2}), sum(weights[:2])),
        (ratio.subs(k, 1), m - 1),
    )
    told.prove(
        "inattention",
        "What is left for the background",
        1 - alpha,
        inattention,
        "The same softmax with the two kinds of segment exchanged.",
        (1 - attention, inattention),
        (inattention.subs(B, ratio).subs({m: 5, k: 2}), sum(weights[2:])),
    )
    # A class of the foreground vector e_y has logit mu (1 - 1/C), every other one -mu/C.
    own, other = mu * (1 - 1 / C), -mu / C
    told.prove(
        "class-probability",
        "Probability of the true class",
        beta,
        probability,
        "The logits of `W e_y` are `mu (1 - 1/C)` for the class `y` and `-mu/C` for the `C - 1` "
        "others. A background segment has equal logits and probability `1/C`.",
        (sp.exp(own) / (sp.exp(own) + (C - 1) * sp.exp(other)), probability),
        (probability.subs(mu, 0), 1 / C),
    )

    # -- The losses ------------------------------------------------------------------------------
    told.say(
        """Attention may average the input (soft), the loss (hard), the probability (LVML), or a
        power of the probability. Each full loss, summed over segments and evaluated on the
        ansatz for `C` classes, is the reduced loss that everything else is derived from."""
    )
    over = softmax_over(C)
    for paradigm, pool in models():
        reduced = pool((alpha, 1 - alpha), ((own, other), (0, 0)), over_others(own, other))
        small = explicit(pool)
        told.prove(
            f"loss-{paradigm.name}",
            f"{paradigm.title}: loss",
            L,
            paradigm.loss,
            "Obtained from its definition over segments, for any `C`, and from the explicit "
            "matrices for `m = 4, C = 3`.",
            (reduced, paradigm.loss),
            (
                small,
                paradigm.loss.subs(beta, probability).subs({alpha: attention}).subs({B: 3, C: 3}),
            ),
        )

    # -- The metric ------------------------------------------------------------------------------
    told.say(
        """Descent in the space of all entries, seen in the coordinates `(mu, nu)`, is descent in
        the metric that this space induces: the squared length of `d/d mu` is the sum of the
        squares of the entries of `I - 11'/C`, that of `d/d nu` the number of entries of `w`."""
    )
    on, off = (1 - 1 / C) ** 2, 1 / C**2
    explicit_lengths = []
    for classes in (2, 3, 5):
        projector = sp.eye(classes) - sp.ones(classes) / classes
        explicit_lengths.append((metric[0].subs(C, classes), (projector.T * projector).trace()))
        explicit_lengths.append(
            (metric[1].subs(C, classes), (sp.ones(1, classes) * sp.ones(classes, 1))[0])
        )
    told.prove(
        "metric-mu",
        "Squared length of `d/d mu`",
        sp.Symbol(r"g_{\mu \mu}"),
        metric[0],
        "`C` entries on the diagonal and `C (C - 1)` beside it.",
        (C * on + C * (C - 1) * off, metric[0]),
        *explicit_lengths,
    )
    told.prove(
        "metric-nu",
        "Squared length of `d/d nu`",
        sp.Symbol(r"g_{\nu \nu}"),
        metric[1],
        "One for each entry of `w`.",
        (sp.Sum(1, (sp.Symbol("i"), 1, C)).doit(), metric[1]),
    )

    # -- The gradient stays in the ansatz --------------------------------------------------------
    told.say(
        """It remains to be seen that the gradient does not leave the ansatz. An entry `W_jy` acts
        only on inputs of class `y`, a part `1/C` of all. So it is enough to differentiate the loss
        of one input by the logit of its own class and by that of another one."""
    )
    a, b = sp.symbols("a b", real=True)
    for paradigm, pool in models():
        loss = pool((alpha, 1 - alpha), ((a, b), (0, 0)), over)
        on_ansatz = {a: mu, b: 0}  # up to what is common to all logits
        diagonal, beside = (-sp.diff(loss, e).subs(on_ansatz) / C for e in (a, b))
        speed = velocities(paradigm.expanded)[0].subs(plain)
        printed = (by_probability(paradigm) or (factored(speed),))[0].subs(plain)
        told.prove(
            f"tangent-{paradigm.name}",
            f"{paradigm.title} stays in the ansatz",
            mu_dot,
            printed,
            "All entries of the velocity of `W` have the proportions of `I - 11'/C`, with this "
            "factor.",
            (diagonal, speed * (1 - 1 / C)),
            (beside, -speed / C),
            (printed.subs(beta, probability), speed),
        )
        check_every_entry(told, paradigm, pool)
    return told


def over_others(own: sp.Expr, other: sp.Expr):
    """Softmax over C logits that are not shifted: the true one, and C - 1 equal ones."""
    return lambda z: sp.exp(z[0]) / (sp.exp(z[0]) + (C - 1) * sp.exp(z[1]))


def explicit(pool) -> sp.Expr:
    """The population loss on the ansatz for m = 4 and C = 3, from the matrices themselves."""
    projector = sp.eye(3) - sp.ones(3) / 3
    return population(pool, mu * projector, sp.zeros(3, 1), [nu] * 3, [sp.S.Zero], 4, 1)


def check_every_entry(told: Derivation, paradigm, pool) -> None:
    """Differentiate by every single entry of W, of w and of the background's weights, m = C = 3."""
    size = 3
    W = sp.Matrix(size, size, lambda i, j: sp.Symbol(f"W_{i}{j}", real=True))
    V = sp.Matrix(size, 1, lambda i, _: sp.Symbol(f"V_{i}", real=True))
    w = [sp.Symbol(f"w_{i}", real=True) for i in range(size)]
    projector = sp.eye(size) - sp.ones(size) / size
    score = sp.log(2 * alpha / (1 - alpha))  # nu for a focus weight alpha, B = 2
    at = {W[i, j]: mu * projector[i, j] for i in range(size) for j in range(size)}
    at |= dict.fromkeys(V, sp.S.Zero) | dict.fromkeys(w, score)
    loss = population(pool, W, V, w, [sp.S.Zero], size, 1)
    speed, turn = (e.subs({rho: 1, tau: 1, C: size}) for e in velocities(paradigm.expanded))
    wanted = [speed * projector[i, j] for i in range(size) for j in range(size)]
    wanted += [sp.S.Zero] * size + [turn] * size
    found = slopes(loss, [*W, *V, *w], at)
    turned = (by_probability(paradigm) or (None, factored(turn)))[1]
    printed = turned.subs({rho: 1, tau: 1, C: size})
    told.prove(
        f"entries-{paradigm.name}",
        f"{paradigm.title}: all {len(found)} entries for `m = C = 3`",
        sp.Symbol(r"\dot{\nu}", real=True),
        printed,
        "The gradient by every entry of `W` and `w`, background included, is that of the ansatz; "
        "the focus moves with this velocity.",
        *((-one, other) for one, other in zip(found, wanted, strict=True)),
        (printed.subs(beta, probability.subs(C, size)), turn),
    )


if __name__ == "__main__":
    main().finish()
