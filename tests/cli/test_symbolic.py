"""derive, export, switch, crossings, doctor and cite."""

import json
import os

import pytest
import sympy as sp

from attnflow import Schedule, Setting, solve


def test_a_derivation_reads_in_eighty_columns(attnflow):
    code, out, err = attnflow("derive", "--paradigm", "hard")
    assert (code, err) == (0, "")
    assert out.startswith("Hard attention (hard)\n")
    assert "First integral [first-integral]  (checked: proved)" in out
    assert "\\" not in out  # no LaTeX in a terminal
    assert max(len(line) for line in out.splitlines()) <= 80


def test_the_derivation_as_json_reads_back_into_sympy(document):
    found = document("derive", "-p", "soft", "--step", "potential")
    (step,) = found["steps"]
    equation = sp.sympify(step["srepr"])
    mu, C = sp.Symbol("mu", real=True), sp.Symbol("C", positive=True)
    assert sp.simplify(equation.rhs - (C - 1) / (2 * C) * mu**2) == 0
    assert step["check"] == "proved" and "mu" in step["latex"]


@pytest.mark.parametrize(
    ("format", "part"),
    [("latex", "\\begin{document}"), ("markdown", "$$"), ("python", "def "), ("json", '"latex"')],
)
def test_export_to_a_file_and_to_standard_output_is_the_same(attnflow, tmp_path, format, part):
    code, out, err = attnflow("export", "-p", "soft", "--format", format)
    assert (code, err) == (0, "") and part in out
    code, nothing, _ = attnflow("export", "-p", "soft", "--format", format, "--out", "new/file")
    assert (code, nothing) == (0, "")
    assert (tmp_path / "new" / "file").read_text() == out


def test_a_pdf_without_latex_says_how_to_get_it(attnflow, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = attnflow("export", "-p", "soft", "--format", "pdf", "--out", "a.pdf")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "latex" in err.lower() and "install" in err
    assert os.listdir() == []


def test_the_best_schedule_reaches_its_target(document):
    found = document("switch", "-m", "5", "-C", "3", "--target", "0.9")
    assert list(found) == ["target", "schedule", "time", "alternatives"]
    assert Schedule(found["schedule"]).names == ("lvml", "soft", "hard")
    assert (
        found["time"]
        == min(found["alternatives"].values())
        == found["alternatives"]["lvml,soft,hard"]
    )
    for typed in (found["schedule"], "lvml@theory,soft@theory,hard"):  # 0.9 is theory's own target
        curve = document(
            "solve", "--schedule", typed, "-m", "5", "-C", "3", "--times", repr(found["time"])
        )
        assert curve["alpha"][0] == pytest.approx(0.9, rel=1e-10)


def test_a_given_order_is_kept(document, attnflow):
    options = ("switch", "-m", "5", "-C", "3", "--target", "0.9", "--schedule", "soft@theory,hard")
    found = document(*options)
    assert Schedule(found["schedule"]).names == ("soft", "hard")
    assert set(found["alternatives"]) == {"soft", "hard", "soft,hard"}
    code, out, _ = attnflow(*options)
    assert code == 0 and "soft@t=" in out and ",hard; reached" in out


def test_curves_are_equal_where_they_cross(document):
    found = document("crossings", "-p", "soft,hard")
    ((pair,),) = (found["crossings"],)
    assert pair["paradigms"] == ["soft", "hard"] and len(pair["times"]) >= 1
    alphas = [solve(name, Setting(20, 20), pair["times"]).alpha for name in pair["paradigms"]]
    assert alphas[0] == pytest.approx(alphas[1], rel=1e-10)


def test_the_doctor_names_versions_devices_and_missing_parts(document, attnflow):
    found = document("doctor")
    assert {"versions", "devices", "x64", "optional"} <= set(found)
    code, out, _ = attnflow("doctor")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    for part in found["optional"]:
        assert part["name"] in out
        assert part["present"] or part["how_to_get"] in out


def test_citing_names_the_paper_and_the_software(document, attnflow):
    found = document("cite")
    assert "2307.13421" in found["paper"] and "attnflow" in found["software"]
    assert found["paper"] in attnflow("cite")[1]
    json.dumps(found)
