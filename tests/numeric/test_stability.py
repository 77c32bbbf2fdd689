"""The largest learning rate: the Hessian of the full loss by blocks, and descent on either side."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from attnflow.errors import IntegrationFailed, SettingError
from attnflow.numeric.descend import _ansatz, _inputs, descend, population_loss
from attnflow.numeric.simulate import simulate
from attnflow.numeric.stability import max_learning_rate
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import SOFT
from attnflow.symbolic.paradigm import Paradigm
from oracles.zoo import SEPARABLE

SMOOTHED = next(p for p in SEPARABLE if p.name == "label-smoothed")
ALONE = Paradigm("alone", 2 * SOFT.loss)
SETTINGS = [
    Setting(4, 3),
    Setting(4, 2),
    Setting(5, 4, 2, 1.3, 0.8, "shared", 2.0, 0.5),
    Setting(5, 4, 2, 1.3, 0.8, "distinct", 0.5, 1.5),
]


def steepest(paradigm, setting, mu0, nu0, freeze=None):
    """The largest eigenvalue of the Hessian over every entry of W and w, by JAX."""
    inputs, (matrix, pull) = jnp.asarray(_inputs(setting)), _ansatz(setting)
    flat, unravel = ravel_pytree((jnp.asarray(mu0 * matrix), jnp.asarray(nu0 * pull)))
    loss = partial(population_loss, paradigm, inputs=inputs, foreground=setting.foreground_segments)
    hessian = np.asarray(jax.jit(jax.hessian(lambda weights: loss(unravel(weights))))(flat))
    rates = np.concatenate(
        [
            np.full(matrix.size, setting.classifier_rate * (freeze != "classifier")),
            np.full(pull.size, setting.focus_rate * (freeze != "focus")),
        ]
    )
    return np.linalg.eigvalsh(np.sqrt(rates)[:, None] * hessian * np.sqrt(rates))[-1]


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(SETTINGS[0], id="plain", marks=pytest.mark.slow),
        pytest.param(SETTINGS[1], id="two", marks=pytest.mark.slow),
        pytest.param(SETTINGS[2], id="shared"),
        pytest.param(SETTINGS[3], id="distinct"),
    ],
)
def test_it_is_that_of_the_full_hessian(paradigm, setting):
    for start in ((0.0, 0.0), (1.2, 0.7), (-1.0, 0.3)):
        with jax.enable_x64(True):
            wanted = 2 * 1.7 / steepest(paradigm, setting, *start)
        found = max_learning_rate(paradigm, setting, 0.0, 0.7, initial=start)
        assert float(found) == pytest.approx(wanted, rel=1e-9)  # of a small difference of entries


@pytest.mark.parametrize("freeze", [None, "focus", "classifier"])
def test_a_loss_alone_and_held_parts_too(freeze):
    for setting in SETTINGS[::3]:
        with jax.enable_x64(True):
            wanted = max(steepest(ALONE, setting, 0.8, 0.2, freeze), 0.0)
        found = max_learning_rate(ALONE, setting, [0.0], initial=(0.8, 0.2), freeze=freeze)
        assert 2 / found[0] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("momentum", "nesterov"),
    [
        (0.9, False),
        pytest.param(0.0, False, marks=pytest.mark.slow),
        pytest.param(0.6, True, marks=pytest.mark.slow),
    ],
)
def test_descent_settles_just_below_it_and_swings_just_above(momentum, nesterov):
    """Label-smoothed soft attention has a least loss at a finite margin, where nothing moves."""
    how = {"momentum": momentum, "nesterov": nesterov}
    setting = Setting(4, 3)
    rest = simulate(SMOOTHED, setting, 1e5, (2.0, 1.0), "focus")
    start = (float(rest.mu) + 1e-6, 1.0)
    limit = float(max_learning_rate(SMOOTHED, setting, 0.0, initial=start, freeze="focus", **how))
    times = np.array([0.0, 1500.0]) * limit / (1 - momentum)
    arguments = {"freeze": "focus", "perturbation": 1e-6, "seed": 1, **how}
    found = descend(SMOOTHED, setting, times, start, learning_rate=0.98 * limit, **arguments)
    assert abs(found.mu[1] - float(rest.mu)) < 1e-7  # a factor e^-2 or less in 1500 steps
    with pytest.raises(IntegrationFailed, match=f"up to {limit:.3g} was stable"):
        descend(SMOOTHED, setting, times, start, learning_rate=1.02 * limit, **arguments)


def test_the_least_of_it_lies_at_the_onset_of_the_focus():
    times = np.linspace(0.0, 400.0, 101)
    for name, onset in (("soft", 80.0), ("hard", 80.0), ("lvml", 55.0)):
        rates = max_learning_rate(name, Setting(6, 6), times)
        assert times[np.argmin(rates)] == pytest.approx(onset, abs=8)
        assert 50 < np.min(rates) < 60
        assert rates[-1] > 5 * np.min(rates)  # it grows like t


def test_a_batch_and_a_schedule_are_their_members():
    schedule, times = Schedule([("soft", 30.0), ("hard", None)]), [10.0, 40.0]
    batch = Setting(np.array([4, 6]), 5, background_norm=np.array([0.0, 0.5]))
    found = max_learning_rate(schedule, batch, times)
    assert found.shape == (2, 2)
    single = max_learning_rate(schedule, Setting(6, 5, background_norm=0.5), times)
    np.testing.assert_allclose(found[1], single, rtol=1e-9)
    assert np.all(found[1] < max_learning_rate(schedule, Setting(6, 5), times))


def test_simulating_steps_that_are_too_large_warns():
    with pytest.warns(UserWarning, match="learning_rate 120 are unstable: at t = 0 at most 92.93"):
        simulate("soft", Setting(6, 6), [0.0, 1.0], learning_rate=120.0)


def test_a_failed_descent_says_what_was_stable():
    with pytest.raises(IntegrationFailed, match=r"try 20 \(before it broke, up to .* was stable\)"):
        descend("soft", Setting(5, 3), [20000.0], learning_rate=200.0)


def test_tracers_and_what_no_momentum_is_are_refused():
    with pytest.raises(SettingError, match="max_learning_rate needs concrete numbers"):
        jax.jit(lambda t: max_learning_rate("soft", Setting(5, 3), t))(1.0)
    with pytest.raises(SettingError, match="momentum must be from 0 to below 1, got 1.5"):
        max_learning_rate("soft", Setting(5, 3), 1.0, 1.5)
