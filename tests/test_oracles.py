"""The oracles against each other: two methods, a closed form, the printed fields, Euler's order."""

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from oracles import textbook
from oracles.high_precision import PARADIGMS, taylor_trajectory, trajectory

# One setting for each paradigm, none at a symmetric point; general start and rate in two.
COMPARED = [
    ("soft", 4, 7, 100.0, 1.0, -0.5, 1.0),
    ("hard", 5, 3, 300.0, -4.5, 4.0, 1.0),
    ("lvml", 50, 10, 2e3, 0.25, 0.5, 2.5),
    ("power", 20, 20, 300.0, 0.0, 0.0, 0.3),
]


@pytest.mark.parametrize("case", COMPARED, ids=lambda c: c[0])
def test_quadrature_and_taylor_series_agree_to_25_digits(case):
    by_clock, by_series = trajectory(*case), taylor_trajectory(*case)
    with mp.workdps(40):
        for name, value in by_clock.items():
            assert abs(value / by_series[name] - 1) < mpf(10) ** -25, name


def test_more_digits_change_nothing_but_the_last():
    coarse, fine = (trajectory("hard", 30, 40, 1e5, digits=d) for d in (20, 40))
    with mp.workdps(60):
        for name, value in coarse.items():
            assert abs(value / fine[name] - 1) < mpf(10) ** -20, name


def test_the_power_mean_joins_hard_and_lvml():
    with mp.workdps(40):
        one, lvml = trajectory("power", 30, 40, 1e5, s=1), trajectory("lvml", 30, 40, 1e5)
        tiny, hard = (
            trajectory("power", 30, 40, 1e5, s=mpf(10) ** -12),
            trajectory("hard", 30, 40, 1e5),
        )
        for name in one:
            assert abs(one[name] / lvml[name] - 1) < mpf(10) ** -25
            assert abs(tiny[name] / hard[name] - 1) < mpf(10) ** -10  # first order in s


def potential(name, mu, C):
    """Phi as printed in the theory: for hard attention with the dilogarithm."""
    if name == "soft":
        return mpf(C - 1) / (2 * C) * mu**2
    if name == "lvml":
        rise, fall = mp.exp(mu) - 1 - mu, mp.exp(-mu) - 1 + mu
        return mpf(C - 1) / C**2 * (rise + (C - 1) * fall)
    E = mp.exp(mu) + C - 1
    odds = mpf(C - 1)
    total = E * (mu + mp.log(C) - mp.log(E))
    total += odds * (mu**2 / 2 - mu + mu * mp.log(C / odds))
    total += odds * (mp.polylog(2, -mp.exp(mu) / odds) - mp.polylog(2, -1 / odds))
    return total.real / C


@pytest.mark.parametrize("name", ["soft", "hard", "lvml"])
def test_the_printed_first_integral_is_constant_along_an_orbit(name):
    m, C = 9, 17
    with mp.workdps(45):

        def constant(mu, nu):
            return nu + mp.exp(nu) / (m - 1) - potential(name, mu, C)

        start = constant(mpf(-3), mpf(2))
        for t in (10.0, 1e7):
            point = trajectory(name, m, C, t, -3.0, 2.0)
            scale = abs(potential(name, point["mu"], C)) + 1
            assert abs(constant(point["mu"], point["nu"]) - start) < mpf(10) ** -25 * scale


@pytest.mark.parametrize("name", PARADIGMS)
def test_the_printed_fields_and_losses_hold_along_a_trajectory(name):
    m, C, t, h = 5, 3, mpf(30), mpf(10) ** -9
    with mp.workdps(50):
        before, now, after = (trajectory(name, m, C, t + d, 1.0, -2.0) for d in (-h, 0, h))
        extra = (mpf(1) / 2,) if name == "power" else ()
        rates = textbook.FIELDS[name](now["mu"], now["nu"], m, C, 1, *extra)
        for key, rate in zip(("mu", "nu"), rates, strict=True):
            # central difference: h^2 = 1e-18 beside t^2
            assert abs((after[key] - before[key]) / (2 * h) / rate - 1) < mpf(10) ** -17
        loss = textbook.LOSSES[name](now["mu"], now["nu"], m, C, *extra)
        assert abs(loss / now["loss"] - 1) < mpf(10) ** -24
        assert abs(textbook.alpha(now["nu"], m) / now["alpha"] - 1) < mpf(10) ** -24
        assert abs(textbook.beta(now["mu"], C) / now["beta"] - 1) < mpf(10) ** -24
        assert abs(now["alpha"] + now["complement"] - 1) < mpf(10) ** -24


@pytest.mark.parametrize("name", PARADIGMS)
def test_the_printed_fields_are_minus_the_gradient_in_the_metric(name):
    m, C, mu, nu = 6, 8, mpf("1.3"), mpf("-0.7")
    extra = (mpf(1) / 2,) if name == "power" else ()
    loss = textbook.LOSSES[name]
    with mp.workdps(40):
        rates = textbook.FIELDS[name](mu, nu, m, C, 1, *extra)
        by_mu = mpmath.diff(lambda v: loss(v, nu, m, C, *extra), mu)
        by_nu = mpmath.diff(lambda v: loss(mu, v, m, C, *extra), nu)
        assert abs(-by_mu / (C - 1) / rates[0] - 1) < mpf(10) ** -15
        assert abs(-by_nu / C / rates[1] - 1) < mpf(10) ** -15


@pytest.mark.parametrize("name", ["soft", "hard", "lvml"])
def test_the_papers_euler_steps_converge_with_order_one(name):
    exact = trajectory(name, 5, 6, 20.0, digits=16)
    errors = []
    for step in (0.1, 0.05, 0.025):
        _, mu, nu = textbook.euler(name, 5, 6, step, round(20 / step))
        errors.append((mu[-1] - float(exact["mu"]), nu[-1] - float(exact["nu"])))
    orders = np.log2(np.abs(np.divide(errors[:-1], errors[1:])))
    assert np.all(np.abs(orders - 1) < 0.02)


def test_the_oracle_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="'softer', allowed are soft, hard, lvml, power$"):
        trajectory("softer", 5, 3, 1.0)
    with pytest.raises(ValueError, match="m is 1 and C is 3, both must be at least 2"):
        trajectory("soft", 1, 3, 1.0)
