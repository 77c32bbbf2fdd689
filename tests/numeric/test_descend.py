"""Descent on the full matrices: a witness that knows neither the flow nor the symmetric ansatz."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

from attnflow.errors import IntegrationFailed, SettingError
from attnflow.numeric.descend import _ansatz, _inputs, descend, population_loss
from attnflow.numeric.simulate import simulate
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import HARD, SOFT
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import alpha, mu
from oracles import textbook

GENERAL = [
    Setting(6, 4, 2, 1.5, 0.7, "shared", 2.0, 0.5),
    Setting(6, 4, 2, 1.5, 0.7, "distinct", 0.5, 1.5),
]
MIXTURE = Paradigm("mixture", (SOFT.loss + HARD.loss) / 2)


def numpy_loss(name, W, w, inputs, k):
    """The paper's losses written out with loops, one input of each class."""
    total = 0.0
    for y, segments in enumerate(inputs):
        scores = segments @ w
        a = np.exp(scores) / np.sum(np.exp(scores))
        if name == "soft":
            segments, a = (a @ segments)[None], np.ones(1)
        exponentials = np.exp(segments @ W.T)
        p = exponentials[:, y] / exponentials.sum(axis=1)
        total += {
            "soft": lambda a=a, p=p: -np.log(p[0]),
            "hard": lambda a=a, p=p: -np.sum(a * np.log(p)),
            "lvml": lambda a=a, p=p: -np.log(np.sum(a * p)),
            "power-1/2": lambda a=a, p=p: -2 * np.log(np.sum(a * np.sqrt(p))),
        }[name]()
    return total / len(inputs)


@pytest.mark.parametrize("general", GENERAL, ids=lambda s: s.background)
def test_the_full_loss_is_the_papers_away_from_the_ansatz(paradigm, general):
    rng, inputs = np.random.default_rng(0), _inputs(general)
    W, w = rng.normal(size=(4, inputs.shape[-1])), rng.normal(size=inputs.shape[-1])
    with jax.enable_x64(True):
        x = jnp.asarray(inputs)
        loss = jax.jit(partial(population_loss, paradigm, inputs=x, foreground=2))
        found = loss((jnp.asarray(W), jnp.asarray(w)))
    assert float(found) == pytest.approx(numpy_loss(paradigm.name, W, w, inputs, 2), rel=1e-13)


@pytest.mark.parametrize("general", [Setting(5, 3), *GENERAL], ids=["plain", "shared", "distinct"])
def test_on_the_ansatz_the_full_loss_is_the_paradigms_loss(paradigm, general):
    """L(alpha, mu; C) with (m - k)/k backgrounds a foreground, by averages and by the loss."""
    name, k = paradigm.name.split("-")[0], general.foreground_segments
    inputs, (matrix, pull) = _inputs(general), _ansatz(general)
    by_loss = Paradigm(paradigm.name, paradigm.loss)  # which does not say what it averages
    with jax.enable_x64(True):
        x = jnp.asarray(inputs)
        both = jax.jit(
            lambda w: [population_loss(p, w, inputs=x, foreground=k) for p in (paradigm, by_loss)]
        )
        for mu0, nu0 in ((0.0, 0.0), (1.3, -0.4), (-2.0, 3.0)):
            factor = 1 + (general.segments - k) / k
            wanted = textbook.LOSSES[name](mu0, nu0, factor, general.classes)
            for found in both((jnp.asarray(mu0 * matrix), jnp.asarray(nu0 * pull))):
                assert float(found) == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(
    "small",
    [
        pytest.param(Setting(5, 3), id="m5-C3"),
        pytest.param(Setting(20, 20), id="m20-C20", marks=pytest.mark.slow),
    ],
)
def test_descent_converges_to_the_flow_at_order_one(paradigm, small):
    times = np.array([40.0, 200.0, 320.0])
    flow = simulate(paradigm, small, times, rtol=1e-12, atol=1e-14)
    rates, errors = np.array([0.8, 0.4, 0.2]), []
    for rate in rates:
        found = descend(paradigm, small, times, learning_rate=rate)
        np.testing.assert_allclose(found.times, times, rtol=1e-14)
        errors.append(max(np.max(abs(found.mu - flow.mu)), np.max(abs(found.nu - flow.nu))))
        assert np.max(found.distance) < 1e-12
    slope = np.polyfit(np.log(rates), np.log(errors), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.05)  # the next order bends it by about the rate / 50
    assert errors[-1] < 0.02


@pytest.mark.parametrize(
    ("general", "freeze"),
    [
        (GENERAL[0], None),
        (GENERAL[1], None),
        (GENERAL[0], "classifier"),
        *(pytest.param(s, "focus", marks=pytest.mark.slow) for s in GENERAL),
        pytest.param(GENERAL[1], "classifier", marks=pytest.mark.slow),
    ],
    ids=lambda v: getattr(v, "background", str(v)),
)
def test_general_settings_and_held_parts_follow_the_reduced_flow(general, freeze):
    """Richardson: twice the finer minus the coarser run is exact to second order."""
    times = np.array([10.0, 50.0])
    flow = simulate("hard", general, times, (0.3, -0.2), freeze)
    coarse, fine = (
        descend("hard", general, times, (0.3, -0.2), freeze, learning_rate=rate)
        for rate in (0.05, 0.025)
    )
    for name in ("mu", "nu"):
        better = 2 * getattr(fine, name) - getattr(coarse, name)
        np.testing.assert_allclose(better, getattr(flow, name), atol=3e-5)
    if freeze:
        held, value = {"focus": (fine.nu, -0.2), "classifier": (fine.mu, 0.3)}[freeze]
        np.testing.assert_allclose(held, value, rtol=1e-13)


@pytest.mark.slow
def test_a_mixture_follows_its_flow():
    flow = simulate(MIXTURE, Setting(5, 3), [100.0])
    found = descend(MIXTURE, Setting(5, 3), [100.0], learning_rate=0.02)
    np.testing.assert_allclose([found.mu, found.nu], [flow.mu, flow.nu], atol=2e-3)


def test_a_schedule_switches_at_its_step():
    schedule, times = Schedule([("soft", 50.0), ("hard", None)]), np.array([300.0, 20.0, 50.0])
    flow = simulate(schedule, Setting(5, 3), times)
    found = descend(schedule, Setting(5, 3), times, learning_rate=0.05)
    np.testing.assert_allclose(found.nu, flow.nu, atol=2e-3)
    np.testing.assert_array_equal(found.stage, [1, 0, 1])


def test_one_step_is_the_gradient_at_the_start():
    found = descend("lvml", Setting(4, 7), 0.5, learning_rate=0.5)
    assert found.mu == pytest.approx(0.5 / 28, rel=1e-14)  # mu' = 1/(C m)
    assert found.nu == 0.0


def test_times_are_those_of_whole_steps():
    found = descend("soft", Setting(4, 3), [[1.04, 0.0], [0.96, 2.0]], learning_rate=0.1)
    np.testing.assert_allclose(found.times, [[1.0, 0.0], [1.0, 2.0]])
    assert found.mu[0, 0] == found.mu[1, 0] and found.mu[0, 1] == 0.0
    assert found.method == "descent" and found.distance.shape == (2, 2)


def test_a_batch_is_its_members():
    batch = descend("soft", Setting(np.array([3, 6]), 4), [5.0, 10.0], (0.1, 0.0))
    assert batch.mu.shape == batch.times.shape == batch.loss.shape == (2, 2)
    for row, m in enumerate((3, 6)):
        single = descend("soft", Setting(m, 4), [5.0, 10.0], (0.1, 0.0))
        np.testing.assert_array_equal(batch.mu[row], single.mu)


def test_a_perturbed_start_has_the_asked_distance_and_comes_nearer():
    found = descend("soft", Setting(5, 3), [0.0, 100.0], (0.4, 0.2), perturbation=0.01, seed=3)
    assert found.distance[0] == pytest.approx(0.01, rel=1e-12)
    assert found.mu[0] == pytest.approx(0.4, rel=1e-12)
    assert found.nu[0] == pytest.approx(0.2, rel=1e-12)
    assert 0 < found.distance[1] < found.distance[0]
    again = descend("soft", Setting(5, 3), [0.0, 100.0], (0.4, 0.2), perturbation=0.01, seed=4)
    assert again.distance[1] != found.distance[1]


@pytest.mark.parametrize("rate", [100.0, 1e4])
def test_too_large_a_learning_rate_is_a_failure_that_says_what_to_try(paradigm, rate):
    with pytest.raises(
        IntegrationFailed,
        match=rf"descent of {paradigm} with segments=5, classes=3 broke at step \d.*"
        rf"learning_rate {rate:g} is too large; try {rate / 10:g}",
    ):
        descend(paradigm, Setting(5, 3), [100 * rate], learning_rate=rate)


def test_a_rising_loss_is_a_failure():
    """mu' = -50 (mu - 1/10): at step size 0.05 each move is small but 1.5 times the last."""
    valley = Paradigm("valley", 50 * (mu - sp.Rational(1, 10)) ** 2 + alpha * mu)
    with pytest.raises(IntegrationFailed, match="of valley .*broke at step [1-9].*the loss rose"):
        descend(valley, Setting(5, 3), [5.0], (0.11, 0.0), learning_rate=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0, got 0.0"),
        ({"learning_rate": np.inf}, "learning_rate must be a finite number above 0, got inf"),
        ({"perturbation": -1.0}, "perturbation must be a finite number of at least 0, got -1.0"),
        ({"seed": 1.5}, "seed must be a whole number of at least 0, got 1.5"),
        (
            {"times": [1e9]},
            r"time 1e\+09 takes 1e\+10 steps at learning_rate 0.1, more than max_steps",
        ),
        ({"times": [-1.0]}, "times must be finite and at least 0, got -1.0"),
        ({"freeze": "both"}, "freeze must be None, 'focus' or 'classifier', got 'both'"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_bad_arguments_are_refused_by_name(change, message):
    arguments = {"paradigm": "soft", "setting": Setting(5, 3), "times": [1.0]} | change
    with pytest.raises(SettingError, match=message):
        descend(**arguments)


def test_tracers_are_refused():
    with pytest.raises(SettingError, match="descend needs concrete numbers"):
        jax.jit(lambda mu0: descend("soft", Setting(5, 3), [1.0], (mu0, 0.0)).mu)(0.1)
