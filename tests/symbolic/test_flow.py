"""The derived flow is the paper's; for any paradigm the gradient of its loss in the metric."""

import mpmath
import pytest
import sympy as sp

from attnflow.symbolic.algebra.normal_form import agree
from attnflow.symbolic.derivation.step import check_equal
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import B, C, alpha, attention, beta, mu, nu, probability, rho, tau
from oracles import textbook
from oracles.zoo import BUILT_IN, SOFT, ZOO


@pytest.mark.parametrize("paradigm", BUILT_IN, ids=str)
@pytest.mark.parametrize(("m", "classes"), [(2, 2), (5, 3), (100, 1000)])
def test_flow_is_the_papers(paradigm, m, classes):
    flow = derive_flow(paradigm)
    with mpmath.workdps(60):
        for margin, score in ((mpmath.mpf(1) / 3, mpmath.mpf(-2)), (mpmath.mpf(7), mpmath.mpf(3))):
            expected = textbook.FIELDS[paradigm.name](margin, score, m, classes)
            values = {
                alpha: sp.Float(textbook.alpha(score, m), 60),
                mu: sp.Float(margin, 60),
                C: classes,
                rho: 1,
                tau: 1,
            }
            for derived, reference in zip((flow.mu_dot, flow.nu_dot), expected, strict=True):
                found = mpmath.mpf(sp.N(derived.subs(values), 60)._mpf_)
                assert abs(found - reference) < mpmath.mpf(10) ** -48 * abs(reference)


@pytest.mark.parametrize("paradigm", ZOO, ids=str)
def test_flow_is_minus_the_gradient_in_the_metric(paradigm):
    # written out independently: L as a function of (mu, nu), differentiated by nu itself
    flow = derive_flow(paradigm)
    loss = paradigm.loss.subs(beta, probability).subs(alpha, attention)
    assert agree(flow.mu_dot.subs(alpha, attention) * (C - 1), -tau * sp.diff(loss, mu))
    assert agree(flow.nu_dot.subs(alpha, attention) * C, -tau * rho * sp.diff(loss, nu))


@pytest.mark.parametrize("paradigm", ZOO, ids=str)
def test_loss_never_rises_along_the_flow(paradigm):
    flow = derive_flow(paradigm)
    change = flow.loss_mu * flow.mu_dot + alpha * (1 - alpha) * flow.loss_alpha * flow.nu_dot
    for point in ({mu: 2, alpha: sp.Rational(1, 3)}, {mu: -1, alpha: sp.Rational(9, 10)}):
        assert sp.N(change.subs(point | {C: 4, rho: 2, tau: 3}), 20) < 0


def test_all_paradigms_agree_at_full_focus():
    for paradigm in BUILT_IN:
        assert check_equal(
            "full focus", derive_flow(paradigm).mu_dot.subs(alpha, 1), tau / (sp.exp(mu) + C - 1)
        )


def test_attention_is_a_softmax_weight_and_its_own_derivative():
    assert check_equal("softmax", sp.diff(attention, nu), attention * (1 - attention)) == "proved"
    assert attention.subs(nu, 0) == 1 / (1 + B)


def test_flow_depends_on_the_loss_alone():
    renamed = Paradigm("renamed", SOFT.loss)
    assert derive_flow(renamed) == derive_flow(SOFT)
