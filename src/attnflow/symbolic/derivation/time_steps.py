"""Both ends of training, as checked steps: exact series in time at the start, leading terms late.

``start_series``, ``first_difference`` and ``late_time`` derive the results from the loss; ``steps``
and ``difference_steps`` state them as numbered steps, each with an independent check to 50 digits
in the flow itself.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import sympy as sp

from attnflow.symbolic.algebra.coefficients import NoExpansion
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.derivation.shipped import shipped
from attnflow.symbolic.derivation.step import DIGITS, Step, UncheckedStep, equation
from attnflow.symbolic.early_time import (
    StartSeries,
    first_difference,
    start_series,
)
from attnflow.symbolic.flow import derive_flow, metric
from attnflow.symbolic.late_time import late_time
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import (
    B,
    C,
    L,
    alpha,
    c,
    dt_dmu,
    indexed,
    mu,
    nu,
    remainder,
    rho,
    t,
    tau,
    vanishing,
)

SHOWN_ORDER = 3
"""How far the series are written out in a derivation; ``start_series`` gives any order."""

_TOLERANCE = sp.Rational(1, 10**50)
_POINT = {
    B: sp.Rational(17, 3),
    C: sp.Rational(29, 7),
    rho: sp.Rational(5, 4),
    tau: sp.Rational(3, 2),
}


def steps(paradigm: Paradigm) -> list[Step]:
    """The start and the end of training as steps of a derivation.

    Where the start is singular or the late rule does not apply, those steps are left out;
    ``start_series`` then raises, and ``late_time(...).reason`` says why.

    Raises:
        UncheckedStep: a result did not stand its check (a defect of this library).
    """
    try:
        start = _start_steps(paradigm)
    except NoExpansion:
        start = []
    return [*start, *_late_steps(paradigm)]


def _start_steps(paradigm: Paradigm) -> list[Step]:
    series = start_series(paradigm, SHOWN_ORDER)
    _check_series(paradigm, series)
    what = {
        "mu": (mu, "margin"),
        "nu": (nu, "focus score"),
        "alpha": (alpha, "focus weight"),
        "loss": (L, "loss"),
    }
    return [
        Step(
            f"start-{name}",
            f"Start: {title}",
            equation(left, getattr(series, name) + remainder(SHOWN_ORDER + 1)),
            "Taylor series in time from the zero start, by recurrence of coefficients in the flow.",
            DIGITS,
        )
        for name, (left, title) in what.items()
    ]


def _check_series(paradigm: Paradigm, series: StartSeries) -> None:
    """Put the polynomials into the flow at a tiny time: the residual must be of the next order."""
    tiny = sp.Rational(1, 10**60)
    flow = derive_flow(paradigm)
    values = {mu: series.mu, alpha: series.alpha}
    at = {**_POINT, t: tiny}
    digits = 60 * (series.order + 3)  # the residual is compared beyond the 60 x order-th
    point = {**_POINT, **{symbol: value.subs(at) for symbol, value in values.items()}}
    # rounded there: of a logarithm of exact numbers sympy would seek the minimal polynomial
    point = {symbol: sp.N(value, digits) for symbol, value in point.items()}
    for name, velocity in (("mu", flow.mu_dot), ("nu", flow.nu_dot), ("loss", None)):
        polynomial = getattr(series, name)
        if velocity is None:
            claimed, exact = polynomial.subs(at), paradigm.expanded
            order = series.order
        else:
            claimed, exact = sp.diff(polynomial, t).subs(at), factored(velocity)
            order = series.order - 1
        residual = abs(sp.N(claimed, digits) - _value(exact, point, digits)) / tiny**order
        if residual > _TOLERANCE:
            raise UncheckedStep(
                f"the series of {name} of {paradigm.name!r} does not solve the flow"
            )


def _late_steps(paradigm: Paradigm) -> list[Step]:
    late = late_time(paradigm)
    if late.kind is None:
        return []
    _check_late(paradigm, late)

    def limit(what: sp.Expr) -> sp.Limit:
        return sp.Limit(what, t, sp.oo)

    if late.kind == "exponential":
        entries = [
            (
                "pace",
                "pace",
                dt_dmu,
                (late.clock * sp.exp(mu) + late.linear) / tau + vanishing,
                "Leading terms of the inverse of `mu'` on any orbit, for large `mu`.",
            ),
            (
                "time",
                "time",
                t,
                (late.clock * sp.exp(mu) + late.linear * mu + c) / tau + vanishing,
                "The integral of it; the constant `c` depends on the start.",
            ),
            (
                "inattention",
                "closing of the focus",
                limit(t * (1 - alpha)),
                late.inattention,
                "The focus closes like `1/t`, since the potential grows like `e^mu` and so like "
                "`t`.",
            ),
            (
                "focus",
                "focus score",
                limit(nu - sp.log(t)),
                late.focus,
                "The same for `nu`, whose growth is logarithmic.",
            ),
        ]
    else:
        entries = [
            (
                "margin",
                "margin",
                limit(mu / sp.log(t)),
                sp.S.One,
                "The margin is the logarithm of time, to leading order.",
            ),
            (
                "inattention",
                "closing of the focus",
                limit(mu**late.power * (1 - alpha)),
                late.inattention,
                "The potential grows like a power of `mu` only, so the focus closes "
                "like a power of `1/log t`.",
            ),
            (
                "focus",
                "focus score",
                limit(sp.exp(nu) / mu**late.power),
                late.focus,
                f"The same for `nu`, which grows like `{late.power} log log t`.",
            ),
        ]
    entries.append(
        ("loss", "loss", limit(t * L), late.loss, "The loss falls like `1/t`, with this constant.")
    )
    return [
        Step(
            f"late-{name}",
            f"Late time: {title}",
            equation(left, right),
            f"{text} By {late.reason}.",
            DIGITS,
        )
        for name, title, left, right, text in entries
    ]


def _check_late(paradigm: Paradigm, late: Any) -> None:
    """Evaluate flow and loss far out on the orbit, where what is neglected is below 50 digits.

    There the first integral is w + log w = rho Phi + constant with w = alpha/(1 - alpha); the
    leading term of Phi stands for Phi, and one iteration for w, both right to more digits than
    are compared.
    """
    exponential = late.kind == "exponential"
    far = sp.Integer(300) if exponential else sp.Integer(10) ** 60
    digits = 400 if exponential else 300
    power = late.power or 0
    lead = late.slope.subs(mu, far).subs(_POINT)
    z = sp.N(_POINT[rho] * (lead if exponential else lead * far / power), digits)
    weight = z - sp.log(z)
    away = 1 / (1 + weight)
    at = {mu: far, alpha: 1 - away, **_POINT}
    flow = derive_flow(paradigm)
    mu_dot, nu_dot = (_value(factored(v), at, digits) for v in (flow.mu_dot, flow.nu_dot))
    pace = 1 / mu_dot
    # -L' instead of L, which would drown in the rounding of 1 + tiny: t L -> l means -t^2 L' -> l
    lengths = metric[0].subs(at), (metric[1] / rho).subs(at)
    descent = (lengths[0] * mu_dot**2 + lengths[1] * nu_dot**2) / _POINT[tau]
    growth = sp.N(sp.exp(far), digits)
    clock = late.clock.subs(_POINT)
    time = clock * growth / _POINT[tau]
    if exponential:
        claims = {
            "pace": (pace, (clock * growth + late.linear.subs(_POINT)) / _POINT[tau]),
            "inattention": (time * away, late.inattention.subs(_POINT)),
            "focus": (sp.log(weight * _POINT[B] / time), late.focus.subs(_POINT)),
            "loss": (time**2 * descent, late.loss.subs(_POINT)),
        }
    else:
        claims = {
            "margin": (pace / time, sp.S.One),
            "inattention": (far**power * away, late.inattention.subs(_POINT)),
            "focus": (weight * _POINT[B] / far**power, late.focus.subs(_POINT)),
            "loss": (time**2 * descent, late.loss.subs(_POINT)),
        }
    for name, (found, claimed) in claims.items():
        if not abs(sp.N(found - claimed, digits)) < _TOLERANCE:
            raise UncheckedStep(
                f"the late {name} of {paradigm.name!r} is not {claimed} but {found}"
            )


def _value(expr: sp.Expr, at: dict[sp.Symbol, sp.Expr], digits: int) -> sp.Expr:
    return sp.N(expr.subs(at), digits)


def difference_steps(paradigms: Sequence[Paradigm]) -> list[Step]:
    """Where each pair of paradigms parts, from the zero start.

    Args:
        paradigms: two or more; a pair without a difference is refused by ``first_difference``.
    """
    pairs = combinations(paradigms, 2)
    return [step for pair in pairs for step in shipped(*pair) or parting(*pair)]


def parting(first: Paradigm, second: Paradigm) -> list[Step]:
    """Where two paradigms part, derived now."""
    _check_series(first, start_series(first, SHOWN_ORDER))
    _check_series(second, start_series(second, SHOWN_ORDER))
    apart = first_difference(first, second)
    steps = []
    for symbol, (order, coefficient) in ((alpha, apart.alpha), (mu, apart.mu)):
        one, other = (indexed(symbol, p.name) for p in (first, second))
        steps.append(
            Step(
                f"difference-{first.name}-{second.name}-{symbol}",
                f"{first.title} and {second.title}: {'focus' if symbol is alpha else 'margin'}",
                equation(one - other, coefficient * t**order + remainder(order + 1)),
                "The lowest power of `t` at which they differ.",
                DIGITS,
            )
        )
    return steps
