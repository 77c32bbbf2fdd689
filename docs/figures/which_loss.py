"""Draws the figures of the page "Which loss, and when to switch" beside this file.

python docs/figures/which_loss.py
"""

from pathlib import Path

import numpy as np
import sympy as sp

import attnflow as af
from attnflow.palette import COLOURS, DASHES
from attnflow.plots.style import LABELS, TIME_LABEL, laid_out, new_figure, save, style
from attnflow.symbolic.catalogue import CATALOGUE
from attnflow.symbolic.switch_condition import greedy_curve
from attnflow.symbols import C, mu

HERE = Path(__file__).resolve().parent
SETTING = af.Setting(20, 20)
NAMES = ("soft", "hard", "lvml")
LOOK = {name: {"color": COLOURS[i], "linestyle": DASHES[i]} for i, name in enumerate(NAMES)}


def learning() -> None:
    """The focus weight over time, from the first steps to far out."""
    figure = new_figure(2, 2.5)
    early, late = figure.subplots(1, 2)
    times = np.linspace(0, 1200, 241)
    for name in NAMES:
        early.plot(
            times, np.asarray(af.solve(name, SETTING, times).alpha), label=name, **LOOK[name]
        )
    early.axhline(0.5, color="#888888", linewidth=0.6)
    early.set(xlabel=TIME_LABEL, ylabel=LABELS["alpha"], title="onset")
    far = np.geomspace(1e2, 1e12, 121)
    for name in NAMES:
        rest = np.asarray(af.solve(name, SETTING, far).complement)
        late.loglog(far, rest, label=name, **LOOK[name])
    late.set(xlabel=TIME_LABEL, ylabel=r"weight elsewhere, $1-\alpha$", title="long after")
    late.legend()
    with laid_out(figure):
        save(figure, HERE / "which-loss-learning.svg")


def greedy() -> None:
    """Which loss moves the focus most, in the plane of margin and focus weight; and two orbits."""
    figure = new_figure(1, 2.6)
    axes = figure.subplots()
    margins = np.linspace(0.05, 6, 120)
    for first, then, shade in (
        ("soft", "hard", "-"),
        ("lvml", "hard", "--"),
        ("soft", "lvml", ":"),
    ):
        curve = greedy_curve(CATALOGUE[first], CATALOGUE[then]).alpha
        numbers = sp.lambdify(mu, curve.subs(C, 20), modules=["scipy", "numpy"])
        values = np.real(np.array([complex(numbers(margin)) for margin in margins]))
        axes.plot(margins, values, shade, color="#444444", linewidth=0.9, label=f"{first} = {then}")
    times = np.linspace(1, 3000, 600)  # dense where the focus turns
    for name in NAMES:
        curve = af.solve(name, SETTING, times)
        axes.plot(np.asarray(curve.mu), np.asarray(curve.alpha), label=name, **LOOK[name])
    axes.set(xlim=(0, 6), ylim=(0, 1), xlabel=LABELS["mu"], ylabel=LABELS["alpha"])
    axes.legend(ncols=2)
    with laid_out(figure):
        save(figure, HERE / "which-loss-greedy.svg")


if __name__ == "__main__":
    with style():
        learning()
        greedy()
