"""Laws that every trajectory of ``solve`` obeys: flow, conservation, composition, order, limits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnflow import Setting, power_mean, solve
from oracles import high_precision, textbook
from tolerances import CLAIM, RESIDUAL, SAME

NAMES = ("soft", "hard", "lvml")
CASES = [(5, 3, 0.0, 0.0, 1.0), (100, 1000, 0.0, 0.0, 2.5), (10**6, 2, -4.0, 12.0, 1.0)]
MANY = np.array([0.0, 1e-3, 1.0, 30.0, 700.0, 2e4, 5e5, 1e9])


def problem(case):
    m, classes, mu0, nu0, rate = case
    return Setting(m, classes, focus_rate=rate), (mu0, nu0)


# The flow and its first integral


@pytest.mark.parametrize("name", NAMES)
def test_the_velocity_is_the_printed_field(name):
    with jax.enable_x64(True):
        times = jnp.array([0.0, 2.0, 1e8])

        @jax.jit
        def motion(setting, start, at):
            def state(t):
                found = solve(name, setting, t, start)
                return found.mu, found.nu

            return jax.jvp(state, (at,), (jnp.ones(3),))

        for case in CASES:
            (at_mu, at_nu), rates = motion(*problem(case), times)
            with mpmath.workdps(40):
                for i in range(3):
                    point = mpmath.mpf(float(at_mu[i])), mpmath.mpf(float(at_nu[i]))
                    wanted = textbook.FIELDS[name](*point, case[0], case[1], case[4])
                    for rate, want in zip(rates, wanted, strict=True):
                        scale = abs(want) or 1
                        assert abs(float(rate[i]) - want) <= RESIDUAL * scale, (case, i)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_integral_is_constant(name):
    for case in CASES:
        found = solve(name, *[problem(case)[0], MANY, problem(case)[1]])
        terms = np.abs(found.nu) + np.exp(found.nu) / (case[0] - 1) + 1
        drift = np.abs(found.first_integral - found.first_integral[0]) / terms
        # potential and e^nu are sums of some dozens of terms, each rounded
        assert np.max(drift) <= 1e-12, case


@pytest.mark.parametrize("name", NAMES)
def test_a_trajectory_restarted_from_a_middle_state_goes_on_as_before(name):
    for case in CASES:
        setting, start = problem(case)
        whole = solve(name, setting, MANY, start)
        middle = 3
        rest = solve(
            name,
            setting,
            np.maximum(MANY - MANY[middle], 0.0),
            (float(whole.mu[middle]), float(whole.nu[middle])),
        )
        np.testing.assert_allclose(rest.mu[middle:], whole.mu[middle:], rtol=CLAIM)
        np.testing.assert_allclose(rest.nu[middle:], whole.nu[middle:], rtol=CLAIM)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(
    st.integers(2, 10**6),
    st.integers(2, 10**6),
    st.floats(-2, 8),
    st.sampled_from([0.1, 1.0, 10.0]),
)
def test_from_a_zero_start_focus_and_margin_grow_and_the_loss_falls(name, m, classes, decade, rate):
    times = 10.0**decade * np.array([0.0, 0.01, 0.1, 1.0, 3.0, 10.0, 1e3, 1e6])
    found = solve(name, Setting(m, classes, focus_rate=rate), times)
    for rising in (found.mu, found.nu):
        assert rising[0] == 0
        assert np.all(np.diff(rising) > 0)
    assert np.all(found.alpha >= (1 - SAME) / m)
    # a tiny start may round away beside log C and 1/m: non-strict there
    assert np.all(np.diff(found.alpha) >= 0)
    assert np.all(np.diff(found.complement) <= 0)
    assert np.all(found.complement > 0)
    assert np.all(np.diff(found.beta) >= 0)
    assert np.all(np.diff(found.loss) <= SAME * found.loss[:-1])
    assert found.loss[0] == pytest.approx(np.log(classes), rel=1e-14)
    assert np.all(found.loss >= 0)
    assert np.all(found.focus_gradient[1:] > 0)


# Limits and symmetries


def test_at_full_focus_all_paradigms_are_plain_softmax_regression():
    # two segments and nu0 = 20: 1 - alpha = 2e-9, and e^mu + (C - 1) mu = t + 1
    times = MANY
    for name in NAMES:
        found = solve(name, Setting(2, 3), times, (0.0, 20.0))
        with mpmath.workdps(30):
            for t, value in zip(times, found.mu, strict=True):
                want = (t + 1) / 2 - mpmath.lambertw(mpmath.exp((mpmath.mpf(t) + 1) / 2) / 2).real
                assert abs(value - want) <= 1e-7 * max(float(want), 1e-3), (name, t)


@pytest.mark.slow
def test_the_power_mean_of_exponent_one_is_lvml_and_tends_to_hard_at_zero():
    setting = Setting(100, 1000)
    one, lvml, hard, small = (
        solve(p, setting, MANY) for p in (power_mean(1), "lvml", "hard", power_mean("1/1000"))
    )
    np.testing.assert_allclose(one.mu, lvml.mu, rtol=CLAIM)
    np.testing.assert_allclose(one.nu, lvml.nu, rtol=CLAIM)
    # first order in s, times log C at most
    assert np.max(np.abs(small.mu - hard.mu)) < 1e-3 * np.max(np.abs(lvml.mu - hard.mu)) * 10
    assert np.all(np.abs(small.mu - hard.mu) <= np.abs(lvml.mu - hard.mu))
    assert power_mean(0).loss == hard.paradigms[0].loss


@pytest.mark.parametrize(
    ("m", "classes", "order"), [(2, 2, "soft"), (4, 2, "soft"), (4, 7, "lvml"), (20, 20, "lvml")]
)
def test_the_paradigms_part_at_the_start_as_the_series_say(m, classes, order):
    times = 1e-3 * m * classes * np.arange(1.0, 9.0)
    soft, hard, lvml = (solve(p, Setting(m, classes), times) for p in ("soft", "hard", "lvml"))
    c, b = classes - 1, m - 1
    cubic = c * b**2 * (2 * m - 3) / (6 * classes**5 * m**7) * times**3
    # relative remainder of order t/(m C), and what rounding of alpha leaves
    slack = 0.05 * cubic + 4e-16 * soft.alpha
    assert np.all(np.abs(soft.alpha - hard.alpha - cubic) <= slack)
    assert np.all(np.abs(lvml.alpha - soft.alpha - (classes - 2) * cubic) <= slack * max(c - 1, 1))
    quadratic = b / (2 * classes**3 * m**3) * times**2
    assert np.all(np.abs(lvml.mu - hard.mu - c * quadratic) <= 0.05 * c * quadratic)
    if order == "soft":  # two classes: lvml and soft part at t^4 only, soft ahead
        quartic = -(b**2) * (m**2 - 2) / (768 * m**9) * times**4
        late = slice(4, None)
        gap = (lvml.alpha - soft.alpha)[late]
        assert np.all(np.abs(gap - quartic[late]) <= 0.2 * np.abs(quartic[late]) + 4e-16)


@pytest.mark.parametrize(("name", "ratio"), [("soft", 1.2535), ("lvml", 0.7184)])
def test_the_onset_of_a_large_setting_comes_at_a_known_multiple_of_m_times_C(name, ratio):
    size = 1e5
    times = size * size * ratio * np.array([0.0, 0.1, 0.5, 1 - 5e-4, 1 + 5e-4, 2.0, 5.0, 10.0])
    with jax.enable_x64(True):  # under jit, where float64 is all there is and enough here
        weight = np.asarray(jax.jit(lambda t: solve(name, Setting(size, size), t).alpha)(times))
    assert weight[3] < 0.5 < weight[4]


def test_only_the_product_of_rate_and_time_counts():
    slow = solve("lvml", Setting(20, 7), 6.0 * MANY)
    fast = solve("lvml", Setting(20, 7, focus_rate=6.0, classifier_rate=6.0), MANY)
    np.testing.assert_allclose(fast.mu, slow.mu, rtol=CLAIM)
    np.testing.assert_allclose(fast.nu, slow.nu, rtol=CLAIM)


@pytest.mark.parametrize(
    ("general", "plain", "stretch"),
    [
        # norm r: t -> r^2 t; k foreground segments: (m - k)/k background ones to each
        ({"foreground_norm": 3.0}, {}, 9.0),
        ({"segments": 57, "foreground_segments": 3}, {"segments": 19}, 1.0),
        # a background vector of norm s speeds the focus up
        ({"background_norm": 1.5}, {"focus_rate": 1 + 7 * 1.5**2}, 1.0),
        (
            {"background_norm": 1.5, "background": "distinct"},
            {"focus_rate": 1 + 7 * 1.5**2 / 18},
            1.0,
        ),
        ({"classifier_rate": 0.5, "focus_rate": 2.0}, {"focus_rate": 4.0}, 0.5),
        (
            {"background_norm": 3.0, "foreground_norm": 2.0, "focus_rate": 0.3},
            {"focus_rate": 0.3 * (1 + 7 * 9 / 4)},
            4.0,
        ),
    ],
    ids=str,
)
def test_a_general_setting_is_a_plain_one_in_other_units(general, plain, stretch):
    found = solve("soft", Setting(**{"segments": 19, "classes": 7, **general}), MANY, (-1.0, 0.5))
    segments = plain.pop("segments", 19)
    wanted = solve("soft", Setting(segments, 7, **plain), stretch * MANY, (-1.0, 0.5))
    plain["segments"] = segments
    np.testing.assert_allclose(found.mu, wanted.mu, rtol=CLAIM)
    np.testing.assert_allclose(found.nu, wanted.nu, rtol=CLAIM)
    np.testing.assert_allclose(found.alpha, wanted.alpha, rtol=CLAIM)


def full_gradient_velocity(name, setting, mu0, nu0):
    """(mu', nu') from the gradient of the loss over all of W and w, spelt segment by segment."""
    m, k, n = setting.segments, setting.foreground_segments, setting.classes
    r, s = setting.foreground_norm, setting.background_norm
    extra = 1 if setting.background == "shared" else m - k
    behind = np.zeros((m - k, n + extra))
    behind[np.arange(m - k), n + (np.arange(m - k) if extra > 1 else 0)] = s

    def loss(W, w):
        total = 0.0
        for label in range(n):
            front = np.zeros((k, n + extra))
            front[:, label] = r
            inputs = jnp.concatenate([front, behind])
            weights = jax.nn.softmax(inputs @ w)
            if name == "soft":
                total -= jax.nn.log_softmax(W @ (weights @ inputs))[label]
            elif name == "hard":
                total -= weights @ jax.nn.log_softmax(inputs @ W.T, axis=1)[:, label]
            else:
                total -= jnp.log(weights @ jax.nn.softmax(inputs @ W.T, axis=1)[:, label])
        return total / n

    W = np.zeros((n, n + extra))
    W[:, :n] = mu0 / r * (np.eye(n) - 1.0 / n)
    w = np.concatenate([np.full(n, nu0 / r), np.zeros(extra)])
    for_W, for_w = jax.grad(loss, argnums=(0, 1))(jnp.array(W), jnp.array(w))
    margin = -setting.classifier_rate * r * (for_W[0, 0] - for_W[1, 0])
    score = -setting.focus_rate * (r * for_w[0] - s * for_w[n])
    return float(margin), float(score)


@pytest.mark.parametrize("background", ["shared", "distinct"])
@pytest.mark.parametrize("name", NAMES)
def test_the_flow_of_a_general_setting_is_that_of_the_full_matrices(name, background):
    setting = Setting(
        5,
        3,
        foreground_segments=2,
        foreground_norm=1.7,
        background_norm=0.6,
        background=background,
        focus_rate=0.4,
        classifier_rate=1.9,
    )
    start = (0.8, -0.3)
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        wanted = full_gradient_velocity(name, setting, *start)
    begun = solve(name, setting, MANY, start)
    assert begun.focus_gradient[0] == pytest.approx(wanted[1], rel=1e-13)
    step = 1e-3
    moved = solve(name, setting, np.array([step, 2 * step, *MANY[2:]]), start)
    # one-sided difference of order 2: error step^2 mu'''/3, relative
    rate = (4 * moved.mu[0] - moved.mu[1] - 3 * start[0]) / (2 * step)
    assert rate == pytest.approx(wanted[0], rel=1e-6)


# Shapes and batches


def test_times_may_have_any_shape_order_and_repeats():
    times = np.array([[700.0, 0.0, 1.0, 30.0], [30.0, 700.0, 5e5, 1e-3]])
    found = solve("soft", Setting(20, 20), times)
    assert found.mu.shape == found.times.shape == found.loss.shape == (2, 4)
    flat = solve("soft", Setting(20, 20), np.sort(times.ravel()))
    order = np.argsort(times.ravel(), kind="stable")
    assert np.array_equal(found.mu.ravel()[order], flat.mu)
    assert found.mu[0, 1] == found.nu[0, 1] == 0.0
    assert found.mu[0, 0] == found.mu[1, 1]
    empty_shape = solve("soft", Setting(20, 20), 30.0)
    assert empty_shape.mu.shape == ()
    assert empty_shape.mu == pytest.approx(found.mu[0, 3], rel=CLAIM)


@pytest.mark.parametrize("name", NAMES)
def test_many_times_share_panels_and_agree_with_few(name):
    times = np.concatenate([[0.0], np.geomspace(1e-6, 1e15, 7)])
    for case in CASES:
        setting, start = problem(case)
        many = solve(name, setting, times, start)
        for some in (times[:3], times[3:6], times[5:]):
            few = solve(name, setting, some, start)
            place = np.searchsorted(times, some)
            np.testing.assert_allclose(many.mu[place], few.mu, rtol=CLAIM)
            np.testing.assert_allclose(many.nu[place], few.nu, rtol=CLAIM)


def test_a_batch_is_the_loop_over_it_and_settings_broadcast_with_starts():
    segments, starts = np.array([2, 20, 1000]), np.array([[-1.0], [2.0]])
    times = np.array([1.0, 30.0, 1e4])
    batch = solve("soft", Setting(segments, 20), times, (starts, 0.5))
    assert batch.mu.shape == batch.alpha.shape == batch.first_integral.shape == (2, 3, 3)
    for i, j in np.ndindex(2, 3):
        one = solve("soft", Setting(segments[j], 20), times, (starts[i, 0], 0.5))
        for q in ("mu", "nu", "alpha", "loss", "first_integral"):
            np.testing.assert_allclose(getattr(batch, q)[i, j], getattr(one, q), rtol=CLAIM)


@pytest.mark.slow
def test_a_batch_larger_than_one_load_comes_back_in_order():
    draw = np.random.default_rng(3)
    segments = draw.integers(2, 10**6, 300)
    batch = solve("soft", Setting(segments, 20), np.array([1.0, 30.0, 1e4]))
    for i in (0, 7, 150, 299):
        one = solve("soft", Setting(segments[i], 20), np.array([1.0, 30.0, 1e4]))
        np.testing.assert_allclose(batch.mu[i], one.mu, rtol=CLAIM)


# Reading a trajectory


def test_observables_are_the_printed_functions_of_mu_and_nu():
    found = solve("lvml", Setting(20, 20), MANY)
    point = [(float(a), float(b)) for a, b in zip(found.mu, found.nu, strict=True)]
    for q, function in [
        ("alpha", lambda a, b: textbook.alpha(b, 20)),
        ("beta", lambda a, b: textbook.beta(a, 20)),
        ("loss", lambda a, b: textbook.loss_lvml(a, b, 20, 20)),
        ("focus_gradient", lambda a, b: textbook.field_lvml(a, b, 20, 20)[1]),
        ("complement", lambda a, b: 1 - textbook.alpha(b, 20)),
    ]:
        with mpmath.workdps(60):
            wanted = [float(function(mpmath.mpf(a), mpmath.mpf(b))) for a, b in point]
        np.testing.assert_allclose(getattr(found, q), wanted, rtol=1e-13, atol=0, err_msg=q)


def test_a_trajectory_is_a_pytree_that_keeps_what_it_is_of():
    found = solve("soft", Setting(20, 20), MANY)
    doubled = jax.tree.map(lambda leaf: leaf, found)
    assert doubled.method == "closed form"
    assert [p.name for p in doubled.paradigms] == ["soft"]
    assert np.array_equal(doubled.alpha, found.alpha)
    assert found.distance is None


def test_the_loss_to_oracle_digits_far_out():
    point = high_precision.trajectory("soft", 20, 20, 1e15, digits=18)
    found = solve("soft", Setting(20, 20), np.array([1.0, 2.0, 1e15]))
    assert found.loss[2] == pytest.approx(float(point["loss"]), rel=CLAIM)
    assert found.complement[2] == pytest.approx(float(point["complement"]), rel=CLAIM)
