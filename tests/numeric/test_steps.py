"""Steps of finite size and momentum: the corrected flow follows descent to second order."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad

from attnflow.errors import SettingError
from attnflow.numeric.closed_form import solve
from attnflow.numeric.descend import descend
from attnflow.numeric.lower import lower
from attnflow.numeric.simulate import simulate
from attnflow.numeric.steps import coefficients
from attnflow.numeric.trajectory import reduce_setting
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import paradigm as find_paradigm
from attnflow.symbolic.derivation.descent_steps import slow_response
from attnflow.symbolic.finite_steps import derive_drift, derive_step_correction
from attnflow.symbols import C, eta, mu, omega, p, rho, tau
from oracles import textbook

SMALL = Setting(4, 3)
GENERAL = Setting(6, 4, 2, 1.5, 0.7, "shared", 2.0, 0.5)
KINDS = [(0.0, False), (0.5, False), (0.5, True), (0.8, False)]
KIND = pytest.mark.parametrize(
    ("momentum", "nesterov"), KINDS, ids=["plain", "half", "nesterov", "heavy"]
)


def generated(count):
    """Settings and starts drawn at random, as one batch, with B, C, rho and tau."""
    rng = np.random.default_rng(7)
    m, k = rng.integers(3, 12, count), rng.integers(1, 3, count)
    norms = rng.uniform(0.6, 1.4, (2, count))
    rates = rng.uniform(0.5, 1.5, (2, count))
    setting = Setting(m, rng.integers(2, 9, count), k, norms[0], norms[1], "distinct", *rates)
    start = rng.uniform(-1.0, 1.5, (2, count))
    with jax.enable_x64(True):
        numbers = jax.tree.map(np.asarray, reduce_setting(setting))
    return setting, start, numbers


def recursion(name, numbers, start, rate, momentum, nesterov, count):
    """The steps themselves in the plane, from the paper's fields: states (count + 1, 2, batch)."""
    x, memory, states = np.array(start), 0.0, [np.array(start)]
    for _ in range(count):
        fields = textbook.FIELDS[name](*x, numbers.ratio + 1, numbers.classes, numbers.focus)
        force = np.stack(fields) * numbers.speed
        memory = momentum * memory + force
        x = x + rate * (force + momentum * memory if nesterov else memory)
        states.append(x)
    return np.stack(states)


@KIND
def test_descent_takes_the_steps_of_the_recursion(momentum, nesterov):
    with jax.enable_x64(True):
        numbers = jax.tree.map(np.asarray, reduce_setting(GENERAL))
    rate, start = 0.2 * (1 - momentum), (0.8, -0.4)
    found = descend(
        "lvml", GENERAL, 0.2 * np.arange(31), start,
        learning_rate=rate, momentum=momentum, nesterov=nesterov,
    )  # fmt: skip
    steps = recursion("lvml", numbers, start, rate, momentum, nesterov, 30)
    np.testing.assert_allclose([found.mu, found.nu], steps.T, rtol=1e-12)
    assert np.max(found.distance) < 1e-12


def spread(names, kinds):
    """All pairs, but outside the slow suite each name and each kind only about once."""
    return [
        pytest.param(name, *kind, marks=[] if i % len(names) == j else pytest.mark.slow)
        for i, kind in enumerate(kinds)
        for j, name in enumerate(names)
    ]


@pytest.mark.parametrize(("name", "momentum", "nesterov"), spread(["soft", "hard", "lvml"], KINDS))
def test_the_corrected_flow_follows_every_step_to_second_order(name, momentum, nesterov):
    """From generated settings and starts; the flow itself follows to first order."""
    setting, start, numbers = generated(6)
    errors = {True: [], False: []}
    widths = [0.4, 0.2, 0.1]
    for width in widths:
        rate, count = width * (1 - momentum), round(8 / width)
        steps = recursion(name, numbers, start, rate, momentum, nesterov, count)
        for corrected in (True, False):
            how = {"learning_rate": rate, "momentum": momentum, "nesterov": nesterov}
            found = simulate(
                name, setting, np.linspace(0, 8, 81), tuple(start), **how if corrected else {}
            )
            at = np.stack([found.mu, found.nu])[..., :: round(80 / count)]
            errors[corrected].append(np.abs(at - np.moveaxis(steps, 0, -1)).max((0, 2)))
    orders = {key: np.log2(np.array(e[:-1]) / np.array(e[1:])) for key, e in errors.items()}
    # the slow motion's next terms bend an order by about the width over the time of the motion,
    # and that of the heaviest momentum has ten widths of memory
    assert np.all(orders[True][-1] > 1.6)
    assert np.all(orders[True][-1] > orders[True][0] - 0.35)
    assert np.median(orders[True][-1]) == pytest.approx(2.0, abs=0.3)
    assert np.all(orders[False][-1] < 1.3)
    assert np.all(errors[True][-1] < 0.3 * errors[False][-1])


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_switch_keeps_the_second_order(momentum):
    schedule, times, errors = Schedule([("lvml", 10.0), ("hard", None)]), np.arange(31.0), []
    for width in (0.5, 0.25):
        how = {"learning_rate": width * (1 - momentum), "momentum": momentum}
        steps = descend(schedule, SMALL, times, (0.3, 0.2), **how)
        found = simulate(schedule, SMALL, times, (0.3, 0.2), **how)
        errors.append(np.max(np.abs([found.mu - steps.mu, found.nu - steps.nu])))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("freeze", ["focus", "classifier"])
def test_a_held_part_stays_where_it_is(freeze):
    how = {"learning_rate": 0.1, "momentum": 0.5}
    steps = descend("hard", SMALL, np.arange(9.0), (0.3, 0.2), freeze, **how)
    found = simulate("hard", SMALL, np.arange(9.0), (0.3, 0.2), freeze, **how)
    np.testing.assert_allclose(found.mu, steps.mu, atol=1e-4)
    np.testing.assert_allclose(found.nu, steps.nu, atol=1e-4)
    held, value = (found.nu, 0.2) if freeze == "focus" else (found.mu, 0.3)
    np.testing.assert_array_equal(held, value)


def test_small_steps_are_the_flow_and_the_rate_may_be_traced():
    flow = simulate("soft", SMALL, [5.0, 50.0], (0.3, 0.2))
    with jax.enable_x64(True):
        tiny = jax.jit(lambda r: simulate("soft", SMALL, [5.0, 50.0], (0.3, 0.2), learning_rate=r))(
            1e-9
        )
    np.testing.assert_allclose(tiny.nu, flow.nu, rtol=1e-8)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_numbers_of_the_correction_have_their_limits_without_momentum(nesterov):
    """They are continuous there, so that a little momentum changes little."""
    with jax.enable_x64(True):
        plain = np.array(coefficients(0.3, 0.0, nesterov))
        slight = np.array([float(v) for v in coefficients(0.3, 1e-12, nesterov)])
    np.testing.assert_allclose(slight, plain, atol=0.02)  # eta/log(1/p) falls slowly
    correction = derive_step_correction(nesterov)
    numbers = {eta: 0.3, p: 0.6}
    assert float(slow_response(nesterov).subs(numbers)) == pytest.approx(
        float(correction.lag.subs(numbers)), rel=1e-12
    )


@pytest.mark.parametrize(
    ("name", "momentum", "nesterov"), spread(["lvml", "hard", "soft"], [(0.5, True), (0.0, False)])
)
def test_the_first_integral_drifts_as_the_quadrature_says(name, momentum, nesterov):
    """First order: at half the rate the relative error is half as large."""
    rate = lower(derive_drift(find_paradigm(name)), (mu, omega, C, rho, tau))
    start, end, off = (0.4, 0.3), 30.0, []
    orbit = solve(name, SMALL, np.linspace(0, end, 2001), start)
    weights = orbit.alpha / orbit.complement
    integral, _ = quad(
        lambda at: float(rate(at, np.interp(at, orbit.mu, weights), 3.0, 1.0, 1.0)),
        orbit.mu[0], orbit.mu[-1], limit=200, epsrel=1e-6,
    )  # fmt: skip
    for width in (0.2, 0.1):
        how = {"learning_rate": width * (1 - momentum), "momentum": momentum, "nesterov": nesterov}
        steps = descend(name, SMALL, [0.0, end], start, **how)
        lag = float(
            derive_step_correction(nesterov).lag.subs({eta: how["learning_rate"], p: momentum})
        )
        drift = steps.first_integral[1] - steps.first_integral[0]
        off.append(abs(drift / (lag * integral) - 1))
    assert off[0] < 0.1
    assert off[1] == pytest.approx(off[0] / 2, rel=0.15)


@pytest.mark.parametrize(
    ("function", "change", "message"),
    [
        (simulate, {"learning_rate": 0.0}, "learning_rate must be a finite number above 0"),
        (simulate, {"momentum": 0.9}, "momentum needs a learning_rate .* got momentum = 0.9"),
        (simulate, {"learning_rate": 1.0, "momentum": 1.0}, "momentum must be from 0 to below 1"),
        (simulate, {"learning_rate": 1.0, "nesterov": 2}, "nesterov must be True or False, got 2"),
        (descend, {"momentum": -0.1}, "momentum must be from 0 to below 1, got -0.1"),
        (descend, {"optimizer": "adma"}, "unknown optimizer 'adma'; did you mean 'adam'"),
        (descend, {"optimizer": "adam", "momentum": 0.9}, "adam has memories of its own"),
    ],
)
def test_what_no_descent_can_have_is_refused(function, change, message):
    with pytest.raises(SettingError, match=message):
        function("soft", SMALL, [1.0], **change)
