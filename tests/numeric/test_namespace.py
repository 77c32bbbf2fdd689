"""NumPy and JAX serve one implementation: plain calls compile nothing, and both agree."""

import subprocess
import sys

import jax
import jax.monitoring
import numpy as np
import pytest

from attnflow import Schedule, Setting, solve
from attnflow.numeric.closed_form import evaluate
from attnflow.numeric.namespace import namespace
from attnflow.numeric.problem import normalise
from tolerances import CLAIM

QUANTITIES = ("mu", "nu", "alpha", "complement", "beta", "loss", "focus_gradient", "first_integral")
PARADIGMS = ("hard", "lvml")


def run(script):
    """The standard output of a script in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout


def test_plain_calls_do_not_even_import_jax():
    script = """
import sys
import attnflow as af
found = af.solve("soft", af.Setting(20, 20), [1.0, 30.0])
found.alpha, found.loss, found.focus_gradient, found.first_integral
af.solve(af.Schedule([("lvml", 9.0), ("hard", None)]), af.Setting([2, 5], 3), list(range(99)))
af.solve("hard", af.Setting(20, 20), 5.0, freeze="focus").mu
assert "jax" not in sys.modules
"""
    assert run(script) == ""


def test_what_was_made_before_jax_was_imported_is_a_pytree_afterwards():
    script = """
import sys
import attnflow as af
setting = af.Setting(20, 20)
found = af.solve("soft", setting, 30.0)
assert "jax" not in sys.modules
import jax
with jax.enable_x64(True):
    again = jax.jit(lambda s: af.solve("soft", s, 30.0))(setting)
    print(abs(float(again.mu) - float(found.mu)) < 1e-14, len(jax.tree.leaves(found)) > 4)
"""
    assert run(script) == "True True\n"


def test_plain_calls_compile_nothing():
    compiled = []

    def listener(name, *_, **__):
        if "compile" in name:
            compiled.append(name)

    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        for count in (1, 7, 300):
            for plan in ("soft", Schedule([("hard", 30.0), ("lvml", None)])):
                found = solve(plan, Setting(20, 20), np.linspace(0, 400, count), (0.1, 0.2))
                for name in QUANTITIES:
                    getattr(found, name)
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert compiled == []


SLOW = pytest.mark.slow  # the tables themselves are held to references in every run


def random_problems(count):
    draw = np.random.default_rng(12)
    for index in range(count):
        m, C = (int(v) for v in np.exp(draw.uniform(np.log(2), np.log(1e6), 2)).round())
        start = tuple(draw.uniform(-5, 20, 2)) if index % 3 else (0.0, 0.0)
        onset = m * C * 10 ** draw.uniform(-1, 1)
        yield Setting(m, C, focus_rate=10 ** draw.uniform(-1, 1)), start, onset


@pytest.mark.parametrize(
    "count", [pytest.param(2, id="each alone"), pytest.param(60, id="from a table", marks=SLOW)]
)
@pytest.mark.parametrize("name", PARADIGMS)
def test_both_agree_to_rounding(name, count):
    def curve(setting, start, times):
        found = solve(name, setting, times, start)
        return found.times, found.mu, found.nu

    with jax.enable_x64(True):
        compiled = jax.jit(curve)
        for setting, start, onset in random_problems(6):
            times = onset * np.linspace(0, 4, count)
            path = evaluate(normalise(name, setting, times, start))  # float64, as inside jit
            inside = compiled(setting, start, times)
            assert namespace(inside[1]) is jax.numpy
            # a time's rounding grows with how sensitive the state is to time
            pull = np.maximum(np.abs(np.gradient(path.mu, times)), np.abs(path.focus_gradient))
            allowed = CLAIM * (1 + times * pull / 1000)
            for value, other, begin in zip(inside[1:], (path.mu, path.nu), start, strict=True):
                scale = np.maximum(np.abs(other), abs(begin))
                assert np.all(np.abs(np.asarray(value) - other) <= allowed * scale)


@pytest.mark.parametrize("name", PARADIGMS)
def test_what_follows_from_the_state_is_the_same_in_both(name):
    found = solve(name, Setting(100, 1000), np.geomspace(1e-3, 1e12, 40))
    with jax.enable_x64(True):
        inside = jax.jit(lambda path: [getattr(path, q) for q in QUANTITIES])(found)
    for quantity, value in zip(QUANTITIES, inside, strict=True):
        wanted = getattr(found, quantity)
        # the first integral is what two such sizes leave
        size = np.exp(found.nu) if quantity == "first_integral" else np.abs(wanted)
        assert np.all(np.abs(np.asarray(value) - wanted) <= 1e-13 * size), quantity
