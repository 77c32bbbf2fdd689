"""The losses of real networks are the symbolic ones: values, gradients, masks, far ends."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnflow.errors import ParadigmError
from attnflow.numeric.trajectory import focus_weights, lowered_loss, lowered_velocity
from attnflow.symbolic.catalogue import paradigm as find
from attnflow.train import losses
from attnflow.train.objective import has_theory, objective, paradigm_of

SETTINGS = [(2, 2), pytest.param(5, 3, marks=pytest.mark.slow), (100, 30)]
STATES = [(0.0, 0.0), (1e-6, 1e-6), (0.3, -0.5), (2.0, 1.5), (9.0, 12.0), (-1.0, 0.2)]


def ansatz(m, classes, mu, nu):
    """Weights of the symmetric ansatz, and the population: class y at segment 0, else zeros."""
    weights = mu * (jnp.eye(classes) - 1.0 / classes)
    focus = nu * jnp.ones(classes)
    segments = jnp.zeros((classes, m, classes)).at[:, 0].set(jnp.eye(classes))
    return (weights, focus), segments, jnp.arange(classes)


def network_loss(name, segments, labels, parameters):
    weights, focus = parameters
    log_weights = losses.log_weights(segments @ focus)
    if name == "soft":
        return losses.soft(losses.weighted_input(log_weights, segments) @ weights.T, labels).mean()
    log_probabilities = losses.label_log_probabilities(segments @ weights.T, labels)
    function = {
        "hard": losses.hard,
        "lvml": losses.lvml,
        "power-1/2": partial(losses.power_mean, 0.5),
        "power-0": partial(losses.power_mean, 0),
    }.get(name)
    if name == "lvml-em":
        share = losses.responsibilities(log_weights, log_probabilities)
        return losses.em(share, log_weights, log_probabilities).mean()
    return function(log_weights, log_probabilities).mean()


@pytest.mark.parametrize("name", ["soft", "hard", "lvml", "power-1/2", "power-0", "lvml-em"])
@pytest.mark.parametrize("m, classes", SETTINGS)
def test_loss_and_gradient_at_the_ansatz_are_the_symbolic_ones(name, m, classes):
    symbolic = find("lvml" if name == "lvml-em" else name)
    with jax.enable_x64(True):
        _, segments, labels = ansatz(m, classes, 0.0, 0.0)
        both = jax.jit(jax.value_and_grad(partial(network_loss, name, segments, labels)))
        for mu, nu in STATES:
            parameters, _, _ = ansatz(m, classes, mu, nu)
            value, gradient = both(parameters)
            state = (*focus_weights(nu, float(m - 1)), mu, float(classes))
            expected = lowered_loss(symbolic)(*state)
            np.testing.assert_allclose(value, expected, rtol=2e-14, atol=1e-14)
            mu_dot, nu_dot = lowered_velocity(symbolic)(*state, 1.0, 1.0)
            symmetric = np.eye(classes) - 1 / classes
            np.testing.assert_allclose(-gradient[0], mu_dot * symmetric, rtol=1e-10, atol=1e-16)
            np.testing.assert_allclose(
                -gradient[1], nu_dot * np.ones(classes), rtol=1e-9, atol=1e-16
            )


@pytest.mark.parametrize("seed, m, classes", [(0, 2, 2), (1, 5, 3), (2, 7, 11)])
def test_weighted_logits_are_soft_of_a_linear_classifier_and_not_lvml(seed, m, classes):
    keys = jax.random.split(jax.random.key(seed), 4)
    segments = jax.random.normal(keys[0], (6, m, 4))
    weights, bias = jax.random.normal(keys[1], (4, classes)), jax.random.normal(keys[2], ())
    log_weights = losses.log_weights(jax.random.normal(keys[3], (6, m)))
    labels = jnp.arange(6) % classes

    def logits(inputs):
        return inputs @ weights + bias

    found = losses.weighted_logits(log_weights, logits(segments), labels)
    soft = losses.soft(logits(losses.weighted_input(log_weights, segments)), labels)
    np.testing.assert_allclose(found, soft, rtol=1e-4, atol=1e-5)
    each = losses.label_log_probabilities(logits(segments), labels)
    assert not np.allclose(found, losses.lvml(log_weights, each), rtol=1e-2)
    # one segment looked at alone: all losses are its cross entropy
    alone = jnp.broadcast_to(jnp.where(jnp.arange(m) == 1, 0.0, -jnp.inf), (6, m))
    found = losses.weighted_logits(alone, logits(segments), labels)
    np.testing.assert_allclose(found, -each[:, 1], rtol=1e-5, atol=1e-6)


def test_a_loss_by_name_that_is_no_paradigm_trains_and_has_no_theory():
    found = objective("weighted-logits")
    assert found.paradigm is None and not has_theory("weighted-logits") and has_theory("lvml-em")
    with pytest.raises(ParadigmError, match="'weighted-logits' is no function of alpha and mu"):
        paradigm_of("weighted-logits")


def sample(seed, shape=(4, 6)):
    a, b = jax.random.split(jax.random.key(seed))
    return jax.random.normal(a, shape), -jnp.abs(jax.random.normal(b, shape))


ALL = {
    "hard": losses.hard,
    "lvml": losses.lvml,
    "power": partial(losses.power_mean, 0.5),
    "sampled": partial(losses.hard_sampled, jax.random.key(3)),
    "em": lambda lw, lp: losses.em(losses.responsibilities(lw, lp), lw, lp),
}


@pytest.mark.parametrize("name", ALL)
def test_a_masked_segment_changes_neither_loss_nor_gradient(name):
    scores, log_probabilities = sample(0)
    mask = jnp.arange(6) < 4

    def padded(scores, log_probabilities):
        weights = losses.log_weights(scores, jnp.broadcast_to(mask, scores.shape))
        return ALL[name](weights, log_probabilities).sum()

    compiled = jax.jit(jax.value_and_grad(padded, (0, 1)))
    value, gradient = compiled(scores, log_probabilities)
    assert np.isfinite(value)
    for part in gradient:
        assert np.all(np.asarray(part)[:, 4:] == 0)
        assert np.any(np.asarray(part)[:, :4] != 0)
    for low in (-99.0, -jnp.inf):
        other, slopes = compiled(scores.at[:, 4:].set(77.0), log_probabilities.at[:, 4:].set(low))
        assert other == value
        jax.tree.map(np.testing.assert_array_equal, slopes, gradient)
    if name != "sampled":  # which draws from another stream where there are fewer segments
        short = ALL[name](losses.log_weights(scores[:, :4]), log_probabilities[:, :4]).sum()
        np.testing.assert_allclose(value, short, rtol=1e-6)


def test_masked_soft_attention_ignores_the_masked_input():
    scores, _ = sample(1)
    segments = jax.random.normal(jax.random.key(5), (4, 6, 2, 3))
    mask = jnp.broadcast_to(jnp.arange(6) < 4, (4, 6))
    pooled = losses.weighted_input(losses.log_weights(scores, mask), segments)
    assert pooled.shape == (4, 2, 3)
    short = losses.weighted_input(losses.log_weights(scores[:, :4]), segments[:, :4])
    np.testing.assert_allclose(pooled, short, rtol=1e-6, atol=1e-7)
    images = jnp.arange(24, dtype=jnp.uint8).reshape(4, 6)[..., None]
    half = losses.weighted_input(jnp.log(jnp.full((4, 6), 1 / 6)), images)
    np.testing.assert_allclose(half[:, 0], np.arange(4) * 6 + 2.5, rtol=1e-6)


@pytest.mark.parametrize("baseline", [0.0, 1.3])
def test_sampled_hard_attention_has_the_exact_gradient_on_average(baseline):
    with jax.enable_x64(True):
        scores, log_probabilities = (x.astype(jnp.float64) for x in sample(2))

        def exact(scores, log_probabilities):
            return losses.hard(losses.log_weights(scores), log_probabilities).sum()

        def average(scores, log_probabilities):
            weights = losses.log_weights(scores)
            each = [
                losses.at_draw(jnp.full((4,), j), weights, log_probabilities, baseline)
                for j in range(6)
            ]
            share = jax.lax.stop_gradient(jnp.exp(weights))
            return jnp.sum(share * jnp.stack(each, axis=-1))

        for ours, theirs in zip(
            jax.jit(jax.grad(average, (0, 1)))(scores, log_probabilities),
            jax.jit(jax.grad(exact, (0, 1)))(scores, log_probabilities),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_sampled_segments_follow_the_weights():
    weights = jnp.broadcast_to(jnp.log(jnp.array([0.7, 0.2, 0.1])), (20000, 3))
    loss = losses.hard_sampled(
        jax.random.key(0), weights, -jnp.broadcast_to(jnp.arange(3.0), (20000, 3))
    )
    share = np.bincount(np.asarray(loss).astype(int), minlength=3) / 20000
    np.testing.assert_allclose(share, [0.7, 0.2, 0.1], atol=4 * 0.5 / np.sqrt(20000))


def test_em_bounds_lvml_from_above_and_touches_it():
    weights, log_probabilities = sample(4)
    weights = losses.log_weights(weights)
    exact = losses.lvml(weights, log_probabilities)
    share = losses.responsibilities(weights, log_probabilities)
    np.testing.assert_allclose(losses.em(share, weights, log_probabilities), exact, rtol=1e-5)
    other = jax.nn.softmax(sample(9)[0])
    assert np.all(losses.em(other, weights, log_probabilities) > exact)


@pytest.mark.parametrize("name", ["hard", "lvml", "power", "em"])
def test_losses_stay_finite_where_probabilities_underflow(name):
    scores = jnp.array([[800.0, 0.0, -800.0]])
    log_probabilities = jnp.array([[-2000.0, -3000.0, -1e-30]])

    def loss(scores, log_probabilities):
        return ALL[name](losses.log_weights(scores), log_probabilities).sum()

    value, gradient = jax.value_and_grad(loss, (0, 1))(scores, log_probabilities)
    assert np.isfinite(value) and value > 700
    assert all(np.all(np.isfinite(g)) for g in gradient)
