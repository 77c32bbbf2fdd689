"""Crossings of focus curves: they are crossings, none is missed, none is invented."""

import math

import jax
import numpy as np
import pytest

import attnflow.numeric.crossings as module
from attnflow.errors import SettingError
from attnflow.numeric.closed_form import solve
from attnflow.numeric.crossings import crossings
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import power_mean
from oracles import high_precision

PAIRS = [("soft", "hard"), ("hard", "lvml"), ("soft", "lvml")]


def exact_difference(first, second, m, C, time):
    values = [high_precision.trajectory(p, m, C, time, digits=25)["nu"] for p in (first, second)]
    return values[0] - values[1]


@pytest.mark.parametrize(("m", "C"), [(20, 20), (5, 3), (1000, 2)])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_the_exact_curves_change_sign_within_a_trillionth(pair, m, C):
    for time in crossings(*pair, Setting(m, C)):
        before, after = (exact_difference(*pair, m, C, time * (1 + e)) for e in (-2e-12, 2e-12))
        assert before * after < 0


@pytest.mark.parametrize(
    ("m", "C"), [(2, 3), (5, 3), (10, 10), (20, 20), (100, 1000), (1000, 1000), (10**5, 10**5)]
)
def test_hard_passes_soft_once_at_a_few_times_m_C(m, C):
    (time,) = crossings("soft", "hard", Setting(m, C))
    assert 1.25 < time / (m * C) < 3.35


@pytest.mark.parametrize("m, C", [(5, 3), (20, 20), (100, 1000), (1000, 2), (1000, 1000)])
def test_hard_passes_lvml_once_at_a_few_times_m_C(m, C):
    (time,) = crossings("lvml", "hard", Setting(m, C))
    assert 1.3 < time / (m * C) < 4.2


@pytest.mark.parametrize("m, C", [(2, 2), (2, 3), (5, 3), (10, 100), (2, 1000), (1000, 2)])
def test_lvml_falls_below_soft_where_m_or_C_is_small(m, C):
    times = crossings("lvml", "soft", Setting(m, C))
    assert len(times) == (1 if C == 2 else 2)
    assert np.all(np.diff(times) > 0)


@pytest.mark.parametrize("m, C", [(10, 10), (20, 20), (100, 10), (100, 1000), (10**5, 10**5)])
def test_lvml_stays_above_soft_elsewhere(m, C):
    assert crossings("lvml", "soft", Setting(m, C)).size == 0


@pytest.mark.parametrize("m, C", [(2, 2), (20, 20), (100, 1000), (10**5, 10**5), (10**6, 2)])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_rounding_at_the_start_is_no_crossing(pair, m, C):
    assert crossings(*pair, Setting(m, C), until=0.3 * m * C).size == 0


@pytest.mark.slow
def test_between_crossings_the_sign_alternates():
    setting = Setting(5, 3)
    first, second = crossings("lvml", "soft", setting)
    times = np.array([0.1 * first, 0.9 * first, np.sqrt(first * second), 1.1 * second, 1e9])
    above = solve("lvml", setting, times).alpha - solve("soft", setting, times).alpha
    assert np.sign(above).tolist() == [1, 1, -1, 1, 1]


def test_two_crossings_between_points_of_the_grid_are_found(monkeypatch):
    fine = crossings("lvml", "soft", Setting(5, 3))
    monkeypatch.setattr(module, "GRID", 131)  # spacing 0.64 in log t; the crossings lie 0.42 apart
    for shift in (0.0, 0.32 * 130 / 90, 0.16 * 130 / 90):  # where on the grid they lie
        monkeypatch.setattr(module, "SPAN", math.log(1e36) + shift)
        np.testing.assert_allclose(crossings("lvml", "soft", Setting(5, 3)), fine, rtol=1e-11)


def test_the_order_of_the_curves_does_not_matter():
    there, back = (crossings(*p, Setting(5, 3)) for p in (("soft", "lvml"), ("lvml", "soft")))
    np.testing.assert_allclose(there, back, rtol=1e-12)


def test_time_scales_with_the_learning_rates():
    plain = crossings("soft", "hard", Setting(20, 20))
    faster = crossings("soft", "hard", Setting(20, 20, focus_rate=3.0, classifier_rate=3.0))
    np.testing.assert_allclose(faster, plain / 3, rtol=1e-11)


def test_margins_cross_at_times_of_their_own():
    setting = Setting(20, 20)
    (time,) = crossings("soft", "lvml", setting, quantity="mu")
    around = np.array([0.99, 1.01]) * time
    apart = solve("soft", setting, around).mu - solve("lvml", setting, around).mu
    assert apart[0] * apart[1] < 0
    assert crossings("soft", "lvml", setting, quantity="beta") == pytest.approx(time, rel=1e-14)


@pytest.mark.slow  # starts and paradigms reach crossings by solve alone
def test_any_start_and_any_paradigm_will_do():
    setting, initial = Setting(7, 5), (-1.0, 0.5)
    times = crossings("soft", power_mean("1/2"), setting, initial)
    assert times.size > 0
    curves = [solve(p, setting, times, initial).nu for p in ("soft", power_mean("1/2"))]
    np.testing.assert_allclose(*curves, rtol=1e-11)


def test_a_schedule_is_a_curve_too():
    hybrid = Schedule([("soft", 100.0), ("hard", np.inf)])
    times = crossings("soft", hybrid, Setting(20, 20))
    assert np.all(times > 100)  # up to the switch the curves are one
    nu = [solve(p, Setting(20, 20), times).nu for p in ("soft", hybrid)]
    np.testing.assert_allclose(*nu, rtol=1e-11)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantity": "gamma"}, "quantity must be one of alpha, nu, mu, beta, got 'gamma'"),
        ({"until": 0}, "until must be a finite time above 0, got 0"),
        ({"until": np.inf}, "until must be a finite time above 0, got inf"),
        ({"initial": (np.nan, 0)}, r"initial mu \(mu0\) .* from -300 to 300, got nan"),
        ({"paradigm_b": "soft"}, "needs two different curves, got 'soft' twice"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    given = {"paradigm_a": "soft", "paradigm_b": "hard", "setting": Setting(20, 20), **arguments}
    with pytest.raises(SettingError, match=message):
        crossings(**given)


def test_a_sweep_is_its_members_filled_up():
    segments, starts = np.array([[3], [40]]), np.array([0.0, 0.5])
    found = crossings("lvml", "hard", Setting(segments, 4), (starts, 0.0))
    assert found.shape[:2] == (2, 2)
    for place in np.ndindex(2, 2):
        alone = crossings(
            "lvml", "hard", Setting(segments[place[0], 0], 4), (starts[place[1]], 0.0)
        )
        np.testing.assert_array_equal(found[place][: alone.size], alone)
        assert np.isnan(found[place][alone.size :]).all()


def test_a_tracer_is_refused():
    with pytest.raises(SettingError, match="crossings runs from plain Python, got a tracer"):
        jax.jit(lambda until: crossings("soft", "hard", Setting(20, 20), until=until))(1.0)
