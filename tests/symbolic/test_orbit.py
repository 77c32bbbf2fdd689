"""The orbit in closed form solves first integral and flow, from any start."""

import mpmath
import pytest
import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.functions import wright_omega
from attnflow.symbolic.algebra.normal_form import vanishes
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.orbit import derive_potential, derive_solution
from attnflow.symbols import K0, B, C, alpha, attention, mu, mu0, nu, nu0, omega, rho, tau
from oracles.zoo import MIXTURE, SEPARABLE

SOLVED = SEPARABLE[:7]


@pytest.mark.parametrize("paradigm", SOLVED, ids=str)
def test_orbit_solves_the_first_integral(paradigm):
    solution, potential = derive_solution(paradigm), derive_potential(paradigm)
    residual = nu + sp.exp(nu) / B - rho * potential.value - K0
    assert vanishes(residual.subs(nu, solution.nu))
    assert vanishes(attention.subs(nu, solution.nu) - solution.alpha)


@pytest.mark.parametrize("paradigm", SOLVED, ids=str)
def test_orbit_has_the_direction_of_the_flow(paradigm):
    solution, flow = derive_solution(paradigm), derive_flow(paradigm)
    direction = sp.diff(solution.nu, mu)
    there = {alpha: omega / (1 + omega)}
    weight = wright_omega(solution.argument)
    assert vanishes(direction.subs(weight, omega) - (flow.nu_dot / flow.mu_dot).subs(there))


@pytest.mark.parametrize("paradigm", SOLVED, ids=str)
def test_pace_is_the_inverse_of_the_velocity(paradigm):
    solution, flow = derive_solution(paradigm), derive_flow(paradigm)
    assert vanishes(solution.pace_in_omega * flow.mu_dot.subs(alpha, omega / (1 + omega)) - 1)
    assert solution.pace == solution.pace_in_omega.subs(omega, wright_omega(solution.argument))


@pytest.mark.parametrize("paradigm", SOLVED, ids=str)
def test_orbit_passes_through_any_start(paradigm):
    solution = derive_solution(paradigm)
    start = {mu0: sp.Rational(3, 2), nu0: sp.Rational(-7, 5), B: 9, C: 4, rho: sp.Rational(5, 3)}
    constant = solution.constant.subs(start)
    value = sp.N(solution.nu.subs(mu, start[mu0]).subs(start).subs(K0, constant), 30)
    assert abs(value - start[nu0]) < sp.Float("1e-27")


def test_time_is_one_integral_over_the_margin_whose_derivative_is_the_pace():
    for paradigm in SOLVED[:3]:
        solution = derive_solution(paradigm)
        assert isinstance(solution.time, sp.Integral)
        assert len(solution.time.limits) == 1
        assert vanishes(sp.diff(solution.time, mu) - solution.pace)
        assert solution.time.limits[0][1] == mu0


def test_time_has_the_known_value():
    # soft, m = 3, C = 10 from zero: t = 100 at this margin (25 digits from two other methods)
    setting = {B: 2, C: 10, rho: 1, tau: 1}
    solution = derive_solution(SEPARABLE[0])
    constant = solution.constant.subs({mu0: 0, nu0: 0})
    pace = solution.pace.subs(K0, constant).subs(setting)
    with mpmath.workdps(30):
        function = sp.lambdify(mu, pace, modules=[{"wright_omega": _omega}, "mpmath"])
        time = mpmath.quad(function, [0, 1, 2, 3, mpmath.mpf("3.837190195614696817110204")])
        assert abs(time - 100) < mpmath.mpf("1e-21")


def _omega(argument):
    return mpmath.lambertw(mpmath.exp(argument))


def test_omega_solves_its_equation_to_fifty_digits():
    for point in (-700, -30, -1, 0, 1, 5, 99, 101, 10**6):
        value = sp.N(wright_omega(sp.Integer(point)), 60)
        assert abs(sp.log(value) + value - point) < sp.Float(10) ** -50 * max(1, abs(point))


def test_no_closed_orbit_without_a_first_integral():
    with pytest.raises(NoFirstIntegral, match="no first integral"):
        derive_solution(MIXTURE)
