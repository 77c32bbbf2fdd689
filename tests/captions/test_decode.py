"""Writing captions: one beam is greedy, a wide beam is exhaustive, every rule says what it is."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attnflow.captions.decode import NEVER, Rule, beam, greedy, losses_by, rule_of
from attnflow.captions.decoder import Decoder
from attnflow.captions.teacher_forcing import unroll
from attnflow.captions.vocabulary import END, PAD
from attnflow.train.objective import objective
from oracles.networks import filled

pytestmark = pytest.mark.usefixtures("compiled_once", "compiled_lightly")
RULES = {
    "soft": Rule(False, "context"),
    "hard-sampled": Rule(True, "context"),
    "hard": Rule(False, "largest"),
    "lvml": Rule(False, "mixture"),
}
V, L, D, LENGTH = 6, 4, 5, 3  # END and two words beside those that are never written


@pytest.fixture(scope="module")
def given():
    def make():
        return Decoder(V, D, nnx.Rngs(2), hidden=6, attention=4, embedding=8)

    decoder = filled(make, 2, 1.0)  # large weights, so that captions differ clearly
    return decoder, jax.random.normal(jax.random.key(1), (5, L, D))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_follows_from_what_was_trained(name):
    assert rule_of(objective(name)) == RULES[name]
    assert rule_of(objective("power-1/2")) == RULES["lvml"]
    assert rule_of(objective(name), "soft") == RULES["soft"]


def scored(decoder, rule, grid, captions):
    """Log-probability of every caption by teacher forcing, [B, captions]."""
    words = jnp.broadcast_to(jnp.asarray(captions)[None], (len(grid), *np.shape(captions)))
    found = unroll(decoder, grid, words, None, rule.draws)
    return -losses_by(decoder, rule, grid, words, found).sum(axis=0)


def every_caption():
    """All captions of at most LENGTH words: ended, or cut."""
    free = [w for w in range(V) if w not in (*NEVER, END)]
    for count in range(LENGTH):
        for words in itertools.product(free, repeat=count):
            yield [*words, END] + [PAD] * (LENGTH - count - 1)
    yield from map(list, itertools.product(free, repeat=LENGTH))


@pytest.mark.parametrize(
    "name",
    [n if n == "lvml" else pytest.param(n, marks=pytest.mark.slow) for n in RULES],
)
def test_a_wide_beam_finds_the_best_of_all_captions_and_one_beam_is_greedy(given, name):
    decoder, grid = given
    rule = RULES[name]
    captions = np.array(list(every_caption()))
    assert len(captions) == 1 + 2 + 4 + 8

    @jax.jit
    def found(grid):
        truth = scored(decoder, rule, grid, captions)
        widths = [beam(decoder, rule, grid, LENGTH, width) for width in (8, 1)]
        return truth, *widths, greedy(decoder, rule, grid, LENGTH)

    truth, wide, one, plain = found(grid)
    truth = np.asarray(truth)
    np.testing.assert_array_equal(np.asarray(wide.words), captions[truth.argmax(axis=1)])
    np.testing.assert_allclose(wide.score, truth.max(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(one.words), np.asarray(plain.words))
    np.testing.assert_allclose(one.score, plain.score, rtol=1e-5)
    np.testing.assert_allclose(one.weights, plain.weights, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(plain.weights).sum(axis=-1), 1, rtol=1e-5)
    assert np.all(np.asarray(wide.score) >= np.asarray(plain.score) - 1e-6)


@pytest.mark.slow
def test_a_narrow_beam_lies_between_greedy_and_all(given):
    decoder, grid = given
    scores = [
        np.asarray(beam(decoder, RULES["soft"], grid, LENGTH, width).score) for width in (1, 2, 8)
    ]
    assert np.all(scores[0] <= scores[2] + 1e-6) and np.all(scores[1] <= scores[2] + 1e-6)


@pytest.mark.slow
def test_a_penalty_favours_longer_captions(given):
    decoder, grid = given
    plain, longer = (
        np.asarray(beam(decoder, RULES["soft"], grid, LENGTH, 8, penalty).words)
        for penalty in (0.0, 9.0)
    )
    assert (longer != PAD).sum() > (plain != PAD).sum()
