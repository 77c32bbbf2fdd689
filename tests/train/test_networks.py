"""Both ways to convolve and pool agree with XLA's; networks have the paper's shapes and start."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attnflow.errors import SettingError
from attnflow.train.config import Training
from attnflow.train.networks import contract
from attnflow.train.networks import named as nets
from attnflow.train.networks.kernels import winograd
from attnflow.train.networks.kernels.convolution import (
    convolve,
    convolve_pool,
    enter,
    leave,
    relu_of_max,
    relu_of_max_by_place,
)
from attnflow.train.networks.text import positions
from attnflow.train.shared_config import PUBLISHED

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "size, channels, side, biased",
    [
        (5, 3, 16, True),  # folded
        (3, 9, 15, False),  # plain windows
        (3, 16, 11, True),  # tiles, a row and a column left over
        pytest.param(3, 16, 6, False, marks=SLOW),  # one tile
        pytest.param(3, 32, 14, False, marks=SLOW),
        pytest.param(3, 3, 32, False, marks=SLOW),
        pytest.param(5, 3, 32, False, marks=SLOW),
        pytest.param(5, 6, 14, True, marks=SLOW),
    ],
)
def test_both_methods_equal_the_platforms_layers_in_value_and_gradient(
    size, channels, side, biased
):
    keys = jax.random.split(jax.random.key(size + channels), 3)
    image = jax.random.normal(keys[0], (2, side, side, channels))
    kernel = jax.random.normal(keys[1], (size, size, channels, 4)) / size
    bias = jax.random.normal(keys[2], (4,)) if biased else None

    def platforms(image, kernel):
        plain = jax.lax.conv_general_dilated(
            image, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        if bias is not None:
            plain = plain + bias[None, None, None]
        return nnx.max_pool(jax.nn.relu(plain), (2, 2), strides=(2, 2)), plain

    def ours(method, image, kernel):
        return [
            leave(function(enter(image, method), kernel, bias, method), method)
            for function in (convolve_pool, convolve)
        ]

    def total(layers, image, kernel):
        outs = layers(image, kernel)
        value = sum(
            jnp.sum(out * jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape))
            for out in outs
        )
        return value, outs

    @partial(jax.jit, static_argnums=0)
    def found(layers, image, kernel):
        return jax.value_and_grad(partial(total, layers), (0, 1), has_aux=True)(image, kernel)

    (value, known), theirs = found(platforms, image, kernel)
    for method in ("products", "direct"):
        (one, outs), mine = found(partial(ours, method), image, kernel)
        np.testing.assert_allclose(one, value, rtol=1e-5, atol=1e-4)
        for a, b in zip(outs, known, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def test_a_chain_leaves_out_only_what_its_result_does_not_depend_on():
    rngs = nnx.Rngs(0)
    for side in (9, 12):
        image = jax.random.normal(jax.random.key(side), (1, side, side + 1, 2))
        layers = [
            nets.Convolution(size, 2, 2, rngs, bias=True, pool=pool, method="direct")
            for size, pool in ((2, True), (2, True), (1, False))
        ]
        alone = image
        for layer in layers:
            alone = layer(alone)  # each leaves out its own odd row only
        np.testing.assert_allclose(nets.convolved(image, *layers), alone, rtol=1e-5, atol=1e-6)


def test_minimal_filtering_is_exact_in_exact_arithmetic():
    inputs, kernel, outputs = (matrix.astype(object) for matrix in winograd.transforms())
    for i in range(6):
        for j in range(3):
            unit, tap = np.eye(6)[i], np.eye(3)[j]
            found = outputs @ ((kernel @ tap) * (inputs @ unit))
            expected = [float(p + j == i) for p in range(4)]
            assert found.astype(float) == pytest.approx(expected, abs=1e-15)


def test_tiles_are_taken_only_where_they_gain():
    kernel = jnp.zeros((3, 3, 32, 64))
    assert winograd.tiling([12, 12], kernel) == 3
    assert winograd.tiling([14, 14], kernel) is None
    assert winograd.tiling([12, 12], jnp.zeros((3, 3, 3, 64))) is None
    assert winograd.tiling([12, 12], jnp.zeros((5, 5, 32, 64))) is None
    assert winograd.tiling([12, 12], kernel.astype(jnp.bfloat16)) is None


@pytest.mark.parametrize("pool", [relu_of_max, relu_of_max_by_place])
def test_pool_passes_the_gradient_on_once_where_values_are_equal(pool):
    same = jnp.broadcast_to(jnp.array([2.0, -1.0]), (2, 3, 2, 2))
    gradient = jax.grad(lambda values: pool(values, (0, 2)).sum())(same)
    np.testing.assert_array_equal(gradient.sum((0, 2)), [[1.0, 0.0]] * 3)


def sizes(module):
    return sorted(leaf.shape for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


@pytest.mark.parametrize("method", ["direct", "products"])
def test_convolutional_pair_has_the_papers_layers(method):
    make = partial(nets.ConvolutionalFocus, (32, 32, 3), method=method)
    focus = nnx.eval_shape(lambda: make(nnx.Rngs(0)))  # shapes alone: nothing is drawn
    assert sizes(focus) == sorted(
        [(3, 3, 3, 32), (3, 3, 32, 64), (3, 3, 64, 64), (1024, 512), (512, 64), (64, 10), (10, 1)]
    )
    make = partial(nets.ConvolutionalClassifier, (32, 32, 3), 3, method=method)
    classifier = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    kernels = [(5, 5, 3, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 3)]
    assert sizes(classifier) == sorted([*kernels, *((k[-1],) for k in kernels)])
    images = jax.ShapeDtypeStruct((2, 5, 32, 32, 3), jnp.float32)
    pooled = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    for module, given, shape in (
        (focus, images, (2, 5)),
        (classifier, images, (2, 5, 3)),
        (classifier, pooled, (2, 3)),
    ):
        assert nnx.eval_shape(lambda m, x: m(x), module, given).shape == shape


def test_wide_pair_has_the_papers_layers():
    make = partial(contract.networks, "cifar-wide", (32, 32, 3), 50, 0)
    focus, classifier, _ = nnx.eval_shape(make)
    assert (512, 64) in sizes(focus) and (64, 1) in sizes(focus) and (64, 10) not in sizes(focus)
    assert (5, 5, 16, 32) in sizes(classifier) and (800, 120) in sizes(classifier)
    assert (120, 50) in sizes(classifier)


@pytest.mark.parametrize(
    "task, shape, classes, counts",
    [
        ("cifar10", (32, 32, 3), 3, (613_866, 62_039, 0)),
        ("cifar100", (32, 32, 3), 50, (613_280, 116_218, 0)),
        ("orthogonal", (21,), 20, (21, 440, 0)),
        # the table of 28,041 words is the focus's own there, and read by both
        ("hatexplain", (28_041,), 3, (5_101, 20_803, 2_804_100 + 3 * 10_000 + 10_100)),
        ("text-published", (28_041,), 3, (20_401, 20_803, 2_804_100)),
    ],
)
def test_published_pairs_have_as_many_parameters_as_the_papers_code(task, shape, classes, counts):
    name = PUBLISHED.get(task, task)
    made = nnx.eval_shape(lambda: contract.NETWORKS[name](shape, classes, nnx.Rngs(0)))
    found = [sum(map(np.prod, sizes(module))) for module in made]
    assert (*found, 0)[:3] == counts
    if task in PUBLISHED:
        assert Training(task=task, networks="published").resolved().networks == name


def test_published_is_refused_where_nothing_is_published():
    with pytest.raises(SettingError, match="published are for orthogonal, .*, got task 'digits'"):
        Training(networks="published").resolved()


def test_published_layers_start_as_pytorchs_do():
    classifier = contract.networks("linear-published", (400,), 50, 1).classifier
    for values in (classifier.layer.kernel[...], classifier.layer.bias[...]):
        assert np.abs(values).max() == pytest.approx(0.05, rel=0.1)
        assert np.abs(values).max() <= 0.05


def test_published_words_in_context_drop_a_tenth_and_scale_by_the_whole_width():
    encoder = contract.networks("text-transformer-published", (9,), 3, 2, tokens=True).encoder
    words, mask = jnp.array([[1, 2, 3, 4]]), jnp.array([[True, True, True, False]])
    encoder.eval()
    found = encoder(words, mask)
    heads = encoder.heads
    x = np.asarray(encoder.embedding(words, mask)[0] + positions(4, 100), np.float64)
    by_hand = np.zeros_like(x)
    for head in (slice(0, 50), slice(50, 100)):
        query, key, value = (
            x @ np.asarray(layer.kernel[...], np.float64)[:, head]
            for layer in (heads.query, heads.key, heads.value)
        )
        scores = np.exp(query @ key[:3].T / 10)
        by_hand[:, head] = scores / scores.sum(axis=1, keepdims=True) @ value[:3]
    expected = x + by_hand @ np.asarray(heads.out.kernel[...]) + np.asarray(heads.out.bias[...])
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)
    dropped = nnx.Dropout(0.1, rngs=nnx.Rngs(0))(jnp.ones(20_000))
    assert encoder.dropout.rate == 0.1 and np.mean(dropped == 0) == pytest.approx(0.1, abs=0.01)
    encoder.train()
    assert not np.allclose(encoder(words, mask), found)


def test_kernels_start_xavier_normal():
    focus = contract.networks("cifar", (32, 32, 3), 3, 1).focus
    kernel = np.asarray(focus.second.kernel[...])
    expected = np.sqrt(2 / (9 * (32 + 64)))
    assert kernel.std() == pytest.approx(expected, rel=0.02)
    # normal within two of the wider law's deviations, as Flax draws it
    assert abs(kernel.mean()) < 3 * expected / np.sqrt(kernel.size)


def test_a_start_drawn_at_once_is_the_makers_own():
    drawn = contract.networks("text-transformer", (7,), 5, 3, tokens=True)
    own = contract.NETWORKS["text-transformer"]((7,), 5, nnx.Rngs(3))
    for ours, theirs in zip(drawn, own, strict=True):
        jax.tree.map(np.testing.assert_array_equal, nnx.state(ours), nnx.state(theirs))


def test_one_seed_one_start():
    starts = [
        sum(map(jnp.sum, jax.tree.leaves(nnx.state(contract.networks("linear", (5,), 3, s)[0]))))
        for s in (4, 4, 5)
    ]
    assert starts[0] == starts[1] != starts[2]


def test_what_no_network_is_called_or_fits_is_refused():
    with pytest.raises(SettingError, match="networks must be one of linear, .* got 'vgg'"):
        contract.networks("vgg", (4,), 3, 0)
    with pytest.raises(SettingError, match=r"needs segments \(height, width, channels\), got"):
        contract.networks("cifar", (4,), 3, 0)
