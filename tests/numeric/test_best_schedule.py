"""Best switches and schedules: against searches that know no formula, and against drawn ones."""

import itertools
import math
from dataclasses import replace

import jax
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from attnflow.errors import IntegrationFailed, ParadigmError, SettingError
from attnflow.numeric import legs
from attnflow.numeric.best_schedule import best_schedule, best_switch
from attnflow.numeric.closed_form import solve
from attnflow.numeric.events import course, time_to_focus
from attnflow.numeric.simulate import simulate
from attnflow.numeric.switch_search import Race
from attnflow.schedule import Schedule
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import HARD, LVML, SOFT, power_mean
from attnflow.symbolic.catalogue import paradigm as find_paradigm
from attnflow.symbolic.paradigm import Paradigm
from attnflow.symbols import alpha, mu

NAMES = ("soft", "hard", "lvml")
# reaching times of every order, to the digits that an independent search gave
KNOWN = {
    (20, 20, 0.9): {
        "soft": "766",
        "hard": "707",
        "lvml": "640",
        "soft,hard": "678",
        "lvml,hard": "513",
        "lvml,soft,hard": "508.9",
    },
    (100, 1000, 0.9): {
        "soft": "132427",
        "hard": "132511",
        "lvml": "88375",
        "soft,hard": "132367",
        "lvml,hard": "79819",
        "lvml,soft,hard": "79769",
    },
    (100, 1000, 0.99): {
        "soft": "2.26e6",
        "hard": "147031",
        "lvml": "180871",
        "soft,hard": "146877",
        "lvml,hard": "94070",
        "lvml,soft,hard": "94002",
    },
    (5, 3, 0.9): {
        "soft": "280",
        "hard": "77.3",
        "lvml": "85.7",
        "soft,hard": "71.4",
        "lvml,hard": "72.4",
        "lvml,soft,hard": "70.8",
    },
}


def half_a_digit(text):
    """Half a unit of the last digit given."""
    mantissa, _, exponent = text.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.5000001 * 10.0 ** (int(exponent or 0) - decimals)


def schedule(first, then, switch):
    return Schedule([(first, float(switch)), (then, math.inf)])


def reaching_by_solve(what, setting, target, initial=(0.0, 0.0), near=1.0):
    """When alpha reaches the target, by root finding on the trajectory."""
    wanted = math.log(target / (1 - target))

    def lacking(log_time):
        path = solve(what, setting, math.exp(log_time), initial)
        return math.log(float(path.alpha) / float(path.complement)) - wanted

    middle = math.log(near)
    return math.exp(brentq(lacking, middle - 0.1, middle + 0.1, xtol=1e-15, rtol=1e-15))


@pytest.mark.parametrize("case", KNOWN, ids=str)
def test_every_known_time_is_reached(case):
    best = best_schedule(Setting(*case[:2]), case[2])
    for order, text in KNOWN[case].items():
        assert best.alternatives[order] == pytest.approx(float(text), abs=half_a_digit(text))
    assert [name for name, _ in best.schedule.parts] == ["lvml", "soft", "hard"]
    assert best.time == best.alternatives["lvml,soft,hard"] == min(best.alternatives.values())
    assert best.advantage < 1e-9
    assert set(best.alternatives) == {
        ",".join(order) for n in (1, 2, 3) for order in itertools.permutations(NAMES, n)
    }


def test_with_two_classes_a_short_lvml_part_lies_between_soft_and_hard():
    best = best_schedule(Setting(1000, 2), 0.9)
    (one, first), (two, second), (three, last) = best.schedule.parts
    assert (one, two, three, last) == ("soft", "lvml", "hard", math.inf)
    assert second - first < 0.01 * first
    assert best.time == pytest.approx(3620.985, abs=1e-3)
    assert best.time < best.alternatives["soft,hard"]


@pytest.mark.parametrize(
    ("m", "C", "target", "first", "then"),
    [
        pytest.param(20, 20, 0.9, "soft", "hard", marks=pytest.mark.slow),
        pytest.param(20, 20, 0.9, "lvml", "hard", marks=pytest.mark.slow),
        pytest.param(20, 20, 0.9, "lvml", "soft", marks=pytest.mark.slow),
        (100, 1000, 0.9, "soft", "hard"),
        pytest.param(5, 3, 0.9, "soft", "lvml", marks=pytest.mark.slow),
    ],
)
def test_the_switch_is_where_brute_force_finds_it(m, C, target, first, then):
    setting = Setting(m, C)
    best = best_switch(setting, target, first, then)

    def total(switch):
        return reaching_by_solve(
            schedule(first, then, switch), setting, target, near=best.total_time
        )

    def slope(switch):
        """Central differences of fourth order, in steps small against both parts."""
        step = 0.01 * min(switch, best.total_time - switch)
        near, far = (total(switch + n * step) - total(switch - n * step) for n in (1, 2))
        return (8 * near - far) / (12 * step)

    found = brentq(slope, 0.99 * best.switch_time, 1.005 * best.switch_time, xtol=1e-9)
    assert best.switch_time == pytest.approx(found, rel=1e-6)
    assert best.total_time == pytest.approx(total(best.switch_time), rel=1e-12)
    path = solve(best.schedule, setting, np.array([best.switch_time, best.total_time]))
    assert (path.mu[0], path.nu[0]) == pytest.approx((best.mu, best.nu), rel=1e-12)


GENERAL = Setting(
    30,
    7,
    foreground_segments=2,
    foreground_norm=1.5,
    background_norm=0.7,
    background="distinct",
    focus_rate=3.0,
)
CASES = [
    (Setting(20, 20), 0.9, (0.0, 0.0)),
    (Setting(2, 2), 0.99, (0.0, 0.0)),
    (GENERAL, 0.95, (0.4, -1.0)),
    (Setting(50, 10), 0.6, (-1.0, 0.5)),
]


@pytest.mark.parametrize("pair", [*itertools.permutations(NAMES, 2)], ids="-".join)
@pytest.mark.parametrize(("setting", "target", "initial"), CASES, ids=["plain", "2", "all", "low"])
def test_no_switch_time_is_better_than_the_best(setting, target, initial, pair):
    best = best_switch(setting, target, *pair, initial)
    alone = [time_to_focus(name, setting, target, initial) for name in pair]
    assert list(best.alternatives.values()) == pytest.approx(alone, rel=1e-13)
    assert best.total_time <= min(alone) * (1 + 1e-13)
    for switch in min(alone) * np.linspace(0.02, 0.98, 25):
        tried = time_to_focus(schedule(*pair, switch), setting, target, initial)
        assert best.total_time <= tried * (1 + 1e-12)
    assert time_to_focus(best.schedule, setting, target, initial) == pytest.approx(
        best.total_time, rel=1e-12
    )


def test_where_no_switch_helps_the_better_of_the_two_stays_alone():
    never = best_switch(Setting(20, 20), 0.9, "lvml", "hard")
    assert 0 < never.switch_time < never.total_time
    at_once = best_switch(Setting(20, 20), 0.9, "soft", "lvml")
    assert at_once.switch_time == 0
    assert at_once.schedule.parts == (("lvml", math.inf),)
    late = best_switch(Setting(20, 20), 0.06, "lvml", "soft")
    assert late.switch_time == math.inf
    assert late.schedule.parts == (("lvml", math.inf),)
    assert late.total_time == late.alternatives["lvml"]


@pytest.mark.parametrize("order", [(LVML, SOFT, HARD), (SOFT, LVML, HARD)], ids=str)
def test_the_conditions_are_the_derivatives_of_the_total_time(order):
    race = Race(course(GENERAL, 0.95, (0.4, -1.0)))
    lengths = np.array([0.6, 0.5])
    steps = 1e-3 * np.eye(2)
    gradient = race.evaluate(order, lengths).gradient[0]
    for step, derivative in zip(steps, gradient, strict=True):
        points = [lengths + n * step for n in (-2, -1, 1, 2)]
        far_left, left, right, far_right = race.evaluate(order, points).total
        measured = (8 * (right - left) - (far_right - far_left)) / (12 * 1e-3)
        assert derivative == pytest.approx(measured, rel=1e-8)


@pytest.mark.parametrize(("setting", "target", "initial"), CASES, ids=["plain", "2", "all", "low"])
def test_no_schedule_drawn_at_random_is_better(setting, target, initial):
    best = best_schedule(setting, target, initial=initial)
    assert best.advantage < 1e-8
    # a part that vanished is left out of the best, whose time is then computed anew
    assert best.time == pytest.approx(min(best.alternatives.values()), rel=1e-14)

    @settings(max_examples=60)
    @given(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
        st.lists(st.floats(0.01, 0.99), min_size=3, max_size=3, unique=True),
    )
    def nothing_better(names, shares):
        ends = [*(best.time * s for s in sorted(shares)[: len(names) - 1]), math.inf]
        tried = time_to_focus(Schedule(zip(names, ends, strict=True)), setting, target, initial)
        assert best.time <= tried * (1 + 1e-12)

    nothing_better()


@pytest.mark.parametrize(("setting", "target", "initial"), CASES, ids=["plain", "2", "all", "low"])
def test_moving_a_switch_of_the_best_schedule_gains_nothing(setting, target, initial):
    best = best_schedule(setting, target, initial=initial)
    names, ends = zip(*best.schedule.parts, strict=True)
    for index, factor in itertools.product(range(len(ends) - 1), (0.999, 0.9999, 1.0001, 1.001)):
        moved = list(ends)
        moved[index] *= factor
        if moved != sorted(moved):
            continue
        tried = time_to_focus(Schedule(zip(names, moved, strict=True)), setting, target, initial)
        assert tried >= best.time * (1 - 1e-13)


@pytest.mark.slow
def test_more_paradigms_never_take_longer():
    two = best_schedule(Setting(5, 3), 0.9, ("soft", "hard"))
    three = best_schedule(Setting(5, 3), 0.9)
    four = best_schedule(Setting(5, 3), 0.9, (*NAMES, power_mean("1/2")))
    assert four.time <= three.time * (1 + 1e-13) < two.time
    assert two.time == pytest.approx(three.alternatives["soft,hard"], rel=1e-13)
    assert len(four.alternatives) >= 4 + 12 + 24


def test_a_part_may_return_where_the_margin_starts_below_zero():
    best = best_schedule(Setting(10, 16), 0.96, initial=(-2.0, -0.8))
    order = ",".join(name for name, _ in best.schedule.parts)
    assert order == "hard,lvml,soft,hard"
    assert best.alternatives[order] == best.time
    assert best.time < min(best.alternatives[",".join(o)] for o in itertools.permutations(NAMES))
    assert best.advantage < 1e-8


def test_a_given_order_is_kept_to():
    best = best_schedule(Setting(20, 20), 0.9, order=("soft", "hard"))
    single = best_switch(Setting(20, 20), 0.9, "soft", "hard")
    assert best.schedule == single.schedule
    assert best.time == single.total_time
    assert set(best.alternatives) == {"soft", "hard", "soft,hard"}
    alone = best_schedule(Setting(20, 20), 0.9, order=("hard",))
    assert alone.schedule.parts == (("hard", math.inf),)
    vanishing = best_schedule(Setting(20, 20), 0.9, order=("soft", "lvml", "hard"))
    assert vanishing.schedule.parts[0][0] == "lvml"
    again = best_schedule(Setting(5, 3), 0.9, order=("lvml", "soft", "lvml", "hard"))
    free = best_schedule(Setting(5, 3), 0.9)
    assert free.time <= again.time * (1 + 1e-13)
    assert again.time == pytest.approx(free.time, rel=1e-12)


def test_large_settings_and_targets_near_one_are_no_trouble():
    best = best_schedule(Setting(10**5, 10**5), 0.9999)
    assert [name for name, _ in best.schedule.parts] == ["lvml", "soft", "hard"]
    assert best.time < best.alternatives["lvml,hard"] < best.alternatives["lvml"]
    assert best.alternatives["soft"] == pytest.approx(2.9731198495e61, rel=1e-9)
    assert solve(best.schedule, Setting(10**5, 10**5), best.time).alpha == pytest.approx(
        0.9999, rel=1e-12
    )


def test_time_scales_with_the_learning_rates():
    plain = best_schedule(Setting(20, 20), 0.9)
    faster = best_schedule(Setting(20, 20, focus_rate=2.0, classifier_rate=2.0), 0.9)
    ends = [[end for _, end in best.schedule.parts[:-1]] for best in (plain, faster)]
    np.testing.assert_allclose(np.array(ends[0]) / 2, ends[1], rtol=1e-8)
    assert faster.time == pytest.approx(plain.time / 2, rel=1e-13)


def test_a_paradigm_of_ones_own_is_scheduled_like_the_built_in():
    middle = power_mean("1/2")
    best = best_switch(Setting(20, 20), 0.9, middle, "hard")
    assert best.first == "power-1/2"
    for switch in best.total_time * np.linspace(0.1, 0.9, 9):
        tried = time_to_focus(schedule(middle, "hard", switch), Setting(20, 20), 0.9)
        assert best.total_time <= tried
    own = Paradigm("own", HARD.loss)
    alike = best_switch(Setting(20, 20), 0.9, "soft", own)
    known = best_switch(Setting(20, 20), 0.9, "soft", "hard")
    assert alike.switch_time == pytest.approx(known.switch_time, rel=1e-12)
    assert alike.schedule.parts[1][0] is own


def test_the_global_precision_is_left_alone():
    before = jax.config.jax_enable_x64
    time = best_switch(Setting(3, 3), 0.8, "soft", "hard").total_time
    assert jax.config.jax_enable_x64 == before
    with jax.enable_x64(True):
        assert best_switch(Setting(3, 3), 0.8, "soft", "hard").total_time == time


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (0, "target must be a focus weight above 0 and below 1, got 0"),
        (1.0, "target must be a focus weight above 0 and below 1, got 1.0"),
        (math.nan, "target must be a focus weight above 0 and below 1, got nan"),
        ("high", "target must be a focus weight above 0 and below 1, got high"),
        (0.05, "target must be above the focus weight at the start, 0.05, and below 1, got 0.05"),
        (0.01, "target must be above the focus weight at the start, 0.05, and below 1, got 0.01"),
    ],
)
def test_a_target_out_of_reach_is_refused_by_name(target, message):
    for ask in (
        lambda: best_schedule(Setting(20, 20), target),
        lambda: best_switch(Setting(20, 20), target, "soft", "hard"),
        lambda: time_to_focus("soft", Setting(20, 20), target),
    ):
        with pytest.raises(SettingError, match=message):
            ask()


def test_bad_arguments_are_refused_by_name():
    setting = Setting(20, 20)
    with pytest.raises(ParadigmError, match="unknown paradigm 'sotf'; did you mean 'soft'"):
        best_switch(setting, 0.9, "sotf", "hard")
    with pytest.raises(SettingError, match="must be different paradigms, got 'hard' twice"):
        best_switch(setting, 0.9, "hard", HARD)
    with pytest.raises(SettingError, match="paradigms must be a sequence of paradigms, got 'soft'"):
        best_schedule(setting, 0.9, "soft")
    with pytest.raises(SettingError, match="paradigms must hold at least one paradigm"):
        best_schedule(setting, 0.9, ())
    with pytest.raises(SettingError, match="paradigms must have different names, got hard, hard"):
        best_schedule(setting, 0.9, ("hard", Paradigm("hard", SOFT.loss)))
    with pytest.raises(SettingError, match=r"order must be a sequence .* got 'soft'"):
        best_schedule(setting, 0.9, order="soft")
    with pytest.raises(SettingError, match="order must be a sequence of at least one"):
        best_schedule(setting, 0.9, order=())
    with pytest.raises(
        SettingError, match="order must not hold a paradigm twice in succession, got 'soft'"
    ):
        best_schedule(setting, 0.9, order=("soft", "soft"))
    with pytest.raises(SettingError, match="setting must be an attnflow.Setting"):
        best_schedule(20, 0.9)
    with pytest.raises(SettingError, match=r"best_schedule takes one setting, .* got .* \(2,\)"):
        best_schedule(Setting(np.array([10, 20]), 20), 0.9)
    with pytest.raises(SettingError, match=r"best_switch takes .* one target .* shape \(2,\)"):
        best_switch(setting, [0.5, 0.6], "soft", "hard")
    with pytest.raises(SettingError, match=r"initial nu \(nu0\) .* from -300 to 300, got inf"):
        best_schedule(setting, 0.9, initial=(0.0, math.inf))
    with pytest.raises(SettingError, match="best_schedule runs from plain Python, got a tracer"):
        jax.jit(lambda target: best_schedule(setting, target))(0.9)


def test_what_no_paradigm_reaches_is_refused():
    with pytest.raises(SettingError, match="target must be .* reach .* got 0.999999: soft never"):
        best_schedule(Setting(10**6, 10**6), 0.999999, ("soft",))


def integrated(paradigm):
    """The same paradigm under a name by which ``routes`` knows that it is to be integrated."""
    return replace(find_paradigm(paradigm), name=f"integrated-{paradigm}")


@pytest.fixture
def routes(monkeypatch):
    """Legs of what ``integrated`` gives know no first integral."""
    exact = legs.separates
    monkeypatch.setattr(
        legs, "separates", lambda p: not p.name.startswith("integrated") and exact(p)
    )


@pytest.mark.parametrize(("setting", "target", "initial"), CASES, ids=["plain", "2", "all", "low"])
def test_integrated_legs_give_what_the_closed_form_gives(setting, target, initial, routes):
    for names in (("soft", "hard"), ("lvml", "soft"), ("lvml", "hard")):
        exact = best_switch(setting, target, *names, initial)
        stepped = best_switch(setting, target, *map(integrated, names), initial)
        for name in ("switch_time", "total_time", "mu", "nu"):
            assert getattr(stepped, name) == pytest.approx(getattr(exact, name), rel=1e-11)
        assert list(stepped.alternatives.values()) == pytest.approx(
            list(exact.alternatives.values()), rel=1e-12
        )
    exact = best_schedule(setting, target, initial=initial)
    # one closed and two integrated: both kinds of leg in one order
    mixed = best_schedule(setting, target, ("lvml", *map(integrated, ("soft", "hard"))), initial)
    assert mixed.time == pytest.approx(exact.time, rel=1e-12)
    ends = [[end for _, end in best.schedule.parts[:-1]] for best in (exact, mixed)]
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-6)  # the time is flat there


MIXTURE = Paradigm("mixture", (2 * SOFT.loss + HARD.loss) / 3)
ENTROPY = Paradigm(
    "entropy", LVML.loss + (alpha * sp.log(alpha) + (1 - alpha) * sp.log(1 - alpha)) / 20
)
# hard attention whose margin is pulled back to 0, so that it falls where it began high
PULLED = Paradigm("pulled", HARD.loss + mu**2 / 100)


@pytest.mark.parametrize("paradigm", [MIXTURE, ENTROPY, PULLED], ids=lambda p: p.name)
def test_the_first_time_is_that_of_the_simulated_flow(paradigm):
    for setting, target, initial in CASES[:3]:
        reached = time_to_focus(paradigm, setting, target, initial)
        path = simulate(paradigm, setting, [0.999 * reached, reached], initial, rtol=1e-13)
        assert float(path.alpha[1]) == pytest.approx(target, rel=1e-10)
        assert float(path.alpha[0]) < target


@pytest.mark.parametrize("order", [(MIXTURE, LVML, ENTROPY), (HARD, ENTROPY, MIXTURE)])
@pytest.mark.parametrize("start", [(0.4, -1.0), (-1.0, 0.5)], ids=str)
def test_the_conditions_are_the_derivatives_without_a_first_integral(order, start):
    race = Race(course(GENERAL, 0.95, start))
    lengths, step = np.array([0.6, 0.5]), 1e-3
    gradient = race.evaluate(order, lengths).gradient[0]
    for direction, derivative in zip(step * np.eye(2), gradient, strict=True):
        points = [lengths + n * direction for n in (-2, -1, 1, 2)]
        far_left, left, right, far_right = race.evaluate(order, points).total
        measured = (8 * (right - left) - (far_right - far_left)) / (12 * step)
        assert derivative == pytest.approx(measured, rel=1e-7)


@pytest.mark.parametrize("pair", [(MIXTURE, HARD), (LVML, MIXTURE), (ENTROPY, PULLED)], ids=str)
@pytest.mark.parametrize(("setting", "target", "initial"), CASES, ids=["plain", "2", "all", "low"])
def test_without_a_first_integral_no_switch_is_better_than_the_best(setting, target, initial, pair):
    best = best_switch(setting, target, *pair, initial)
    for switch in best.total_time * np.linspace(0.02, 0.98, 13):
        tried = time_to_focus(schedule(*pair, switch), setting, target, initial)
        assert best.total_time <= tried * (1 + 1e-12)
    path = simulate(best.schedule, setting, best.total_time, initial, rtol=1e-13)
    assert float(path.alpha) == pytest.approx(target, rel=1e-10)


def test_a_margin_may_turn_within_a_leg():
    setting, start = Setting(20, 20), (4.0, 0.0)
    path = simulate(PULLED, setting, np.linspace(0.0, 400.0, 9), start)
    assert np.ptp(np.sign(np.diff(path.mu))) == 2  # it falls, then rises
    target = float(path.alpha[-1])
    assert time_to_focus(PULLED, setting, target, start) == pytest.approx(400.0, rel=1e-8)


def test_a_level_above_the_equilibrium_is_never_reached():
    barrier = (sp.log(alpha) + sp.log(1 - alpha)) / 4
    held = Paradigm("held", SOFT.loss - barrier + mu**2 / 100)
    assert time_to_focus(held, Setting(5, 3), 0.99) == math.inf
    resting = simulate(held, Setting(5, 3), 1e6)
    target = float(resting.alpha) - 0.01
    reached = time_to_focus(held, Setting(5, 3), target)
    assert float(simulate(held, Setting(5, 3), reached).alpha) == pytest.approx(target, rel=1e-9)


def test_a_flow_that_cannot_be_followed_is_refused_not_called_endless(monkeypatch):
    monkeypatch.setattr(legs, "PANELS", 3)
    short = Paradigm("short", MIXTURE.loss)  # compiled anew
    with pytest.raises(IntegrationFailed, match="flow of short could not be followed beyond mu = "):
        time_to_focus(short, Setting(5, 3), 0.99)


def test_a_schedule_takes_what_has_no_first_integral():
    best = best_schedule(Setting(20, 20), 0.9, ("hard", "lvml", MIXTURE))
    assert best.advantage < 1e-8
    plain = best_schedule(Setting(20, 20), 0.9, ("hard", "lvml"))
    assert best.time <= plain.time * (1 + 1e-13)
    assert best.alternatives["lvml,hard"] == pytest.approx(plain.alternatives["lvml,hard"])
