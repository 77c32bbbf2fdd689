"""solve and simulate: one JSON shape, every digit, and the numbers that the library returns."""

import csv
import json
import math

import numpy as np
import pytest

from attnflow import Schedule, Setting, solve

KEYS = ["paradigm", "setting", "times", "mu", "nu", "alpha", "complement", "beta", "loss"]
MINE = """
from attnflow import Paradigm
from attnflow.symbols import C, alpha, mu
import sympy
FOCAL = Paradigm("focal", sympy.log(1 + (C - 1) * sympy.exp(-alpha * mu)) ** 2, "Focal")
"""


@pytest.mark.parametrize("command", ["solve", "simulate"])
def test_json_has_the_documented_shape(document, command):
    found = document(command, "--paradigm", "soft", "-m", "20", "-C", "30", "--times", "1,10,1000")
    assert list(found) == KEYS
    assert found["paradigm"] == "soft"
    assert found["setting"] == Setting(20, 30).as_dict()
    assert found["times"] == [1.0, 10.0, 1000.0]
    assert all(len(found[name]) == 3 for name in KEYS[2:])


def test_json_keeps_every_digit_of_a_float64(document):
    found = document("solve", "--paradigm", "hard", "--times", "3,700,1e9")
    expected = solve("hard", Setting(20, 20), [3.0, 700.0, 1e9])
    for name in KEYS[3:]:
        assert found[name] == np.asarray(getattr(expected, name)).tolist()


def test_several_paradigms_give_a_list_in_the_order_named(document):
    found = document("solve", "-p", "lvml", "-p", "hard,soft", "--times", "5")
    assert [one["paradigm"] for one in found] == ["lvml", "hard", "soft"]
    found = document("solve", "--paradigm", "all", "--times", "5")
    assert [one["paradigm"] for one in found] == ["soft", "hard", "lvml"]


def test_closed_form_and_simulation_agree(document):
    options = ("-p", "lvml", "--grid", "log", "--horizon", "1e6", "--points", "5", "--mu0", "-2")
    exact, simulated = (document(command, *options) for command in ("solve", "simulate"))
    for name in KEYS[2:]:
        np.testing.assert_allclose(simulated[name], exact[name], rtol=1e-8)


def test_simulation_options_reach_the_integrator(document):
    options = ("simulate", "-p", "soft", "--times", "1000")
    rough = document(*options, "--rtol", "1e-3", "--atol", "1e-3", "--solver", "bosh3")
    fine = document(*options, "--rtol", "1e-12", "--atol", "1e-13", "--log-time")
    exact = document("solve", *options[1:])
    assert abs(fine["mu"][0] / exact["mu"][0] - 1) < 1e-10
    assert 1e-7 < abs(rough["mu"][0] / exact["mu"][0] - 1) < 1e-1


def test_a_schedule_is_solved_piecewise(document):
    found = document("solve", "--schedule", "soft@t=200,hard", "--times", "100,300,1000")
    expected = solve(
        Schedule([("soft", 200.0), ("hard", math.inf)]), Setting(20, 20), [100.0, 300.0, 1000.0]
    )
    assert found["paradigm"] == "soft@t=200,hard"
    assert found["nu"] == np.asarray(expected.nu).tolist()


def test_alpha_is_the_focus_weight_at_the_start(document):
    setting = ("-m", "30", "--foreground-segments", "4")
    found = document("solve", "-p", "soft", *setting, "--alpha", "0.4", "--times", "0,10")
    assert found["alpha"][0] == pytest.approx(0.4, rel=1e-14)
    assert found["initial"] == [0.0, found["nu"][0]]


def test_a_frozen_part_does_not_move(document):
    held = ("solve", "-p", "lvml", "--alpha", "0.4", "--mu0", "-2", "--times", "0,10,1e4")
    focus = document(*held, "--freeze", "focus")
    np.testing.assert_allclose(focus["alpha"], 0.4, rtol=1e-14)
    assert focus["mu"][0] == -2 and focus["mu"][2] > focus["mu"][1] > -2
    classifier = document(*held, "--freeze", "classifier")
    assert classifier["mu"] == [-2.0] * 3 and classifier["freeze"] == "classifier"


def test_the_general_setting_is_passed_on(document):
    options = {
        "segments": 9,
        "classes": 5,
        "foreground_segments": 2,
        "foreground_norm": 1.5,
        "background_norm": 0.5,
        "background": "distinct",
        "focus_rate": 2.0,
        "classifier_rate": 0.25,
    }
    typed = [part for name, v in options.items() for part in ("--" + name.replace("_", "-"), v)]
    found = document("solve", "-p", "hard", "--times", "50", *typed)
    assert found["setting"] == options
    assert found["mu"] == np.asarray(solve("hard", Setting(**options), [50.0]).mu).tolist()


def test_grids_begin_and_end_where_they_should(document):
    log = document(
        "solve",
        "-p",
        "soft",
        "--grid",
        "log",
        "--start-time",
        "2",
        "--horizon",
        "700",
        "--points",
        "4",
    )
    assert log["times"][0] == 2 and log["times"][-1] == 700 and len(log["times"]) == 4
    np.testing.assert_allclose(np.diff(np.log(log["times"])), math.log(350) / 3)
    linear = document("solve", "-p", "soft", "--horizon", "10", "--points", "6")
    assert linear["times"] == [0, 2, 4, 6, 8, 10]
    assert document("solve", "-p", "soft")["times"][-1] == 2000


def test_a_paradigm_of_ones_own_comes_from_a_file(document, attnflow, tmp_path):
    (tmp_path / "my.py").write_text(MINE)
    found = document("simulate", "--paradigm-file", "my.py:FOCAL", "--times", "0,10")
    assert found["paradigm"] == "focal"
    assert found["loss"][0] == pytest.approx(math.log(20) ** 2, rel=1e-14)
    code, _, err = attnflow("solve", "--paradigm-file", "my.py:FOCALL", "--times", "1")
    assert code == 2 and "no Paradigm 'FOCALL' in 'my.py'; known: FOCAL" in err


@pytest.mark.parametrize("ending", ["json", "csv", "CSV"])
def test_a_file_holds_the_same_numbers(attnflow, document, tmp_path, ending):
    options = ("solve", "--schedule", "soft@t=20,hard", "--times", "1,10,100")
    code, out, err = attnflow(*options, "--out", f"deep/curves.{ending}")
    assert (code, out) == (0, "") and "wrote" in err
    text = (tmp_path / "deep" / f"curves.{ending}").read_text()
    found = document(*options)
    if ending == "json":
        assert json.loads(text) == found
    else:
        rows = list(csv.DictReader(text.splitlines()))
        assert [row["paradigm"] for row in rows] == ["soft@t=20,hard"] * 3
        assert [float(row["mu"]) for row in rows] == found["mu"]
        assert [float(row["time"]) for row in rows] == found["times"]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == [f"curves.{ending}"]


def test_without_json_a_table_is_printed(attnflow):
    code, out, err = attnflow("solve", "-p", "soft", "--times", "1,1000")
    assert (code, err) == (0, "")
    assert "soft, m = 20, C = 20, closed form" in out and "0.930778" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_table_keeps_its_digits_on_a_narrow_terminal(attnflow, monkeypatch):
    command = ("solve", "-p", "soft", "--times", "1,1234567")
    wide = attnflow(*command)[1]
    monkeypatch.setenv("COLUMNS", "40")
    narrow = attnflow(*command)[1]
    assert "1.23457e+06" in narrow and narrow.split() == wide.split()


def test_an_integration_that_fails_exits_with_one(attnflow, tmp_path):
    (tmp_path / "my.py").write_text(MINE + 'BURST = Paradigm("burst", -alpha * mu**3)\n')
    options = ("--paradigm-file", "my.py:BURST", "--mu0", "5", "--times", "1e6")
    code, out, err = attnflow("simulate", *options)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "burst" in err and "try" in err
