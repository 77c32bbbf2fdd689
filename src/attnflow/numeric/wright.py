"""x + e^x = z, the first integral: solved for x absolutely, and for its change relatively."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from attnflow.numeric.namespace import namespace, quiet
from attnflow.numeric.special import split_log2


def log_omega_pair(z: Any) -> tuple[Any, Any]:
    """(x, e^x) with x + e^x = z, for finite z in float64, as fast as a few exponentials.

    x to a few units of absolute rounding (``log_omega`` keeps digits near its zero as well), e^x
    relatively. A guess by range, right to some per cent, then two steps of fifth order.
    """
    if namespace(z) is not np:
        return _pair_compiled()(z)
    with quiet():
        return _pair(z)


def _pair(z: Any) -> tuple[Any, Any]:
    xp = namespace(z)
    high = xp.maximum(z, 1.6)
    far = _rough_log(high)
    far = _rough_log(high - far * (1 - 1 / (1 + high)))
    q = xp.clip(z, -2.0, 1.6) - 1  # Taylor's series of x at z = 1
    near = q * (0.5 + q * (1 / 16 - q * (1 / 192 - q / 3072)))
    x = xp.where(z > 1.6, far, xp.where(z < -2, z, near))
    x = x + _step_to_root(z, x, xp.exp(x))
    grown = xp.exp(x)
    d = _step_to_root(z, x, grown)
    return x + d, grown * (1 + d * (1 + d * (0.5 + d * (1 / 6 + d / 24))))


def _step_to_root(z: Any, x: Any, grown: Any) -> Any:
    """Of fifth order: v = d + a d^2 + b d^3 + c d^4 reverted, the Taylor series of x + e^x."""
    scale = 1 / (1 + grown)
    v, a = ((z - x) - grown) * scale, grown * scale / 2
    b, c = a / 3, a / 12
    return v * (1 - v * (a - v * (2 * a * a - b - v * (5 * a * (a * a - b) + c))))


def _rough_log(x: Any) -> Any:
    """The logarithm of a positive number to two digits."""
    if namespace(x) is np:
        return np.log(x)
    exponent, f = split_log2(x)
    return exponent * math.log(2) + f * (1 - f * (0.4949 - f * 0.3009))


@cache
def _pair_compiled() -> Callable[[Any], tuple[Any, Any]]:
    import jax

    function = jax.custom_jvp(_pair)

    @function.defjvp
    def _(primals: Any, tangents: Any) -> tuple[Any, Any]:
        x, weight = log_omega_pair(*primals)
        slope = tangents[0] / (1 + weight)
        return (x, weight), (slope, weight * slope)

    return function


def increment(force: Any, weight: Any) -> Any:
    """delta with delta + weight * expm1(delta) = force, relatively accurate however small.

    This is the first integral x + e^x = z between two points of an orbit: weight = e^x at the
    first, delta the change of x, force the change of z.
    """
    if namespace(force, weight) is not np:
        return _increment_compiled()(force, weight)
    with quiet():
        return _increment(force, weight)


def _increment(force: Any, weight: Any) -> Any:
    xp = namespace(force, weight)
    # the residual is convex and increasing: start above the root, on the nearer of two bounds
    rising = xp.minimum(force, xp.log1p(xp.maximum(force, 0.0) / weight))
    falling = xp.minimum(force / (1 + weight), force + weight)
    delta = xp.where(force > 0, rising, falling)
    for _ in range(3):
        grown = weight * xp.expm1(delta)
        residual = delta + grown - force
        slope = 1 + weight + grown
        bend = weight + grown
        delta = delta - residual * (slope**2 - residual * bend / 2) / (
            slope * (slope**2 - residual * bend) + residual**2 * bend / 6
        )
    return delta


@cache
def _increment_compiled() -> Callable[[Any, Any], Any]:
    import jax

    function = jax.custom_jvp(_increment)

    @function.defjvp
    def _(primals: Any, tangents: Any) -> tuple[Any, Any]:
        force, weight = primals
        delta = increment(force, weight)
        grown = jax.numpy.expm1(delta)
        tangent = (tangents[0] - grown * tangents[1]) / (1 + weight + weight * grown)
        return delta, tangent

    return function
