"""Just after the onset of a large setting mu is sensitive to t; solve keeps 1e-12 there too."""

import math

import mpmath
import numpy as np
import pytest

from attnflow import Setting, solve
from oracles import high_precision

# t at which alpha is about one half, rounded to a float64 that is then taken as exact
ONSETS = [
    ("soft", 1_000_000, 10, 13211200.176287903),
    ("hard", 1_000_000, 10, 14402442.977897063),
    ("lvml", 1_000_000, 1000, 720067454.4145141),
]


@pytest.mark.parametrize(("name", "segments", "classes", "time"), ONSETS)
def test_the_onset_of_a_large_setting_keeps_twelve_digits(name, segments, classes, time):
    truth = high_precision.trajectory(name, segments, classes, time)
    trajectory = solve(name, Setting(segments, classes), time)
    with mpmath.workdps(40):
        for quantity in ("mu", "nu", "alpha", "complement", "beta", "loss"):
            got, want = mpmath.mpf(float(getattr(trajectory, quantity))), truth[quantity]
            assert abs(got / want - 1) < 1e-12, quantity


def test_float64_alone_would_not_be_enough_there():
    name, segments, classes, time = ONSETS[0]
    after = math.nextafter(time, math.inf)
    ends = solve(name, Setting(segments, classes), np.array([time, after])).mu
    assert ends[1] > ends[0], "the next float64 of t is a different state"
    assert (ends[1] - ends[0]) / ends[0] > 1e-12
