"""Late time: why soft attention splutters.

Far out on an orbit the margin is large and the focus nearly closed. With `epsilon = e^(-mu)` as the
small quantity, and the first integral for what is left of the focus, the leading terms are limits
that can be read off.

The ratio `Q` decides. For hard attention, LVML and the power means it grows like `e^mu`, as fast as
time itself, and the focus closes like `1/t`. For soft attention `Q = mu`: the potential grows like
the square of the margin, the margin like the logarithm of time, and the focus score like
`2 log log t` against `log t`. Soft attention splutters: its focus goes on improving for ever, too
slowly to be seen.
"""

import sympy as sp
from _common import Derivation, named, positive, velocities

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.late_time import late_time
from attnflow.symbols import B, C, L, Phi, alpha, c, dt_dmu, mu, nu, rho, t, tau, vanishing

EPSILON = sp.Symbol("epsilon", positive=True)


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(9, "Late time", __doc__)
    w = sp.Symbol("w", positive=True)
    told.prove(
        "ratio-of-focus",
        "What is left of the focus",
        w + sp.log(w),
        nu + sp.exp(nu) / B - sp.log(B),
        "With `w = alpha/(1 - alpha) = e^nu/B` the first integral is `w + log w`, up to a "
        "constant, and equals `rho Phi`. So `w` grows like `rho Phi` wherever `Phi` grows.",
        ((w + sp.log(w)).subs(w, sp.exp(nu) / B), nu + sp.exp(nu) / B - sp.log(B)),
    )
    for paradigm in (HARD, LVML, power_mean("1/2")):
        exponential(told, paradigm)
    splutter(told)
    compare(told)
    return told


def ratio(paradigm) -> sp.Expr:
    """Q from the loss."""
    loss = paradigm.expanded
    return (alpha * sp.diff(loss, alpha) / sp.diff(loss, mu)).subs(alpha, 1)


def digits_at(expr: sp.Expr, depth: int = 70) -> sp.Expr:
    """The expression at epsilon = 10^-depth."""
    return expr.subs(EPSILON, sp.Rational(1, 10**depth))


def exponential(told: Derivation, paradigm) -> None:
    """Phi' ~ e^mu: compare the core's constants with the expressions themselves, far out.

    Each limit is taken twice: epsilon is set to 10^-70, where what is neglected is below 60
    digits, at several values of C and rho.
    """
    name, title = paradigm.name, paradigm.title
    late = late_time(paradigm)
    assert late.kind == "exponential", f"{name}: {late.reason}"
    growth = (C - 1) / C * ratio(paradigm)
    speed, turn = velocities(paradigm.expanded)
    margin = -sp.log(EPSILON)
    lead = late.slope * sp.exp(-mu)
    closing = 1 / (rho * lead)
    focus = 1 - closing * EPSILON
    pace = (1 / speed).subs(alpha, focus).subs(mu, margin)
    loss = paradigm.expanded.subs(alpha, focus).subs(mu, margin)
    # Corrections are of relative order epsilon (times log epsilon): the claim is made of the
    # difference, with a remainder that epsilon = 10^-70 leaves below the fiftieth digit.
    points = [
        {C: sp.Rational(7, 2), rho: sp.Rational(5, 4), B: 3, tau: 2},
        {C: 10, rho: 1, B: 9, tau: 1},
    ]

    def far(what: sp.Expr, claim: sp.Expr) -> list[tuple[sp.Expr, sp.Expr]]:
        return [(round_off(digits_at(what.subs(p))), round_off(claim.subs(p))) for p in points]

    told.prove(
        f"slope-{name}",
        f"{title}: growth of the potential",
        sp.Limit(named(sp.Symbol(r"\Phi'", real=True), name) * sp.exp(-mu), mu, sp.oo),
        sp.simplify(lead),
        "The ratio `Q` grows like `e^mu`.",
        *far((growth * sp.exp(-mu)).subs(mu, margin), lead),
    )
    told.prove(
        f"pace-{name}",
        f"{title}: pace",
        dt_dmu,
        (late.clock * sp.exp(mu) + late.linear) / tau + vanishing,
        "The focus is put in as `1 - b e^(-mu)`, where `b` is `1/rho` times the inverse of the "
        "growth of the potential; then the pace is expanded.",
        *far(pace - late.clock / EPSILON / tau, late.linear / tau),
    )
    told.prove(
        f"time-{name}",
        f"{title}: time",
        t,
        (late.clock * sp.exp(mu) + late.linear * mu + c) / tau + vanishing,
        "The integral of the pace.",
        (
            sp.diff(late.clock * sp.exp(mu) + late.linear * mu + c, mu),
            late.clock * sp.exp(mu) + late.linear,
        ),
    )
    time = late.clock / EPSILON / tau  # to leading order
    weight = focus / (1 - focus)
    told.prove(
        f"inattention-{name}",
        f"{title}: closing of the focus",
        sp.Limit(t * (1 - alpha), t, sp.oo),
        late.inattention,
        "`1 - alpha` falls like `e^(-mu)`, and `e^mu` grows like `t`.",
        (sp.expand(time * closing * EPSILON), late.inattention),
    )
    told.prove(
        f"focus-{name}",
        f"{title}: focus score",
        sp.Limit(nu - sp.log(t), t, sp.oo),
        late.focus,
        "`e^nu = B w`, with the focus nearly closed.",
        *far(sp.log(B * weight / time), late.focus),
    )
    told.prove(
        f"rate-{name}",
        f"{title}: the focus keeps moving",
        sp.Limit(t * sp.Symbol(r"\dot{\nu}", real=True), t, sp.oo),
        sp.S.One,
        "The velocity of the focus score times `t`: it grows like `log t`.",
        *far(turn.subs(alpha, focus).subs(mu, margin) * time, sp.S.One),
    )
    told.prove(
        f"loss-{name}",
        f"{title}: loss",
        sp.Limit(t * L, t, sp.oo),
        late.loss,
        "Classification and focus both contribute: the loss falls like `1/t`.",
        *far(loss * time, late.loss),
    )


def round_off(value: sp.Expr) -> sp.Expr:
    """A number to 55 digits, computed with many more."""
    return sp.N(sp.N(value, 260), 55)


def splutter(told: Derivation) -> None:
    """Soft attention: Phi ~ mu^2, so everything goes by powers of mu ~ log t."""
    late = late_time(SOFT)
    assert late.kind == "logarithmic" and late.power == 2
    speed, turn = velocities(SOFT.expanded)
    growth = (C - 1) / C * ratio(SOFT)
    potential = sp.integrate(sp.simplify(growth), (mu, 0, mu))
    told.prove(
        "slope-soft",
        "Soft attention: growth of the potential",
        named(Phi, "soft"),
        potential,
        "`Q = mu`: the potential grows like the square of the margin only.",
        (growth, late.slope),
        (sp.diff(potential, mu), growth),
    )
    # w + log w = rho Phi + constant: w = rho Phi (1 + small), small = O(log mu/mu^2).
    left = 1 / (rho * potential)
    told.prove(
        "inattention-soft",
        "Soft attention: closing of the focus",
        sp.Limit(mu**late.power * (1 - alpha), t, sp.oo),
        late.inattention,
        "`1 - alpha` is `1/w` to leading order.",
        (sp.expand(mu**2 * left), late.inattention),
    )
    told.prove(
        "focus-soft",
        "Soft attention: focus score",
        sp.Limit(sp.exp(nu) / mu**late.power, t, sp.oo),
        late.focus,
        "`e^nu = B w`.",
        (sp.expand(B * rho * potential / mu**2), late.focus),
    )
    # With alpha = 1 - left the exponent alpha mu = mu - left mu, and left mu -> 0.
    focus = 1 - left
    far = {mu: sp.Integer(10) ** 60, C: sp.Integer(10), rho: sp.Rational(5, 4), tau: sp.Integer(2)}
    time = late.clock * sp.exp(mu) / tau

    def claim(what: sp.Expr, value: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        # e^(alpha mu) e^-mu as one exponential, before numbers are put in
        joined = sp.powsimp(sp.expand(sp.expand(factored(what)).subs(alpha, focus)))
        terms = (sp.simplify(term) for term in sp.Add.make_args(joined))
        return sp.N(sum(sp.N(term.subs(far), 250) for term in terms), 55), sp.N(value.subs(far), 55)

    told.prove(
        "time-soft",
        "Soft attention: the clock",
        sp.Limit(dt_dmu * sp.exp(-mu), mu, sp.oo),
        late.clock / tau,
        "Evaluated at `mu = 10^60`: `alpha mu` and `mu` differ by a multiple of `1/mu`. So "
        "`e^mu` grows like `t`, and `mu` like `log t`.",
        claim(sp.exp(-mu) / speed, late.clock / tau),
    )
    told.prove(
        "rate-soft",
        "Soft attention splutters",
        sp.Limit(t * mu * sp.Symbol(r"\dot{\nu}", real=True), t, sp.oo),
        sp.Integer(late.power),
        "The velocity of the focus score is `2/(t mu)`, smaller than that of the others by a "
        "factor of the order of `log t`; with `mu` like `log t` it integrates to `2 log log t`.",
        claim(1 / (turn * time * mu), sp.Rational(1, 2)),
        (
            t * sp.diff(2 * sp.log(sp.log(t)), t) * sp.log(t),
            sp.Integer(late.power),
        ),
    )
    told.prove(
        "loss-soft",
        "Soft attention: loss",
        sp.Limit(t * L, t, sp.oo),
        late.loss,
        "All the same the loss falls like `1/t`, with the smallest constant of all: the classifier "
        "makes up for the focus.",
        claim(
            # log(1 + u) by its series: u = (C - 1) e^(-alpha mu) is far below the last digit
            (C - 1) * sp.exp(-alpha * mu) * time,
            late.loss,
        ),
        (
            SOFT.expanded,
            sp.log(1 + (C - 1) * sp.exp(-alpha * mu)),
        ),
    )


def compare(told: Derivation) -> None:
    """Hard attention ends above LVML, both above soft attention."""
    hard, lvml, soft = (late_time(p) for p in (HARD, LVML, SOFT))
    gap = C * sp.log(C) / (C - 1)
    told.prove(
        "hard-over-lvml",
        "Hard attention ends above LVML",
        sp.Limit(named(nu, HARD) - named(nu, LVML), t, sp.oo),
        sp.log(gap),
        "The difference of the constants, positive since `C log C > C - 1` for `C > 1`.",
        (sp.exp(hard.focus - lvml.focus), gap),
    )
    # C log C - (C - 1) vanishes at C = 1 and has the derivative log C
    excess = C * sp.log(C) - (C - 1)
    assert excess.subs(C, 1) == 0 and sp.simplify(sp.diff(excess, C) - sp.log(C)) == 0
    difference = sp.expand((hard.loss - soft.loss) * tau)
    told.prove(
        "soft-under-hard",
        "The loss of soft attention is the lowest late",
        sp.Limit(t * (named(L, HARD) - named(L, SOFT)), t, sp.oo),
        sp.factor(difference) / tau,
        "Positive; LVML has the constant of hard attention.",
        (difference, C / rho),
        (hard.loss, lvml.loss),
    )
    assert positive(difference, C=2)


if __name__ == "__main__":
    main().finish()
