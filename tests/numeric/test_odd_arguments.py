"""Every argument of every public function takes odd values, or refuses them in one sentence."""

import decimal
import fractions

import numpy as np
import pytest
import sympy as sp

import attnflow as af

SMALL = af.Setting(5, 3)
PATH = af.solve("soft", SMALL, [1.0, 2.0])
EXACT = ("closed form",)
ODD = [
    10**400, 1e30, -0.0, True, np.float32(3), decimal.Decimal(3), fractions.Fraction(7, 2), "3",
    [3], np.array([3]), 3 + 0j, None, float("nan"), float("inf"), object(), b"3", {}, set(),
    np.datetime64("2020-01-01"),
]  # fmt: skip
CALLS = {
    **{
        f"Setting {name}": lambda v, name=name: af.solve(
            "soft", af.Setting(**{"segments": 20, "classes": 20, name: v}), [1.0, 10.0]
        )
        for name in [*SMALL.numbers(), "decay", "background"]
    },
    "solve times": lambda v: af.solve("soft", SMALL, v),
    "solve times listed": lambda v: af.solve("soft", SMALL, [v]),
    "solve start": lambda v: af.solve("soft", SMALL, 1.0, (v, 0.0)),
    "solve pair": lambda v: af.solve("soft", SMALL, 1.0, v),
    "solve paradigm": lambda v: af.solve(v, SMALL, 1.0),
    "solve setting": lambda v: af.solve("soft", v, 1.0),
    "solve freeze": lambda v: af.solve("soft", SMALL, 1.0, freeze=v),
    **{
        f"simulate {name}": lambda v, name=name: af.simulate(
            "soft", SMALL, 1.0, **{"solver": "scipy", name: v}
        )
        for name in "rtol atol solver max_steps learning_rate log_time interpolate".split()
    },
    "simulate momentum": lambda v: af.simulate(
        "soft", SMALL, 1.0, solver="scipy", learning_rate=0.1, momentum=v
    ),
    **{
        f"descend {name}": lambda v, name=name: af.descend("soft", SMALL, 1.0, **{name: v})
        for name in "learning_rate perturbation seed momentum nesterov optimizer max_steps".split()
    },
    "time_to_focus target": lambda v: af.time_to_focus("soft", SMALL, v),
    "crossings until": lambda v: af.crossings("soft", "lvml", SMALL, until=v),
    "crossings quantity": lambda v: af.crossings("soft", "lvml", SMALL, quantity=v),
    "best_switch target": lambda v: af.best_switch(SMALL, v, "soft", "hard"),
    "best_schedule paradigms": lambda v: af.best_schedule(SMALL, 0.9, v),
    "best_schedule order": lambda v: v is None or af.best_schedule(SMALL, 0.9, order=v),
    "timed": lambda v: af.timed(v, SMALL),
    "advise learning_rate": lambda v: af.advise(SMALL, v, paradigms=["soft"]),
    "advise batch": lambda v: af.advise(SMALL, 0.1, batch=v, train=v, paradigms=["soft"]),
    "advise paradigms": lambda v: af.advise(SMALL, 0.1, paradigms=v),
    "max_learning_rate": lambda v: af.max_learning_rate("soft", SMALL, v),
    **{
        f"compare {name}": lambda v, name=name: af.compare(
            **{"paradigms": ["soft"], "setting": SMALL, "points": 5, "methods": EXACT, name: v}
        )
        for name in "paradigms setting horizon points tolerance initial grid options".split()
    },
    "compare methods": lambda v: af.compare(["soft"], SMALL, points=5, methods=v),
    "Schedule": lambda v: af.Schedule(v),
    "Schedule stage": lambda v: af.Schedule([v]),
    "Schedule end": lambda v: af.Schedule([("soft", v), ("hard", None)]),
    "derive": lambda v: af.derive(v),
    "Paradigm loss": lambda v: af.Paradigm("x", v),
    "Paradigm name": lambda v: af.Paradigm(v, sp.Symbol("alpha", positive=True)),
    "averaging": lambda v: af.averaging("x", v),
    "plot": lambda v: PATH.plot(v),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_an_odd_argument_is_taken_or_refused_in_a_sentence(name):
    for value in ODD:
        try:
            found = CALLS[name](value)
        except ValueError as refusal:
            assert 0 < len(str(refusal)) < 2000, value
            continue
        for quantity in ("mu", "nu"):
            if hasattr(found, quantity):
                assert np.isfinite(getattr(found, quantity)).all(), value
