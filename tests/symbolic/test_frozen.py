"""One part held: the formulas solve their equation and pass through their start."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attnflow.symbolic.algebra.antiderivative import antiderivative
from attnflow.symbolic.algebra.functions import dilog_negexp, kepler, wright_omega
from attnflow.symbolic.algebra.normal_form import agree, vanishes
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.frozen import derive_frozen_classifier, derive_frozen_focus
from attnflow.symbols import C, alpha, alpha0, mu, mu0, rho, t, tau, x, x0
from oracles.zoo import BUILT_IN, HARD, LVML, PENALISED, SOFT, ZOO

SETTING = {alpha: sp.Rational(2, 7), C: 5, rho: sp.Rational(4, 3), tau: sp.Rational(6, 5)}


def _at_start(frozen, variable, start):
    """Whether the time is 0 where the variable has its start."""
    if isinstance(frozen.time, sp.Integral):
        return frozen.time.limits[0][1:] == (start, variable)
    return vanishes(frozen.time.subs(variable, start))


@pytest.mark.parametrize("paradigm", ZOO, ids=str)
def test_time_with_the_focus_held_has_the_flow_as_derivative(paradigm):
    frozen = derive_frozen_focus(paradigm)
    assert vanishes(sp.diff(frozen.time, mu) * derive_flow(paradigm).mu_dot - 1)
    assert _at_start(frozen, mu, mu0)


@pytest.mark.parametrize(
    "paradigm",
    [pytest.param(p, marks=pytest.mark.slow) if p is PENALISED else p for p in ZOO],
    ids=str,
)
def test_time_with_the_classifier_held_has_the_flow_as_derivative(paradigm):
    frozen = derive_frozen_classifier(paradigm)
    velocity = derive_flow(paradigm).nu_dot.subs(alpha, sp.exp(x) / (1 + sp.exp(x)))
    assert agree(sp.diff(frozen.time, x) * velocity, sp.S.One)
    assert _at_start(frozen, x, x0)


@pytest.mark.parametrize("paradigm", BUILT_IN, ids=str)
def test_margin_at_held_focus_is_explicit_and_solves_the_flow(paradigm):
    frozen = derive_frozen_focus(paradigm)
    kind = kepler if paradigm is LVML else wright_omega
    assert frozen.solution.has(kind)
    for start in (-2, 0, 3):
        orbit = frozen.solution.subs(SETTING | {mu0: start})
        assert abs(sp.N(orbit.subs(t, 0), 40) - start) < sp.Float("1e-36")
        for time in (sp.Rational(1, 10), 7, 10**6):
            velocity = derive_flow(paradigm).mu_dot.subs(SETTING).subs(mu, orbit)
            residual = sp.N((sp.diff(orbit, t) / velocity).subs(t, time), 40) - 1
            assert abs(residual) < sp.Float("1e-33")


@pytest.mark.parametrize("paradigm", BUILT_IN, ids=str)
def test_time_at_held_classifier_is_closed(paradigm):
    frozen = derive_frozen_classifier(paradigm)
    assert not frozen.time.has(sp.Integral)
    in_alpha = frozen.time_of_alpha
    assert in_alpha.free_symbols <= {alpha, alpha0, mu, C, rho, tau}
    assert agree(
        frozen.time.subs(x, sp.log(alpha / (1 - alpha))),
        in_alpha.subs(alpha0, sp.exp(x0) / (1 + sp.exp(x0))),
    )


@pytest.mark.parametrize("paradigm", [HARD, LVML], ids=str)
def test_focus_at_held_classifier_is_explicit_by_keplers_equation(paradigm):
    frozen = derive_frozen_classifier(paradigm)
    assert frozen.solution.has(kepler)
    for margin in (-1, 2):
        values = SETTING | {mu: margin, x0: -3}
        orbit = frozen.solution.subs(values)
        assert abs(sp.N(orbit.subs(t, 0), 40) + 3) < sp.Float("1e-36")
        back = frozen.time.subs(values).subs(x, orbit.subs(t, 11))
        assert abs(sp.N(back, 40) - 11) < sp.Float("1e-34")


def test_hard_focus_follows_x_plus_sinh_x():
    gain = sp.log(C * sp.exp(mu) / (sp.exp(mu) + C - 1))
    known = 2 * C / (rho * tau * gain) * (x + sp.sinh(x) - x0 - sp.sinh(x0))
    assert vanishes(derive_frozen_classifier(HARD).time - known)


def test_soft_focus_follows_the_known_exponential_integrals():
    def G(logit):
        weight = sp.exp(logit) / (1 + sp.exp(logit))
        return (
            sp.exp(weight * mu) * (sp.exp(logit) - sp.exp(-logit))
            + (mu + 2) * sp.Ei(weight * mu)
            + (mu - 2) * sp.exp(mu) * sp.Ei(-mu * (1 - weight))
            + (C - 1) * (2 * sp.sinh(logit) + 2 * logit)
        )

    known = C / (rho * tau * (C - 1) * mu) * (G(x) - G(x0))
    assert agree(derive_frozen_classifier(SOFT).time, known)


@pytest.mark.parametrize(
    "integrand",
    [
        mu**3 * sp.exp(-2 * mu),
        1 / (sp.exp(mu) + C),
        sp.exp(3 * mu) / (sp.exp(mu) + C - 1) ** 2,
        sp.exp(-mu) * sp.log(sp.exp(mu) + C),
        mu / (1 + sp.exp(mu)),
        sp.exp(2 * mu) / (mu - C) ** 3,
        (mu**2 + 1) / (mu * (mu + 1) ** 2),
    ],
    ids=str,
)
def test_table_of_antiderivatives_is_right_where_it_answers(integrand):
    found = antiderivative(integrand, mu)
    assert found is not None
    assert agree(sp.diff(found, mu), integrand)


@pytest.mark.parametrize(
    "integrand", [sp.exp(mu**2), sp.log(mu) / (1 + sp.exp(mu)), sp.sqrt(1 + sp.exp(mu))], ids=str
)
def test_table_says_none_where_it_does_not_know(integrand):
    assert antiderivative(integrand, mu) is None


@settings(deadline=None, max_examples=20)
@given(st.fractions(min_value=-5, max_value=5, max_denominator=9), st.integers(1, 3))
def test_table_holds_for_any_exponent(rate, power):
    integrand = mu**power * sp.exp(sp.Rational(rate.numerator, rate.denominator) * mu) + C
    assert vanishes(sp.diff(antiderivative(integrand, mu), mu) - integrand)


def test_kepler_solves_its_equation_and_knows_its_derivatives():
    e, M = sp.Rational(3, 4), sp.Symbol("M", real=True)
    for mean in (-(10**6), -1, 0, sp.Rational(1, 10**9), 3, 10**40):
        value = sp.N(kepler(e, mean), 60)
        assert abs(value + e * sp.sinh(value) - mean) < sp.Float("1e-50") * max(1, abs(mean))
    step = sp.Float("1e-20", 60)
    for function, point in ((kepler(e, M), {M: 2}), (dilog_negexp(M), {M: 1})):
        slope = sp.N(sp.diff(function, M).subs(point), 40)
        shifted = [sp.N(function.subs(M, point[M] + s), 60) for s in (step, -step)]
        assert abs((shifted[0] - shifted[1]) / (2 * step) - slope) < sp.Float("1e-30")
