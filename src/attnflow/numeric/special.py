"""Special functions of the gradient flows that JAX lacks or computes badly, for real arguments.

Each is a pure function of arrays: jit, vmap and derivatives of any order work, in forward and
reverse mode, because every derivative is given in closed form. The result has the dtype of the
argument (integers become the default float). float64 results are right to a few units in the last
place (ulp) over the stated range; results below the smallest normal number may be flushed to zero
by the device. No branch yields NaN where the function itself is defined, infinities included.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from attnflow.numeric import special_coefficients as coefficients

__all__ = [
    "dilog_negexp",
    "expi",
    "log1p",
    "log1pmx",
    "log_omega",
    "phi2",
    "sigmoid",
    "softplus",
    "wright_omega",
]

# B_2k / (2k + 1)! with the Bernoulli numbers B_2 ... B_16: dilogarithm in powers of log(1 + y).
_DEBYE = tuple(
    bernoulli / math.factorial(2 * k + 3)
    for k, bernoulli in enumerate(
        (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
    )
)
_EULER_GAMMA = 0.5772156649015329


def _real(x: ArrayLike) -> Array:
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"expected a real argument, got dtype {x.dtype}")
    return x.astype(jnp.result_type(float))


def _polynomial(powers: tuple[float, ...], x: Array) -> Array:
    value = jnp.full_like(x, powers[-1])
    for coefficient in powers[-2::-1]:
        value = value * x + coefficient
    return value


def _rational(pair: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    return _polynomial(pair[0], x) / _polynomial(pair[1], x)


def _with_derivative(
    derivative: Callable[[Array, Array], Array],
) -> Callable[[Callable[[ArrayLike], Array]], Callable[[ArrayLike], Array]]:
    """Compile a function of one array and give it ``derivative(value, argument)``."""

    def decorate(function: Callable[[ArrayLike], Array]) -> Callable[[ArrayLike], Array]:
        result = jax.custom_jvp(jax.jit(function))
        result.defjvps(lambda tangent, value, x: tangent * derivative(value, _real(x)))
        return result

    return decorate


@_with_derivative(lambda value, x: 1 / jnp.square(1 + x))
def _fraction(x: ArrayLike) -> Array:
    """x/(1 + x), x >= -1, also where x is infinite."""
    x = _real(x)
    large = x > 1
    return jnp.where(large, 1 / (1 + 1 / jnp.where(large, x, 1)), x / (1 + jnp.where(large, 1, x)))


@_with_derivative(lambda value, x: value * (1 - 1 / x))
def _exp_over(x: ArrayLike) -> Array:
    """e^x/x, without overflow where e^x alone would (709 < x < 716)."""
    x = _real(x)
    bounded = jnp.clip(x, -2000, 2000)  # beyond: 0 or infinite anyway; keeps inf/inf away
    half = jnp.exp(bounded / 2)
    return half * (half / bounded)


def _sigmoid_slope(value: Array, u: Array) -> Array:
    return value * sigmoid(-u)  # not value (1 - value), which loses the upper tail


@_with_derivative(_sigmoid_slope)
def sigmoid(u: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Logistic function 1/(1 + e^-u), relatively accurate in both tails."""
    u = _real(u)
    small = jnp.exp(-jnp.abs(u))
    return jnp.where(u < 0, small, 1) / (1 + small)


@_with_derivative(lambda value, u: sigmoid(u))
def softplus(u: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """log(1 + e^u), relatively accurate for every real u."""
    u = _real(u)
    return jnp.maximum(u, 0) + jnp.log1p(jnp.exp(-jnp.abs(u)))


@_with_derivative(lambda value, x: jnp.expm1(x))
def phi2(x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """e^x - 1 - x, relatively accurate for every real x, tiny ones included."""
    x = _real(x)
    near = jnp.clip(x, -1, 2)
    inner = near * near * _polynomial(coefficients.PHI2, near)
    outer = jnp.exp(x) - (1 + jnp.minimum(x, 100))  # beyond 100 only e^x counts, and inf - inf
    return jnp.where((x >= -1) & (x <= 2), inner, outer)


@_with_derivative(lambda value, x: -_fraction(x))
def log1pmx(x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """log(1 + x) - x for x >= -1, relatively accurate also for tiny x."""
    x = _real(x)
    outer = jnp.log(1 + jnp.minimum(x, jnp.finfo(x.dtype).max)) - x
    return jnp.where((x >= -0.5) & (x <= 1), _log1pmx_near(x), outer)


@_with_derivative(lambda value, x: 1 / (1 + x))
def log1p(x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """log(1 + x) for x >= -1; XLA's own errs by a hundred ulp around x = -0.4 on the CPU."""
    x = _real(x)
    return jnp.where((x >= -0.5) & (x <= 1), x + _log1pmx_near(x), jnp.log(1 + x))


def _log1pmx_near(x: Array) -> Array:
    # log(1 + x) = 2 atanh(s) with s = x/(2 + x); 2 s - x = -x s leaves no cancellation.
    x = jnp.clip(x, -0.5, 1)
    s = x / (2 + x)
    square = s * s
    return s * (square * _polynomial(coefficients.ATANH, square) - x)


@_with_derivative(lambda omega, z: _fraction(omega))
def wright_omega(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Real Wright omega function: the omega > 0 with omega + log(omega) = z.

    For z < -1 it is Lambert's W(e^z) by a rational function, else one step of the fourth-order
    iteration of Fritsch, Shafer and Crowley (CACM 16, 1973) from a start right to 1e-4.

    Args:
        z: Any real; -inf gives 0, inf gives inf.

    Returns:
        omega, of the shape of z; its derivative is omega/(1 + omega).
    """
    return _omega_and_log(_real(z))[0]


@_with_derivative(lambda value, z: sigmoid(-value))
def log_omega(z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """The real x with x + e^x = z, that is log(wright_omega(z)), relatively accurate everywhere.

    Args:
        z: Any real; the result is 0 at z = 1, and -inf, inf at -inf, inf.

    Returns:
        x, of the shape of z; its derivative is 1/(1 + e^x).
    """
    z = _real(z)
    omega, far = _omega_and_log(z)
    offset = jnp.clip(z - 1, -1, 1)
    near = offset * _rational(coefficients.LOG_OMEGA, offset)
    return jnp.where(z < 0, z - omega, jnp.where(z > 2, far, near))


def _omega_and_log(z: Array) -> tuple[Array, Array]:
    """omega(z), and log(omega(z)) where z > 2."""
    y = jnp.exp(jnp.minimum(z, -1))
    small = y - y * y * _rational(coefficients.OMEGA_SMALL, y)
    bounded = jnp.clip(z, -1, jnp.finfo(z.dtype).max)
    large = jnp.maximum(bounded, 8)
    log, inverse = jnp.log(large), 1 / large
    # Asymptotic series of de Bruijn in log(z)/z.
    series = 1 + inverse * (log / 2 - 1 + inverse * (1 + log * (log / 3 - 1.5)))
    start = jnp.where(
        bounded < 8,
        _rational(coefficients.OMEGA_GUESS, jnp.minimum(bounded, 8)),
        large - log + log * inverse * series,
    )
    logarithm = jnp.log(start)
    scale = 1 / (1 + start)
    step = (bounded - start - logarithm) * scale
    weight = 2 + (4 / 3) * step
    change = step * (weight - step * scale) / (weight - 2 * step * scale)
    omega = start + start * change
    logarithm = logarithm + change * (1 - change * (1 / 2 - change / 3))
    infinite = z == jnp.inf
    omega = jnp.where(z < -1, small, jnp.where(infinite, z, omega))
    return omega, jnp.where(infinite, z, logarithm)


@_with_derivative(lambda value, x: _exp_over(x))
def expi(x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Exponential integral Ei(x), the principal value of Int e^t/t dt from -inf to x.

    Args:
        x: Any real, both signs; -inf, 0, inf give 0, -inf, inf.

    Returns:
        Ei(x), of the shape of x: relatively accurate, near its zero x = 0.3725 absolutely.
        Its derivative is e^x/x.
    """
    x = _real(x)
    near = jnp.clip(x, -1, 6)
    inner = _EULER_GAMMA + jnp.log(jnp.abs(near)) + near * _polynomial(coefficients.EIN, near)
    t = 1 / jnp.where(jnp.abs(x) < 1, 1, x)
    negative = jnp.clip(-t, 0, 1)

    def panel(powers: tuple[float, ...], s: Array) -> Array:
        return _polynomial(powers, jnp.clip(s, -1, 1))

    outer = jnp.where(
        x > 0,
        jnp.where(
            x < 12,
            panel(coefficients.EI_6, 24 * t - 3),
            jnp.where(
                x < 30,
                panel(coefficients.EI_12, 40 * t - 7 / 3),
                panel(coefficients.EI_30, 60 * t - 1),
            ),
        ),
        jnp.where(
            x > -4,
            _rational(coefficients.E1_1, negative),
            _rational(coefficients.E1_4, negative),
        ),
    )
    return jnp.where((x >= -1) & (x <= 6), inner, _exp_over(x) * outer)


@_with_derivative(lambda value, u: -softplus(u))
def dilog_negexp(u: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Dilogarithm Li2(-e^u), relatively accurate for every real u (about -e^u as u -> -inf).

    Debye's series in log(1 + e^u) for u <= 0; above, Li2(-y) + Li2(-1/y) = -pi^2/6 - log(y)^2/2.
    """
    u = _real(u)
    v = softplus(-jnp.abs(u))
    inner = -v * (1 + v * (0.25 + v * _polynomial(_DEBYE, v * v)))
    return jnp.where(u <= 0, inner, -(math.pi**2 / 6) - u * u / 2 - inner)


@jax.custom_jvp
def increment(force: Any, weight: Any) -> Any:
    """delta with delta + weight * expm1(delta) = force, relatively accurate however small.

    This is the first integral x + e^x = z between two points of an orbit: weight = e^x at the
    first, delta the change of x, force the change of z.
    """
    # the residual is convex and increasing: start above the root, on the nearer of two bounds
    rising = jnp.minimum(force, jnp.log1p(jnp.maximum(force, 0.0) / weight))
    falling = jnp.minimum(force / (1 + weight), force + weight)
    delta = jnp.where(force > 0, rising, falling)
    for _ in range(3):
        grown = weight * jnp.expm1(delta)
        residual = delta + grown - force
        slope = 1 + weight + grown
        bend = weight + grown
        delta = delta - residual * (slope**2 - residual * bend / 2) / (
            slope * (slope**2 - residual * bend) + residual**2 * bend / 6
        )
    return delta


@increment.defjvp
def _increment_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    force, weight = primals
    delta = increment(force, weight)
    grown = jnp.expm1(delta)
    tangent = (tangents[0] - grown * tangents[1]) / (1 + weight + weight * grown)
    return delta, tangent
