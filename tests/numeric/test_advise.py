"""``advise``: times of the flow as steps and epochs, the soonest first, and one recommendation."""

import math

import numpy as np
import pytest

import attnflow as af
from attnflow.errors import SettingError

SMALL = af.Setting(5, 3)


@pytest.fixture(scope="module")
def advice():
    return af.advise(SMALL, 0.05, momentum=0.9, batch=256, train=30000, epochs=40)


def test_forecasts_are_those_of_the_closed_form_the_soonest_first(advice):
    reached = [forecast.reached for forecast in advice.forecasts]
    assert reached == sorted(reached)
    for forecast in advice.forecasts:
        at = af.solve(forecast.schedule, SMALL, np.array([forecast.onset, forecast.reached]))
        np.testing.assert_allclose(at.alpha, [0.5, 0.9], rtol=1e-9)  # roots to 1e-11 in time


def test_steps_and_epochs_are_times_by_the_rate_with_momentum(advice):
    for row in advice.as_dict()["forecasts"]:
        for time in (row["onset"], row["reached"], *row["switches"]):
            assert time["steps"] == pytest.approx(time["t"] / 0.5)
            assert time["epochs"] == pytest.approx(time["steps"] / math.ceil(30000 / 256))
    plain = af.advise(SMALL, 0.5, paradigms=["soft"]).forecasts[0]
    soft = next(f for f in advice.forecasts if f.schedule.names == ("soft",))
    assert plain.reached == pytest.approx(soft.reached)


def test_the_largest_stable_rate_is_told_beside_the_given_one(advice):
    lvml = next(f for f in advice.forecasts if f.schedule.names == ("lvml",))
    times = np.linspace(0, lvml.reached, 1000)
    found = af.max_learning_rate("lvml", SMALL, times, 0.9).min()
    assert found == pytest.approx(advice.max_learning_rate, rel=1e-3)
    for factor, word in ((0.5, ", 2 times the given one"), (1.01, "these times do not hold")):
        rate = factor * advice.max_learning_rate
        assert word in af.advise(SMALL, rate, momentum=0.9, paradigms=["lvml"]).stability


def test_each_schedule_is_listed_once(advice):
    names = [forecast.schedule.names for forecast in advice.forecasts]
    assert len(set(names)) == len(names)
    assert {("soft",), ("hard",), ("lvml",)} <= set(names)


def test_a_run_too_short_is_told_by_how_much(advice):
    lvml = next(f for f in advice.forecasts if f.schedule.names == ("lvml",))
    steps = lvml.reached / 0.05
    for share, long_enough in ((0.999, False), (1.001, True)):
        # one epoch of so many steps
        found = af.advise(
            SMALL,
            0.05,
            batch=1,
            train=math.ceil(steps * share),
            epochs=1,
            paradigms=["lvml"],
        )
        assert found.recommendation.startswith("Train with lvml") == long_enough
        assert ("too short" in found.recommendation) != long_enough


def test_where_half_the_segments_are_true_the_focus_has_set_in_at_once():
    assert af.advise(af.Setting(2, 3), 0.1, paradigms=["hard"]).forecasts[0].onset == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0, got 0"),
        ({"momentum": 1}, "momentum must be from 0 to below 1, got 1"),
        ({"batch": 4}, "batch and train together"),
        ({"epochs": 4}, "epochs need train and batch"),
        ({"batch": 4, "train": 0}, "train must be a whole number of at least 1, got 0"),
        ({"target": 0.1}, "target must be above the focus weight at the start"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(SettingError, match=message):
        af.advise(SMALL, **{"learning_rate": 0.1, **options})
