"""When a focus weight is reached: against Runge-Kutta on the fields as the paper prints them."""

import math

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from attnflow.numeric.closed_form import solve
from attnflow.numeric.events import time_to_focus
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import alpha, mu
from oracles import textbook

FIELDS = {
    "soft": textbook.field_soft,
    "hard": textbook.field_hard,
    "lvml": textbook.field_lvml,
}


def reaching_by_runge_kutta(parts, m, C, target, end):
    """When alpha reaches the target, by an ODE solver on the fields as the paper prints them."""
    state, begin = [0.0, 0.0], 0.0
    for name, until in parts:
        solution = solve_ivp(
            lambda t, y, f=FIELDS[name]: f(y[0], y[1], m, C),
            (begin, min(until, end)),
            state,
            method="DOP853",
            rtol=1e-12,
            atol=1e-12,
            events=lambda t, y: textbook.alpha(y[1], m) - target,
        )
        if solution.t_events[0].size:
            return solution.t_events[0][0]
        state, begin = solution.y[:, -1], until
    return math.inf


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize(("m", "C", "target"), [(20, 20, 0.9), (2, 3, 0.9), (1000, 2, 0.5)])
def test_time_to_focus_is_when_the_trajectory_is_there(name, m, C, target):
    time = time_to_focus(name, Setting(m, C), target)
    path = solve(name, Setting(m, C), time)
    odds = float(path.alpha) / float(path.complement)
    assert odds == pytest.approx(target / (1 - target), rel=2e-13)
    assert time == pytest.approx(
        reaching_by_runge_kutta([(name, math.inf)], m, C, target, 1e6), rel=1e-9
    )


def test_time_to_focus_of_a_schedule_crosses_its_switches():
    parts = [("lvml", 385.0), ("soft", 425.0), ("hard", math.inf)]
    time = time_to_focus(Schedule(parts), Setting(20, 20), 0.9)
    assert time == pytest.approx(reaching_by_runge_kutta(parts, 20, 20, 0.9, 1e4), rel=1e-9)
    early = time_to_focus(Schedule(parts), Setting(20, 20), 0.06)
    assert early == time_to_focus("lvml", Setting(20, 20), 0.06) < 385


def test_time_to_focus_of_arrays_is_that_of_their_members():
    schedule, targets = Schedule("lvml@t=30,hard"), np.array([[0.5, 0.9, 0.3]])
    settings = Setting(np.array([4, 12]), 5, focus_rate=np.array([[1.0], [0.2]]))
    found = time_to_focus(schedule, settings, targets, (0.2, 0.1))
    assert found.shape == (2, 2, 1, 3)
    for i, j in np.ndindex(2, 2):
        one = Setting([4, 12][j], 5, focus_rate=[1.0, 0.2][i])
        each = [time_to_focus(schedule, one, float(t), (0.2, 0.1)) for t in targets.ravel()]
        np.testing.assert_allclose(found[i, j, 0], each, rtol=1e-13)
    assert time_to_focus("soft", one, np.zeros(0)).shape == (0,)


def test_time_to_focus_waits_where_alpha_falls_first():
    setting, initial = Setting(5, 4, background_norm=0.5, focus_rate=2.0), (-2.0, 0.3)
    time = time_to_focus("soft", setting, 0.5, initial)
    path = solve("soft", setting, np.array([0.3 * time, time]), initial)
    assert path.alpha[0] < 1 / (1 + 4 * math.exp(-0.3))
    # here nu moves 1400 times as fast as log t: the last digit of a time shows
    assert path.alpha[1] == pytest.approx(0.5, rel=5e-12)


def test_a_slope_may_be_constant():
    # psi = e^mu, so psi/psi' = 1
    own = Paradigm("own", -sp.log(1 + alpha * sp.exp(mu)))

    def field(_, state):
        weight = textbook.alpha(state[1], 4)
        pull = weight / (math.exp(-state[0]) + weight)
        return pull / 4, (1 - weight) * pull / 5

    time = time_to_focus(own, Setting(4, 5), 0.9)
    end = solve_ivp(field, (0, time), [0.0, 0.0], method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    assert textbook.alpha(end[1], 4) == pytest.approx(0.9, rel=1e-9)


def test_a_focus_that_takes_longer_than_float64_holds_is_reached_never():
    assert time_to_focus("soft", Setting(10**6, 10**6), 0.999999) == math.inf
