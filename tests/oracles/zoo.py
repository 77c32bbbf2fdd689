"""Losses that a user might define: with and without a first integral, common and odd."""

import sympy as sp

from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.paradigm import Paradigm, averaging
from attnflow.symbols import C, alpha, beta, mu

_pooled_input = sp.exp(alpha * mu) / (sp.exp(alpha * mu) + C - 1)
_marginal = alpha * beta + (1 - alpha) / C

FOCAL = Paradigm("focal", -((1 - _pooled_input) ** 2) * sp.log(_pooled_input))

BUILT_IN = (SOFT, HARD, LVML)

SEPARABLE = (
    *BUILT_IN,
    power_mean("1/2"),
    power_mean("-1"),
    FOCAL,
    Paradigm(
        "label-smoothed",
        -sp.Rational(9, 10) * sp.log(_pooled_input) - sp.log((1 - _pooled_input) / (C - 1)) / 10,
    ),
    Paradigm("zero-one", 1 - _marginal),
    Paradigm("brier", (1 - _marginal) ** 2),
    Paradigm("squared-margin", (1 - alpha * mu) ** 2 / 2),
    Paradigm("exponential", sp.exp(-alpha * mu)),
    averaging("odds", sp.exp(mu)),
)
"""Losses F(alpha psi(mu)), which have a first integral."""

MIXTURE = Paradigm("mixture", SOFT.loss / 2 + HARD.loss / 2)
PENALISED = Paradigm("penalised", LVML.loss + alpha**2 * mu**2 / 10 + mu / 20)

INSEPARABLE = (MIXTURE, PENALISED)
"""Losses without a first integral of the known form."""

ZOO = (*SEPARABLE, *INSEPARABLE)
