"""Every derivation holds, and a mistake in any loss or formula makes one of them fail."""

import ast
import dataclasses
import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sympy as sp

import attnflow.symbolic
from attnflow import symbols
from attnflow.symbolic import (
    catalogue,
    curvature,
    early_time,
    finite_steps,
    first_integral,
    flow,
    frozen,
    late_time,
    onset,
    optimizers,
    orbit,
    switch_condition,
)
from attnflow.symbolic.algebra import functions
from attnflow.symbols import B, C, alpha, beta, mu

FOLDER = Path(__file__).resolve().parents[1] / "derivations"
sys.path.insert(0, str(FOLDER))
build = importlib.import_module("build")
SCRIPTS = {script.stem[:2]: script for script in build.SCRIPTS}


def derive_again(number: str) -> Any:
    """Run a derivation with a fresh copy of its modules, so that it sees what is patched."""
    for name in ("_common", "_model"):
        sys.modules.pop(name, None)
    return build.load(SCRIPTS[number]).main()


@pytest.mark.parametrize("number", SCRIPTS)
def test_every_derivation_holds_and_prints(number, tmp_path):
    derivation = derive_again(number)
    assert derivation.number == int(number)
    assert all(step.check in ("proved", "50 digits", "definition") for step in derivation.steps)
    assert sum(step.check != "definition" for step in derivation.steps) >= 5
    written = derivation.write(tmp_path)
    assert written.name == f"{number}.tex"
    assert written.read_text().count(r"\begin{equation}") == len(derivation.steps)


def test_the_derivations_are_in_reading_order_without_a_gap():
    assert list(SCRIPTS) == [f"{n:02}" for n in range(1, len(SCRIPTS) + 1)]


def test_the_core_does_not_import_a_derivation():
    ours = {
        "derivations",
        "_common",
        "_model",
        "build",
        *(script.stem for script in SCRIPTS.values()),
    }
    for source in Path(attnflow.symbolic.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & ours, source


def test_a_wrong_claim_is_refused():
    common = importlib.import_module("_common")
    told = common.Derivation(99, "Wrong", "")
    with pytest.raises(AssertionError, match="'half' does not hold"):
        told.prove("half", "Half", mu, mu, "", (mu / 2, mu / 3))
    with pytest.raises(AssertionError, match="'number' does not hold"):
        told.prove("number", "Number", mu, mu, "", (sp.sqrt(2), sp.Rational(3, 2)))
    assert not told.steps


# -- Mutations --------------------------------------------------------------------------------


def modules() -> list[ModuleType]:
    """Every module of the symbolic core, the symbols included."""
    names = [
        m.name for m in pkgutil.walk_packages(attnflow.symbolic.__path__, "attnflow.symbolic.")
    ]
    return [symbols, *map(importlib.import_module, names)]


def clear_caches() -> None:
    """Forget what was derived before."""
    for module in modules():
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@contextmanager
def replaced(original: Any, mutant: Any) -> Iterator[None]:
    """Put the mutant wherever the core holds the original, under whatever name."""
    if isinstance(original, tuple) and isinstance(original[0], type):  # a method of a class
        with pytest.MonkeyPatch.context() as patch:
            clear_caches()
            patch.setattr(*original, mutant)
            yield
        clear_caches()
        return
    places = [
        (module, name)
        for module in modules()
        for name, value in vars(module).items()
        if value is original
    ]
    assert places, f"{original} is nowhere in the core"
    listed = [name for name, value in catalogue.CATALOGUE.items() if value is original]
    clear_caches()
    try:
        for module, name in places:
            setattr(module, name, mutant)
        for name in listed:
            catalogue.CATALOGUE[name] = mutant
        yield
    finally:
        for module, name in places:
            setattr(module, name, original)
        for name in listed:
            catalogue.CATALOGUE[name] = original
        clear_caches()


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One mistake: what is replaced, by what, and the derivation that must not hold with it."""

    name: str
    original: Any
    mutant: Any
    caught_by: str

    def __str__(self) -> str:
        return self.name


def value(name: str, original: Any, mutant: Any, caught_by: str) -> Mutation:
    """A mistake in a constant of the core."""
    assert original != mutant
    return Mutation(name, original, mutant, caught_by)


def loss(paradigm: Any, wrong: Callable, caught_by: str = "01") -> Mutation:
    """A mistake in a loss."""
    mutant = dataclasses.replace(paradigm, loss=wrong(paradigm.loss), averages=None)
    assert mutant.loss != paradigm.loss
    return Mutation(f"loss-{paradigm.name}", paradigm, mutant, caught_by)


def result(
    function: Callable, field: str, wrong: Callable, caught_by: str, of: str = ""
) -> Mutation:
    """A mistake in one field of what a function of the core derives.

    Args:
        function: the function.
        field: the attribute of its result, or "" for the result itself.
        wrong: formula -> wrong formula.
        caught_by: number of the derivation.
        of: a paradigm's name, where only its formula is wrong.
    """

    @functools.wraps(function)
    def mutant(paradigm: Any, *rest: Any, **more: Any) -> Any:
        found = function(paradigm, *rest, **more)
        if of and paradigm.name != of:
            return found
        if not field:
            return wrong(found)
        formula = getattr(found, field)
        if formula is None:
            return found
        changed = wrong(formula)
        assert changed != formula, "the mutation changes nothing"
        return dataclasses.replace(found, **{field: changed})

    label = "-".join(part for part in (function.__name__.strip("_"), field, of) if part)
    return Mutation(label, function, mutant, caught_by)


def negative(formula: Any) -> Any:
    """The other sign."""
    return -formula


def twice(formula: Any) -> Any:
    """A wrong factor."""
    return 2 * formula


def term(pair: tuple[int, Any]) -> tuple[int, Any]:
    """A wrong factor in (order, coefficient)."""
    return pair[0], 2 * pair[1]


def of_margin(formula: sp.Expr) -> sp.Expr:
    """A formula at twice the time."""
    return formula.subs(symbols.t, 2 * symbols.t)


def sharing_subtracted(original: Callable) -> Callable:
    """rho with the background's part subtracted."""
    from attnflow.symbols import eta_classifier, eta_focus

    def mutant(background: str) -> sp.Expr:
        return 2 * eta_focus / eta_classifier - original(background)

    return mutant


def wrong_power_mean(original: Callable) -> Callable:
    """The power mean without its 1/s."""

    def mutant(exponent: Any) -> Any:
        found = original(exponent)
        return dataclasses.replace(found, loss=found.loss * sp.Rational(1, 2), averages=None)

    return mutant


WAYS = ("soft", "hard", "lvml")
MUTATIONS = [
    loss(catalogue.SOFT, negative),
    loss(catalogue.HARD, lambda e: alpha * sp.log(beta) + (1 - alpha) * sp.log(C)),
    loss(catalogue.LVML, lambda e: -sp.log(alpha * beta + (1 + alpha) / C)),
    Mutation("loss-power-mean", catalogue.power_mean, wrong_power_mean(catalogue.power_mean), "01"),
    value("attention", symbols.attention, 1 / (1 + B * sp.exp(symbols.nu)), "01"),
    value("inattention", symbols.inattention, 2 * symbols.inattention, "01"),
    value("probability", symbols.probability, sp.exp(mu) / (sp.exp(mu) + C + 1), "01"),
    value("metric-mu", flow.metric, (C + 1, C), "01"),
    value("metric-nu", flow.metric, (C - 1, C / 2), "01"),
    value("background-ratio", flow.background_ratio, (symbols.m + symbols.k) / symbols.k, "01"),
    value("overall-speed", flow.overall_speed, symbols.eta_classifier * symbols.r, "11"),
    Mutation(
        "relative-speed",
        flow.relative_speed,
        sharing_subtracted(flow.relative_speed),
        "11",
    ),
    result(flow.squared_norms, "", lambda pair: (pair[0], 2 * pair[1]), "17"),
    result(flow.derive_decay, "", lambda pair: (pair[0], -pair[1]), "17"),
    *(
        result(flow.derive_flow, field, wrong, "02", of)
        for field, wrong in (("mu_dot", negative), ("nu_dot", twice))
        for of in WAYS
    ),
    *(result(first_integral.derive_first_integral, "ratio", twice, "03", of) for of in WAYS),
    *(result(first_integral.derive_first_integral, "slope", negative, "03", of) for of in WAYS),
    *(
        result(orbit.derive_potential, "value", wrong, "03", of)
        for of, wrong in (
            *zip(WAYS, (negative, twice, lambda e: e + 1), strict=True),
            ("power-1/2", negative),
        )
    ),
    *(
        result(orbit.derive_solution, field, wrong, "04", of)
        for field, wrong in (
            ("nu", negative),
            ("alpha", lambda e: 1 - e),
            ("argument", twice),
            ("constant", negative),
        )
        for of in WAYS
    ),
    *(result(orbit.derive_solution, "pace_in_omega", twice, "05", of) for of in WAYS),
    *(result(orbit.derive_solution, "pace", negative, "05", of) for of in WAYS),
    *(result(orbit.derive_solution, "time", twice, "05", of) for of in WAYS),
    *(
        result(function, field, wrong, number, of)
        for function, number in (
            (frozen.derive_frozen_focus, "06"),
            (frozen.derive_frozen_classifier, "07"),
        )
        for field, wrong in (("pace", negative), ("time", twice), ("solution", of_margin))
        for of in WAYS
        if (number, field, of) != ("07", "solution", "soft")  # it has none
    ),
    *(
        result(early_time.start_series, field, wrong, "08", of)
        for field, wrong in (
            ("mu", negative),
            ("nu", twice),
            ("alpha", of_margin),
            ("loss", of_margin),
        )
        for of in WAYS
    ),
    *(result(early_time.first_difference, field, term, "08") for field in ("alpha", "mu")),
    *(
        result(late_time.late_time, field, twice, "09", of)
        for of, fields in (
            ("hard", ("slope", "linear", "clock", "inattention", "focus", "loss")),
            ("lvml", ("slope", "linear", "clock", "inattention", "focus", "loss")),
            ("soft", ("slope", "clock", "inattention", "focus", "loss")),
        )
        for field in fields
    ),
    *(
        result(onset.onset, field, twice, "14", of)
        for field, which in (("growth", WAYS), ("many_classes", WAYS), ("many_primitive", WAYS))
        for of in which
    ),
    result(onset.onset, "value", twice, "14", "soft"),
    result(late_time.late_time, "power", lambda p: p + 1, "09", "soft"),
    *(
        result(switch_condition.greedy_curve, "alpha", lambda e: 1 - e, "10", of)
        for of in ("soft", "lvml")
    ),
    result(
        switch_condition.greedy_curve,
        "equation",
        lambda e: sp.Eq(e.lhs, -e.rhs, evaluate=False),
        "10",
        "soft",
    ),
    *(
        result(switch_condition.derive_switch_terms, field, wrong, "10")
        for field, wrong in (("pace", negative), ("slope", twice), ("sensitivity", negative))
    ),
    result(
        switch_condition.derive_switch_condition,
        "",
        lambda e: sp.Eq(e.lhs.subs(symbols.costate, -symbols.costate), e.rhs, evaluate=False),
        "10",
    ),
    *(
        result(finite_steps.derive_step_correction, field, wrong, "13")
        for field, wrong in (
            ("step", twice),
            ("inertia", negative),
            ("bend", negative),
            ("kick", twice),
            ("lag", twice),
        )
    ),
    *(
        result(flow.derive_jacobian, "", wrong, "13", of)
        for of, wrong in zip(WAYS, (negative, lambda matrix: matrix.T, twice), strict=True)
    ),
    result(finite_steps.derive_step_correction, "stable", twice, "15"),
    *(
        result(curvature.derive_curvature, field, negative, "15", of)
        for of, field in zip(WAYS, ("plane", "background", "apart"), strict=True)
    ),
    value("sign-mu", optimizers.sign_velocity, (symbols.r, optimizers.sign_velocity[1]), "16"),
    value("sign-nu", optimizers.sign_velocity, (optimizers.sign_velocity[0], symbols.r), "16"),
    *(result(optimizers.derive_arc, "", twice, "16", of) for of in WAYS),
    *(result(finite_steps.derive_drift, "", twice, "13", of) for of in WAYS),
    Mutation(
        "omega-slope", (functions.wright_omega, "fdiff"), lambda w, index=1: w / (2 + w), "04"
    ),
    Mutation(
        "kepler-slope",
        (functions.kepler, "fdiff"),
        lambda v, index=1: 1 / (1 - v.args[0] * sp.cosh(v)),
        "06",
    ),
]

FAST = (
    "loss-soft",
    "loss-hard",
    "loss-lvml",
    "loss-power-mean",
    "metric-mu",
    "background-ratio",
    "relative-speed",
    "derive_flow-nu_dot-hard",
    "derive_first_integral-ratio-soft",
    "derive_potential-value-hard",
    "derive_solution-alpha-lvml",
    "derive_solution-pace_in_omega-soft",
    "derive_frozen_focus-solution-lvml",
    "derive_frozen_classifier-time-soft",
    "start_series-mu-hard",
    "late_time-inattention-hard",
    "onset-growth-lvml",
    "greedy_curve-alpha-soft",
    "derive_switch_condition",
    "derive_step_correction-kick",
    "derive_jacobian-hard",
    "derive_drift-soft",
    "sign-nu",
    "derive_arc-lvml",
    "derive_curvature-plane-soft",
)


def must_fail(mutation: Mutation) -> None:
    """The derivation that should catch the mistake does."""
    with replaced(mutation.original, mutation.mutant):
        with pytest.raises(AssertionError) as caught:
            derive_again(mutation.caught_by)
    assert "the mutation changes nothing" not in str(caught.value)
    assert "nowhere in the core" not in str(caught.value)


def test_the_mutations_have_names_of_their_own():
    names = [m.name for m in MUTATIONS]
    assert len(set(names)) == len(names)
    assert set(FAST) <= set(names)


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m.name in FAST], ids=str)
def test_a_mistake_in_a_formula_is_caught(mutation):
    must_fail(mutation)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m.name not in FAST], ids=str)
def test_a_mistake_in_any_formula_is_caught(mutation):
    must_fail(mutation)


def test_without_a_mutation_nothing_is_left_behind():
    clear_caches()
    derive_again("02")
