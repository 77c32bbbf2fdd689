"""The special functions against mpmath, their closed derivatives, limits and identities."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnflow.numeric import special

SMALLEST_NORMAL = float(np.finfo(np.float64).tiny)
WORKING = mpmath.MPContext()
WORKING.dps = 50
mpf = WORKING.mpf


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """64-bit numbers and no silent promotion, for each test and only there."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        yield


def omega(z):
    if z > 100:
        w = z
        for _ in range(8):  # Newton's method: exp(z) would be too long a number
            w -= (w + WORKING.log(w) - z) * w / (1 + w)
        return w
    return WORKING.lambertw(WORKING.exp(z)).real


def log_omega(z):
    return z - omega(z) if z < 50 else WORKING.log(omega(z))


def taylor_or(series: Callable, direct: Callable) -> Callable:
    """The series where the direct form would cancel more than the 50 digits hold."""
    return lambda x: series(x) if abs(x) < mpf("1e-8") else direct(x)


def dilog_negexp(u):
    if u > 0:
        return -(WORKING.pi**2) / 6 - u * u / 2 - dilog_negexp(-u)
    return WORKING.polylog(2, -WORKING.exp(u)).real


class Case(NamedTuple):
    """A function, its reference, its closed derivatives, the ulp allowed and its range."""

    function: Callable
    reference: Callable
    first: Callable
    second: Callable
    ulps: float
    points: np.ndarray
    # Allowed absolutely, beside a zero that no float64 hits.
    absolute: float = 0.0


def span(*intervals: tuple[float, float], count: int = 120) -> np.ndarray:
    rng = np.random.default_rng(20)
    return np.concatenate(
        [[a, b, np.nextafter(a, b), np.nextafter(b, a), *rng.uniform(a, b, count)]
         for a, b in intervals]
    )  # fmt: skip


def decades(low: float, high: float, count: int = 150) -> np.ndarray:
    return np.geomspace(10.0**low, 10.0**high, count)


def logistic(u):
    return 1 / (1 + WORKING.exp(-u))


CASES = {
    "wright_omega": Case(
        special.wright_omega,
        omega,
        lambda z: omega(z) / (1 + omega(z)),
        lambda z: omega(z) / (1 + omega(z)) ** 3,
        3,
        np.r_[
            span((-745, -30), (-30, -2), (-2, -1), (-1, 0), (0, 1), (1, 2), (2, 8), (8, 700)),
            decades(-300, 308), -decades(-300, 2), 1 + decades(-15, -1), 1 - decades(-15, -1),
        ],
    ),
    "log_omega": Case(
        special.log_omega,
        log_omega,
        lambda z: 1 / (1 + omega(z)),
        lambda z: -omega(z) / (1 + omega(z)) ** 3,
        4,
        np.r_[
            span((-745, -30), (-30, -1), (-1, 0), (0, 1), (1, 2), (2, 8), (8, 700)),
            decades(-300, 308), 1.7e308, -decades(-300, 300),
            1 + decades(-15, -1), 1 - decades(-15, -1),
        ],
    ),
    "expi": Case(
        special.expi,
        WORKING.ei,
        lambda x: WORKING.exp(x) / x,
        lambda x: WORKING.exp(x) / x * (1 - 1 / x),
        6,
        np.r_[
            span((-700, -30), (-30, -4), (-4, -1), (-1, -0.01), (0.01, 0.35), (0.4, 6)),
            span((0.35, 0.4), (6, 12), (12, 30), (30, 200), (200, 716.3), count=60),
            decades(-300, -2), -decades(-300, -2),
        ],
        3e-16,
    ),
    "dilog_negexp": Case(
        special.dilog_negexp,
        dilog_negexp,
        lambda u: -WORKING.log1p(WORKING.exp(u)),
        lambda u: -logistic(u),
        4,
        np.r_[
            span((-700, -30), (-30, -3), (-3, 0), (0, 3), (3, 40), (40, 1e4), count=60),
            decades(-300, 0, 50), -decades(-300, 0, 50),
        ],
    ),
    "phi2": Case(
        special.phi2,
        taylor_or(
            lambda x: x * x * (1 / mpf(2) + x / 6 + x**2 / 24 + x**3 / 120 + x**4 / 720),
            lambda x: WORKING.expm1(x) - x,
        ),
        WORKING.expm1,
        WORKING.exp,
        4,
        np.r_[
            span((-1e3, -3), (-3, -1), (-1, 0), (0, 1), (1, 2), (2, 4), (4, 709)),
            decades(-150, 0), -decades(-150, 300),
        ],
    ),
    "log1pmx": Case(
        special.log1pmx,
        taylor_or(
            lambda x: -x * x * (1 / mpf(2) - x / 3 + x**2 / 4 - x**3 / 5 + x**4 / 6),
            lambda x: WORKING.log1p(x) - x,
        ),
        lambda x: -x / (1 + x),
        lambda x: -1 / (1 + x) ** 2,
        4,
        np.r_[
            span((-0.999, -0.9), (-0.9, -0.5), (-0.5, 0), (0, 1), (1, 10)),
            decades(-150, 307), -decades(-150, -0.01), decades(-15, -1) - 1,
        ],
    ),
    "log1p": Case(
        special.log1p,
        WORKING.log1p,
        lambda x: 1 / (1 + x),
        lambda x: -1 / (1 + x) ** 2,
        2,
        np.r_[
            span((-0.999, -0.9), (-0.9, -0.5), (-0.5, 0), (0, 1), (1, 10)),
            decades(-300, 307), -decades(-300, -0.01), decades(-15, -1) - 1,
        ],
    ),
    "softplus": Case(
        special.softplus,
        lambda u: WORKING.log1p(WORKING.exp(u)),
        logistic,
        lambda u: logistic(u) * logistic(-u),
        4,
        np.r_[span((-708, -30), (-30, 0), (0, 30), (30, 900)), decades(-300, 300)],
    ),
    "sigmoid": Case(
        special.sigmoid,
        logistic,
        lambda u: logistic(u) * logistic(-u),
        lambda u: logistic(u) * logistic(-u) * (1 - 2 * logistic(u)),
        4,
        np.r_[span((-708, -30), (-30, 0), (0, 30), (30, 900)), decades(-300, 300)],
    ),
}  # fmt: skip
every_function = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def representable(case: Case, points: np.ndarray) -> tuple[np.ndarray, list]:
    """The points whose exact result is a normal float64, and those results."""
    exact = [case.reference(mpf(x)) for x in points.tolist()]
    keep = [i for i, v in enumerate(exact) if SMALLEST_NORMAL < abs(v) < np.finfo(float).max]
    return points[keep], [exact[i] for i in keep]


def moderate(case: Case, limit: float = 30.0) -> np.ndarray:
    """Points where first and second derivative are far from overflow."""
    kept = case.points[(np.abs(case.points) < limit) & (np.abs(case.points) > 1e-3)]
    return kept[:: max(1, len(kept) // 80)]


@every_function
def test_values_are_right_to_a_few_units_in_the_last_place(case: Case) -> None:
    points, exact = representable(case, case.points)
    assert len(points) > 0.8 * len(case.points)
    values = np.asarray(case.function(jnp.asarray(points)))
    for x, value, true in zip(points.tolist(), values.tolist(), exact, strict=True):
        allowed = case.ulps * np.spacing(abs(float(true))) + case.absolute * (abs(true) < 0.2)
        assert abs(mpf(value) - true) <= allowed, (x, value, true)


@every_function
def test_derivatives_in_both_modes_are_the_closed_ones(case: Case) -> None:
    points = moderate(case)
    for mode in (jax.jacfwd, jax.jacrev):
        first = jax.jit(jax.vmap(mode(case.function)))(jnp.asarray(points))
        second = jax.jit(jax.vmap(mode(mode(case.function))))(jnp.asarray(points))
        exact = np.array([float(case.first(mpf(x))) for x in points.tolist()])
        np.testing.assert_allclose(first, exact, rtol=4e-15)
        exact = np.array([float(case.second(mpf(x))) for x in points.tolist()])
        # Absolutely where the second derivative of Ei or of the sigmoid changes sign.
        np.testing.assert_allclose(second, exact, rtol=2e-14, atol=2e-16)


@every_function
def test_third_derivative_is_that_of_the_closed_second(case: Case) -> None:
    points = np.array([-0.7, 0.6, 1.9])
    third = jax.jit(jax.vmap(jax.grad(jax.grad(jax.grad(case.function)))))(jnp.asarray(points))
    exact = [float(WORKING.diff(case.second, mpf(x))) for x in points.tolist()]
    np.testing.assert_allclose(third, exact, rtol=1e-13)


@every_function
def test_jit_vmap_and_a_loop_give_the_same(case: Case) -> None:
    points = jnp.asarray(moderate(case))
    eager = case.function(points)
    close = {"rtol": 1e-15, "atol": 0.0}  # compilers may fuse a product and a sum differently
    np.testing.assert_allclose(jax.jit(case.function)(points), eager, **close)
    np.testing.assert_allclose(jax.vmap(case.function)(points), eager, **close)
    loop = [float(case.function(x)) for x in points[:20]]
    np.testing.assert_allclose(loop, eager[:20], **close)
    assert case.function(points.reshape(1, -1, 1)).shape == (1, points.size, 1)


@every_function
def test_float32_stays_float32_and_is_right_to_a_few_ulp(case: Case) -> None:
    points = case.points[(np.abs(case.points) < 80) & (np.abs(case.points) > 1e-18)]
    points = points.astype(np.float32)
    values = case.function(jnp.asarray(points))
    assert values.dtype == jnp.float32
    assert jax.vmap(jax.grad(case.function))(jnp.asarray(points)).dtype == jnp.float32
    exact = np.asarray(case.function(jnp.asarray(points.astype(np.float64))))
    keep = np.isfinite(exact) & (np.abs(exact) > np.finfo(np.float32).tiny)
    error = np.abs(np.asarray(values, dtype=np.float64)[keep] - exact[keep])
    ulps = np.spacing(np.abs(exact[keep]).astype(np.float32)).astype(np.float64)
    beside_zero = 3e-7 * (case.absolute > 0) * (np.abs(exact[keep]) < 0.2)
    assert keep.sum() > 100
    assert np.all(error <= 8 * ulps + beside_zero)


@every_function
def test_integers_become_the_default_float(case: Case) -> None:
    assert case.function(2).dtype == jnp.float64
    assert float(case.function(2)) == float(case.function(2.0))


@every_function
def test_complex_arguments_are_refused_by_dtype(case: Case) -> None:
    with pytest.raises(TypeError, match="expected a real argument, got dtype complex128"):
        case.function(1j)


LIMITS = [
    ("wright_omega", -np.inf, 0.0, 0.0),
    ("wright_omega", np.inf, np.inf, 1.0),
    ("wright_omega", 1.0, 1.0, 0.5),
    ("wright_omega", 1e308, 1e308, 1.0),
    ("log_omega", -np.inf, -np.inf, 1.0),
    ("log_omega", np.inf, np.inf, 0.0),
    ("log_omega", 1.0, 0.0, 0.5),
    ("expi", -np.inf, 0.0, 0.0),
    ("expi", np.inf, np.inf, np.inf),
    ("expi", 0.0, -np.inf, np.inf),
    ("expi", 720.0, np.inf, np.inf),
    ("dilog_negexp", -np.inf, 0.0, 0.0),
    ("dilog_negexp", np.inf, -np.inf, -np.inf),
    ("dilog_negexp", 0.0, -(np.pi**2) / 12, -np.log(2)),
    ("phi2", -np.inf, np.inf, -1.0),
    ("phi2", np.inf, np.inf, np.inf),
    ("phi2", 0.0, 0.0, 0.0),
    ("log1pmx", -1.0, -np.inf, np.inf),
    ("log1pmx", np.inf, -np.inf, -1.0),
    ("log1pmx", 0.0, 0.0, 0.0),
    ("log1p", -1.0, -np.inf, np.inf),
    ("log1p", np.inf, np.inf, 0.0),
    ("softplus", -np.inf, 0.0, 0.0),
    ("softplus", np.inf, np.inf, 1.0),
    ("softplus", 0.0, np.log(2), 0.5),
    ("sigmoid", -np.inf, 0.0, 0.0),
    ("sigmoid", np.inf, 1.0, 0.0),
    ("sigmoid", 0.0, 0.5, 0.25),
]


@pytest.mark.parametrize(("name", "x", "value", "slope"), LIMITS)
def test_limits_of_value_and_slope(name: str, x: float, value: float, slope: float) -> None:
    function = getattr(special, name)
    np.testing.assert_allclose(function(x), value, rtol=5e-16)
    np.testing.assert_allclose(jax.grad(function)(x), slope, rtol=5e-16)
    np.testing.assert_allclose(jax.jit(function)(jnp.full(3, x)), value, rtol=5e-16)


@every_function
def test_nan_stays_nan_and_nothing_else_becomes_nan(case: Case) -> None:
    assert np.isnan(case.function(jnp.nan))
    points = jnp.asarray(case.points)
    for function in (case.function, jax.grad(case.function), jax.grad(jax.grad(case.function))):
        values = jax.jit(jax.vmap(function))(points)
        assert not np.any(np.isnan(values))


def test_wright_omega_is_finite_and_smooth_where_its_branches_meet() -> None:
    for seam in (-1.0, 8.0):
        points = seam + 1e-6 * np.linspace(-1, 1, 201)
        values = np.asarray(special.wright_omega(jnp.asarray(points)))
        assert np.all(np.diff(values) > 0)
        np.testing.assert_allclose(values - values[100] - (points - seam) * values[100]
                                   / (1 + values[100]), 0, atol=3e-13)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.floats(-1, 1e308))
def test_omega_plus_its_logarithm_is_the_argument(z: float) -> None:
    with jax.enable_x64(True):
        w = float(special.wright_omega(z))
        x = float(special.log_omega(z))
    assert w + np.log(w) == pytest.approx(z, rel=1e-15, abs=2e-15)
    assert w + x == pytest.approx(z, rel=1e-15, abs=2e-15)


@settings(max_examples=200, deadline=None)
@given(st.floats(-700, 1e300))
def test_omega_times_its_exponential_is_the_exponential(z: float) -> None:
    with jax.enable_x64(True):
        w = float(special.wright_omega(z))
        x = float(special.log_omega(z))
    assert np.exp(x) == pytest.approx(w, rel=4e-16 * max(4.0, abs(x)))


@settings(max_examples=200, deadline=None)
@given(st.floats(-700, 700, allow_subnormal=False))
def test_softplus_at_opposite_arguments_differs_by_the_argument(u: float) -> None:
    with jax.enable_x64(True):
        assert float(special.softplus(u)) - float(special.softplus(-u)) == pytest.approx(
            u, rel=4e-16, abs=4e-16
        )
        assert float(special.sigmoid(u)) + float(special.sigmoid(-u)) == pytest.approx(1, rel=4e-16)


@settings(max_examples=200, deadline=None)
@given(st.floats(-30, 30))
def test_dilogarithm_obeys_its_inversion_and_duplication(u: float) -> None:
    with jax.enable_x64(True):
        total = float(special.dilog_negexp(u)) + float(special.dilog_negexp(-u))
        assert total == pytest.approx(-(np.pi**2) / 6 - u * u / 2, rel=2e-15)
        # Landen: Li2(-y) + Li2(y/(1 + y)) = -log(1 + y)^2/2, the second by its power series.
        y = np.exp(-abs(u) - 1)
        k = np.arange(1, 80)
        second = np.sum((y / (1 + y)) ** k / k**2)
        assert float(special.dilog_negexp(-abs(u) - 1)) + second == pytest.approx(
            -(np.log1p(y) ** 2) / 2, rel=1e-14, abs=4e-16
        )


@settings(max_examples=200, deadline=None)
@given(st.floats(-40, 40))
def test_phi2_and_log1pmx_undo_each_other(x: float) -> None:
    # log(1 + (e^x - 1)) = x, so log1pmx(expm1(x)) = -phi2(x).
    with jax.enable_x64(True):
        y = np.expm1(x)
        if y > -1:
            # Relative error of y times the condition of log1pmx at y near -1.
            slack = 1e-14 + 4e-16 * np.exp(max(-x, 0))
            assert float(special.log1pmx(y)) == pytest.approx(-float(special.phi2(x)), rel=slack)
            assert float(special.log1p(y)) == pytest.approx(x, rel=slack)


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-3, 50), st.sampled_from([-1.0, 1.0]))
def test_exponential_integral_over_a_short_step_is_its_integrand(x: float, sign: float) -> None:
    x, node = sign * x, np.sqrt(3 / 5)
    half = min(abs(x), 1.0) / 64
    with jax.enable_x64(True):
        step = float(special.expi(x + half)) - float(special.expi(x - half))
        size = abs(float(special.expi(x)))
    t = x + half * np.array([-node, 0, node])
    gauss = half * float(np.sum(np.array([5, 8, 5]) / 9 * np.exp(t) / t))
    assert step == pytest.approx(gauss, rel=1e-6, abs=4e-15 * max(size, 1))
