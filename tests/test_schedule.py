"""One grammar of schedules: what it reads, prints and refuses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnflow as af
from attnflow.errors import ParadigmError, SettingError
from attnflow.schedule import Amount, Schedule, Stage
from attnflow.symbolic.catalogue import SOFT

NUMBERS = st.floats(1e-12, 1e12)
NAMES = st.sampled_from(["soft", "hard-sampled", "power-1/2", "my focal", "nets.py:FOCAL"])
RATES = st.lists(
    st.builds(
        Amount, st.sampled_from(["rate", "rate.focus", "rate.classifier"]), NUMBERS, st.booleans()
    ),
    max_size=3,
    unique_by=lambda rate: rate.unit,
).map(tuple)


@st.composite
def schedules(draw):
    """Valid schedules of one to four stages, with ends of every unit."""
    ends = [
        *map(lambda t: Amount("t", t), sorted(draw(st.sets(NUMBERS, max_size=2)))),
        *map(
            lambda n: Amount("epoch", n), sorted(draw(st.sets(st.integers(1, 10**6), max_size=1)))
        ),
        *map(lambda a: Amount("alpha", a), draw(st.lists(st.floats(1e-6, 0.999), max_size=1))),
        *([Amount("theory")] * draw(st.integers(0, 1))),
        *([Amount("epoch", draw(st.floats(1e-3, 99.0)), True)] * draw(st.integers(0, 1))),
    ]
    return Schedule(
        [Stage(draw(NAMES), end, draw(RATES), draw(st.booleans())) for end in [*ends, None]]
    )


@given(schedules())
def test_a_schedule_reads_back_equal_from_its_text(schedule):
    assert Schedule(str(schedule)) == schedule


@pytest.mark.parametrize(
    "text",
    [
        "soft@t=200,hard",
        " soft @ t = 2e2 , hard ",
        "soft@t=+200.,hard",
        [("soft", 200), ("hard", None)],
        [("soft", "t=200"), ("hard", math.inf)],
        [("soft", np.float64(200)), ("hard",)],
        ["soft@t=200", "hard"],
        [Stage("soft", Amount("t", 200)), Stage("hard")],
    ],
)
def test_the_ways_to_write_a_schedule_are_one(text):
    schedule = Schedule(text)
    assert schedule == Schedule("soft@t=200,hard") and str(schedule) == "soft@t=200,hard"
    assert schedule.parts == (("soft", 200), ("hard", math.inf))


@pytest.mark.parametrize(
    ("old", "bare", "new"),
    [
        ("soft:200,hard", "t", "soft@t=200,hard"),
        ("soft:15,hard", "epoch", "soft@epoch=15,hard"),
        ("soft@15,hard", "epoch", "soft@epoch=15,hard"),
        ("lvml: 1e3 , soft:5000,hard", "t", "lvml@t=1e3 , soft@t=5000,hard"),
        ("soft:focus=0.6,lvml", "epoch", "soft@alpha=0.6,lvml"),
        ("power-1/2:t=90,hard", "epoch", "power-1/2@t=90,hard"),
        ("soft:theory,hard", "epoch", "soft@theory,hard"),
        ("soft@epoch=3,lvml:9:fresh,hard:rate=0.1", "epoch", None),
    ],
)
def test_an_old_form_is_refused_with_the_new_one(old, bare, new):
    new = new or "soft@epoch=3,lvml@epoch=9:fresh,hard:rate=0.1"
    with pytest.raises(SettingError) as refused:
        Schedule(old, bare=bare)
    assert str(refused.value) == (f"every end of a schedule has a unit: write {new}, got {old!r}")
    Schedule(new)


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        (
            "",
            "a schedule is paradigms joined by commas, each but the last with its end, as in soft",
        ),
        ("soft@t=5,", "a schedule is paradigms joined by commas"),
        ([], "a schedule must have at least one stage, got none"),
        ("soft,hard", r"every stage of a schedule but the last has an end .* soft has none"),
        ("soft@t=5", "last stage of a schedule has no end, got 'soft@t=5': leave it out, or say"),
        ([("soft", 5.0), ("hard", 9.0)], "the last stage of a schedule has no end"),
        ("soft@t=0,hard", "the t at which soft ends must be a finite number above 0, got 0"),
        ("soft@epoch=1.5,hard", "the epoch at which soft ends must be a whole number .* got 1.5"),
        ("soft@epoch=100%,hard", "the epoch at which soft ends must be above 0% and below 100%"),
        ("soft@alpha=1,hard", "the alpha at which soft ends must be above 0 and below 1, got 1"),
        ("soft@alpha=60%,hard", r"a stage ends at t=TIME, .* got 'alpha=60%' in"),
        ("soft@step=5,hard", "a stage ends at t=TIME, epoch=N, .* got 'step=5' in 'soft@step=5"),
        ("soft@t=nan,hard", "a stage ends at .* got 't=nan'"),
        ("soft@t=9,lvml@t=4,hard", "times of a schedule must increase, got 4 after 9 in"),
        ("soft@epoch=9,lvml@epoch=9,hard", "epochs of a schedule must increase, got 9 after 9"),
        ([(SOFT, np.nan), "hard"], "the t at which soft ends must be .* got nan"),
        ([("soft", "x"), "hard"], "a stage ends at t=TIME, .* got 'x' in 'soft@x'"),
        ([3, "hard"], r"a stage must be a text, a Stage or \(paradigm, end\), got 3"),
        ("soft@t=5,hard:rate=-1", "rate of hard must be a finite number above 0, got -1"),
        ("soft@t=5,hard:rate", r"a stage brings rate=R, .* or fresh, each once, got 'rate' in"),
        ("soft:rate=1:rate=2", "each once, got 'rate=2' in"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(stages, sentence):
    with pytest.raises(SettingError, match=sentence):
        Schedule(stages)


def test_hybrid_is_soft_for_half_the_epochs_then_hard():
    assert str(Schedule("hybrid")) == "soft@epoch=50%,hard"
    for epochs, half in ((1, 1), (2, 1), (5, 2), (40, 20), (151, 75)):
        assert str(Schedule("hybrid").over(epochs)) == f"soft@epoch={half},hard"
    with pytest.raises(SettingError, match="epochs of a schedule must increase, got 2 after 30"):
        Schedule("soft@epoch=30,lvml@epoch=50%,hard").over(4)


def test_a_stage_brings_its_learning_rates():
    plain, tenth, own, both = Schedule(
        "soft@t=1,lvml@t=2:rate=10%,hard@t=3:rate=0.2,soft:rate.focus=1e-3:rate=50%:fresh"
    ).stages
    assert [plain.rate(n, 0.05) for n in ("focus", "classifier")] == [0.05, 0.05]
    assert tenth.rate("focus", 0.05) == pytest.approx(0.005) and own.rate("encoder", 9.0) == 0.2
    assert (both.rate("focus", 0.05), both.rate("classifier", 0.05)) == (1e-3, 0.025)
    assert both.fresh and not own.fresh


def test_a_time_is_reached_in_spite_of_rounding():
    schedule = Schedule("soft@t=29,hard")
    assert 100 * 0.29 < 29 and schedule.stage_at(0, {"t": 100 * 0.29}) == 1
    assert schedule.stage_at(0, {"t": 28.99}) == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hybrid", "the flow has no epochs, got 'soft@epoch=50%,hard': end soft at a time"),
        ("soft@t=5,hard:fresh", "'hard:fresh' is for training only: the flow has no optimiser"),
        ("soft@theory,hard", r"depend on the setting: attnflow\.timed\(schedule, setting\)"),
    ],
)
def test_what_the_flow_does_not_have_is_refused(text, sentence):
    for function in (af.solve, af.simulate):
        with pytest.raises(SettingError, match=sentence):
            function(Schedule(text), af.Setting(5, 3), 1.0)


def test_an_end_by_focus_weight_is_where_the_flow_has_it():
    setting = af.Setting(8, 5)
    schedule = af.timed(Schedule("lvml@alpha=0.5,soft@alpha=0.7,hard"), setting)
    assert schedule.units == {"t"}
    ends = np.array([end for _, end in schedule.parts[:-1]])
    np.testing.assert_allclose(af.solve(schedule, setting, ends).alpha, [0.5, 0.7], rtol=1e-10)


def test_theory_times_all_switches():
    setting = af.Setting(5, 3)
    best = af.best_schedule(setting, 0.9, order=("soft", "hard"))
    assert af.timed(Schedule("soft@theory,hard"), setting) == best.schedule
    for text, sentence in (
        ("lvml@t=3,soft@theory,hard", "theory times all switches of a schedule or none, got lvml"),
        ("soft@alpha=0.9,lvml@alpha=0.6,hard", "lvml of .* must reach the focus weight 0.6 after"),
    ):
        with pytest.raises(SettingError, match=sentence):
            af.timed(Schedule(text), setting)
    with pytest.raises(ParadigmError, match="did you mean 'soft'"):
        af.timed(Schedule("sofd@theory,hard"), setting)
