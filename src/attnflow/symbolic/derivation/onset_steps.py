"""The steps of the onset: when the focus awakes among many segments."""

import sympy as sp

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.derivation.step import Step, checked
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.onset import onset
from attnflow.symbolic.orbit import derive_potential, derive_solution
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import B, C, Phi, alpha, dt_dmu, mu, omega, rho, t, tau


def steps(paradigm: Paradigm) -> list[Step]:
    """The law of the onset for many segments, and its number for many classes; none without a law.

    Raises:
        UncheckedStep: a formula did not stand its check (a defect of this library).
    """
    law = onset(paradigm)
    if law is None:
        return []
    flow, solution = derive_flow(paradigm), derive_solution(paradigm)
    closed = law.primitive is not None
    discount = sp.exp(-rho * (derive_potential(paradigm).value if closed else Phi))
    on_orbit = factored(omega * solution.pace_in_omega).subs(omega, 0)
    told = [
        checked(
            "onset-pace",
            "Onset: pace at a small focus",
            sp.Limit(alpha * dt_dmu, alpha, 0),
            law.growth,
            "While the focus is small the margin moves in proportion to it.",
            (law.growth * tau * sp.diff(flow.loss_mu, alpha).subs(alpha, 0), 1 - C),
        ),
        checked(
            "onset-time",
            "Onset among many segments",
            sp.Limit(t / B, B, sp.oo),
            law.value if closed else sp.Integral(law.growth * discount, (mu, 0, sp.oo)),
            "The time to any focus weight short of 1, from zero: by the first integral `alpha` is "
            "`e^(rho Phi)/B` while it is small, and with many segments all the time is spent so.",
            (law.growth, on_orbit),
            *_ends(law.value, law.primitive, on_orbit * discount),
        ),
    ]
    if law.many_primitive is not None:
        pace = sp.limit(on_orbit.subs(tau, 1) / C, C, sp.oo)
        rise = sp.limit(derive_potential(paradigm).slope, C, sp.oo)
        limit = sp.diff(law.many_primitive, mu)
        told.append(
            checked(
                "onset-many-classes",
                "Onset among many segments and classes",
                sp.Limit(t / (B * C), C, sp.oo),
                law.many_classes,
                "The same for many classes, with `rho = tau = 1`: where the margin is bounded, the "
                "pace over `C` and the potential have limits.",
                # the integrand is pace e^-Phi: its logarithm's slope, and its value at 0
                (sp.diff(limit, mu) / limit, sp.diff(pace, mu) / pace - rise),
                (limit.subs(mu, 0), pace.subs(mu, 0)),
                *_ends(law.many_classes, law.many_primitive, limit),
            )
        )
    return told


def _ends(
    value: sp.Expr, primitive: sp.Expr | None, integrand: sp.Expr
) -> list[tuple[sp.Expr, sp.Expr]]:
    """Claims of an integral from 0 to infinity of which the antiderivative is known."""
    if primitive is None:
        return []
    more = sp.Dummy("c", positive=True)  # C - 1, so that limits know its sign
    last = sp.limit(primitive.subs(C, 1 + more), mu, sp.oo).subs(more, C - 1)
    return [(sp.diff(primitive, mu), integrand), (value, last - primitive.subs(mu, 0))]
