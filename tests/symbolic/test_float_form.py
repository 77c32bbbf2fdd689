"""Stable forms: the value of the textbook form, in float64 as well, in every corner."""

from functools import lru_cache

import jax
import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attnflow.numeric.trajectory import STATE, lowered_loss, lowered_velocity
from attnflow.symbolic.algebra.float_form import stable, textbook
from attnflow.symbolic.algebra.normal_form import agree
from attnflow.symbolic.catalogue import power_mean
from attnflow.symbolic.first_integral import derive_first_integral
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import C, alpha, beta, complement, mu, probability, rho, tau
from oracles.zoo import BUILT_IN, LVML, SEPARABLE, SOFT, ZOO

MARGINS = (0.0, 1e-12, 1e-6, 0.1, -1.5, 3.0, 40.0)
SCORES = (-30.0, -2.0, 0.0, 5.0, 30.0)  # logits of alpha: 1e-13 to 1 - 1e-13
CLASSES = (2.0, 3.0, 1000.0, 1e6)


COMPOSED = (
    Paradigm("root", sp.sqrt(SOFT.loss)),
    Paradigm("root-log", sp.sqrt(sp.log(1 + SOFT.loss))),
    Paradigm("log-lvml", sp.log(1 + LVML.loss)),
    Paradigm("tanh", 1 - sp.tanh(alpha * mu)),
    Paradigm("probit", -sp.log((1 + sp.erf(alpha * mu)) / 2)),
    next(p for p in SEPARABLE if p.name == "label-smoothed"),
)
"""Logarithms within roots and logarithms, and functions that approach a constant."""


def quantities(paradigm):
    flow = derive_flow(paradigm)
    return paradigm.expanded, flow.mu_dot, flow.nu_dot


@pytest.mark.parametrize("paradigm", ZOO, ids=str)
def test_stable_form_has_the_value_of_the_textbook_form(paradigm):
    for quantity in quantities(paradigm):
        form = stable(quantity)
        assert agree(textbook(form), quantity)


@settings(deadline=None, max_examples=8)
@given(st.fractions(min_value=-1, max_value=1, max_denominator=6).filter(bool))
def test_stable_form_of_any_power_mean(exponent):
    paradigm = power_mean(sp.Rational(exponent.numerator, exponent.denominator))
    for quantity in quantities(paradigm):
        assert agree(textbook(stable(quantity)), quantity)


@lru_cache
def exact(expr):
    """The expression as written, in mpmath; 1 - alpha comes in without rounding."""
    return sp.lambdify((alpha, mu, C, rho, tau), expr.subs(beta, probability), modules="mpmath")


def corners():
    for classes in CLASSES:
        for score in SCORES:
            for margin in MARGINS:
                yield classes, score, margin


@pytest.mark.parametrize("paradigm", (*BUILT_IN, *COMPOSED), ids=str)
def test_lowered_forms_hold_thirteen_digits_in_every_corner(paradigm):
    points = np.array(list(corners()))
    reference = np.empty((3, len(points)))
    with mpmath.workdps(80 if paradigm in BUILT_IN else 800):  # erfc(40) is 1e-697
        for i, (classes, score, margin) in enumerate(points):
            weight = 1 / (1 + mpmath.exp(-mpmath.mpf(score)))
            values = (weight, mpmath.mpf(margin), mpmath.mpf(classes), 1, 1)
            reference[:, i] = [float(exact(q)(*values)) for q in quantities(paradigm)]
        weights = [float(1 / (1 + mpmath.exp(-mpmath.mpf(s)))) for s in points[:, 1]]
        rest = [float(1 / (1 + mpmath.exp(mpmath.mpf(s)))) for s in points[:, 1]]
    with jax.enable_x64(True):
        state = (np.array(weights), np.array(rest), points[:, 2], points[:, 0])
        assert STATE == (alpha, complement, mu, C)
        found = [lowered_loss(paradigm)(*state)]
        found += lowered_velocity(paradigm)(*state, np.ones(len(points)), np.ones(len(points)))
        found = np.array([np.broadcast_to(np.asarray(f), len(points)) for f in found])
    assert found.dtype == np.float64
    # atol: what 80 digits leave of log(1) in the reference at mu = 0
    np.testing.assert_allclose(found, reference, rtol=1e-13, atol=1e-70)


def test_logarithms_are_merged_without_raising_their_arguments_to_powers():
    # 9 log p + log((1 - p)/(C - 1)) as one logarithm would hold (e^mu + C - 1)^10
    form = stable(COMPOSED[-1].loss)
    assert all(abs(e.exp) == 1 for e in form.atoms(sp.Pow))


@pytest.mark.parametrize("paradigm", SEPARABLE[:4], ids=str)
def test_slope_of_the_potential_is_odd_to_first_order_and_stable_at_zero(paradigm):
    slope = derive_first_integral(paradigm).slope
    assert not stable(slope).has(complement)
    assert sp.N(textbook(slope).subs({mu: 0, C: 7}), 30) == 0
    rate = sp.diff(textbook(slope), mu).subs({mu: 0, C: 7})
    # Q = mu + O(mu^2) for every averaged quantity, since psi is linear near 0
    assert abs(sp.N(rate - sp.Rational(6, 7), 30)) < sp.Float("1e-25")


def test_one_minus_alpha_is_never_a_subtraction_in_a_stable_flow():
    for paradigm in BUILT_IN:
        form = stable(derive_flow(paradigm).nu_dot)
        assert complement in form.free_symbols
        assert not form.has(1 - alpha)
