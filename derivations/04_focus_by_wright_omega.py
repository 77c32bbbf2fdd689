"""The focus on the orbit, by the Wright omega function.

The first integral is one equation between `nu` and `mu`. With `x = nu - log B`, the logit of the
focus weight, it reads `x + e^x = z`, where `z` grows with the potential. The Wright omega function
is defined by just this: `omega + log omega = z`. So `x = log omega(z)`, and the focus is a function
of the margin.
"""

import sympy as sp
from _common import Derivation, velocities

from attnflow.symbolic.algebra.functions import wright_omega
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.orbit import derive_potential, derive_solution
from attnflow.symbols import K0, B, Phi, alpha, attention, mu, mu0, nu, nu0, omega, rho, x, z


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(4, "The focus on the orbit", __doc__)
    w = wright_omega(z)
    told.prove(
        "omega",
        "Wright omega function",
        z,
        omega + sp.log(omega),
        "One positive `omega` for every real `z`, since the right side grows from minus to plus "
        "infinity. The function that is computed satisfies it.",
        (w + sp.log(w), z),
        *((wright_omega(sp.Rational(e)) + sp.log(wright_omega(sp.Rational(e))), sp.Rational(e))
          for e in ("-20", "-1", "1/3", "50")),
    )  # fmt: skip
    told.prove(
        "omega-slope",
        "Its derivative",
        sp.Derivative(omega, z, evaluate=False),
        omega / (1 + omega),
        "By differentiating the definition.",
        (1 / sp.diff(omega + sp.log(omega), omega), omega / (1 + omega)),
        (sp.diff(w, z), w / (1 + w)),
    )
    told.prove(
        "logit",
        "The logit of the focus weight",
        x,
        nu - sp.log(B),
        "`x` moves as fast as `nu`, and `e^x` is the ratio of focus to inattention.",
        (sp.log(attention / (1 - attention)), nu - sp.log(B)),
    )
    told.prove(
        "argument",
        "The first integral in `x`",
        x + sp.exp(x),
        K0 + rho * Phi - sp.log(B),
        "The conserved quantity with `nu = x + log B`. The right side is the argument `z`.",
        (
            (nu + sp.exp(nu) / B - rho * Phi).subs(nu, x + sp.log(B)) - K0,
            x + sp.exp(x) - (K0 + rho * Phi - sp.log(B)),
        ),
    )
    told.define("z", "Argument on the orbit", z, K0 + rho * Phi - sp.log(B), "Free of `nu`.")
    told.prove(
        "nu",
        "Focus score on the orbit",
        nu,
        sp.log(w) + sp.log(B),
        "`x = log omega(z)`.",
        ((x + sp.exp(x)).subs(x, sp.log(w)), z),
    )
    told.prove(
        "alpha",
        "Focus weight on the orbit",
        alpha,
        w / (1 + w),
        "The focus weight is the derivative of the Wright omega function at `z`.",
        (attention.subs(nu, sp.log(w) + sp.log(B)), w / (1 + w)),
        (sp.diff(w, z), w / (1 + w)),
    )
    for paradigm in (SOFT, HARD, LVML, power_mean("1/2")):
        each(told, paradigm)
    return told


def each(told: Derivation, paradigm) -> None:
    """The core's closed forms, put into the equation of motion."""
    solution, potential = derive_solution(paradigm), derive_potential(paradigm)
    speed, turn = velocities(paradigm.expanded)
    on_orbit = {alpha: solution.alpha}
    conserved = solution.nu + sp.exp(solution.nu) / B - rho * potential.value
    told.prove(
        f"orbit-{paradigm.name}",
        f"{paradigm.title}: argument on the orbit",
        z,
        solution.argument,
        "Put into the flow: `d nu/d mu` times `mu'` is `nu'`, the focus weight is the softmax of "
        "`nu`, and the conserved quantity is the constant.",
        (sp.diff(solution.nu, mu), (turn / speed).subs(on_orbit)),
        (attention.subs(nu, solution.nu), solution.alpha),
        (conserved, K0),
        (solution.argument, K0 + rho * potential.value - sp.log(B)),
        (solution.nu, sp.log(wright_omega(solution.argument)) + sp.log(B)),
    )
    told.prove(
        f"constant-{paradigm.name}",
        f"{paradigm.title}: constant",
        K0,
        solution.constant,
        "The orbit passes through the start `(mu_0, nu_0)`.",
        (solution.constant, nu0 + sp.exp(nu0) / B - rho * potential.value.subs(mu, mu0)),
        (solution.nu.subs(mu, mu0).subs(K0, solution.constant), nu0),
    )


if __name__ == "__main__":
    main().finish()
