"""The loss of real networks, from what a paradigm averages and what the networks say of segments.

A paradigm that averages q(p) gives an input with weights a_j and label probabilities p_j the loss

    -log q^-1( sum_j a_j q(p_j) ),

a quasi-arithmetic mean. It is taken in a coordinate x in which floats hold both ends: log p, or the
margin where q is infinite at p = 1. The ratio r = q''/q' of derivatives to x decides how:

- r = 0: q is linear in x (log p for hard attention), and the mean of x is the plain one;
- r constant: q is a + b e^(r x) (p for LVML, p^s for power means, the odds), and the mean of x is
  a logsumexp: neither a and b nor q itself are computed;
- else q is averaged as a logarithm, less what it is at p = 0, where it behaves like a power of p
  there, and as it is where it does not; the mean is inverted by Newton steps between the least and
  the largest x_j, so no closed form of q^-1 is needed and no cancellation in one does harm.

No paradigm is known by name here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from jaxtyping import Array, Float, Int

from attnflow.errors import ParadigmError
from attnflow.numeric.lower import lower
from attnflow.symbolic.paradigm import INPUT, Paradigm, in_probability, p
from attnflow.symbols import C

MOST_STEPS = 100
_wrong, _log, _log_wrong = sp.symbols("wrong log_p log_wrong", real=True)  # 1 - p, log p, log(1-p)


def of_label(values: Float[Array, "... C"], labels: Int[Array, "..."]) -> Float[Array, "..."]:
    """Of values for each class, that of the label; labels broadcast to the leading axes."""
    labels = jnp.broadcast_to(labels, values.shape[:-1])
    return jnp.take_along_axis(values, labels[..., None], axis=-1)[..., 0]


def label_log_probabilities(
    logits: Float[Array, "... m C"], labels: Int[Array, "..."]
) -> Float[Array, "... m"]:
    """log-probability of the label on each segment."""
    return of_label(jax.nn.log_softmax(_wide(logits)), labels[..., None])


def cross_entropy(logits: Float[Array, "... C"], labels: Int[Array, "..."]) -> Float[Array, "..."]:
    """Minus the log-probability of the label."""
    return -of_label(jax.nn.log_softmax(_wide(logits)), labels)


def margins(logits: Float[Array, "... C"]) -> Float[Array, "... C"]:
    """The margin mu of every class: its logit less the log of the mean exponential of the others.

    So beta = e^mu / (e^mu + C - 1) is the probability of the class, as in the flow, for any logits.
    """
    logits = _wide(logits)
    classes = logits.shape[-1]
    top = jax.nn.one_hot(jnp.argmax(logits, axis=-1), classes, dtype=bool)
    total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    # without the largest, one sums what is left; without another, 1 - p does not cancel
    lowest = jnp.asarray(-0.1 * jnp.finfo(logits.dtype).max, logits.dtype)
    rest = jax.nn.logsumexp(jnp.maximum(logits, lowest), axis=-1, keepdims=True, where=~top)
    share = jnp.exp(jnp.where(top, -jnp.inf, logits - total))
    return logits - jnp.where(top, rest, total + jnp.log1p(-share)) + math.log(classes - 1)


def margin(logits: Float[Array, "... C"], labels: Int[Array, "..."]) -> Float[Array, "..."]:
    """The margin mu of the label: the one definition of what the networks' mu is.

    Args:
        logits: of the classifier.
        labels: classes, which broadcast to the leading axes.
    """
    return of_label(margins(logits), labels)


def _wide(*values: Any) -> Any:
    """In one type of at least float32: a bfloat16 holds three digits."""
    kind: Any = np.float32
    for value in values:  # NumPy's rule: JAX's own may be set to refuse mixtures
        kind = np.promote_types(kind, jnp.result_type(value))
    wide: Any = tuple(jnp.asarray(v).astype(kind) for v in values)
    return wide if len(wide) > 1 else wide[0]


def exponential_mean(
    ratio: float, log_weights: Float[Array, "... m"], x: Float[Array, "... m"]
) -> Float[Array, "..."]:
    """(1/r) log sum_j a_j e^(r x_j), and sum_j a_j x_j for r = 0.

    A segment of weight 0 (log-weight -inf) is left out, be its x infinite too.
    """
    log_weights, x = _wide(log_weights, x)
    held = jnp.exp(log_weights) > 0 if ratio == 0 else log_weights > -jnp.inf
    x = jnp.where(held, x, 0.0)
    if ratio == 0:
        return jnp.sum(jnp.exp(log_weights) * x, axis=-1)
    return jax.nn.logsumexp(log_weights + ratio * x, axis=-1) / ratio


@dataclass(frozen=True)
class Average:
    """How a function q of the label's probability is averaged over segments.

    Attributes:
        by_margin: whether x is the log-odds of the label, else its log-probability.
        ratio: r where q''/q' is constant in x, else None.
        value: from x to q, or to log |u| for an affine image u of q; where ``ratio`` is None.
        logarithmic: whether ``value`` is log |u|.
        rising: whether ``value`` rises with x.
    """

    by_margin: bool
    ratio: float | None = None
    value: Callable[[Any], Any] | None = None
    logarithmic: bool = False
    rising: bool = True

    def of_segments(
        self, logits: Float[Array, "... m C"], labels: Int[Array, "..."]
    ) -> Float[Array, "... m"]:
        """x of each segment."""
        if not self.by_margin:
            return label_log_probabilities(logits, labels)
        return margin(logits, labels[..., None]) - math.log(logits.shape[-1] - 1)

    def loss(
        self, log_weights: Float[Array, "... m"], x: Float[Array, "... m"]
    ) -> Float[Array, "..."]:
        """The loss from the weights and x of each segment."""
        mean = self._mean(log_weights, x)
        return jax.nn.softplus(-mean) if self.by_margin else -mean

    def _mean(self, log_weights: Any, x: Any) -> Any:
        if self.ratio is not None:
            return exponential_mean(self.ratio, log_weights, x)
        assert self.value is not None
        log_weights, x = _wide(log_weights, x)
        held = jnp.exp(log_weights) > 0
        first = jnp.argmax(log_weights, axis=-1, keepdims=True)
        x = jnp.where(held, x, jnp.take_along_axis(x, first, axis=-1))
        pooled = exponential_mean(float(self.logarithmic), log_weights, self.value(x))
        bounds = (jnp.clip(bound, -1e6, 1e6) for bound in (jnp.min(x, -1), jnp.max(x, -1)))
        return _inverse(self.value, self.rising, pooled, *bounds)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _inverse(value: Callable[[Any], Any], rising: bool, target: Any, low: Any, high: Any) -> Any:
    """x between low and high with value(x) = target, by Newton steps that stay between them."""
    precision = 2 * jnp.finfo(target.dtype).eps

    def step(state: Any) -> Any:
        count, low, high, x, _ = state
        reached, slope = jax.jvp(value, (x,), (jnp.ones_like(x),))
        over = (reached > target) == rising
        low, high = jnp.where(over, low, x), jnp.where(over, x, high)
        new = x - (reached - target) / slope
        new = jnp.where((new >= low) & (new <= high), new, (low + high) / 2)
        return count + 1, low, high, new, jnp.abs(new - x) > precision * jnp.maximum(1, jnp.abs(x))

    def going_on(state: Any) -> Any:
        return jnp.any(state[-1]) & (state[0] < MOST_STEPS)

    start = (low + high) / 2
    state = jnp.int32(0), low, high, start, jnp.ones_like(start, bool)
    return jax.lax.while_loop(going_on, step, state)[3]


@_inverse.defjvp
def _inverse_jvp(value: Any, rising: bool, primals: Any, tangents: Any) -> Any:
    x = _inverse(value, rising, *primals)
    slope = jax.jvp(value, (x,), (jnp.ones_like(x),))[1]
    flat = slope == 0
    return x, jnp.where(flat, 0.0, tangents[0] / jnp.where(flat, 1.0, slope))


@lru_cache(maxsize=256)
def average(paradigm: Paradigm, classes: int) -> Average | None:
    """How the paradigm pools the segments of an input of so many classes; None for INPUT.

    Raises:
        ParadigmError: the paradigm does not say what it averages.
    """
    if paradigm.averages is None:
        raise ParadigmError(
            f"paradigm {paradigm.name!r} is given by its loss alone, which does not say how real "
            "networks are trained: give averages= too, or a function of log-weights and logits"
        )
    if paradigm.averages is INPUT:
        return None
    q = in_probability(paradigm.averages).subs(C, classes)
    ratio = sp.simplify(sp.diff(q, p, 2) / sp.diff(q, p))
    in_log = sp.simplify(1 + p * ratio)
    in_odds = sp.simplify(1 - 2 * p + p * (1 - p) * ratio)
    for by_margin, constant in ((False, in_log), (True, in_odds)):
        if constant.is_number:
            return Average(by_margin, float(constant))
    by_margin = not _finite(q, 1)
    u, logarithmic, value = _value(q, in_log, in_odds, by_margin)
    rises = float(sp.diff(q, p).subs(p, sp.Rational(1, 3))) > 0
    positive = float(u.subs(p, sp.Rational(1, 3))) > 0
    return Average(by_margin, None, value, logarithmic, rises == (positive or not logarithmic))


def _limit(expr: sp.Expr, at: int) -> sp.Expr:
    try:
        return sp.limit(expr, p, at, "+" if at == 0 else "-")
    except (NotImplementedError, ValueError, AttributeError):
        return sp.nan


def _finite(expr: sp.Expr, at: int) -> bool:
    limit = _limit(expr, at)
    return bool(limit.is_number and limit.is_finite and limit.is_real)


def _value(
    q: sp.Expr, in_log: sp.Expr, in_odds: sp.Expr, by_margin: bool
) -> tuple[sp.Expr, bool, Callable[[Any], Any]]:
    """(u, whether log |u| is what is averaged, that as a function of x).

    Where q goes like p^e to p = 0 with e > 0, u is q less its limit there; with e < 0, q plus a
    constant that keeps it from zero. Powers of p and 1 - p are taken out of the logarithm.
    """
    power = _limit(in_log, 0)
    at_top = _limit(in_odds, 1) if by_margin else sp.S.Zero
    if not (power.is_number and power.is_finite and at_top.is_finite) or power == 0:
        return q, False, _lowered(q, by_margin)
    if power > 0:
        u = q - _limit(q, 0)
    elif not by_margin:
        u = q - _limit(q, 1) + _limit(q * p**-power, 0)
    else:
        return q, False, _lowered(q, by_margin)
    rest = sp.factor(sp.simplify(u * p**-power * (1 - p) ** at_top))
    return u, True, _lowered(rest, by_margin, (float(power), float(at_top)))


def _lowered(
    expr: sp.Expr, by_margin: bool, powers: tuple[float, float] | None = None
) -> Callable[[Any], Any]:
    """An expression in p as a function of x; with powers (e, f) log |p^e (1 - p)^-f expr|.

    Where the expression is 0/0 at p = 0, small p take the beginning of its series.
    """
    arguments = (p, _wrong, _log, _log_wrong)
    spelt = _spelt(expr)
    function = lower(spelt, arguments, as_written=True)
    beginning = None
    if powers and not _finite_at_zero(spelt):
        try:
            series = sp.series(expr, p, 0, 4).removeO()
            beginning = lower(_spelt(series), arguments, as_written=True)
        except (NotImplementedError, ValueError, TypeError):
            beginning = None

    def value(x: Any) -> Any:
        if by_margin:
            log, log_wrong = -jax.nn.softplus(-x), -jax.nn.softplus(x)
            at = jnp.exp(log), jnp.exp(log_wrong), log, log_wrong
        else:
            wrong = -jnp.expm1(x)
            at = jnp.exp(x), wrong, x, jnp.log(wrong)
        if powers is None:
            return jnp.asarray(function(*at), x.dtype)
        if beginning is None:
            rest = function(*at)
        else:
            small = at[0] < jnp.finfo(x.dtype).eps ** 0.25
            safe = jnp.where(small, 0.5, at[0])
            rest = jnp.where(
                small,
                beginning(*at),
                function(safe, jnp.where(small, 0.5, at[1]), jnp.log(safe), at[3]),
            )
        power, at_top = powers
        size = jnp.asarray(jnp.log(jnp.abs(rest)), x.dtype) + power * at[2]
        return size - at_top * at[3] if at_top else size

    return value


def _finite_at_zero(spelt: sp.Expr) -> bool:
    value = spelt.subs({p: 0, _wrong: 1, _log_wrong: 0})
    return value != 0 and not value.has(sp.nan, sp.zoo, sp.oo, -sp.oo)


def _spelt(expr: sp.Expr) -> sp.Expr:
    """With symbols for 1 - p, log p and log(1 - p), which floats hold better than p says them."""
    expr = sp.expand_log(expr, force=True).subs({sp.log(p): _log, sp.log(1 - p): _log_wrong})
    return expr.replace(
        lambda e: e.is_Add and e in (1 - p, p - 1), lambda e: _wrong if e == 1 - p else -_wrong
    )


def pooled_loss(
    paradigm: Paradigm,
    log_weights: Float[Array, "... m"],
    logits: Float[Array, "... m C"],
    labels: Int[Array, "..."],
) -> Float[Array, "..."]:
    """The paradigm's loss of each input, from the weights and the logits of its segments.

    Where the input is averaged, the logits are: the same for a linear classifier.

    Args:
        paradigm: says what is averaged.
        log_weights: of the focus; -inf for a segment that is not there.
        logits: of the classifier on each segment.
        labels: classes, 0 to C - 1.

    Raises:
        ParadigmError: the paradigm does not say what it averages.
    """
    how = average(paradigm, logits.shape[-1])
    log_weights, logits = _wide(log_weights, logits)
    logits = jnp.where(log_weights[..., None] > -jnp.inf, logits, 0.0)  # be they infinite there
    if how is None:
        each = jnp.exp(log_weights)[..., None] * logits
        return cross_entropy(jnp.sum(each, axis=-2), labels)
    return how.loss(log_weights, how.of_segments(logits, labels))
