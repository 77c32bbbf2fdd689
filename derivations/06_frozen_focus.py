"""The focus held.

With `alpha` held, only the margin moves, and its flow is one separable equation. Its time is an
antiderivative that closes for the three paradigms; soft and hard attention are inverted by the
Wright omega function, LVML by the hyperbolic Kepler equation.

The curves of the loss over time, one for each focus weight, and their derivative in `alpha` are the
signature of a paradigm: what an attention that is held tells about how the classifier learns.
"""

import sympy as sp
from _common import Derivation, named, velocities

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.algebra.functions import kepler
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.frozen import derive_frozen_focus
from attnflow.symbols import C, L, alpha, anomaly, dt_dmu, eccentricity, mu, mu0, t, tau, v

PARADIGMS = (SOFT, HARD, LVML)
HELD = tuple(sp.Rational(n, 5) for n in range(1, 6))
"""The focus weights of the published figure: 0.2, 0.4, 0.6, 0.8 and 1."""

MOMENT = {C: sp.Integer(10), t: sp.Integer(200), tau: sp.Integer(1), mu0: sp.Integer(0)}
"""Where the numbers of the signature are stated."""


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(6, "The focus held", __doc__)
    e, mean = sp.Rational(5, 4), sp.Rational(-7, 3)
    held = kepler(e, mean)
    told.prove(
        "kepler",
        "Hyperbolic Kepler equation",
        anomaly,
        v + eccentricity * sp.sinh(v),
        "For positive eccentricity the right side grows, so that there is one `v` for every `M`; "
        "the function that is computed satisfies it.",
        (held + e * sp.sinh(held), mean),
        (kepler(3, 40) + 3 * sp.sinh(kepler(3, 40)), sp.Integer(40)),
    )
    for paradigm in PARADIGMS:
        solved(told, paradigm)
    frozen = derive_frozen_focus(power_mean("1/2"))
    told.prove(
        "pace-power",
        "Power mean: pace",
        dt_dmu,
        frozen.pace,
        "For the power mean of exponent `1/2` no antiderivative was found; its time stays a "
        "quadrature.",
        (frozen.pace * velocities(power_mean("1/2").expanded)[0], sp.S.One),
        (sp.diff(frozen.time, mu), frozen.pace),
    )
    implicit(told)
    for paradigm in PARADIGMS:
        signature(told, paradigm)
    apart(told)
    return told


def solved(told: Derivation, paradigm) -> None:
    """Time and margin, each put into the flow."""
    name, title = paradigm.name, paradigm.title
    frozen = derive_frozen_focus(paradigm)
    speed, _ = velocities(paradigm.expanded)
    assert frozen.primitive is not None and frozen.solution is not None, f"{name} is not solved"
    told.prove(
        f"pace-{name}",
        f"{title}: pace",
        dt_dmu,
        frozen.pace,
        "The inverse of `mu'`.",
        (frozen.pace * speed, sp.S.One),
    )
    told.prove(
        f"time-{name}",
        f"{title}: time",
        t,
        frozen.time,
        "Its derivative by `mu`, times `mu'`, is 1, and it is 0 at the start.",
        (sp.diff(frozen.time, mu) * speed, sp.S.One),
        (frozen.time.subs(mu, mu0), sp.S.Zero),
    )
    told.prove(
        f"solution-{name}",
        f"{title}: margin",
        mu,
        frozen.solution,
        "Differentiated in time it gives `mu'` at this margin, and at `t = 0` it gives `mu_0`.",
        (sp.diff(frozen.solution, t), speed.subs(mu, frozen.solution)),
        (frozen.solution.subs(t, 0), mu0),
        (frozen.time.subs(mu, frozen.solution), t),
    )


def sensitivity(paradigm) -> sp.Expr:
    """The derivative in alpha of the loss at a fixed time: dL/d alpha = L_alpha + L_mu mu_alpha.

    mu_alpha = - t_alpha/t_mu, since the time t(mu; alpha) is given.
    """
    frozen = derive_frozen_focus(paradigm)
    loss = paradigm.expanded
    moved = -sp.diff(frozen.time, alpha) / sp.diff(frozen.time, mu)
    return sp.diff(loss, alpha) + sp.diff(loss, mu) * moved


def implicit(told: Derivation) -> None:
    """The derivative at a fixed time, for any loss and any time t(mu; alpha)."""
    loss_alpha, loss_mu, time_alpha, time_mu = (
        sp.Symbol(rf"{name}_{{\{by}}}", real=True) for name in "Lt" for by in ("alpha", "mu")
    )
    total, moved = sp.symbols("total moved", real=True)  # dL/d alpha and d mu/d alpha
    (solved,) = sp.solve(
        [time_alpha + time_mu * moved, loss_alpha + loss_mu * moved - total],
        [moved, total],
        dict=True,
    )
    stated = loss_alpha - loss_mu * time_alpha / time_mu
    told.prove(
        "implicit",
        "Derivative in `alpha` at a fixed time",
        sp.Derivative(L, alpha, evaluate=False),
        stated,
        "By implicit differentiation: `t(mu; alpha)` is known, and stays the same while `alpha` "
        "and with it `mu` are changed. Indices are partial derivatives.",
        (stated, solved[total]),
    )


def signature(told: Derivation, paradigm) -> None:
    """The floor of the curves, and loss and derivative at one moment for five focus weights."""
    name, title, loss = paradigm.name, paradigm.title, paradigm.expanded
    floor = {
        "soft": sp.S.Zero,
        "hard": (1 - alpha) * sp.log(C),
        "lvml": -sp.log(alpha + (1 - alpha) / C),
    }[name]
    far = {mu: sp.Integer(10) ** 5, C: sp.Integer(7)}
    claims = [(loss.subs(far).subs(alpha, a), floor.subs(far).subs(alpha, a)) for a in HELD]
    told.prove(
        f"floor-{name}",
        f"{title}: floor of the loss",
        sp.Limit(L, mu, sp.oo),
        floor,
        "What is left for ever while the focus is held: nothing for soft attention, whose "
        "classifier can make up for any focus by a larger margin. Compared at `mu = 100000`.",
        *claims,
    )
    frozen = derive_frozen_focus(paradigm)
    rate = sensitivity(paradigm)
    curve = loss.subs(mu, frozen.solution)
    values, rates, checks = [], [], []
    for weight in HELD:
        # full focus is the limit of the formulas that hold for alpha < 1
        place = weight if weight < 1 or name != "lvml" else 1 - sp.Rational(1, 10**40)
        at = {**MOMENT, alpha: place}
        margin = sp.N(frozen.solution.subs(at), 70)
        checks.append((sp.N(frozen.time.subs(at).subs(mu, margin), 60), at[t]))
        values.append(sp.N(loss.subs(at).subs(mu, margin), 6))
        rates.append(sp.N(rate.subs(mu, margin).subs(at).subs(mu, margin), 6))
    delay = sp.diff(frozen.time, alpha).subs(mu0, 0)
    delay = sp.collect(sp.expand(delay), [sp.exp(mu), sp.exp(-mu), mu], sp.factor)
    check = {**MOMENT, alpha: sp.Rational(3, 5)}
    told.prove(
        f"delay-{name}",
        f"{title}: time by focus",
        sp.Derivative(t, alpha, evaluate=False),
        delay,
        "From the zero start, at a given margin. This over `dt/d mu`, with a minus sign, is how "
        "the margin at a given time depends on the focus; the derivative of the loss with the "
        "solved margin put in is that of the general formula.",
        (delay, sp.diff(frozen.time, alpha).subs(mu0, 0)),
        (
            sp.diff(curve, alpha).subs(check),
            rate.subs(mu, frozen.solution).subs(check),
        ),
    )
    if name != "lvml":  # LVML's is a long formula that says no more than its parts
        told.prove(
            f"signature-{name}",
            f"{title}: derivative in `alpha`",
            sp.Derivative(L, alpha, evaluate=False),
            factored(rate.subs(mu0, 0)),
            "The general formula with the time put in.",
            (factored(rate.subs(mu0, 0)), rate.subs(mu0, 0)),
        )
    assert all(x > y for x, y in zip(values, values[1:], strict=False)), f"{name} is not ordered"
    assert all(r < 0 for r in rates), f"more focus does not help {name}"
    row = sp.Matrix([HELD, values, rates])
    told.prove(
        f"numbers-{name}",
        f"{title}: five curves at one moment",
        sp.Matrix([alpha, L, sp.Derivative(L, alpha, evaluate=False)]),
        row,
        "`C = 10`, from the zero start, at `t = 200`: focus weight, loss, and its derivative in "
        "`alpha`. Better focus means a lower loss: all derivatives are negative, as is asserted. "
        "The margin of each column takes the time 200.",
        *checks,
    )


def apart(told: Derivation) -> None:
    """What tells the paradigms apart: how much a little more focus is worth late."""
    for paradigm in PARADIGMS:
        frozen = derive_frozen_focus(paradigm)
        start = sp.diff(paradigm.expanded, mu).subs(mu, 0) ** 2 / (C - 1)
        common = alpha**2 * (C - 1) / C**2
        told.prove(
            f"early-{paradigm.name}",
            f"{paradigm.title}: early",
            -sp.Derivative(named(L, paradigm), t, evaluate=False),
            tau * common,
            "At `mu = 0` the losses of the paradigms fall alike, with the square of the focus.",
            (start, common),
            (1 / frozen.pace.subs(mu, 0), tau * alpha / C),
        )
    late = {
        "soft": sp.S.Zero,
        "hard": -sp.log(C),
        "lvml": -(C - 1) / (1 + (C - 1) * alpha),
    }
    floors = {
        "soft": sp.S.Zero,
        "hard": (1 - alpha) * sp.log(C),
        "lvml": -sp.log(alpha + (1 - alpha) / C),
    }
    told.say(
        """Late, a little more focus is worth nothing to soft attention, the same for every focus to
        hard attention, and most where the focus is small to LVML. This is the signature."""
    )
    for name, value in late.items():
        told.prove(
            f"late-{name}",
            f"Late derivative in `alpha`: {name}",
            sp.Derivative(named(L, name), alpha, evaluate=False),
            value,
            "The derivative of the floor.",
            (sp.diff(floors[name], alpha), value),
        )


if __name__ == "__main__":
    main().finish()
