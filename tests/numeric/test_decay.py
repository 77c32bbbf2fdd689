"""Weight decay: descent on the full matrices, the simulated flow and its events agree."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import attnflow as af
from attnflow.errors import NoFirstIntegral, SettingError
from attnflow.numeric.compare import compare, summary
from attnflow.numeric.descend import _ansatz, _inputs, _penalised
from attnflow.numeric.normalised import normalised_flow
from attnflow.numeric.trajectory import velocities

SMALL = af.Setting(4, 3, decay=0.01)


def drawn(seed, background):
    """A setting and a start at random."""
    rng = np.random.default_rng(seed)
    m, k = int(rng.integers(3, 8)), int(rng.integers(1, 3))
    numbers = (*rng.uniform(0.6, 1.4, 2), background, *rng.uniform(0.5, 1.5, 2))
    setting = af.Setting(m, int(rng.integers(2, 6)), k, *numbers, decay=rng.uniform(0.001, 0.05))
    return setting, tuple(rng.uniform(-1.0, 1.5, 2))


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("background", ["shared", "distinct"])
def test_descent_with_decay_follows_the_corrected_flow_to_second_order(
    paradigm, background, momentum
):
    setting, start = drawn(len(paradigm.name), background)
    times, off = np.array([8.0, 24.0, 64.0]), []
    for width in (0.2, 0.1):
        how = {"learning_rate": width * (1 - momentum), "momentum": momentum}
        steps = af.descend(paradigm, setting, times, start, **how)
        flow = af.simulate(paradigm, setting, times, start, **how)
        off.append(max(np.abs(steps.mu - flow.mu).max(), np.abs(steps.nu - flow.nu).max()))
        assert steps.distance.max() < 1e-12
    assert 3.6 < off[0] / off[1] < 7  # the memory of the start goes faster still
    assert off[1] < 1e-3


def test_none_is_the_flow_without_it_bit_for_bit():
    plain, none = (
        af.Setting(5, 4, background_norm=0.3),
        af.Setting(5, 4, background_norm=0.3, decay=0),
    )
    assert jax.tree.structure(plain) == jax.tree.structure(none)
    times = [1.0, 30.0]
    for route in (af.solve, af.simulate, partial(af.descend, learning_rate=0.5)):
        found = [route("lvml", setting, times) for setting in (plain, none)]
        assert (found[0].mu == found[1].mu).all() and (found[0].nu == found[1].nu).all()


def test_a_sweep_over_decay_is_its_members_and_has_a_derivative():
    decays = np.array([0.0, 0.003, 0.1])
    batch = af.simulate("soft", replace(SMALL, decay=decays), [5.0, 50.0])
    for row, decay in enumerate(decays):
        alone = af.simulate("soft", replace(SMALL, decay=decay), [5.0, 50.0])
        np.testing.assert_allclose(batch.nu[row], alone.nu, rtol=1e-8)
    with jax.enable_x64(True):
        slope = jax.grad(lambda d: af.simulate("soft", replace(SMALL, decay=d), 50.0).nu)(0.003)
    near = [float(af.simulate("soft", replace(SMALL, decay=d), 50.0).nu) for d in (0.0029, 0.0031)]
    assert float(slope) == pytest.approx((near[1] - near[0]) / 2e-4, rel=1e-4)


@pytest.mark.parametrize("background", ["shared", "distinct"])
def test_the_largest_learning_rate_is_that_of_the_penalised_hessian(paradigm, background):
    setting, (mu0, nu0) = drawn(3 + len(paradigm.name), background)
    matrix, pull = _ansatz(setting)
    with jax.enable_x64(True):
        of = {"inputs": jnp.asarray(_inputs(setting)), "foreground": setting.foreground_segments}
        flat, unravel = ravel_pytree((jnp.asarray(mu0 * matrix), jnp.asarray(nu0 * pull)))
        loss = partial(_penalised, paradigm, setting.decay, **of)
        hessian = np.asarray(jax.jit(jax.hessian(lambda weights: loss(unravel(weights))))(flat))
    rates = [setting.classifier_rate] * matrix.size + [setting.focus_rate] * pull.size
    scale = np.sqrt(np.array(rates))
    wanted = 2 / np.linalg.eigvalsh(scale[:, None] * hessian * scale)[-1]
    found = af.max_learning_rate(paradigm, setting, 0.0, initial=(mu0, nu0))
    assert float(found) == pytest.approx(wanted, rel=1e-8)


def test_events_agree_with_the_simulated_flow():
    for target in (0.4, 0.7):
        time = af.time_to_focus("hard", SMALL, target)
        assert float(af.simulate("hard", SMALL, time, rtol=1e-12).alpha) == pytest.approx(target)
    best = af.best_switch(SMALL, 0.7, "lvml", "hard")
    (_, switch), _ = best.schedule.parts
    around = [
        af.time_to_focus(af.Schedule([("lvml", float(s)), ("hard", None)]), SMALL, 0.7)
        for s in switch * np.array([0.97, 1.0, 1.03])
    ]
    assert around[1] == pytest.approx(best.total_time, rel=1e-9) and around[1] == min(around)
    for time in af.crossings("lvml", "hard", SMALL, until=1e3):
        pair = [float(af.simulate(p, SMALL, time, rtol=1e-12).nu) for p in ("lvml", "hard")]
        assert pair[0] == pytest.approx(pair[1], rel=1e-8)


def test_the_flow_comes_to_rest_and_what_lies_beyond_is_never_reached():
    rest = af.simulate("soft", SMALL, 1e5)
    speed = np.abs(velocities(rest)).max()
    assert speed < 1e-10 and 0.25 < float(rest.alpha) < 0.99
    assert af.time_to_focus("soft", SMALL, float(rest.alpha) - 1e-3) < np.inf
    assert af.time_to_focus("soft", SMALL, float(rest.alpha) + 1e-3) == np.inf


@pytest.mark.parametrize(
    "ask",
    [
        lambda: af.solve("soft", SMALL, [1.0]),
        lambda: af.solve("soft", SMALL, [1.0], freeze="focus"),
        lambda: jax.jit(lambda s: af.solve("soft", s, 1.0).mu)(SMALL),
        lambda: normalised_flow("soft", SMALL, [1.0]),
        lambda: af.simulate("soft", SMALL, [1.0]).first_integral,
        lambda: compare(["soft"], SMALL, [0.0, 1.0], methods=("closed form",)),
    ],
)
def test_what_needs_a_first_integral_is_refused(ask):
    with jax.enable_x64(True), pytest.raises(NoFirstIntegral, match="with weight decay .*simulate"):
        ask()


def test_a_comparison_goes_without_the_closed_form_and_says_why():
    found = compare(
        ["lvml"], SMALL, np.arange(0.0, 20.0, 2.0), methods=("closed form", "simulation")
    )
    (row,) = summary(found)["rows"]
    assert row["method"] == "simulation" and "with weight decay" in row["note"]


@pytest.mark.parametrize("value", [-0.1, np.inf, np.nan, "0.1", [0.1, -1.0]])
def test_no_decay_below_zero(value):
    with pytest.raises(SettingError, match="decay must be a finite number of at least 0"):
        af.Setting(4, 3, decay=value)
