"""What a user may choose, and the sentence for everything else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attnflow as af
from attnflow import Schedule, Setting, power_mean, solve
from attnflow.errors import ParadigmError, SettingError, warn
from attnflow.numeric.focus import focus_score
from attnflow.numeric.problem import normalise
from attnflow.settings import check, check_start
from attnflow.symbolic.catalogue import CATALOGUE, paradigm

SMALL = Setting(5, 3)
nan, inf = np.nan, np.inf


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"segments": 1}, r"segments \(m\) must be a whole number of at least 2, got 1$"),
        ({"segments": 2.5}, r"segments \(m\) must be a whole number of at least 2, got 2\.5$"),
        ({"segments": nan}, r"segments \(m\) must be a whole number of at least 2, got nan$"),
        ({"segments": inf}, r"segments \(m\) must be a whole number of at least 2, got inf$"),
        ({"segments": "5"}, r"segments \(m\) must be a whole number of at least 2, got 5$"),
        ({"segments": True}, r"segments \(m\) must be a whole number of at least 2, got True$"),
        ({"segments": None}, r"segments \(m\) must be a whole number of at least 2, got None$"),
        ({"segments": [5, 1, 0]}, r"segments \(m\) must be .* at least 2, got 1\.0$"),
        ({"classes": 1}, r"classes \(C\) must be a whole number of at least 2, got 1$"),
        ({"classes": -3}, r"classes \(C\) must be a whole number of at least 2, got -3$"),
        ({"foreground_segments": 0}, r"foreground_segments must be .* at least 1, got 0$"),
        (
            {"foreground_segments": 5},
            r"foreground_segments must be less than segments \(m = 5\), got 5$",
        ),
        ({"foreground_norm": 0}, r"foreground_norm must be a finite number above 0, got 0$"),
        ({"foreground_norm": inf}, r"foreground_norm must be a finite number above 0, got inf$"),
        (
            {"background_norm": -1},
            r"background_norm must be a finite number of at least 0, got -1$",
        ),
        ({"focus_rate": 0.0}, r"focus_rate must be a finite number above 0, got 0\.0$"),
        ({"classifier_rate": -2.0}, r"classifier_rate must be a finite number above 0, got -2\.0$"),
        ({"background": "none"}, r"background must be one of shared, distinct, got 'none'$"),
    ],
)
def test_a_setting_refuses(arguments, sentence):
    with pytest.raises(SettingError, match=sentence):
        Setting(**{"segments": 5, "classes": 3, **arguments})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"setting": (5, 3)},
            r"must be an attnflow\.Setting\(segments, classes\), got \(5",
        ),
        ({"freeze": "both"}, r"freeze must be None, 'focus' or 'classifier', got 'both'$"),
        ({"initial": 0.0}, r"initial must be a pair \(mu0, nu0\), got 0\.0$"),
        ({"initial": (1, 2, 3)}, r"initial must be a pair \(mu0, nu0\), got \(1, 2, 3\)$"),
        ({"times": -1.0}, r"times must be finite and at least 0, got -1\.0$"),
        ({"times": [1.0, nan]}, r"times must be finite and at least 0, got nan$"),
        ({"times": inf}, r"times must be finite and at least 0, got inf$"),
        ({"times": [1 + 2j]}, r"times must be finite and at least 0, got \[\(1\+2j\)\]$"),
        ({"times": [True]}, r"times must be finite and at least 0, got \[True\]$"),
        (
            {"times": np.array(["2020"], "M8")},
            r"times must be finite and at least 0, got \['2020'\]",
        ),
        ({"times": "soon"}, r"times must be finite and at least 0, got soon$"),
        ({"initial": (nan, 0)}, r"initial mu \(mu0\) must be a number from -300 to 300, got nan$"),
        ({"initial": (0, inf)}, r"initial nu \(nu0\) must be a number from -300 to 300, got inf$"),
        (
            {"setting": Setting([5, 6], 3), "initial": (np.zeros(3), 0.0)},
            r"arrays in setting and initial must broadcast together, got shapes \(2,\), \(3,\)$",
        ),
    ],
)
def test_solve_refuses(arguments, sentence):
    given = {"paradigm": "soft", "setting": SMALL, "times": 1.0, **arguments}
    with pytest.raises(SettingError, match=sentence):
        solve(**given)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "sotf",
            r"'sotf'; did you mean 'soft'\? known: soft, hard, lvml, power-S$",
        ),
        ("LVLM", r"unknown paradigm 'LVLM'; known: soft, hard, lvml, power-S$"),
        (3, r"unknown paradigm 3; known: soft, hard, lvml, power-S$"),
        ("power-x", r"exponent of a power mean must be an exact number such as 1/2, got 'x'$"),
    ],
)
def test_an_unknown_paradigm_is_refused_with_the_nearest_name(name, sentence):
    for ask in (paradigm, lambda n: solve(n, SMALL, 1.0)):
        with pytest.raises(ParadigmError, match=sentence):
            ask(name)


def test_a_paradigm_is_found_by_name_or_given_as_an_object():
    for name, known in CATALOGUE.items():
        assert paradigm(name) is known
        assert paradigm(known) is known
    assert paradigm("power-1/2") is power_mean("1/2")


@pytest.mark.parametrize("weight", [0.0, 1.0, -0.1, nan])
def test_a_focus_weight_outside_0_and_1_is_refused(weight):
    with pytest.raises(SettingError, match="alpha must be a number above 0 and below 1, got"):
        focus_score(weight, SMALL)


def test_the_focus_score_gives_back_its_weight():
    weights = np.array([1e-9, 0.2, 0.5, 0.999])
    scores = focus_score(weights, Setting(20, 3, foreground_segments=4))
    np.testing.assert_allclose(1 / (1 + 4 * np.exp(-scores)), weights, rtol=1e-14)


def test_tracers_and_arrays_pass_a_setting_and_it_is_a_pytree():
    setting = Setting(np.array([2, 5]), 3, background="distinct")
    leaves, tree = jax.tree.flatten(setting)
    assert len(leaves) == 7
    assert jax.tree.unflatten(tree, leaves).background == "distinct"

    @jax.jit
    def inside(m, C):
        return Setting(m, C).segments + 1

    assert inside(jnp.int32(4), jnp.int32(3)) == 5
    assert setting.as_dict()["segments"] == [2, 5]
    assert Setting(5, 3).as_dict() == {
        "segments": 5,
        "classes": 3,
        "foreground_segments": 1,
        "foreground_norm": 1.0,
        "background_norm": 0.0,
        "background": "shared",
        "focus_rate": 1.0,
        "classifier_rate": 1.0,
    }


def test_a_problem_names_its_parts_and_stages():
    plan = Schedule([("soft", 200.0), ("hard", None)])
    problem = normalise(plan, Setting([5, 6, 7], 3), [[1.0, 200.0]], (np.zeros((2, 1)), 0.0))
    assert problem.name == "soft@t=200,hard"
    assert problem.batch_shape == (2, 3)
    assert problem.shape == (2, 3, 1, 2)
    with jax.enable_x64(True):
        stage = np.asarray(problem.stage())
    assert stage.shape == problem.shape
    assert np.all(stage[..., 0] == 0)
    assert np.all(stage[..., 1] == 1)
    assert problem.setting.segments.shape == (2, 3)


@pytest.mark.parametrize(
    "refused",
    [
        lambda: Setting(10**400, 20),
        lambda: Setting(20, 20, 10**5000),
        lambda: Setting(20, 20, focus_rate=10**400),
        lambda: Setting(20, 20, background=np.array(["shared", "distinct"])),  # type: ignore
        lambda: check("times", ["1"], "a number", lambda v: v > 0),
        lambda: check("times", [1, "2"], "a number", lambda v: v > 0),
        lambda: check("times", np.array([b"1"], object), "a number", lambda v: v > 0),
        lambda: check_start((10**400, 0)),
        lambda: check_start((["1"], 0)),
        lambda: Schedule(5),  # type: ignore
        lambda: Schedule([5]),  # type: ignore
        lambda: power_mean("1/100000"),  # its exact roots would be taken apart for ever
        lambda: power_mean(10**400),
    ],
)
def test_text_arrays_of_words_and_endless_numbers_are_one_sentence(refused):
    with pytest.raises((SettingError, ParadigmError), match="^[^\\n]{20,200}$"):
        refused()


def test_a_probability_is_a_number_however_far_the_margin_goes():
    found = solve("soft", Setting(20, 20, classifier_rate=1e30), [0.0, 2000.0])
    assert found.mu[1] > 1000 and found.beta.tolist() == [pytest.approx(0.05), 1.0]


@pytest.mark.parametrize("odd", ["\x1b[31m", "\u202e", "\u200b", "\ufeff", "\udcff", "\x85", "\n"])
def test_no_message_repeats_a_character_that_is_not_seen(odd):
    for refused in (
        lambda: af.Setting(odd, 2),
        lambda: af.solve(f"so{odd}ft", af.Setting(2, 2), 1.0),
        lambda: af.Schedule(f"soft@{odd}=1,hard"),
        lambda: af.solve("soft", af.Setting(2, 2), [odd]),
    ):
        with pytest.raises(ValueError) as caught:
            refused()
        assert str(caught.value).isprintable()


def test_a_message_is_cut_where_a_value_is_long():
    with pytest.raises(ValueError, match=r"got 1{150}\.\.\.1{75}$"):
        af.Setting("1" * 5000, 2)


def test_a_warning_shows_what_is_not_seen():
    with pytest.warns(UserWarning, match=r"^a\\x1b\[1m$"):
        warn("a\x1b[1m")
