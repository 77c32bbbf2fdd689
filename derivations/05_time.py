"""Time.

The margin grows along every orbit, so it can serve as the clock: `dt/d mu = 1/mu'` on the orbit,
and time is one quadrature. No further reduction of these quadratures was found. For soft attention
there is one more exact relation, for what the classifier sees, `y = alpha mu`.
"""

import sympy as sp
from _common import Derivation, positive, velocities

from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.orbit import derive_solution
from attnflow.symbols import K0, C, alpha, attention, dt_dmu, mu, mu0, nu, nu0, omega, rho, t, tau


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(5, "Time", __doc__)
    for paradigm in (SOFT, HARD, LVML, power_mean("1/2")):
        solution = derive_solution(paradigm)
        speed, _ = velocities(paradigm.expanded)
        focus = omega / (1 + omega)
        told.prove(
            f"pace-{paradigm.name}",
            f"{paradigm.title}: pace",
            dt_dmu,
            solution.pace_in_omega,
            "The inverse of `mu'`, with `alpha = omega/(1 + omega)`.",
            (solution.pace_in_omega * speed.subs(alpha, focus), sp.S.One),
        )
        told.prove(
            f"time-{paradigm.name}",
            f"{paradigm.title}: time",
            t,
            solution.time,
            "The integral of the pace from the start; its derivative is the pace written out, and "
            "the pace times `mu'` on the orbit is 1.",
            (sp.diff(solution.time, mu), solution.pace),
            (solution.pace * speed.subs(alpha, solution.alpha), sp.S.One),
            (solution.time.subs(mu, mu0).doit(), sp.S.Zero),
            # a number: the pace of the orbit through a start is 1/mu' there
            (
                solution.pace.subs(mu, mu0).subs(K0, solution.constant),
                1 / speed.subs(alpha, attention).subs({mu: mu0, nu: nu0}),
            ),
        )
    grown = sp.Symbol("E", positive=True)
    for paradigm in (SOFT, HARD, LVML):
        speed, _ = velocities(paradigm.expanded)
        inside = (1 / speed).subs(sp.exp(alpha * mu), grown).subs(sp.exp(mu), grown)
        inside = sp.factor(sp.simplify(inside.subs(alpha, omega / (1 + omega))))
        assert positive(inside, C=2), f"mu' of {paradigm.name} is not shown to be positive"
    told.say(
        """The pace is a quotient of sums of positive terms for `C` of at least 2, so that `mu`
        grows under each of the three paradigms from every start, and time is a function of the
        margin."""
    )
    y = alpha * mu
    speed, turn = velocities(SOFT.expanded)
    seen = sp.exp(y) + (C - 1) * y
    rate = tau * alpha**2 * (1 + rho * (1 - alpha) ** 2 * (C - 1) * mu**2 / C)
    told.prove(
        "soft-identity",
        "Soft attention: what the classifier sees",
        sp.Derivative(sp.exp(alpha * mu) + (C - 1) * alpha * mu, t, evaluate=False),
        rate,
        "Exact along the flow. With the focus held the second term is absent.",
        (
            sp.diff(seen, mu) * speed + sp.diff(seen, alpha) * alpha * (1 - alpha) * turn,
            rate,
        ),
    )
    return told


if __name__ == "__main__":
    main().finish()
