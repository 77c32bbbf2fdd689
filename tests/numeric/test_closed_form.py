"""``solve`` against independent digits: every paradigm, the corners of what it promises, held parts."""

import itertools
import json

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from conftest import REFERENCE

from attnflow import Schedule, Setting, power_mean, solve
from oracles import high_precision
from tolerances import CLAIM, CONDITION

QUANTITIES = ("mu", "nu", "alpha", "complement", "beta", "loss")
NAMES = {"soft": "soft", "hard": "hard", "lvml": "lvml", "power": "power-1/2"}
CORNERS = list(itertools.product((2, 10**6), (2, 10**6), (-5.0, 20.0), (-5.0, 20.0)))


def drawn(seed, count):
    """Settings over the whole range, starts within [-5, 20], a quarter of them zero; any focus rate."""
    draw = np.random.default_rng(seed)
    for index in range(count):
        m, C = (int(v) for v in np.exp(draw.uniform(np.log(2), np.log(1e6), 2)).round())
        start = draw.uniform(-5, 20, 2) if index % 4 else np.zeros(2)
        rate = 1.0 if index % 2 else float(10 ** draw.uniform(-1, 1))
        yield m, C, *start.tolist(), rate


def problems(seed, corners, count):
    """Rows (m, C, mu0, nu0, focus rate), and three times for each: the first, the last, one between."""
    rows = [(*corner, 1.0) for corner in corners] + list(drawn(seed, count))
    draw = np.random.default_rng(seed + 100)
    between = [m * C * 10 ** draw.uniform(-2, 2) for m, C, *_ in rows]
    return rows, np.array([[1e-6, t, 1e15] for t in between])


def exact(name, rows, times):
    """Every quantity, shape (rows, times), and its condition number |t dq/dt|/|q|."""
    values = {q: np.empty(times.shape) for q in QUANTITIES}
    conditions = {q: np.empty(times.shape) for q in QUANTITIES}
    for index in np.ndindex(times.shape):
        m, C, mu0, nu0, rate = rows[index[0]]
        t = times[index]
        now = high_precision.trajectory(name, m, C, t, mu0, nu0, rate, digits=18)
        nudge = 1e-6
        with mpmath.workdps(60):
            later = high_precision.trajectory(
                name, m, C, mpmath.mpf(t) * (1 + nudge), mu0, nu0, rate, digits=18
            )
            for q in QUANTITIES:
                values[q][index] = float(now[q])
                conditions[q][index] = float(abs((later[q] - now[q]) / now[q]) / nudge)
    return values, conditions


def side_by_side(paradigm, rows, times):
    """One vmapped call: settings, starts and times all differ from lane to lane."""

    def lane(row, at):
        m, C, mu0, nu0, rate = row
        found = solve(paradigm, Setting(m, C, focus_rate=rate), at, (mu0, nu0))
        return {q: getattr(found, q) for q in QUANTITIES}

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.vmap(lane)(tuple(np.array(rows).T), times))


def assert_to_claim(name, seed, corners, count):
    rows, times = problems(seed, corners, count)
    wanted, conditions = exact(name, rows, times)
    found = side_by_side(NAMES[name], rows, times)
    starts = {"mu": np.array(rows)[:, 2:3], "nu": np.array(rows)[:, 3:4]}
    for q in QUANTITIES:
        assert found[q].dtype == np.float64
        assert np.all(np.isfinite(found[q]))
        # mu and nu are a start plus a change: near 0 the size of the start is the scale
        scale = np.maximum(np.abs(wanted[q]), np.abs(starts.get(q, 0.0)))
        error = np.abs(found[q] - wanted[q]) / scale
        allowed = CLAIM + CONDITION * conditions[q]
        worst = np.unravel_index(np.argmax(error / allowed), error.shape)
        print(name,q,error[worst],conditions[q][worst],error.max())
        assert error[worst] <= allowed[worst], (q, rows[worst[0]], times[worst], error[worst])


@pytest.mark.parametrize("name", NAMES)
def test_twelve_digits_over_the_whole_range(name):
    # every other corner, the halves shared among the paradigms
    half = CORNERS[list(NAMES).index(name) % 2 :: 2]
    half = [c for i, c in enumerate(CORNERS) if (i // 4 + i + list(NAMES).index(name)) % 2]
    assert_to_claim(name, list(NAMES).index(name), half, 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_twelve_digits_in_every_corner_and_at_many_settings(name):
    assert_to_claim(name, 10 + list(NAMES).index(name), CORNERS, 60)
