"""The built-in paradigms, one definition each: all that a new built-in paradigm touches."""

from functools import lru_cache

import sympy as sp

from attnflow.errors import ParadigmError
from attnflow.symbolic.paradigm import INPUT, Paradigm, averaging, nearest
from attnflow.symbols import beta

_PAPER = (
    "Vashisht and Ramaswamy, On the Learning Dynamics of Attention Networks, "
    "ECAI 2023, arXiv 2307.13421"
)

LARGEST_POWER = 10
"""Numerator of a power mean's exponent: its formulas hold powers up to that order, spelt out."""

LARGEST_ROOT = 1000
"""Denominator of that exponent: sympy takes exact roots of numbers apart, for ever if these are
high."""

SOFT = averaging(
    "soft",
    INPUT,
    title="Soft attention",
    source=f"{_PAPER}: the classifier sees the weighted input",
)
HARD = averaging(
    "hard",
    sp.log(beta),
    title="Hard attention",
    source=f"{_PAPER}: expected loss of a sampled segment",
)
LVML = averaging(
    "lvml",
    beta,
    title="LVML",
    source=f"{_PAPER}: latent-variable marginal likelihood",
)


@lru_cache
def power_mean(exponent: sp.Rational | int | str) -> Paradigm:
    """The power mean of per-segment probabilities: exponent -> 0 is hard attention, 1 is LVML.

    L = -(1/s) log(alpha beta^s + (1 - alpha) C^-s).

    Args:
        exponent: s, an exact number (Rational, int, or text such as "1/2") with a numerator of at
            most 10 in size and a denominator of at most 1000.

    Raises:
        ParadigmError: not an exact real number, or its numerator or denominator is too large.
    """
    try:
        s = sp.Rational(exponent)
    except (TypeError, ValueError, ZeroDivisionError):
        raise ParadigmError(
            f"the exponent of a power mean must be an exact number such as 1/2, got {exponent!r}"
        ) from None
    if isinstance(exponent, float):
        s = s.limit_denominator(10**6)
    if abs(s.p) > LARGEST_POWER or s.q > LARGEST_ROOT:
        raise ParadigmError(
            f"the exponent of a power mean must be a fraction with a numerator from "
            f"-{LARGEST_POWER} to {LARGEST_POWER} and a denominator up to {LARGEST_ROOT}, such as "
            f"1/3, got {str(exponent)[:40]}"
        )
    return averaging(
        f"power-{s}",
        sp.log(beta) if s == 0 else beta**s,
        title=f"Power mean (s = {s})",
        source="power mean of the segments' probabilities",
    )


CATALOGUE: dict[str, Paradigm] = {p.name: p for p in (SOFT, HARD, LVML)}


def paradigm(given: object) -> Paradigm:
    """The paradigm of that name ("soft", "hard", "lvml", "power-1/2", ...), or the object itself.

    Raises:
        ParadigmError: the name is not known; the nearest one is named.
    """
    if isinstance(given, Paradigm):
        return given
    if isinstance(given, str):
        if given in CATALOGUE:
            return CATALOGUE[given]
        if given.startswith("power-"):
            return power_mean(given.removeprefix("power-"))
    raise ParadigmError(f"unknown paradigm {given!r}{nearest(str(given), [*CATALOGUE, 'power-S'])}")
