"""Rates, signatures, configs: what is reported is what the networks do; nonsense is refused."""

import json
from dataclasses import fields, replace

import jax
import numpy as np
import pytest

from attnflow.captions.config import CaptionTraining
from attnflow.cli import run as command
from attnflow.errors import DataError, ParadigmError, SettingError
from attnflow.train import evaluation as ev
from attnflow.train.config import TASKS, Training, from_toml, to_toml
from attnflow.train.loop import train
from attnflow.train.tasks.orthogonal import orthogonal
from attnflow.train.theory import theory_over_practice
from training_runs import SMALL, TINY, weights

pytestmark = pytest.mark.usefixtures("compiled_once", "compiled_lightly")
SLOW = pytest.mark.slow


def test_rates_have_the_documented_shape_and_add_up(tmp_path):
    trained = train(TINY, tmp_path)
    found = json.loads(json.dumps(ev.evaluate(trained)))
    assert list(found) == ["task", "paradigm", "epochs", "weights", "meanings", "sets"]
    assert (found["task"], found["epochs"]) == ("digits", 6) and len(found["weights"]) == 64
    for part in found["sets"].values():
        for rule in ev.RULES:
            rates = part[rule]
            four = [rates[k] for k in ("ftpt", "ffpt", "ftpf", "ffpf")]
            assert sum(four) == pytest.approx(100)
            assert rates["accuracy"] == pytest.approx(four[0] + four[1])
            assert part["focus_true"] == pytest.approx(four[0] + four[2])
    assert ev.evaluate(ev.load(tmp_path)) == found


def test_tables_say_which_set_is_of_seen_images_and_tell_both_by_every_rule(tmp_path, capsys):
    from attnflow.train.report.compare_runs import compare_runs, rate_rows

    trained = train(replace(TINY, epochs=1, paradigm="soft"), tmp_path / "run")
    made, found = trained.engine.task, ev.evaluate(trained)
    drawn = {name: set(part.segments.ravel().tolist()) for name, part in made.sets.items()}
    for part, what in found["meanings"].items():
        shared = drawn[part] & drawn["train"]
        assert bool(shared) == (" seen" in what) and bool(shared) != ("unseen" in what)
    told = {(name, rule) for name, rule, *_ in rate_rows(found)}
    assert told >= {(name, rule) for name in ("heldout", "test") for rule in ev.RULES}
    said = "heldout: new mosaics of seen images; test: mosaics of unseen images"
    page = compare_runs([tmp_path / "run"], tmp_path / "page").read_text()
    assert page.count(f"Sets: {said}.") == 1
    assert command(["evaluate", str(tmp_path / "run")]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_looked_up_rates_equal_those_of_composed_inputs():
    trained = train(replace(TINY, epochs=1, paradigm="soft"))
    engine, weights = trained.engine, ev.one_run(trained)
    from attnflow.train.outputs import modules_of

    focus, classifier, _ = modules_of(engine, weights)
    inputs = engine.task.sets["test"]
    segments = engine.task.gather(engine.task.base, inputs.segments)
    share = np.asarray(jax.nn.softmax(focus(segments)))
    probabilities = np.asarray(jax.nn.softmax(classifier(segments)))
    chosen = share.argmax(1)
    pooled = np.einsum("bm,bmhwc->bhwc", share, np.asarray(segments))
    predictions = {
        "argmax": probabilities[np.arange(len(inputs)), chosen].argmax(1),
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
    run = replace(SMALL, seeds=(1, 2), networks='a "b"\\c', fixed_focus=(0.5,))
    (tmp_path / "a.toml").write_text(to_toml(run))
    assert from_toml(tmp_path / "a.toml") == run
    assert from_toml(tmp_path / "a.toml").resolved().resolved() == run.resolved()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"optimizer": "lion"}, "optimizer must be one of sgd, adam, got 'lion'"),
        ({"learning_rates": (-1.0,)}, "learning_rate must be a finite number above 0, got -1.0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        ({"fixed_focus": (1.5,)}, "fixed_focus must be above 0 and at most 1, got 1.5"),
        ({"seeds": ()}, r"seeds must be one or more different numbers, got \(\)"),
        ({"learning_rates": (0.1, 0.1)}, "learning_rates must be one or more different numbers"),
        ({"learning_rates": 0.1}, "learning_rates must be a list of numbers, got 0.1"),
        ({"paradigm": "sofft"}, "unknown paradigm 'sofft'; did you mean 'soft'"),
        ({"paradigm": "soft@epoch=2,banana"}, "unknown paradigm 'banana'; .* in custom_losses"),
        ({"paradigm": "soft:15,hard"}, "write soft@epoch=15,hard, got 'soft:15,hard'"),
        ({"epochs": 1e30}, "epochs must be at most 4294967295, got a larger whole number"),
        ({"data_seed": 10**5000}, "data_seed must be at most 4294967295, got a larger"),
        ({"learning_rates": (10**400,)}, "learning_rate must be at most 4294967295, got a larger"),
        ({"epochs": "two"}, "epochs must be a number, got 'two'"),
        ({"epochs": True}, "epochs must be a number, got True"),
        ({"epochs": 2.5}, "epochs must be a whole number of at least 1, got 2.5"),
        ({"paradigm": 3}, "paradigm must be text, a Paradigm or a Schedule, got 3"),
        ({"seeds": ("a",)}, "seed must be a number, got 'a'"),
        ({"label": "first"}, "label is for the hatexplain task only, got 'first' with digits"),
        ({"task": object()}, r"task must be a name, got a object: .* train\(run, task=TASK\)"),
    ],
)
def test_configs_out_of_range_are_refused(change, message):
    with pytest.raises((SettingError, ParadigmError), match=message):
        replace(SMALL, **change)


def test_every_default_of_an_entry_is_allowed_and_told():
    for kind in (Training, CaptionTraining):
        assert kind.from_dict(kind().as_dict()) == kind()
        for one in fields(kind):
            assert f"    {one.name}: {one.metadata['entry'].help}" in kind.__doc__
    assert Training(epochs=np.int64(3), seeds=[np.uint8(4)]) == Training(epochs=3, seeds=(4,))
    for task in TASKS:
        assert Training(task=task).resolved().resolved() == Training(task=task).resolved()


def test_a_task_given_as_an_object_has_its_own_defaults_and_is_recorded_as_custom(tmp_path):
    run = Training(paradigm="lvml", epochs=1)
    exact = orthogonal(segments=3, classes=2)
    trained = train(run, tmp_path, task=exact)
    kept = from_toml(tmp_path / "config.toml")
    assert (kept.task, kept.networks, kept.momentum, kept.passes) == (
        "custom", "linear-zero", 0.0, 20
    )  # fmt: skip
    assert kept == trained.engine.run
    again = train(replace(run, epochs=1), tmp_path, task=exact, resume=True)
    assert weights(again) == weights(trained)
    with pytest.raises(SettingError, match="task is custom: give it again, as task=TASK"):
        ev.load(tmp_path)
    assert ev.load(tmp_path, task=exact).rows == trained.rows


def test_contradictions_are_refused(tmp_path):
    with pytest.raises(SettingError, match="unknown entry 'epoch'"):
        (tmp_path / "x.toml").write_text("epoch = 3")
        from_toml(tmp_path / "x.toml")
    with pytest.raises(SettingError, match="seeds must be a list of numbers, got 3"):
        (tmp_path / "x.toml").write_text("seeds = 3")
        from_toml(tmp_path / "x.toml")
    with pytest.raises(SettingError, match="several learning rates at once need switches by epoch"):
        train(replace(TINY, paradigm="soft@alpha=0.5,hard", learning_rates=(0.1, 0.2)))
    with pytest.raises(SettingError, match="data is for cifar10, cifar100 and hatexplain only"):
        train(replace(TINY, data="x"))
    train(replace(TINY, epochs=1, paradigm="soft"), tmp_path / "run")
    with pytest.raises(SettingError, match="holds a run already"):
        train(replace(TINY, epochs=1, paradigm="soft"), tmp_path / "run")
    with pytest.raises(SettingError, match="holds a run with another config"):
        train(replace(TINY, epochs=2), tmp_path / "run", resume=True)
    with pytest.raises(SettingError, match="holds no run"):
        ev.load(tmp_path)
    with pytest.raises(SettingError, match="the simple setting only"):
        theory_over_practice(train(replace(TINY, epochs=1, paradigm="soft")))


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(replace(TINY, epochs=1, paradigm="soft"), tmp_path)
    metrics = tmp_path / "metrics.jsonl"
    kept = metrics.read_bytes()
    for content in (b"3\n", b'{"epoch": 1}\n', b"\xff\n"):
        metrics.write_bytes(content)
        with pytest.raises(DataError, match="metrics.jsonl' is damaged"):
            ev.load(tmp_path)
    metrics.unlink()
    assert ev.evaluate(ev.load(tmp_path))["epochs"] == 1
    metrics.write_bytes(kept)
    file = tmp_path / "checkpoints" / "1" / "state.npz"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match="1' is damaged: .*there is none before it"):
        ev.load(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(DataError, match="run.json' is damaged: it holds '\\[\\]'"):
        ev.load(tmp_path)
