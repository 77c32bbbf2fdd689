"""Caption runs learn words and where to look, resume bit for bit, and refuse what does not fit."""

import json
import os
import subprocess
import sys
import tarfile
import warnings
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from attnflow.captions.config import CaptionTraining, from_dict
from attnflow.captions.evaluation import captions, evaluate, load, write_results
from attnflow.captions.features import compute_features
from attnflow.captions.generated_set import generate_coco
from attnflow.captions.loop import corpus_of, objectives_of, train
from attnflow.captions.measure import in_order, measure
from attnflow.captions.program import build
from attnflow.captions.report import compare_runs
from attnflow.errors import ParadigmError, SettingError, TrainingFailed
from attnflow.reading import read_toml
from attnflow.symbolic.catalogue import LVML
from attnflow.train import losses
from attnflow.train.checkpoints import digest
from attnflow.train.config import to_toml
from attnflow.train.parallel import devices

pytestmark = pytest.mark.usefixtures("compiled_once", "compiled_lightly")
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "coco-captions-mini.tar"
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    data = generate_coco(tmp_path_factory.mktemp("coco") / "set")
    return CaptionTraining(
        data=str(data),
        paradigm="lvml",
        min_count=1,
        image_size=24,
        encoder_width=16,
        encoder_blocks=3,
        hidden=64,
        attention=32,
        embedding=32,
        dropout=0.1,
        captions_each=2,
        batch=20,
        epochs=8,
        learning_rate=3e-3,
        measured=100,
        measure_every=8,
    )


@pytest.mark.parametrize(
    ("paradigm", "epochs", "rate"),
    [
        ("soft@epoch=3,lvml:fresh", 6, 3e-3),
        pytest.param("soft", 15, 3e-3, marks=SLOW),
        pytest.param("lvml", 15, 3e-3, marks=SLOW),
        pytest.param("hard", 20, 3e-3, marks=SLOW),
        pytest.param("power-1/2", 20, 3e-3, marks=SLOW),
        pytest.param("soft@epoch=50%,hard-sampled:fresh", 20, 3e-3, marks=SLOW),
        pytest.param("hard-sampled", 100, 1e-3, marks=SLOW),
    ],
)
def test_captions_are_learned_and_attention_is_where_the_named_shape_is(
    small, tmp_path, paradigm, epochs, rate
):
    run = replace(small, paradigm=paradigm, epochs=epochs, learning_rate=rate, measure_every=epochs)
    trained = train(run, tmp_path / "run")
    shown = evaluate(trained)["sets"]["val"]
    assert shown["focus_chance"] == pytest.approx(100 / 9, abs=0.1)
    assert shown["focus_true"] > 35
    assert shown["bleu4"] > 0.3
    assert trained.rows[-1]["loss"] < 0.5 * trained.rows[0]["loss"]
    again = load(tmp_path / "run")
    assert digest(again.state["weights"]) == digest(trained.state["weights"])
    again = replace(again, engine=trained.engine)  # compiled already
    assert evaluate(again)["sets"]["val"] == shown
    results = json.loads(write_results(again, tmp_path / "r.json").read_text())
    pictures = again.engine.corpus.sets["val"].pictures
    assert [one["image_id"] for one in results] == [picture.id for picture in pictures]
    first = next(captions(again))
    assert results[0]["caption"] == " ".join(first.words)
    np.testing.assert_allclose(first.weights.sum(axis=(1, 2)), 1, rtol=1e-5)
    page = compare_runs([tmp_path / "run"], tmp_path / "page").read_text()
    assert "figures/attention-run-1.svg" in page and digest(again.state["weights"]) in page


@SLOW
def test_a_run_by_a_custom_loss_opens_without_it(small, tmp_path):
    def own(log_weights, logits, labels):
        return losses.pooled_loss(LVML, log_weights, logits, labels) ** 2

    tiny = replace(small, paradigm="own", custom_losses=("own",), epochs=1, train=20, heldout=5)
    trained = train(tiny, tmp_path / "run", losses={"own": own})
    shown = evaluate(trained)
    again = load(tmp_path / "run")
    assert evaluate(replace(again, engine=trained.engine)) == shown  # compiled already
    with pytest.raises(SettingError, match="a custom loss: give losses with 'own'"):
        again.objective.of_logits(None, None, None)
    assert load(tmp_path / "run", losses={"own": own}).objective.function is own
    with pytest.raises(ParadigmError, match="unknown paradigm 'own'"):
        train(None, tmp_path / "run", resume=True)
    page = compare_runs([tmp_path / "run"], tmp_path / "page").read_text()
    assert digest(again.state["weights"]) in page


def test_a_set_is_measured_by_all_captions_however_many_a_step_takes(small):
    run = replace(small, paradigm="soft", train=20, heldout=5, captions_each=1, hidden=16)
    engine = build(corpus_of(run), run, devices(1))
    part = engine.corpus.sets["val"]
    (batch,) = in_order(engine, part, None)
    assert sorted(batch.captions[batch.captions >= 0]) == list(range(len(part.words))) != []
    weights, goal = engine.start()["weights"], objectives_of(run)[0]
    shown = measure(engine, weights, goal, "val")
    more = replace(engine, run=replace(run, captions_each=2))
    assert measure(more, weights, goal, "val") == shown


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    ("paradigm", "epochs"),
    [("lvml", 1), pytest.param("soft@epoch=50%,hard-sampled:fresh", 2, marks=SLOW)],
)
def test_a_run_that_stopped_within_an_epoch_goes_on_bit_for_bit(small, tmp_path, paradigm, epochs):
    """The folder holds the newest step; dropout and draws go on where they were."""
    run = replace(small, paradigm=paradigm, train=60, epochs=epochs, checkpoint_steps=1)
    whole = train(run, tmp_path / "whole")

    def stop(done, total, told):
        if done == total - 1:
            raise Stop

    with pytest.raises(Stop):
        train(run, tmp_path / "cut", progress=stop)
    assert whole.engine.steps == 3
    again = train(None, tmp_path / "cut", resume=True)
    assert digest(again.state) == digest(whole.state)
    assert [row["paradigm"] for row in again.rows] == (
        ["soft", "hard-sampled"] if epochs == 2 else [paradigm]
    )
    for one, other in zip(again.rows, whole.rows, strict=True):
        assert one["loss"] == other["loss"] and one["sets"] == other["sets"]
    with pytest.raises(SettingError, match="holds a run with another config"):
        train(replace(run, batch=10), tmp_path / "cut", resume=True)


@SLOW
def test_captions_begin_with_the_weights_of_another_run_and_go_on_longer(small, tmp_path):
    run = replace(small, train=20, epochs=1, measured=5)
    source = train(run, tmp_path / "soft")
    still = replace(run, start_from=str(tmp_path / "soft"), learning_rate=1e-12)
    begun = train(still, tmp_path / "still")
    assert begun.engine.run.start_weights == digest(source.state["weights"])
    for ours, theirs in zip(
        jax.tree.leaves(begun.state["weights"]),
        jax.tree.leaves(source.state["weights"]),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)
    longer = train(replace(run, epochs=2), tmp_path / "soft", resume=True)
    assert [row["epoch"] for row in longer.rows] == [1, 2]
    assert digest(longer.state) == digest(train(replace(run, epochs=2)).state)
    with pytest.raises(SettingError, match="is of other networks"):
        train(replace(still, start_weights=None, hidden=32))


@SLOW
def test_training_from_a_store_is_training_with_a_frozen_encoder(small, tmp_path):
    frozen = replace(small, train_encoder=False, train=60, epochs=2, dropout=0.0)
    store = compute_features(small, tmp_path / "store", dtype="float32")
    stored = train(replace(frozen, features=str(store.path), train_encoder=None))
    images = train(frozen)
    assert stored.rows[-1]["loss"] == pytest.approx(images.rows[-1]["loss"], rel=1e-4)


@SLOW
def test_divergence_is_told_with_step_and_rate(small):
    with pytest.raises(TrainingFailed, match="diverged at step .*try learning rate 1"):
        train(replace(small, optimizer="sgd", learning_rate=1e30, train=40, epochs=2))


@SLOW
def test_the_published_way_warns_and_writes_by_the_weighted_mean(small, tmp_path):
    run = replace(
        small,
        paradigm="soft@epoch=1:rate.encoder=1e-5,hard-sampled:rate.encoder=1e-7:rate.decoder=1e-5:fresh",
        credit="published",
        captions_each=1,
        train=40,
        epochs=2,
        measure_every=2,
    )
    with pytest.warns(UserWarning, match="credit published is no gradient of the expected loss"):
        trained = train(replace(run, written_by="soft"), tmp_path / "run")
    assert "credit published is no gradient" in trained.remarks[0]
    assert np.isfinite(trained.rows[-1]["loss"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = load(tmp_path / "run")
    shown = evaluate(again)["sets"]["val"]
    with pytest.warns(UserWarning):
        by_cell = evaluate(train(run))["sets"]["val"]
    assert shown["loss"] != by_cell["loss"]


def test_a_config_comes_back_from_toml_and_bad_values_are_refused(small, tmp_path):
    (tmp_path / "c.toml").write_text(to_toml(small))
    assert from_dict(read_toml(tmp_path / "c.toml")) == small
    for values, message in [
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1"),
        ({"encoder": "resnet"}, "encoder must be one of conv, vgg19, got 'resnet'"),
        ({"year": 2015}, "year must be 2014 or 2017, got 2015"),
        ({"gate": 1}, "gate must be true or false, got 1"),
        ({"hidden": "x"}, "hidden must be a number, got 'x'"),
        ({"colour": 1}, "unknown entry 'colour'"),
        ({"paradigm": "soft@theory,hard"}, "captions switch by epoch"),
        ({"encoder_weights": "w.pth"}, "encoder_weights are for vgg19 only"),
        ({"features": "s", "train_encoder": True}, "leave its options out"),
        ({"momentum": 0.5}, "momentum is for sgd only"),
        ({"task": "digits"}, "task must be coco for captions"),
    ]:
        with pytest.raises(SettingError, match=message):
            from_dict(values)


def test_what_captions_cannot_train_is_refused(small):
    with pytest.raises(SettingError, match="lvml-em is not for captions"):
        train(replace(small, paradigm="lvml-em"))
    with pytest.raises(ParadigmError, match="unknown paradigm 'sofd'"):
        train(replace(small, paradigm="sofd"))
    with pytest.raises(SettingError, match="captions need data"):
        train(replace(small, data=None))
    with pytest.raises(SettingError, match="vgg19 without encoder_weights would stay at random"):
        train(replace(small, encoder="vgg19"))


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """80 training images of COCO 2017 with 400 captions, where they lie beside the checkout."""
    if not REAL.is_file():
        pytest.skip(f"no {REAL.name} beside the checkout")
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(REAL) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def memorised(real, tmp_path_factory):
    """A run on features of an encoder that never learned; 1 of 400 captions is cut."""
    run = CaptionTraining(
        data=str(real),
        min_count=1,
        max_words=21,
        image_size=48,
        encoder_width=16,
        hidden=256,
        attention=64,
        embedding=128,
        dropout=0.0,
        batch=5,
        learning_rate=3e-3,
        rate_schedule="cosine",
        measured=80,
        measure_every=1000,
    )
    store = compute_features(run, tmp_path_factory.mktemp("features") / "store", dtype="float32")
    return replace(run, features=str(store.path))


@SLOW
@pytest.mark.parametrize(
    ("paradigm", "epochs"),
    [
        ("soft", 60),
        ("hard", 60),
        ("hard-sampled", 80),
        ("lvml", 60),
        ("power-1/2", 60),
        ("soft@epoch=30,hard-sampled:fresh", 60),
    ],
)
def test_80_real_images_are_learned_by_heart(memorised, paradigm, epochs):
    trained = train(replace(memorised, paradigm=paradigm, epochs=epochs))
    assert [len(part) for part in trained.engine.corpus.sets.values()] == [80, 79]
    shown = trained.rows[-1]["sets"]
    assert shown["train"]["bleu4"] > 0.9
    assert shown["val"]["bleu4"] < 0.2  # by heart: nothing is learned of other images


@SLOW
def test_bfloat16_comes_near_to_float32(small):
    """Weights stay float32, so the losses differ by the 8 bits of the activations."""
    run = replace(small, paradigm="soft@epoch=2,lvml:fresh", epochs=4, train=100, measure_every=4)
    full, short = train(run), train(replace(run, dtype="bfloat16"))
    losses = [np.array([row["loss"] for row in one.rows]) for one in (full, short)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)
    assert np.all(losses[1] != losses[0])
    assert losses[1][-1] < 0.8 * losses[1][0]
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(short.state["weights"])} == {"float32"}
    for part in ("train", "val"):
        one, other = (t.rows[-1]["sets"][part]["loss"] for t in (full, short))
        assert other == pytest.approx(one, rel=0.05)


EIGHT = """
import sys
import numpy as np
from attnflow.captions.config import from_dict
from attnflow.captions.loop import train
from attnflow.reading import read_toml

run = from_dict(read_toml(sys.argv[1]))
one, eight = train(run, devices=1), train(run)
assert (one.engine.devices.count, eight.engine.devices.count) == (1, 8)
assert len(eight.state["step"].sharding.device_set) == 8
ours, theirs = ([row["loss"] for row in t.rows] for t in (one, eight))
np.testing.assert_allclose(theirs, ours, rtol=1e-5)
for part, shown in one.rows[-1]["sets"].items():
    also = eight.rows[-1]["sets"][part]
    np.testing.assert_allclose(also["loss"], shown["loss"], rtol=1e-5)
assert [row["paradigm"] for row in eight.rows] == ["hard-sampled", "lvml"]
assert theirs[-1] < theirs[0]
"""


@SLOW
def test_eight_devices_take_the_steps_of_one(small, tmp_path):
    """A batch of 24 is shared out; dropout and draws follow the place in the batch.

    By plain descent: Adam's first step takes a vanishing gradient's rounding for a direction, and
    then other cells are drawn.
    """
    run = replace(small, paradigm="hard-sampled@epoch=1,lvml", batch=24, epochs=2, train=60)
    run = replace(run, optimizer="sgd", learning_rate=0.3, measure_every=2, measured=20)
    (tmp_path / "c.toml").write_text(to_toml(run))
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", EIGHT, str(tmp_path / "c.toml")],
        env={**os.environ, **flags},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
