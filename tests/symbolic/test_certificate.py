"""The symmetric ansatz is exact, for the paper's full losses and any effective one."""

import pytest

from attnflow.errors import SettingError
from attnflow.symbolic.certificate import certify
from attnflow.symbolic.derivation.step import UncheckedStep
from oracles.full_loss import FULL_LOSSES, hard, soft
from oracles.zoo import BUILT_IN, MIXTURE, SEPARABLE, SOFT

CASES = [
    (2, 2, 1, "shared"),
    (2, 3, 1, "shared"),
    (3, 2, 1, "distinct"),
    (4, 2, 2, "distinct"),
    (3, 3, 2, "shared"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("paradigm", BUILT_IN, ids=str)
def test_full_gradient_of_the_papers_loss_is_the_reduced_flow(paradigm, case):
    found = certify(paradigm, *case, full_loss=FULL_LOSSES[paradigm.name])
    m, classes, k, background = case
    kinds = 1 if background == "shared" else m - k
    assert found.check == "proved"
    assert found.parameters == (classes + 1) * (classes + kinds)


@pytest.mark.parametrize("paradigm", [*SEPARABLE[3::3], MIXTURE], ids=str)
def test_effective_loss_of_any_paradigm_keeps_the_ansatz(paradigm):
    assert certify(paradigm, 2, 2).check in ("proved", "50 digits")


def test_certificate_does_not_pass_for_another_paradigm():
    with pytest.raises(UncheckedStep, match="certificate of soft"):
        certify(SOFT, 2, 3, full_loss=hard)


def test_certificate_does_not_pass_for_a_loss_that_breaks_the_symmetry():
    def favours_class_0(weights, logits, label, true):
        return soft(weights, logits, label, true) * (2 if label == 0 else 1)

    with pytest.raises(UncheckedStep, match="does not hold"):
        certify(SOFT, 2, 3, full_loss=favours_class_0)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(SettingError, match="classes"):
        certify(SOFT, 2, 1)
