"""A paradigm is its loss: what is accepted, what is refused and how it is said."""

import pytest
import sympy as sp

from attnflow.errors import ParadigmError
from attnflow.symbolic import record
from attnflow.symbolic.algebra.normal_form import agree, vanishes
from attnflow.symbolic.catalogue import CATALOGUE, HARD, LVML, SOFT, paradigm, power_mean
from attnflow.symbolic.early_time import start_series
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm, averaging
from attnflow.symbols import C, alpha, beta, mu
from oracles import zoo


def same_loss(one, other):
    return vanishes(one.expanded - other.expanded)


def test_averaging_the_input_the_log_and_the_probability_gives_the_three_paradigms():
    assert same_loss(averaging("a", mu), SOFT)
    assert same_loss(averaging("b", sp.log(beta)), HARD)
    assert same_loss(averaging("c", beta), LVML)
    assert same_loss(averaging("d", sp.sqrt(beta)), power_mean("1/2"))


def test_an_affine_change_of_what_is_averaged_changes_nothing():
    assert same_loss(averaging("shifted", 3 * mu + 1), SOFT)
    assert same_loss(averaging("excess", C * beta - 1), LVML)


def test_averaging_with_a_given_inverse():
    given = averaging("given", beta**2, inverse=sp.sqrt(beta))
    pooled = alpha * beta**2 + (1 - alpha) / C**2
    assert vanishes(given.loss + sp.log(pooled) / 2)


@pytest.mark.parametrize("given", CATALOGUE.values(), ids=str)
def test_limits_of_the_focus(given):
    # full focus: the loss of the foreground segment; no focus: log C, a guess
    assert vanishes(given.expanded.subs(alpha, 1) + sp.log(sp.exp(mu) / (sp.exp(mu) + C - 1)))
    assert vanishes(given.expanded.subs(alpha, 0) - sp.log(C))


def test_two_classes_make_the_loss_a_logistic_one():
    logistic = sp.log(1 + sp.exp(-alpha * mu))
    assert vanishes(SOFT.expanded.subs(C, 2) - logistic)


def test_power_mean_of_exponent_zero_and_one():
    assert power_mean(0).loss == HARD.loss
    assert same_loss(power_mean(1), LVML)
    assert paradigm("power-1/2") == power_mean("1/2")


def test_power_mean_is_continuous_in_its_exponent():
    flow = derive_flow(power_mean("1/1000"))
    values = {alpha: sp.Rational(1, 3), mu: 2, C: 7}
    gap = sp.N((flow.loss_mu - derive_flow(HARD).loss_mu).subs(values), 30)
    assert 0 < abs(gap) < sp.Float("1e-2")  # of first order in the exponent


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (alpha * mu * sp.Symbol("gamma"), "'p' may hold alpha, beta, mu and C .* only, got gamma"),
        (0.5 * alpha * mu, r"exact numbers, got 0\.5.*Rational\('1/2'\)"),
        (alpha**2, "must depend on alpha and on mu"),
        (mu**2 + beta, "must depend on alpha and on mu"),
    ],
)
def test_a_loss_that_cannot_be_used_is_refused(loss, message):
    with pytest.raises(ParadigmError, match=message):
        Paradigm("p", loss)


@pytest.mark.parametrize("name", ["", "two words", "a,b", "a:b", 3])
def test_a_name_that_cannot_be_typed_is_refused(name):
    with pytest.raises(ParadigmError, match="name must be a word"):
        Paradigm(name, alpha * mu)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ParadigmError, match="unknown paradigm 'sofft'; did you mean 'soft'"):
        paradigm("sofft")


def test_an_inexact_exponent_is_refused():
    with pytest.raises(ParadigmError, match="exact number such as 1/2, got 'half'"):
        power_mean("half")


def test_averaging_nothing_is_refused():
    with pytest.raises(ParadigmError, match="q of 'p' must depend on mu or beta"):
        averaging("p", C)


def test_an_average_without_inverse_is_refused_with_a_way_out():
    with pytest.raises(ParadigmError, match="no inverse of q was found for 'p'; give inverse="):
        averaging("p", mu + sp.sin(mu))


@pytest.mark.parametrize(
    "loss",
    [
        sp.Piecewise((1 - alpha * mu, mu < 1), (0, True)),
        sp.I * alpha * mu,
        sp.Integral(alpha * mu, (mu, 0, mu)),
        sp.Function("f")(alpha * mu),
        sp.floor(alpha * mu),
    ],
    ids=str,
)
def test_a_loss_that_is_not_one_real_formula_is_refused(loss):
    with pytest.raises(ParadigmError, match="'p' must be one real formula that sympy can diff"):
        Paradigm("p", loss)


@pytest.mark.parametrize(
    "loss", [None, [1], len, alpha * mu > 1, sp.Matrix([alpha * mu]), sp.Eq(alpha, mu)], ids=str
)
def test_a_loss_that_is_no_expression_is_refused(loss):
    with pytest.raises(ParadigmError, match="the loss of 'p' must be a sympy expression, got"):
        Paradigm("p", loss)


@pytest.mark.parametrize("exponent", ["11", "1e30", "33/100"])
def test_an_exponent_whose_powers_would_be_spelt_out_at_length_is_refused(exponent):
    with pytest.raises(ParadigmError, match="a fraction with a numerator from -10 to 10 .* got"):
        power_mean(exponent)


def test_an_exponent_with_denominator_zero_is_refused():
    with pytest.raises(ParadigmError, match="exact number such as 1/2, got '1/0'"):
        power_mean("1/0")


EVIL = "__import__('sys').stdout.write('evaluated') or 1"


def test_text_is_refused_and_never_evaluated(capsys):
    for build in (
        lambda: Paradigm("text", EVIL),
        lambda: averaging("text", EVIL),
        lambda: averaging("text", beta**2, inverse=EVIL),
        lambda: power_mean(EVIL),
        lambda: start_series(SOFT, 2, (EVIL, 0)),
        lambda: start_series(SOFT, 2, "00"),
    ):
        with pytest.raises(ParadigmError, match="must be"):
            build()
    with pytest.raises(sp.SympifyError):
        agree(EVIL, mu)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "kink",
    [sp.Max(0, 1 - mu), sp.Min(mu, C), sp.Abs(mu), sp.Heaviside(mu - 1), sp.sign(mu)],
    ids=lambda e: type(e).__name__,
)
def test_a_loss_with_a_kink_is_refused_with_what_to_use_instead(kink):
    message = rf"'hinge' must be smooth, got {type(kink).__name__} in .*; write log\(1 \+ exp\(k\*u"
    with pytest.raises(ParadigmError, match=message):
        Paradigm("hinge", alpha * kink)
    assert Paradigm("size", SOFT.loss * sp.sqrt((C - 1) ** 2) / (C - 1))  # a constant is no kink


@pytest.mark.parametrize(
    "given", [*CATALOGUE.values(), power_mean("-3/2"), *zoo.ZOO], ids=lambda p: p.name
)
def test_a_paradigm_reads_back_from_its_record(given):
    again = record.read(record.write(given))
    assert (again.name, again.title, again.averages) == (given.name, given.title, given.averages)
    assert sp.simplify(again.expanded - given.expanded) == 0
    assert record.read(record.write(again)) == again


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("__import__('os').getcwd()", "os"),
        ("alpha.func", "alpha.func"),
        ("exp(mu, evaluate=False)", "evaluate"),
        ("gamma*mu", "gamma"),
        ("0.5*mu", "0.5"),
        ("beta**10**9", "Pow"),
        ("[alpha for alpha in mu]", "for"),
        ("alpha*", "no formula"),
    ],
)
def test_a_record_is_read_and_never_evaluated(text, held):
    with pytest.raises(ParadigmError, match=rf"formula.*{held}|{held}"):
        record.formula(text)


@pytest.mark.parametrize("text", ["3", "{}", "[]", '{"name": "p"}', "p: beta"])
def test_a_text_that_is_no_record_is_refused(text):
    with pytest.raises(ParadigmError, match="a config keeps no paradigm as"):
        record.read(text)
