"""Crossings, and the best switch.

LVML leads at first and hard attention ends above it; both end above soft attention, which led hard
attention at first. So the curves of the focus cross, and none of the paradigms is the best at all
times. This is why a schedule that changes the paradigm can beat each of its parts.

Two answers are derived to when one should change. The greedy one: where two paradigms move the
focus equally fast, a curve in the plane of margin and focus weight. The best one: the margin at
which going over from one paradigm to another makes the time to a focus level stationary.
"""

import mpmath
import sympy as sp
from _common import Derivation, inline, named, positive, velocities

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.catalogue import HARD, LVML, SOFT
from attnflow.symbolic.early_time import first_difference
from attnflow.symbolic.late_time import late_time
from attnflow.symbolic.orbit import derive_potential
from attnflow.symbolic.switch_condition import (
    derive_switch_condition,
    derive_switch_terms,
    greedy_curve,
)
from attnflow.symbols import (
    B,
    C,
    L,
    alpha,
    beta,
    costate,
    m,
    mu,
    nu,
    probability,
    rho,
    t,
    tau,
    u,
    x,
    z,
)

PAIRS = ((SOFT, HARD), (LVML, HARD), (SOFT, LVML))


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(10, "Crossings and the best switch", __doc__)
    crossings(told)
    told.say(
        """Greedy curves. At one place of the plane the velocities of the focus under two paradigms
        differ only by `L_alpha`, so that they are equal where these derivatives are."""
    )
    for pair in PAIRS:
        greedy(told, *pair)
    best_switch(told)
    for pair in ((SOFT, HARD), (LVML, HARD), (LVML, SOFT)):
        condition(told, *pair)
    witness(told)
    return told


def crossings(told: Derivation) -> None:
    """Signs at both ends: continuous curves must cross."""
    for first, second in ((SOFT, HARD), (LVML, HARD)):
        order, coefficient = first_difference(first, second).alpha
        early = sp.factor(coefficient.subs(B, m - 1))
        assert positive(early, m=2, C=3), f"{first} does not lead {second} at first"
        soft, hard, lvml = (late_time(p) for p in (SOFT, HARD, LVML))
        assert soft.kind == "logarithmic" and hard.kind == lvml.kind == "exponential"
        if first is LVML:
            value = sp.log(C * sp.log(C) / (C - 1))
            text = "and for late times hard attention leads by this much in the focus score"
            claims = [(sp.exp(hard.focus - lvml.focus), sp.exp(value))]
            left = sp.Limit(named(nu, HARD) - named(nu, LVML), t, sp.oo)
        else:
            # e^nu grows like t for hard attention and like mu^2, mu ~ log t, for soft attention
            value = sp.oo
            quotient = sp.Limit(t / sp.log(t) ** soft.power, t, sp.oo)
            assert quotient.doit() == sp.oo
            text = "and for late times hard attention leads without bound"
            claims = [(sp.exp(hard.focus), B * rho * tau * sp.log(C) / C)]
            left = sp.Limit(named(nu, HARD) - named(nu, SOFT), t, sp.oo)
        told.prove(
            f"crossing-{first.name}-{second.name}",
            f"{first.title} and {inline(second)} cross",
            left,
            value,
            f"At first {inline(first)} leads, by the sign of the coefficient of `t` to the power "
            f"{order}, {text}. The curves are continuous: they cross, for all `m` of at least 2 "
            "and `C` of at least 3.",
            *claims,
        )


POINTS = tuple(
    {C: sp.Integer(c), mu: sp.Rational(value)}
    for c, value in ((5, "1/2"), (20, 2), (3, "3/2"), (1000, 5))
)


EXCESS = mu / (C * beta - 1) - 1
GREEDY = {
    (SOFT, HARD): sp.log((C - 1) * (mu / sp.log(C * beta) - 1)) / mu,
    (LVML, HARD): 1 / sp.log(C * beta) - 1 / (C * beta - 1),
    (SOFT, LVML): -(EXCESS + sp.LambertW(-sp.exp(-EXCESS) / (C - 1))) / mu,
}
"""The curves as they are best read, with beta for the class probability."""


def greedy(told: Derivation, first, second) -> None:
    """The curve, put into the equality of the two pulls."""
    curve = greedy_curve(first, second)
    assert curve.alpha is not None, f"no curve for {first} and {second}"
    pulls = [-sp.diff(p.expanded, alpha) for p in (first, second)]
    told.prove(
        f"pulls-{first.name}-{second.name}",
        f"{first.title} and {inline(second)} pull alike",
        factored(curve.equation.lhs),
        factored(curve.equation.rhs),
        "Minus `L_alpha` of the one and of the other: the velocities of the focus are the same "
        "positive factor times these.",
        (curve.equation.lhs, pulls[0]),
        (curve.equation.rhs, pulls[1]),
        *(
            (velocities(p.expanded)[1], tau * rho * alpha * (1 - alpha) / C * pull)
            for p, pull in zip((first, second), pulls, strict=True)
        ),
    )
    values = [curve.alpha.subs(point) for point in POINTS]
    assert all(0 < sp.N(value, 30) < 1 for value in values)
    printed = GREEDY[first, second]
    told.prove(
        f"greedy-{first.name}-{second.name}",
        f"Greedy curve: {inline(first)} and {inline(second)}",
        alpha,
        printed,
        "The root between 0 and 1, put into the equality of the pulls at four points `(C, mu)`.",
        *(
            (printed.subs(beta, probability).subs(point), value)
            for value, point in zip(values, POINTS, strict=True)
        ),
        *(
            (pulls[0].subs(alpha, sp.N(value, 120)).subs(point).n(80),
             pulls[1].subs(alpha, sp.N(value, 120)).subs(point).n(80))
            for value, point in zip(values, POINTS, strict=True)
        ),
    )  # fmt: skip
    # Near mu = 0 both pulls are series in mu: they agree at first order, and at second order
    # where alpha = 1/2.
    gap = sp.series(factored(pulls[0]) - factored(pulls[1]), mu, 0, 3).removeO()
    told.prove(
        f"greedy-start-{first.name}-{second.name}",
        "It starts at one half",
        sp.Derivative(named(L, second) - named(L, first), alpha, evaluate=False),
        sp.factor(gap.coeff(mu, 2)) * mu**2 + sp.Symbol(r"\mathcal{O}\left(\mu^{3}\right)"),
        "The difference of the pulls to second order in `mu`, which changes its sign at `1/2`.",
        (gap.coeff(mu, 2).subs(alpha, sp.Rational(1, 2)), sp.S.Zero),
        (gap.coeff(mu, 1), sp.S.Zero),
        (gap.coeff(mu, 0), sp.S.Zero),
    )


def best_switch(told: Derivation) -> None:
    """The theorem, with undefined paces and potentials."""
    told.say(
        """The best switch. Let `mu` be the clock, `z = x + e^x` the state of the focus, `x` its
        logit: under each paradigm `dt/d mu = g(mu, z)` and `dz/d mu = rho Phi'(mu)`, the latter
        free of `z`. Paradigm `A` leads to the switch, `B` from there to the focus level, that is
        to a value of `z` which is reached at `mu_f`. Let `V(mu, z)` be the time that `B` still
        needs."""
    )
    one = sp.Function("g_A", real=True)
    two = sp.Function("g_B", real=True)
    rise = sp.Function("p_A", real=True)  # rho Phi_A and rho Phi_B
    fall = sp.Function("p_B", real=True)
    at, start, final = sp.symbols("mu_s mu_0 mu_f", real=True)
    # State ahead of a switch: z at the switch plus what B adds. mu_f depends on it.
    end = sp.Function("f", real=True)
    z_s = sp.Function("z_s", real=True)
    ahead = two(u, z_s(at) + fall(u) - fall(at))
    total = sp.Integral(one(u, rise(u)), (u, start, at)) + sp.Integral(ahead, (u, at, end(at)))
    # Leibniz' rule is sympy's.
    change = sp.diff(total, at)
    state = sp.diff(z_s(at), at) - sp.diff(fall(at), at)
    # The level is fixed: z_s + p_B(f) - p_B(mu_s) = const, so f' = -state/p_B'(f).
    reached = sp.diff(fall(final), final).subs(final, end(at))
    shift = -state / reached
    dz = sp.Symbol("zeta", real=True)
    inner = two(u, dz + fall(u) - fall(at))
    slope_z = sp.diff(inner, dz).subs(dz, z_s(at))
    level = two(end(at), z_s(at) + fall(end(at)) - fall(at))
    value_z = sp.Integral(slope_z, (u, at, end(at))) - level / reached
    expected = one(at, rise(at)) - two(at, z_s(at)) + value_z * state
    g_A, g_B, p_A, p_B = (
        sp.Symbol(name, real=True) for name in ("g_A", "g_B", r"\Phi'_A", r"\Phi'_B")
    )
    residual = change.subs(sp.Derivative(end(at), at), shift).doit() - expected.doit()
    residual = sp.expand(residual.subs(sp.Derivative(z_s(at), at), sp.Symbol("zdot")))
    residual = linear_integrals(residual)
    told.prove(
        "switch-theorem",
        "Total time and the place of the switch",
        sp.Derivative(sp.Symbol("T"), mu, evaluate=False),
        g_A - g_B + costate * rho * (p_A - p_B),
        "By the rule of Leibniz, for any paces and potentials: moving the switch exchanges one "
        "pace for the other and changes `z` by the difference of the slopes. `lambda = V_z`.",
        (residual, sp.S.Zero),
    )
    told.prove(
        "costate",
        "What a change of `z` is worth",
        costate,
        sp.Integral(sp.Derivative(sp.Function("g_B")(u, z), z), (u, mu, sp.Symbol("mu_f")))
        - sp.Symbol("g_B") / (rho * sp.Symbol(r"\Phi'_B")),
        "Along the orbit of `B`: the pace changes on the way, and the level is reached earlier; "
        "the last term is taken at `mu_f`.",
        (-shift * reached, state),
        (sp.diff(expected.subs(sp.Derivative(z_s(at), at), sp.Symbol("q")), sp.Symbol("q")).doit(),
         value_z.doit()),
    )  # fmt: skip
    told.prove(
        "z-of-alpha",
        "`z` by the focus weight",
        sp.Derivative(alpha, z, evaluate=False),
        alpha * (1 - alpha) ** 2,
        "From `z = x + e^x` with `x` the logit of `alpha`.",
        (
            1 / sp.diff((x + sp.exp(x)).subs(x, sp.log(alpha / (1 - alpha))), alpha),
            alpha * (1 - alpha) ** 2,
        ),
    )


def linear_integrals(expr: sp.Expr) -> sp.Expr:
    """A sum with its factors taken out of the integrals, so that equal integrals are one symbol."""

    def pull(integral: sp.Integral) -> sp.Expr:
        terms = []
        for term in sp.Add.make_args(sp.expand(integral.function)):
            outside, inside = term.as_independent(*(limit[0] for limit in integral.limits))
            terms.append(outside * sp.Integral(inside, *integral.limits))
        return sp.Add(*terms)

    expr = sp.expand(expr.replace(lambda e: isinstance(e, sp.Integral), pull))
    return expr.xreplace(
        {e: sp.Symbol(f"I_{n}") for n, e in enumerate(sorted(expr.atoms(sp.Integral), key=str))}
    )


def condition(told: Derivation, first, then) -> None:
    """The condition of two paradigms, from their losses."""
    terms = derive_switch_terms(first), derive_switch_terms(then)
    for paradigm, term in zip((first, then), terms, strict=True):
        speed, turn = velocities(paradigm.expanded)
        # dz/dmu = (1 + e^x) nu'/mu' = nu'/((1 - alpha) mu')
        name = f"terms-{first.name}-{then.name}-{paradigm.name}"
        told.prove(
            name,
            f"{paradigm.title}: pace by `z`",
            sp.Derivative(sp.Symbol("g"), z, evaluate=False),
            factored(term.sensitivity),
            "The pace differentiated by `z` with `mu` held; the other two terms of the condition "
            "are the pace `1/mu'` and `dz/d mu`, both by the loss.",
            (alpha * (1 - alpha) ** 2 * sp.diff(1 / speed, alpha), term.sensitivity),
            (term.pace * speed, sp.S.One),
            (term.slope * speed * (1 - alpha), turn),
        )
    equation = derive_switch_condition(first, then)
    (speed_a, turn_a), (speed_b, turn_b) = (velocities(p.expanded) for p in (first, then))
    jump = 1 / speed_a - 1 / speed_b
    turned = (turn_a / speed_a - turn_b / speed_b) / (1 - alpha)
    told.prove(
        f"condition-{first.name}-{then.name}",
        f"Where {inline(first)} hands over to {inline(then)}",
        equation.rhs,
        equation.lhs,
        "Stationary total time.",
        (equation.lhs - equation.rhs, jump + costate * turned),
    )


def witness(told: Derivation) -> None:
    """The condition in numbers: the derivative of the total time, by the orbits themselves."""
    first, then = SOFT, LVML  # both potentials are elementary
    point = {C: 3, B: 4, rho: 1, tau: 1}
    slopes = [derive_switch_terms(p) for p in (first, then)]
    rises = [
        sp.lambdify(mu, (rho * derive_potential(p).value).subs(point), "mpmath")
        for p in (first, then)
    ]
    paces = [numeric((1 / velocities(p.expanded)[0]), point) for p in (first, then)]
    level = mpmath.mpf(9)  # omega at alpha = 0.9
    with mpmath.workdps(30):
        begin = 1 / mpmath.mpf(4) - mpmath.log(4)
        goal = level + mpmath.log(level)

        def focus(value):
            weight = solve_omega(value)
            return weight / (1 + weight)

        def total(switch):
            reached = begin + rises[0](switch)
            final = mpmath.findroot(
                lambda e: reached + rises[1](e) - rises[1](switch) - goal, mpmath.mpf(2)
            )
            before = mpmath.quad(
                lambda s: paces[0](focus(begin + rises[0](s)), s), [0, switch / 2, switch]
            )
            after = mpmath.quad(
                lambda s: paces[1](focus(reached + rises[1](s) - rises[1](switch)), s),
                [switch, (switch + final) / 2, final],
            )
            return before + after, final, reached

        switch = mpmath.mpf(1)
        step = mpmath.mpf(10) ** -3
        # central differences of sixth order
        weights = ((1, mpmath.mpf(3) / 4), (2, -mpmath.mpf(3) / 20), (3, mpmath.mpf(1) / 60))
        by_difference = (
            sum(w * (total(switch + n * step)[0] - total(switch - n * step)[0]) for n, w in weights)
            / step
        )
        _, final, reached = total(switch)
        sensitivity = numeric(slopes[1].sensitivity, point)
        rates = [numeric(term.slope, point) for term in slopes]
        here = focus(reached)
        worth = mpmath.quad(
            lambda s: sensitivity(focus(reached + rises[1](s) - rises[1](switch)), s),
            [switch, (switch + final) / 2, final],
        ) - paces[1](level / (1 + level), final) / rates[1](here, final)
        condition = numeric(
            derive_switch_condition(first, then).lhs,
            {**point, costate: sp.Float(mpmath.nstr(worth, 30), 30)},
        )(here, switch)
        apart = abs(by_difference - condition)
        assert apart < mpmath.mpf(10) ** -14, f"the condition is off by {apart}"
    told.say(
        """In numbers, for `m = 5, C = 3` and a goal of 0.9, soft attention before LVML, switched at
        `mu = 1`: the derivative of the total time, by differences of sixth order of two quadratures
        along the orbits, agrees with the condition to 14 digits."""
    )


def numeric(expr: sp.Expr, point: dict):
    """A function of (alpha, mu) of mpmath numbers."""
    compiled = sp.lambdify((alpha, mu), factored(expr).subs(point), "mpmath")
    return lambda weight, value: compiled(weight, value)


def solve_omega(value):
    """omega + log omega = value."""
    return mpmath.lambertw(mpmath.exp(value)).real


if __name__ == "__main__":
    main().finish()
