"""The bridge from sympy to JAX: every entry of its table against mpmath, and what it refuses."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy as sp

from attnflow import symbols as names
from attnflow.errors import UnknownFunction
from attnflow.numeric.lower import TABLE, lower
from attnflow.numeric.trajectory import STATE
from attnflow.symbolic.algebra import functions
from attnflow.symbolic.algebra.float_form import stable, textbook
from attnflow.symbolic.catalogue import power_mean
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbols import B, C, alpha, attention, complement, inattention, mu, nu, probability

u, v = sp.symbols("u v", real=True)
REAL = (-30.0, -1.3, -1e-9, 0.25, 2.0, 40.0)
POSITIVE = (1e-12, 0.3, 1.0 + 1e-9, 7.0, 1e15)
WITHIN_ONE = (-0.999, -1e-7, 0.5)
FEW_ULP = 3e-15  # a library function or three in a row

ENTRIES = {
    "exp": (sp.exp(u), mpmath.exp, REAL),
    "log": (sp.log(u), mpmath.log, POSITIVE),
    "sqrt": (sp.sqrt(u), mpmath.sqrt, POSITIVE),
    "sinh": (sp.sinh(u), mpmath.sinh, REAL),
    "cosh": (sp.cosh(u), mpmath.cosh, REAL),
    "tanh": (sp.tanh(u), mpmath.tanh, REAL),
    "asinh": (sp.asinh(u), mpmath.asinh, REAL),
    "acosh": (sp.acosh(u), mpmath.acosh, (1.5, 7.0, 1e15)),
    "atanh": (sp.atanh(u), mpmath.atanh, WITHIN_ONE),
    "sin": (sp.sin(u), mpmath.sin, REAL),
    "cos": (sp.cos(u), mpmath.cos, REAL),
    "tan": (sp.tan(u), mpmath.tan, REAL),
    "atan": (sp.atan(u), mpmath.atan, REAL),
    "erf": (sp.erf(u), mpmath.erf, REAL),
    "erfc": (functions.erfc(u), mpmath.erfc, REAL),
    "Abs": (sp.Abs(u), abs, REAL),
    "sign": (sp.sign(u), mpmath.sign, (*REAL, 0.0)),
    "Max": (sp.Max(u, 1, v), lambda w: max(w, mpmath.mpf(1), mpmath.mpf(2) / 3), REAL),
    "Min": (sp.Min(u, 1, v), lambda w: min(w, mpmath.mpf(2) / 3), REAL),
    "log1p": (functions.log1p(u), mpmath.log1p, (-0.999, -1e-300, 1e-12, 3.0, 1e15)),
    "expm1": (functions.expm1(u), mpmath.expm1, (*REAL, 1e-300)),
    "log_quotient": (
        functions.log_quotient(u, v, u - v),
        lambda w: mpmath.log(w / mpmath.mpf(2 / 3)),
        POSITIVE,
    ),
    "wright_omega": (
        functions.wright_omega(u),
        lambda w: mpmath.lambertw(mpmath.exp(w)).real,
        REAL,
    ),
    "Ei": (sp.Ei(u), mpmath.ei, (-30.0, -1e-9, 0.25, 2.0, 40.0)),
}


def test_every_entry_of_the_table_is_tried():
    assert set(ENTRIES) == set(TABLE)


@pytest.mark.parametrize("head", ENTRIES)
def test_an_entry_has_the_value_of_its_head(head):
    expr, reference, points = ENTRIES[head]
    if head not in ("sqrt", "Max", "Min"):  # sqrt is a power, Max and Min are no sp.Function
        assert head in {type(e).__name__ for e in expr.atoms(sp.Function)}
    with mpmath.workdps(40):
        wanted = [float(reference(mpmath.mpf(p))) for p in points]
    with jax.enable_x64(True):
        found = lower(expr, (u, v), as_written=True)(
            jnp.array(points), jnp.full(len(points), 2 / 3)
        )
        assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, wanted, rtol=FEW_ULP)


@pytest.mark.parametrize("head", sorted(set(ENTRIES) - {"sign"}))
def test_an_entry_survives_stable_and_keeps_its_derivative(head):
    expr, reference, points = ENTRIES[head]
    inner = points[1:-1]  # away from overflow and from the end of the domain
    with mpmath.workdps(40):
        wanted = [float(reference(mpmath.mpf(p))) for p in inner]
        slopes = [
            float(mpmath.diff(reference, mpmath.mpf(p), h=mpmath.mpf(10) ** -17)) for p in inner
        ]
    with jax.enable_x64(True):
        function = lower(expr, (u, v))
        other = jnp.asarray(2 / 3)
        found = [function(jnp.asarray(p), other) for p in inner]
        grown = [jax.grad(function)(jnp.asarray(p), other) for p in inner]
    np.testing.assert_allclose(found, wanted, rtol=FEW_ULP)
    # differences of half of 40 digits; jax.grad of a quotient of exponentials loses some ulp
    np.testing.assert_allclose(grown, slopes, rtol=1e-13)


def test_the_dtype_follows_the_inputs():
    assert lower(probability, (mu, C))(jnp.float32(1), jnp.float32(3)).dtype == jnp.float32
    with jax.enable_x64(True):
        assert lower(probability, (mu, C))(jnp.float64(1), jnp.float64(3)).dtype == jnp.float64


def test_an_unknown_function_is_refused_by_name_and_the_known_are_listed():
    unknown = sp.Function("swish")
    with pytest.raises(UnknownFunction, match=r"^no JAX function is known for swish in .*swish\("):
        lower(unknown(alpha * mu) + sp.exp(mu), (alpha, mu))
    with pytest.raises(UnknownFunction, match=r"known for besselj, gamma in .*; known: Abs, Ei, "):
        lower(sp.besselj(0, mu) + sp.gamma(mu), (mu,))
    with pytest.raises(UnknownFunction, match=r"^no JAX function is known for Integral in "):
        lower(sp.Integral(sp.besselj(0, u), (u, 0, mu)).replace(sp.besselj, lambda n, w: w), (mu,))


HEADS = ["acos", "asin", "asec", "acsc", "acot", "sec", "csc", "cot"]
HYPERBOLIC = ["sech", "csch", "coth", "asech", "acsch", "acoth", "acosh", "atanh"]


@pytest.mark.parametrize("head", [*HEADS, *HYPERBOLIC])
def test_functions_without_an_entry_are_spelt_by_those_that_have_one(head):
    """Of the probability p of the true class, from its start at 1/C to 1 - 1e-16."""
    inside = 1 / probability if head in ("asec", "acsc", "acoth", "acosh") else probability
    values = np.array([0.0, 1e-3, 1.0, 5.0, 20.0, 37.0])
    with mpmath.workdps(60):
        chances = [1 / (1 + 9 * mpmath.exp(-mpmath.mpf(w))) for w in values]
        arguments = [1 / w if inside is not probability else w for w in chances]
        wanted = [float(getattr(mpmath, head)(w).real) for w in arguments]
    with jax.enable_x64(True):
        found = lower(getattr(sp, head)(inside), (mu, C))(jnp.array(values), 10.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


def test_a_symbol_that_is_no_argument_is_refused_by_name():
    sentence = r"^the expression holds C, nu, which is not among the arguments alpha, mu$"
    with pytest.raises(UnknownFunction, match=sentence):
        lower(C * nu * mu, (alpha, mu))


def test_focus_weights_are_positive_and_add_to_one_at_any_score():
    scores = np.array([-745.0, -40.0, 0.0, 40.0, 745.0])
    with jax.enable_x64(True):
        parts = [
            lower(w, (nu, B), as_written=True)(jnp.array(scores), jnp.asarray(3.0))
            for w in (attention, inattention)
        ]
    with mpmath.workdps(400):
        wanted = [
            [float(1 / (1 + 3**s * mpmath.exp(-s * mpmath.mpf(x)))) for x in scores]
            for s in (1, -1)
        ]
    np.testing.assert_allclose(parts, wanted, rtol=1e-15, atol=1e-320)


@pytest.mark.parametrize(
    ("expr", "point", "wanted"),
    [
        # the values that naive spelling loses, exact to first order in the small number
        (sp.log(C * probability), {mu: 1e-13, C: 4.0}, 0.75e-13),
        (1 - probability, {mu: 800.0, C: 2.0}, 0.0),
        (-sp.log(alpha * probability + (1 - alpha) / C), {alpha: 1.0, mu: 40.0, C: 3.0}, None),
        ((1 - alpha) * mu, {alpha: 1.0, complement: 1e-30, mu: 2.0}, 2e-30),
        (C * probability - 1, {mu: 1e-13, C: 4.0}, 0.75e-13),
    ],
    ids=str,
)
def test_lowered_forms_keep_the_digits_that_a_paper_spelling_loses(expr, point, wanted):
    if wanted is None:
        wanted = 2 * np.exp(-40.0)  # -log(1 - 2 e^-40)
    values = {complement: 0.0, alpha: 0.5, C: 3.0} | point
    arguments = (alpha, complement, mu, C)
    with jax.enable_x64(True):
        found = lower(expr, arguments)(*(jnp.asarray(values[a], jnp.float64) for a in arguments))
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(
    "expr",
    [
        sp.erf(alpha * mu),
        -sp.log((1 + sp.erf(alpha * mu)) / 2),
        sp.diff(-sp.log((1 + sp.erf(alpha * mu)) / 2), mu),
        sp.sin(alpha * mu) / (1 + alpha * sp.exp(mu)),
        sp.log(mu) * alpha + sp.log(sp.log(mu + 3) * alpha + 1),
        sp.Max(alpha * mu, sp.exp(-mu) * (1 - alpha)),
        sp.atan(alpha * mu) ** 2 / (C + sp.atan(alpha * mu)),
    ],
    ids=str,
)
def test_functions_that_stable_does_not_know_stay_whole_around_alpha_and_mu(expr):
    point = {alpha: sp.Rational(3, 8), mu: sp.Rational(5, 4), C: sp.Integer(3)}
    arguments = (alpha, complement, mu, C)
    values = (0.375, 0.625, 1.25, 3.0)
    assert not stable(expr).has(sp.Dummy)
    with jax.enable_x64(True):
        found = lower(expr, arguments)(*(jnp.asarray(x) for x in values))
    np.testing.assert_allclose(found, float(sp.N(expr.subs(point), 30)), rtol=FEW_ULP)


@pytest.mark.parametrize(
    "exponent",
    [
        *("-5/4", "2/3", "7/3"),
        *(pytest.param(e, marks=pytest.mark.slow) for e in ("-3/4", "-1/3", "3/4", "5/4")),
    ],
)
def test_drive_and_pace_of_any_power_mean_keep_their_digits(exponent):
    paradigm = power_mean(exponent)
    slope = derive_first_integral(paradigm).slope
    pace = 1 / derive_flow(paradigm).mu_dot.subs(names.tau, 1)
    drive, rate = lower(slope, (names.mu, names.C)), lower(pace, (*STATE,))
    for margin in (1e-6, 0.5, 5.0, 40.0):
        for classes in (2.0, 20.0, 1e6):
            point = {names.mu: sp.Rational(margin), names.C: sp.Rational(classes)}
            with jax.enable_x64(True):
                found = [
                    float(f(*map(np.float64, values)))
                    for f, values in (
                        (drive, (margin, classes)),
                        (rate, (0.25, 0.75, margin, classes)),
                    )
                ]
            point[names.alpha] = sp.Rational(1, 4)
            wanted = [float(sp.N(textbook(e).subs(point), 60, maxn=400)) for e in (slope, pace)]
            np.testing.assert_allclose(found, wanted, rtol=1e-13)
