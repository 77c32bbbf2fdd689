"""Marching: paces whose time and inverse are elementary, the increment, edges and derivatives."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnflow.numeric import quadrature
from attnflow.numeric.closed_form import _few, _many
from attnflow.numeric.quadrature import Track, along, march
from attnflow.numeric.special import increment
from tolerances import SAME


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


@pytest.mark.parametrize("name", PACES)
@pytest.mark.parametrize("way", [_few, _many], ids=["few", "many"])
def test_march_inverts_time_to_the_last_digits(name, way):
    pace, inverse = PACES[name]
    track = Track(lambda clock: 0.7 + 0 * clock, pace, jnp.asarray(0.2))
    times = jnp.array(TIMES[name])
    clock, companion = jax.jit(lambda t: way(track, t, jnp.min(t[1:]), jnp.max(t)))(times)
    wanted = inverse(TIMES[name])
    # near the end of "falling" time to clock magnifies 2000 times what rounding left of 2 - t
    np.testing.assert_allclose(
        clock, wanted, rtol=SAME if name != "falling" else 2000 * SAME, atol=1e-30
    )
    moved = [float(exact_increment(0.7 * float(c), 0.2)) if c else 0.0 for c in np.asarray(clock)]
    np.testing.assert_allclose(companion, moved, rtol=SAME)


def test_a_clock_may_run_backwards():
    track = Track(jnp.zeros_like, lambda c, w: -jnp.exp(-c) + 0 * w, jnp.asarray(1.0))
    times = jnp.array([0.5, 10.0, 1e6])
    clock, companion = jax.jit(lambda t: _few(track, t, t[0], t[-1]))(times)
    np.testing.assert_allclose(clock, -np.log1p(np.asarray(times)), rtol=SAME)
    assert np.all(np.asarray(companion) == 0)


def test_a_clock_that_stands_still_stays_at_its_start():
    track = Track(jnp.zeros_like, lambda c, w: jnp.inf + 0 * c * w, jnp.asarray(1.0))
    times = jnp.array([0.5, 10.0, 1e6])
    clock, companion = jax.jit(lambda t: _few(track, t, t[0], t[-1]))(times)
    assert np.all(np.asarray(clock) == 0)
    assert np.all(np.asarray(companion) == 0)


def test_a_clock_that_comes_to_rest_tends_to_its_equilibrium():
    # c' = 1 - c: time is -log(1 - c), infinite at c = 1
    track = Track(jnp.zeros_like, lambda c, w: 1 / (1 - c) + 0 * w, jnp.asarray(1.0))
    times = jnp.array([0.5, 5.0, 1e6])
    clock, _ = jax.jit(lambda t: _few(track, t, t[0], t[-1]))(times)
    np.testing.assert_allclose(clock, -np.expm1(-np.asarray(times)), rtol=1e-12)


def test_panels_grow_with_the_logarithm_of_the_horizon_at_most():
    pace, _ = PACES["exponential"]
    track = Track(jnp.zeros_like, pace, jnp.asarray(1.0))
    count = jax.jit(lambda last: march(track, 1.0, last, lambda kept, *_: kept, 0.0)[0].count)
    counts = np.array([int(count(10.0**e)) for e in (3, 6, 9, 12, 15)])
    assert counts[-1] < quadrature.PANELS / 4
    assert np.max(np.diff(counts)) <= 10  # of e^7 = 1e3 in time


def test_time_along_fixed_edges_is_the_quadrature_and_differentiable():
    edges = jnp.concatenate([jnp.linspace(0.2, 6.0, 30), jnp.full(5, 6.0)])

    def both(rate):
        track = Track(
            lambda c: rate + 0 * c, lambda c, w: jnp.exp(rate * c) + 0 * w, jnp.asarray(1.0)
        )
        return along(track, edges, jnp.array([0.1, 1.0, 5.9]))

    clock = np.array([0.1, 1.0, 5.9])
    (time, companion), (slope, _) = jax.jvp(both, (1.5,), (1.0,))
    np.testing.assert_allclose(time, np.expm1(1.5 * clock) / 1.5, rtol=SAME)
    wanted = clock * np.exp(1.5 * clock) / 1.5 - np.expm1(1.5 * clock) / 1.5**2
    np.testing.assert_allclose(slope, wanted, rtol=1e-12)
    moved = [float(exact_increment(1.5 * c, 1.0)) for c in clock]
    np.testing.assert_allclose(companion, moved, rtol=SAME)
