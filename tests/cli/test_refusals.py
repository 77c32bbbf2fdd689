"""Bad input is refused in one sentence: argument, value and what is allowed; exit code 2."""

import os

import pytest

SOLVE = ("solve", "--paradigm", "soft", "--times", "1")

REFUSED = {
    "m below 2": ((*SOLVE, "-m", "1"), "segments (m) must be a whole number of at least 2, got 1"),
    "m not whole": (
        (*SOLVE, "-m", "20.5"),
        "segments (m) must be a whole number of at least 2, got 20.5",
    ),
    "m not a number": (
        (*SOLVE, "-m", "abc"),
        "segments (m) must be a whole number of at least 2, got abc",
    ),
    "m nan": ((*SOLVE, "-m", "nan"), "segments (m) must be a whole number of at least 2, got nan"),
    "m infinite": (
        (*SOLVE, "-m", "inf"),
        "segments (m) must be a whole number of at least 2, got inf",
    ),
    "m empty": ((*SOLVE, "-m", ""), "segments (m) must be a whole number of at least 2, got"),
    "m negative": (
        (*SOLVE, "-m", "-3"),
        "segments (m) must be a whole number of at least 2, got -3",
    ),
    "C below 2": ((*SOLVE, "-C", "1"), "classes (C) must be a whole number of at least 2, got 1"),
    "C not whole": (
        (*SOLVE, "-C", "2.5"),
        "classes (C) must be a whole number of at least 2, got 2.5",
    ),
    "k too many": (
        (*SOLVE, "-m", "3", "--foreground-segments", "3"),
        "less than segments (m = 3), got 3",
    ),
    "norm zero": (
        (*SOLVE, "--foreground-norm", "0"),
        "foreground_norm must be a finite number above 0, got 0",
    ),
    "norm nan": (
        (*SOLVE, "--background-norm", "nan"),
        "background_norm must be a finite number of at least 0",
    ),
    "rate negative": (
        (*SOLVE, "--focus-rate", "-1"),
        "focus_rate must be a finite number above 0, got -1",
    ),
    "background": ((*SOLVE, "--background", "grey"), "'grey'"),
    "time negative": (("solve", "--times", "1,-2"), "times must be finite and at least 0, got -2"),
    "time nan": (("solve", "--times", "1,nan"), "times must be finite and at least 0, got nan"),
    "time infinite": (("solve", "--times", "inf"), "times must be finite and at least 0, got inf"),
    "time word": (("solve", "--times", "1,two"), "times must be finite and at least 0, got two"),
    "times twice": (
        ("solve", "--times", "1", "--times=2,3"),
        "--times is given 2 times: give it once, its values separated by commas",
    ),
    "times empty": (("solve", "--times", ""), "times must be numbers separated by commas"),
    "times gap": (("solve", "--times", "1,,2"), "times must be numbers separated by commas"),
    "times unsorted": (
        ("compare", "--times", "2,1"),
        "times must increase strictly, got 1 after 2",
    ),
    "horizon zero": (("solve", "--horizon", "0"), "horizon must be a finite number above 0, got 0"),
    "horizon nan": (
        ("compare", "--horizon", "nan"),
        "horizon must be a finite number above 0, got nan",
    ),
    "points one": (
        ("solve", "--points", "1"),
        "points must be a whole number from 2 to 10000000, got 1",
    ),
    "points huge": (
        ("solve", "--points", "1e12"),
        "points must be a whole number from 2 to 10000000",
    ),
    "grid": (("solve", "--grid", "cubic"), "'cubic'"),
    "start time": (
        ("solve", "--grid", "log", "--start-time", "0"),
        "start-time must be a finite number above 0",
    ),
    "start time late": (
        ("solve", "--grid", "log", "--start-time", "9", "--horizon", "5"),
        "start-time must be less than the horizon (5), got 9",
    ),
    "start time linear": (("solve", "--start-time", "1"), "--start-time is for log grids"),
    "paradigm": (
        ("solve", "--paradigm", "sofft"),
        "unknown paradigm 'sofft'; did you mean 'soft'?",
    ),
    "power": (("solve", "--paradigm", "power-x"), "exact number such as 1/2, got 'x'"),
    "schedule": (("solve", "--schedule", "soft@t=200,hart"), "did you mean 'hard'?"),
    "schedule old": (
        ("solve", "--schedule", "soft:200, hard"),
        "every end of a schedule has a unit: write soft@t=200, hard, got",
    ),
    "schedule old, compared": (("compare", "--schedule", "soft:9,hard"), "write soft@t=9,hard"),
    "schedule epochs": (
        ("solve", "--schedule", "soft@epoch=5,hard"),
        "the flow has no epochs, got 'soft@epoch=5,hard': end soft at a time, as in soft@t=200",
    ),
    "schedule rate": (
        ("simulate", "--schedule", "soft@t=5,hard:rate=0.1"),
        "'hard:rate=0.1' is for training only",
    ),
    "schedule never": (
        ("solve", "--schedule", "soft@alpha=0.04,hard"),
        "target must be above the focus weight at the start",
    ),
    "schedule frozen": (
        ("solve", "--schedule", "soft@theory,hard", "--freeze", "focus"),
        "a schedule under --freeze needs times",
    ),
    "alpha one": ((*SOLVE, "--alpha", "1"), "alpha must be a number above 0 and below 1, got 1"),
    "alpha zero": ((*SOLVE, "--alpha", "0", "--freeze", "focus"), "above 0 and below 1, got 0"),
    "alpha nan": ((*SOLVE, "--alpha", "nan"), "above 0 and below 1, got nan"),
    "mu0": ((*SOLVE, "--mu0", "x"), "initial mu (mu0) must be a number from -300 to 300, got x"),
    "nu0": (
        (*SOLVE, "--nu0", "inf"),
        "initial nu (nu0) must be a number from -300 to 300, got inf",
    ),
    "freeze": ((*SOLVE, "--freeze", "all"), "'all'"),
    "alpha and nu0": ((*SOLVE, "--alpha", ".4", "--nu0", "1"), "either --alpha or --nu0, not both"),
    "times and horizon": ((*SOLVE, "--horizon", "5"), "either --times or --horizon, not both"),
    "times and grid": ((*SOLVE, "--grid", "log"), "either --times or --grid, not both"),
    "times and points": ((*SOLVE, "--points", "5"), "either --times or --points, not both"),
    "times and start": ((*SOLVE, "--start-time", "5"), "either --times or --start-time, not both"),
    "two sources": (
        (*SOLVE, "--schedule", "soft@t=5,hard"),
        "either --schedule or --paradigm, not both",
    ),
    "whole and huge": (
        ("advise", "--train", "10", "--batch", "1e30"),
        "batch must be a whole number of at most 4294967295, got 1e+30",
    ),
    "many posts": (
        ("data", "generate", "hatexplain", "--data", "new", "--posts", "1e30"),
        "posts must be a whole number of at most 4294967295, got 1e+30",
    ),
    "huge seed": (
        ("data", "generate", "coco", "--data", "new", "--seed", "1" + "0" * 30),
        "seed must be a whole number of at most 4294967295, got 1e+30",
    ),
    "beyond float64": (
        ("simulate", "-p", "lvml", "--foreground-norm", "1e160"),
        "this setting has no default horizon (its time scale is nan): give times or a horizon",
    ),
    "tolerance": (
        ("compare", "--tolerance", "0"),
        "tolerance must be a number above 0 and below 1, got 0",
    ),
    "tolerance nan": (
        ("compare", "--tolerance", "nan"),
        "tolerance must be a number above 0 and below 1",
    ),
    "descent": (
        ("compare", "--descent", "0"),
        "learning_rate must be a finite number above 0, got 0",
    ),
    "solver": (("simulate", *SOLVE[1:], "--solver", "tsit6"), "did you mean 'tsit5'?"),
    "rtol": (
        ("simulate", *SOLVE[1:], "--rtol", "-1"),
        "rtol must be a finite number above 0, got -1",
    ),
    "target": (("switch", "--target", "1"), "got 1"),
    "target nan": (("switch", "--target", "nan"), "got nan"),
    "no target": (("switch",), "'--target'"),
    "switch times": (
        ("switch", "--target", ".9", "--schedule", "soft@t=2,hard"),
        "switch chooses the times itself: write soft@theory,hard, got 'soft@t=2,hard'",
    ),
    "switch old": (
        ("switch", "--target", ".9", "--schedule", "soft, hard"),
        "write soft@theory,hard, got 'soft, hard'",
    ),
    "one curve": (("crossings", "--paradigm", "soft"), "at least two paradigms, got 'soft' only"),
    "until": (
        ("crossings", "-p", "soft,hard", "--until", "0"),
        "until must be a finite time above 0",
    ),
    "step": (("derive", "-p", "soft", "--step", "flow-nv"), "did you mean 'flow-nu'?"),
    "format": (("export", "--format", "word"), "'word'"),
    "format and ending": (
        ("export", "--format", "latex", "--out", "a.pdf"),
        "path must end in .tex for format latex, got a.pdf",
    ),
    "pdf nowhere": (("export", "--format", "pdf"), "--format pdf needs --out"),
    "figure": (("plot", "curves.nc", "--figure", "beta"), "figure must be one of"),
    "no file": (("plot", "curves.nc"), "no file at 'curves.nc'"),
    "file form": (("solve", "--paradigm-file", "my.py"), "must read like my.py:NAME, got 'my.py'"),
    "file missing": (("solve", "--paradigm-file", "my.py:X"), "no file at 'my.py'"),
    "ending": ((*SOLVE, "--out", "a.xls"), "out must end in .json or .csv, got 'a.xls'"),
    "option": (("solve", "--segmentz", "3"), "--segmentz"),
    "no value": (("solve", "-m"), "-m"),
    "command": (("sovle",), "sovle"),
    "argument": (("solve", "soft"), "soft"),
}


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_in_one_sentence(attnflow, arguments, sentence):
    code, out, err = attnflow(*arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("attnflow: ")
    assert sentence in err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("compare", "folder"),
        ("solve", "file"),
        ("simulate", "file"),
        ("export", "file"),
        ("plot", "folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_computing(
    attnflow, tmp_path, command, kind, monkeypatch
):
    def never(*_, **__):
        raise AssertionError("computed first")

    monkeypatch.setattr("attnflow.settings.Setting", never)
    monkeypatch.setattr("attnflow.files.load_dataset", never)
    monkeypatch.setattr("attnflow.cli.options.ParadigmOptions.build", never)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    source = ("curves.nc",) if command == "plot" else ()
    within = attnflow(command, *source, "--out", "file/inside/x.csv")
    other = attnflow(command, *source, "--out", "file" if kind == "folder" else "folder")
    for code, out, err in (within, other):
        assert (code, out) == (2, "")
        assert err.startswith("attnflow: out must be a ") and err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1", "no Paradigm 'MINE' in 'my.py'"),
        ("MINE = 3", "no Paradigm 'MINE' in 'my.py'"),
        ("1/0", "'my.py' cannot be run: ZeroDivisionError"),
        ("def", "'my.py' cannot be run: SyntaxError"),
    ],
)
def test_a_file_without_the_paradigm_is_refused(attnflow, tmp_path, text, sentence):
    (tmp_path / "my.py").write_text(text)
    code, out, err = attnflow("solve", "--paradigm-file", "my.py:MINE", "--times", "1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
