"""What is measured of inputs with several true segments is what one computes by hand."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from attnflow.train import Training, train
from attnflow.train import evaluation as ev
from attnflow.train.known_truth import class_on_true, fixed_weights, weight_on_true
from attnflow.train.metrics import macro_f1
from attnflow.train.tasks import Mosaics, Task


@pytest.fixture
def by_hand():
    """Three inputs of four places: several true ones, one of unknown truth, a padded one."""
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], bool)
    truth = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0]], bool)
    inputs = Mosaics(np.zeros((3, 4), np.int32), np.zeros(3, np.int32), -np.ones(3), mask, truth)
    weight = np.array([[0.4, 0.3, 0.2, 0.1], [0.5, 0.5, 0, 0], [0.6, 0.2, 0.2, 0]])
    each = np.array([[0.5, 0.1, 0.2, 0.3], [0.9, 0.8, 0.7, 0.6], [0.3, 0.2, 0.7, 0.9]])
    return inputs, weight, each


def test_alpha_and_beta_of_several_true_words_compose_to_the_mean_probability(by_hand):
    inputs, weight, each = by_hand
    with np.errstate(divide="ignore"):
        logs = jnp.asarray(np.log(weight), jnp.float32)
    inputs = jax.tree.map(jnp.asarray, inputs)
    alpha = np.asarray(weight_on_true(inputs, logs))
    beta = np.asarray(class_on_true(inputs, logs, jnp.log(jnp.asarray(each, jnp.float32))))
    np.testing.assert_allclose(alpha, [0.6, 0.0, 0.2], rtol=1e-6)
    np.testing.assert_allclose(beta[[0, 2]], [(0.4 * 0.5 + 0.2 * 0.2) / 0.6, 0.7], rtol=1e-6)
    assert np.all(np.isfinite(beta))
    rest = (0.3 * 0.1 + 0.1 * 0.3) / 0.4
    mean = float(weight[0] @ each[0])
    assert alpha[0] * beta[0] + (1 - alpha[0]) * rest == pytest.approx(mean, rel=1e-6)


def test_a_held_focus_is_shared_by_the_true_words_and_by_the_others(by_hand):
    inputs = jax.tree.map(jnp.asarray, by_hand[0])
    shares = np.exp(np.asarray(fixed_weights(jnp.float32(0.8), inputs)))
    wanted = [[0.4, 0.1, 0.4, 0.1], [0.5, 0.5, 0, 0], [0.1, 0.1, 0.8, 0]]
    np.testing.assert_allclose(shares, wanted, rtol=1e-6)
    whole = np.exp(np.asarray(fixed_weights(jnp.float32(1.0), inputs)))
    np.testing.assert_allclose(whole[[0, 2]], [[0.5, 0, 0.5, 0], [0, 0, 1, 0]], rtol=1e-6)
    alone = jnp.asarray([[1, 1, 1], [0, 1, 0]], bool)
    one = Mosaics(jnp.zeros((2, 3), jnp.int32), jnp.zeros(2), jnp.array([2, 1]), alone)
    for alpha in (0.8, 1.0):
        shares = np.exp(np.asarray(fixed_weights(jnp.float32(alpha), one)))
        rest = (1 - alpha) / 2
        np.testing.assert_allclose(shares, [[rest, rest, alpha], [0, 1, 0]], rtol=1e-6)


def test_precision_against_recall_is_that_of_scikit_learn_with_ties_and_padding():
    random = np.random.default_rng(0)
    rows, places = 60, 9
    mask = np.arange(places)[None] < random.integers(2, places + 1, rows)[:, None]
    truth = (random.random((rows, places)) < 0.4) & mask
    truth[:, 0] |= ~truth.any(axis=1)
    weight = np.round(random.random((rows, places)), 1) * mask  # many are equal
    inputs = Mosaics(truth * 0, truth[:, 0] * 0, truth[:, 0] * 0, mask, truth)
    wanted = [
        average_precision_score(t[m], w[m]) for t, w, m in zip(truth, weight, mask, strict=True)
    ]
    assert ev.average_precision(weight, inputs) == pytest.approx(np.mean(wanted), rel=1e-12)
    whole = Mosaics(truth * 0, truth[:, 0] * 0, truth[:, 0] * 0, None, truth)
    wanted = [average_precision_score(t, w) for t, w in zip(truth, weight, strict=True)]
    assert ev.average_precision(weight, whole) == pytest.approx(np.mean(wanted), rel=1e-12)


@pytest.mark.parametrize("kinds", [3, 2, 1])
def test_macro_f1_is_that_of_scikit_learn(kinds):
    random = np.random.default_rng(kinds)
    labels, said = random.integers(kinds, size=(2, 50)).astype(np.int32)
    found = macro_f1(jnp.asarray(labels), jnp.asarray(said), 3)
    assert float(found) == pytest.approx(f1_score(labels, said, average="macro"), rel=1e-6)


def test_a_first_step_without_known_segments_has_no_focus_weight_and_no_traceback(tmp_path):
    random = np.random.default_rng(0)
    segments = random.integers(20, size=(64, 3)).astype(np.int32)
    labels = random.integers(3, size=64).astype(np.int32)
    truth = np.zeros((64, 3), bool)
    truth[5, 1] = True  # of one input alone
    first = np.where(truth.any(1), truth.argmax(1), -1)
    inputs = Mosaics(segments, labels, first, np.ones((64, 3), bool), truth)
    base = random.standard_normal((20, 4)).astype(np.float32)
    run = Training(task="vectors", networks="linear", batch=1, epochs=1, early_points=64)
    trained = train(run, tmp_path / "run", task=Task("vectors", base, {"train": inputs}, 3))
    alphas = [row["alpha"] for row in trained.rows]
    assert alphas[0] is None and isinstance(alphas[-1], float)
    kept = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["alpha"] for line in kept] == alphas
