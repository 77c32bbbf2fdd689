"""Training learns, repeats itself, resumes bit for bit, follows the theory, stops when it must."""

import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import jax
import numpy as np
import pytest
import sympy as sp

from attnflow import Setting
from attnflow.errors import ParadigmError, SettingError, TrainingFailed
from attnflow.numeric.best_schedule import TARGET
from attnflow.schedule import Schedule
from attnflow.symbolic.catalogue import HARD, LVML
from attnflow.symbolic.paradigm import Paradigm, averaging
from attnflow.symbols import beta
from attnflow.train import evaluation as ev
from attnflow.train import losses
from attnflow.train.config import Training, to_toml
from attnflow.train.engine import build
from attnflow.train.evaluation import load
from attnflow.train.loop import train
from attnflow.train.networks.dense import TwoLayer
from attnflow.train.parallel import Devices
from attnflow.train.run_folder import RunFolder
from attnflow.train.tasks import Mosaics, Task, task
from attnflow.train.theory import fit_run, theory_over_practice
from training_runs import EXACT, SMALL, TINY, weights

pytestmark = pytest.mark.usefixtures("compiled_once")
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "paradigm",
    [
        "soft",
        "hard",
        "lvml",
        "hybrid",
        pytest.param("hard-sampled", marks=SLOW),
        pytest.param("lvml-em", marks=SLOW),
        pytest.param("power-1/2", marks=SLOW),
        pytest.param("lvml@epoch=3,soft@epoch=5,hard", marks=SLOW),
    ],
)
def test_every_paradigm_learns_focus_and_class_far_above_chance(paradigm):
    trained = train(replace(SMALL, paradigm=paradigm))
    shown = ev.evaluate(trained)["sets"]["test"]
    assert shown["focus_true"] > 85  # chance: 20
    assert shown["argmax"]["accuracy"] > 85  # chance: 33
    losses = [row["loss"] for row in trained.rows]
    assert losses[-1] < 0.5 * losses[0]


def test_a_hybrid_is_its_first_part_until_it_switches():
    soft = train(replace(TINY, paradigm="soft", epochs=3))
    both = train(TINY)
    assert [row["paradigm"] for row in both.rows] == ["soft"] * 3 + ["lvml"] * 3
    assert [row["loss"] for row in both.rows[:3]] == [row["loss"] for row in soft.rows]


def test_a_focus_criterion_switches_after_the_epoch_that_meets_it():
    trained = train(replace(SMALL, paradigm="soft@alpha=0.6,hard"))
    names = [row["paradigm"] for row in trained.rows]
    first = names.index("hard")
    alphas = [row["alpha"] for row in trained.rows]
    assert first > 0 and alphas[first - 1] >= 0.6 and all(a < 0.6 for a in alphas[: first - 1])


def test_a_run_says_which_part_of_its_schedule_never_began(tmp_path):
    run = replace(TINY, epochs=1, paradigm="soft@alpha=0.99,lvml@epoch=4,hard")
    with pytest.warns(UserWarning, match="hard will never begin: lvml is to end after epoch 4"):
        [said] = train(run, tmp_path / "run").remarks
    assert said.startswith("lvml and hard never began: soft was to end at focus weight 0.99")
    assert load(tmp_path / "run").remarks == (said,)
    assert train(replace(run, paradigm="soft")).remarks == ()
    with pytest.warns(UserWarning, match="hard never began: soft was to end at focus weight 0.99"):
        train(replace(run, paradigm="soft@alpha=0.99,hard"))  # which nothing foresees


@pytest.mark.parametrize("switch", ["epoch=3", "t=1e5", "theory"])
def test_a_switch_beyond_the_run_is_warned_of_and_logged_before_training(switch, caplog):
    begun = []
    run = replace(EXACT, paradigm=f"soft@{switch},hard", epochs=3, passes=1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        train(run, progress=lambda *_: begun.append(len(told)))
    assert set(begun) == {1}  # told before the first epoch was over, and once
    said = str(told[0].message)
    assert said.startswith("hard will never begin: soft is to end a")
    assert "and the last epoch of the run, 3, begins at t = " in said
    assert said in caplog.text


def test_a_run_too_short_for_theorys_switch_says_when_that_would_be(tmp_path):
    from attnflow import best_switch

    run = replace(EXACT, paradigm="soft@theory,hard", epochs=1, passes=1)
    with pytest.warns(UserWarning, match="hard will never begin: soft is to end at theory's"):
        [said] = train(run, tmp_path / "run").remarks
    proposed = best_switch(Setting(5, 4), TARGET, "soft", "hard")
    assert f"at theory's switch time {float(proposed.switch_time)}, and" in said
    [again] = load(tmp_path / "run").remarks
    assert "at theory's switch time, and" in again


@pytest.mark.slow
def test_theory_proposes_the_switch_time_in_the_simple_setting():
    from attnflow import best_switch

    trained = train(replace(EXACT, paradigm="lvml@theory,hard", epochs=60, passes=10))
    best = best_switch(Setting(5, 4), 0.9, "lvml", "hard").switch_time
    switched = [row["time"] for row in trained.rows if row["paradigm"] == "lvml"][-1]
    assert switched == pytest.approx(best, abs=1.0)  # epochs last 1


@pytest.mark.parametrize(
    "paradigm",
    ["soft", pytest.param("hard-sampled", marks=SLOW), pytest.param("lvml-em", marks=SLOW)],
)
def test_one_seed_gives_identical_weights_and_another_gives_others(paradigm):
    run = replace(TINY, paradigm=paradigm, epochs=2)
    first, second = train(run), train(run)
    assert weights(first) == weights(second)
    assert weights(train(replace(run, seeds=(1,)))) != weights(first)


@pytest.mark.slow
def test_runs_trained_at_once_are_the_runs_trained_alone():
    run = replace(TINY, seeds=(3, 4), learning_rates=(0.02, 0.05), epochs=3)
    together = train(run)
    assert len(together.rows) == 3 * 4
    for replica, (seed, rate, _) in enumerate(run.replicas):
        alone = train(replace(run, seeds=(seed,), learning_rates=(rate,)))
        for ours, theirs in zip(
            jax.tree.leaves(ev.one_run(together, replica)),
            jax.tree.leaves(ev.one_run(alone)),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_the_size_of_a_chunk_changes_rounding_only():
    runs = [train(replace(TINY, chunk=chunk, epochs=2)) for chunk in (32, 8, 7)]
    for other in runs[1:]:
        for row, theirs in zip(other.rows, runs[0].rows, strict=True):
            assert row["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def test_every_input_is_used_once_an_epoch_when_the_last_batch_is_short():
    from attnflow.train.epoch import _order

    made = task("digits", train=70, heldout=5, test=5)
    engine = build(made, replace(TINY, passes=2).resolved(), "linear", Devices())
    order, present = (np.asarray(a) for a in _order(engine, jax.random.key(1)))
    assert order.shape == (6, 32) and present.sum(axis=1).tolist() == [32, 32, 6] * 2
    for one in (slice(0, 3), slice(3, 6)):
        assert sorted(order[one][present[one]].tolist()) == list(range(70))
    assert not np.array_equal(order[:3], order[3:])


@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adam", marks=SLOW)])
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path, optimizer):
    rate = 0.003 if optimizer == "adam" else 0.05
    run = replace(TINY, optimizer=optimizer, learning_rates=(rate,), rate_schedule="cosine")
    unbroken = train(run, tmp_path / "a")

    class Interrupted(Exception):
        pass

    def interrupt(done, total, rows):
        if done == 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(run, tmp_path / "b", progress=interrupt)
    resumed = train(None, tmp_path / "b", resume=True)
    assert weights(resumed) == weights(unbroken)
    for ours, theirs in zip(
        jax.tree.leaves(resumed.state), jax.tree.leaves(unbroken.state), strict=True
    ):
        assert np.array_equal(ours, theirs)
    both = [RunFolder(tmp_path / name).metrics() for name in "ab"]
    for rows in both:
        for row in rows:
            del row["seconds"], row["inputs_per_second"]
    assert both[0] == both[1]
    assert weights(ev.load(tmp_path / "b")) == weights(unbroken)
    again = train(None, tmp_path / "b", resume=True)  # nothing left to do
    assert weights(again) == weights(unbroken) and len(again.rows) == 6


SCRIPT = """
import sys
from pathlib import Path
from attnflow.train.config import from_toml
from attnflow.train.loop import train
train(from_toml(sys.argv[1]), sys.argv[2], resume=True,
      progress=lambda done, total, rows: print(done, flush=True))
"""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_bit_for_bit(tmp_path):
    run = replace(TINY, epochs=40, paradigm="soft@epoch=20,hard-sampled")
    (tmp_path / "run.toml").write_text(to_toml(run))
    unbroken = train(run)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run.toml"), str(tmp_path / "run")]
    delays = np.random.default_rng(0).uniform(0, 0.5, 3)
    for kill_at, delay in zip((2, 11, 23), delays, strict=True):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= kill_at:
                    break
            time.sleep(delay)
            os.kill(process.pid, signal.SIGKILL)
    resumed = train(None, tmp_path / "run", resume=True)
    assert weights(resumed) == weights(unbroken)
    rows = RunFolder(tmp_path / "run").metrics()
    assert [row["epoch"] for row in rows] == list(range(1, 41))


def test_newest_and_best_checkpoints_are_kept(tmp_path, monkeypatch):
    from attnflow.train.loop import PairTrainer

    score = PairTrainer.score
    scores = {1: 0.9}  # else what the runs give
    monkeypatch.setattr(
        "attnflow.train.loop.PairTrainer.score",
        lambda self, rows: scores.setdefault(rows[0]["epoch"], score(self, rows) / 2),
    )
    train(replace(TINY, epochs=6), tmp_path)
    rows = RunFolder(tmp_path).metrics()
    assert [2 * scores[row["epoch"]] for row in rows[1:]] == [
        row["sets"]["heldout"]["accuracy"] for row in rows[1:]
    ]
    kept = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
    assert kept == [1, 5, 6]
    best = ev.load(tmp_path, best=True)
    assert best.rows[-1]["epoch"] == ev.evaluate(best)["epochs"] == 1
    assert best.remarks == ()  # it did go on to the second paradigm


def test_the_best_checkpoint_is_not_the_newest_and_stays_while_a_run_goes_on(tmp_path):
    state = {"weights": np.zeros(3, np.float32)}
    scores = [0.2, 0.9, 0.3, 0.5, 0.5, 0.4]
    for epochs in (range(4), range(4, 6)):  # interrupted between
        folder = RunFolder(tmp_path)
        for epoch in epochs:
            folder.save({"weights": state["weights"] + epoch}, epoch + 1, {}, scores[epoch])
        folder.close()
    kept = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
    assert kept == [2, 5, 6]
    for best, epoch in ((True, 2), (False, 6)):
        folder = RunFolder(tmp_path)
        found = folder.restore(state, best=best)
        folder.close()
        assert found is not None and found[2] == epoch
        assert np.all(found[0]["weights"] == epoch - 1)


def test_divergence_stops_the_run_and_leaves_the_last_good_checkpoint(tmp_path):
    labels = np.arange(8, dtype=np.int32) % 2  # of equal inputs: no weights fit both
    inputs = Mosaics(np.zeros((8, 2), np.int32), labels, np.zeros(8, np.int32))
    wild = Task("wild", np.full((1, 2), 1e18, np.float32), {"train": inputs}, 2)
    run = Training(paradigm="hard", networks="linear", learning_rates=(1e18,), epochs=3, batch=4)
    with pytest.raises(TrainingFailed, match=r"at step \d+ \(seed 0, learning rate 1e\+18\).* try"):
        train(run, task=wild)

    def grows(log_weights, logits, labels):
        each = losses.label_log_probabilities(logits, labels)
        return 1e30 * losses.lvml(log_weights, each)

    schedule = TINY.paradigm.replace("lvml", "grows")
    run = replace(TINY, paradigm=schedule, custom_losses=("grows",))
    with pytest.raises(TrainingFailed, match="under grows diverged .* try learning rate 0.0125"):
        train(run, tmp_path / "run", losses={"grows": grows})
    with pytest.raises(ParadigmError, match="unknown paradigm 'grows'"):
        train(None, tmp_path / "run", resume=True)
    with pytest.warns(UserWarning, match="lvml will never begin"):
        shorter = train(replace(TINY, epochs=3))
    assert weights(ev.load(tmp_path / "run")) == weights(shorter)


@pytest.mark.slow
def test_bfloat16_learns_and_keeps_float32_weights():
    trained = train(replace(SMALL, dtype="bfloat16", paradigm="lvml"))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(trained.state["weights"]))
    assert ev.evaluate(trained)["sets"]["test"]["argmax"]["accuracy"] > 85


def mine(shape, classes, rngs):
    return TwoLayer(shape, None, rngs, 16), TwoLayer(shape, classes, rngs, 16)


def test_a_run_says_that_its_networks_are_ones_own(tmp_path):
    run = replace(EXACT, epochs=1, passes=1, paradigm="soft")
    trained = train(run, tmp_path / "run", networks=mine)
    assert trained.engine.run.networks == "own"
    assert not trained.engine.exact  # curves of theory are those of the linear networks
    assert weights(load(tmp_path / "run", networks=mine)) == weights(trained)
    again = train(run, tmp_path / "run", networks=mine, resume=True)
    assert weights(again) == weights(trained)
    for forgetful in (
        lambda: load(tmp_path / "run"),
        lambda: train(None, tmp_path / "run", resume=True),
        lambda: train(replace(run, networks="own")),
    ):
        with pytest.raises(SettingError, match="networks 'own' are a function .* give it again"):
            forgetful()


@pytest.mark.slow
def test_networks_of_ones_own_train():
    trained = train(replace(SMALL, paradigm="lvml"), networks=mine)
    assert ev.evaluate(trained)["sets"]["test"]["argmax"]["accuracy"] > 80


def test_a_custom_loss_trains_and_evaluates(tmp_path):
    def focal(log_weights, logits, labels):
        return losses.pooled_loss(LVML, log_weights, logits, labels) ** 2

    run = replace(SMALL, paradigm="soft@epoch=2,focal", custom_losses=("focal",), epochs=5)
    trained = train(run, tmp_path, losses={"focal": focal})
    assert [row["paradigm"] for row in trained.rows] == ["soft"] * 2 + ["focal"] * 3
    found = ev.evaluate(ev.load(tmp_path))
    assert found["weights"] == weights(trained)
    assert found["sets"]["test"]["argmax"]["accuracy"] > 60
    with pytest.raises(ParadigmError, match="unknown paradigm 'focal'"):
        train(run)
    adam = replace(run, paradigm="soft@theory,hard", optimizer="adam", momentum=None)
    with pytest.raises(SettingError, match="a switch for the optimizer sgd, got 'adam'"):
        train(adam)
    with pytest.raises(
        SettingError, match="theory has no switch time for a custom loss, got 'focal'"
    ):
        train(replace(run, paradigm="soft@theory,focal"), losses={"focal": focal})
    with pytest.raises(SettingError, match=r"'mean' must give a number for each input, \(32,\)"):
        train(
            replace(run, paradigm="mean", custom_losses=("mean",)),
            losses={"mean": lambda *given: focal(*given).mean()},
        )


def test_a_stage_has_its_own_rates_and_may_begin_with_a_fresh_optimiser():
    base = replace(TINY, epochs=2, learning_rates=(0.05,))
    plain = train(replace(base, paradigm="soft@epoch=1,lvml"))
    same = train(replace(base, paradigm="soft@epoch=1:rate=0.05,lvml:rate.focus=100%"))
    assert weights(same) == weights(plain)
    tenth = train(replace(base, paradigm="soft@epoch=1,lvml:rate=10%"))
    one, other = (row["time"] for row in tenth.rows)
    assert other - one == pytest.approx(0.1 * one)
    assert plain.rows[1]["time"] == pytest.approx(2 * plain.rows[0]["time"])
    first = train(replace(base, epochs=1, paradigm="soft"))
    tiny = train(replace(base, paradigm="soft@epoch=1,lvml:rate.focus=1e-30:fresh"))
    moved, begun = ev.one_run(tiny), ev.one_run(first)
    jax.tree.map(np.testing.assert_array_equal, moved["focus"], begun["focus"])
    assert weights(tiny) != weights(first)  # the classifier went on
    kept = train(replace(base, paradigm="soft@epoch=1,lvml"))
    fresh = train(replace(base, paradigm="soft@epoch=1,lvml:fresh"))
    assert weights(kept) != weights(fresh)  # without the first stage's momentum
    with pytest.raises(SettingError, match=r"rate.encoder .* that learns \(classifier, focus\)"):
        train(replace(base, paradigm="soft:rate.encoder=0.1"))


def test_learning_rates_by_network_are_those_of_every_stage():
    given = Training.read({"learning_rate": "focus=0.2, classifier=0.05"})
    run = replace(TINY, epochs=2, **{name: None for name in given})
    schedule = "soft@epoch=1,lvml:rate=10%"
    divided = Training.from_dict({**run.as_dict(), "paradigm": schedule, **given})
    told = "soft@epoch=1:rate.focus=0.2,lvml:rate=10%:rate.focus=0.02"
    same = replace(run, learning_rates=(0.05,), paradigm=told)
    assert divided == same
    only_focus = Training.from_dict({"learning_rates": {"focus": 0.2}}).resolved()
    assert only_focus.learning_rates == Training().resolved().learning_rates
    for text, sentence in (
        ("focus=-1", "learning rate of focus must be a finite number above 0, got -1"),
        ("focus=x", "learning rate of focus must be a finite number above 0, got 'x'"),
        ("focus=1,focus=2", "each network once, got 'focus=1,focus=2'"),
    ):
        with pytest.raises(SettingError, match=sentence):
            Training.from_dict(Training.read({"learning_rate": text}))
    with pytest.raises(SettingError, match="rate.encoder of the schedule must be of a network"):
        train(Training.from_dict({**TINY.as_dict(), "learning_rates": {"encoder": 0.1}}))


def test_scores_and_gradients_of_an_epoch_are_those_of_the_networks():
    run = replace(EXACT, epochs=3, passes=1, measure_every=1, paradigm="lvml")
    trained = train(run)
    assert trained.rows[0]["largest_score"] == 0  # networks start at zero, all scores are equal
    # full batches: an epoch is one step, whose scores are those that the epoch before left; its
    # gradient is the step of the weights over the learning rate
    states = [train(replace(run, epochs=epochs)) for epochs in (1, 2)]
    nu = states[0].rows[-1]["sets"]["train"]["nu"]
    assert trained.rows[1]["largest_score"] == pytest.approx(nu, rel=1e-5)
    before, after = (ev.one_run(state) for state in states)
    for name in ("focus", "classifier"):
        moved = jax.tree.map(lambda a, b: (a - b) / 0.1, before[name], after[name])
        norm = np.sqrt(sum(float(np.sum(np.square(leaf))) for leaf in jax.tree.leaves(moved)))
        assert trained.rows[1][f"gradient_norm_{name}"] == pytest.approx(norm, rel=1e-4)


def test_a_run_whose_scores_run_away_says_what_to_try():
    rates = (0.05, 30.0)
    trained = train(replace(TINY, paradigm="hard", networks="linear", learning_rates=rates[:1]))
    assert trained.remarks == ()
    rows = [
        {**row, "learning_rate": rate, "largest_score": size * row["epoch"]}
        for row in trained.rows
        for rate, size in zip(rates, (1.0, 40.0), strict=True)
    ]
    (remark,) = replace(trained, rows=rows).remarks
    assert "in epoch 6 the largest of an input lay 240 above its least" in remark
    assert remark.endswith("--paradigm hard:rate.focus=10%")


def test_a_run_with_rates_of_stages_resumes_bit_for_bit(tmp_path):
    run = replace(TINY, paradigm="soft@epoch=2,lvml@t=25:rate=20%:fresh,hard:rate.focus=0.001")
    whole = train(run, tmp_path / "whole")

    def stop(done, total, told):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "cut", progress=stop)
    again = train(None, tmp_path / "cut", resume=True)
    assert weights(again) == weights(whole)
    assert [row["time"] for row in again.rows] == [row["time"] for row in whole.rows]


ROOT = averaging("root", sp.sqrt(beta))
HALF = averaging("half", beta / (2 - beta), title="Half odds")


def test_a_custom_paradigm_trains_resumes_and_has_its_theory(tmp_path):
    run = replace(EXACT, paradigm=Schedule([("soft", "epoch=3"), (HALF, None)]), epochs=6)
    assert run.paradigm == "soft@epoch=3,half" and run.known["half"].averages == HALF.averages
    trained = train(run, tmp_path)
    assert [row["paradigm"] for row in trained.rows] == ["soft"] * 3 + ["half"] * 3
    again = load(tmp_path)
    assert again.engine.run == run.resolved() and weights(again) == weights(trained)
    assert weights(train(None, tmp_path, resume=True)) == weights(trained)
    assert weights(train(run, tmp_path, resume=True)) == weights(trained)
    assert max(theory_over_practice(again).deviation.values()) < 0.02
    assert ev.evaluate(again)["paradigm"] == "soft@epoch=3,half"


@pytest.mark.slow
def test_a_custom_paradigm_is_fitted():
    assert fit_run(train(replace(EXACT, paradigm=HALF, epochs=6))).classes > 1


def test_equal_averages_train_to_equal_weights():
    runs = [replace(EXACT, paradigm=p, epochs=2) for p in ("power-1/2", ROOT)]
    assert runs[1].paradigm == "root"
    first, second = (train(run) for run in runs)
    assert weights(first) == weights(second)
    assert replace(EXACT, paradigm=LVML).paradigms is None


@pytest.mark.parametrize(
    ("paradigm", "message"),
    [
        (Paradigm("alone", HARD.loss), "'alone' is given by its loss alone, .* give averages="),
        (averaging("soft", beta**2), "'soft' is a name of ours: give your paradigm another"),
        (averaging("hard-sampled", beta**2), "'hard-sampled' is a name of ours"),
        (
            Schedule([(ROOT, 1.0), (averaging("root", beta / (3 - beta)), None)]),
            "two paradigms are called 'root'",
        ),
        (3, "paradigm must be text, a Paradigm or a Schedule, got 3"),
    ],
    ids=str,
)
def test_a_paradigm_that_cannot_train_is_refused_where_the_config_is_built(paradigm, message):
    with pytest.raises((SettingError, ParadigmError), match=message):
        Training(paradigm=paradigm)
