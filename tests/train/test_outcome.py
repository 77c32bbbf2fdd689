"""The sentence in which a run ends counts chance rightly, and what it proposes works."""

import re
from dataclasses import replace

import numpy as np
import pytest

from attnflow.train.evaluation import evaluate
from attnflow.train.loop import train
from attnflow.train.outcome import commonest_class, guessed_focus, outcome
from attnflow.train.tasks.task import Mosaics
from attnflow.train.theory import has_curves
from training_runs import EXACT, TINY

pytestmark = pytest.mark.usefixtures("compiled_once", "compiled_lightly")


def test_chance_is_what_blind_draws_find():
    random = np.random.default_rng(3)
    mask = np.arange(9)[None] < random.integers(2, 10, 40)[:, None]
    truth = (random.random((40, 9)) < 0.3) & mask
    labels = random.integers(0, 3, 40).astype(np.int32)
    segments = np.zeros((40, 9), np.int32)
    several = Mosaics(segments, labels, np.zeros(40, np.int32), mask=mask, truth=truth)
    found = []
    for row in np.flatnonzero(truth.any(axis=1)):
        draws = random.choice(np.flatnonzero(mask[row]), 4000)
        found.append(np.mean(truth[row, draws]))
    assert guessed_focus(several) == pytest.approx(np.mean(found), abs=0.01)
    assert np.isnan(guessed_focus(replace(several, truth=np.zeros_like(truth))))
    assert commonest_class(several) == max(np.mean(labels == k) for k in range(3))


@pytest.mark.parametrize("paradigm", ["hard", "lvml", "soft@epoch=3,hard"])
def test_a_run_as_long_as_was_proposed_reaches_the_focus_that_was_promised(paradigm):
    short = train(replace(EXACT, paradigm=paradigm, epochs=4))
    said = outcome(short)
    epochs = int(re.search(r"reaches 0.9 at t = [\d.e+]+: try --epochs (\d+)", said)[1])
    longer = train(replace(EXACT, paradigm=paradigm, epochs=epochs))
    alphas = [row["sets"]["train"]["alpha"] for row in longer.rows]
    assert alphas[-1] == pytest.approx(0.9, abs=0.03)  # the time is read from a grid
    assert has_curves(longer)


def test_a_run_without_theory_tells_its_rates_and_chance():
    trained = train(replace(TINY, paradigm="soft", epochs=1))
    rates = evaluate(trained)["sets"]["test"]
    said = outcome(trained)
    assert f"in {rates['focus_true']:.0f} % of the test inputs (chance: 20 %)" in said
    assert f"right in {rates['argmax']['accuracy']:.0f} % (chance: " in said
    assert not has_curves(trained)
    held = train(replace(TINY, paradigm="soft", epochs=1, fixed_focus=(0.5,)))
    assert "the focus was held at 0.5, and the class was right in" in outcome(held)
