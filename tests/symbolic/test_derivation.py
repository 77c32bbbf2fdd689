"""``derive``: complete, checked step by step, cached, fast, exact."""

import dataclasses
import subprocess
import sys
import time

import pytest
import sympy as sp

from attnflow import Paradigm, derive, power_mean
from attnflow.cli.derivation import plain
from attnflow.errors import ParadigmError
from attnflow.export.document import json_document, latex_document, markdown_document
from attnflow.symbolic.derivation import onset_steps
from attnflow.symbolic.derivation.step import UncheckedStep, checked, definition
from attnflow.symbols import B, C, alpha, mu, rho, tau
from oracles.zoo import BUILT_IN, MIXTURE, SEPARABLE, SOFT

EXPECTED = {
    "loss",
    "focus",
    "background-ratio",
    "overall-speed",
    "relative-speed-shared",
    "relative-speed-distinct",
    "flow-mu",
    "flow-nu",
    "certificate-mu",
    "certificate-nu",
    "ratio",
    "orbit",
    "potential-slope",
    "potential",
    "first-integral",
    "constant",
    "omega",
    "argument",
    "nu-of-mu",
    "alpha-of-mu",
    "pace",
    "time",
    "frozen-focus-pace",
    "frozen-focus-time",
    "frozen-focus-solution",
    "logit",
    "frozen-classifier-pace",
    "frozen-classifier-time",
}
ASYMPTOTIC = ("start-", "late-")


@pytest.mark.parametrize("paradigm", BUILT_IN, ids=str)
def test_every_step_of_the_built_in_paradigms_is_there_once_and_proved(paradigm):
    steps = derive(paradigm).steps
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert set(names) >= EXPECTED
    for step in steps:
        exact = step.check in ("proved", "definition")
        assert exact or step.name.startswith(ASYMPTOTIC), (step.name, step.check)
        assert step.title and step.text.endswith(".")


@pytest.mark.parametrize("paradigm", [*SEPARABLE[3:7:2], MIXTURE], ids=str)
def test_a_users_paradigm_is_derived_by_the_same_rules(paradigm):
    derivation = derive(paradigm)
    names = {step.name for step in derivation.steps}
    assert {"flow-mu", "certificate-mu", "frozen-focus-time", "frozen-classifier-time"} <= names
    assert ("first-integral" in names) == (derivation.first_integral is not None)


def test_without_first_integral_the_reason_is_told_and_the_rest_is_there():
    derivation = derive(MIXTURE)
    assert "alpha L_alpha/L_mu depends on alpha" in derivation.no_first_integral
    assert derivation.potential is derivation.solution is derivation.time is None
    assert derivation.nu_of_mu is derivation.alpha_of_mu is derivation.pace is None
    assert derivation.flow.mu_dot.free_symbols >= {alpha, mu, tau}


def test_formulas_are_reachable_by_name():
    derivation = derive("soft")
    assert derivation.loss == SOFT.loss
    assert derivation.no_first_integral is None
    assert derivation.step("potential").equation.rhs == derivation.potential.value
    assert derivation.nu_of_mu.free_symbols >= {mu, B, C, rho}
    assert derivation.series(2).order == 2
    assert derivation.late.kind == "logarithmic"
    assert derivation.first_difference("hard").alpha[0] == 3  # the order of t
    with pytest.raises(KeyError, match="no step 'nothing'; there are loss, focus"):
        derivation.step("nothing")


def test_no_float_is_anywhere_in_a_derivation():
    for paradigm in BUILT_IN:
        for step in derive(paradigm).steps:
            assert not step.equation.has(sp.Float), step.name


def test_a_derivation_is_cached_and_cannot_be_changed():
    assert derive("soft") is derive("soft")
    assert derive("soft").steps is derive("soft").steps
    with pytest.raises(dataclasses.FrozenInstanceError):
        derive("soft").paradigm = MIXTURE


def test_a_derivation_shows_itself_in_a_notebook():
    text = derive("lvml")._repr_latex_()
    assert text.startswith("$$") and r"\dot{\mu}" in text and r"\Phi" in text
    assert derive("lvml").step("flow-mu")._repr_latex_().startswith("$")


def test_an_unknown_paradigm_is_refused():
    with pytest.raises(ParadigmError, match="unknown paradigm 'hrad'; did you mean 'hard'"):
        derive("hrad")


def test_a_false_step_cannot_be_made():
    with pytest.raises(UncheckedStep, match="step 'wrong' does not hold"):
        checked(
            "wrong", "Wrong", mu, alpha, "Wrong.", (sp.exp(2 * mu), sp.exp(mu) ** 2 + C / 10**40)
        )
    with pytest.raises(UncheckedStep, match="step 'nearly' does not hold"):
        checked("nearly", "Nearly", mu, alpha, "No.", (sp.sin(mu), sp.sin(mu) * (1 + mu / 10**40)))


def test_a_step_says_how_it_was_checked():
    exact = checked(
        "a", "A", mu, alpha, "Yes.", (sp.exp(2 * mu) - 1, (sp.exp(mu) - 1) * (sp.exp(mu) + 1))
    )
    digits = checked("b", "B", mu, alpha, "Yes.", (sp.sin(2 * mu), 2 * sp.sin(mu) * sp.cos(mu)))
    named = definition("c", "C", mu, alpha, "By definition.")
    assert [exact.check, digits.check, named.check] == ["proved", "50 digits", "definition"]


@pytest.mark.slow  # a measurement: run it on a quiet machine
def test_deriving_all_three_from_a_cold_start_is_fast():
    script = (
        "import time; from attnflow import derive\n"
        "for name in ('soft', 'hard', 'lvml'): derive(name).steps\n"
        "print(time.process_time())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 10


def test_deriving_never_imports_jax():
    script = (
        "import sys; from attnflow import derive; derive('soft').steps; print('jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


FOCAL = Paradigm("focal", sp.log(1 + (C - 1) * sp.exp(-alpha * mu)) ** 2)


def test_a_law_whose_number_for_many_classes_is_0_is_told_without_the_number():
    # its time grows slower than with the number of classes
    names = {step.name for step in derive(FOCAL).steps}
    assert "onset-time" in names and "onset-many-classes" not in names
    assert derive(FOCAL).left_out == ()


SLOW = pytest.mark.slow
EXTREME = ["1/10", "9/1000", *(pytest.param(e, marks=SLOW) for e in ("10", "-10", "-7/3", "10/7"))]


@pytest.mark.parametrize("exponent", EXTREME)
def test_power_means_of_every_order_are_derived_in_seconds(exponent):
    begin = time.process_time()
    derivation = derive(power_mean(exponent))
    assert {"potential", "first-integral", "pace"} <= {step.name for step in derivation.steps}
    assert time.process_time() - begin < 90  # as integrals, where closed forms would fill pages


@pytest.mark.parametrize("fault", [UncheckedStep("x is\nnot y"), NotImplementedError("no limit")])
def test_a_part_that_cannot_be_checked_is_left_out_with_the_reason(fault, monkeypatch):
    def fail(paradigm):
        raise fault

    monkeypatch.setattr(onset_steps, "steps", fail)
    own = Paradigm("own", sp.log(1 + (C - 1) * sp.exp(-2 * alpha * mu)))
    derivation = derive(own)
    assert {"flow-mu", "first-integral-drift"} <= {step.name for step in derivation.steps}
    (sentence,) = derivation.left_out
    assert sentence.startswith("The part on onset is left out: ") and "\n" not in sentence
    assert sentence in plain(derivation, derivation.steps, 10_000)
    for text in (latex_document([own]), markdown_document([own]), json_document([own])):
        assert "onset is left out" in text
