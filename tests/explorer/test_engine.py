"""What runs in the explorer agrees with the library to 1e-9 all over the sliders' range."""

import math

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

import attnflow as af
from attnflow.export.explorer.program import program
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import HARD, SOFT
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, alpha, mu, nu
from explorer.conftest import run_node

AGREE = 1e-9
"""What the page promises. float64 leaves 1e-16 in time, and mu moves up to 1e6 times as fast as
log t just after the onset of the largest setting, so that 1e-10 of it may be rounding."""

QUANTITIES = ("mu", "nu", "alpha", "complement", "loss")
CORNERS = [
    (m, c, mu0, nu0) for m in (2, 10**6) for c in (2, 10**6) for mu0 in (-5, 20) for nu0 in (-5, 20)
]
FROM_ZERO = [(m, c, 0, 0) for m in (2, 7000, 10**6) for c in (2, 3, 10**6)]


def places():
    """Corners of the sliders, starts at zero, and points between."""
    rng = np.random.default_rng(7)
    between = [
        (*(int(round(10**v)) for v in rng.uniform(0.31, 6, 2)), *rng.uniform(-5, 20, 2))
        for _ in range(15)
    ]
    return np.array([*CORNERS, *FROM_ZERO, *between])


def distance(mine, reference, start):
    """Relative to the value, or to how far it moved where it passes through zero."""
    size = np.maximum(np.abs(reference), np.abs(reference - start))
    return np.max(np.abs(mine - reference) / size)


@pytest.mark.parametrize("name", ["soft", "hard", "lvml"])
def test_a_trajectory_agrees_with_solve(ask, name):
    given = places()
    # early, at the onset (about m C), just after it, and as late as the slider goes
    scale = given[:, 0] * given[:, 1]
    shares = np.array([1e-9, 0.3, 0.9, 1.3, 3.0, 1e4])
    times = np.minimum(scale[:, None] * shares, 1e15)
    times[:, 5] = np.where(np.arange(len(given)) % 2, 1e15, times[:, 5])
    times.sort(axis=1)
    found = ask(
        *(
            ["solve", [[name, None]], dict(zip(("m", "C", "mu0", "nu0"), p, strict=True)), list(t)]
            for p, t in zip(given.tolist(), times.tolist(), strict=True)
        )
    )
    for place, row, mine in zip(given, times, found, strict=True):
        m, c, mu0, nu0 = place
        reference = af.solve(name, Setting(m, c), row, (mu0, nu0))
        for quantity in QUANTITIES:
            start = {"mu": mu0, "nu": nu0}.get(quantity, 0.0)
            value = np.asarray(getattr(reference, quantity))
            off = distance(np.array(mine[quantity], float), value, start)
            assert off < AGREE, (name, place, quantity, off)


@pytest.mark.parametrize(
    ("setting", "first", "then", "target"),
    [
        ((20, 20, 0, 0), "soft", "hard", 0.9),
        ((100, 1000, 0, 0), "lvml", "hard", 0.99),
        ((5, 3, -2, 1), "soft", "hard", 0.95),
        ((1000, 2, 0, 0), "soft", "lvml", 0.9),
        ((20, 20, 0, 0), "hard", "soft", 0.9),
    ],
)
def test_the_best_switch_is_the_librarys(ask, setting, first, then, target):
    m, c, mu0, nu0 = setting
    best = af.best_switch(Setting(m, c), target, first, then, (mu0, nu0))
    given = {"m": m, "C": c, "mu0": mu0, "nu0": nu0}
    (mine,) = ask(["bestSwitch", first, then, given, target])
    assert math.isclose(mine["total"], best.total_time, rel_tol=1e-11)
    for name in (first, then):
        assert math.isclose(float(mine["alone"][name]), best.alternatives[name], rel_tol=1e-11)
    # a minimum is flat: its place is known to the square root of what its value is known to, but
    # both find it as the root of a derivative
    assert math.isclose(float(mine["switchTime"]), best.switch_time, rel_tol=AGREE, abs_tol=1e-12)


def test_a_hybrid_agrees_with_solve_part_by_part(ask):
    switch, before, after = 595.5, [1.0, 10.0, 400.0, 550.0, 595.0], [596.0, 650.0, 1e3, 1e6, 1e9]
    one = af.solve("soft", Setting(20, 20), np.array([*before, switch]))
    state = (float(one.mu[-1]), float(one.nu[-1]))
    # six times each, so that what was compiled above is used again
    other = af.solve("hard", Setting(20, 20), np.array([0.1, *after]) - [0, *[switch] * 5], state)
    given = {"m": 20, "C": 20, "mu0": 0, "nu0": 0}
    (mine,) = ask(["solve", [["soft", switch], ["hard", None]], given, before + after])
    for quantity in QUANTITIES:
        first, then = (np.asarray(getattr(part, quantity)) for part in (one, other))
        value = np.concatenate([first[:-1], then[1:]])
        assert distance(np.array(mine[quantity]), value, 0.0) < AGREE


def test_a_target_below_the_start_has_no_switch(ask):
    (mine,) = ask(["bestSwitch", "soft", "hard", {"m": 2, "C": 3, "mu0": 0, "nu0": 0}, 0.4])
    assert mine is None


def test_level_curves_hold_the_first_integral(ask):
    margins, given = np.linspace(-1, 6, 81), {"m": 20, "C": 20, "mu0": 0, "nu0": 0}
    (lines,) = ask(["levels", "soft", given, margins.tolist(), [-1.0, 2.0]])
    nu = np.array(lines)
    constant = nu + np.exp(nu) / 19 - 19 / 40 * margins**2  # Phi of soft attention, by hand
    assert np.ptp(constant, axis=1).max() < 1e-12
    assert np.allclose(nu[:, 40], [-1, 2], rtol=0, atol=1e-15)


def test_own_paradigms_run_with_and_without_first_integral():
    focal = Paradigm("focal", sp.log(1 + (C - 1) * sp.exp(-alpha * mu)) ** 2)
    mixed = Paradigm("mixed", (SOFT.expanded + HARD.expanded) / 2)
    times, start = [0.1, 100.0, 300.0, 1e4], np.array([0.5, -1.0])
    given = {"m": 20, "C": 20, "mu0": 0.5, "nu0": -1}
    source = program([focal, mixed])
    questions = [["solve", [[name, None]], given, times] for name in ("focal", "mixed")]
    onsets = [["onset", name, given] for name in ("focal", "mixed")]
    *found, focal_onset, mixed_onset = run_node(source, questions + onsets)
    exact = af.time_to_focus(focal, Setting(20, 20), 0.5, (0.5, -1.0))
    assert math.isclose(focal_onset, exact, rel_tol=1e-11)
    for paradigm, mine in zip((focal, mixed), found, strict=True):
        # the loss differentiated by sympy, integrated by SciPy
        weight = 1 / (1 + 19 * sp.exp(-nu))
        loss = paradigm.expanded.subs({alpha: weight, C: 20})
        field = [-sp.diff(loss, mu) / 19, -sp.diff(loss, nu) / 20]
        rates = sp.lambdify((mu, nu), field, "numpy")
        done = solve_ivp(
            lambda t, y, rates=rates: rates(*y),
            (0, times[-1]),
            start,
            "DOP853",
            t_eval=times,
            rtol=1e-12,
            atol=1e-13,
            dense_output=True,
        )
        if paradigm is mixed:  # on a grid of twenty a decade
            before, after = done.sol(np.array([mixed_onset / 1.13, mixed_onset]))[1]
            assert before < np.log(19) <= after
        for quantity, origin, value in zip(("mu", "nu"), start, done.y, strict=True):
            assert distance(np.array(mine[quantity]), value, origin) < AGREE
