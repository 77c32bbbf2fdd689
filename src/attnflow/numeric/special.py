"""Special functions of the gradient flows that NumPy and JAX lack or compute badly, of reals.

Each is a pure function of arrays, of NumPy's or JAX's by its argument: in JAX jit, vmap and
derivatives of any order work, in forward and reverse mode, because every derivative is given in
closed form. The result has the dtype of the
argument (integers become the default float). float64 results are right to a few units in the last
place (ulp) over the stated range; results below the smallest normal number may be flushed to zero
by the device. No branch yields NaN where the function itself is defined, infinities included.
"""

import math
from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from typing import Any

import numpy as np

from attnflow.numeric import special_coefficients as coefficients
from attnflow.numeric.namespace import namespace, quiet

Array = Any  # NumPy's or JAX's
ArrayLike = Any  # or a number

__all__ = [
    "dilog_negexp",
    "expi",
    "log",
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
# log 2: the first part has zeros at its end, so that its multiples are exact
_LOG2_HIGH, _LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10


def _real(x: ArrayLike) -> tuple[Any, Array]:
    """The namespace of an argument, and it as an array of floats there."""
    xp = namespace(x)
    x = xp.asarray(x)
    if xp.issubdtype(x.dtype, xp.floating):
        return xp, x
    if xp.issubdtype(x.dtype, xp.complexfloating):
        raise TypeError(f"expected a real argument, got dtype {x.dtype}")
    return xp, x.astype(xp.result_type(float))


def _polynomial(powers: tuple[float, ...], x: Array) -> Array:
    value = namespace(x).full_like(x, powers[-1])
    for coefficient in powers[-2::-1]:
        value = value * x + coefficient
    return value


def _rational(pair: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    return _polynomial(pair[0], x) / _polynomial(pair[1], x)


def _with_derivative(
    derivative: Callable[[Array, Array], Array],
) -> Callable[[Callable[[ArrayLike], Array]], Callable[[ArrayLike], Array]]:
    """In JAX compile a function of one array and give it ``derivative(value, argument)``."""

    def decorate(function: Callable[[ArrayLike], Array]) -> Callable[[ArrayLike], Array]:
        @cache
        def compiled() -> Callable[[ArrayLike], Array]:
            import jax

            def rule(tangent: Array, value: Array, x: ArrayLike) -> Array:
                return tangent * derivative(value, _real(jax.numpy.asarray(x))[1])

            result = jax.custom_jvp(jax.jit(function))
            result.defjvps(rule)
            return result

        @wraps(function)
        def of_either(x: ArrayLike) -> Array:
            if namespace(x) is not np:
                return compiled()(x)
            with quiet():
                return function(x)

        return of_either

    return decorate


def erf(x: ArrayLike) -> Array:
    """The error function, SciPy's or JAX's."""
    return _scipy(x).erf(x)


def erfc(x: ArrayLike) -> Array:
    """1 - erf(x), SciPy's or JAX's."""
    return _scipy(x).erfc(x)


def _scipy(x: ArrayLike) -> Any:
    name = "scipy.special" if namespace(x) is np else "jax.scipy.special"
    return import_module(name)


@_with_derivative(lambda value, x: 1 / (1 + x) ** 2)
def _fraction(x: ArrayLike) -> Array:
    """x/(1 + x), x >= -1, also where x is infinite."""
    xp, x = _real(x)
    large = x > 1
    return xp.where(large, 1 / (1 + 1 / xp.where(large, x, 1)), x / (1 + xp.where(large, 1, x)))


@_with_derivative(lambda value, x: value * (1 - 1 / x))
def _exp_over(x: ArrayLike) -> Array:
    """e^x/x, without overflow where e^x alone would (709 < x < 716)."""
    xp, x = _real(x)
    bounded = xp.clip(x, -2000, 2000)  # beyond: 0 or infinite anyway; keeps inf/inf away
    half = xp.exp(bounded / 2)
    return half * (half / bounded)


def _sigmoid_slope(value: Array, u: Array) -> Array:
    return value * sigmoid(-u)  # not value (1 - value), which loses the upper tail


@_with_derivative(_sigmoid_slope)
def sigmoid(u: ArrayLike) -> Array:
    """Logistic function 1/(1 + e^-u), relatively accurate in both tails."""
    xp, u = _real(u)
    small = xp.exp(-xp.abs(u))
    return xp.where(u < 0, small, 1) / (1 + small)


@_with_derivative(lambda value, u: sigmoid(u))
def softplus(u: ArrayLike) -> Array:
    """log(1 + e^u), relatively accurate for every real u."""
    xp, u = _real(u)
    return xp.maximum(u, 0) + xp.log1p(xp.exp(-xp.abs(u)))


@_with_derivative(lambda value, x: namespace(x).expm1(x))
def phi2(x: ArrayLike) -> Array:
    """e^x - 1 - x, relatively accurate for every real x, tiny ones included."""
    xp, x = _real(x)
    near = xp.clip(x, -1, 2)
    inner = near * near * _polynomial(coefficients.PHI2, near)
    outer = xp.exp(x) - (1 + xp.minimum(x, 100))  # beyond 100 only e^x counts, and inf - inf
    return xp.where((x >= -1) & (x <= 2), inner, outer)


@_with_derivative(lambda value, x: -_fraction(x))
def log1pmx(x: ArrayLike) -> Array:
    """log(1 + x) - x for x >= -1, relatively accurate also for tiny x."""
    xp, x = _real(x)
    outer = xp.log(1 + xp.minimum(x, xp.finfo(x.dtype).max)) - x
    return xp.where((x >= -0.5) & (x <= 1), _log1pmx_near(x), outer)


@_with_derivative(lambda value, x: 1 / (1 + x))
def log1p(x: ArrayLike) -> Array:
    """log(1 + x) for x >= -1; XLA's own errs by a hundred ulp around x = -0.4 on the CPU."""
    xp, x = _real(x)
    if xp is np:
        return np.log1p(x)
    if x.dtype == np.float64:
        return _outside(x + 1, x, quick_log1p(x))
    return xp.where((x >= -0.5) & (x <= 1), x + _log1pmx_near(x), xp.log(1 + x))


@_with_derivative(lambda value, x: 1 / x)
def log(x: ArrayLike) -> Array:
    """The natural logarithm; on a CPU XLA's own takes three times as long."""
    xp, x = _real(x)
    if xp is np or x.dtype != np.float64:
        return xp.log(x)
    exponent, f = split_log2(x)
    return _outside(x, x, _log_of(exponent, f))


def _outside(distance: Array, x: Array, value: Array) -> Array:
    """A logarithm by bits, put right at the ends of its domain, ``distance`` = 0 and infinity."""
    xp = namespace(x)
    normal = (distance >= np.finfo(np.float64).tiny) & (distance < np.inf)
    end = xp.where(x == np.inf, np.inf, xp.where(distance >= 0, -np.inf, np.nan))
    return xp.where(normal, value, end)


def _log1pmx_near(x: Array) -> Array:
    xp = namespace(x)
    # log(1 + x) = 2 atanh(s) with s = x/(2 + x); 2 s - x = -x s leaves no cancellation.
    x = xp.clip(x, -0.5, 1)
    s = x / (2 + x)
    square = s * s
    return s * (square * _polynomial(coefficients.ATANH, square) - x)


@_with_derivative(lambda omega, z: _fraction(omega))
def wright_omega(z: ArrayLike) -> Array:
    """Real Wright omega function: the omega > 0 with omega + log(omega) = z.

    For z < -1 it is Lambert's W(e^z) by a rational function, else one step of the fourth-order
    iteration of Fritsch, Shafer and Crowley (CACM 16, 1973) from a start right to 1e-4.

    Args:
        z: Any real; -inf gives 0, inf gives inf.

    Returns:
        omega, of the shape of z; its derivative is omega/(1 + omega).
    """
    return _omega_and_log(_real(z)[1])[0]


@_with_derivative(lambda value, z: sigmoid(-value))
def log_omega(z: ArrayLike) -> Array:
    """The real x with x + e^x = z, that is log(wright_omega(z)), relatively accurate everywhere.

    Args:
        z: Any real; the result is 0 at z = 1, and -inf, inf at -inf, inf.

    Returns:
        x, of the shape of z; its derivative is 1/(1 + e^x).
    """
    xp, z = _real(z)
    omega, far = _omega_and_log(z)
    offset = xp.clip(z - 1, -1, 1)
    near = offset * _rational(coefficients.LOG_OMEGA, offset)
    return xp.where(z < 0, z - omega, xp.where(z > 2, far, near))


def _omega_and_log(z: Array) -> tuple[Array, Array]:
    """omega(z), and log(omega(z)) where z > 2."""
    xp = namespace(z)
    y = xp.exp(xp.minimum(z, -1))
    small = y - y * y * _rational(coefficients.OMEGA_SMALL, y)
    bounded = xp.clip(z, -1, xp.finfo(z.dtype).max)
    large = xp.maximum(bounded, 8)
    log, inverse = xp.log(large), 1 / large
    # Asymptotic series of de Bruijn in log(z)/z.
    series = 1 + inverse * (log / 2 - 1 + inverse * (1 + log * (log / 3 - 1.5)))
    start = xp.where(
        bounded < 8,
        _rational(coefficients.OMEGA_GUESS, xp.minimum(bounded, 8)),
        large - log + log * inverse * series,
    )
    logarithm = xp.log(start)
    scale = 1 / (1 + start)
    step = (bounded - start - logarithm) * scale
    weight = 2 + (4 / 3) * step
    change = step * (weight - step * scale) / (weight - 2 * step * scale)
    omega = start + start * change
    logarithm = logarithm + change * (1 - change * (1 / 2 - change / 3))
    infinite = z == xp.inf
    omega = xp.where(z < -1, small, xp.where(infinite, z, omega))
    return omega, xp.where(infinite, z, logarithm)


@_with_derivative(lambda value, x: _exp_over(x))
def expi(x: ArrayLike) -> Array:
    """Exponential integral Ei(x), the principal value of Int e^t/t dt from -inf to x.

    Args:
        x: Any real, both signs; -inf, 0, inf give 0, -inf, inf.

    Returns:
        Ei(x), of the shape of x: relatively accurate, near its zero x = 0.3725 absolutely.
        Its derivative is e^x/x.
    """
    xp, x = _real(x)
    near = xp.clip(x, -1, 6)
    inner = _EULER_GAMMA + xp.log(xp.abs(near)) + near * _polynomial(coefficients.EIN, near)
    t = 1 / xp.where(xp.abs(x) < 1, 1, x)
    negative = xp.clip(-t, 0, 1)

    def panel(powers: tuple[float, ...], s: Array) -> Array:
        return _polynomial(powers, xp.clip(s, -1, 1))

    outer = xp.where(
        x > 0,
        xp.where(
            x < 12,
            panel(coefficients.EI_6, 24 * t - 3),
            xp.where(
                x < 30,
                panel(coefficients.EI_12, 40 * t - 7 / 3),
                panel(coefficients.EI_30, 60 * t - 1),
            ),
        ),
        xp.where(
            x > -4,
            _rational(coefficients.E1_1, negative),
            _rational(coefficients.E1_4, negative),
        ),
    )
    return xp.where((x >= -1) & (x <= 6), inner, _exp_over(x) * outer)


@_with_derivative(lambda value, u: -softplus(u))
def dilog_negexp(u: ArrayLike) -> Array:
    """Dilogarithm Li2(-e^u), relatively accurate for every real u (about -e^u as u -> -inf).

    Debye's series in log(1 + e^u) for u <= 0; above, Li2(-y) + Li2(-1/y) = -pi^2/6 - log(y)^2/2.
    """
    xp, u = _real(u)
    v = softplus(-xp.abs(u))
    inner = -v * (1 + v * (0.25 + v * _polynomial(_DEBYE, v * v)))
    return xp.where(u <= 0, inner, -(math.pi**2 / 6) - u * u / 2 - inner)


def split_log2(x: Any) -> tuple[Any, Any]:
    """k and f with x = 2^k (1 + f), f from 2^-1/2 - 1 to 2^1/2 - 1, by the bits of a float64."""
    xp = namespace(x)
    bits = x.view(xp.int64)
    exponent = (bits - 0x3FE6A09E667F3BCD) >> 52
    return exponent.astype(xp.float64), (bits - (exponent << 52)).view(xp.float64) - 1


def quick_log1p(x: Any) -> Any:
    """log(1 + x) for finite x > -1 in float64, by bits: no derivative."""
    xp = namespace(x)
    exponent, f = split_log2(1 + x)
    near = (x >= -0.5) & (x <= 1)  # there 1 + x would round digits of x off
    return _log_of(xp.where(near, 0.0, exponent), xp.where(near, x, f))


def _log_of(exponent: Any, f: Any) -> Any:
    """log(2^exponent (1 + f)): 2 atanh(s), s = f/(2 + f), and log 2 in two parts."""
    s = f / (2 + f)
    square = s * s
    small = s * (f - square * _polynomial(coefficients.ATANH, square)) - exponent * _LOG2_LOW
    return exponent * _LOG2_HIGH + (f - small)
