"""Rows of the first steps: where they lie, what they say, and that training takes no notice."""

import dataclasses

import jax
import numpy as np
import pytest

from attnflow.errors import TrainingFailed
from attnflow.train import Training, train
from attnflow.train.run_folder import RunFolder
from training_runs import EXACT, SMALL, weights

pytestmark = pytest.mark.usefixtures("compiled_once", "compiled_lightly")
EARLY = dataclasses.replace(SMALL, epochs=2, early_points=16)


@pytest.fixture(scope="module")
def trained(compiled_once, tmp_path_factory):
    return train(EARLY, tmp_path_factory.mktemp("early") / "run")


def test_they_lie_at_no_step_and_at_powers_of_two_and_epochs_grow(trained):
    early = [row for row in trained.rows if row["epoch"] < 1]
    assert [row["step"] for row in early] == [0, 1, 2, 4, 8, 16]  # of 25 steps
    steps = np.array([row["step"] for row in trained.rows])
    assert (np.diff(steps) > 0).all()
    for row in trained.rows:
        assert row["epoch"] == pytest.approx(row["step"] / trained.engine.steps)
        assert row["time"] == pytest.approx(0.05 * row["step"] / (1 - 0.9), rel=1e-6)


def test_the_focus_begins_at_chance_and_rises(trained):
    alphas = [row["sets"]["heldout"]["alpha"] for row in trained.rows]
    assert alphas[0] == pytest.approx(1 / 5, abs=0.1)  # of random weights
    assert abs(alphas[1] - alphas[0]) < 0.1 * abs(alphas[-1] - alphas[0])


def test_training_takes_no_notice(trained, tmp_path):
    without = train(dataclasses.replace(EARLY, early_points=0))
    assert weights(without) == weights(trained)
    assert without.rows == [
        {**row, **{n: without.rows[i][n] for n in ("seconds", "inputs_per_second")}}
        for i, row in enumerate(row for row in trained.rows if row["epoch"] >= 1)
    ]


def test_a_resumed_run_has_each_once(trained):
    assert trained.folder is not None
    place = trained.folder.path
    more = train(dataclasses.replace(EARLY, epochs=3), place, resume=True)
    steps = [row["step"] for row in RunFolder(place).metrics()]
    assert steps == [0, 1, 2, 4, 8, 16, 25, 50, 75] == [row["step"] for row in more.rows]


def test_one_killed_before_its_first_checkpoint_has_each_once(tmp_path):
    class Killed(Exception):
        pass

    def kill(done, of, told):
        raise Killed

    patched = dataclasses.replace(EARLY, checkpoint_every=2)
    with pytest.raises(Killed):
        train(patched, tmp_path / "run", progress=kill)
    train(patched, tmp_path / "run", resume=True)
    steps = [row["step"] for row in RunFolder(tmp_path / "run").metrics()]
    assert steps == [0, 1, 2, 4, 8, 16, 25, 50]


def test_a_switch_by_focus_waits_for_a_whole_epoch():
    run = dataclasses.replace(EARLY, paradigm="soft@alpha=0.05,lvml")
    told = [(row["epoch"], row["paradigm"]) for row in train(run).rows]
    assert [name for epoch, name in told if epoch <= 1] == ["soft"] * 7
    assert told[-1] == (2, "lvml")


def test_several_runs_at_once_have_rows_each():
    run = dataclasses.replace(EARLY, epochs=1, seeds=(0, 1), early_points=3)
    rows = train(run).rows
    assert [(row["step"], row["seed"]) for row in rows[:6]] == [
        (step, seed) for step in (0, 1, 2) for seed in (0, 1)
    ]
    alone = train(dataclasses.replace(run, seeds=(1,))).rows
    pair = [row["sets"]["heldout"]["alpha"] for row in rows if row["seed"] == 1]
    assert pair == pytest.approx([row["sets"]["heldout"]["alpha"] for row in alone], rel=1e-4)


def test_the_population_starts_where_theory_does():
    run = dataclasses.replace(EXACT, epochs=2, early_points=16)
    trained = train(run)
    first = trained.rows[0]["sets"]["train"]
    assert first["mu"] == 0 and first["nu"] == 0 and first["alpha"] == pytest.approx(1 / 5)
    assert trained.rows[0]["sets"]["train"]["loss"] == pytest.approx(np.log(4), rel=1e-6)
    jax.block_until_ready(trained.state)


def test_a_held_focus_has_none():
    run = Training(**{**EARLY.as_dict(), "epochs": 1, "fixed_focus": (0.5,)})
    assert [row["step"] for row in train(run).rows] == [25]


def test_a_run_prints_in_few_lines_and_becomes_a_table(trained):
    told = repr(trained)
    assert len(told.splitlines()) <= 10 and len(told) < 2000
    assert "digits" in told and "2 epochs" in told and "heldout.accuracy" in told
    table = trained.to_pandas()
    assert len(table) == len(trained.rows) and "heldout.alpha" in table
    assert "<table" in trained._repr_html_()


@pytest.mark.parametrize("rate", [1e4, 1e30])
def test_one_that_diverges_at_once_says_so_and_keeps_no_row(rate, tmp_path):
    run = dataclasses.replace(EARLY, paradigm="soft", learning_rates=(rate,))
    with pytest.raises(TrainingFailed, match="diverged at step [0-9]+ "):
        train(run, tmp_path / "run")
    assert RunFolder(tmp_path / "run").metrics() == []


def test_times_grow_by_the_rate_of_the_stage():
    trained = train(dataclasses.replace(EARLY, paradigm="soft@epoch=1:rate=0.01,lvml"))
    times = [row["time"] for row in trained.rows]
    steps = np.array([row["step"] for row in trained.rows])
    of_stages = 0.01 * np.minimum(steps, 25) + 0.05 * np.maximum(steps - 25, 0)
    assert times == pytest.approx(of_stages / (1 - 0.9), rel=1e-6)
