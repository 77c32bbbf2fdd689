"""The power-mean family.

Hard attention averages the logarithm of the class probability over segments, LVML the probability.
Between them lies a family: the power mean of the probabilities with an exponent `s`, which is LVML
at `s = 1` and hard attention in the limit `s = 0`. All of it follows from one formula with `s` in
it.
"""

import sympy as sp
from _common import Derivation, named, velocities
from _model import power, softmax_over

from attnflow.symbolic.catalogue import HARD, LVML, power_mean
from attnflow.symbolic.early_time import first_difference
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.late_time import late_time
from attnflow.symbolic.orbit import derive_potential
from attnflow.symbolic.paradigm import averaging
from attnflow.symbols import C, L, Q, alpha, beta, mu, mu_dot, probability, slope, tau

s = sp.Symbol("s", real=True)  # here the exponent
FAMILY = -sp.log(alpha * beta**s + (1 - alpha) * C ** (-s)) / s
MEMBERS = tuple(sp.Rational(e) for e in ("-1", "-1/2", "1/3", "1/2", "3/4", "1"))


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(12, "The power-mean family", __doc__)
    pooled = power(s)((alpha, 1 - alpha), ((mu, 0), (0, 0)), softmax_over(C))
    told.prove(
        "family",
        "Loss",
        L,
        FAMILY,
        "The full loss on the ansatz, and each built-in member.",
        *((pooled.subs(s, e), power_mean(e).expanded) for e in MEMBERS),
        *((FAMILY.subs(s, e).subs(beta, probability), power_mean(e).expanded) for e in MEMBERS),
    )
    told.prove(
        "one",
        "LVML is its member 1",
        sp.Limit(L, s, 1),
        LVML.loss,
        "`s = 1`.",
        (FAMILY.subs(s, 1).subs(beta, probability), LVML.expanded),
        (power_mean(1).expanded, LVML.expanded),
    )
    told.prove(
        "zero",
        "Hard attention is its limit",
        sp.Limit(L, s, 0),
        HARD.loss,
        "The logarithm over `s` is a difference quotient at `s = 0`: the limit is its derivative.",
        (sp.diff(-s * FAMILY, s).subs(s, 0) * -1, HARD.loss),
        ((s * FAMILY).subs(s, 0), sp.S.Zero),
        (power_mean(0).expanded, HARD.expanded),
    )
    general(told)
    for exponent in MEMBERS:
        member(told, exponent)
    ends(told)
    return told


def general(told: Derivation) -> None:
    """Ratio and flow for every s at once, with logarithms for powers."""
    excess = (C * beta) ** s - 1
    ratio = excess / (s * (excess + 1) * (1 - beta))
    # d beta/d mu = beta (1 - beta)
    by_mu = sp.diff(FAMILY, beta) * beta * (1 - beta)
    told.prove(
        "ratio",
        "Ratio",
        Q,
        ratio,
        "The averaged quantity is `(C beta)^s - 1`; for every `s` the ratio is free of `alpha`.",
        (
            sp.powsimp(sp.expand_power_base(alpha * sp.diff(FAMILY, alpha), force=True)),
            sp.powsimp(sp.expand_power_base(ratio * by_mu, force=True)),
        ),
        (excess / (sp.diff(excess, beta) * beta * (1 - beta)), ratio),
    )
    told.prove(
        "ratio-zero",
        "Its limit for hard attention",
        sp.Limit(Q, s, 0),
        sp.log(C * beta) / (1 - beta),
        "At `s = 0` again a difference quotient.",
        (sp.diff(excess, s).subs(s, 0) / (1 - beta), sp.log(C * beta) / (1 - beta)),
        (
            (sp.log(C * beta) / (1 - beta)).subs(beta, probability),
            derive_first_integral(HARD).ratio,
        ),
    )


def member(told: Derivation, exponent: sp.Rational) -> None:
    """One member: flow, ratio, potential, and late time against the formulas with s."""
    paradigm = power_mean(exponent)
    flow, found = derive_flow(paradigm), derive_first_integral(paradigm)
    potential = derive_potential(paradigm)
    speed, turn = velocities(FAMILY.subs(s, exponent).subs(beta, probability))
    excess = (C * beta) ** exponent - 1
    ratio = (excess / (exponent * (excess + 1) * (1 - beta))).subs(beta, probability)
    # as printed: with beta for the class probability
    margin = -tau * sp.diff(FAMILY.subs(s, exponent), beta) * beta * (1 - beta) / (C - 1)
    growth = (C - 1) / C * excess / (exponent * (excess + 1) * (1 - beta))
    label = f"power-{exponent}".replace("/", "over")
    told.prove(
        f"flow-{label}",
        f"`s = {exponent}`: margin",
        mu_dot,
        margin,
        "The flow of the formula with `s`.",
        (margin.subs(beta, probability), flow.mu_dot),
        (flow.mu_dot, speed),
        (flow.nu_dot, turn),
    )
    told.prove(
        f"slope-{label}",
        f"`s = {exponent}`: slope of the potential",
        slope,
        growth,
        "The ratio of the formula with `s`, times `(C - 1)/C`. "
        + (
            "The potential has a closed form."
            if potential.closed
            else "The potential stays an integral."
        ),
        (found.slope, (C - 1) / C * ratio),
        (found.ratio, ratio),
        (growth.subs(beta, probability), found.slope),
        (sp.diff(potential.value, mu), (C - 1) / C * ratio),
    )


def ends(told: Derivation) -> None:
    """The start and the end of training as functions of s."""
    lead = (1 - C ** (-s)) / (s * C)
    told.prove(
        "late",
        "Growth of the potential",
        sp.Limit(slope * sp.exp(-mu), mu, sp.oo),
        lead,
        "Late the focus of every member closes like `1/t`, with a constant that moves from LVML's "
        "to hard attention's.",
        *((late_time(power_mean(e)).slope * sp.exp(-mu), lead.subs(s, e)) for e in MEMBERS),
        (
            late_time(HARD).slope * sp.exp(-mu),
            sp.diff(lead * s * C, s).subs(s, 0) / C,
        ),
    )
    whole = first_difference(LVML, HARD)
    for name in ("alpha", "mu"):
        order, coefficient = getattr(whole, name)
        symbol = alpha if name == "alpha" else mu
        parts = [getattr(first_difference(power_mean(e), HARD), name) for e in MEMBERS]
        assert all(part[0] == order for part in parts)
        told.prove(
            f"early-{name}",
            f"The start: {name}",
            named(symbol, "s") - named(symbol, HARD),
            s * coefficient * sp.Symbol("t", nonnegative=True) ** order,
            "The first term of the difference to hard attention is proportional to `s`: at the "
            "start the family is a straight line between its ends.",
            *((part[1], e * coefficient) for part, e in zip(parts, MEMBERS, strict=True)),
        )
    told.prove(
        "average",
        "As an average",
        sp.Symbol("q"),
        beta**s,
        "Each member is the paradigm whose attention averages this quantity.",
        *(
            (averaging("member", beta**e).expanded, power_mean(e).expanded)
            for e in MEMBERS
            if e > 0
        ),
    )


if __name__ == "__main__":
    main().finish()
