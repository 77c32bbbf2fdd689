"""float64 whatever the global setting, which stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnflow import Setting, solve
from attnflow.errors import PrecisionError
from attnflow.numeric.precision import float64, traced
from attnflow.numeric.problem import normalise

SMALL = Setting(5, 3)
TIMES = np.array([1.0, 10.0, 100.0])
QUANTITIES = ("mu", "nu", "alpha", "complement", "beta", "loss", "focus_gradient", "first_integral")


def test_importing_and_solving_leave_the_global_setting_alone():
    assert not jax.config.jax_enable_x64
    solve("soft", SMALL, TIMES)
    assert not jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == jnp.float32


def test_plain_calls_give_float64_numpy_arrays_with_64_bit_mode_off():
    found = solve("soft", SMALL, TIMES)
    for name in ("times", *QUANTITIES):
        value = getattr(found, name)
        assert isinstance(value, np.ndarray), name
        assert value.dtype == np.float64, name


def test_plain_calls_give_the_same_numbers_as_jax_arrays_with_64_bit_mode_on():
    off = solve("soft", SMALL, TIMES)
    with jax.enable_x64(True):
        on = solve("soft", SMALL, TIMES)
        for name in QUANTITIES:
            value = getattr(on, name)
            assert isinstance(value, jax.Array), name
            assert value.dtype == jnp.float64, name
            assert np.array_equal(value, getattr(off, name)), name


def test_float32_inputs_are_taken_at_their_value():
    single = solve("soft", SMALL, np.float32(0.1) * np.ones(3, np.float32))
    double = solve("soft", SMALL, float(np.float32(0.1)) * np.ones(3))
    assert np.array_equal(single.mu, double.mu)


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, jax.vmap], ids=lambda f: f.__name__)
def test_a_transformation_with_64_bit_mode_off_is_refused_in_one_sentence(transform):
    def last(t):
        return solve("soft", SMALL, t).mu

    sentence = (
        r"^solve computes in float64, but runs here inside a JAX transformation with 64-bit mode "
        r"off: wrap the outer call in 'with jax\.enable_x64\(True\):' or set jax_enable_x64(\n|$)"
    )
    argument = jnp.ones(3) if transform is jax.vmap else 1.0
    with pytest.raises(PrecisionError, match=sentence):
        transform(last)(argument)


def test_the_same_transformation_works_with_64_bit_mode_on():
    with jax.enable_x64(True):
        found = jax.jit(lambda t: solve("soft", SMALL, t).mu)(TIMES)
    np.testing.assert_allclose(found, solve("soft", SMALL, TIMES).mu, rtol=1e-15)


def test_traced_sees_a_tracer_anywhere_in_a_tree():
    seen = []

    def inside(x):
        seen.append((traced({"a": [1.0, x]}), traced(1.0, np.ones(2), None)))
        return x

    jax.jit(inside)(1.0)
    assert seen == [(True, False)]


def test_lists_may_hold_tracers():
    def asked(a):
        problem = normalise("soft", Setting([a, 9.0], 20), [a, 2 * a], ([[0.0], [a]], 0.0))
        return problem.cast()

    with jax.enable_x64(True):
        problem = jax.jit(asked)(5.0)
    np.testing.assert_array_equal(problem.times, [5.0, 10.0])
    np.testing.assert_array_equal(problem.setting.segments, [[5.0, 9.0]] * 2)
    assert problem.shape == (2, 2, 2)


def test_results_that_are_no_arrays_pass_unchanged():
    @float64
    def both(value):
        return "name", jnp.asarray(value) / 3

    name, third = both(1.0)
    assert name == "name"
    assert third == 1 / 3
    assert both.__name__ == "both"
