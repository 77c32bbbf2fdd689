"""The first integral: found where it exists, constant along the flow, else refused."""

import math

import pytest
import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.float_form import textbook
from attnflow.symbolic.algebra.normal_form import agree, vanishes
from attnflow.symbolic.catalogue import power_mean
from attnflow.symbolic.first_integral import CONSERVED, MOTION, derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.orbit import derive_potential
from attnflow.symbols import B, C, Phi, alpha, attention, delta, mu, nu, nu0, odds, rho
from oracles.zoo import HARD, INSEPARABLE, LVML, SEPARABLE, SOFT


@pytest.mark.parametrize("paradigm", SEPARABLE, ids=str)
def test_first_integral_is_constant_along_the_flow(paradigm):
    flow, found = derive_flow(paradigm), derive_first_integral(paradigm)
    assert found.conserved == nu + sp.exp(nu) / B - rho * Phi
    drift = sp.diff(found.conserved, nu) * flow.nu_dot
    drift += sp.diff(found.conserved, Phi) * textbook(found.slope) * flow.mu_dot
    assert vanishes(drift.subs(alpha, attention)), "not proved"


def test_the_motion_is_the_change_of_what_is_conserved():
    apart = CONSERVED.subs(nu, nu0 + delta) - CONSERVED.subs(nu, nu0)
    assert vanishes(MOTION.subs(odds, sp.exp(nu0) / B) - apart)
    # kept to all digits where the difference of the two is rounding alone
    assert sp.lambdify((delta, odds), MOTION, [{"expm1": math.expm1}])(1e-20, 1.0) == 2e-20


@pytest.mark.parametrize("paradigm", SEPARABLE, ids=str)
def test_potential_vanishes_at_zero_and_has_the_slope(paradigm):
    potential = derive_potential(paradigm)
    if potential.closed:
        assert vanishes(potential.at(sp.S.Zero))
    else:
        assert potential.value.limits[0][1:] == (0, mu)
    assert vanishes(sp.diff(potential.value, mu) - potential.slope)


def test_potentials_are_those_that_are_known():
    phi2 = sp.exp(mu) - 1 - mu
    known = (C - 1) / C**2 * (phi2 + (C - 1) * phi2.subs(mu, -mu))
    assert vanishes(derive_potential(SOFT).value - (C - 1) * mu**2 / (2 * C))
    assert vanishes(derive_potential(LVML).value - known)
    E = sp.exp(mu) + C - 1
    dilogarithm = sp.polylog(2, -sp.exp(mu) / (C - 1))
    written = E * (mu + sp.log(C) - sp.log(E)) + (C - 1) * (
        mu**2 / 2 - mu + mu * sp.log(C / (C - 1)) + dilogarithm
    )
    assert agree(derive_potential(HARD).value, (written - written.subs(mu, 0)) / C)


@pytest.mark.parametrize(
    ("one", "other"),
    [("focal", "soft"), ("exponential", "soft"), ("zero-one", "lvml"), ("brier", "lvml")],
)
def test_outer_function_does_not_change_the_orbit(one, other):
    by_name = {p.name: p for p in SEPARABLE}
    pair = [derive_first_integral(by_name[name]).ratio for name in (one, other)]
    assert vanishes(pair[0] - pair[1])


def test_power_means_join_hard_and_lvml():
    assert vanishes(derive_first_integral(power_mean(1)).ratio - derive_first_integral(LVML).ratio)
    near = derive_first_integral(power_mean("1/1000")).ratio
    values = {mu: 2, C: 5}
    gap = sp.N((near - derive_first_integral(HARD).ratio).subs(values), 30)
    assert 0 < abs(gap) < sp.Float("1e-2")  # of first order in the exponent


@pytest.mark.parametrize("paradigm", INSEPARABLE, ids=str)
def test_a_loss_that_does_not_separate_is_refused_with_a_way_out(paradigm):
    with pytest.raises(NoFirstIntegral, match=f"'{paradigm.name}' has no first integral.*simulate"):
        derive_first_integral(paradigm)
    flow = derive_flow(paradigm)
    assert not vanishes(sp.diff(alpha * flow.loss_alpha / flow.loss_mu, alpha))


@pytest.mark.parametrize("paradigm", SEPARABLE[:4], ids=str)
def test_separation_is_proved_not_only_sampled(paradigm):
    flow = derive_flow(paradigm)
    assert vanishes(sp.diff(alpha * flow.loss_alpha / flow.loss_mu, alpha))
