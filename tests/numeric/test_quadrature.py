"""Marching: paces whose time and inverse are elementary, the increment, edges and derivatives."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnflow.numeric import dense, quadrature
from attnflow.numeric.dense import along
from attnflow.numeric.quadrature import Track, march
from attnflow.numeric.wright import increment, log_omega_pair
from tolerances import IMPLICIT, SAME


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def exact_increment(force, weight):
    """delta with delta + weight (e^delta - 1) = force, by Newton's method with 60 digits."""
    with mpmath.workdps(60):
        p, w = mpmath.mpf(force), mpmath.mpf(weight)
        delta = min(p, mpmath.log1p(p / w)) if p > 0 else max(p, -60 - w) / (1 + w)
        delta = p / (1 + w) if abs(p) < 1e-3 * min(1, 1 / w) else delta
        for _ in range(300):
            step = (delta + w * mpmath.expm1(delta) - p) / (1 + w * mpmath.exp(delta))
            delta -= max(min(step, 50), -50)
            if abs(step) <= abs(delta) * mpmath.mpf(10) ** -45:
                return delta
        raise AssertionError((force, weight))


@given(
    st.floats(-8, 3).map(lambda e: 10.0**e),
    st.sampled_from([-1.0, 1.0]),
    st.floats(-15, 13).map(lambda e: 10.0**e),
)
def test_increment_solves_the_first_integral_to_the_last_digits(size, sign, weight):
    force = sign * size
    found = float(_increment(force, weight))
    wanted = exact_increment(force, weight)
    condition = float(abs(force / wanted) / (1 + weight * mpmath.exp(wanted)))
    # three steps converge for the moves that a panel makes, and nearly so for a fall right to
    # where e^x is negligible (force = -weight)
    allowed = SAME * (1 + condition) if abs(wanted) < 3 else 1e-12
    assert abs(found - wanted) <= allowed * abs(wanted)


_increment = jax.jit(increment)
_slope = jax.jit(jax.grad(increment, argnums=(0, 1)))


def test_increment_is_odd_to_first_order_and_zero_at_zero():
    assert _increment(0.0, 3.0) == 0.0
    for tiny in (1e-300, -1e-300, 1e-18):
        assert float(_increment(tiny, 3.0)) == pytest.approx(tiny / 4, rel=1e-15, abs=0)


@pytest.mark.parametrize("force", [-2.0, 1e-9, 0.7, 40.0])
@pytest.mark.parametrize("weight", [1e-6, 1.0, 1e6])
def test_increment_has_the_derivatives_of_the_equation(force, weight):
    with mpmath.workdps(60):
        h = mpmath.mpf(10) ** -15
        by_force = (exact_increment(force + h, weight) - exact_increment(force - h, weight)) / (
            2 * h
        )
        h *= weight
        by_weight = (exact_increment(force, weight + h) - exact_increment(force, weight - h)) / (
            2 * h
        )
    np.testing.assert_allclose(
        _slope(force, weight), (float(by_force), float(by_weight)), rtol=1e-12
    )


@pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])
def test_the_pair_of_x_and_its_exponential_solves_x_plus_e_to_the_x(xp):
    z = np.concatenate([np.linspace(-700, 700, 4001), np.linspace(-3, 3, 4001), [1e9, 1e300]])
    x, weight = (np.asarray(v) for v in log_omega_pair(xp.asarray(z)))
    assert np.all(np.abs(x + weight - z) <= 4 * np.finfo(float).eps * np.maximum(np.abs(z), 1))
    np.testing.assert_allclose(weight, np.exp(x), rtol=1e-15 * 700)
    slopes = jax.jit(jax.vmap(jax.grad(lambda v: log_omega_pair(v)[0])))(jnp.asarray(z))
    np.testing.assert_allclose(slopes, 1 / (1 + weight), rtol=SAME)


# dt/dc whose integral can be inverted by hand; the companion follows z = drive * c


def exponential(rate):
    """t = (e^{rate c} - 1)/rate."""
    pace = lambda clock, weight: jnp.exp(rate * clock) + 0 * weight  # noqa: E731
    return pace, lambda t: np.log1p(rate * t) / rate


def onset(depth):
    """t = c + e^{-depth} (e^{c} - 1) - a slow part, then an exponential one; inverse by Newton."""
    small = np.exp(-depth)
    pace = lambda clock, weight: 1 + small * jnp.exp(clock) + 0 * weight  # noqa: E731

    def inverse(t):
        with mpmath.workdps(30):
            c = mpmath.lambertw(mpmath.mpf(small) * mpmath.exp(mpmath.mpf(t) + mpmath.mpf(small)))
            return float(mpmath.mpf(t) + mpmath.mpf(small) - c.real)

    return pace, np.vectorize(inverse)


PACES = {
    "exponential": exponential(1.0),
    "steep": exponential(30.0),
    "falling": exponential(-0.5),
    "onset": onset(20.0),
}
TIMES = {
    "exponential": np.array([0.0, 1e-9, 0.3, 70.0, 1e4, 1e15]),
    "steep": np.array([0.0, 1e-9, 0.3, 70.0, 1e4, 1e15]),
    "falling": np.array([0.0, 1e-9, 0.3, 1.0, 1.9, 1.999]),
    "onset": np.array([0.0, 1e-9, 0.3, 10.0, 40.0, 300.0]),
}


def careful(track, times):
    """Each time by a march of its own, side by side."""
    track = track._replace(x=track.x + 0 * times[None])
    end = march(track, times[None], times[None], careful=True)
    found = quadrature.arrive(track, end, times[None])[:2]
    return tuple(v[0] for v in quadrature.at_rest(track, end, found))


def quick(track, times):
    track = track._replace(x=track.x + 0 * times[None])
    end = march(track, times[None], times[None], careful=False)
    clock, change, good = quadrature.arrive(track, end, times[None])
    return jnp.where(good, clock, jnp.nan)[0], change[0]


def table(track, times):
    """All times from one table of panels."""
    first, last = times[:1][None], times[-1:][None]
    end = march(track, first, last, careful=True, edges=True)
    edges = jnp.concatenate([jnp.zeros(1), end.edges[:, 0]])
    return dense.read(dense.tabulate(track, edges), times)


@pytest.mark.parametrize("name", PACES)
@pytest.mark.parametrize("way", [careful, quick, table])
def test_march_inverts_time_to_the_last_digits(name, way):
    pace, inverse = PACES[name]
    track = Track(lambda clock: 0.7 + 0 * clock, pace, jnp.log(jnp.full((1, 1), 0.2)))
    times = TIMES[name][1:]
    clock, companion = jax.jit(lambda t: way(track, t))(jnp.array(times))
    wanted = inverse(times)
    # near the end of "falling" time to clock magnifies 2000 times what rounding left of 2 - t
    np.testing.assert_allclose(clock, wanted, rtol=IMPLICIT if name != "falling" else 2000 * SAME)
    moved = [float(exact_increment(0.7 * float(c), 0.2)) for c in np.asarray(clock)]
    np.testing.assert_allclose(companion, moved, rtol=SAME)


@pytest.mark.parametrize("way", [careful, quick, table])
def test_a_clock_may_run_backwards(way):
    track = Track(jnp.zeros_like, lambda c, w: -jnp.exp(-c) + 0 * w, jnp.zeros((1, 1)))
    times = jnp.array([0.5, 10.0, 1e6])
    clock, companion = jax.jit(lambda t: way(track, t))(times)
    np.testing.assert_allclose(clock, -np.log1p(np.asarray(times)), rtol=SAME)
    assert np.all(np.asarray(companion) == 0)


def test_a_clock_that_stands_still_stays_at_its_start():
    track = Track(jnp.zeros_like, lambda c, w: jnp.inf + 0 * c * w, jnp.zeros((1, 1)))
    times = jnp.array([0.5, 10.0, 1e6])
    clock, companion = jax.jit(lambda t: careful(track, t))(times)
    assert np.all(np.asarray(clock) == 0)
    assert np.all(np.asarray(companion) == 0)


def test_a_clock_that_comes_to_rest_tends_to_its_equilibrium():
    # c' = 1 - c: time is -log(1 - c), infinite at c = 1
    track = Track(jnp.zeros_like, lambda c, w: 1 / (1 - c) + 0 * w, jnp.zeros((1, 1)))
    times = jnp.array([0.5, 5.0, 1e6])
    clock, _ = jax.jit(lambda t: careful(track, t))(times)
    np.testing.assert_allclose(clock, -np.expm1(-np.asarray(times)), rtol=1e-12)


def test_panels_grow_with_the_logarithm_of_the_horizon_at_most():
    pace, _ = PACES["exponential"]
    track = Track(jnp.zeros_like, pace, jnp.zeros((1, 5)))
    last = 10.0 ** jnp.array([[3.0, 6, 9, 12, 15]])
    counts = np.asarray(march(track, jnp.ones((1, 5)), last, careful=True).count)[0]
    assert counts[-1] < quadrature.PANELS / 4
    assert np.max(np.diff(counts)) <= 10  # of e^7 = 1e3 in time


def test_time_along_fixed_edges_is_the_quadrature_and_differentiable():
    edges = jnp.concatenate([jnp.linspace(0.0, 6.0, 31), jnp.full(5, 6.0)])

    def both(rate):
        track = Track(
            lambda c: rate + 0 * c, lambda c, w: jnp.exp(rate * c) + 0 * w, jnp.zeros((1, 1))
        )
        return along(track, edges, jnp.array([0.1, 1.0, 5.9]))

    clock = np.array([0.1, 1.0, 5.9])
    (time, companion), (slope, _) = jax.jvp(both, (1.5,), (1.0,))
    np.testing.assert_allclose(time, np.expm1(1.5 * clock) / 1.5, rtol=SAME)
    wanted = clock * np.exp(1.5 * clock) / 1.5 - np.expm1(1.5 * clock) / 1.5**2
    np.testing.assert_allclose(slope, wanted, rtol=1e-12)
    moved = [float(exact_increment(1.5 * c, 1.0)) for c in clock]
    np.testing.assert_allclose(companion, moved, rtol=SAME)
