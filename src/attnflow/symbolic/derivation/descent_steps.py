"""From the flow to the steps of gradient descent, as checked steps of a derivation."""

from functools import lru_cache

import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.settings import BACKGROUNDS
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.curvature import derive_curvature
from attnflow.symbolic.derivation.step import Step, checked, definition
from attnflow.symbolic.finite_steps import derive_drift, derive_step_correction
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_decay, derive_flow, derive_jacobian
from attnflow.symbolic.orbit import derive_potential
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import (
    B,
    H_cross,
    H_mu,
    H_nu,
    alpha,
    attention,
    bend,
    curvature,
    decay,
    dK_dmu,
    eta,
    eta_classifier,
    eta_focus,
    h,
    kappa,
    lag,
    mu,
    mu_ddot,
    mu_dot,
    nu,
    nu_ddot,
    nu_dot,
    omega,
    p,
    rho,
    sigma,
    slope,
)


def steps(paradigm: Paradigm) -> list[Step]:
    """The corrected flow of steps of finite size, and what becomes of the first integral.

    Raises:
        UncheckedStep: a formula did not stand its check (a defect of this library).
    """
    told = [*_numbers(), *_motion(paradigm), *_curvature(paradigm), *_decay(paradigm)]
    try:
        derive_first_integral(paradigm)
    except NoFirstIntegral:
        return told
    return [*told, _drift(paradigm)]


def slow_response(nesterov: bool) -> sp.Expr:
    """What a force on a mode e^(r t), r = x'/x, must be for the steps, to first order.

    The steps x_(n+1) - x_n = p (x_n - x_(n-1)) + (1 - p) h f, f the force (with Nesterov's,
    f + p (f - the one before)), divided by the mode.
    """
    rate, size = sp.symbols("r d", positive=True)
    ahead, back = sp.exp(rate * size), sp.exp(-rate * size)
    force = (1 + p * (1 - back)) if nesterov else sp.S.One
    response = (ahead - 1 - p * (1 - back)) / ((1 - p) * size * force)
    series = sp.series(response, size, 0, 2).removeO()
    return sp.simplify(series.coeff(size, 1) / rate**2) * eta / (1 - p)


@lru_cache
def _numbers() -> list[Step]:
    found = derive_step_correction()
    return [
        definition(
            "step-time",
            "Time of a step",
            h,
            found.step,
            "A step of gradient descent with learning rate `eta` adds `eta` times the gradient "
            "to a velocity that forgets by the factor `p` a step, so that this time passes in a "
            "step.",
        ),
        checked(
            "step-inertia",
            "Inertia",
            kappa,
            found.inertia.subs(eta, h * (1 - p)),
            "In a step the velocity forgets by the factor `p`; without momentum `kappa = 0`.",
            (sp.exp(-found.step / found.inertia), p),
        ),
        checked(
            "step-lag",
            "First-order correction",
            lag,
            found.lag.subs(eta, h * (1 - p)),
            "What is slow obeys `x' + k_1 x'' = f` up to the second order of `h`, so "
            "`x' = f - k_1 (Df) f`. With Nesterov's momentum it is less by `p h`.",
            (found.lag, slow_response(nesterov=False)),
            (derive_step_correction(True).lag, slow_response(nesterov=True)),
        ),
        checked(
            "step-bend",
            "What inertia leaves over",
            sigma,
            kappa - lag,
            "Without momentum this is `-eta/2`.",
            (found.bend, found.inertia - found.lag),
            (sp.limit(found.bend, p, 0), -eta / 2),
        ),
    ]


def _motion(paradigm: Paradigm) -> list[Step]:
    flow = derive_flow(paradigm)
    slopes = derive_jacobian(paradigm)
    told = []
    for row, (name, what, force, moved, bent) in enumerate(
        (
            ("mu", "margin", flow.mu_dot, mu_dot, mu_ddot),
            ("nu", "focus score", flow.nu_dot, nu_dot, nu_ddot),
        )
    ):
        entries = [factored(entry) for entry in slopes.row(row)]
        in_nu = force.subs(alpha, attention)
        told.append(
            checked(
                f"steps-{name}",
                f"Steps of gradient descent: {what}",
                kappa * bent + moved,
                factored(force) + sigma * (entries[0] * mu_dot + entries[1] * nu_dot),
                "The flow that steps of finite size follow up to the second order of `h`: it "
                "starts from a velocity of `1 - p h/((1 - p) kappa)` times that of the flow. "
                "Without momentum it is the gradient flow of `L + (eta/4) |grad L|^2`.",
                (entries[0], sp.diff(force, mu)),
                (entries[1].subs(alpha, attention), sp.diff(in_nu, nu)),
            )
        )
    return told


def _curvature(paradigm: Paradigm) -> list[Step]:
    stable, plane = derive_step_correction().stable, derive_curvature(paradigm).plane
    # a mode (-1)^n of x_(n+1) - (1 + p) x_n + p x_(n-1) = -eta lambda x_n
    swinging = 1 + (1 + p) + p - eta * curvature
    told = [
        checked(
            "largest-rate",
            "Largest learning rate",
            eta,
            stable / curvature,
            "With larger steps deviations along a direction of curvature lambda, an eigenvalue of "
            "the Hessian of the full loss, swing with growing width; p is the momentum.",
            (swinging.subs(eta, stable / curvature), sp.S.Zero),
        )
    ]
    slopes = derive_jacobian(paradigm)
    for i, j, left in ((0, 0, H_mu), (0, 1, H_cross), (1, 1, H_nu)):
        square = slopes[i, j] * slopes[j, i]
        told.append(
            checked(
                f"curvature-{i + 1}{j + 1}",
                "Hessian of all classes alike",
                left,
                factored(plane[i, i]) if i == j else plane[i, j],
                "Symmetric, in the metric and with its learning rates. Without background the "
                "loss splits by class, and its two eigenvalues occur C times.",
                (plane[i, i], -slopes[i, i]) if i == j else (plane[i, j] ** 2, square),
            )
        )
    return told


def _decay(paradigm: Paradigm) -> list[Step]:
    flow = derive_flow(paradigm)
    both = [derive_decay(background) for background in BACKGROUNDS]
    return [
        checked(
            f"decay-{of}",
            f"Weight decay: {what}",
            moved,
            factored(force) - decay * rate * of,
            "The flow with `(lambda_w/2) (|W|^2 + |w|^2)` added to the loss; the squared norms are "
            "those of the ansatz. Time is no quadrature then, and no first integral is left.",
            *((pulls[row], -decay * rate * of) for pulls in both),
        )
        for row, (what, force, moved, rate, of) in enumerate(
            (
                ("margin", flow.mu_dot, mu_dot, eta_classifier, mu),
                ("focus score", flow.nu_dot, nu_dot, eta_focus, nu),
            )
        )
    ]


def _drift(paradigm: Paradigm) -> Step:
    flow, potential = derive_flow(paradigm), derive_potential(paradigm)
    velocity = sp.Matrix([flow.mu_dot, flow.nu_dot])
    gradient = sp.Matrix([[-rho * potential.slope, 1 / (1 - alpha)]])  # 1 + e^nu/B
    on_orbit = {alpha: omega / (1 + omega)}
    change = -(gradient * derive_jacobian(paradigm) * velocity)[0] / flow.mu_dot
    rate = rho * mu_dot * (rho * slope**2 * omega / (1 + omega) ** 2 - bend)
    spelt = {mu_dot: flow.mu_dot, slope: potential.slope, bend: sp.diff(potential.slope, mu)}
    return checked(
        "first-integral-drift",
        "Drift of the first integral",
        dK_dmu,
        lag * rate,
        "Finite steps move the first integral by this much per margin, to first order; its drift "
        "is one quadrature along the closed form.",
        (rate.subs(spelt).subs(on_orbit), change.subs(on_orbit)),
        (derive_drift(paradigm), change.subs(on_orbit)),
        (1 + sp.exp(nu) / B, 1 / (1 - attention)),
    )
