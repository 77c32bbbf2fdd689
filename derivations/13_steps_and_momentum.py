"""From steps to time.

Gradient descent takes steps of a finite size, and mostly with momentum. A step adds the velocity
`f` of gradient flow to a memory that forgets by a factor `p`, and moves by `eta` times that memory.
Time `h = eta/(1 - p)` passes in a step: with it the steps follow the flow, but for an error of the
order of `h`.

That error is removed by looking for a flow that the steps follow to the second order. Momentum has
a fast mode, in which the memory forgets, and a slow one, which is the motion that is seen. An
equation of second order in time has both, and its three numbers are fixed by three exact
statements about the steps: how the memory forgets, how the slow mode answers a force that changes,
and what becomes of a constant force from the first step on. So the correction holds in every step
and from any start, not only once the memory is full.

Without momentum the fast mode is gone and the correction is known from numerical analysis:
descent by steps follows the flow of `L + (eta/4) |grad L|^2` in the metric of the plane.
"""

import sympy as sp
from _common import Derivation, velocities

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.catalogue import HARD, LVML, SOFT
from attnflow.symbolic.finite_steps import derive_drift, derive_step_correction
from attnflow.symbolic.flow import derive_jacobian
from attnflow.symbolic.orbit import derive_potential
from attnflow.symbols import (
    B,
    C,
    L,
    alpha,
    attention,
    bend,
    dK_dmu,
    eta,
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
    tau,
)

STEP = sp.Symbol("n", nonnegative=True)
FORCE = sp.Symbol("f", real=True)
RATE = sp.Symbol("r", positive=True)


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(13, "From steps to time", __doc__)
    for nesterov in (False, True):
        numbers(told, nesterov)
    told.say(
        """The corrected flow reads `kappa u' + u = f + sigma (Df) u` with `x' = u`, `Df` being the
        derivative of `f` by `(mu, nu)`."""
    )
    modified_loss(told)
    for paradigm in (SOFT, HARD, LVML):
        motion(told, paradigm)
    told.say(
        """The first integral `K` is constant along `f`, so what is left of its change is `k_1`
        times the second derivative of `K` in the direction of `f`, twice. That is a function of the
        margin on the orbit, and the drift is one quadrature along the closed form. The start adds
        nothing: it shifts the slow motion along `f`, where `K` rests."""
    )
    for paradigm in (SOFT, HARD, LVML):
        drift(told, paradigm)
    return told


def numbers(told: Derivation, nesterov: bool) -> None:
    """The three numbers of the corrected flow, from the recursion of the steps alone."""
    found = derive_step_correction(nesterov)
    ending, title = ("-nesterov", "Nesterov's momentum: ") if nesterov else ("", "")
    by_delta = {eta: h * (1 - p)}
    # x_(n+1) - x_n - p (x_n - x_(n-1)) = eta f_n, with Nesterov's eta (f_n + p (f_n - f_(n-1)))
    forward, back = sp.exp(RATE * h), sp.exp(-RATE * h)
    memory = forward - 1 - p * (1 - back)
    answer = (1 - p) * h * (1 + p * (1 - back) if nesterov else 1)
    if not nesterov:
        told.prove(
            "inertia",
            "How the memory forgets",
            kappa,
            found.inertia.subs(by_delta),
            "Without a force a mode `e^(r t)` of the steps has `r = 0` or forgets by `p` in a "
            "step; the corrected flow, `kappa u' + u = 0`, must do the same.",
            (memory.subs(RATE, 0), sp.S.Zero),
            (memory.subs(RATE, sp.log(p) / h), sp.S.Zero),
            (sp.exp(-found.step / found.inertia), p),
            (sp.limit(found.inertia, p, 0), sp.S.Zero),
        )
    series = sp.series(memory / answer, h, 0, 2).removeO()
    told.prove(
        f"lag{ending}",
        f"{title}how the slow mode answers",
        lag,
        sp.factor(found.lag.subs(by_delta)),
        "A force on the slow mode must be `x' + k_1 x''` up to the second order of `h`, and so "
        "`x' = f - k_1 (Df) f`.",
        (sp.expand(series).coeff(h, 0), RATE),
        (sp.expand(series).coeff(h, 1) * h, found.lag.subs(by_delta) * RATE**2),
    )
    told.prove(
        f"bend{ending}",
        f"{title}what inertia leaves over",
        sigma,
        kappa - lag,
        "With `u = f + O(h)` on the right, `kappa u' + u = f + sigma (Df) u` gives "
        "`u = f - (kappa - sigma) (Df) f`. Without momentum `sigma = -eta/2`.",
        (found.bend, found.inertia - found.lag),
        (sp.limit(found.bend, p, 0), -eta / 2),
    )
    # a constant force from rest: V_n = f (1 - p^n)/(1 - p)
    behind = p**2 if nesterov else p
    position = found.step * FORCE * (STEP - behind * (1 - p**STEP) / (1 - p))
    memory_at = FORCE * (1 - p ** (STEP + 1)) / (1 - p)
    moved = eta * (FORCE + p * memory_at) if nesterov else eta * memory_at
    time = STEP * found.step
    flowing = FORCE * (
        time + found.inertia * (found.kick - 1) * (1 - sp.exp(-time / found.inertia))
    )
    told.prove(
        f"kick{ending}",
        f"{title}from rest",
        sp.Symbol("u_0", real=True),
        found.kick * FORCE,
        "With this velocity at the start the corrected flow under a constant force is where the "
        "steps are, after every step. At a switch of the force `u` grows by the same share of the "
        "jump.",
        (position.subs(STEP, STEP + 1) - position, moved),
        (position.subs(STEP, 0), sp.S.Zero),
        (flowing, position),
    )


def modified_loss(told: Derivation) -> None:
    """Without momentum the correction is a gradient flow too, for every loss."""
    some = sp.Function("L")(alpha, mu)

    def by_nu(expr: sp.Expr) -> sp.Expr:
        return alpha * (1 - alpha) * sp.diff(expr, alpha)

    speed, turn = velocities(some)
    # |grad L|^2 in the metric and with its learning rates
    square = tau / (C - 1) * sp.diff(some, mu) ** 2 + tau * rho / C * by_nu(some) ** 2
    changed = velocities(some + eta / 4 * square)
    size = sp.Symbol(r"\left|\nabla L\right|", positive=True)
    told.prove(
        "modified-loss",
        "The loss that steps descend",
        sp.Symbol(r"L_{\eta}", real=True),
        L + eta / 4 * size**2,
        "For every loss, `f - (eta/2) (Df) f` is the gradient flow of this one. The gradient is "
        "measured in the metric of the plane, learning rates included.",
        *(
            (slow - eta / 2 * (sp.diff(slow, mu) * speed + by_nu(slow) * turn), wanted)
            for slow, wanted in zip((speed, turn), changed, strict=True)
        ),
    )


def motion(told: Derivation, paradigm) -> None:
    """The corrected flow of one paradigm, its Df against the flow differentiated by mu and nu."""
    found = derive_jacobian(paradigm)
    for row, (name, left, u, force) in enumerate(
        (
            ("margin", mu_ddot, mu_dot, velocities(paradigm.expanded)[0]),
            ("focus", nu_ddot, nu_dot, velocities(paradigm.expanded)[1]),
        )
    ):
        entries = [factored(entry) for entry in found.row(row)]
        told.prove(
            f"{name}-{paradigm.name}",
            f"{paradigm.title}: {name}",
            kappa * left + u,
            factored(force) + sigma * (entries[0] * mu_dot + entries[1] * nu_dot),
            "The velocity of the flow, and how it changes along the motion.",
            (entries[0], sp.diff(force, mu)),
            (entries[1].subs(alpha, attention), sp.diff(force.subs(alpha, attention), nu)),
            *((one, entry) for one, entry in zip(entries, found.row(row), strict=True)),
        )
    told.prove(
        f"symmetric-{paradigm.name}",
        f"{paradigm.title}: a Hessian in the metric",
        (C - 1) * rho * sp.Derivative(mu_dot, nu, evaluate=False),
        C * sp.Derivative(nu_dot, mu, evaluate=False),
        "Minus Df is the second derivative of the loss, raised by the metric.",
        ((C - 1) * rho * found[0, 1], C * found[1, 0]),
    )


def drift(told: Derivation, paradigm) -> None:
    """What finite steps do to the first integral, from its gradient along the corrected flow."""
    phi = derive_potential(paradigm).slope
    speed, turn = velocities(paradigm.expanded)
    first = [-rho * phi, 1 / (1 - alpha)]  # of K by mu and nu, 1 + e^nu/B = 1/(1 - alpha)

    def along(expr: sp.Expr) -> sp.Expr:
        return sp.diff(expr, mu) * speed + alpha * (1 - alpha) * sp.diff(expr, alpha) * turn

    change = -(first[0] * along(speed) + first[1] * along(turn)) / speed
    on_orbit = {alpha: omega / (1 + omega)}
    rate = rho * mu_dot * (rho * slope**2 * omega / (1 + omega) ** 2 - bend)
    spelt = {mu_dot: speed, slope: phi, bend: sp.diff(phi, mu)}
    told.prove(
        f"drift-{paradigm.name}",
        f"{paradigm.title}: drift of the first integral",
        dK_dmu,
        lag * rate,
        "To first order, per margin, on the orbit.",
        (rate.subs(spelt).subs(on_orbit), change.subs(on_orbit)),
        (derive_drift(paradigm), change.subs(on_orbit)),
        (1 + sp.exp(nu) / B, 1 / (1 - attention)),
    )


if __name__ == "__main__":
    main().finish()
