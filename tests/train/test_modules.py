"""Modules of one's own: of nnx and linen, with dropout; what cannot be trained is refused."""

import math
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attnflow.errors import SettingError
from attnflow.train import losses
from attnflow.train.loop import train
from attnflow.train.networks import contract
from attnflow.train.networks.dense import Linear, TwoLayer
from training_runs import TINY, weights

pytestmark = pytest.mark.usefixtures("compiled_lightly")
RATE = 0.3
SHAPE = (4, 4)


class Dropped(nnx.Module):
    """A linear layer of inputs some of which are dropped."""

    def __init__(self, shape, outputs, rngs):
        self.rank = len(shape)
        self.drop = nnx.Dropout(RATE, rngs=rngs)
        self.linear = Linear((math.prod(shape),), outputs, rngs)

    def __call__(self, segments):
        flat = segments.reshape(*segments.shape[: segments.ndim - self.rank], -1)
        return self.linear(self.drop(flat))


class Linen(nn.Module):
    """TwoLayer, spelled in linen."""

    rank: int
    outputs: int | None

    @nn.compact
    def __call__(self, segments):
        flat = segments.reshape(*segments.shape[: segments.ndim - self.rank], -1)
        hidden = nn.relu(nn.Dense(8, name="hidden")(flat))
        out = nn.Dense(self.outputs or 1, use_bias=False, name="out")(hidden)
        return out if self.outputs else out[..., 0]


class Words(nn.Module):
    """Vectors of words that look at no other word."""

    words: int
    contextual = False

    @nn.compact
    def __call__(self, items, mask):
        return nn.Embed(self.words, 5)(items)


class Batch(nnx.Module):
    def __init__(self, shape, outputs, rngs):
        self.norm = nnx.BatchNorm(shape[-1], rngs=rngs)

    def __call__(self, segments):
        return self.norm(segments).sum((-1, -2))


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, segments):
        return nn.Dropout(0.5, deterministic=False)(segments).sum((-1, -2))


def dropped(shape, classes, rngs):
    return Dropped(shape, None, rngs), Dropped(shape, classes, rngs)


def linen(shape, classes, rngs):
    return Linen(len(shape), None), Linen(len(shape), classes)


def native(shape, classes, rngs):
    return TwoLayer(shape, None, rngs, hidden=8), TwoLayer(shape, classes, rngs, hidden=8)


@pytest.mark.parametrize("pair", [native, linen, dropped])
def test_a_module_of_ones_own_drops_in(pair):
    focus, classifier, _ = contract.networks(pair, SHAPE, 3, 0)
    segments = jnp.ones((2, 7, *SHAPE))
    assert focus(segments).shape == (2, 7)
    assert classifier(segments).shape == (2, 7, 3) and classifier(segments[:, 0]).shape == (2, 3)


def mixed(shape, classes, rngs):
    return Linen(len(shape), None), Dropped(shape, classes, rngs)


def test_they_learn_repeat_and_resume_bit_for_bit(tmp_path):
    run = replace(TINY, paradigm="soft@epoch=3,hard-sampled", learning_rates=(0.02,))

    class Interrupted(Exception):
        pass

    def interrupt(done, total, rows):
        if done == 4:
            raise Interrupted

    unbroken = train(run, networks=mixed)
    with pytest.raises(Interrupted):
        train(run, tmp_path, networks=mixed, progress=interrupt)
    assert weights(train(None, tmp_path, networks=mixed, resume=True)) == weights(unbroken)
    assert unbroken.rows[-1]["sets"]["test"]["accuracy"] > 0.7  # chance: one third


def test_a_module_of_linen_gives_what_its_twin_of_nnx_gives():
    segments = jax.random.normal(jax.random.key(0), (2, 5, *SHAPE))
    labels = jnp.array([0, 2])
    start = {}

    def loss(given, divided, held):
        named = {}
        for name, one in divided.items():
            put = nnx.clone(held[name])
            nnx.replace_by_pure_dict(put, given[name])
            named[name] = one.merged(put)
        log_weights = losses.log_weights(named["focus"](segments))
        each = losses.label_log_probabilities(named["classifier"](segments), labels)
        return losses.lvml(log_weights, each).mean()

    found = []
    for pair in (native, linen):
        made = contract.networks(pair, SHAPE, 3, 0)
        both = {name: contract.divide(module) for name, module in made.named.items()}
        divided = {n: one for n, (one, _) in both.items()}
        held = {n: weights for n, (_, weights) in both.items()}
        if pair is native:
            start = {n: nnx.to_pure_dict(weights) for n, weights in held.items()}
            given = start
        else:
            given = {n: {"inner": weights} for n, weights in start.items()}
        found.append(jax.value_and_grad(loss)(given, divided, held))
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_in_training_a_share_is_dropped_and_the_mean_is_that_of_evaluation():
    module = contract.networks(dropped, SHAPE, 3, 0).classifier
    divided, held = contract.divide(module)
    assert divided.draws
    segment = jax.random.normal(jax.random.key(1), SHAPE)
    keys = jax.random.split(jax.random.key(2), 4000)
    drawn = np.asarray(jax.vmap(lambda key: divided.merged(held, key)(segment))(keys))
    asked = np.asarray(divided.merged(held)(segment))
    assert np.array_equal(asked, divided.merged(held)(segment))
    # each input stays with probability 1 - RATE and counts 1 / (1 - RATE) times: by hand
    parts = np.asarray(segment).reshape(-1, 1) * np.asarray(module.linear.layer.kernel[...])
    variance = (parts**2).sum(0) * RATE / (1 - RATE)
    deviation = np.sqrt(variance / len(keys))
    assert np.all(np.abs(drawn.mean(0) - asked) < 5 * deviation)
    np.testing.assert_allclose(drawn.var(0), variance, rtol=0.2)


def test_pieces_of_a_batch_and_steps_drop_differently():
    run = replace(TINY, epochs=1, paradigm="soft", learning_rates=(1e-30,), seeds=(0,))
    whole, pieces = (train(replace(run, chunk=c), networks=dropped).rows[-1] for c in (None, 8))
    assert whole["loss"] != pieces["loss"]
    # 25 steps at one set of weights, 800 inputs: means over masks differ little
    assert whole["loss"] == pytest.approx(pieces["loss"], rel=0.05)
    assert whole["sets"] == pieces["sets"]  # nothing is dropped where networks are measured


def test_an_encoder_of_linen_says_that_it_looks_at_words_alone():
    def made(shape, classes, rngs):
        return Linen(1, None), Linen(1, classes), Words(shape[0])

    found = contract.networks(made, (9,), 3, 0, tokens=True)
    assert not found.contextual
    assert found.encoder(jnp.zeros((2, 4), int), None).shape == (2, 4, 5)


def fails(shape, classes, rngs):
    raise RuntimeError("no luck\nmore of it")


class Narrow(nnx.Module):
    def __call__(self, segments):
        return segments @ jnp.ones((7, 1))


class Slim(nn.Module):
    def __call__(self, segments):
        return segments @ jnp.ones((7, 1))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (fails, r"networks 'fails' cannot be made: RuntimeError: no luck$"),
        (
            lambda *a: TwoLayer(a[0], None, a[2]),
            r"must return \(focus, classifier\) or .* TwoLayer",
        ),
        (lambda *a: (1, 2), "focus must be a module of flax.nnx or flax.linen, got int"),
        (
            lambda *a: (TwoLayer(a[0], 1, a[2]), TwoLayer(*a)),
            r"focus\(segments\) must have shape \(2, 3\) .* got \(2, 3, 1\)",
        ),
        (
            lambda *a: (TwoLayer(a[0], None, a[2]), TwoLayer(a[0], a[1] + 1, a[2])),
            r"classifier\(segments\) must have shape \(2, 3, 3\) .* got \(2, 3, 4\)",
        ),
        (lambda *a: (Narrow(), TwoLayer(*a)), r"focus\(segments\) fails on \(2, 3, 4, 4\): TypeEr"),
        (lambda *a: (Batch(a[0], None, a[2]), TwoLayer(*a)), "alone, got BatchStat; nnx.LayerNorm"),
        (lambda *a: (Noisy(), TwoLayer(*a)), r"focus\(segments\) must not draw random numbers"),
        (lambda *a: (Slim(), TwoLayer(*a)), r"focus fails on \(2, 3, 4, 4\): TypeError"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(pair, message):
    with pytest.raises(SettingError, match=message) as refused:
        contract.networks(pair, SHAPE, 3, 0)
    assert "\n" not in str(refused.value)
