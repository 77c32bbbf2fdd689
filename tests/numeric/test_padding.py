"""One program serves neighbouring numbers of times, and no value depends on it."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from attnflow.numeric import integrate
from attnflow.numeric.closed_form import solve
from attnflow.numeric.padding import SHARED, SHORTEST, cut, length, lengthened
from attnflow.numeric.simulate import simulate
from attnflow.schedule import Schedule
from attnflow.settings import Setting


@given(st.integers(0, 3 * SHARED))
def test_lengths_are_few_and_not_much_longer(count):
    assert count <= length(count) <= max(2 * count, SHORTEST)
    assert length(length(count)) == length(count)
    assert (length(count) == count) if count > SHARED else (length(count) <= SHARED)


@given(arrays(float, array_shapes(min_dims=0, max_dims=3, min_side=0), elements=st.floats(0, 9)))
def test_what_is_added_is_cut_off_again(values):
    with jax.enable_x64(True):
        np.testing.assert_array_equal(cut(lengthened(values), values.shape), values)
    assert lengthened(values).shape == (length(values.size),)


def test_neighbouring_numbers_of_times_share_their_programs():
    times = np.array([[30.0, 1.0], [0.0, 1e4]])
    schedule = Schedule([("soft", 20.0), ("hard", None)])

    def curves(at):
        return {
            name: (found.mu, found.nu, found.stage, found.loss, found.first_integral)
            for name in ("soft", schedule)
            for found in [simulate(name, Setting(20, 20), at, (0.1, 0.2))]
        }

    whole = curves(times)
    before = integrate._integrate._cache_size()
    for place in [(), (1,), (slice(None), 1), (1, 0), ([0, 1, 0], [1, 1, 1])]:
        for name, values in curves(times[place]).items():
            for value, wanted in zip(values, whole[name], strict=True):
                assert np.shape(value) == np.shape(times[place])
                np.testing.assert_allclose(value, wanted[place], rtol=1e-9)
    assert integrate._integrate._cache_size() == before


@pytest.mark.parametrize("compute", [solve, simulate])
def test_a_curve_may_be_a_constant_of_a_compiled_function(compute):
    with jax.enable_x64(True):
        found = compute("soft", Setting(20, 20), [30.0, 1.0], (0.1, 0.2))
        inside = jax.jit(lambda: compute("soft", Setting(20, 20), [30.0, 1.0], (0.1, 0.2)))()
        observed = jax.jit(lambda: (found.mu, found.loss, found.first_integral))()
    for values in (observed, (inside.mu, inside.loss, inside.first_integral)):
        for value, wanted in zip(values, (found.mu, found.loss, found.first_integral), strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-12)


def test_no_times_give_empty_curves():
    for times, segments, shape in [([], 20, (0,)), (np.zeros((0, 3)), [5, 20], (2, 0, 3))]:
        found = solve("soft", Setting(segments, 20), times)
        assert found.mu.shape == found.loss.shape == found.first_integral.shape == shape
