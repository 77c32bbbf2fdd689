"""The onset among many segments.

Started at zero among many segments, the focus stays small for long: the classifier must learn
first, from inputs that hold little of the true segment. Then the focus awakes within a short time.
When it does can be said for each paradigm, to leading order in the number `B` of background
segments to a foreground segment.

While `alpha` is small the velocity of the margin is proportional to it, `alpha dt/d mu = G(mu)`,
and by the first integral `alpha = e^(rho Phi)/B`. So the time spent there is `B` times an integral
that does not hold `B`, and what follows, at a margin where `rho Phi = log B`, is short beside it.
"""

import mpmath
import sympy as sp
from _common import Derivation, velocities

from attnflow.symbolic.algebra.float_form import factored
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.onset import onset
from attnflow.symbolic.orbit import derive_potential
from attnflow.symbols import B, C, Phi, alpha, dt_dmu, mu, rho, t, tau

DIGITS = 65


def main() -> Derivation:
    """The steps of this derivation, all checked."""
    told = Derivation(14, "The onset among many segments", __doc__)
    for paradigm in (SOFT, HARD, LVML, power_mean("1/2")):
        law(told, paradigm)
    two_classes(told)
    for paradigm in (SOFT, LVML):  # both potentials are elementary
        witness(told, paradigm)
    return told


def integral(integrand: sp.Expr) -> sp.Float:
    """The integral over mu from 0 to infinity, in numbers."""
    with mpmath.workdps(DIGITS + 10):
        function = sp.lambdify(mu, integrand, "mpmath")
        value = mpmath.quad(function, [0, 1, 2, 4, 8, 16, 32, 64])
        return sp.Float(mpmath.nstr(value, DIGITS), DIGITS)


def law(told: Derivation, paradigm) -> None:
    """Pace, integral, and the number for many classes."""
    found = onset(paradigm)
    assert found is not None, f"{paradigm} has a law"
    speed, turn = velocities(paradigm.expanded)
    slope = factored(turn / speed / (1 - alpha) / rho)
    told.prove(
        f"pace-{paradigm.name}",
        f"{paradigm.title}: pace at a small focus",
        sp.Limit(alpha * dt_dmu, alpha, 0),
        found.growth,
        "`L_mu` vanishes with `alpha`; this is the inverse of its slope there.",
        (found.growth * sp.diff(speed, alpha).subs(alpha, 0), sp.S.One),
    )
    closed = found.primitive is not None
    point = {C: sp.Rational(9, 2), rho: sp.Rational(5, 4), tau: sp.Rational(3, 2)}
    potential = derive_potential(paradigm)
    whole = found.growth * sp.exp(-rho * (potential.value if closed else Phi))
    told.prove(
        f"onset-{paradigm.name}",
        f"{paradigm.title}: onset among many segments",
        sp.Limit(t / B, B, sp.oo),
        found.value if closed else sp.Integral(whole, (mu, 0, sp.oo)),
        "The time to any focus weight short of 1."
        if closed
        else "The time to any focus weight short of 1; no closed form was found.",
        (sp.diff(potential.value, mu), slope),
        *([(found.value.subs(point), integral(whole.subs(point)))] if closed else []),
    )
    pace, rise = (sp.limit(e, C, sp.oo) for e in (found.growth.subs(tau, 1) / C, slope))
    exponent = sp.integrate(rise, (mu, 0, mu))
    told.prove(
        f"many-classes-{paradigm.name}",
        f"{paradigm.title}: and many classes",
        sp.Limit(t / (B * C), C, sp.oo),
        found.many_classes,
        "For `rho = tau = 1`: at a bounded margin `G/C` and `Phi` have limits, and the integral of "
        "the limits is a number.",
        (found.many_classes, integral(pace * sp.exp(-exponent))),
        (sp.diff(found.many_primitive, mu), pace * sp.exp(-exponent)),
    )


def two_classes(told: Derivation) -> None:
    """LVML with two classes: modified Bessel functions."""
    found, potential = onset(LVML), derive_potential(LVML).value
    assert found is not None
    pace, rise = (e.subs({C: 2, tau: 1}) for e in (found.growth, potential))
    half = sp.Rational(1, 2)
    told.prove(
        "two-classes",
        "LVML with two classes",
        sp.Limit(t / B, B, sp.oo),
        sp.exp(half) * (sp.besselk(0, half) + sp.besselk(1, half)),
        "For `C = 2` and `rho = tau = 1` pace and potential are hyperbolic cosines, `1 + cosh mu` "
        "and `(cosh mu - 1)/2`, whose integral is one of modified Bessel functions.",
        (pace, (1 + sp.cosh(mu)).rewrite(sp.exp)),
        (rise, ((sp.cosh(mu) - 1) / 2).rewrite(sp.exp)),
        (
            sp.N(sp.exp(half) * (sp.besselk(0, half) + sp.besselk(1, half)), DIGITS),
            integral(pace * sp.exp(-rise)),
        ),
    )


def witness(told: Derivation, paradigm) -> None:
    """The law in numbers: the exact time to one half, for more and more segments."""
    found, classes = onset(paradigm), 3
    assert found is not None
    point = {C: classes, rho: 1, tau: 1}
    whole = found.growth * sp.exp(-rho * derive_potential(paradigm).value)
    limit = mpmath.mpf(str(integral(whole.subs(point))))
    with mpmath.workdps(25):
        rise = sp.lambdify(mu, derive_potential(paradigm).value.subs(point), "mpmath")
        pace = sp.lambdify(
            (alpha, mu), (1 / velocities(paradigm.expanded)[0]).subs(point), "mpmath"
        )
        gaps = []
        for ratio in (mpmath.mpf(10) ** 4, mpmath.mpf(10) ** 6):

            def along(margin, ratio=ratio):
                z = 1 / ratio + rise(margin) - mpmath.log(ratio)
                weight = mpmath.lambertw(mpmath.exp(z)).real
                return pace(weight / (1 + weight), margin)

            at_half = mpmath.log(ratio) + 1 - 1 / ratio  # Phi where z = 1
            end = mpmath.findroot(lambda m, goal=at_half: rise(m) - goal, 3)
            time = mpmath.quad(along, mpmath.linspace(0, end, 24))
            gaps.append(abs(time / ratio / limit - 1))
    assert gaps[1] < gaps[0] / 50, f"the law of {paradigm} is not approached: {gaps}"
    assert gaps[1] < 1e-4, f"the law of {paradigm} is off by {gaps[1]}"
    told.say(
        f"""In numbers, {paradigm.title} with `C = {classes}`: the time to one half, by quadrature
        along the orbit, over `B` differs from the law by {mpmath.nstr(gaps[0], 1)} of it for
        `B` = 10000 and by {mpmath.nstr(gaps[1], 1)} for `B` = 1000000."""
    )


if __name__ == "__main__":
    main().finish()
