"""The steps of switching: where two paradigms pull alike, and where a best schedule hands over."""

from collections.abc import Sequence
from itertools import combinations, permutations

import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.derivation.step import DIGITS, Step, UncheckedStep, checked, equation
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbolic.switch_condition import (
    POINTS,
    SwitchTerms,
    derive_switch_condition,
    derive_switch_terms,
    greedy_curve,
)
from attnflow.symbols import alpha, costate, dg_dz


def steps(paradigms: Sequence[Paradigm]) -> list[Step]:
    """Greedy curves of all pairs, and for each order of a pair what a best switch fulfils.

    Pairs without first integrals have the greedy curve alone.

    Args:
        paradigms: different ones; a single one has no pair and no steps.

    Raises:
        UncheckedStep: a formula did not stand its check (a defect of this library).
    """
    told = [step for pair in combinations(paradigms, 2) for step in _greedy(*pair)]
    terms = {}
    for paradigm in paradigms if len(paradigms) > 1 else ():
        try:
            terms[paradigm] = derive_switch_terms(paradigm)
        except NoFirstIntegral:
            continue
    told += [_worth(paradigm, known) for paradigm, known in terms.items() if len(terms) > 1]
    return told + [_condition(*pair, terms) for pair in permutations(terms, 2)]


def _greedy(first: Paradigm, second: Paradigm) -> list[Step]:
    curve = greedy_curve(first, second)
    pulls = [-derive_flow(p).loss_alpha for p in (first, second)]
    name, title = f"greedy-{first.name}-{second.name}", f"{first.title} and {second.title}"
    told = [
        checked(
            f"{name}-pulls",
            f"{title} pull alike",
            curve.equation.lhs,
            curve.equation.rhs,
            "Greedy: both move the focus equally fast where minus `L_alpha` of the one is that of "
            "the other; beside the curve the larger one is the better teacher of the focus.",
            (curve.equation.lhs, pulls[0]),
            (curve.equation.rhs, pulls[1]),
        )
    ]
    if curve.alpha is not None:
        for point in POINTS:
            here = {**point, alpha: sp.N(curve.alpha.subs(point), 90)}
            one, other = (sp.N(pull.subs(here), 70) for pull in pulls)
            if abs(one - other) > sp.Float(10) ** -50:
                raise UncheckedStep(f"step {name!r} does not hold: {curve.alpha}")
        told.append(
            Step(
                name,
                f"{title}: greedy curve",
                equation(alpha, curve.alpha),
                "The root between 0 and 1, put into the equality of the pulls.",
                DIGITS,
            )
        )
    return told


def _worth(paradigm: Paradigm, terms: SwitchTerms) -> Step:
    flow = derive_flow(paradigm)
    return checked(
        f"switch-{paradigm.name}",
        f"{paradigm.title}: change of the pace with the focus",
        dg_dz,
        factored(terms.sensitivity),
        "By `z = x + e^x` with the margin held, `dz = dx/(1 - alpha)`. Along the orbit ahead, up "
        "to the margin `mu_f` of the goal, `lambda` is the integral of it, minus the pace over the "
        "slope of `z` at `mu_f`.",
        (alpha * (1 - alpha) ** 2 * sp.diff(1 / flow.mu_dot, alpha), terms.sensitivity),
    )


def _condition(first: Paradigm, then: Paradigm, terms: dict[Paradigm, SwitchTerms]) -> Step:
    condition = derive_switch_condition(first, then)
    jump = turn = sp.S.Zero
    for sign, paradigm in ((1, first), (-1, then)):
        flow = derive_flow(paradigm)
        jump += sign / flow.mu_dot
        turn += sign * flow.nu_dot / flow.mu_dot / (1 - alpha)
    return checked(
        f"switch-{first.name}-{then.name}",
        f"Best switch from {first.title} to {then.title}",
        sp.S.Zero,
        condition.lhs,
        "Where the time to a goal is stationary in the margin at the switch: the paces differ by "
        "as much as the slopes of `z` are worth, with `lambda` of the orbit ahead.",
        (condition.lhs - condition.rhs, jump + costate * turn),
    )
