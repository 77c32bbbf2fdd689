"""exp, log and their kin on double-double numbers, and the table that lowers sympy to them.

Relative accuracy is about 1e-31 where the values are ordinary (see ``doubled``). Arguments are
reduced by tables at j/64; what remains is a short series whose last terms need float64 only.
Every float64 product that is not exact goes through ``rounded``, since XLA may contract it (the
text of ``doubled`` says what is relied on). The arithmetic is without guards: numbers at which a
function is infinite or undefined are set aside first.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
from jax import lax

from attnflow.numeric import special
from attnflow.numeric.doubled import (
    DIGITS,
    Doubled,
    add,
    as_arrays,
    constant,
    constant_plus,
    constants,
    doubled,
    from_float,
    plus,
    quotient,
    ratio,
    rounded,
    select,
    times,
)


def _scaled(x: Doubled, power: Any) -> Doubled:
    """x 2^power for an integer array, in two exact steps since 2^power may overflow."""
    half = power >> 1
    for part in (half, power - half):
        factor = lax.bitcast_convert_type((part + 1023) << 52, jnp.float64)
        x = Doubled(x.hi * factor, x.lo * factor)
    return x


def _horner(x: Any, coefficients: tuple[float, ...]) -> Any:
    value = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = rounded(value * x) + coefficient
    return value


@lru_cache(maxsize=1)
def _tables() -> dict[str, Any]:
    """Constants of exp and log: log 2 in three parts, and tables at j/64."""
    with mpmath.workdps(DIGITS):
        log2 = mpmath.log(2)
        first = mpmath.floor(log2 * 2**42) / 2**42  # 42 bits: times 11 bits is exact
        second = mpmath.floor((log2 - first) * 2**84) / 2**84
        grid = [mpmath.mpf(j) / 64 for j in range(-23, 29)]
        return {
            "log2": tuple(
                float(part) for part in (first, second, log2 - first - second)
            ),
            "expm1": constants([mpmath.expm1(u) for u in grid]),
            "log1p": constants([mpmath.log1p(u) for u in grid]),
            "inverse": constants([1 / (1 + u) for u in grid]),
            "factorial": tuple(constant(1 / mpmath.factorial(n)) for n in range(13)),
            "odd": tuple(constant(1 / mpmath.mpf(n)) for n in range(1, 15, 2)),
        }


def _nearest(x: Any, *names: str) -> tuple[Any, ...]:
    """j/64 next to x as a float, whether j is 0, and the tables' entries there."""
    j = jnp.round(x * 64)
    index = jnp.clip(j, -23, 28).astype(jnp.int32) + 23
    entries = (
        Doubled(jnp.asarray(table.hi)[index], jnp.asarray(table.lo)[index])
        for table in (_tables()[name] for name in names)
    )
    return j / 64, j == 0, *entries


def _exponential(x: Doubled) -> tuple[Doubled, Any]:
    """m and an integer k with e^x = 2^k (1 + m), -0.3 < m < 0.42; k = 0 where |x| < 0.34."""
    first, second, third = _tables()["log2"]
    k = jnp.round(rounded(x.hi * (1 / first)))
    r = plus(x, from_float(-k * first))
    r = plus(r, Doubled(-k * second, rounded(-k * third)))
    grid, _, entry = _nearest(r.hi, "expm1")
    r = plus(r, from_float(-grid))
    inverse = _tables()["factorial"]
    series = from_float(_horner(r.hi, tuple(c.hi for c in inverse[7:])))
    for coefficient in reversed(inverse[2:7]):
        series = constant_plus(coefficient, times(series, r))
    small = plus(times(times(r, r), series), r)
    return plus(entry, plus(times(entry, small), small)), k.astype(jnp.int64)


@jax.jit
def _exp(x: Doubled) -> Doubled:
    inside = (x.hi >= -746.0) & (x.hi <= 709.75)
    m, k = _exponential(select(inside, x, from_float(jnp.zeros_like(x.hi))))
    limit = jnp.where(x.hi < 0, 0.0, jnp.where(x.hi > 0, jnp.inf, jnp.nan))
    return select(inside, _scaled(constant_plus(doubled(1), m), k), from_float(limit))


@jax.jit
def _expm1(x: Doubled) -> Doubled:
    inside = (x.hi >= -100.0) & (x.hi <= 709.75)
    m, k = _exponential(select(inside, x, from_float(jnp.zeros_like(x.hi))))
    one = from_float(jnp.ones_like(x.hi))
    value = _scaled(plus(m, add(one, -_scaled(one, -jnp.minimum(k, 1000)))), k)
    limit = jnp.where(x.hi < 0, -1.0, jnp.where(x.hi > 0, jnp.inf, jnp.nan))
    return select(inside, value, from_float(limit))


def _logarithm(x: Doubled, gap: Doubled) -> Doubled:
    """log(x), given gap = x - 1 with all its digits where x is near 1."""
    ordinary = (x.hi >= 2.0**-1022) & (x.hi < jnp.inf)
    x = select(ordinary, x, from_float(jnp.where(x.hi == 0, 0.0, x.hi)))
    safe = select(ordinary, x, from_float(jnp.ones_like(x.hi)))
    bits = lax.bitcast_convert_type(safe.hi, jnp.int64)
    mantissa = bits & ((1 << 52) - 1)
    beyond = mantissa > 0x6A09E667F3BCC  # the mantissa of sqrt(2)
    k = (bits >> 52) - 1023 + beyond.astype(jnp.int64)
    one = from_float(jnp.ones_like(x.hi))
    v = select((k == 0) & ordinary, gap, add(_scaled(safe, -k), -one))
    grid, at_zero, entry, inverse = _nearest(v.hi, "log1p", "inverse")
    r = plus(v, from_float(-grid))
    r = select(at_zero, r, times(r, inverse))
    # log(1 + r) = 2 artanh(s) = r - s (r - 2 s^2 (1/3 + s^2/5 + ...))
    s = quotient(r, constant_plus(doubled(2), r))
    z = times(s, s)
    odd = _tables()["odd"]
    series = from_float(_horner(z.hi, tuple(c.hi for c in odd[3:])))
    for coefficient in reversed(odd[1:3]):
        series = constant_plus(coefficient, times(series, z))
    series = times(series, z)
    series = Doubled(2 * series.hi, 2 * series.lo)
    value = plus(entry, plus(r, -times(s, plus(r, -series))))
    first, second, third = _tables()["log2"]
    power = k.astype(jnp.float64)
    value = plus(value, Doubled(power * second, rounded(power * third)))
    value = plus(value, from_float(power * first))
    limit = jnp.where(x.hi == 0, -jnp.inf, jnp.where(x.hi > 0, x.hi, jnp.nan))
    return select(ordinary, value, from_float(limit))


@jax.jit
def _log(x: Doubled) -> Doubled:
    return _logarithm(x, add(x, doubled(-1)))


@jax.jit
def _log1p(x: Doubled) -> Doubled:
    return _logarithm(add(x, doubled(1)), x)


@jax.jit
def _sqrt(x: Doubled) -> Doubled:
    hi = jnp.where(
        jnp.abs(x.hi) < 2.0**-1022, 0.0, x.hi
    )  # roots of subnormals can be NaN
    root = rounded(jnp.sqrt(hi))
    rest = plus(x, -times(from_float(root), from_float(root)))
    better = plus(from_float(root), from_float(rounded(rest.hi / (2 * root))))
    return select((hi > 0) & (hi < jnp.inf), better, from_float(root))


def exp(x: Any) -> Doubled:
    """e^x; the absolute rounding of x is all that a large |x| loses."""
    return _exp(as_arrays(x))


def expm1(x: Any) -> Doubled:
    """e^x - 1, relatively accurate near 0."""
    return _expm1(as_arrays(x))


def log(x: Any) -> Doubled:
    """Natural logarithm, relatively accurate near 1; -inf at 0 and NaN below."""
    return _log(as_arrays(x))


def log1p(x: Any) -> Doubled:
    """log(1 + x), relatively accurate near 0; -inf at -1 and NaN below."""
    return _log1p(as_arrays(x))


def sqrt(x: Any) -> Doubled:
    """The square root; NaN below 0."""
    return _sqrt(as_arrays(x))


def _log_quotient(n: Any, d: Any, gap: Any) -> Doubled:
    return _logarithm(as_arrays(n / doubled(d)), as_arrays(gap / doubled(d)))


@jax.jit
def _wright_omega(z: Doubled) -> Doubled:
    # 28 bits, then one step of fourth order (Fritsch, Shafer and Crowley 1973)
    y = from_float(lax.reduce_precision(special.wright_omega(z.hi), 11, 27))
    ordinary = (y.hi > 0) & (y.hi < jnp.inf)
    y = select(ordinary, y, from_float(jnp.ones_like(y.hi)))
    rest = (z - y) - _log(y)
    scale = (1 + y) * (1 + y + rest * ratio(2, 3))
    y = y + y * (rest / (1 + y) * ((scale - rest * 0.5) / (scale - rest)))
    limit = jnp.where(z.hi < 0, 0.0, jnp.where(z.hi > 0, jnp.inf, jnp.nan))
    return select(ordinary, y, from_float(limit))


def wright_omega(z: Any) -> Doubled:
    """The Wright omega function: omega + log omega = z."""
    return _wright_omega(as_arrays(z))


def absolute(x: Any) -> Doubled:
    """The absolute value."""
    x = doubled(x)
    return select(jnp.signbit(x.hi), -x, x)


def _odd(function: Callable[[Doubled], Doubled]) -> Callable[[Any], Doubled]:
    def extended(x: Any) -> Doubled:
        x = as_arrays(x)
        value = function(absolute(x))
        return select(jnp.signbit(x.hi), -value, value)

    return extended


def _sinh(x: Doubled) -> Doubled:
    e = expm1(x)
    return select(x.hi < 100.0, (e + e / (1 + e)) * 0.5, e * 0.5)


def _cosh(x: Any) -> Doubled:
    e = exp(absolute(x))
    return (e + 1 / e) * 0.5


def _tanh(x: Doubled) -> Doubled:
    e = expm1(2 * select(x.hi > 100.0, from_float(jnp.full_like(x.hi, 100.0)), x))
    return e / (e + 2)


TABLE: dict[str, Callable[..., Doubled]] = {
    "exp": exp,
    "log": log,
    "sqrt": sqrt,
    "sinh": _odd(_sinh),
    "cosh": _cosh,
    "tanh": _odd(_tanh),
    "atanh": _odd(lambda x: 0.5 * log1p(2 * x / (1 - x))),
    "Abs": absolute,
    "log1p": log1p,
    "expm1": expm1,
    "log_quotient": _log_quotient,
    "wright_omega": wright_omega,
    "ratio": ratio,
}
"""sympy head -> function of Doubled; ``ratio`` stands for a rational number."""
