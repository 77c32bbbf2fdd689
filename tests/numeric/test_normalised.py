"""Where only the direction of the gradient counts: normalised flow, sign descent, Adam."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnflow.errors import IntegrationFailed, NoFirstIntegral, SettingError
from attnflow.numeric.closed_form import solve
from attnflow.numeric.descend import _ansatz, _inputs, _measure, descend, population_loss
from attnflow.numeric.normalised import normalised_flow
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import HARD, LVML, SOFT
from attnflow.symbolic.optimizers import sign_velocity
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import alpha, eta_classifier, eta_focus, mu, r, s

GENERAL = [
    Setting(5, 4, 2, 1.3, 0.8, "shared", 2.0, 0.5),
    Setting(5, 4, 2, 1.3, 0.8, "distinct", 0.5, 1.5),
]
START = (0.3, -0.2)


def stepped(paradigm, setting, direction, size, count):
    """(mu, nu) after steps of the full matrices along ``direction`` of the full gradient."""
    inputs, ansatz = jnp.asarray(_inputs(setting)), jax.tree.map(jnp.asarray, _ansatz(setting))
    loss = partial(population_loss, paradigm, inputs=inputs, foreground=setting.foreground_segments)

    def step(_, weights):
        along = direction(jax.grad(loss)(weights))
        rates = (size * setting.classifier_rate, size * setting.focus_rate)
        return jax.tree.map(lambda w, d, rate: w - rate * d, weights, along, rates)

    start = (START[0] * ansatz[0], START[1] * ansatz[1])
    return np.asarray(_measure(jax.lax.fori_loop(0, count, step, start), ansatz))[:2]


def unit(gradient):
    """The gradient over its norm."""
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradient))
    return jax.tree.map(lambda g: g / norm, gradient)


@pytest.mark.parametrize("setting", GENERAL, ids=lambda s: s.background)
@pytest.mark.parametrize("paradigm", [SOFT, HARD, LVML], ids=str)
def test_steps_of_the_unit_gradient_follow_it(paradigm, setting):
    """Richardson: twice the finer minus the coarser run is exact to second order."""
    with jax.enable_x64(True):
        coarse = stepped(paradigm, setting, unit, 0.02, 300)
        fine = stepped(paradigm, setting, unit, 0.01, 600)
    found = normalised_flow(paradigm, setting, 6.0, START)
    np.testing.assert_allclose(2 * fine - coarse, [float(found.mu), float(found.nu)], atol=5e-6)


def test_its_orbit_is_that_of_the_flow_and_its_clock_the_arc_length(paradigm):
    setting = Setting(20, 20)
    path = normalised_flow(paradigm, setting, np.linspace(0.0, 30.0, 301))
    assert np.ptp(path.first_integral) < 1e-12
    moved = np.sqrt(19 * np.diff(path.mu) ** 2 + 20 * np.diff(path.nu) ** 2)
    assert np.sum(moved) == pytest.approx(30.0, rel=1e-4)  # chords of arcs
    flow = solve(paradigm, setting, np.geomspace(1.0, 1e4, 4001))
    np.testing.assert_allclose(np.interp(path.mu[1:], flow.mu, flow.nu), path.nu[1:], atol=1e-3)


def test_a_batch_is_its_members_in_any_order():
    batch = Setting(np.array([4, 6]), 3)
    found = normalised_flow("hard", batch, np.array([[1.0, 2.0], [3.0, 0.0]]))
    assert found.mu.shape == (2, 2, 2)
    assert found.mu[1, 0, 1] == float(normalised_flow("hard", Setting(6, 3), 2.0).mu)
    assert found.mu[0, 1, 1] == 0.0


@pytest.mark.parametrize("setting", GENERAL, ids=lambda s: s.background)
def test_sign_descent_is_the_same_for_every_paradigm(setting):
    numbers = {
        r: setting.foreground_norm,
        s: setting.background_norm,
        eta_classifier: setting.classifier_rate,
        eta_focus: setting.focus_rate,
    }
    speeds = np.array([float(v.subs(numbers)) for v in sign_velocity])
    for paradigm in (SOFT, HARD, LVML):
        with jax.enable_x64(True):
            sign = partial(jax.tree.map, lambda g: jnp.where(jnp.abs(g) < 1e-15, 0, jnp.sign(g)))
            found = stepped(paradigm, setting, sign, 0.01, 100)
        np.testing.assert_allclose(found, np.array(START) + speeds, rtol=1e-9)


def test_adam_tells_the_losses_apart_only_once_their_gradients_fade():
    """Tried at (20, 20) with rate 1e-3; at first its way is that of sign descent."""
    known = {
        "soft": (1.81, 3.32, 3.93),
        "hard": (1.79, 3.34, 4.35),
        "lvml": (1.81, 3.01, 3.83),
    }
    for name, scores in known.items():
        found = descend(
            name, Setting(20, 20), [0.02, 1.0, 2.0, 3.0], learning_rate=1e-3, optimizer="adam"
        )
        np.testing.assert_allclose(found.nu[1:], scores, atol=0.011)
        assert found.mu[0] == pytest.approx(0.04, rel=0.02)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"paradigm": Schedule([("soft", 1.0), ("hard", None)])}, SettingError, "one paradigm"),
        (
            {"paradigm": Paradigm("apart", SOFT.loss + HARD.loss)},
            NoFirstIntegral,
            "has no first integral",
        ),
        ({"lengths": -1.0}, SettingError, "times must be finite and at least 0, got -1.0"),
        (
            {"paradigm": Paradigm("bowl", (1 - alpha * mu) ** 2), "lengths": 1e4},
            IntegrationFailed,
            "normalised flow of bowl .* ends at an equilibrium",
        ),
    ],
    ids=["schedule", "mixture", "negative", "equilibrium"],
)
def test_what_has_no_such_flow_is_refused(change, error, message):
    arguments = {"paradigm": "soft", "setting": Setting(5, 3), "lengths": 1.0} | change
    with pytest.raises(error, match=message):
        normalised_flow(**arguments)


def test_tracers_are_refused():
    with pytest.raises(SettingError, match="normalised_flow needs concrete numbers"):
        jax.jit(lambda at: normalised_flow("soft", Setting(5, 3), at).mu)(1.0)
