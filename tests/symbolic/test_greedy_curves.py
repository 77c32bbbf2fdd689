"""Greedy curves and the condition for a switch, against the forms written down by hand."""

import dataclasses

import pytest
import sympy as sp

from attnflow.errors import NoFirstIntegral
from attnflow.symbolic.algebra.float_form import textbook
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.derivation import onset_steps, switch_steps
from attnflow.symbolic.derivation.derived import derive
from attnflow.symbolic.derivation.step import UncheckedStep
from attnflow.symbolic.onset import onset
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbolic.switch_condition import (
    derive_switch_condition,
    derive_switch_terms,
    greedy_curve,
)
from attnflow.symbols import C, alpha, costate, mu, omega, rho, tau

beta = sp.exp(mu) / (sp.exp(mu) + C - 1)
gain = sp.log(C * beta)
q = mu / (C * beta - 1) - 1
BY_HAND = {
    (SOFT, HARD): sp.log((C - 1) * (mu / gain - 1)) / mu,
    (LVML, HARD): 1 / gain - 1 / (C * beta - 1),
    (SOFT, LVML): (-q - sp.LambertW(-sp.exp(-q) / (C - 1))) / mu,
}
POINTS = [{C: c, mu: sp.Rational(u)} for c, u in ((3, "1/3"), (20, "5/2"), (1000, 6), (7, 3))]


def near(first, second, point, digits=30):
    return abs(sp.N((first - second).subs(point), digits + 10)) < sp.Float(10) ** -digits


@pytest.mark.parametrize("pair", BY_HAND, ids=lambda p: f"{p[0]}-{p[1]}")
def test_the_derived_curve_is_the_one_found_by_hand(pair):
    curve = greedy_curve(*pair)
    for point in POINTS:
        assert near(curve.alpha, BY_HAND[pair], point)


@pytest.mark.parametrize("pair", BY_HAND, ids=lambda p: f"{p[0]}-{p[1]}")
def test_the_order_of_the_pair_does_not_matter(pair):
    there, back = greedy_curve(*pair), greedy_curve(*reversed(pair))
    for point in POINTS:
        assert near(there.alpha, back.alpha, point)


@pytest.mark.parametrize("pair", BY_HAND, ids=lambda p: f"{p[0]}-{p[1]}")
def test_on_the_curve_both_losses_pull_equally(pair):
    curve = greedy_curve(*pair)
    for point in POINTS:
        pulls = [sp.diff(p.expanded, alpha).subs(alpha, curve.alpha) for p in pair]
        assert near(*pulls, point)
        assert near(curve.equation.lhs.subs(alpha, curve.alpha), -pulls[0], point)


@pytest.mark.parametrize("pair", BY_HAND, ids=lambda p: f"{p[0]}-{p[1]}")
def test_every_curve_starts_at_one_half(pair):
    curve = greedy_curve(*pair)
    tiny = {C: 7, mu: sp.Rational(1, 10**12)}
    assert abs(sp.N(curve.alpha.subs(tiny), 60) - sp.Rational(1, 2)) < 1e-11


def test_a_curve_that_cannot_be_solved_keeps_its_equation():
    curve = greedy_curve(SOFT, power_mean("1/2"))
    assert curve.alpha is None
    assert curve.equation.has(alpha)


def test_the_condition_for_soft_to_hard_is_the_known_one():
    focus = {alpha: omega / (1 + omega)}
    terms = derive_switch_terms(HARD)
    total = sp.exp(mu) + C - 1
    tail = textbook(terms.sensitivity).subs(focus) * tau
    assert sp.simplify(tail + total / (omega * (1 + omega))) == 0
    assert sp.simplify(terms.pace.subs(focus) * tau - total * (1 + 1 / omega)) == 0
    difference = terms.slope / rho - total * gain / C
    assert sp.simplify(difference) == 0
    condition = derive_switch_condition(SOFT, HARD)
    expected = (
        (sp.exp(alpha * mu) + C - 1 - total) / (alpha * tau)
        + costate * rho * ((C - 1) * mu / C - total * gain / C)
    )  # fmt: skip
    point = {alpha: sp.Rational(2, 7), mu: 2, C: 9, rho: 3, tau: 2, costate: sp.Rational(-5, 3)}
    assert near(condition.lhs, expected, point)


@pytest.mark.parametrize("paradigm", [SOFT, HARD, LVML, power_mean("1/2")], ids=str)
def test_the_sensitivity_is_the_derivative_of_the_pace_along_z(paradigm):
    terms = derive_switch_terms(paradigm)
    z = sp.log(alpha / (1 - alpha)) + alpha / (1 - alpha)
    by_chain_rule = sp.diff(terms.pace, alpha) / sp.diff(z, alpha)
    point = {alpha: sp.Rational(3, 11), mu: sp.Rational(3, 2), C: 9, tau: 2}
    assert near(textbook(terms.sensitivity), by_chain_rule, point)


def test_a_mixture_of_paradigms_is_refused_by_name():
    mixture = Paradigm("mixture", (SOFT.loss + HARD.loss) / 2)
    with pytest.raises(NoFirstIntegral, match="'mixture' has no first integral"):
        derive_switch_condition(SOFT, mixture)


def test_the_steps_of_switching_are_checked_and_complete():
    told = switch_steps.steps((SOFT, HARD, LVML))
    names = [step.name for step in told]
    assert len(set(names)) == len(names) == 3 * 2 + 3 + 6
    assert {step.check for step in told} <= {"proved", "50 digits"}
    assert derive("soft").switch("hard")[-1].name == "switch-hard-soft"
    mixed = Paradigm("mixed", SOFT.loss / 2 + HARD.loss / 2)  # no first integral, so no condition
    assert all(step.name.startswith("greedy") for step in switch_steps.steps((mixed, LVML)))
    assert switch_steps.steps((SOFT,)) == []


def test_a_wrong_greedy_curve_is_not_told(monkeypatch):
    right = greedy_curve(SOFT, HARD)
    wrong = dataclasses.replace(right, alpha=right.alpha / 2)
    monkeypatch.setattr(switch_steps, "greedy_curve", lambda *pair: wrong)
    with pytest.raises(UncheckedStep, match="greedy-soft-hard"):
        switch_steps.steps((SOFT, HARD))


def test_a_wrong_law_of_the_onset_is_not_told(monkeypatch):
    for field in ("growth", "value", "many_classes", "many_primitive"):
        wrong = dataclasses.replace(onset(SOFT), **{field: 2 * getattr(onset(SOFT), field)})
        monkeypatch.setattr(onset_steps, "onset", lambda paradigm, w=wrong: w)
        with pytest.raises(UncheckedStep, match="onset"):
            onset_steps.steps(SOFT)


def test_the_onset_has_its_laws_and_none_where_the_rule_does_not_apply():
    assert onset(LVML).many_classes == sp.E - 2
    assert onset(HARD).many_classes == onset(SOFT).many_classes == sp.sqrt(2 * sp.pi) / 2
    exponential = Paradigm("exponential", sp.exp(-alpha * sp.exp(mu)))  # Phi' does not grow
    assert onset(exponential) is None and onset_steps.steps(exponential) == []
    assert onset(Paradigm("mixed", SOFT.loss / 2 + HARD.loss / 2)) is None
