"""Focus scores that run away are told; scores that are large and settle are not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attnflow.train.logs import runaway


def rows_with(scores, losses, gradients=None):
    """Rows of a run of soft attention with these largest scores, losses and focus gradients."""
    gradients = np.ones(len(scores)) if gradients is None else gradients
    return [
        {"seed": 0, "learning_rate": 0.05, "paradigm": "soft", "epoch": n + 1, "loss": loss}
        | {"largest_score": score, "gradient_norm_focus": gradient}
        for n, (score, loss, gradient) in enumerate(zip(scores, losses, gradients, strict=True))
    ]


@given(
    st.integers(5, 40),
    st.floats(100, 1e7),
    st.sampled_from(["stays at its peak", "falls to zero", "dead gradient"]),
)
def test_a_run_that_came_apart_says_so_whatever_its_scores_do_afterwards(half, peak, kind):
    scores = np.concatenate([np.geomspace(5, peak, half), np.full(half + 1, peak)])
    losses = np.concatenate([np.geomspace(1, 0.1, half), np.linspace(0.9, 0.5, half + 1)])
    gradients = np.ones(len(scores))
    if kind == "falls to zero":
        scores[half:] = 0
    if kind == "dead gradient":
        losses[half:], gradients[half:] = 0.1, 0
    (said,) = runaway(rows_with(scores, losses, gradients))
    assert f"in epoch {half} the largest" in said
    reason = "gradient is exactly 0" if kind == "dead gradient" else "the loss rose from 0.1 to"
    assert reason in said


@given(st.integers(6, 60), st.floats(90, 500), st.floats(0.2, 0.8))
def test_scores_that_are_large_and_settle_are_no_fault(epochs, last, power):
    grown = np.arange(1, epochs + 1) ** power  # at most (7/3)^0.8 since the middle
    scores = last * grown / grown[-1]
    losses = np.geomspace(1, 1e-4, epochs)
    losses[-1] *= 3  # late epochs scatter by more than their mean
    assert not list(runaway(rows_with(scores, losses)))
    losses[-1] = 1e-8  # and where all is learned no gradient is left
    assert not list(runaway(rows_with(scores, losses, np.arange(epochs)[::-1])))
