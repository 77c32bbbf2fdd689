"""Which inputs a run learns from and is measured on: drawn once or anew, in which order."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from attnflow.errors import SettingError
from attnflow.train.config import Training
from attnflow.train.data.images import CIFAR10_CLASSES, Images
from attnflow.train.engine import build
from attnflow.train.epoch import _order
from attnflow.train.loop import task_of, train
from attnflow.train.parallel import Devices
from attnflow.train.tasks import task
from training_runs import TINY, weights

pytestmark = pytest.mark.usefixtures("compiled_once")
FRESH = replace(TINY, fresh=True)


def test_mosaics_drawn_anew_are_of_the_training_images_and_new_each_epoch():
    made = task("digits", segments=7, train=900, heldout=5, test=5)
    first, again, later = (made.drawn_anew(0, 1, epoch) for epoch in (2, 2, 3))
    assert np.array_equal(first.segments, again.segments)
    assert np.mean(first.segments == later.segments) < 0.1
    assert first.segments.shape == (900, 7)
    known = np.concatenate([*made.pool.foreground, made.pool.background])
    assert not np.isin(made.sets["test"].segments, known).any()
    assert np.isin(first.segments, known).all()
    for row, (label, place) in enumerate(zip(first.labels, first.true, strict=True)):
        true = np.isin(first.segments[row], np.concatenate(made.pool.foreground))
        assert np.flatnonzero(true).tolist() == [place]
        assert first.segments[row, place] in made.pool.foreground[label]


def test_a_run_on_fresh_mosaics_resumes_bit_for_bit(tmp_path):
    unbroken = train(FRESH, tmp_path / "a")

    def interrupt(done, total, told):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(FRESH, tmp_path / "b", progress=interrupt)
    assert weights(train(None, tmp_path / "b", resume=True)) == weights(unbroken)
    fixed = train(TINY)
    assert weights(fixed) != weights(unbroken)


@pytest.mark.slow
def test_runs_on_fresh_mosaics_trained_at_once_are_the_runs_trained_alone():
    run = replace(FRESH, seeds=(3, 4), learning_rates=(0.02, 0.05), epochs=3)
    together = train(run)
    for replica, (seed, rate, _) in enumerate(run.replicas):
        alone = train(replace(run, seeds=(seed,), learning_rates=(rate,)))
        ours = [row["loss"] for row in together.rows[replica::4]]
        assert [row["loss"] for row in alone.rows] == pytest.approx(ours, rel=1e-3)


def test_fresh_needs_images_to_draw_from(tmp_path):
    run = replace(FRESH, task="orthogonal", train=None, heldout=None, test=None)
    with pytest.raises(SettingError, match=r"fresh is for tasks .*, got orthogonal"):
        train(run, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("order", ["shuffled", "fixed"])
def test_a_fixed_order_goes_through_the_inputs_as_they_are(order):
    made = task("digits", train=70, heldout=5, test=5)
    engine = build(made, replace(TINY, passes=2, order=order).resolved(), "linear", Devices())
    index, present = (np.asarray(a) for a in _order(engine, jax.random.key(1)))
    kept = index[present].tolist()
    assert (kept == [*range(70)] * 2) == (order == "fixed")
    assert sorted(kept) == sorted([*range(70)] * 2)


def test_posts_in_fixed_order_come_length_by_length():
    from attnflow.train.epoch import order_in_buckets
    from attnflow.train.length_buckets import Bucket

    made = task("digits", train=10, heldout=5, test=5)
    engine = build(made, replace(TINY, batch=4, order="fixed").resolved(), "linear", Devices())
    buckets = Bucket(3, np.array([1, 4, 5, 7, 9])), Bucket(5, np.array([0, 2, 3, 6, 8]))
    engine = replace(engine, buckets=buckets)
    index, present, which = order_in_buckets(engine, jax.random.key(0), 0)
    assert np.asarray(index)[np.asarray(present)].tolist() == [1, 4, 5, 7, 9, 0, 2, 3, 6, 8]
    assert np.asarray(which).tolist() == [0, 0, 1, 1]


def few_images(names=CIFAR10_CLASSES, count=200):
    """Images that are their own numbers, in an order that mixes the classes."""
    random = np.random.default_rng(0)

    def part(first):
        labels = random.integers(len(names), size=count)
        numbers = np.arange(first, first + count, dtype=np.uint32)
        images = np.zeros((count, 32, 32, 3), np.uint8)
        images[:, 0, 0, :2] = np.stack([numbers // 256, numbers % 256], axis=1)
        return images, labels

    return Images(*part(0), *part(count), tuple(names))


@pytest.mark.parametrize("fresh", [False, True])
def test_fresh_mosaics_of_cifar_keep_every_training_image(fresh, monkeypatch):
    images = few_images()
    monkeypatch.setattr("attnflow.train.data.find_images.find_images", lambda *_: images)
    made = task_of(Training(task="cifar10", train=4, heldout=2, test=2, fresh=fresh))
    assert (made.pool is not None) == fresh
    if not fresh:
        assert len(made.base) <= 5 * 8
        return
    drawn = made.drawn_anew(0, 0, 5)
    labels = images.train_labels[drawn.segments[np.arange(4), drawn.true]]
    assert np.array_equal(np.array(images.names)[labels], np.array(made.class_names)[drawn.labels])
    assert np.array_equal(made.base[:200], images.train)
