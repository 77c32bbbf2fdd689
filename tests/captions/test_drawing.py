"""The curves of caption runs: every run is seen, also one that was measured once."""

import numpy as np

from attnflow.captions.report import LEARNING
from attnflow.train.drawing import over_epochs


def row(epoch, sets):
    return {"epoch": epoch, "loss": 3.0 - epoch, "sets": sets}


def test_a_run_that_was_measured_once_is_a_dot_and_epochs_are_whole():
    shown = {part: {"bleu4": 0.5} for part in ("train", "val")}
    runs = [("once", [row(1, {}), row(2, shown)]), ("short", [row(1, shown)])]
    figure = over_epochs(runs, LEARNING)
    losses, scores = figure.axes
    assert [line.get_marker() for line in losses.lines] == ["None", "o"]
    assert [line.get_marker() for line in scores.lines] == ["o", "s"] * 2  # a set, a mark
    for axes in figure.axes:
        ticks = axes.get_xticks()
        assert np.array_equal(ticks, np.round(ticks))
