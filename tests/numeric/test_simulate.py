"""The simulator against independent digits, its own laws, and every way of calling it."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import attnflow.numeric.integrate as module
from attnflow.errors import IntegrationFailed, ParadigmError, PrecisionError, SettingError
from attnflow.numeric.integrate import SOLVERS
from attnflow.numeric.simulate import simulate, simulate_all
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import HARD, SOFT
from attnflow.symbolic.paradigm import Paradigm, averaging
from attnflow.symbols import alpha, beta, mu
from oracles import high_precision, textbook

TIGHT = {"rtol": 1e-13, "atol": 1e-15}
# global error = some tens of steps times the step's, relative: 1e-10 asked, 1e-11 measured
LOOSE_ERROR = 5e-11
# Dopri8's published coefficients carry 16 digits; nu ~ t^2 sees 2e-14 of that
TIGHT_ERROR = 1e-13
SLOW = pytest.mark.slow


def relative(value, wanted):
    return np.max(np.abs(value - wanted) / np.maximum(np.abs(wanted), 1e-300))


def exact(paradigm, m, C, times, mu0=0, nu0=0):
    rows = [high_precision.trajectory(paradigm, m, C, float(t), mu0, nu0, digits=20) for t in times]
    return np.array([[float(r["mu"]), float(r["nu"])] for r in rows]).T


@pytest.mark.parametrize(
    ("name", "log_time"),
    [
        *(("soft", False), ("hard", True), ("lvml", False)),
        *(pytest.param(*p, marks=SLOW) for p in (("soft", True), ("hard", False), ("lvml", True))),
    ],
)
def test_simulation_matches_the_25_digit_reference(reference, name, log_time):
    groups = {}
    for row in reference:
        if row["paradigm"] == name:
            groups.setdefault((row["m"], row["C"], row["mu0"], row["nu0"]), []).append(row)
    assert groups
    for (m, C, mu0, nu0), rows in groups.items():
        times = np.array([float(r["t"]) for r in rows])
        found = simulate(
            name, Setting(m, C), times, (float(mu0), float(nu0)), log_time=log_time, **TIGHT
        )
        for quantity in ("mu", "nu", "alpha", "beta", "loss"):
            wanted = np.array([float(r[quantity]) for r in rows])
            # relative error of a probability or loss = absolute one of mu and nu, which reach 25
            error = TIGHT_ERROR if quantity in ("mu", "nu") else 30 * TIGHT_ERROR
            assert relative(getattr(found, quantity), wanted) < error, (m, C, quantity)


@pytest.mark.parametrize(
    ("name", "m", "C", "start", "log_time"),
    [
        ("soft", 100, 1000, (0.0, 0.0), True),
        ("lvml", 1000000, 2, (-5.0, 3.0), False),
        pytest.param("soft", 100, 1000, (0.0, 0.0), False, marks=SLOW),
        pytest.param("lvml", 1000000, 2, (-5.0, 3.0), True, marks=SLOW),
    ],
)
def test_the_horizon_may_be_1e15(name, m, C, start, log_time):
    times = np.array([1e-6, 1.0, 1e5, 1e10, 1e15])
    wanted = exact(name, m, C, times, *start)
    for options, error in (({}, LOOSE_ERROR), (TIGHT, TIGHT_ERROR)):
        found = simulate(name, Setting(m, C), times, start, log_time=log_time, **options)
        assert relative(found.mu, wanted[0]) < error
        assert relative(found.nu, wanted[1]) < error


@pytest.mark.parametrize(
    "solver",
    [
        pytest.param(s, marks=pytest.mark.slow if "kvaerno" in s or s == "bosh3" else ())
        for s in SOLVERS
    ],
)
def test_every_solver_agrees(solver):
    times = np.array([1.0, 30.0, 1e3])
    wanted = exact("soft", 5, 3, times)
    order_low = solver in ("bosh3", "kvaerno3")
    tolerances = {"rtol": 1e-8, "atol": 1e-10} if order_low else {}
    found = simulate("soft", Setting(5, 3), times, solver=solver, **tolerances)
    # the lower the order, the more steps there are for errors to add up
    assert relative(found.mu, wanted[0]) < (1e-5 if order_low else 1e-8)


@pytest.mark.slow
def test_interpolation_is_the_cheap_way_and_less_exact():
    times = np.linspace(0.0, 1000.0, 201)
    wanted = simulate("lvml", Setting(20, 20), times, **TIGHT).mu
    exactly = np.max(np.abs(simulate("lvml", Setting(20, 20), times).mu - wanted))
    between = np.max(np.abs(simulate("lvml", Setting(20, 20), times, interpolate=True).mu - wanted))
    assert exactly < 1e-11 < between < 1e-7


def test_simulation_matches_the_published_field(paradigm):
    """The slope between two close times is the field as the paper prints it."""
    setting, name = Setting(7, 4), paradigm.name.split("-")[0]
    t, h = 40.0, 1e-3
    found = simulate(paradigm, setting, [t - h, t, t + h], (0.2, -0.3), **TIGHT)
    field = textbook.FIELDS[name](found.mu[1], found.nu[1], 7, 4)
    slope = ((found.mu[2] - found.mu[0]) / (2 * h), (found.nu[2] - found.nu[0]) / (2 * h))
    # central difference: h^2 times a third derivative of about 1e-5, and rounding / h
    np.testing.assert_allclose(slope, field, rtol=1e-8)


def test_a_general_setting_moves_as_its_reduction_says():
    """Field with B = (m - k)/k, rates, norms and shared background, spelt out by hand."""
    setting = Setting(8, 5, 2, 1.5, 0.7, "shared", 2.0, 0.5)
    t, h = 15.0, 1e-3
    found = simulate("hard", setting, [t - h, t, t + h], (0.4, 0.1), **TIGHT)
    a = np.exp(found.nu[1]) / (np.exp(found.nu[1]) + 3.0)
    mu_rate = 0.5 * 1.5**2 * a / (np.exp(found.mu[1]) + 4)
    push = a * (1 - a) * np.log(5 * found.beta[1]) / 5
    nu_rate = 2.0 * (1.5**2 + 5 * 0.7**2) * push
    np.testing.assert_allclose((found.mu[2] - found.mu[0]) / (2 * h), mu_rate, rtol=1e-8)
    np.testing.assert_allclose((found.nu[2] - found.nu[0]) / (2 * h), nu_rate, rtol=1e-8)


def test_times_come_back_in_the_order_and_shape_given():
    times = np.array([[300.0, 0.0, 5.0], [5.0, 1000.0, 300.0]])
    found = simulate("soft", Setting(20, 20), times, (0.1, 0.2))
    np.testing.assert_array_equal(found.times, times)
    assert found.mu.shape == times.shape
    assert found.mu[0, 1] == 0.1 and found.nu[0, 1] == 0.2  # t = 0 is the start itself
    assert found.mu[0, 0] == found.mu[1, 2] and found.nu[0, 2] == found.nu[1, 0]
    assert found.mu[0, 2] < found.mu[0, 0] < found.mu[1, 1]
    assert simulate("soft", Setting(20, 20), 5.0, (0.1, 0.2)).mu.shape == ()
    assert simulate("soft", Setting(20, 20), []).mu.shape == (0,)
    resting = simulate("soft", Setting(20, 20), np.zeros((2, 3)), (0.1, 0.2))
    assert np.all(resting.mu == 0.1) and np.all(resting.nu == 0.2)


def test_restart_from_a_middle_state_changes_nothing(paradigm, setting):
    scale = setting.segments * setting.classes
    whole = simulate(paradigm, setting, [scale, 3.0 * scale], **TIGHT)
    rest = simulate(paradigm, setting, [0.0, 2.0 * scale], (whole.mu[0], whole.nu[0]), **TIGHT)
    assert relative(rest.mu, whole.mu) < TIGHT_ERROR
    assert relative(rest.nu, whole.nu) < TIGHT_ERROR


def test_a_schedule_is_its_parts_one_after_the_other():
    setting, times = Setting(20, 20), np.array([1000.0, 100.0, 200.0, 0.0, 450.0])
    schedule = Schedule([("soft", 200.0), ("hard", None)])
    joined = simulate(schedule, setting, times)
    first = simulate("soft", setting, [0.0, 100.0, 200.0])  # three times, as elsewhere here
    second = simulate("hard", setting, [0.0, 250.0, 800.0], (first.mu[2], first.nu[2]))
    for name in ("mu", "nu"):
        one, two = getattr(first, name), getattr(second, name)
        np.testing.assert_allclose(
            getattr(joined, name), [two[2], one[1], one[2], one[0], two[1]], rtol=1e-10
        )
    np.testing.assert_array_equal(joined.stage, [1, 0, 1, 0, 1])
    assert joined.loss[1] == pytest.approx(textbook.loss_soft(joined.mu[1], joined.nu[1], 20, 20))
    assert joined.loss[0] == pytest.approx(textbook.loss_hard(joined.mu[0], joined.nu[0], 20, 20))
    logged = simulate(schedule, setting, times, log_time=True)
    np.testing.assert_allclose(logged.mu, joined.mu, rtol=1e-10)


def test_paradigms_and_schedules_integrated_together_are_each_alone():
    entries = ["soft", Schedule([("hard", 60.0), ("lvml", 90.0), ("soft", None)]), "lvml"]
    times = [20.0, 75.0, 300.0]
    together = simulate_all(entries, Setting(9, 5), times, (0.1, -0.2))
    for entry, joint in zip(entries, together, strict=True):
        alone = simulate(entry, Setting(9, 5), times, (0.1, -0.2))
        # the same steps, compiled otherwise: rounding, which may shift a step held to 1e-10
        np.testing.assert_allclose([joint.mu, joint.nu], [alone.mu, alone.nu], rtol=1e-11)
        assert joint.paradigms == alone.paradigms
        np.testing.assert_array_equal(joint.stage, alone.stage)


def test_scipy_is_a_further_witness_for_batches_schedules_and_frozen_parts():
    """To ten of its own steps' errors, 1e-13 each, as far as Dopri8 at 1e-13 goes with it."""
    times, start = np.array([[3.0, 0.0], [200.0, 40.0]]), (0.1, np.array([0.0, -1.0]))
    schedule = Schedule([("soft", 30.0), ("hard", None)])
    for entry, freeze, log_time in (("lvml", None, False), (schedule, "focus", True)):
        asked = (entry, Setting(5, 3), times, start, freeze)
        found = simulate(*asked, solver="scipy", log_time=log_time)
        wanted = simulate(*asked, **TIGHT)
        assert found.mu.shape == (2, 2, 2)
        np.testing.assert_allclose(found.mu, wanted.mu, rtol=1e-12)
        np.testing.assert_allclose(found.nu, wanted.nu, rtol=1e-12)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param({"learning_rate": 0.5}, id="plain", marks=pytest.mark.slow),
        pytest.param({"learning_rate": 0.1, "momentum": 0.8}, id="momentum"),
        pytest.param({"learning_rate": 0.1, "momentum": 0.8, "nesterov": True}, id="nesterov"),
    ],
)
def test_scipy_follows_the_flow_corrected_for_steps_too(steps):
    times, schedule = np.array([0.0, 3.0, 25.0, 90.0]), Schedule([("soft", 20.0), ("lvml", None)])
    setting = Setting(np.array([5, 8]), 3)
    for freeze in (None, "focus"):
        found = simulate(schedule, setting, times, freeze=freeze, solver="scipy", **steps)
        wanted = simulate(schedule, setting, times, freeze=freeze, **steps, **TIGHT)
        plain = simulate(schedule, setting, times, freeze=freeze, **TIGHT)
        np.testing.assert_allclose(found.mu, wanted.mu, rtol=1e-11)
        np.testing.assert_allclose(found.nu, wanted.nu, rtol=1e-11)
        assert np.max(np.abs(found.mu - plain.mu)) > 1e-4  # not the flow itself


def test_scipy_says_what_it_cannot_do():
    with pytest.raises(SettingError, match="'scipy' cannot run inside a JAX transformation"):
        with jax.enable_x64(True):
            jax.jit(lambda m: simulate("soft", Setting(m, 3), 1.0, solver="scipy").mu)(5.0)
    with pytest.raises(IntegrationFailed, match=r"stopped at t = 16\.1.*solver scipy"):
        simulate(BLOWING_UP, Setting(20, 9), 1e6, (1.0, 0.0), solver="scipy", max_steps=3000)


def test_frozen_focus_follows_its_implicit_solution():
    """Soft: e^y + (C-1) y = alpha^2 t + c, y = alpha mu; hard: e^mu + (C-1) mu = alpha t + c."""
    C, a, times = 7, 1 / (1 + 4 * np.exp(-0.6)), np.array([0.5, 20.0, 3e4])
    found = simulate("soft", Setting(5, C), times, (0.3, 0.6), "focus", **TIGHT)
    level = np.exp(a * found.mu) + (C - 1) * a * found.mu
    start = np.exp(a * 0.3) + (C - 1) * a * 0.3
    np.testing.assert_allclose(level - start, a**2 * times, rtol=1e-11)
    np.testing.assert_array_equal(found.nu, 0.6)
    found = simulate("hard", Setting(5, C), times, (0.3, 0.6), "focus", **TIGHT)
    level = np.exp(found.mu) + (C - 1) * found.mu
    np.testing.assert_allclose(level - np.exp(0.3) - (C - 1) * 0.3, a * times, rtol=1e-11)


def test_frozen_classifier_follows_its_implicit_solution():
    """Hard: x + sinh x = const + t log(C beta)/(2 C), x = logit alpha."""
    C, times = 7, np.array([0.5, 20.0, 3e4])
    found = simulate("hard", Setting(5, C), times, (1.3, 0.6), "classifier", **TIGHT)
    x, x0 = found.nu - np.log(4), 0.6 - np.log(4)
    gain = np.log(C * textbook.beta(1.3, C))
    np.testing.assert_allclose(
        x + np.sinh(x) - x0 - np.sinh(x0), times * gain / (2 * C), rtol=1e-11
    )
    np.testing.assert_array_equal(found.mu, 1.3)


def test_a_paradigm_without_first_integral_is_simulated():
    mixture = Paradigm("mixture", (SOFT.loss + HARD.loss) / 2)
    t, h = 40.0, 1e-3
    found = simulate(mixture, Setting(7, 4), [t - h, t, t + h], **TIGHT)
    parts = [
        field(found.mu[1], found.nu[1], 7, 4)
        for field in (textbook.field_soft, textbook.field_hard)
    ]
    slope = ((found.mu[2] - found.mu[0]) / (2 * h), (found.nu[2] - found.nu[0]) / (2 * h))
    np.testing.assert_allclose(slope, np.mean(parts, axis=0), rtol=1e-8)


@pytest.mark.slow
def test_a_batch_is_its_members():
    settings = Setting(np.array([2, 30]), np.array([5, 10]))
    starts = (np.array([[0.0], [0.5], [-1.0]]), 0.25)
    times = np.array([[1.0, 1e3], [50.0, 1e4]])
    batch = simulate("lvml", settings, times, starts, **TIGHT)
    assert batch.mu.shape == batch.alpha.shape == (3, 2, 2, 2)
    for i, mu0 in enumerate((0.0, 0.5, -1.0)):
        for j, (m, C) in enumerate(((2, 5), (30, 10))):
            single = simulate("lvml", Setting(m, C), times, (mu0, 0.25), **TIGHT)
            for name in ("mu", "nu", "alpha", "complement", "loss", "times"):
                np.testing.assert_allclose(
                    getattr(batch, name)[i, j], getattr(single, name), rtol=TIGHT_ERROR
                )


@pytest.mark.slow
def test_a_batch_of_schedules_is_its_members():
    schedule, times = Schedule([("soft", 50.0), ("hard", None)]), [20.0, 300.0]
    batch = simulate(schedule, Setting(np.array([4, 9]), 5), times)
    for row, m in enumerate((4, 9)):
        np.testing.assert_allclose(
            batch.nu[row], simulate(schedule, Setting(m, 5), times).nu, rtol=1e-10
        )


def test_it_runs_under_jit_and_vmap_with_64_bit_mode_on():
    times = np.array([1.0, 100.0])
    wanted = [simulate("soft", Setting(m, 20), times, (0.1, 0.0)).mu for m in (7, 9)]
    with jax.enable_x64(True):
        curve = jax.jit(
            jax.vmap(lambda m, mu0: simulate("soft", Setting(m, 20), times, (mu0, 0.0)).mu)
        )
        found = curve(jnp.array([7.0, 9.0]), jnp.array([0.1, 0.1]))
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_the_caller_keeps_its_precision():
    off = simulate("soft", Setting(7, 20), [1.0, 100.0])
    assert isinstance(off.mu, np.ndarray) and off.mu.dtype == np.float64
    assert jnp.asarray(1.0).dtype == jnp.float32
    with jax.enable_x64(True):
        on = simulate("soft", Setting(7, 20), [1.0, 100.0])
        assert isinstance(on.mu, jax.Array) and on.mu.dtype == jnp.float64
    np.testing.assert_array_equal(off.mu, np.asarray(on.mu))


def test_inside_a_32_bit_transformation_it_refuses():
    with pytest.raises(PrecisionError, match="float64.*enable_x64"):
        jax.jit(lambda m: simulate("soft", Setting(m, 20), 1.0).mu)(5.0)


def test_a_sweep_compiles_once(monkeypatch):
    traces = []
    velocity = module.velocity

    def counted(paradigm, *state):
        traces.append(paradigm)
        return velocity(paradigm, *state)

    monkeypatch.setattr(module, "velocity", counted)
    fresh = averaging("counted", beta**2)  # never compiled before, in whatever order tests run
    simulate(fresh, Setting(3, 4), [1.0, 10.0])
    first = len(traces)
    assert first > 0
    for m, C, mu0 in ((5, 3, 0.0), (100, 1000, 0.5), (2, 7, -1.0)):
        simulate(fresh, Setting(m, C, focus_rate=m / 2), [float(m), 30.0], (mu0, 0.1), rtol=1e-9)
    assert len(traces) == first


@pytest.mark.slow  # the import contract of independent witnesses says it in every run
def test_the_simulator_imports_no_other_witness():
    code = (
        "import sys, attnflow.numeric.simulate; "
        "print([n for n in ('closed_form', 'quadrature', 'descend') "
        "if 'attnflow.numeric.' + n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


BLOWING_UP = Paradigm("blow-up", -alpha * mu**4)


def test_failure_names_paradigm_setting_time_and_remedy():
    with pytest.raises(
        IntegrationFailed,
        match=r"simulation of blow-up in Setting\(segments=20, classes=9\) stopped at t = 16\.1\d+ "
        r"before t = 1e\+06 .*max_steps = 3000.*try a larger max_steps.*log_time=True.*kvaerno5",
    ):
        simulate(
            BLOWING_UP, Setting(20, np.array([9, 10])), [1e-3, 1e6], (1.0, 0.0), max_steps=3000
        )


def test_too_few_steps_are_a_failure_in_a_schedule_too():
    with pytest.raises(IntegrationFailed, match=r"of soft@t=200,hard in .*stopped at t = \d"):
        simulate(
            Schedule([("soft", 200.0), ("hard", None)]),
            Setting(20, 20),
            [1e6],
            max_steps=3,
            **TIGHT,
        )


def test_under_jit_entries_after_a_failure_are_nan():
    with jax.enable_x64(True):
        found = jax.jit(
            lambda m: simulate(BLOWING_UP, Setting(m, 9), [1e-3, 1e6], (1.0, 0.0), max_steps=500).mu
        )(20.0)
    assert np.isfinite(found[0]) and np.isnan(found[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paradigm": "sfot"}, "unknown paradigm 'sfot'; did you mean 'soft'"),
        (
            {"setting": (20, 20)},
            r"setting must be an attnflow.Setting\(segments, classes\), got \(20",
        ),
        ({"times": -1.0}, "times must be finite and at least 0, got -1.0"),
        ({"times": [1.0, np.nan]}, "times must be finite and at least 0, got nan"),
        ({"times": [1.0, np.inf]}, "times must be finite and at least 0, got inf"),
        ({"times": "ten"}, "times must be finite and at least 0, got ten"),
        ({"initial": 0.0}, r"initial must be a pair \(mu0, nu0\), got 0.0"),
        ({"initial": (np.nan, 0.0)}, r"initial mu \(mu0\) .* from -300 to 300, got nan"),
        ({"initial": (0.0, np.inf)}, r"initial nu \(nu0\) .* from -300 to 300, got inf"),
        ({"freeze": "alpha"}, "freeze must be None, 'focus' or 'classifier', got 'alpha'"),
        ({"solver": "dopri9"}, "unknown solver 'dopri9'; did you mean 'dopri8'.*kvaerno5"),
        ({"log_time": "sometimes"}, "log_time must be True or False, got 'sometimes'"),
        ({"interpolate": 2}, "interpolate must be True or False, got 2"),
        ({"rtol": 0.0}, "rtol must be a finite number above 0, got 0.0"),
        ({"atol": -1e-9}, "atol must be a finite number above 0, got -1e-09"),
        ({"max_steps": 0.5}, "max_steps must be a whole number of at least 1, got 0.5"),
        (
            {"setting": Setting(np.array([2, 3]), 5), "initial": (np.zeros(3), 0.0)},
            r"must broadcast together, got shapes \(2,\), \(3,\)",
        ),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_bad_arguments_are_refused_by_name(change, message):
    given_arguments = {"paradigm": "soft", "setting": Setting(20, 20), "times": [1.0]} | change
    with pytest.raises((SettingError, ParadigmError), match=message):
        simulate(**given_arguments)


@settings(max_examples=30)
@given(
    name=st.sampled_from(["soft", "hard", "lvml"]),
    m=st.integers(2, 100_000),
    C=st.integers(2, 100_000),
    log_horizon=st.floats(-3, 12),
)
def test_laws_of_a_zero_start(name, m, C, log_horizon):
    """alpha in [1/m, 1), mu and nu never fall, the loss never rises, the invariant stands."""
    times = 10**log_horizon * np.array([0.0, 0.01, 0.1, 0.5, 1.0])
    found = simulate(name, Setting(m, C), times)
    assert np.all(np.diff(found.mu) > 0) and np.all(np.diff(found.nu) >= 0)
    assert np.all(np.diff(found.loss) <= 4e-16 * np.log(C))
    assert np.all(found.alpha >= (1 - 4e-16) / m)
    assert np.all((found.complement > 0) & (found.complement <= (1 + 4e-16) * (m - 1) / m))
    # nu + e^nu/B and Phi cancel: the drift is measured against their size
    size = np.max(np.abs(found.nu) + np.exp(found.nu) / (m - 1))
    assert np.ptp(found.first_integral) < 1e-9 * size


@settings(max_examples=15)
@given(C=st.integers(2, 1000), t=st.floats(0.1, 1e6))
def test_paradigms_agree_when_attention_is_complete(C, t):
    """At alpha -> 1 there is one foreground segment to see, and e^mu + (C - 1) mu = t + 1."""
    levels = []
    for name in ("soft", "hard", "lvml"):
        found = simulate(name, Setting(2, C), [t, t / 2, t / 9], (0.0, 36.0), **TIGHT)
        levels.append(np.exp(found.mu) + (C - 1) * found.mu - 1)
    np.testing.assert_allclose(levels, 3 * [[t, t / 2, t / 9]], rtol=1e-11)


def test_averaging_a_quantity_of_ones_own_needs_no_other_code():
    cubes = averaging("cube", beta ** sp.Integer(3))
    found = simulate(cubes, Setting(6, 4), [0.0, 10.0, 1e4])
    assert np.all(np.diff(found.loss) < 0)
    assert np.ptp(found.first_integral) < 1e-9 * np.max(np.exp(found.nu))
