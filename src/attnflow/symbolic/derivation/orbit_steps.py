"""The derivation told step by step: a list of checked equations with a sentence each."""

import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.algebra.functions import wright_omega
from attnflow.symbolic.certificate import certify
from attnflow.symbolic.derivation.step import Step, checked, definition, equation
from attnflow.symbolic.first_integral import ARGUMENT, FirstIntegral, derive_first_integral
from attnflow.symbolic.flow import (
    background_ratio,
    derive_flow,
    metric,
    overall_speed,
    relative_speed,
)
from attnflow.symbolic.orbit import derive_potential, derive_solution
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import (
    K0,
    B,
    L,
    Phi,
    Q,
    alpha,
    attention,
    dnu_dmu,
    dt_dmu,
    k,
    m,
    mu,
    mu_dot,
    nu,
    nu_dot,
    omega,
    rho,
    slope,
    t,
    tau,
    z,
)


def steps(paradigm: Paradigm) -> list[Step]:
    """The setting, the flow, the first integral and the orbit in closed form, in reading order.

    Without a first integral the flow is the end of it.

    Raises:
        UncheckedStep: a formula did not stand its check (a defect of this library).
    """
    told = [*_setting(paradigm), *_flow(paradigm)]
    try:
        found = derive_first_integral(paradigm)
    except NoFirstIntegral:
        return told
    return [*told, *_separation(paradigm, found), *_orbit(paradigm, found)]


def _setting(paradigm: Paradigm) -> list[Step]:
    softmax = k * sp.exp(nu) / (k * sp.exp(nu) + m - k)
    return [
        definition(
            "loss",
            "Loss",
            L,
            paradigm.loss,
            f"The loss of {paradigm.title}, as a function of the focus weight `alpha` on "
            "the true segments, the classifier's margin `mu` on a foreground segment, and the "
            "number `C` of classes. Everything that follows is derived from it.",
        ),
        checked(
            "focus",
            "Focus weight",
            alpha,
            attention,
            "Softmax over `k` foreground segments of score `nu` and `m - k` background segments "
            "of score 0, with `B` background segments to a foreground segment.",
            (attention.subs(B, background_ratio), softmax),
        ),
        definition(
            "background-ratio",
            "Background to foreground",
            B,
            background_ratio,
            "The numbers of segments enter only through this ratio.",
        ),
        definition(
            "overall-speed",
            "Overall speed",
            tau,
            overall_speed,
            "The classifier's learning rate times the squared norm of a foreground vector. "
            "Time is `t`: step times learning rate.",
        ),
        *(
            definition(
                f"relative-speed-{background}",
                f"Relative speed of the focus, {background} background",
                rho,
                relative_speed(background),
                text,
            )
            for background, text in (
                (
                    "shared",
                    "Learning rates, and the part of the focus that one background vector of norm "
                    "`s` shared by all background segments takes over.",
                ),
                (
                    "distinct",
                    "The same with `m - k` background vectors of norm `s`, orthogonal to each "
                    "other: each is seen only once.",
                ),
            )
        ),
    ]


def _flow(paradigm: Paradigm) -> list[Step]:
    flow, found = derive_flow(paradigm), certify(paradigm)
    explicit = (
        f"Differentiated by all {found.parameters} entries of `W` and `w` for `m = "
        f"{found.segments}`, `C = {found.classes}`, `k = {found.foreground_segments}` and a "
        f"{found.background} "
        "background, the full gradient flow"
    )
    return [
        checked(
            "flow-mu",
            "Flow of the margin",
            mu_dot,
            factored(flow.mu_dot),
            "Minus the gradient of the loss in the metric `(C - 1) d mu^2 + C d nu^2` of the "
            "symmetric ansatz `W = mu (I - 11'/C), w = nu 1`.",
            (factored(flow.mu_dot), -tau * flow.loss_mu / metric[0]),
        ),
        checked(
            "flow-nu",
            "Flow of the focus score",
            nu_dot,
            factored(flow.nu_dot),
            "The same for the focus, by `d alpha/d nu = alpha (1 - alpha)`.",
            (sp.diff(attention, nu), attention * (1 - attention)),
            (factored(flow.nu_dot), -tau * rho * alpha * (1 - alpha) * flow.loss_alpha / metric[1]),
        ),
        Step(
            "certificate-mu",
            "The ansatz is exact: classifier",
            equation(mu_dot, found.mu_dot),
            f"{explicit} keeps `W` proportional to `I - 11'/C` and gives this velocity.",
            found.check,
        ),
        Step(
            "certificate-nu",
            "The ansatz is exact: focus",
            equation(nu_dot, found.nu_dot),
            f"{explicit} keeps the scores of all classes equal and gives this velocity.",
            found.check,
        ),
    ]


def _separation(paradigm: Paradigm, found: FirstIntegral) -> list[Step]:
    flow, potential = derive_flow(paradigm), derive_potential(paradigm)
    ratio = alpha * flow.loss_alpha / flow.loss_mu
    factor = metric[0] / metric[1]
    # d/dt of the conserved quantity, with Phi' for the derivative of Phi along the flow
    drift = sp.diff(found.conserved, nu) * flow.nu_dot
    drift += sp.diff(found.conserved, Phi) * potential.slope * flow.mu_dot
    derivative = sp.diff(potential.value, mu), potential.slope
    origin = [(potential.at(sp.S.Zero), sp.S.Zero)] if potential.closed else []
    return [
        checked(
            "ratio",
            "Separation",
            Q,
            found.ratio,
            "`Q = alpha L_alpha / L_mu` does not depend on `alpha`, which is the test for a first "
            "integral. Every loss `F(alpha psi(mu))` passes it, with `Q = psi/psi'`.",
            (ratio, found.ratio),
        ),
        checked(
            "orbit",
            "Equation of the orbit",
            dnu_dmu,
            rho * factor * (1 - alpha) * Q,
            "The quotient of the two velocities: time has dropped out, and `mu` and `nu` separate "
            "since `1 - alpha = 1/(1 + e^nu/B)`.",
            (flow.nu_dot / flow.mu_dot, rho * factor * (1 - alpha) * found.ratio),
            (1 - attention, 1 / (1 + sp.exp(nu) / B)),
        ),
        checked(
            "potential-slope",
            "Derivative of the potential",
            slope,
            potential.slope,
            "`Phi` is defined by `Phi' = ((C - 1)/C) Q` and `Phi(0) = 0`.",
            (potential.slope, factor * found.ratio),
        ),
        checked(
            "potential",
            "Potential",
            Phi,
            potential.value,
            "Its derivative is `Phi'` and it vanishes at 0."
            if potential.closed
            else "No closed form is known to the table of antiderivatives.",
            derivative,
            *origin,
        ),
        checked(
            "first-integral",
            "First integral",
            K0,
            found.conserved,
            "This quantity is constant along the flow: its time derivative is 0.",
            (drift.subs(alpha, attention), sp.S.Zero),
        ),
        definition(
            "constant",
            "Constant of the orbit",
            K0,
            derive_solution(paradigm).constant,
            "The value at the start `(mu_0, nu_0)`.",
        ),
    ]


def _orbit(paradigm: Paradigm, found: FirstIntegral) -> list[Step]:
    solution, flow = derive_solution(paradigm), derive_flow(paradigm)
    focus = omega / (1 + omega)
    nu_form, alpha_form = (
        sp.log(wright_omega(z)) + sp.log(B),
        wright_omega(z) / (1 + wright_omega(z)),
    )
    return [
        definition(
            "omega",
            "Wright omega function",
            z,
            omega + sp.log(omega),
            "`omega(z)` is the one positive solution of this equation.",
        ),
        definition(
            "argument",
            "Its argument along the orbit",
            z,
            ARGUMENT,
            "With `x = nu - log B = logit(alpha)` the first integral reads `x + e^x = z`.",
        ),
        checked(
            "nu-of-mu",
            "Focus score on the orbit",
            nu,
            nu_form,
            "`nu` as a function of `mu`, through `z`: it solves the first integral.",
            (found.conserved.subs(nu, nu_form.subs(z, ARGUMENT)), K0),
        ),
        checked(
            "alpha-of-mu",
            "Focus weight on the orbit",
            alpha,
            alpha_form,
            "`alpha` as a function of `mu`; it is also the derivative of `omega`.",
            (attention.subs(nu, nu_form), alpha_form),
            (sp.diff(wright_omega(z), z), alpha_form),
        ),
        checked(
            "pace",
            "Pace",
            dt_dmu,
            solution.pace_in_omega,
            "Time for a unit of margin along the orbit, `omega = omega(z(mu))`: the inverse of "
            "`mu'`.",
            (solution.pace_in_omega * flow.mu_dot.subs(alpha, focus), sp.S.One),
        ),
        checked(
            "time",
            "Time",
            t,
            solution.time,
            "`mu` is monotone and serves as a clock: time is one quadrature.",
            (sp.diff(solution.time, mu), solution.pace),
        ),
    ]
