"""Derivatives of ``solve``, forward, reverse and second, against differences of 40-digit values."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from mpmath import mpf

from attnflow import Schedule, Setting, solve
from oracles import high_precision
from tolerances import DERIVATIVE, SECOND_DERIVATIVE

POINT = (300.0, 20.0, 10.0, 0.4, -0.7, 1.5)  # t, m, C, mu0, nu0, focus rate
DIGITS = 40


def state(paradigm, numbers):
    """(mu, nu) as a function of everything continuous; m and C are, in a derivative."""
    t, m, classes, mu0, nu0, rate = numbers
    found = solve(paradigm, Setting(m, classes, focus_rate=rate), t, (mu0, nu0))
    return jnp.stack([found.mu, found.nu])


@lru_cache
def exact(name, *numbers):
    t, m, classes, mu0, nu0, rate = numbers
    point = high_precision.trajectory(name, m, classes, t, mu0, nu0, rate, digits=DIGITS)
    return point["mu"], point["nu"]


def differences(function, point):
    """Central differences in each number: step 1e-10, error 1e-20 and 40 - 10 digits."""
    slopes = []
    for i, value in enumerate(point):
        with mpmath.workdps(60):
            h = mpf(10) ** -10 * max(abs(mpf(value)), 1)
            ends = [function(*(*point[:i], mpf(value) + d, *point[i + 1 :])) for d in (h, -h)]
            slopes.append([float((up - down) / (2 * h)) for up, down in zip(*ends, strict=True)])
    return np.transpose(slopes)


@pytest.mark.parametrize(
    "name", ["soft", *(pytest.param(n, marks=pytest.mark.slow) for n in ("hard", "lvml"))]
)
def test_forward_derivatives_in_time_setting_start_and_rate(name):
    with jax.enable_x64(True):
        found = jax.jit(jax.jacfwd(partial(state, name)))(jnp.array(POINT))
    wanted = differences(partial(exact, name), POINT)
    np.testing.assert_allclose(found, wanted, rtol=DERIVATIVE)


def test_reverse_derivatives_are_the_forward_ones_and_batch():
    with jax.enable_x64(True):
        points = jnp.array([POINT, (5.0, 3.0, 4.0, 0.0, 0.0, 1.0)])
        backward = jax.jit(jax.vmap(jax.grad(lambda p: state("soft", p)[1])))(points)
    for slopes, point in zip(backward, np.asarray(points).tolist(), strict=True):
        wanted = differences(partial(exact, "soft"), tuple(point))[1]
        np.testing.assert_allclose(slopes, wanted, rtol=DERIVATIVE)


@pytest.mark.slow
def test_second_derivatives():
    with jax.enable_x64(True):
        hessian = jax.jit(jax.hessian(lambda p: state("soft", p)[0]))(jnp.array(POINT))
    np.testing.assert_allclose(hessian, hessian.T, rtol=SECOND_DERIVATIVE)
    for i in range(len(POINT)):
        with mpmath.workdps(60):
            h = mpf(10) ** -8 * max(abs(mpf(POINT[i])), 1)
            up, middle, down = (
                exact("soft", *(*POINT[:i], mpf(POINT[i]) + d, *POINT[i + 1 :]))[0]
                for d in (h, 0, -h)
            )
            wanted = float((up - 2 * middle + down) / h**2)
        assert hessian[i, i] == pytest.approx(wanted, rel=SECOND_DERIVATIVE)


@pytest.mark.slow
def test_the_derivative_in_a_switch_time():
    times = (80.0, 400.0)
    setting = Setting(20, 10)

    def after(switch):
        found = solve(Schedule([("soft", switch), ("hard", None)]), setting, jnp.array(times))
        return jnp.stack([found.mu, found.nu])

    def oracle(switch):
        start = exact("soft", switch, 20, 10, 0, 0, 1)
        return exact("hard", times[1] - switch, 20, 10, *start, 1)

    with jax.enable_x64(True):
        slope = jax.jit(jax.jacfwd(after))(100.0)
    assert np.all(np.asarray(slope[:, 0]) == 0), "before the switch it does not matter"
    np.testing.assert_allclose(slope[:, 1], differences(oracle, (100.0,))[:, 0], rtol=DERIVATIVE)


def test_derivatives_of_what_follows_from_the_state():
    with jax.enable_x64(True):

        def loss(t):
            found = solve("soft", Setting(20, 10), t)
            return found.loss

        slope = jax.jit(jax.grad(loss))(300.0)
    with mpmath.workdps(40):
        h = mpf(10) ** -10
        ends = [
            high_precision.trajectory("soft", 20, 10, 300 + d, digits=30)["loss"] for d in (h, -h)
        ]
        wanted = float((ends[0] - ends[1]) / (2 * h))
    # jax.grad of the lowered loss: a quotient of exponentials, differentiated by rules
    assert slope == pytest.approx(wanted, rel=DERIVATIVE)
