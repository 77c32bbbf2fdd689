"""Double-double arithmetic against exact and 60-digit references, compiled in every way."""

from collections.abc import Callable, Iterator
from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from attnflow.errors import PrecisionError, UnknownFunction
from attnflow.numeric import doubled as arithmetic
from attnflow.numeric import doubled_functions as functions
from attnflow.numeric.doubled import (
    Doubled,
    doubled,
    gauss_tables,
    matvec,
    ratio,
    total,
)
from attnflow.numeric.lower import lower
from attnflow.symbolic.functions import log_quotient

WORKING = mpmath.MPContext()
WORKING.dps = 60
ULP = 2.0**-104  # 4.9e-32: the spacing of double-double numbers at 1, doubled
POINTS = 4000


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """64-bit numbers for each test and only there."""
    with jax.enable_x64(True):
        yield


def numbers(
    size: int, low: float, high: float, seed: int = 0, sign: bool = True
) -> Doubled:
    """Random numbers of all 106 bits, their logarithms (base 10) uniform between two bounds."""
    rng = np.random.default_rng(seed)
    hi = 10.0 ** rng.uniform(low, high, size) * (
        rng.choice([-1.0, 1.0], size) if sign else 1.0
    )
    lo = hi * 2.0**-54 * rng.uniform(-1, 1, size)
    return Doubled(jnp.asarray(hi), jnp.asarray(lo))


def uniform(size: int, low: float, high: float, seed: int = 0) -> Doubled:
    rng = np.random.default_rng(seed)
    hi = rng.uniform(low, high, size)
    return Doubled(
        jnp.asarray(hi), jnp.asarray(hi * 2.0**-54 * rng.uniform(-1, 1, size))
    )


def positive(size: int, low: float, high: float, seed: int = 0) -> Doubled:
    return numbers(size, low, high, seed, sign=False)


def exact(x: Doubled) -> list[Fraction]:
    parts = zip(np.ravel(x.hi).tolist(), np.ravel(x.lo).tolist(), strict=True)
    return [Fraction(hi) + Fraction(lo) for hi, lo in parts]


def mpf(x: Doubled) -> list[mpmath.mpf]:
    parts = zip(np.ravel(x.hi).tolist(), np.ravel(x.lo).tolist(), strict=True)
    return [WORKING.mpf(hi) + WORKING.mpf(lo) for hi, lo in parts]


def worst(value: list, reference: list) -> float:
    """Largest relative error; where the reference is 0, the value must be."""
    return max(
        float(abs(a - b) / abs(b)) if b else (0.0 if a == 0 else np.inf)
        for a, b in zip(value, reference, strict=True)
    )


def same_bits(x: Doubled, y: Doubled) -> bool:
    return all(
        np.array_equal(np.asarray(u).view(np.int64), np.asarray(v).view(np.int64))
        for u, v in ((x.hi, y.hi), (x.lo, y.lo))
    )


def stepwise(function: Callable, *operands: Doubled) -> Doubled:
    """Evaluated operation by operation: nothing can be fused."""
    with jax.disable_jit():
        return function(*operands)


OPERATIONS = {
    "sum": lambda x, y: x + y,
    "difference": lambda x, y: x - y,
    "product": lambda x, y: x * y,
    "quotient": lambda x, y: x / y,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_arithmetic_is_relatively_accurate(name):
    x, y = numbers(POINTS, -20, 20, 1), numbers(POINTS, -20, 20, 2)
    # terms of unlike size and terms that cancel 40 bits
    close = Doubled(x.hi * (1 + 2.0**-40), x.lo)
    for other in (y, close, -close):
        result = jax.jit(OPERATIONS[name])(x, other)
        pairs = zip(exact(x), exact(other), strict=True)
        assert (
            worst(exact(result), [OPERATIONS[name](u, v) for u, v in pairs]) < 4 * ULP
        )


@pytest.mark.parametrize("name", OPERATIONS)
def test_large_and_small_numbers_keep_their_digits(name):
    for low, high in ((-136, -120), (120, 148)):
        x, y = numbers(500, low, high, 3), numbers(500, low, high, 4)
        result = jax.jit(OPERATIONS[name])(x, y)
        pairs = zip(exact(x), exact(y), strict=True)
        assert (
            worst(exact(result), [OPERATIONS[name](u, v) for u, v in pairs]) < 4 * ULP
        )


def test_error_free_transformations_stay_exact_where_they_are_fused():
    """Fails with a compiler that contracts or reassociates what the module relies on."""
    x, y, z = (numbers(POINTS, -3, 3, seed).hi for seed in (5, 6, 7))
    X, Y = ([Fraction(v) for v in u.tolist()] for u in (x, y))
    p, e = jax.jit(arithmetic._exact_product)(x, y)
    alone = jax.jit(lambda x, y: arithmetic._exact_product(x, y)[1])(x, y)
    assert [
        Fraction(a) + Fraction(b) for a, b in zip(p.tolist(), e.tolist(), strict=True)
    ] == [u * v for u, v in zip(X, Y, strict=True)]
    assert np.array_equal(e, alone)
    # products of floats of unknown origin, which XLA would contract with the sum that follows
    mixed = jax.jit(lambda x, y, z: (x * y) + Doubled(z, jnp.zeros_like(z)))(x, y, z)
    rounded = [
        Fraction(u) + Fraction(v)
        for u, v in zip(
            (np.asarray(x) * np.asarray(y)).tolist(), z.tolist(), strict=True
        )
    ]
    assert worst(exact(mixed), rounded) < 4 * ULP


@pytest.mark.parametrize("constant", [0.1, 1, -3, 1e-9, 12345.678])
def test_constants_are_not_folded_into_the_sums(constant):
    x = numbers(500, -6, 6, 8)
    c = Fraction(constant)
    third = Doubled(1 / 3, float(Fraction(1, 3) - Fraction(1 / 3)))
    for function, reference in (
        (lambda x: constant + x, lambda u: c + u),
        (
            lambda x: (x + constant) - constant * 2,
            lambda u: u + c - Fraction(constant * 2),
        ),
        (lambda x: constant - x, lambda u: c - u),
        (lambda x: third + x + third, lambda u: u + 2 * Fraction(1, 3)),
        (lambda x: constant / x * constant, lambda u: c / u * c),
        (lambda x: (x * constant) * 3, lambda u: u * c * 3),
    ):
        scale = max(abs(c), 1)
        errors = [
            abs(a - reference(u)) / (abs(reference(u)) + abs(u) + scale)
            for a, u in zip(exact(jax.jit(function)(x)), exact(x), strict=True)
        ]
        assert float(max(errors)) < 6 * ULP


def expression(x: Doubled, y: Doubled) -> Doubled:
    e = functions.exp(x * 0.01)
    return (e + 2.5) * (1 + 1 / y) - y / functions.sqrt(3 + e)


def test_the_same_bits_come_in_every_way_of_compiling():
    x, y = numbers(64, -3, 2, 9), numbers(64, -3, 2, 10)
    reference = stepwise(expression, x, y)
    assert same_bits(jax.jit(expression)(x, y), reference)
    assert same_bits(jax.jit(jax.vmap(expression))(x, y), reference)
    assert same_bits(lax.map(lambda pair: expression(*pair), (x, y)), reference)

    def body(state):
        i, x, y, _ = state
        return i + 1, x, y, expression(x, y)

    looped = jax.jit(
        lambda x, y: lax.while_loop(lambda s: s[0] < 2, body, (0, x, y, x))[3]
    )
    assert same_bits(looped(x, y), reference)
    for i in (0, 17):
        assert same_bits(jax.jit(expression)(x[i], y[i]), reference[i])
    logarithm = functions.TABLE["log1p"]
    assert same_bits(
        jax.jit(lambda x: logarithm(x * x + 0.1))(x),
        stepwise(lambda x: logarithm(x * x + 0.1), x),
    )
    # only one of the parts asked for: compiled on its own, it must still belong to the other
    assert np.array_equal(jax.jit(lambda x, y: expression(x, y).hi)(x, y), reference.hi)
    assert np.array_equal(jax.jit(lambda x, y: expression(x, y).lo)(x, y), reference.lo)


FUNCTIONS: dict[str, tuple[Callable, list[tuple]]] = {  # reference, samples
    "exp": (WORKING.exp, [(uniform, -600, 700), (uniform, -3, 3), (numbers, -270, 0)]),
    "expm1": (
        WORKING.expm1,
        [(uniform, -600, 700), (uniform, -3, 3), (numbers, -270, 0)],
    ),
    "log": (WORKING.log, [(positive, -270, 300), (uniform, 0.4, 2.5)]),
    "log1p": (
        WORKING.log1p,
        [(positive, -270, 300), (uniform, -0.99, 2), (numbers, -270, -1)],
    ),
    "sqrt": (WORKING.sqrt, [(positive, -270, 300)]),
    "sinh": (WORKING.sinh, [(numbers, -270, 2.5)]),
    "cosh": (WORKING.cosh, [(numbers, -270, 2.5)]),
    "tanh": (WORKING.tanh, [(numbers, -270, 2.5)]),
    "atanh": (WORKING.atanh, [(numbers, -270, -0.01)]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_relatively_accurate(name):
    reference, samples = FUNCTIONS[name]
    for sample, low, high in samples:
        x = sample(1000, low, high)
        value = jax.jit(functions.TABLE[name])(x)
        assert worst(mpf(value), [reference(u) for u in mpf(x)]) < 2e-31


def test_log_near_one_and_log_quotient_keep_their_digits():
    gap = numbers(1000, -30, -1, 11)
    x = 1 + gap
    value = functions.log(x)
    assert worst(mpf(value), [WORKING.log(u) for u in mpf(x)]) < 2e-31
    d = positive(1000, -3, 3, 12)
    small = d * gap
    value = functions.TABLE["log_quotient"](d + small, d, small)
    pairs = zip(mpf(small), mpf(d), strict=True)
    assert worst(mpf(value), [WORKING.log1p(s / u) for s, u in pairs]) < 4e-31
    n = positive(1000, -20, 20, 13)
    value = functions.TABLE["log_quotient"](n, d, n - d)
    pairs = zip(mpf(n), mpf(d), strict=True)
    assert worst(mpf(value), [WORKING.log(u / v) for u, v in pairs]) < 4e-31


def test_the_smallest_arguments_come_back():
    x = doubled(jnp.array([1e-300, -1e-300, 3e-305, 0.0]))
    for function in (functions.expm1, functions.log1p):
        assert np.array_equal(function(x).hi, x.hi)
        assert not np.any(function(x).lo)


def test_the_edges_are_limits_and_not_nan():
    infinity = np.inf
    x = doubled(jnp.array([0.0, infinity, -infinity, 800.0, -800.0]))
    assert functions.exp(x).hi.tolist() == [1, infinity, 0, infinity, 0]
    assert functions.expm1(x).hi.tolist() == [0, infinity, -1, infinity, -1]
    x = doubled(jnp.array([0.0, infinity, 1.0, 5e-324]))
    assert functions.log(x).hi.tolist() == [-infinity, infinity, 0, -infinity]
    assert functions.sqrt(x).hi.tolist() == [0, infinity, 1, 0]
    assert (1 / x).hi.tolist()[:3] == [infinity, 0, 1]
    assert functions.log1p(doubled(jnp.array([-1.0, infinity]))).hi.tolist() == [
        -infinity,
        infinity,
    ]
    x = doubled(jnp.array([infinity, -infinity]))
    for result in (x + 1, 1 + x, x - 3, x * 2, 2 * x, x / 7, x + x, x * x * x):
        assert result.hi.tolist() == [infinity, -infinity]
        assert not np.any(result.lo)
    outside = [functions.log(doubled(-1.0)), functions.log1p(doubled(-2.0)), x - x]
    outside += [functions.sqrt(doubled(-1.0)), functions.exp(doubled(np.nan)), x * 0]
    assert all(np.all(np.isnan(result.hi)) for result in outside)


def test_wright_omega_solves_its_equation():
    for z in (uniform(300, -200, 0), uniform(300, -3, 60), positive(300, 1, 12)):
        omega = mpf(functions.wright_omega(z))
        for w, u in zip(omega, mpf(z), strict=True):
            # the condition number of omega is |z|/(1 + omega)
            assert abs(w + WORKING.log(w) - u) < 4e-31 * (1 + abs(u) + w)
    limits = functions.wright_omega(doubled(jnp.array([-np.inf, np.inf, -1e4]))).hi
    assert limits.tolist() == [0, np.inf, 0]


PARTS = st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-12)


@settings(max_examples=60, deadline=None)
@given(PARTS, PARTS, PARTS, st.integers(-4, 7))
def test_algebraic_identities(a, b, c, power):
    with jax.enable_x64(True):
        x, y, z = (
            ratio(1, 3) * jnp.asarray(a),
            doubled(jnp.asarray(b), 1e-7),
            doubled(c),
        )
        size = (abs(a) + abs(b) + abs(c) + 1) ** 2
        for difference in ((x + y) - (y + x), x * y - y * x, x - x, -(y - x) - (x - y)):
            assert float(difference.hi) == 0
        for difference in ((x + y) * z - (x * z + y * z), (x + y) + z - (x + (y + z))):
            assert abs(float(difference.hi)) < 8 * ULP * size
        if b:
            assert abs(float(((x / y) * y - x).hi)) < 8 * ULP * size
            assert worst(exact(y**power), [exact(y)[0] ** power]) < 40 * ULP


def test_arrays_and_numbers_stand_on_either_side():
    x = numbers(5, -1, 1, 14)
    floats = np.arange(1.0, 6.0)
    for other in (
        floats,
        jnp.asarray(floats),
        floats.astype(np.int64),
        3,
        0.1,
        np.float64(0.1),
    ):
        for name, operation in OPERATIONS.items():
            there, back = operation(x, other), operation(other, x)
            assert isinstance(there, Doubled) and isinstance(back, Doubled), name
            values = np.broadcast_to(np.asarray(other), (5,)).tolist()
            pairs = list(zip(exact(x), map(Fraction, values), strict=True))
            assert worst(exact(there), [operation(u, v) for u, v in pairs]) < 4 * ULP
            assert worst(exact(back), [operation(v, u) for u, v in pairs]) < 4 * ULP
    traced = jax.jit(lambda a, x: a * x + a)(jnp.asarray(floats), x)
    assert same_bits(traced, jnp.asarray(floats) * x + floats)


def test_integers_enter_exactly():
    for value in (2**90 + 1, -(2**100) + 7, 10**30, 3):
        assert exact(doubled(value)) == [value]
    array = np.array([2**62 + 1, -(2**53) - 1, 5])
    assert exact(doubled(array)) == array.tolist()


def test_shapes_follow_the_parts():
    x = numbers(6, -1, 1, 15)
    assert x.reshape(2, 3).shape == (2, 3)
    assert same_bits(x.reshape(2, 3)[1], x[3:])
    leaves, treedef = jax.tree.flatten(x)
    assert same_bits(jax.tree.unflatten(treedef, leaves), x)


def test_sums_and_products_with_matrices_lose_nothing():
    rng = np.random.default_rng(16)
    for count in (1, 2, 7, 24):
        a = numbers(count, -8, 8, count)
        value, reference = exact(total(a)), sum(exact(a))
        assert abs(value[0] - reference) <= 8 * ULP * sum(map(abs, exact(a)))
    a = numbers(12, 0, 2, 17).reshape(3, 4)
    assert (
        worst(exact(total(a, 0)), np.array(exact(a)).reshape(3, 4).sum(0).tolist())
        < 1e-28
    )
    vector = doubled(rng.standard_normal(4))
    reference = np.array(exact(a)).reshape(3, 4) @ np.array(exact(vector))
    assert worst(exact(matvec(a, vector)), reference.tolist()) < 1e-28
    assert total(a[:, :0], 1).hi.tolist() == [0, 0, 0]


@pytest.mark.parametrize("points", [1, 2, 9, 24])
def test_gauss_tables_integrate_polynomials_to_31_digits(points):
    nodes, weights, cumulative = gauss_tables(points)
    x, w = np.array(mpf(nodes)), np.array(mpf(weights))
    matrix = np.array(mpf(cumulative)).reshape(points, points)
    for power in range(2 * points):
        assert abs((w * x**power).sum() - WORKING.mpf(1) / (power + 1)) < 2e-32
    for power in range(points):
        assert max(abs(matrix @ x**power - x ** (power + 1) / (power + 1))) < 2e-32
    assert gauss_tables(points) is gauss_tables(points)
    assert isinstance(nodes.hi, np.ndarray)


def test_gauss_tables_integrate_under_compilation():
    nodes, weights, cumulative = gauss_tables(24)
    values = functions.exp(doubled(nodes))
    integral = jax.jit(lambda v: total(weights * v))(values)
    assert worst(mpf(integral), [WORKING.e - 1]) < 4e-32 * 4
    reference = [WORKING.expm1(x) for x in mpf(nodes)]
    running = jax.jit(lambda v: matvec(cumulative, v))(values)
    errors = [abs(a - b) for a, b in zip(mpf(running), reference, strict=True)]
    assert max(errors) < 2e-31


def test_an_expression_is_lowered_with_exact_rationals():
    x = sp.Symbol("x", positive=True)
    expr = (
        x / 3
        + sp.sqrt(x) / 7
        + x**2 / 2
        + sp.sqrt(2)
        + sp.E / x
        + log_quotient(x, 3, x - 3)
    )
    function = lower(expr, (x,), as_written=True, exact=True)
    points = uniform(20, 0.5, 4)
    reference = [
        u / 3
        + WORKING.sqrt(u) / 7
        + u * u / 2
        + WORKING.sqrt(2)
        + WORKING.e / u
        + WORKING.log(u / 3)
        for u in mpf(points)
    ]
    assert worst(mpf(jax.jit(function)(points)), reference) < 4e-31


def test_lowering_refuses_what_would_be_rounded_or_is_unknown():
    x = sp.Symbol("x")
    with pytest.raises(UnknownFunction, match="erf"):
        lower(sp.erf(x), (x,), exact=True)
    with pytest.raises(UnknownFunction, match="constant pi is not known"):
        lower(sp.pi * x, (x,), exact=True)


def test_float32_is_refused():
    single = np.ones(3, np.float32)
    with pytest.raises(PrecisionError, match="holds float64 parts, got float32"):
        Doubled(single, single)
    with pytest.raises(PrecisionError, match="float64 or integer arrays.*got float32"):
        doubled(jnp.asarray(single))
    with pytest.raises(PrecisionError, match="got float32"):
        numbers(3, 0, 1) * jnp.asarray(single)
    with pytest.raises(PrecisionError, match="got bool"):
        doubled(np.array([True]))
    with pytest.raises(PrecisionError, match="got str"):
        doubled("1")


def test_32_bit_mode_is_refused():
    x = numbers(3, 0, 1)
    with jax.enable_x64(False), pytest.raises(PrecisionError, match="enable_x64"):
        x + 1
