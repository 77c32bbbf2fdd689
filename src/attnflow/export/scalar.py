"""Orbits in closed form for programs of one number at a time, in any language.

``languages`` translates the text of this module below the mark, statement by statement; so it uses
nothing but arithmetic, functions, lists, choices and the few helpers that each language brings.
It is ``standalone`` without arrays: panels of Gauss points along the margin, and the focus from the
first integral relative to the start of each panel. An orbit is a list of its drive, its pace and
e^nu/B at the start.
"""

import numpy as np
from numpy import exp, expm1, log1p

from attnflow.export.standalone import COEFFICIENTS, NODES, RESOLVED, RUNNING, WEIGHTS

HIGHEST = COEFFICIENTS[-2:]
nan = float("nan")
inner = np.dot
total = sum


def each(function, values):
    """A list of the function's values."""
    return [function(value) for value in values]


def pairs(function, first, second):
    """The same for a function of two arguments."""
    return [function(a, b) for a, b in zip(first, second, strict=True)]


def repeat_while(test, step, state):
    """The first state that fails the test."""
    while test(state):
        state = step(state)
    return state


# --- translated from here -------------------------------------------------------------------------


def refined(delta, force, odds):
    """One step of Householder's method towards delta + odds (e^delta - 1) = force."""
    residual = delta + odds * expm1(delta) - force
    bend = odds * exp(delta)
    slope = 1 + bend
    up = residual * (slope**2 - residual * bend / 2)
    return delta - up / (slope * (slope**2 - residual * bend) + residual**2 * bend / 6)


def increment(force, odds):
    """How far the focus score moves under a force: the first integral between two points."""
    rising = min(force, log1p(max(force, 0) / odds))
    near = rising if force > 0 else min(force / (1 + odds), force + odds)
    half = refined(refined(near, force, odds), force, odds)
    return refined(refined(half, force, odds), force, odds)


def integral(integrand, low, high, parameter):
    """The integral of a function, by 64 panels of Gauss points."""
    width = (high - low) / 64
    state = repeat_while(
        lambda state: state[0] < 64,
        lambda state: [
            state[0] + 1,
            state[1]
            + inner(
                WEIGHTS, each(lambda u: integrand(low + width * (state[0] + u), parameter), NODES)
            ),
        ],
        [0, 0],
    )
    return width * state[1]


def roughness(values):
    """The last two Legendre coefficients relative to the mean."""
    last = inner(HIGHEST, values)
    return 20 * max(abs(last[0]), abs(last[1])) / total(each(lambda value: abs(value), values))


def panel(orbit, clock, rise, width):
    """What a width adds to a point: score, time; then the pace at its end, and its roughness."""
    drive = orbit[0]
    pace = orbit[1]
    odds = orbit[2] * exp(rise)
    drives = each(lambda u: drive(clock + width * u), NODES)
    rises = each(lambda force: rise + increment(width * force, odds), inner(RUNNING, drives))
    paces = pairs(lambda u, score: pace(clock + width * u, score), NODES, rises)
    gained = increment(width * inner(WEIGHTS, drives), odds)
    beyond = pace(clock + width, rise + gained)
    return [gained, width * inner(WEIGHTS, paces), beyond, max(roughness(drives), roughness(paces))]


def attempt(orbit, sign, last_clock, last_time, state):
    """The state [clock, rise, time, width, attempts left] after a panel; -1 left at a limit."""
    found = panel(orbit, state[0], state[1], sign * state[3])
    clock = state[0] + sign * state[3]
    time = state[2] + found[1]
    sound = found[3] < RESOLVED and found[1] >= 0
    passed = abs(clock) >= last_clock or time >= last_time
    wider = max(0.4, min(4, (RESOLVED / (10 * found[3] + 1e-16)) ** (1 / 20)))
    after = [clock, state[1] + found[0], time, state[3] * wider, state[4] - 1]
    whole = [state[0], state[1], state[2], state[3], -1] if passed else after
    return whole if sound else [state[0], state[1], state[2], 0.4 * state[3], state[4] - 1]


def march(orbit, sign, last_clock, last_time):
    """The start of the panel in which a limit of margin or time is passed."""
    return repeat_while(
        lambda state: state[4] > 0,
        lambda state: attempt(orbit, sign, last_clock, last_time, state),
        [0, 0, 0, 0.25, 400],
    )


def direction(orbit):
    """1 where the margin grows at the start, else -1."""
    pace = orbit[1]
    return 1 if pace(0, 0) > 0 else -1


def time_at(orbit, gained):
    """The time at which a margin is gained; not a number where the orbit does not lead there."""
    sign = direction(orbit)
    state = march(orbit, sign, abs(gained), 1e300)
    found = panel(orbit, state[0], state[1], gained - state[0])
    return state[2] + found[1] if state[4] < 0 and sign * gained >= 0 else nan


def narrowed(orbit, passed, start, state):
    """Newton's step of [low, high, width, steps left], by bisection where it would leave them."""
    width = state[2]
    found = panel(orbit, start[0], start[1], width)
    low = state[0] if found[1] > passed else width
    high = width if found[1] > passed else state[1]
    new = width - (found[1] - passed) / found[2]
    outside = (new - low) * (new - high) > 0 and abs(new - width) > 1e-9 * abs(width)
    return [low, high, (low + high) / 2 if outside else new, state[3] - 1]


def state_at(orbit, time):
    """Margin and score gained at a time; not numbers where the panels do not reach."""
    start = march(orbit, direction(orbit), 1e300, time)
    whole = direction(orbit) * start[3]
    passed = time - start[2]
    share = passed / panel(orbit, start[0], start[1], whole)[1]
    bounds = repeat_while(
        lambda state: state[3] > 0,
        lambda state: narrowed(orbit, passed, start, state),
        [0, whole, whole * share, 20],
    )
    found = panel(orbit, start[0], start[1], bounds[2])
    reached = [start[0] + bounds[2], start[1] + found[0]]
    return reached if start[4] < 0 and time >= 0 else [nan, nan]
