"""train, evaluate, report, fit and data: from nothing to a page; one sentence for every error."""

import json

import pytest

SMALL = ["--train", "800", "--heldout", "400", "--test", "400", "--batch", "32", "--epochs", "5"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, compiled_once):
    """A small run, and the JSON that training it printed."""
    from contextlib import redirect_stdout
    from io import StringIO

    from attnflow.cli import run as call

    place = tmp_path_factory.mktemp("runs") / "small"
    printed = StringIO()
    with redirect_stdout(printed):
        code = call(["train", *SMALL, "-p", "soft:2,lvml", "--out", str(place), "--json"])
    assert code == 0
    return place, json.loads(printed.getvalue())


def test_evaluate_prints_what_training_printed(document, run):
    place, printed = run
    assert document("evaluate", place) == printed
    assert list(printed) == ["task", "paradigm", "epochs", "weights", "sets"]
    assert list(printed["sets"]) == ["train", "heldout", "test"]


def test_a_run_repeats_from_its_config_and_resumes(document, attnflow, run, tmp_path):
    place, printed = run
    again = document("train", "--config", place / "config.toml", "--out", tmp_path / "again")
    assert again["weights"] == printed["weights"]
    assert document("train", "--out", place, "--resume")["weights"] == printed["weights"]


def test_training_ends_in_a_summary_of_the_four_rates(attnflow):
    code, out, _ = attnflow("train", *SMALL)
    assert code == 0
    for word in ("ftpt", "ffpt", "ftpf", "ffpf", "accuracy", "argmax", "mixture", "pooled"):
        assert word in out
    assert "digits, hybrid, 5 epochs" in out


@pytest.mark.slow
def test_several_seeds_give_one_record_each(document):
    found = document("train", *SMALL, "--seed", "1,2")
    assert len(found) == 2 and found[0]["weights"] != found[1]["weights"]


def test_report_is_a_page_with_every_run_and_its_figures(attnflow, run, tmp_path):
    place, printed = run
    attnflow("train", "--task", "orthogonal", "-m", "4", "-C", "3", "--epochs", "5", "--out", "o")
    code, out, err = attnflow("report", place, "o", "--out", "page")
    assert code == 0, err
    text = (tmp_path / "page" / "report.md").read_text()
    assert printed["weights"] in text and "soft:2,lvml" in text
    figures = {file.stem for file in (tmp_path / "page" / "figures").iterdir()}
    assert figures == {"curves", "signatures1", "mosaics-small", "theory-o"}
    assert all(f"figures/{name}.svg" in text for name in figures)


@pytest.mark.slow
def test_fit_names_effective_rates_and_classes(document, attnflow):
    attnflow("train", "--task", "orthogonal", "-m", "4", "-C", "3", "-p", "hard", "--out", "o")
    found = document("fit", "o")
    assert found["segments"] == 4
    assert found["classes"] == pytest.approx(3, rel=0.2)
    assert min(found["explained"].values()) > 0.99


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["train", "--task", "mnist"], 2, "task must be one of digits"),
        (["train", "--epochs", "two"], 2, "epochs must be a number, got 'two'"),
        (["train", "--epochs", "0"], 2, "epochs must be a whole number of at least 1"),
        (["train", "-p", "sofd"], 2, "unknown paradigm 'sofd'"),
        (["train", "--resume"], 2, "--resume needs the run's folder"),
        (["train", "--task", "cifar10", "--data", "."], 3, "attnflow data fetch cifar10"),
        (["train", "--config", "none.toml"], 2, "config must be a TOML file, got 'none.toml'"),
        (["evaluate", "nowhere"], 2, "holds no run"),
        (["data", "fetch", "mnist"], 2, "data set must be one of cifar10, cifar100, got 'mnist'"),
        (["train", *SMALL, "--learning-rate", "1e35"], 1, "diverged at step"),
    ],
)
def test_every_refusal_is_one_sentence_with_its_exit_code(attnflow, arguments, code, message):
    got, out, err = attnflow(*arguments)
    assert got == code
    assert message in err and err.count("\n") == 1 and out == ""
