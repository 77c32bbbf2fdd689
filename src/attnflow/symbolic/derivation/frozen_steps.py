"""The steps of a derivation with one part held: focus or classifier."""

import sympy as sp

from attnflow.symbolic.algebra.functions import kepler
from attnflow.symbolic.derivation.step import Step, checked, definition
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.frozen import Frozen, derive_frozen_classifier, derive_frozen_focus
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import (
    B,
    alpha,
    alpha0,
    anomaly,
    attention,
    dt_dmu,
    dt_dx,
    eccentricity,
    mu,
    mu0,
    nu,
    t,
    v,
    x,
    x0,
)


def steps(paradigm: Paradigm) -> list[Step]:
    """Focus held, then classifier held; Kepler's equation is stated where it first occurs.

    Raises:
        UncheckedStep: a formula did not stand its check (a defect of this library).
    """
    told = [*_focus(paradigm), *_classifier(paradigm)]
    for place, step in enumerate(told):
        if step.equation.rhs.has(kepler):
            equation = eccentricity * sp.sinh(v) + v
            text = "`Kepler(epsilon, M)` is the one solution `v` of it, for `epsilon > 0`."
            title = "Hyperbolic Kepler equation"
            return [
                *told[:place],
                definition("kepler", title, anomaly, equation, text),
                *told[place:],
            ]
    return told


def _focus(paradigm: Paradigm) -> list[Step]:
    frozen = derive_frozen_focus(paradigm)
    pace = checked(
        "frozen-focus-pace",
        "Focus held: pace",
        dt_dmu,
        frozen.pace,
        "With `alpha` held, the margin alone moves.",
        (frozen.pace * derive_flow(paradigm).mu_dot, sp.S.One),
    )
    time = _time(
        "frozen-focus",
        "Focus held",
        frozen,
        frozen.time,
        (sp.diff(frozen.time, mu), frozen.pace),
        *_at_start(frozen, frozen.time.subs(mu0, mu)),
    )
    return [pace, time, *_inverse("frozen-focus", "Focus held: margin", frozen)]


def _classifier(paradigm: Paradigm) -> list[Step]:
    frozen = derive_frozen_classifier(paradigm)
    logit = sp.log(alpha / (1 - alpha))
    weight = sp.exp(x) / (1 + sp.exp(x))
    shown = frozen.time
    for point, symbol in ((x, alpha), (x0, alpha0)):
        shown = shown.subs(weight.subs(x, point), symbol)
        shown = shown.subs(-mu / (1 + sp.exp(point)), -mu * (1 - symbol))
    in_alpha = shown.subs({x: logit, x0: logit.subs(alpha, alpha0)})
    steps = [
        checked(
            "logit",
            "Logit of the focus weight",
            x,
            logit,
            "`x = nu - log B`, so that `x` moves as fast as `nu`.",
            (logit.subs(alpha, attention), nu - sp.log(B)),
        ),
        checked(
            "frozen-classifier-pace",
            "Classifier held: pace",
            dt_dx,
            frozen.pace,
            "With `mu` held, the focus alone moves.",
            (frozen.pace.subs(x, logit) * derive_flow(paradigm).nu_dot, sp.S.One),
        ),
        _time(
            "frozen-classifier",
            "Classifier held",
            frozen,
            shown,
            (sp.diff(in_alpha, alpha) * alpha * (1 - alpha), frozen.pace.subs(x, logit)),
            *_at_start(frozen, in_alpha.subs(alpha0, alpha)),
        ),
    ]
    return [*steps, *_inverse("frozen-classifier", "Classifier held: focus", frozen)]


def _time(
    name: str, title: str, frozen: Frozen, shown: sp.Expr, *claims: tuple[sp.Expr, sp.Expr]
) -> Step:
    if frozen.primitive is None:
        text = "One quadrature: the table of antiderivatives knows no closed form."
    else:
        text = "Its derivative is the pace, and it is 0 at the start."
    return checked(f"{name}-time", f"{title}: time", t, shown, text, *claims)


def _at_start(frozen: Frozen, value: sp.Expr) -> list[tuple[sp.Expr, sp.Expr]]:
    """The time at the start is 0; an Integral between equal limits is so without a check."""
    return [] if frozen.primitive is None else [(value, sp.S.Zero)]


def _inverse(name: str, title: str, frozen: Frozen) -> list[Step]:
    """What moves as a function of time, where the time could be inverted."""
    if frozen.solution is None or frozen.primitive is None:
        return []
    by = "hyperbolic Kepler equation" if frozen.solution.has(kepler) else "Wright omega function"
    claim = (
        frozen.primitive.subs(frozen.variable, frozen.solution),
        t + frozen.primitive.subs(frozen.variable, frozen.start),
    )
    text = f"The equation for the time, inverted by the {by}."
    step = checked(
        f"{name}-solution",
        f"{title} as a function of time",
        frozen.variable,
        frozen.solution,
        text,
        claim,
    )
    return [step]
