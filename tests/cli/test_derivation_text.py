"""Formulas in a terminal stay mathematics where they are too wide for a line."""

import re

import pytest

from attnflow.cli.derivation import formula
from attnflow.symbolic.catalogue import CATALOGUE
from attnflow.symbolic.derivation.derived import derive


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_formula_is_drawn_within_the_width(name):
    for step in derive(name).steps:
        drawn = formula(step.equation, 74)
        assert max(map(len, drawn.splitlines())) <= 74, step.name
        assert "**" not in drawn and "exp(" not in drawn, f"{step.name} is code"


def test_a_wide_sum_is_broken_between_terms_and_what_is_wider_gets_a_name():
    drawn = formula(derive("hard").step("constant").equation, 74)
    assert drawn.splitlines()[2].startswith("K\u2080 = ")
    assert "a\u2081 = " in drawn and "\n    + " in drawn and "\n    - " in drawn


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_two_names_stand_for_the_same_and_none_hides_a_variable_of_integration(name):
    for step in derive(name).steps:
        blocks = formula(step.equation, 74).split("\n\n")
        named = [block for block in blocks if re.search(r"^\s*a[₀-₉]+(\(u\))? = ", block, re.M)]
        meant = ["".join(re.sub(r"a[₀-₉]+(\(u\))? =", "", block).split()) for block in named]
        assert len(set(meant)) == len(meant), step.name
        for block in named:
            assert " u" not in block.split("=")[1] or "(u) = " in block, step.name
