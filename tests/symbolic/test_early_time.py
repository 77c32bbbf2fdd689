"""The start of training: series in time against the flow they must solve."""

import pytest
import sympy as sp

from attnflow.errors import ParadigmError
from attnflow.symbolic.algebra.coefficients import NoExpansion
from attnflow.symbolic.algebra.float_form import stable, textbook
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.early_time import StartSeries, first_difference, start_series
from attnflow.symbolic.flow import derive_flow
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import B, C, alpha, alpha0, attention, mu, mu0, nu, nu0, rho, t, tau
from oracles.zoo import FOCAL, MIXTURE

ALL = (SOFT, HARD, LVML, power_mean("1/2"), power_mean("-1"), MIXTURE, FOCAL)
IRRATIONAL = Paradigm("irrational", (2 + alpha * mu) ** sp.pi)
m = 1 + B
K = (C - 1) * B**2 * (2 * m - 3) / (6 * C**5 * m**7)


def residual_order(paradigm: Paradigm, series: StartSeries, point: dict) -> float:
    """The power of t at which the polynomials fail to solve the flow, from two tiny times."""
    flow = derive_flow(paradigm)
    point = {**point}
    for symbol, value in ((mu0, series.start[0]), (nu0, series.start[1])):
        point.setdefault(symbol, value)
    focus = attention.subs(nu, point[nu0]).subs(point)
    sizes = []
    for exponent in (-40, -41):
        at = {**point, alpha0: focus, t: sp.Rational(10) ** exponent}
        state = {mu: series.mu.subs(at), alpha: series.alpha.subs(at)}
        worst = 0
        for polynomial, velocity in ((series.mu, flow.mu_dot), (series.nu, flow.nu_dot)):
            exact = textbook(stable(velocity)).subs(state).subs(at)
            gap = sp.diff(polynomial, t).subs(at) - exact
            worst = max(worst, abs(sp.N(gap, 45 * (series.order + 2))))
        sizes.append(worst)
    return float(sp.log(sizes[0] / sizes[1], 10).n(8))


POINT = {B: sp.Rational(9, 2), C: sp.Rational(7, 2), rho: sp.Rational(3, 2), tau: sp.Rational(5, 4)}


@pytest.mark.parametrize(
    ("given", "order"),
    [*((p, 3) for p in (*ALL, IRRATIONAL)), (SOFT, 1), (SOFT, 8), (HARD, 8), (LVML, 8)],
    ids=str,
)
def test_series_solves_the_flow_to_its_order(given, order):
    assert residual_order(given, start_series(given, order), POINT) == pytest.approx(
        order, abs=1e-3
    )


@pytest.mark.parametrize(
    "start",
    [(mu0, nu0), (0, nu0), (sp.Rational(1, 2), 0), (-1, 2)],
    ids=["symbols", "score-only", "margin-only", "numbers"],
)
@pytest.mark.parametrize(
    "given",
    [SOFT, HARD, *(pytest.param(p, marks=pytest.mark.slow) for p in (LVML, power_mean("1/2")))],
    ids=str,
)
def test_series_from_any_start_solves_the_flow(given, start):
    series = start_series(given, 2, start)
    point = {**POINT, mu0: sp.Rational(-3, 4), nu0: sp.Rational(2, 3)}
    if sp.sympify(start[0]) != mu0:
        point[mu0] = sp.sympify(start[0])
    if sp.sympify(start[1]) != nu0:
        point[nu0] = sp.sympify(start[1])
    assert residual_order(given, series, point) == pytest.approx(2, abs=1e-3)


def test_explicit_series_holds_no_initial_focus():
    series = start_series(SOFT, 2, (mu0, nu0))
    assert alpha0 in series.mu.free_symbols
    assert alpha0 not in series.explicit.mu.free_symbols
    assert series.explicit.mu.subs({t: 1, nu0: 0, B: 2}) == series.mu.subs(
        {t: 1, alpha0: sp.Rational(1, 3)}
    )


@pytest.mark.parametrize("given", ALL, ids=str)
def test_series_of_alpha_and_loss_belong_to_those_of_mu_and_nu(given):
    order, tiny = 3, sp.Rational(1, 10**30)
    series = start_series(given, order)
    at = {**POINT, t: tiny}
    state = {mu: series.mu.subs(at), nu: series.nu.subs(at)}
    focus = attention.subs(state).subs(POINT)
    for claimed, exact in (
        (series.alpha, focus),
        (series.loss, given.expanded.subs({mu: state[mu], alpha: focus}).subs(POINT)),
    ):
        gap = abs(sp.N(claimed.subs(at) - exact, 250))
        assert gap < sp.Float(10) ** (-30 * (order + 1) + 6)


@pytest.mark.parametrize("given", [SOFT, HARD, LVML], ids=str)
def test_first_coefficients_are_common_to_all(given):
    series = start_series(given, 2)
    simple = {rho: 1, tau: 1}
    assert sp.simplify(sp.diff(series.mu, t).subs(t, 0).subs(simple) - 1 / (C * m)) == 0
    second = sp.diff(series.alpha, t, 2).subs(t, 0).subs(simple) / 2
    assert sp.simplify(second - (C - 1) * B**2 / (2 * C**3 * m**5)) == 0
    assert sp.simplify(series.loss.subs(t, 0) - sp.log(C)) == 0


@pytest.mark.parametrize(
    ("first", "second", "factor"),
    [(SOFT, HARD, 1), (LVML, SOFT, C - 2), (LVML, HARD, C - 1)],
    ids=["soft-hard", "lvml-soft", "lvml-hard"],
)
def test_first_differences_are_those_of_the_theory(first, second, factor):
    found = first_difference(first, second)
    simple = {rho: 1, tau: 1}
    assert (found.alpha[0], found.mu[0]) == (3, 2)
    assert sp.simplify(found.alpha[1].subs(simple) - factor * K) == 0
    assert sp.simplify(found.mu[1].subs(simple) - factor * B / (2 * C**3 * m**3)) == 0


def test_lvml_and_soft_part_later_for_two_classes():
    order, coefficient = first_difference(LVML, SOFT, classes=2).alpha
    expected = -((m - 1) ** 2) * (m**2 - 2) / (768 * m**9)
    assert order == 4
    assert sp.simplify(coefficient.subs({rho: 1, tau: 1}) - expected) == 0


def test_a_difference_is_that_of_the_two_series():
    a, b = start_series(power_mean("1/2"), 4), start_series(LVML, 4)
    order, coefficient = first_difference(power_mean("1/2"), LVML).alpha
    gap = sp.expand((a.alpha - b.alpha).subs(POINT))
    assert gap.coeff(t, order) == coefficient.subs(POINT)
    assert all(gap.coeff(t, n) == 0 for n in range(order))


def test_two_spellings_of_one_paradigm_are_refused():
    again = Paradigm("again", sp.log(1 + (C - 1) * sp.exp(-alpha * mu)))
    with pytest.raises(ParadigmError, match="'soft' and 'again' have the same alpha to order 12"):
        first_difference(SOFT, again)


def test_order_eight_holds_symbolic_parameters():
    series = start_series(SOFT, 8)
    assert sp.degree(series.mu, t) == 8
    assert {B, C, rho, tau} <= series.mu.free_symbols


@pytest.mark.parametrize("order", [0, -1, 2.0, True, "3"])
def test_a_bad_order_is_refused(order):
    with pytest.raises(
        ParadigmError, match=f"order must be a whole number of at least 1, got {order!r}"
    ):
        start_series(SOFT, order)


@pytest.mark.parametrize("start", [(0.5, 0), (0,), None, ("a b", 0)], ids=str)
def test_a_start_that_is_not_exact_is_refused(start):
    with pytest.raises(ParadigmError, match="start must be a pair .* of exact numbers"):
        start_series(SOFT, 2, start)


def test_a_loss_that_is_singular_at_the_start_is_refused():
    singular = Paradigm("singular", alpha * sp.log(mu))
    with pytest.raises(NoExpansion, match="singular at the start"):
        start_series(singular, 2)


@pytest.mark.parametrize("weight", [alpha * sp.log(alpha), sp.sqrt(alpha)], ids=str)
def test_the_start_of_a_loss_with_logarithm_or_root_of_alpha_is_written_in_b(weight):
    # from zero alpha = 1/(1 + B), and L_mu = C - 1 there
    paradigm = Paradigm("p", weight - (C - 1) * mu)
    series = start_series(paradigm, 1)
    at = {B: sp.Rational(17, 3), C: 4, rho: 1, tau: 1}
    weight = weight.subs(alpha, 1 / (1 + B))
    assert series.mu.subs(at) == t
    assert series.loss.free_symbols <= {B, C, rho, tau, t}
    assert abs(sp.N((series.loss.subs(t, 0) - weight).subs(at), 30)) < sp.Float("1e-28")
