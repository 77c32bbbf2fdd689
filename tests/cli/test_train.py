"""train, evaluate, report, fit and data: from nothing to a page; one sentence for every error."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("compiled_lightly")
SMALL = ["--train", "800", "--heldout", "400", "--test", "400", "--batch", "32", "--epochs", "5"]
SMALL += ["--segments", "5", "--early-points", "0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, compiled_once):
    """A small run, and the JSON that training it printed."""
    from contextlib import redirect_stdout
    from io import StringIO

    from attnflow.cli import run as call

    place = tmp_path_factory.mktemp("runs") / "small"
    printed = StringIO()
    with redirect_stdout(printed):
        code = call(["train", *SMALL, "-p", "soft@epoch=2,lvml", "--out", str(place), "--json"])
    assert code == 0
    return place, json.loads(printed.getvalue())


def test_evaluate_prints_what_training_printed(document, run):
    place, printed = run
    said = printed.pop("outcome")
    assert document("evaluate", place) == printed
    assert said.startswith("After 5 epochs of soft@epoch=2,lvml, focus found a true segment in ")
    assert list(printed) == ["task", "paradigm", "epochs", "weights", "meanings", "sets"]
    assert list(printed["sets"]) == ["train", "heldout", "test"]


def test_a_run_repeats_from_its_config_and_resumes(document, attnflow, run, tmp_path):
    place, printed = run
    again = document("train", "--config", place / "config.toml", "--out", tmp_path / "again")
    assert again["weights"] == printed["weights"]
    assert document("train", "--out", place, "--resume")["weights"] == printed["weights"]
    longer = document("train", "--out", tmp_path / "again", "--resume", "--epochs", "6")
    assert longer["epochs"] == 6 and longer["weights"] != printed["weights"]
    code, _, err = attnflow("train", "--out", place, "--resume", "--batch", "7")
    assert code == 2 and "another config" in err


def test_training_ends_in_a_summary_of_the_four_rates(attnflow):
    code, out, _ = attnflow("train", *SMALL)
    assert code == 0
    for word in ("ftpt", "ffpt", "ftpf", "ffpf", "accuracy", "argmax", "mixture", "pooled"):
        assert word in out
    assert "digits, lvml, 5 epochs" in out
    assert out.splitlines()[-1].startswith("After 5 epochs of lvml, focus found a true segment")


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
    assert printed["weights"] in text and "soft@epoch=2,lvml" in text
    order = ("finds a true segment most often", "accuracy, pooled", "figures/", "ftpt", "SHA-256")
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    figures = {file.stem for file in (tmp_path / "page" / "figures").iterdir()}
    assert figures == {"curves", "signatures1", "mosaics-small", "theory-o"}
    assert all(f"figures/{name}.svg" in text for name in figures)


@pytest.mark.slow
def test_fit_names_effective_rates_and_classes(document, attnflow, tmp_path):
    attnflow("train", "--task", "orthogonal", "-m", "4", "-C", "3", "-p", "hard", "--out", "o")
    found = document("fit", "o", "--out", "fit.svg")
    assert found["segments"] == 4 and (tmp_path / "fit.svg").read_text().startswith("<?xml")
    assert found["classes"] == pytest.approx(3, rel=0.2)
    assert min(found["explained"].values()) > 0.99
    low, high = found["intervals"]["classes"]
    assert low <= found["classes"] <= high


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["train", "--task", "mnist"], 2, "task must be one of digits"),
        (["train", "--epochs", "two"], 2, "epochs must be a number, got 'two'"),
        (["train", "--epochs", "0"], 2, "epochs must be a whole number of at least 1"),
        (["train", "-p", "sofd"], 2, "unknown paradigm 'sofd'"),
        (["train", "--heldout", "0"], 2, "heldout must be a whole number of at least 1, got 0"),
        (["train", "-m", "1"], 2, "segments must be a whole number of at least 2, got 1"),
        (["train", "-m", "1e12"], 2, "segments must be at most 4294967295"),
        (["train", "-m", "1e9"], 2, "inputs x segments must be at most 2147483648, got 3000 x"),
        (["train", "-C", "4"], 2, "classes is for the orthogonal task only, got 4"),
        (["train", "--data", "x"], 2, "data is for cifar10, cifar100 and hatexplain only, got 'x'"),
        (["train", "--data-seed", "-1"], 2, "data_seed must be a whole number of at least 0"),
        (["train", "--networks", "vgg"], 2, "networks must be one of linear, linear-zero"),
        (
            ["train", "--networks", "no.py:f"],
            2,
            "must name a Python file, got no file at 'no.py'",
        ),
        (
            ["train", "--fixed-focus", "0.5,2"],
            2,
            "fixed_focus must be above 0 and at most 1, got 2",
        ),
        (["train", "--learning-rate", "0"], 2, "learning_rate must be a finite number above 0"),
        (["train", "--rate-schedule", "sine"], 2, "rate_schedule must be one of constant, cosine"),
        (["train", "--optimizer", "lion"], 2, "optimizer must be one of sgd, adam, got 'lion'"),
        (
            ["train", "--optimizer", "adam", "--momentum", "0.5"],
            2,
            "momentum is for sgd only, got 0.5 with adam",
        ),
        (["train", "--momentum", "1"], 2, "momentum must be at least 0 and below 1, got 1"),
        (["train", "--dtype", "float16"], 2, "dtype must be one of float32, bfloat16"),
        (["train", "--seed", "5e9"], 2, "seed must be a whole number from 0 to 4294967295, got 5"),
        (["train", "--seed", "1,a"], 2, "seed must be a number, got 'a'"),
        (["train", "--passes", "0"], 2, "passes must be a whole number of at least 1, got 0"),
        (["train", "--batch", "2.5"], 2, "batch must be a whole number of at least 1, got 2.5"),
        (["train", "--chunk", "0"], 2, "chunk must be a whole number of at least 1, got 0"),
        (["train", "--measure-every", "0"], 2, "measure_every must be a whole number"),
        (["train", "--checkpoint-every", "0"], 2, "checkpoint_every must be a whole number"),
        (["train", "--devices", "two"], 2, "devices must be a whole number, got 'two'"),
        (["train", "--devices", "0"], 2, "devices must be a whole number from 1 to"),
        (["train", "--coordinator", "here"], 2, "coordinator must read HOST:PORT, got 'here'"),
        (["train", "--process-id", "two"], 2, "process-id must be a whole number, got 'two'"),
        (["train", "-p", "soft@theory"], 2, "the last stage of a schedule has no end"),
        (["train", "-p", "soft@t=0,hard"], 2, "the t at which soft ends must be a finite"),
        (["report", "nowhere", "--format", "pdf"], 2, "format must be one of markdown, html"),
        (["report", "nowhere"], 2, "holds no run"),
        (["fit", "nowhere"], 2, "holds no run"),
        (["fit", "nowhere", "--out", "fit.txt"], 2, "must end in .pdf, .svg, .png, got 'fit.txt'"),
        (["train", "--resume"], 2, "--resume needs the run's folder"),
        (["train", "--task", "cifar10", "--data", "."], 3, "attnflow data fetch cifar10"),
        (["train", "--config", "none.toml"], 2, "config must be a TOML file, got 'none.toml'"),
        (["evaluate", "nowhere"], 2, "holds no run"),
        (
            ["data", "fetch", "mnist"],
            2,
            "data set must be one of cifar10, cifar100, hatexplain, got",
        ),
        (["train", "--label", "first"], 2, "label is for the hatexplain task only, got 'first'"),
        (["train", "--min-count", "0"], 2, "min_count must be a whole number of at least 1, got 0"),
        (["train", "--max-length", "x"], 2, "max_length must be a number, got 'x'"),
        (["train", "--task", "hatexplain"], 3, "no dataset.json and no post_id_divisions.json at"),
        (["train", "--task", "hatexplain", "-m", "5"], 2, "segments is for digits, orthogonal,"),
        (["train", "--networks", "text"], 2, "this network needs words, got segments (8, 8, 1)"),
        (["data", "generate", "mnist", "--data", "x"], 2, "data set must be one of hatexplain"),
        (["data", "generate", "hatexplain", "--data", "x", "--seed", "-1"], 2, "seed must be a"),
        (["data", "generate", "hatexplain", "--data", "x", "--posts", "9"], 2, "posts must be a"),
        (["data", "generate", "hatexplain", "--data", "x", "--posts", "a"], 2, "posts must be a"),
        (["train", *SMALL, "--learning-rate", "1e35"], 1, "diverged at step"),
    ],
)
def test_every_refusal_is_one_sentence_with_its_exit_code(attnflow, arguments, code, message):
    got, out, err = attnflow(*arguments)
    assert got == code
    assert message in err and err.count("\n") == 1 and out == ""


def test_a_paradigm_in_a_file_trains_and_its_run_needs_the_file_no_more(attnflow, tmp_path):
    (tmp_path / "my.py").write_text(
        "import attnflow as af\n"
        "from attnflow.symbols import beta\n"
        "HALF = af.averaging('half', beta / (2 - beta))\n"
        "ALONE = af.Paradigm('alone', HALF.loss)\n"
    )
    small = ("--train", "40", "--heldout", "10", "--test", "10", "--epochs", "1")
    file = ("train", "--paradigm-file", "my.py:HALF", *small)
    code, out, err = attnflow(*file, "--out", "RUN", "--json")
    assert code == 0, err
    assert json.loads(out)["paradigm"] == "half"
    code, _, err = attnflow("train", "--paradigm-file", "my.py:ALONE", *small)
    assert code == 2 and "'alone' is given by its loss alone" in err
    (tmp_path / "my.py").unlink()
    code, again, err = attnflow("evaluate", "RUN", "--json")
    assert code == 0 and json.loads(again)["weights"] == json.loads(out)["weights"], err
