"""The decoder's words and losses, against plain NumPy, enumeration and limits."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attnflow.captions import teacher_forcing as module
from attnflow.captions.decoder import Decoder
from attnflow.captions.teacher_forcing import (
    costs_to_come,
    dropout_of,
    taught_by,
    unroll,
    word_losses,
)
from attnflow.captions.vocabulary import END, PAD, START
from attnflow.train import losses
from attnflow.train.objective import objective
from oracles.networks import filled

pytestmark = pytest.mark.usefixtures("compiled_once", "compiled_lightly")
V, B, K, T, L, D = 7, 2, 2, 4, 3, 5
WORDS = np.array([[[4, 5, END, PAD], [6, END, PAD, PAD]], [[5, 4, 6, END], [4, 4, 5, END]]])


def decoder_of(**options):
    sizes = {"hidden": 6, "attention": 4, "embedding": 5}
    return filled(lambda: Decoder(V, D, nnx.Rngs(0), **sizes, **options), 0)


def grid(seed=0):
    return jax.random.normal(jax.random.key(seed), (B, L, D))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def by_hand(decoder, features, words, deep=True, gate=True, mean=True):
    """(focus, distribution given each cell, gate) of every word of one caption, soft context."""

    def dense(layer, x):
        out = x @ np.asarray(layer.kernel[...])
        return out if layer.bias is None else out + np.asarray(layer.bias[...])

    embed, average = np.asarray(decoder.embed[...]), features.mean(axis=0)
    c = np.tanh(dense(decoder.first_memory, average)) if mean else np.zeros(6)
    h = np.tanh(dense(decoder.first_hidden, average)) if mean else np.zeros(6)
    z, last, found = np.zeros(D), START, []
    for word in words:
        y = embed[last]
        gates = dense(decoder.cell.dense_i, np.concatenate([y, z])) + dense(decoder.cell.dense_h, h)
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        together = np.tanh(dense(decoder.keys, features) + dense(decoder.query, h))
        weights = softmax(dense(decoder.score, together)[:, 0])
        beta = sigmoid(dense(decoder.gate, h)) if gate else 1.0

        def output(context, y=y, h=h):
            if not deep:
                return dense(decoder.from_hidden, h) + dense(decoder.from_context, context)
            inner = y + dense(decoder.from_hidden, h) + dense(decoder.from_context, context)
            return dense(decoder.out, np.tanh(inner))

        z = beta * (weights @ features)
        cells = np.stack([softmax(output(beta * cell)) for cell in features])
        found.append((weights, cells[:, word], softmax(output(z))[word]))
        last = word
    return found


EXPECTED = {
    "soft": lambda weights, cells, pooled: -np.log(pooled),
    "hard": lambda weights, cells, pooled: -(weights @ np.log(cells)),
    "lvml": lambda weights, cells, pooled: -np.log(weights @ cells),
    "power-1/2": lambda weights, cells, pooled: -2 * np.log(weights @ np.sqrt(cells)),
}
SHAPES = {"as published": {}, "linear": {"output": "linear"}, "plain": {"gate": False}}
SHAPES["from zero"] = {"start": "zero"}


PAIRS = [(name, "as published") for name in EXPECTED]
OTHERS = [shape for shape in SHAPES if shape != "as published"]
PAIRS += [pytest.param("lvml", shape, marks=pytest.mark.slow) for shape in OTHERS]


@pytest.mark.parametrize(("name", "shape"), PAIRS)
def test_words_cost_what_the_formulas_say(name, shape):
    options = SHAPES[shape]
    decoder, features = decoder_of(**options), grid()
    graph, weights = nnx.split(decoder)

    @jax.jit
    def computed(weights, words):
        decoder = nnx.merge(graph, weights)
        found = unroll(decoder, features, words, None, False)
        each = word_losses(decoder, objective(name), features, words, found, None)
        return each, found.log_weights

    each, log_weights = computed(weights, jnp.asarray(WORDS))
    for b, k in itertools.product(range(B), range(K)):
        words = [w for w in WORDS[b, k] if w != PAD]
        expected = by_hand(
            decoder,
            np.asarray(features[b], np.float64),
            words,
            deep=options.get("output") != "linear",
            gate=options.get("gate", True),
            mean=options.get("start") != "zero",
        )
        for t, parts in enumerate(expected):
            np.testing.assert_allclose(np.exp(log_weights[t, b, k]), parts[0], rtol=2e-5)
            np.testing.assert_allclose(each[t, b, k], EXPECTED[name](*parts), rtol=2e-5)
        assert np.all(np.asarray(each)[len(words) :, b, k] == 0)


def graded(name, graph):
    """(weights, words) -> loss of the captions and its gradient, compiled."""

    def total(weights, words):
        decoder = nnx.merge(graph, weights)
        found = unroll(decoder, grid(), words, None, False)
        return jnp.sum(word_losses(decoder, objective(name), grid(), words, found, None))

    return jax.jit(jax.value_and_grad(total))


def alike(one, other, rtol=1e-4):
    np.testing.assert_allclose(one[0], other[0], rtol=1e-6)
    for a, b in zip(jax.tree.leaves(one[1]), jax.tree.leaves(other[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


@pytest.fixture(scope="module")
def lvml():
    graph, weights = nnx.split(decoder_of())
    return graded("lvml", graph), graph, weights


@pytest.mark.slow
def test_captions_add_and_absent_ones_add_nothing(lvml):
    function, _, weights = lvml
    whole = function(weights, jnp.asarray(WORDS))
    parts = [np.where(np.arange(K)[:, None] == k, WORDS, PAD) for k in range(K)]
    first, second = (function(weights, jnp.asarray(words)) for words in parts)
    assert first[0] > 0 and second[0] > 0
    alike(whole, jax.tree.map(jnp.add, first, second))
    value, gradient = function(weights, jnp.full_like(WORDS, PAD))
    assert value == 0 and all(np.all(np.asarray(g) == 0) for g in jax.tree.leaves(gradient))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["soft", "hard", "lvml"])
def test_more_padding_changes_neither_loss_nor_gradient(name):
    graph, weights = nnx.split(decoder_of())
    longer = np.pad(WORDS, ((0, 0), (0, 1), (0, 2)), constant_values=PAD)
    function = graded(name, graph)
    alike(*(function(weights, jnp.asarray(words)) for words in (WORDS, longer)))


def test_sums_over_cells_do_not_depend_on_how_many_are_computed_at_once(lvml, monkeypatch):
    function, graph, weights = lvml
    monkeypatch.setitem(module.LOGITS_AT_ONCE, "cpu", 2 * B * K * V)  # 2 of 3 cells, then 1
    assert module.cells_at_once(L, B * K, V) == 2
    pieces = graded("lvml", graph)(weights, jnp.asarray(WORDS))
    alike(function(weights, jnp.asarray(WORDS)), pieces)


@pytest.mark.parametrize("baseline", [pytest.param(0.0, marks=pytest.mark.slow), 1.7])
def test_the_drawn_cells_teach_the_exact_gradient_on_average(baseline):
    """All draws of a caption of two words, weighed by their chances."""
    graph, weights = nnx.split(decoder_of())
    words, features = jnp.asarray(WORDS[1:, :1, :2]), grid()[1:]
    draws = jnp.asarray(list(itertools.product(range(L), repeat=2)))

    def drawn(weights, cells):
        decoder = nnx.merge(graph, weights)
        noise = 1e4 * jax.nn.one_hot(cells, L)[:, None, None]
        found = unroll(decoder, features, words, noise, True)
        each = word_losses(decoder, objective("hard-sampled"), features, words, found, None)
        return each, found.score

    def exact(weights):
        each, score = jax.vmap(partial(drawn, weights))(draws)
        return jnp.sum(jnp.exp(jnp.sum(score, axis=(1, 2, 3))) * jnp.sum(each, axis=(1, 2, 3)))

    def estimate(weights):
        each, score = jax.vmap(partial(drawn, weights))(draws)
        cost = jax.vmap(costs_to_come)(each)
        one = jnp.sum(each + losses.score_function(cost, score, baseline), axis=(1, 2, 3))
        chance = jax.lax.stop_gradient(jnp.exp(jnp.sum(score, axis=(1, 2, 3))))
        return jnp.sum(chance * one)

    true, found = jax.jit(lambda w: [jax.value_and_grad(f)(w) for f in (exact, estimate)])(weights)
    np.testing.assert_allclose(found[0], true[0], rtol=1e-6)
    size = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(true[1]))
    for a, b in zip(*(jax.tree.leaves(one[1]) for one in (true, found)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * size)


@pytest.mark.parametrize("credit", ["caption", "word", "published"])
def test_what_a_draw_is_judged_by_is_as_named(credit):
    random = np.random.default_rng(5)
    words = jnp.asarray(WORDS)
    present = np.moveaxis(WORDS, -1, 0) != PAD
    cost = np.where(present, random.exponential(size=present.shape), 0.0)
    baseline = random.exponential(size=T)
    judged, compared, where = taught_by(credit, jnp.asarray(cost), words, jnp.asarray(baseline))
    score = jnp.asarray(random.normal(size=present.shape))

    def total(score):
        each = losses.score_function(judged, score, compared)
        return jnp.sum(jnp.where(where, each, 0.0))

    found, by_hand = np.asarray(jax.grad(total)(score)), np.zeros(present.shape)
    for t, b, k in np.argwhere(present):
        if credit == "word":
            by_hand[t, b, k] = cost[t, b, k] - baseline[t]
        elif credit == "caption":
            by_hand[t, b, k] = cost[t:, b, k].sum() - baseline[t]
        elif t == present[:, b, k].sum() - 1:  # its running mean is of the halves, too
            by_hand[t, b, k] = 0.5 * cost[:, b, k].sum() + baseline[0]
    np.testing.assert_allclose(found, by_hand, rtol=1e-5, atol=1e-6)


def test_dropout_keeps_the_mean_and_differs_between_words_and_images():
    keys = jax.random.split(jax.random.key(0), 400)
    factors = dropout_of(keys, 0.25, (2, 30), jnp.float32)
    first, second = (np.asarray(factors(jnp.int32(n))) for n in (0, 1))
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    assert first.mean() == pytest.approx(1, abs=0.02)
    assert (first != second).any() and (first[0] != first[1]).any()


def test_entropy_is_that_of_the_weights_and_masked_segments_add_nothing():
    weights = jnp.log(jnp.array([0.5, 0.25, 0.25]))
    assert float(losses.entropy(weights)) == pytest.approx(1.5 * np.log(2), rel=1e-6)
    padded = jnp.concatenate([weights, jnp.array([-jnp.inf])])
    value, gradient = jax.value_and_grad(losses.entropy)(padded)
    assert value == losses.entropy(weights) and gradient[3] == 0 and np.isfinite(gradient).all()
