"""``solve`` against independent digits: every paradigm, the corners of its promise, held parts."""

import itertools
import json

import jax
import mpmath
import numpy as np
import pytest

from attnflow import Schedule, Setting, solve
from attnflow.numeric.closed_form import _sensitivity
from oracles import high_precision
from oracles.recorded import REFERENCE
from tolerances import CLAIM, IMPLICIT

QUANTITIES = ("mu", "nu", "alpha", "complement", "beta", "loss")
NAMES = {"soft": "soft", "hard": "hard", "lvml": "lvml", "power": "power-1/2"}
CORNERS = list(itertools.product((2, 10**6), (2, 10**6), (-5.0, 20.0), (-5.0, 20.0)))
LANES = 13


def drawn(seed, count):
    """Settings over the whole range, starts within [-5, 20], a quarter zero; any focus rate."""
    draw = np.random.default_rng(seed)
    for index in range(count):
        m, C = (int(v) for v in np.exp(draw.uniform(np.log(2), np.log(1e6), 2)).round())
        start = draw.uniform(-5, 20, 2) if index % 4 else np.zeros(2)
        rate = 1.0 if index % 2 else float(10 ** draw.uniform(-1, 1))
        yield m, C, *start.tolist(), rate


def problems(seed, corners, count):
    """Rows (m, C, mu0, nu0, focus rate); three times: first, last, about the onset."""
    rows = [(*corner, 1.0) for corner in corners] + list(drawn(seed, count))
    draw = np.random.default_rng(seed + 100)
    between = [m * C * 10 ** draw.uniform(-1, 1) for m, C, *_ in rows]
    return rows, np.array([[1e-6, t, 1e15] for t in between])


def exact(name, rows, times):
    """Every quantity to 18 digits, shape (rows, times)."""
    values = {q: np.empty(times.shape) for q in QUANTITIES}
    for index in np.ndindex(times.shape):
        m, C, mu0, nu0, rate = rows[index[0]]
        point = high_precision.trajectory(name, m, C, times[index], mu0, nu0, rate, digits=18)
        for q in QUANTITIES:
            values[q][index] = float(point[q])
    return values


def side_by_side(paradigm, rows, times):
    """One vmapped call: settings, starts and times all differ from lane to lane.

    Each time is a march of its own, so that panels are not kept narrow by an earlier time.
    """

    def lane(row, at):
        m, C, mu0, nu0, rate = row
        found = solve(paradigm, Setting(m, C, focus_rate=rate), at, (mu0, nu0))
        return {q: getattr(found, q) for q in QUANTITIES}

    each = jax.vmap(jax.vmap(lane, in_axes=(None, 0)))
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, each(tuple(np.array(rows).T), times))


def assert_to_claim(name, seed, corners, count):
    rows, times = problems(seed, corners, count)
    wanted = exact(name, rows, times)
    found = side_by_side(NAMES[name], rows, times)
    starts = {"mu": np.array(rows)[:, 2:3], "nu": np.array(rows)[:, 3:4]}
    for q in QUANTITIES:
        assert found[q].dtype == np.float64
        assert np.all(np.isfinite(found[q]))
        # mu and nu are a start plus a change: near 0 the size of the start is the scale
        scale = np.maximum(np.abs(wanted[q]), np.abs(starts.get(q, 0.0)))
        error = np.abs(found[q] - wanted[q]) / scale
        worst = np.unravel_index(np.argmax(error), error.shape)
        assert error[worst] <= CLAIM, (q, rows[worst[0]], times[worst], error[worst])


@pytest.mark.parametrize("name", NAMES)
def test_twelve_digits_over_the_whole_range(name):
    place = list(NAMES).index(name)
    # half the corners: both values of m, C, mu0, nu0 meet; the next paradigm has the other half
    half = [c for c in CORNERS if (sum(v > 10 for v in c) + place) % 2]
    assert_to_claim(name, place, half, LANES - len(half))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_twelve_digits_in_every_corner_and_at_many_settings(name):
    assert_to_claim(name, 10 + list(NAMES).index(name), CORNERS, 60)


@pytest.mark.parametrize(
    "name", [n if n == "lvml" else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_many_times_read_from_one_table_are_each_time_alone(name):
    rows = [(25, 4, 0, 0, 1), (6926, 3, 0, 0, 1), (11667, 6, 0, 0, 1)]
    rows += list(drawn(20 + list(NAMES).index(name), 21))
    onset = np.array([m * C for m, C, *_ in rows])[:, None]
    times = np.sort(
        np.concatenate(
            [onset * np.linspace(0.02, 8, 120), np.geomspace(1e-3, 1e3 * onset[:, 0], 80).T], axis=1
        )
    )

    def lane(row, at):
        m, C, mu0, nu0, rate = row
        found = solve(NAMES[name], Setting(m, C, focus_rate=rate), at, (mu0, nu0))
        return found.mu, found.nu, _sensitivity(found)

    with jax.enable_x64(True):
        settings = tuple(np.array(rows, float).T)
        together = jax.vmap(lane)(settings, times)
        alone = jax.vmap(jax.vmap(lane, in_axes=(None, 0)))(settings, times)
    # each errs by rounding times how sensitive the state is to time
    allowed = CLAIM * (1 + np.asarray(alone[2]) / 1000)
    size = sum(np.abs(np.array(rows))[:, 2:4].T)[:, None]  # a start plus a change
    for one, other in zip(together[:2], alone[:2], strict=True):
        assert np.all(np.abs(one - other) <= allowed * np.maximum(np.abs(other), size))


def reference_data(section):
    if not REFERENCE.exists():
        pytest.skip(f"no reference data at {REFERENCE.parent.parent.name}/data beside the checkout")
    return json.loads(REFERENCE.read_text())[section]


def by_threes(rows, *keys):
    """Rows of one setting, three at a time (the last repeated): one shape, compiled once."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[k] for k in keys), []).append(row)
    for group in groups.values():
        for begin in range(0, len(group), 3):
            three = group[begin : begin + 3]
            yield three + three[-1:] * (3 - len(three))


@pytest.mark.parametrize("name", ["soft", "hard", "lvml"])
def test_the_25_digit_reference_trajectories(reference, name):
    given = [row for row in reference if row["paradigm"] == name]
    lanes = list(by_threes(given, "m", "C", "mu0", "nu0"))
    assert lanes
    lanes += lanes[-1:] * (LANES - len(lanes))
    rows = [(r["m"], r["C"], float(r["mu0"]), float(r["nu0"]), 1.0) for r, *_ in lanes]
    found = side_by_side(name, rows, np.array([[float(r["t"]) for r in lane] for lane in lanes]))
    starts = {"mu": np.array(rows)[:, 2:3], "nu": np.array(rows)[:, 3:4]}
    for q in ("mu", "nu", "alpha", "beta", "loss"):
        wanted = np.array([[float(r[q]) for r in lane] for lane in lanes])
        scale = np.maximum(np.abs(wanted), np.abs(starts.get(q, 0.0)))
        assert np.max(np.abs(found[q] - wanted) / scale) <= CLAIM, q


def test_the_25_digit_reference_with_the_focus_held():
    for rows in by_threes(reference_data("frozen_focus"), "paradigm", "C", "alpha"):
        a = mpmath.mpf(rows[0]["alpha"])
        nu0 = float(mpmath.log(a / (1 - a)))  # of two segments: the logit of alpha
        times = np.array([float(r["t"]) for r in rows])
        setting = Setting(2, rows[0]["C"])
        found = solve(rows[0]["paradigm"], setting, times, (0.0, nu0), freeze="focus")
        np.testing.assert_allclose(found.mu, [float(r["mu"]) for r in rows], rtol=CLAIM)


def test_the_25_digit_reference_of_a_hybrid():
    rows = reference_data("hybrid")
    then = {row["first"]: row["then"] for row in rows if "then" in row}
    times = np.array([float(r["t"]) for r in rows])
    for index, row in enumerate(rows):
        end = float(row.get("switch", 1e20))  # never, where the data know the first part only
        plan = Schedule([(row["first"], end), (then[row["first"]], None)])
        found = solve(plan, Setting(row["m"], row["C"]), times)
        for q in ("mu", "nu", "alpha", "beta", "loss"):
            assert abs(getattr(found, q)[index] / float(row[q]) - 1) <= CLAIM, (q, row)


# Held parts: time is an explicit function of mu (of the logit of alpha), here in mpmath.

FREE = [(5, 4, 0.0, 0.0), (20, 1000, -3.0, 2.0), (2, 2, 4.0, -3.0)]
HELD_TIMES = np.array([0.5, 300.0, 1e7])


def time_of_margin(name, C, a):
    """t + const as a function of mu, alpha held at a."""
    log_odds = C - 1
    if name == "soft":
        return lambda mu: (mpmath.exp(a * mu) + log_odds * a * mu) / a**2
    if name == "hard":
        return lambda mu: (mpmath.exp(mu) + log_odds * mu) / a
    kappa = (1 - a) / (a * C)
    return lambda mu: (
        (1 + kappa) * mpmath.exp(mu)
        + log_odds * (1 + 2 * kappa) * mu
        - kappa * log_odds**2 * mpmath.exp(-mu)
    )


def kepler_time_of_margin(C, a):
    """The same for lvml by Kepler's equation u + tanh(2 theta) sinh(u) = anomaly."""
    kappa = (1 - a) / (a * C)
    theta = mpmath.asinh(mpmath.sqrt(kappa))
    shift = mpmath.log((C - 1) * mpmath.tanh(theta))

    def time(mu):
        u = mu - shift
        anomaly = u + mpmath.tanh(2 * theta) * mpmath.sinh(u)
        return (anomaly + shift) * (C - 1) * (1 + 2 * kappa)

    return time


@pytest.mark.parametrize("name", ["soft", "hard", "lvml"])
def test_held_focus_obeys_its_implicit_solution(name):
    for m, C, mu0, nu0 in FREE:
        found = solve(name, Setting(m, C), HELD_TIMES, (mu0, nu0), freeze="focus")
        assert np.all(found.nu == nu0)
        with mpmath.workdps(40):
            a = 1 / (1 + (m - 1) * mpmath.exp(-mpmath.mpf(nu0)))
            clocks = [time_of_margin(name, C, a)]
            clocks += [kepler_time_of_margin(C, a)] if name == "lvml" else []
            for clock in clocks:
                for t, mu in zip(HELD_TIMES, found.mu, strict=True):
                    mu = mpmath.mpf(float(mu))
                    late = clock(mu) - clock(mpmath.mpf(mu0)) - t
                    error = late / mpmath.diff(clock, mu)
                    assert abs(error) <= IMPLICIT * max(abs(mu), abs(mu0)), (m, C, t)


def time_of_focus(name, C, mu):
    """t + const as a function of x = logit alpha, mu held."""
    e = mpmath.exp(mu)
    beta = e / (e + C - 1)
    if name == "hard":
        return lambda x: 2 * C * (x + mpmath.sinh(x)) / mpmath.log(C * beta)
    if name == "lvml":
        D = beta - mpmath.mpf(1) / C
        return lambda x: (2 / D + C) * x + (C + 1 / D) * mpmath.exp(x) - mpmath.exp(-x) / D

    def time(x):
        a, rest = 1 / (1 + mpmath.exp(-x)), 1 / (1 + mpmath.exp(x))
        G = mpmath.exp(a * mu) * (mpmath.exp(x) - mpmath.exp(-x))
        G += (mu + 2) * mpmath.ei(a * mu) + (mu - 2) * e * mpmath.ei(-mu * rest)
        G += (C - 1) * (2 * mpmath.sinh(x) + 2 * x)
        return C * G / ((C - 1) * mu)

    return time


@pytest.mark.parametrize("name", ["soft", "hard", "lvml"])
def test_held_classifier_obeys_its_implicit_solution(name):
    for m, C, mu0, nu0 in [(5, 4, 1.0, 0.0), (20, 1000, 7.0, 2.0), (2, 2, -1.5, 3.0)]:
        found = solve(name, Setting(m, C), HELD_TIMES, (mu0, nu0), freeze="classifier")
        assert np.all(found.mu == mu0)
        with mpmath.workdps(60):
            clock = time_of_focus(name, C, mpmath.mpf(mu0))
            shift = mpmath.log(m - 1)
            for t, nu in zip(HELD_TIMES, found.nu, strict=True):
                x = mpmath.mpf(float(nu)) - shift
                late = clock(x) - clock(mpmath.mpf(nu0) - shift) - t
                error = late / mpmath.diff(clock, x)
                assert abs(error) <= IMPLICIT * max(abs(nu), abs(nu0)), (m, C, t)


@pytest.mark.parametrize("name", ["soft", "hard", "lvml"])
def test_a_classifier_held_at_zero_leaves_the_focus_alone(name):
    found = solve(name, Setting(5, 4), HELD_TIMES, (0.0, 1.5), freeze="classifier")
    assert np.all(found.nu == 1.5)
    assert np.all(found.mu == 0.0)


# Schedules


def test_a_schedule_is_its_parts_run_in_turn():
    plan, setting = Schedule([("soft", 30.0), ("hard", None)]), Setting(20, 20)
    times = np.array([10.0, 20.0, 30.0, 50.0, 70.0, 1e6])
    whole = solve(plan, setting, times)
    first = solve("soft", setting, times[:3])
    start = float(first.mu[2]), float(first.nu[2])
    then = solve("hard", setting, times[3:] - 30.0, start)
    for q in ("mu", "nu"):
        parts = np.concatenate([getattr(first, q), getattr(then, q)])
        np.testing.assert_allclose(getattr(whole, q), parts, rtol=CLAIM)
    # at a switch the later part holds: its loss and its pull on the focus
    assert list(np.asarray(whole.stage)) == [0, 0, 1, 1, 1, 1]
    at_switch = solve("hard", setting, np.zeros(3), start)
    for q in ("loss", "focus_gradient"):
        np.testing.assert_allclose(getattr(whole, q)[2], getattr(at_switch, q)[0], rtol=CLAIM)


def test_a_switch_after_the_last_time_changes_nothing():
    times = np.array([0.0, 5.0, 7.0, 20.0, 90.0, 700.0])
    cut = solve(Schedule([("soft", 1e9), ("hard", None)]), Setting(20, 20), times)
    plain = solve("soft", Setting(20, 20), times)
    np.testing.assert_allclose(cut.mu, plain.mu, rtol=CLAIM)
    np.testing.assert_allclose(cut.nu, plain.nu, rtol=CLAIM)
