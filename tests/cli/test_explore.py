"""``attnflow explore``: a page on disk, its record, and its refusals."""

import pytest


def test_the_page_is_written_whole_and_described(document, tmp_path):
    said = document("explore", "--out", tmp_path / "deep" / "x.html", "-m", "100", "-C", "1e3")
    text = (tmp_path / "deep" / "x.html").read_text()
    assert said["bytes"] == len(text.encode()) and said["paradigms"] == ["soft", "hard", "lvml"]
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    assert '"m": 100, "C": 1000, "first"' in text  # no horizon: the page fits one
    document("explore", "--out", tmp_path / "y.html", "--horizon", "4e5")
    assert '"T": 400000.0, "t": 100000.0, "fit": false' in (tmp_path / "y.html").read_text()


def test_a_paradigm_of_the_users_own_is_on_the_page(attnflow, tmp_path):
    (tmp_path / "my.py").write_text(
        "import sympy as sp\nfrom attnflow import Paradigm\n"
        "from attnflow.symbols import C, alpha, mu\n"
        "MINE = Paradigm('mine', sp.log(1 + (C - 1)*sp.exp(-alpha*mu))**2, 'My own & best')\n"
    )
    code, _, err = attnflow("explore", "--paradigm-file", "my.py:MINE", "-p", "hard")
    assert code == 0 and "wrote attnflow-explorer.html" in err
    assert "My own &amp; best" in (tmp_path / "attnflow-explorer.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-m", "1"), r"segments (m) must be a whole number of at least 2, got 1"),
        (("-m", "1e7"), "m must be at most 1e6 for the explorer, got 10000000"),
        (("--horizon", "1e16"), "horizon must be from 1e-3 to 1e15, got 1e+16"),
        (("--horizon", "soon"), "horizon must be a finite number above 0, got soon"),
        (("--out", "."), "out must be a file, got '.', which is a folder"),
        (("-p", "sotf"), "did you mean 'soft'"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(attnflow, tmp_path, arguments, message):
    code, out, err = attnflow("explore", *arguments)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
