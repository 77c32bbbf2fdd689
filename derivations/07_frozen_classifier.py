"""The classifier held.

With `mu` held, only the focus moves: `x' = nu'` for `x`, the logit of the focus weight. Time is
again an antiderivative. Hard attention and LVML are inverted by the hyperbolic Kepler equation;
soft attention's time holds the exponential integral and is left as it is.
"""

import sympy as sp
from _common import Derivation, velocities

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.frozen import derive_frozen_classifier
from attnflow.symbols import B, C, alpha, alpha0, attention, dt_dx, nu, rho, t, tau, x, x0

WEIGHT = sp.exp(x) / (1 + sp.exp(x))


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(7, "The classifier held", __doc__)
    told.prove(
        "weight",
        "Focus weight by its logit",
        alpha,
        WEIGHT,
        "The logit runs through all real numbers.",
        (attention.subs(nu, x + sp.log(B)), WEIGHT),
    )
    for paradigm in (SOFT, HARD, LVML):
        closed(told, paradigm)
    paradigm = power_mean("1/2")
    frozen = derive_frozen_classifier(paradigm)
    told.prove(
        "time-power",
        "Power mean: time",
        sp.Derivative(t, x, evaluate=False),
        frozen.pace,
        "For the power mean of exponent `1/2` the time stays a quadrature.",
        (sp.diff(frozen.time, x) * turn(paradigm), sp.S.One),
        (frozen.pace * turn(paradigm), sp.S.One),
    )
    # Near full focus every paradigm closes the focus exponentially slowly in x.
    gap = sp.Symbol("epsilon", positive=True)
    for paradigm in (HARD, LVML, SOFT):
        _, pull = velocities(paradigm.expanded)
        strength = -sp.diff(paradigm.expanded, alpha).subs(alpha, 1) * rho * tau / C
        told.prove(
            f"closing-{paradigm.name}",
            f"{paradigm.title}: closing",
            sp.Limit(sp.Derivative(x, t, evaluate=False) / (1 - alpha), alpha, 1),
            factored(strength),
            "With the classifier held the focus closes like `1/t`, for each of the paradigms: what "
            "slows soft attention is the classifier that moves on.",
            (sp.cancel(pull.subs(alpha, 1 - gap) / gap).subs(gap, 0), strength),
            (factored(strength), strength),
        )
    return told


def turn(paradigm) -> sp.Expr:
    """x' as a function of x."""
    return velocities(paradigm.expanded)[1].subs(alpha, WEIGHT)


def closed(told: Derivation, paradigm) -> None:
    """Time, and the focus where it could be inverted, each put into the flow."""
    name, title = paradigm.name, paradigm.title
    frozen = derive_frozen_classifier(paradigm)
    assert frozen.primitive is not None, f"the time of {name} is not closed"
    told.prove(
        f"pace-{name}",
        f"{title}: pace",
        dt_dx,
        frozen.pace,
        "The inverse of `nu'`.",
        (frozen.pace * turn(paradigm), sp.S.One),
    )
    told.prove(
        f"time-{name}",
        f"{title}: time",
        t,
        frozen.time,
        "Its derivative by `x`, times `x'`, is 1, and it is 0 at the start.",
        (sp.diff(frozen.time, x) * turn(paradigm), sp.S.One),
        (frozen.time.subs(x, x0), sp.S.Zero),
        # the same as a function of the focus weight
        (
            sp.diff(frozen.time_of_alpha, alpha) * alpha * (1 - alpha),
            1 / velocities(paradigm.expanded)[1],
        ),
        (frozen.time_of_alpha.subs(alpha, alpha0), sp.S.Zero),
    )
    if paradigm is SOFT:
        assert frozen.solution is None
        return
    assert frozen.solution is not None, f"{name} is not inverted"
    told.prove(
        f"solution-{name}",
        f"{title}: focus",
        x,
        frozen.solution,
        "Differentiated in time it gives `x'` at this focus, and at `t = 0` it gives `x_0`.",
        (sp.diff(frozen.solution, t), turn(paradigm).subs(x, frozen.solution)),
        (frozen.solution.subs(t, 0), x0),
        (frozen.time.subs(x, frozen.solution), t),
    )


if __name__ == "__main__":
    main().finish()
