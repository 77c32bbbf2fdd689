"""Double-double numbers in JAX: a value as the unevaluated sum of two float64, about 31 digits.

For the few points at which float64 is not enough (a time whose condition number is 1e6). Every
operation is relatively accurate to about 2e-31, functions to 1e-30, while the parts are normal
numbers (values from 1e-275 to 1e300); outside, what underflows is lost. NaN and infinity as usual.

What is relied on, since XLA contracts a*b + c to one rounding (``optimization_barrier`` does not
prevent it), recomputes a fused value in several kernels, and folds (x + 0.1) - 0.1 to x:
- a product is either exact (factors of 26 bits, powers of two), so that contraction changes
  nothing, or has its last bit cleared, an integer operation that no contraction crosses; so has
  every quotient and root, and a float64 array of unknown origin is taken apart as bits;
- terms of a sum pass a selection that depends on the data, which hides constants;
- float additions and subtractions are otherwise not reassociated (they are not fast-math).
So the results are the same bits with and without jit; the tests compare both with exact ones.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from jax import lax

from attnflow.errors import PrecisionError
from attnflow.numeric.precision import traced

_SMALLEST = (
    2.0**-969
)  # above it all 53 bits of a number are multiples of a normal number
DIGITS = 50


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Doubled:
    """The number hi + lo, where lo is at most half a unit in the last place of hi.

    Operands may be other Doubled, Python numbers (exact up to 106 bits), float64 and integer
    arrays (exact), on either side.

    Attributes:
        hi: float64 array, the value rounded.
        lo: float64 array of the same shape, the rest.

    Raises:
        PrecisionError: an array is not float64, or JAX is in 32-bit mode during an operation.
    """

    hi: Any
    lo: Any

    __array_ufunc__ = None  # NumPy arrays and numbers leave the operation to this class
    __array_priority__ = 100

    def __post_init__(self) -> None:
        for part in (self.hi, self.lo):
            dtype = getattr(part, "dtype", np.dtype(np.float64))
            if jnp.issubdtype(dtype, np.floating) and dtype != np.float64:
                raise PrecisionError(f"a Doubled holds float64 parts, got {dtype}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of numbers."""
        return np.shape(self.hi)

    def __add__(self, other: Any) -> "Doubled":
        return add(self, doubled(other))

    __radd__ = __add__

    def __neg__(self) -> "Doubled":
        return Doubled(-self.hi, -self.lo)

    def __sub__(self, other: Any) -> "Doubled":
        return add(self, -doubled(other))

    def __rsub__(self, other: Any) -> "Doubled":
        return add(-self, doubled(other))

    def __mul__(self, other: Any) -> "Doubled":
        return multiply(self, doubled(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Doubled":
        return divide(self, doubled(other))

    def __rtruediv__(self, other: Any) -> "Doubled":
        return divide(doubled(other), self)

    def __pow__(self, power: Any) -> "Doubled":
        if not isinstance(power, int | np.integer):
            return NotImplemented
        if power < 0:
            return reciprocal(self**-power)
        result = None
        square = self
        while power:
            if power & 1:
                result = square if result is None else result * square
            power >>= 1
            if power:
                square = square * square
        return doubled(jnp.ones(self.shape)) if result is None else result

    def __getitem__(self, index: Any) -> "Doubled":
        return Doubled(self.hi[index], self.lo[index])

    def reshape(self, *shape: Any) -> "Doubled":
        """The same numbers in another shape."""
        return Doubled(self.hi.reshape(*shape), self.lo.reshape(*shape))


def doubled(value: Any, rest: Any = None) -> Doubled:
    """A Doubled from a number or an array, exactly; with ``rest``, the sum of both.

    Args:
        value: Doubled, Python int or float (an int to 106 bits), float64 or integer array.
        rest: float64 or integer array or number to add, such as a low part.

    Raises:
        PrecisionError: value is an array of another type, or JAX is in 32-bit mode.
    """
    if not jax.config.jax_enable_x64:
        raise PrecisionError(
            "double-double arithmetic needs float64, but JAX is in 32-bit mode: compute inside "
            "'with jax.enable_x64(True):'"
        )
    if rest is not None:
        return doubled(value) + doubled(rest)
    if isinstance(value, Doubled):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        hi = float(value)
        return Doubled(hi, float(value - int(hi)) if isinstance(value, int) else 0.0)
    dtype = np.dtype(getattr(value, "dtype", object))
    if np.issubdtype(dtype, np.integer):
        high, low = (
            jnp.asarray(part, jnp.float64) for part in (value >> 32, value & 0xFFFFFFFF)
        )
        return Doubled(high * 2.0**32, jnp.zeros_like(high)) + Doubled(
            low, jnp.zeros_like(low)
        )
    if dtype != np.float64:
        raise PrecisionError(
            f"double-double arithmetic takes float64 or integer arrays and Python numbers, got "
            f"{type(value).__name__ if dtype == object else dtype}: a rounded number would pass "
            f"for an exact one"
        )
    value = _settled(value) if traced(value) else jnp.asarray(value)
    return Doubled(value, jnp.zeros_like(value))


def ratio(numerator: int, denominator: int) -> Doubled:
    """A rational number, rounded to double-double (1/3 as a float would have 16 digits)."""
    with mpmath.workdps(DIGITS):
        return constant(mpmath.mpf(numerator) / denominator)


def constant(value: Any) -> Doubled:
    """An mpmath number, rounded to double-double."""
    with mpmath.workdps(DIGITS):
        return Doubled(float(value), float(value - float(value)))


def constants(values: Any) -> Doubled:
    """NumPy constants from nested lists of mpmath numbers."""
    values = np.asarray(values, object)
    with mpmath.workdps(DIGITS):
        return Doubled(
            values.astype(float), (values - values.astype(float)).astype(float)
        )


# --- error-free transformations; see the module's text for why they survive a compiler


def _masked(x: Any, mask: int) -> Any:
    bits = lax.bitcast_convert_type(jnp.asarray(x, jnp.float64), jnp.int64)
    return lax.bitcast_convert_type(bits & mask, jnp.float64)


def rounded(x: Any) -> Any:
    """Keep an inexact product, quotient or root from being contracted; clears its last bit."""
    return _masked(x, -2)


def _split(x: Any) -> tuple[Any, Any]:
    """Nearest number of 26 bits, and the rest, which has 26 bits as well."""
    bits = lax.bitcast_convert_type(jnp.asarray(x, jnp.float64), jnp.int64)
    high = lax.bitcast_convert_type((bits + 2**26) & -(2**27), jnp.float64)
    return high, x - high


def _settled(x: Any) -> Any:
    """The same float64, taken apart as bits and put together by one exact addition."""
    bits = lax.bitcast_convert_type(x, jnp.int64)
    low = bits & (2**27 - 1)
    high = lax.bitcast_convert_type(bits - low, jnp.float64)
    power = lax.bitcast_convert_type(bits & -(1 << 52), jnp.float64)
    ordinary = (jnp.abs(x) >= _SMALLEST) & (jnp.abs(x) < jnp.inf)
    return jnp.where(ordinary, high + (low.astype(jnp.float64) * 2.0**-52) * power, x)


def _two_sum(x: Any, y: Any) -> tuple[Any, Any]:
    s = x + y
    b = s - x
    return s, (x - (s - b)) + (y - b)


def _fast_two_sum(x: Any, y: Any) -> tuple[Any, Any]:
    s = x + y
    return s, y - (s - x)


def _exact_product(x: Any, y: Any) -> tuple[Any, Any]:
    (xh, xl), (yh, yl) = _split(x), _split(y)
    s = xh * yh
    cross = xh * yl + xl * yh
    t, e = _fast_two_sum(s, cross)
    return _fast_two_sum(t, e + xl * yl)  # every product and sum here is exact


def plus(x: Doubled, y: Doubled) -> Doubled:
    """x + y for finite terms that are not constants."""
    s, e = _two_sum(x.hi, y.hi)
    t, f = _two_sum(x.lo, y.lo)
    s, e = _fast_two_sum(s, e + t)
    return Doubled(*_fast_two_sum(s, e + f))


def constant_plus(large: Doubled, y: Doubled) -> Doubled:
    """A constant and a finite term that is smaller."""
    hidden = jnp.where(jnp.isnan(y.hi), y.hi, large.hi)
    s, e = _fast_two_sum(hidden, y.hi)
    return Doubled(*_fast_two_sum(s, e + (y.lo + large.lo)))


def times(x: Doubled, y: Doubled) -> Doubled:
    """Product for finite factors, where the error may reach the smallest normal number."""
    p, e = _exact_product(x.hi, y.hi)
    return Doubled(*_fast_two_sum(p, e + (rounded(x.hi * y.lo) + rounded(x.lo * y.hi))))


def quotient(x: Doubled, y: Doubled) -> Doubled:
    """x/y for finite numbers that are not constants, under the same condition."""
    first = rounded(x.hi / y.hi)
    rest = plus(x, -times(from_float(first), y))
    return Doubled(*_fast_two_sum(first, rounded(rest.hi / y.hi)))


@jax.jit
def add(x: Doubled, y: Doubled) -> Doubled:
    """x + y."""
    plain = jnp.asarray(x.hi + y.hi, jnp.float64)
    undefined = jnp.isnan(plain)
    x, y = (select(undefined, from_float(plain), u) for u in (x, y))  # hides constants
    return select(jnp.abs(plain) < jnp.inf, plus(x, y), from_float(plain))


@jax.jit
def multiply(x: Doubled, y: Doubled) -> Doubled:
    """x y."""
    plain = rounded(x.hi * y.hi)
    size = jnp.minimum(jnp.minimum(jnp.abs(x.hi), jnp.abs(y.hi)), jnp.abs(plain))
    value = times(x, y)
    ok = (size >= _SMALLEST) & (jnp.abs(value.hi) < jnp.inf)
    return select(ok, value, from_float(plain))


@jax.jit
def divide(x: Doubled, y: Doubled) -> Doubled:
    """x/y."""
    first = rounded(x.hi / y.hi)
    rest = add(x, -multiply(from_float(first), y))
    hi, lo = _fast_two_sum(first, rounded(rest.hi / y.hi))
    return select(jnp.abs(hi) < jnp.inf, Doubled(hi, lo), from_float(first))


def from_float(x: Any) -> Doubled:
    """A float64 array as it is: for one that no compiler can contract."""
    return Doubled(x, jnp.zeros_like(x))


def select(condition: Any, x: Doubled, y: Doubled) -> Doubled:
    """x where the condition holds, else y."""
    return Doubled(jnp.where(condition, x.hi, y.hi), jnp.where(condition, x.lo, y.lo))


def as_arrays(x: Any) -> Doubled:
    """``doubled`` with float64 arrays for parts, also from a number."""
    x = doubled(x)
    return Doubled(jnp.asarray(x.hi, jnp.float64), jnp.asarray(x.lo, jnp.float64))


def reciprocal(x: Any) -> Doubled:
    """1/x."""
    return 1 / doubled(x)


# --- sums and Gauss-Legendre constants


def total(a: Doubled, axis: int = -1) -> Doubled:
    """Sum over one axis, in double-double, by pairs."""
    a = Doubled(jnp.moveaxis(a.hi, axis, 0), jnp.moveaxis(a.lo, axis, 0))
    if not a.shape[0]:
        return from_float(jnp.zeros(a.shape[1:]))
    while (count := a.shape[0]) > 1:
        half = count // 2
        pairs = a[:half] + a[half : 2 * half]
        a = jax.tree.map(lambda u, v: jnp.concatenate([u, v]), pairs, a[2 * half :])
    return a[0]


def matvec(matrix: Doubled, vector: Doubled) -> Doubled:
    """Matrix (..., j, k) times vector (..., k), in double-double: shape (..., j)."""
    matrix, vector = as_arrays(matrix), as_arrays(vector)
    return total(matrix * Doubled(vector.hi[..., None, :], vector.lo[..., None, :]))


@lru_cache(maxsize=16)
def gauss_tables(points: int) -> tuple[Doubled, Doubled, Doubled]:
    """Gauss-Legendre quadrature on [0, 1] in double-double, as NumPy constants.

    Args:
        points: number of nodes.

    Returns:
        nodes (points,), weights (points,), and cumulative (points, points), whose entry [j, k] is
        the integral from 0 to node j of the Lagrange polynomial that is 1 at node k.
    """
    with mpmath.workdps(DIGITS):

        def legendre(x: Any) -> list[Any]:  # P_0 .. P_points at 2x - 1
            values = [mpmath.mpf(1), 2 * x - 1]
            for n in range(1, points):
                following = (2 * n + 1) * (2 * x - 1) * values[n] - n * values[n - 1]
                values.append(following / (n + 1))
            return values

        def slope(x: Any) -> Any:  # x (1 - x) d/dx P_n = n (P_{n-1} - (2x - 1) P_n)/2
            *_, before, last = legendre(x)
            return points * (before - (2 * x - 1) * last) / (2 * x * (1 - x))

        nodes, weights = [], []
        for guess in np.polynomial.legendre.leggauss(points)[0]:
            x = (mpmath.mpf(float(guess)) + 1) / 2
            for _ in range(4):  # Newton's method from 15 digits
                x -= legendre(x)[points] / slope(x)
            nodes.append(x)
            weights.append(1 / (slope(x) ** 2 * x * (1 - x)))
        # Lagrange polynomial k is w_k sum_n (2n+1) P_n(x_k) P_n,
        # and (4n+2) P_n = (P_{n+1} - P_{n-1})'
        at = [legendre(x) for x in nodes]
        rise = [
            [2 * x] + [p[n + 1] - p[n - 1] for n in range(1, points)]
            for x, p in zip(nodes, at, strict=True)
        ]
        cumulative = [
            [
                w * mpmath.fdot(p[:points], row) / 2
                for w, p in zip(weights, at, strict=True)
            ]
            for row in rise
        ]
        return constants(nodes), constants(weights), constants(cumulative)
