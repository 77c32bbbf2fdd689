"""The loss of real networks follows from what a paradigm averages, at all that floats can hold."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attnflow.errors import ParadigmError
from attnflow.numeric.pooling import margin, margins, pooled_loss
from attnflow.numeric.trajectory import lowered_loss
from attnflow.symbolic.catalogue import CATALOGUE, HARD, LVML, SOFT, power_mean
from attnflow.symbolic.paradigm import INPUT, Paradigm, averaging, in_probability, p
from attnflow.symbols import C, beta, mu

QUANTITIES = {
    "root": sp.sqrt(beta),
    "inverse": 3 / beta - 2,
    "excess": C * beta - 1,
    "log-odds": sp.log(beta / (1 - beta)),
    "odds": sp.exp(mu),
    "margin": mu,
    "half": beta / (2 - beta),
    "rising": beta * (1 + beta),
    "class-wise": beta / (C - beta),
    "class-power": beta ** (1 / C),
    "shifted": sp.sqrt(1 + beta),
    "of-wrong": -sp.log(1 - beta),
    "exponential": sp.exp(beta),
    "mixed": beta + sp.log(beta),
    "two powers": 1 / beta - beta,
    "and odds": beta + beta / (1 - beta),
}
GENERATED = {name: averaging(name.replace(" ", "-"), q) for name, q in QUANTITIES.items()}
FEW = ("log-odds", "half", "rising", "of-wrong")
ALL = {**CATALOGUE, "power": power_mean("-3/2"), **GENERATED}


def sample(seed, scale, dtype="float64", classes=4, inputs=2, segments=4):
    """log-weights (one of them -inf), logits and labels."""
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(inputs, segments, classes))).astype(dtype)
    scores = (scale * rng.normal(size=(inputs, segments)) / 4).astype(dtype)
    scores[:, 2] = -np.inf
    log_weights = np.asarray(jax.nn.log_softmax(jnp.asarray(scores)))
    return log_weights, logits, rng.integers(0, classes, inputs)


def by_mpmath(paradigm, log_weights, logits, label):
    """The loss of one input at many digits, the mean inverted by bisection in the log-odds."""
    classes = logits.shape[-1]
    wrong = sp.Symbol("wrong", positive=True)
    spelt = (
        in_probability(paradigm.averages).subs(C, classes).subs(1 - p, wrong).subs(p - 1, -wrong)
    )
    q = sp.lambdify((p, wrong), spelt, "mpmath")
    with mpmath.workdps(40 + int(np.max(np.abs(logits)))):

        def of_odds(x):
            return q(1 / (1 + mpmath.exp(-x)), 1 / (1 + mpmath.exp(x)))

        total, odds = mpmath.mpf(0), []
        for weight, row in zip(log_weights, logits, strict=True):
            if weight > -np.inf:
                each = [mpmath.exp(mpmath.mpf(float(z))) for z in row]
                odds.append(mpmath.log(each[label] / (sum(each) - each[label])))
                total += mpmath.exp(mpmath.mpf(float(weight))) * of_odds(odds[-1])
        total /= sum(mpmath.exp(mpmath.mpf(float(w))) for w in log_weights if w > -np.inf)
        low, high = min(odds), max(odds)
        rising = of_odds(mpmath.mpf(1)) > of_odds(mpmath.mpf(0))
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (low, middle) if (of_odds(middle) > total) == rising else (middle, high)
        return float(mpmath.log1p(mpmath.exp(-low)))


@pytest.mark.parametrize(
    "name", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in GENERATED]
)
@pytest.mark.parametrize(("dtype", "scale"), [("float64", 3), ("float64", 80), ("float32", 20)])
def test_the_loss_of_an_average_is_that_of_many_digits(name, dtype, scale):
    with jax.enable_x64(dtype == "float64"):
        log_weights, logits, labels = sample(1, scale, dtype)
        found = jax.jit(lambda *given: pooled_loss(GENERATED[name], *given))(
            log_weights, logits, labels
        )
    assert found.dtype == dtype
    wanted = [
        by_mpmath(GENERATED[name], *row) for row in zip(log_weights, logits, labels, strict=True)
    ]
    # rounding of the logits, of the loss, and of a probability near 1; the series of a 0/0 is
    # cut at its fourth term
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


LOWERED = [name for name in ALL if name not in ("class-power", "mixed")]  # without Lambert's W


@pytest.mark.parametrize("name", LOWERED)
def test_on_the_symmetric_ansatz_the_networks_loss_is_the_paradigms(name):
    """Logits mu (e_y - 1/C) where the class is, zeros elsewhere; value and gradient."""
    paradigm, classes, segments = ALL[name], 5, 4
    with jax.enable_x64(True):

        def network(state):
            mu_value, nu = state
            logits = (
                jnp.zeros((1, segments, classes))
                .at[0, 0]
                .set(mu_value * (jnp.eye(classes)[2] - 1 / classes))
            )
            scores = jnp.zeros((1, segments)).at[0, 0].set(nu)
            return pooled_loss(paradigm, jax.nn.log_softmax(scores), logits, jnp.array([2]))[0]

        def symbolic(state):
            mu_value, nu = state
            weights = jax.nn.softmax(jnp.zeros(segments).at[0].set(nu))
            return lowered_loss(paradigm)(
                weights[0], jnp.sum(weights[1:]), mu_value, float(classes)
            )

        both = jax.jit(lambda state: [jax.value_and_grad(f)(state) for f in (network, symbolic)])
        for state in ((0.0, 0.0), (1.3, -0.4), (-2.0, 3.0), (6.0, 1.0)):
            for ours, theirs in zip(*both(jnp.array(state)), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_equal_averages_pool_to_equal_numbers_whatever_their_names():
    with jax.enable_x64(True):
        given = sample(0, 30)
        for one, other in (
            (GENERATED["root"], power_mean("1/2")),
            (GENERATED["inverse"], power_mean(-1)),
            (GENERATED["excess"], LVML),
            (Paradigm("lvml", HARD.loss, averages=5 * sp.log(beta) - 1), HARD),
            (power_mean(0), HARD),
            (power_mean(1), LVML),
        ):
            np.testing.assert_array_equal(pooled_loss(one, *given), pooled_loss(other, *given))


def plainly(name, log_weights, logits, labels):
    """Hard attention, LVML and power means as one writes them."""
    each = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None, None], axis=-1)[..., 0]
    there = log_weights > -jnp.inf
    if name == "hard":
        return -jnp.sum(jnp.exp(log_weights) * jnp.where(there, each, 0), axis=-1)
    power = {"lvml": 1.0, "power": -1.5}[name]
    return -jax.nn.logsumexp(log_weights + power * jnp.where(there, each, 0), axis=-1) / power


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([0.1, 3, 100, 1000]))
def test_hard_attention_lvml_and_power_means_are_their_plain_formulas(seed, scale):
    given = [jnp.asarray(a) for a in sample(seed, scale, "float32")]
    for name in ("hard", "lvml", "power"):
        for ours, theirs in zip(
            *(
                jax.value_and_grad(lambda w, z, f=f: jnp.sum(f(w, z, given[2])), (0, 1))(*given[:2])
                for f in (
                    lambda *a, q=ALL[name]: pooled_loss(q, *a),
                    lambda *a, n=name: plainly(n, *a),
                )
            ),
            strict=True,
        ):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ours, theirs
            )


@pytest.mark.parametrize("name", [*CATALOGUE, "power", *FEW])
def test_masks_weights_of_zero_and_impossible_classes_leave_the_loss_and_its_gradient_finite(name):
    log_weights, logits, labels = sample(3, 1000, "float32")
    logits[0, 0, labels[0]] = -np.inf  # probability exactly 0 on one segment
    logits[1, 2] = np.inf  # nothing there: its weight is exactly 0
    log_weights = log_weights.copy()
    log_weights[0] = [-70.0, np.log(0.25), -np.inf, np.log(0.75)]

    def loss(weights, logits):
        return pooled_loss(ALL[name], weights, logits, labels)

    q = in_probability(ALL[name].averages).subs(C, 4)  # infinite at p = 0: so is the loss there
    rows = slice(0 if sp.limit(q, p, 0, "+").is_finite else 1, None)
    value = loss(log_weights, logits)
    assert np.all(np.isfinite(value[rows])) and not np.any(np.isnan(value))
    slopes = jax.grad(lambda *a: jnp.sum(loss(*a)[rows]), (0, 1))(
        jnp.asarray(log_weights), jnp.asarray(logits)
    )
    assert all(np.all(np.isfinite(slope[rows])) for slope in slopes)
    assert np.all(slopes[1][1:, 2] == 0)


@pytest.mark.parametrize("name", ["half", "rising", "of-wrong", "and odds"])
def test_gradients_are_those_of_differences(name):
    with jax.enable_x64(True):
        log_weights, logits, labels = sample(5, 2)
        direction = np.random.default_rng(0).normal(size=logits.shape)

        def along(t):
            return jnp.sum(
                pooled_loss(GENERATED[name], log_weights, logits + t * direction, labels)
            )

        slope = (along(1e-5) - along(-1e-5)) / 2e-5  # errs by 1e-10, rounding by 1e-11
        np.testing.assert_allclose(jax.grad(along)(0.0), slope, rtol=1e-8)
        bend = (along(1e-3) - 2 * along(0.0) + along(-1e-3)) / 1e-6
        np.testing.assert_allclose(jax.grad(jax.grad(along))(0.0), bend, rtol=1e-4)


def test_bfloat16_outputs_are_averaged_in_float32():
    log_weights, logits, labels = sample(2, 3, "float32")
    half = jnp.asarray(logits, jnp.bfloat16)
    for paradigm in (HARD, LVML, SOFT, GENERATED["half"]):
        found = pooled_loss(paradigm, jnp.asarray(log_weights), half, labels)
        wanted = pooled_loss(paradigm, log_weights, half.astype(jnp.float32), labels)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 40.0, 1000.0])
def test_the_margin_is_the_logit_less_the_log_mean_exponential_of_the_others(scale):
    with jax.enable_x64(True):
        _, logits, labels = sample(4, scale, classes=6)
        found = margin(logits, labels[:, None])
        for row, label, ours in zip(logits, labels, found, strict=True):
            for z, one in zip(row, ours, strict=True):
                rest = np.delete(z, label)
                wanted = z[label] - np.logaddexp.reduce(rest) + np.log(5)
                assert float(one) == pytest.approx(wanted, rel=1e-13, abs=1e-13)
        # softmax of (mu, 0, ..., 0) gives the same probability, and a shift changes nothing
        np.testing.assert_allclose(margins(logits + 7.0), margins(logits), rtol=1e-12, atol=1e-11)
        same = jnp.zeros((*labels.shape, 4, 6)).at[..., 0].set(found)
        np.testing.assert_allclose(
            jax.nn.softmax(same)[..., 0],
            np.take_along_axis(np.asarray(jax.nn.softmax(logits)), labels[:, None, None], -1)[
                ..., 0
            ],
            rtol=1e-9,
        )


def test_two_classes_have_the_difference_of_their_logits_as_margin():
    assert margins(jnp.array([[3.0, 1.0]])).tolist() == [[2.0, -2.0]]


def test_a_paradigm_given_by_its_loss_alone_cannot_train_networks():
    alone = Paradigm("alone", SOFT.loss / 2 + HARD.loss / 2)
    with pytest.raises(ParadigmError, match="'alone' is given by its loss alone.* give averages="):
        pooled_loss(alone, *sample(0, 1))


@pytest.mark.parametrize(
    ("averages", "message"),
    [
        (beta, "loss of 'p' is not that of averaging beta: build the paradigm with averaging"),
        (INPUT, "loss of 'p' is not that of averaging"),
        (beta - beta**2, "what 'p' averages must be a real, strictly monotone function of beta"),
        (sp.log(beta - sp.Rational(1, 2)), "must be a real, strictly monotone function"),
        (C, "q of 'p' must depend on mu or beta"),
        (beta / 2.5, "exact numbers only"),
        ("lvml", "the q of 'p' must be a sympy expression, got 'lvml'"),
    ],
    ids=str,
)
def test_an_average_that_is_not_the_losses_or_not_monotone_is_refused(averages, message):
    with pytest.raises(ParadigmError, match=message):
        Paradigm("p", HARD.loss, averages=averages)
