"""Late limits against mpmath orbits, and the checks of every asymptotic step."""

import re
from dataclasses import replace

import pytest
import sympy as sp
from mpmath import mp, mpf

from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.derivation import time_steps
from attnflow.symbolic.derivation.step import UncheckedStep
from attnflow.symbolic.derivation.time_steps import difference_steps, steps
from attnflow.symbolic.early_time import StartSeries, start_series
from attnflow.symbolic.late_time import late_time
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import B, C, alpha, mu, rho, t, tau
from oracles.zoo import FOCAL, MIXTURE


@pytest.fixture(autouse=True)
def many_digits():
    with mp.workdps(40):
        yield


def _orbit(paradigm: Paradigm, values: dict, margin: int):
    """(time from mu = 0, 1 - alpha, nu, L) on the orbit from zero, where the margin is reached."""
    with mp.workdps(40):
        b, c, r, speed = (
            mpf(sp.Rational(values[s]).p) / sp.Rational(values[s]).q for s in (B, C, rho, tau)
        )
        if paradigm is SOFT:

            def phi(x):
                return (c - 1) * x**2 / (2 * c)

            def pace(x, w):
                return (mp.exp(x * w / (1 + w)) + c - 1) * (1 + 1 / w)

            def loss(x, w):
                return mp.log1p((c - 1) * mp.exp(-x * w / (1 + w)))
        elif paradigm is HARD:

            def slope(x):
                return (mp.exp(x) + c - 1) * mp.log(c * mp.exp(x) / (mp.exp(x) + c - 1)) / c

            def phi(x):
                return mp.quad(slope, mp.linspace(0, x, 2 + int(x / 4)))

            def pace(x, w):
                return (mp.exp(x) + c - 1) * (1 + 1 / w)

            def loss(x, w):
                return (w * mp.log1p((c - 1) * mp.exp(-x)) + mp.log(c)) / (1 + w)
        else:

            def phi(x):
                return (c - 1) / c**2 * (mp.expm1(x) - x + (c - 1) * (mp.expm1(-x) + x))

            def pace(x, w):
                return (mp.exp(x) + c - 1) * (1 + (1 + (c - 1) * mp.exp(-x)) / (c * w))

            def loss(x, w):
                miss = (c - 1) / (mp.exp(x) + c - 1)
                return -mp.log1p(-(w * miss + 1 - 1 / c) / (1 + w))

        def weight(x):
            z = 1 / b + r * phi(x) - mp.log(b)
            w = mp.lambertw(mp.exp(z)).real if z < 50 else z - mp.log(z)
            for _ in range(8):
                w -= (w + mp.log(w) - z) * w / (1 + w)
            return w

        w = weight(mpf(margin))
        step = mpf(1) / 4
        elapsed = None
        if paradigm is not HARD:
            nodes = mp.linspace(0, margin, int(margin / step) + 1)
            with mp.workdps(20):
                elapsed = mp.quad(lambda x: pace(x, weight(x)), nodes, maxdegree=3) / speed
        return (
            elapsed,
            1 / (1 + w),
            mp.log(b * w),
            loss(mpf(margin), w),
            pace(mpf(margin), w) / speed,
        )


LATE = {B: 19, C: 20, rho: sp.Rational(3, 2), tau: sp.Rational(5, 4)}


def _number(expr: sp.Expr) -> mpf:
    return mpf(sp.N(expr.subs(LATE), 30)._to_mpmath(100))


@pytest.mark.parametrize("given", [HARD, LVML], ids=str)
def test_late_constants_are_those_of_an_orbit_far_out(given):
    late = late_time(given)
    assert late.kind == "exponential"
    errors = []
    for margin in (20, 24):
        _, away, score, loss, pace = _orbit(given, LATE, margin)
        scale = mp.exp(margin) / _number(tau)
        leading = _number((late.clock * sp.exp(margin) + late.linear) / tau)
        errors.append(
            (
                abs(scale * away / _number(late.inattention) - 1),
                abs(score - mp.log(scale) - _number(late.focus)),
                abs(scale * loss / _number(late.loss) - 1),
                abs(pace - leading),
            )
        )
    # what is neglected is of order mu^2 e^-mu: down by a factor near e^-4 (24/20)^2 = 1/38
    for near, far in zip(*errors, strict=True):
        assert far < near / 20
        assert far < 1e-6


def test_late_time_of_lvml_tends_to_its_expansion_up_to_a_constant():
    late = late_time(LVML)
    rests = []
    for margin in (12, 18, 24):
        elapsed = _orbit(LVML, LATE, margin)[0]
        rests.append(elapsed - _number((late.clock * sp.exp(margin) + late.linear * margin) / tau))
    assert abs(rests[2] - rests[1]) < abs(rests[1] - rests[0]) / 50
    assert abs(rests[2] - rests[1]) < 0.01


def test_late_soft_attention_splutters():
    late = late_time(SOFT)
    assert (late.kind, late.power) == ("logarithmic", 2)
    assert late.linear is None
    previous = None
    for margin in (100, 10_000, 1_000_000):
        _, away, score, _, _ = _orbit_soft(margin)
        errors = (
            abs(margin**2 * away / _number(late.inattention) - 1),
            abs(mp.exp(score) / margin**2 / _number(late.focus) - 1),
        )
        if previous is not None:
            assert all(e < p / 1000 for e, p in zip(errors, previous, strict=True))
        previous = errors
    assert max(previous) < 1e-9
    elapsed, _, _, loss, _ = _orbit(SOFT, LATE, 40)
    assert float(mp.log(elapsed * _number(tau)) / 40) == pytest.approx(1, abs=0.02)
    assert float(elapsed * loss / _number(late.loss)) == pytest.approx(1, abs=0.15)


def _orbit_soft(margin: int):
    with mp.workdps(40):
        z = mpf(1) / 19 + mpf("1.5") * 19 * mpf(margin) ** 2 / 40 - mp.log(19)
        w = z
        for _ in range(12):
            w -= (w + mp.log(w) - z) * w / (1 + w)
        return None, 1 / (1 + w), mp.log(19 * w), None, None


def test_late_constants_of_the_simple_setting_are_those_of_the_theory():
    simple = {rho: 1, tau: 1}
    hard, lvml, soft = (late_time(p) for p in (HARD, LVML, SOFT))
    expected = {
        hard.linear: C - 1 + C / sp.log(C),
        hard.inattention: C / sp.log(C),
        hard.loss: 2 * C - 1,
        lvml.linear: C - 1 + C / (C - 1),
        lvml.inattention: C**2 / (C - 1),
        lvml.loss: 2 * C - 1,
        soft.loss: C - 1,
        soft.focus: B * (C - 1) / (2 * C),
    }
    for found, value in expected.items():
        assert sp.simplify(found.subs(simple) - value) == 0
    gap = (hard.focus - lvml.focus).subs({**simple, B: 3})
    assert sp.simplify(sp.expand_log(gap - sp.log(C * sp.log(C) / (C - 1)), force=True)) == 0


def test_power_means_join_hard_attention_and_lvml_late_too():
    for share in ("1/2", "2/3", "-1"):
        s = sp.Rational(share)
        late = late_time(power_mean(share))
        # Phi' ~ e^mu (1 - C^-s)/(s C): the limits are log C/C and (C - 1)/C^2
        expected = (1 - C**-s) / (s * C)
        assert sp.simplify(late.slope / sp.exp(mu) - expected) == 0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (MIXTURE, "no first integral"),
        (FOCAL, "where the rule needs multiples of e\\^mu"),
    ],
    ids=["mixture", "focal"],
)
def test_where_the_late_rule_does_not_apply_it_says_why(given, reason):
    late = late_time(given)
    assert late.kind is None
    assert late.linear is late.inattention is late.focus is late.loss is None
    assert re.search(reason, late.reason)
    assert not [s for s in steps(given) if s.name.startswith("late")]


@pytest.mark.parametrize(
    "given",
    [
        *(SOFT, HARD, LVML, power_mean("1/2"), power_mean("-1/3"), power_mean("2")),
        Paradigm("squared", SOFT.loss**2),
        Paradigm("logarithm", sp.log(1 + LVML.loss)),
    ],
    ids=str,
)
def test_all_steps_are_checked(given):
    found = steps(given)
    assert [s.name for s in found][:4] == ["start-mu", "start-nu", "start-alpha", "start-loss"]
    assert {s.check for s in found} == {"50 digits"}
    least = 8 if late_time(given).kind else 4
    assert len({s.name for s in found}) == len(found) >= least


def test_a_wrong_series_does_not_pass_its_check():
    right = start_series(HARD, 3)
    for name in ("mu", "nu", "loss"):
        fields = {
            f: getattr(right, f)
            for f in ("start", "mu", "nu", "alpha", "loss", "initial_focus", "order")
        }
        fields[name] += t**3 / 10**6
        with pytest.raises(UncheckedStep, match=f"the series of {name} of 'hard' does not solve"):
            time_steps._check_series(HARD, StartSeries(**fields))


@pytest.mark.parametrize("name", ["linear", "inattention", "focus", "loss"])
def test_a_wrong_late_constant_does_not_pass_its_check(name):
    right = late_time(HARD)
    wrong = replace(right, **{name: getattr(right, name) + sp.Rational(1, 10**12)})
    with pytest.raises(UncheckedStep, match="the late .* of 'hard' is not"):
        time_steps._check_late(HARD, wrong)


def test_difference_steps_name_both_paradigms():
    found = difference_steps([SOFT, LVML])
    assert [s.name for s in found] == ["difference-soft-lvml-alpha", "difference-soft-lvml-mu"]


def test_a_loss_that_grows_like_a_logarithm_has_no_late_rule_but_a_derivation():
    paradigm = Paradigm("cauchy", sp.log(1 + (2 - alpha * mu) ** 2))
    assert late_time(paradigm).kind is None
    assert "no quotient of polynomials in mu" in late_time(paradigm).reason
