"""Steps that come with the package are those that a derivation gives now."""

import json

import pytest
import sympy as sp

from attnflow.symbolic.catalogue import CATALOGUE, HARD, LVML, SOFT
from attnflow.symbolic.derivation import shipped as module
from attnflow.symbolic.derivation.__main__ import fresh_document
from attnflow.symbolic.derivation.derived import Derivation
from attnflow.symbolic.derivation.shipped import document, shipped
from attnflow.symbolic.derivation.step import DEFINITION, Step, equation
from attnflow.symbolic.derivation.time_steps import difference_steps
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import alpha, mu


def test_the_shipped_steps_are_those_of_a_fresh_derivation():
    """Write them anew by ``python -m attnflow.symbolic.derivation`` where they are not."""
    assert json.loads(json.dumps(fresh_document())) == json.loads(module.PLACE.read_text("utf-8"))


def test_every_built_in_paradigm_and_pair_is_shipped_and_no_other():
    for paradigm in CATALOGUE.values():
        assert Derivation(paradigm).steps == shipped(paradigm)
    pairs = [shipped(SOFT, HARD), shipped(SOFT, LVML), shipped(HARD, LVML)]
    assert list(difference_steps([SOFT, HARD, LVML])) == [step for p in pairs for step in p or ()]
    assert shipped(Paradigm("soft", 2 * SOFT.loss, SOFT.title)) is None
    assert shipped(Paradigm("mild", SOFT.loss, SOFT.title)) is None
    assert shipped(HARD, SOFT) is None


@pytest.mark.parametrize("content", [None, "", '{"nodes": ['])
def test_without_the_file_or_after_a_change_of_sources_steps_are_derived(
    content, tmp_path, monkeypatch
):
    place = tmp_path / "steps.json"
    if content is not None:
        place.write_text(content)
    with monkeypatch.context() as changed:
        changed.setattr(module, "PLACE", place)
        changed.setattr(module, "_document", module._document.__wrapped__)
        assert shipped(SOFT) is None
    with monkeypatch.context() as changed:
        changed.setattr(module, "_sources", lambda: "others")
        assert shipped(SOFT) is None


def test_formulas_come_back_as_they_were_spelt():
    spelt = sp.Mul(2, sp.Add(mu, 1, evaluate=False), evaluate=False)
    limit = sp.Limit(sp.exp(-mu, evaluate=False), mu, sp.oo)
    whole = sp.Integral(sp.log(alpha) ** sp.Rational(-3, 2), (alpha, 1, mu))
    steps = [
        Step("s", "S", equation(spelt, part), "", DEFINITION) for part in (limit, whole, spelt)
    ]
    stored = json.loads(json.dumps(document({"key": steps})))
    expressions = module._expressions(stored["nodes"])
    for (*_, place, _, _), step in zip(stored["steps"]["key"], steps, strict=True):
        assert expressions[place] == step.equation
        assert sp.srepr(expressions[place]) == sp.srepr(step.equation)
