"""compare writes everything or nothing, says how close the methods are, and exits by it."""

import json
import os

import numpy as np
import pytest

from attnflow.files import load_dataset

QUICK = ("compare", "-p", "hard", "--points", "21", "-m", "5", "-C", "3")
FIGURES = [
    f"{name}.{e}"
    for name in ("alpha", "error", "loss", "mu", "nu", "overview", "phase")
    for e in ("pdf", "png", "svg")
]
FILES = sorted([*FIGURES, "curves.nc", "formulas.tex", "summary.json", "summary.md"])


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One comparison: its folder and its JSON."""
    from contextlib import redirect_stdout
    from io import StringIO

    from attnflow.cli import run

    folder = tmp_path_factory.mktemp("compare") / "results"
    out = StringIO()
    with redirect_stdout(out):
        code = run([*QUICK, "--schedule", "soft@t=20,hard", "--out", str(folder), "--json"])
    assert code == 0
    return folder, json.loads(out.getvalue())


def test_everything_promised_is_in_the_folder(compared):
    folder, document = compared
    assert sorted(os.listdir(folder)) == FILES == document["files"]
    assert os.listdir(folder.parent) == [folder.name]
    assert document["out"] == str(folder)
    assert "\\begin{document}" in (folder / "formulas.tex").read_text()
    assert "Soft attention" in (folder / "formulas.tex").read_text()


def test_deviations_are_told_for_each_paradigm_and_method(compared):
    _, document = compared
    assert document["agrees"] is True
    assert list(document["deviation"]) == ["hard", "soft@t=20,hard"]
    for methods in document["deviation"].values():
        assert max(methods["closed form"].values()) == 0
        worst = max(methods["simulation"].values())
        assert 0 < worst < document["tolerance"] == 1e-8


def test_curves_in_the_json_are_those_in_the_file(compared):
    folder, document = compared
    dataset = load_dataset(folder / "curves.nc")
    assert len(document["curves"]) == 4
    for curve in document["curves"]:
        cell = dataset.sel({"paradigm": curve["paradigm"], "method": curve["method"]})
        assert curve["times"] == dataset["time"].values.tolist()
        for name in ("mu", "nu", "alpha", "complement", "beta", "loss"):
            assert curve[name] == cell[name].values.tolist()


def test_summaries_say_the_same_in_two_formats(compared):
    folder, document = compared
    summary = json.loads((folder / "summary.json").read_text())
    assert summary == {key: document[key] for key in summary}
    text = (folder / "summary.md").read_text()
    assert "Closed form and simulation agree within 1e-08." in text
    worst = max(document["deviation"]["hard"]["simulation"].values())
    assert f"| hard | simulation | {worst:.1e} |" in text


def test_figures_are_drawn_again_from_the_file(compared, attnflow, tmp_path):
    folder, _ = compared
    code, out, err = attnflow(
        "plot", folder / "curves.nc", "--out", "again", "--figure", "mu", "--format", "svg"
    )
    assert (code, err) == (0, "")
    assert out.strip() == os.path.join("again", "mu.svg")
    assert (tmp_path / "again" / "mu.svg").read_bytes() == (folder / "mu.svg").read_bytes()


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are drawn in other tests."""
    monkeypatch.setattr("attnflow.cli.comparison.draw_all", lambda *_, **__: None)


@pytest.mark.usefixtures("undrawn")
def test_disagreement_exits_with_one_and_names_the_paradigm(attnflow, monkeypatch, tmp_path):
    from attnflow.numeric import simulate

    run = simulate.simulate_all

    def off(*arguments, **options):
        found = run(*arguments, **options)
        for trajectory in found:
            object.__setattr__(trajectory, "mu", np.asarray(trajectory.mu) * (1 + 1e-6))
        return found

    monkeypatch.setattr(simulate, "simulate_all", off)
    code, out, _ = attnflow(*QUICK)
    assert code == 1
    assert "do NOT agree within 1e-08 for hard" in out
    assert (
        json.loads((tmp_path / "attnflow-compare" / "summary.json").read_text())["agrees"] is False
    )


@pytest.mark.slow
def test_results_of_another_run_are_replaced_and_other_files_stay(attnflow, tmp_path):
    folder = tmp_path / "attnflow-compare"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "summary.md").write_text("old")
    assert attnflow(*QUICK)[0] == 0
    assert (folder / "notes.txt").read_text() == "mine"
    assert "old" not in (folder / "summary.md").read_text()
    assert sorted(os.listdir(folder)) == sorted([*FILES, "notes.txt"])


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt, 130), (OSError(28, "No space left on device"), 2)]
)
def test_an_interrupted_or_failed_run_leaves_nothing(attnflow, monkeypatch, error, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("attnflow.cli.comparison.files.save_dataset", fail)
    found, out, err = attnflow(*QUICK)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert os.listdir() == []


@pytest.mark.usefixtures("undrawn")
def test_descent_is_a_third_method(document):
    found = document(*QUICK, "--horizon", "20", "--descent", "0.01")
    deviation = found["deviation"]["hard"]["descent"]
    assert 1e-8 < deviation["mu"] < 1e-2
