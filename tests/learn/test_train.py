"""Training learns, repeats itself, resumes bit for bit, follows the theory, stops when it must."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from attnflow import Setting, solve
from attnflow.errors import DataError, SettingError, TrainingFailed
from attnflow.learn import evaluate as ev
from attnflow.learn.config import Training, from_toml, parse_schedule, to_toml
from attnflow.learn.folder import RunFolder, digest
from attnflow.learn.networks import TwoLayer
from attnflow.learn.tasks import Mosaics, Task, task
from attnflow.learn.theory import fit_curves, schedule_of, theory_over_practice
from attnflow.learn.train import train

SMALL = Training(train=800, heldout=400, test=400, epochs=8, batch=32)
TINY = Training(train=200, heldout=50, test=50, epochs=6, batch=32, paradigm="soft:3,lvml")
EXACT = Training(task="orthogonal", segments=5, classes=4, epochs=20, passes=5)


def weights(trained, lane=0):
    return digest(ev.one_run(trained, lane))


@pytest.mark.parametrize(
    "paradigm",
    [
        "soft",
        "hard",
        "lvml",
        "hybrid",
        "hard-sampled",
        "lvml-em",
        "power-1/2",
        "lvml:3,soft:5,hard",
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
    trained = train(replace(SMALL, paradigm="soft:focus=0.6,hard"))
    names = [row["paradigm"] for row in trained.rows]
    first = names.index("hard")
    alphas = [row["alpha"] for row in trained.rows]
    assert first > 0 and alphas[first - 1] >= 0.6 and all(a < 0.6 for a in alphas[: first - 1])


def test_theory_proposes_the_switch_time_in_the_simple_setting():
    from attnflow import best_switch

    trained = train(replace(EXACT, paradigm="lvml:theory,hard", epochs=60, passes=10))
    best = best_switch(Setting(5, 4), 0.9, "lvml", "hard").switch_time
    switched = [row["time"] for row in trained.rows if row["paradigm"] == "lvml"][-1]
    assert switched == pytest.approx(best, abs=1.0)  # epochs last 1


@pytest.mark.parametrize("paradigm", ["soft", "hard-sampled", "lvml-em"])
def test_one_seed_gives_identical_weights_and_another_gives_others(paradigm):
    run = replace(TINY, paradigm=paradigm, epochs=2)
    first, second = train(run), train(run)
    assert weights(first) == weights(second)
    assert weights(train(replace(run, seeds=(1,)))) != weights(first)


def test_runs_trained_at_once_are_the_runs_trained_alone():
    run = replace(TINY, seeds=(3, 4), learning_rates=(0.02, 0.05), epochs=3)
    together = train(run)
    assert len(together.rows) == 3 * 4
    for lane, (seed, rate) in enumerate(run.lanes):
        alone = train(replace(run, seeds=(seed,), learning_rates=(rate,)))
        for ours, theirs in zip(
            jax.tree.leaves(ev.one_run(together, lane)),
            jax.tree.leaves(ev.one_run(alone)),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_size_of_a_chunk_changes_rounding_only():
    runs = [train(replace(TINY, chunk=chunk, epochs=2)) for chunk in (32, 8, 7)]
    for other in runs[1:]:
        for row, theirs in zip(other.rows, runs[0].rows, strict=True):
            assert row["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def test_every_input_is_used_once_an_epoch_when_the_last_batch_is_short():
    made = task("digits", train=70, heldout=5, test=5)
    whole = replace(TINY, train=70, epochs=1, learning_rates=(1e-9,))
    parts = train(replace(whole, batch=32), task=made)
    at_once = train(replace(whole, batch=70), task=made)
    # steps of unequal size, each a mean: 32, 32, 6
    assert parts.engine.steps == 3
    from attnflow.learn.step import _order

    order, present = _order(parts.engine, jax.random.key(1))
    used = np.asarray(order)[np.asarray(present)]
    assert sorted(used.tolist()) == list(range(70))
    assert at_once.engine.steps == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
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
            del row["seconds"]
    assert both[0] == both[1]
    assert weights(ev.load(tmp_path / "b")) == weights(unbroken)
    again = train(None, tmp_path / "b", resume=True)  # nothing left to do
    assert weights(again) == weights(unbroken) and len(again.rows) == 6


SCRIPT = """
import sys
from pathlib import Path
from attnflow.learn.config import from_toml
from attnflow.learn.train import train
train(from_toml(sys.argv[1]), sys.argv[2], resume=True,
      progress=lambda done, total, rows: print(done, flush=True))
"""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_bit_for_bit(tmp_path):
    run = replace(TINY, epochs=40, paradigm="soft:20,hard-sampled")
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


def test_newest_and_best_checkpoints_are_kept(tmp_path):
    train(replace(TINY, epochs=6), tmp_path)
    kept = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
    scores = [row["sets"]["heldout"]["accuracy"] for row in RunFolder(tmp_path).metrics()]
    assert {5, 6} <= set(kept) and len(kept) <= 3
    best = ev.load(tmp_path, best=True)
    assert scores[best.rows[-1]["epoch"] - 1] == max(scores)


def test_divergence_stops_the_run_and_leaves_the_last_good_checkpoint(tmp_path):
    labels = np.arange(8, dtype=np.int32) % 2  # of equal inputs: no weights fit both
    inputs = Mosaics(np.zeros((8, 2), np.int32), labels, np.zeros(8, np.int32))
    wild = Task("wild", np.full((1, 2), 1e18, np.float32), {"train": inputs}, 2)
    run = Training(paradigm="hard", networks="linear", learning_rates=(1e18,), epochs=3, batch=4)
    with pytest.raises(TrainingFailed, match=r"at step \d+ \(seed 0, learning rate 1e\+18\).* try"):
        train(run, task=wild)
    train(TINY, tmp_path)
    before = weights(ev.load(tmp_path))
    config = tmp_path / "config.toml"
    config.write_text(
        config.read_text().replace("epochs = 6", "epochs = 9").replace("0.05", "1e30")
    )
    with pytest.raises(TrainingFailed, match="try learning rate 2.5e\\+29"):
        train(None, tmp_path, resume=True)
    assert weights(ev.load(tmp_path)) == before


def test_bfloat16_learns_and_keeps_float32_weights():
    trained = train(replace(SMALL, dtype="bfloat16", paradigm="lvml"))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(trained.state["weights"]))
    assert ev.evaluate(trained)["sets"]["test"]["argmax"]["accuracy"] > 85


def test_networks_of_ones_own_train():
    def mine(shape, classes, rngs):
        return TwoLayer(shape, None, rngs, 16), TwoLayer(shape, classes, rngs, 16)

    trained = train(replace(SMALL, paradigm="lvml"), networks=mine)
    assert ev.evaluate(trained)["sets"]["test"]["argmax"]["accuracy"] > 80


# ---- the simple setting


@pytest.mark.parametrize("paradigm", ["soft", "hard", "lvml", "power-1/2", "soft:10,hard"])
def test_deviation_from_theory_falls_in_proportion_to_the_learning_rate(paradigm):
    found = []
    for rate in (0.2, 0.05):
        run = replace(EXACT, paradigm=paradigm, learning_rates=(rate,), passes=int(1 / rate))
        found.append(theory_over_practice(train(run)).deviation)
    for name in ("mu", "nu", "alpha", "beta", "loss"):
        assert found[1][name] < 0.03
        order = np.log(found[0][name] / found[1][name]) / np.log(4)
        assert order == pytest.approx(1, abs=0.15), name


def test_em_with_an_e_step_before_each_step_is_lvml():
    run = replace(EXACT, passes=1, epochs=30)
    exact, em = (train(replace(run, paradigm=p)) for p in ("lvml", "lvml-em"))
    for ours, theirs in zip(em.rows, exact.rows, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert ours["sets"]["train"]["nu"] == pytest.approx(
            theirs["sets"]["train"]["nu"], rel=1e-3, abs=1e-6
        )


@pytest.mark.parametrize("alpha", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("paradigm", ["soft", "hard", "lvml"])
def test_classifier_under_fixed_focus_follows_its_closed_form(paradigm, alpha):
    if alpha == 1:  # no finite score gives it: the paradigms coincide there
        trained = train(replace(EXACT, paradigm=paradigm, fixed_focus=1.0))
        other = train(replace(EXACT, paradigm="hard", fixed_focus=1.0))
        for ours, theirs in zip(trained.rows, other.rows, strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        return
    trained = train(replace(EXACT, paradigm=paradigm, fixed_focus=alpha))
    found = theory_over_practice(trained)
    assert found.deviation["alpha"] < 1e-6
    assert found.deviation["mu"] < 0.01 and found.deviation["loss"] < 0.01
    assert "nu" not in found.measured
    assert np.all(np.asarray(jax.tree.leaves(ev.one_run(trained)["focus"])[0]) == 0)


def test_time_counts_momentum():
    run = replace(EXACT, momentum=0.9, learning_rates=(0.001,), passes=200)
    trained = train(run)
    assert trained.rows[-1]["time"] == pytest.approx(20 * 200 * 0.001 / 0.1)
    assert theory_over_practice(trained).deviation["mu"] < 0.05


def test_sampled_setting_follows_the_theory_of_its_background():
    run = replace(EXACT, train=2000, heldout=100, epochs=40, batch=2000, momentum=0.0, passes=5)
    assert theory_over_practice(train(run)).deviation["alpha"] < 0.1


def test_fit_recovers_the_model_that_made_the_curves():
    setting = Setting(5, 7, focus_rate=2.0, classifier_rate=0.5)
    times = np.linspace(0, 300, 40)
    path = solve("lvml", setting, times)
    rows = [{"paradigm": "lvml", "time": 1.0}]
    found = fit_curves(schedule_of(rows), times, path.alpha, path.beta, 5, 3.0)
    assert found.classes == pytest.approx(7, rel=1e-3)
    assert found.focus_rate == pytest.approx(2.0, rel=1e-3)
    assert found.classifier_rate == pytest.approx(0.5, rel=1e-3)
    assert min(found.explained.values()) > 1 - 1e-8


# ---- evaluation


def test_rates_have_the_documented_shape_and_add_up(tmp_path):
    trained = train(TINY, tmp_path)
    found = json.loads(json.dumps(ev.evaluate(trained)))
    assert list(found) == ["task", "paradigm", "epochs", "weights", "sets"]
    assert (found["task"], found["epochs"]) == ("digits", 6) and len(found["weights"]) == 64
    for part in found["sets"].values():
        for rule in ev.RULES:
            rates = part[rule]
            four = [rates[k] for k in ("ftpt", "ffpt", "ftpf", "ffpf")]
            assert sum(four) == pytest.approx(100)
            assert rates["accuracy"] == pytest.approx(four[0] + four[1])
            assert part["focus_true"] == pytest.approx(four[0] + four[2])
    assert ev.evaluate(ev.load(tmp_path)) == found


def test_looked_up_rates_equal_those_of_composed_inputs():
    trained = train(replace(TINY, epochs=1))
    engine, weights = trained.engine, ev.one_run(trained)
    from attnflow.learn.scoring import modules_of

    focus, classifier = modules_of(engine, weights)
    inputs = engine.task.sets["test"]
    segments = engine.task.gather(engine.task.base, inputs.segments)
    share = np.asarray(jax.nn.softmax(focus(segments)))
    probabilities = np.asarray(jax.nn.softmax(classifier(segments)))
    chosen = share.argmax(1)
    pooled = np.einsum("bm,bmhwc->bhwc", share, np.asarray(segments))
    predictions = {
        "argmax": probabilities[np.arange(50), chosen].argmax(1),
        "mixture": np.einsum("bm,bmc->bc", share, probabilities).argmax(1),
        "pooled": np.asarray(classifier(jax.numpy.asarray(pooled))).argmax(1),
    }
    found = ev.evaluate(trained)["sets"]["test"]
    for rule, predicted in predictions.items():
        right, true = predicted == inputs.labels, chosen == inputs.true
        assert found[rule]["ftpt"] == pytest.approx(100 * np.mean(right & true))
        assert found[rule]["ffpt"] == pytest.approx(100 * np.mean(right & ~true))


def test_signature_is_the_joint_histogram_of_weight_and_probability():
    trained = train(replace(SMALL, paradigm="hard"))
    shares = ev.signature(trained, "test")
    assert shares.shape == (5, 5) and shares.sum() == pytest.approx(1)
    assert shares[4, 4] > 0.7
    shown = trained.rows[-1]["sets"]["test"]
    middles = (np.arange(5) + 0.5) / 5
    assert shares.sum(1) @ middles == pytest.approx(shown["alpha"], abs=0.1)
    with pytest.raises(SettingError, match="set must be one of train, .* got 'x'"):
        ev.signature(trained, "x")


# ---- configs and refusals


def test_config_reads_back_equal(tmp_path):
    run = replace(SMALL, seeds=(1, 2), data='a "b"\\c', fixed_focus=0.5)
    (tmp_path / "a.toml").write_text(to_toml(run))
    assert from_toml(tmp_path / "a.toml") == run
    assert from_toml(tmp_path / "a.toml").resolved().resolved() == run.resolved()


@pytest.mark.parametrize(
    "text, message",
    [
        ("soft:,hard", "paradigm must be a name, hybrid, or names each but the last with"),
        ("soft,hard", "paradigm must be a name, hybrid"),
        ("soft:3,hard:9", "paradigm must be a name, hybrid"),
        ("soft:0,hard", "the epoch at which soft ends must be a whole number of at least 1"),
        ("soft:focus=2,hard", "the focus at which soft ends must be above 0 and below 1"),
        ("soft:9,lvml:4,hard", "epochs of a schedule must increase"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(text, message):
    with pytest.raises(SettingError, match=message):
        parse_schedule(text, 10)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"optimizer": "lion"}, "optimizer must be one of sgd, adam, got 'lion'"),
        ({"learning_rates": (-1.0,)}, "learning_rate must be a finite number above 0, got -1.0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        ({"fixed_focus": 1.5}, "fixed_focus must be above 0 and at most 1, got 1.5"),
        ({"seeds": ()}, "must each hold at least one number"),
    ],
)
def test_configs_out_of_range_are_refused(change, message):
    with pytest.raises(SettingError, match=message):
        replace(SMALL, **change)


def test_contradictions_are_refused(tmp_path):
    with pytest.raises(SettingError, match="unknown entry 'epoch'"):
        (tmp_path / "x.toml").write_text("epoch = 3")
        from_toml(tmp_path / "x.toml")
    with pytest.raises(SettingError, match="seeds must be a list of numbers, got 3"):
        (tmp_path / "x.toml").write_text("seeds = 3")
        from_toml(tmp_path / "x.toml")
    with pytest.raises(SettingError, match="several learning rates at once need switches by epoch"):
        train(replace(TINY, paradigm="soft:focus=0.5,hard", learning_rates=(0.1, 0.2)))
    with pytest.raises(SettingError, match="data is for cifar10 and cifar100 only"):
        train(replace(TINY, data="x"))
    train(replace(TINY, epochs=1), tmp_path / "run")
    with pytest.raises(SettingError, match="holds a run already"):
        train(replace(TINY, epochs=1), tmp_path / "run")
    with pytest.raises(SettingError, match="holds a run with another config"):
        train(replace(TINY, epochs=2), tmp_path / "run", resume=True)
    with pytest.raises(SettingError, match="holds no run"):
        ev.load(tmp_path)
    with pytest.raises(SettingError, match="the simple setting only"):
        theory_over_practice(train(replace(TINY, epochs=1)))


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(replace(TINY, epochs=1), tmp_path)
    for file in Path(tmp_path / "checkpoints" / "1" / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match="checkpoint 1 of .* is damaged or of other networks"):
        ev.load(tmp_path)
