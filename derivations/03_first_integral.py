"""The first integral.

Dividing `nu'` by `mu'` removes time. If the variables of this equation separate, its integral is
conserved by the flow and the problem is solved up to quadratures. They do for every loss that
depends on attention and classifier through one averaged quantity.

The theorem: let attention average any quantity of the segments, `q(mu)` on a foreground segment and
a constant `c` on a background segment, and let the loss be any function `F` of that average. Then
`F` drops out of the orbit, and there is a first integral that only `q` and `c` decide.
"""

import sympy as sp
from _common import Derivation, named, velocities

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.derivation.derived import derive
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.orbit import derive_potential
from attnflow.symbolic.paradigm import Paradigm, averaging
from attnflow.symbols import (
    K0,
    B,
    C,
    L,
    Phi,
    Q,
    alpha,
    attention,
    beta,
    dnu_dmu,
    mu,
    nu,
    probability,
    rho,
    slope,
    v,
)

MIXTURE = Paradigm("mixture", (SOFT.loss + HARD.loss) / 2, "Half soft, half hard")


def drift(conserved: sp.Expr, loss: sp.Expr) -> sp.Expr:
    """d/dt of a function of (mu, nu) along the flow of a loss."""
    speed, turn = velocities(loss)
    change = sp.diff(conserved, mu) * speed + sp.diff(conserved, nu) * turn
    return change.subs(alpha, attention)


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(3, "The first integral", __doc__)
    theorem(told)
    converse(told)
    averaged = {SOFT: mu, HARD: sp.log(beta), LVML: beta, power_mean("1/2"): sp.sqrt(beta)}
    for paradigm, quantity in averaged.items():
        instance(told, paradigm, quantity)
    without(told)
    return told


def theorem(told: Derivation) -> None:
    """Any F and any q."""
    q, c = sp.Function("q", real=True)(mu), sp.Symbol("c", real=True)
    F = sp.Function("F", real=True)
    loss = F(alpha * q + (1 - alpha) * c)
    told.define(
        "average",
        "A loss of an average",
        L,
        loss,
        "`F` and `q` are any differentiable functions. Losses of `alpha psi(mu)`, soft "
        "attention's among them, are the case `c = 0`.",
    )
    loss_mu, loss_alpha = sp.diff(loss, mu), sp.diff(loss, alpha)
    ratio = (q - c) / sp.diff(q, mu)
    told.prove(
        "theorem-ratio",
        "`F` drops out",
        Q,
        ratio,
        "`Q = alpha L_alpha/L_mu`. Both derivatives hold the same factor `F'`.",
        (alpha * loss_alpha, ratio * loss_mu),
    )
    speed, turn = velocities(loss)
    orbit = rho * (C - 1) / C * (1 - alpha) * Q
    told.prove(
        "theorem-orbit",
        "Equation of the orbit",
        dnu_dmu,
        orbit,
        "The quotient of the velocities; `1 - alpha` depends on `nu` alone and `Q` on `mu` alone.",
        (turn, orbit.subs(Q, ratio) * speed),
        (1 - attention, 1 / (1 + sp.exp(nu) / B)),
    )
    told.define(
        "theorem-slope",
        "Potential",
        slope,
        (C - 1) / C * Q,
        "`Phi` is an integral of this; multiplied by `1 + e^nu/B` both sides of the orbit's "
        "equation can be integrated.",
    )
    potential = sp.Integral(((C - 1) / C * ratio).subs(mu, v).doit(), (v, 0, mu))
    conserved = nu + sp.exp(nu) / B - rho * Phi
    explicit = conserved.subs(Phi, potential)
    moved = sp.diff(explicit, mu) * speed + (sp.diff(explicit, nu)) * turn
    told.prove(
        "theorem",
        "First integral",
        K0,
        conserved,
        "This is constant along the flow of every such loss: its derivative in time is 0, with `F` "
        "and `q` undetermined.",
        (moved.subs(sp.exp(nu), B * alpha / (1 - alpha)), sp.S.Zero),
        ((B * alpha / (1 - alpha)).subs(alpha, attention), sp.exp(nu)),
    )


def converse(told: Derivation) -> None:
    """Only such losses separate."""
    psi = sp.Function("psi", real=True)(mu)
    G = sp.Function("G", real=True)
    loss = G(alpha * psi, mu)
    excess = alpha * sp.diff(loss, alpha) - psi / sp.diff(psi, mu) * sp.diff(loss, mu)
    partial = loss.fdiff(2)  # by the second argument, the first held
    told.prove(
        "converse",
        "No other losses",
        alpha * sp.Derivative(L, alpha, evaluate=False) - Q * sp.Derivative(L, mu, evaluate=False),
        -Q * sp.Derivative(sp.Symbol("G"), mu, evaluate=False),
        "Conversely, write any loss as `G(alpha psi, mu)`, with `psi` chosen such that `Q = "
        "psi/psi'`. If `alpha L_alpha = Q L_mu` then `G` does not depend on its second argument, "
        "so the loss is a function of `alpha psi`. The theorem reaches every loss whose variables "
        "separate so.",
        (excess, -psi / sp.diff(psi, mu) * partial),
    )


def instance(told: Derivation, paradigm: Paradigm, quantity: sp.Expr) -> None:
    """A built-in paradigm as a case of the theorem, and the core's potential."""
    name, title = paradigm.name, paradigm.title
    q = sp.sympify(quantity).subs(beta, probability)
    told.prove(
        f"average-{name}",
        f"{title}: what is averaged",
        named(sp.Symbol("q"), name),
        quantity,
        "The loss is a function of the average of this over segments.",
        (averaging(name, quantity).expanded, paradigm.expanded),
    )
    found, potential = derive_first_integral(paradigm), derive_potential(paradigm)
    ratio = (q - q.subs(mu, 0)) / sp.diff(q, mu)
    printed = factored(found.ratio)
    if name.startswith("power-"):  # best read with beta left in
        printed = sp.factor((quantity - quantity.subs(beta, 1 / C)) / sp.diff(quantity, beta))
        printed = printed / (beta * (1 - beta))
    told.prove(
        f"ratio-{name}",
        f"{title}: ratio",
        named(Q, name),
        printed,
        "By the theorem, and by the derivatives of the loss.",
        (ratio, found.ratio),
        (printed.subs(beta, probability), found.ratio),
        (
            alpha * sp.diff(paradigm.expanded, alpha),
            found.ratio * sp.diff(paradigm.expanded, mu),
        ),
    )
    told.prove(
        f"slope-{name}",
        f"{title}: slope of the potential",
        named(slope, name),
        factored(found.slope) if printed.free_symbols.isdisjoint({beta}) else printed * (C - 1) / C,
        "`(C - 1)/C` times the ratio, in the form in which it is computed.",
        (found.slope, (C - 1) / C * ratio),
        (potential.slope, (C - 1) / C * ratio),
    )
    told.prove(
        f"potential-{name}",
        f"{title}: potential",
        named(Phi, name),
        potential.value,
        "Its derivative is the slope and it vanishes at `mu = 0`."
        if potential.closed
        else "No closed form was found: it stays an integral.",
        (sp.diff(potential.value, mu), (C - 1) / C * ratio),
        (potential.value.subs(mu, 0).doit(), sp.S.Zero),
    )
    conserved = nu + sp.exp(nu) / B - rho * potential.value
    told.prove(
        f"constant-{name}",
        f"{title}: first integral",
        named(K0, name),
        nu + sp.exp(nu) / B - rho * named(Phi, name),
        "Differentiated in time along the flow of the loss, with the potential written out: 0.",
        (drift(conserved, paradigm.expanded), sp.S.Zero),
    )


def without(told: Derivation) -> None:
    """A loss that has none, and what then happens."""
    told.say(
        """A loss need not have a first integral. Half soft and half hard attention is the average
        of two losses that have one, but of two averaged quantities. Its ratio depends on `alpha`,
        the variables of its orbit do not separate, and it follows neither orbit."""
    )
    told.define("mixture", "Half soft, half hard", L, MIXTURE.loss, "The mean of two losses.")
    point = {C: 3, mu: 1, alpha: sp.Rational(1, 3), rho: 1, B: 2, nu: 0}
    loss = MIXTURE.expanded
    ratio = alpha * sp.diff(loss, alpha) / sp.diff(loss, mu)
    spread = ratio.subs(point) - ratio.subs({**point, alpha: sp.Rational(2, 3)})
    assert abs(sp.N(spread, 50)) > sp.Rational(1, 100), "the mixture's ratio is free of alpha"
    told.define(
        "mixture-ratio",
        "Its ratio",
        Q,
        factored(ratio),
        "At `mu = 1` and `C = 3` its values for `alpha = 1/3` and `alpha = 2/3` differ by more "
        "than `1/100`: it is not free of `alpha`.",
    )
    try:
        derive_first_integral(MIXTURE)
    except NoFirstIntegral as refusal:
        assert "depends on alpha" in str(refusal)
    else:
        raise AssertionError("a first integral of the mixture was claimed")
    for paradigm in (SOFT, HARD):
        conserved = nu + sp.exp(nu) / B - rho * derive_potential(paradigm).value
        change = drift(conserved, loss).subs({**point, sp.Symbol("tau", positive=True): 1})
        assert abs(sp.N(change, 50)) > sp.Rational(1, 1000), f"the mixture keeps {paradigm.name}"
    told.say(
        """What the flow of a loss without a first integral still has: the velocities, the series at
        the start, and the solutions with one part held. Its orbit and its times need a numerical
        integration."""
    )
    rest = derive(MIXTURE)
    speed, turn = velocities(loss)
    told.prove(
        "mixture-flow",
        "Its flow",
        sp.Symbol(r"\dot{\nu}", real=True),
        factored(rest.flow.nu_dot),
        "The metric makes a flow of any loss.",
        (rest.flow.nu_dot, turn),
        (rest.flow.mu_dot, speed),
        (rest.frozen_focus.pace * speed, sp.S.One),
        (sp.diff(rest.series(2).mu, sp.Symbol("t", nonnegative=True), 1).subs(
            sp.Symbol("t", nonnegative=True), 0), speed.subs(mu, 0).subs(alpha, 1 / (1 + B))),
    )  # fmt: skip
    assert rest.first_integral is None and rest.solution is None


if __name__ == "__main__":
    main().finish()
