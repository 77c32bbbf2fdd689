"""Captions on the command line: from a generated set to a page; one sentence for every error."""

import json

import pytest

SMALL = ["--min-count", "1", "--image-size", "24", "--encoder-width", "8", "--encoder-blocks", "3"]
SMALL += ["--hidden", "16", "--attention", "8", "--embedding", "8", "--batch", "10"]
SMALL += ["--epochs", "1", "-p", "soft"]


@pytest.mark.slow
def test_from_a_generated_set_to_a_page(attnflow, document, tmp_path):
    assert (
        attnflow("data", "generate", "coco", "--data", "d", "--train", "20", "--val", "5")[0] == 0
    )
    printed = document("train", "--task", "coco", "--data", "d", *SMALL, "--out", "run")
    assert list(printed) == ["task", "paradigm", "epochs", "weights", "sets"]
    assert list(printed["sets"]) == ["train", "val"]
    found = document("evaluate", "run", "--captions", "results.json")
    assert found == printed
    assert len(json.loads((tmp_path / "results.json").read_text())) == 5
    document("evaluate", "run", "--captions", "few.json", "--set", "train", "--images", "3")
    assert len(json.loads((tmp_path / "few.json").read_text())) == 3
    assert document("train", "--out", "run", "--resume")["weights"] == printed["weights"]
    code, out, err = attnflow("report", "run", "--out", "page", "--format", "html")
    assert code == 0, err
    assert printed["weights"] in (tmp_path / "page" / "report.html").read_text()
    assert attnflow("data", "features", "--data", "d", *SMALL[2:8], "--out", "store")[0] == 0
    assert (tmp_path / "store" / "index.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "run", "--run", "3"], "--run is not for caption runs, got 'run'"),
        (["evaluate", "run", "--count-unknown"], "--count-unknown is not for caption runs, got"),
        (["evaluate", "run", "--set", "val"], "--set is of --captions: name the file"),
        (
            ["evaluate", "run", "--captions", "f.json", "--set", "nope"],
            "set must be one of train, val, got 'nope'",
        ),
        (["report", "run", "--show-words"], "--show-words is for runs on posts, not for caption"),
        (["fit", "run"], "fit is not for caption runs, got 'run'"),
    ],
)
def test_what_is_not_for_caption_runs_is_refused(attnflow, tmp_path, arguments, message):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text('task = "coco"\n')
    got, out, err = attnflow(*arguments)
    assert got == 2
    assert message in err and err.count("\n") == 1 and out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--task", "coco"], 2, "captions need data: name the folder of COCO"),
        (["train", "--task", "coco", "--data", "."], 3, "no COCO captions at "),
        (["train", "--task", "coco", "-m", "5"], 2, "--segments is not for the task coco"),
        (["train", "--task", "coco", "--seed", "1,2"], 2, "seed must be a number, got '1,2'"),
        (["train", "--task", "coco", "--hidden", "x"], 2, "hidden must be a number, got 'x'"),
        (
            ["train", "--task", "coco", "--features", "s", "--encoder-width", "8"],
            2,
            "features come from an encoder already: leave --encoder-width out",
        ),
        (["train", "--hidden", "5"], 2, "--hidden is for the task coco only"),
        (["evaluate", "nowhere", "--beam", "3"], 2, "--beam is for the task coco only"),
        (["evaluate", "nowhere", "--set", "val"], 2, "--set is for the task coco only"),
        (["data", "generate", "mnist", "--data", "d"], 2, "must be one of hatexplain, coco"),
        (["data", "features", "--data", ".", "--out", "s", "--hidden", "5"], 2, "No such option"),
    ],
)
def test_every_refusal_is_one_sentence_with_its_exit_code(attnflow, arguments, code, message):
    got, out, err = attnflow(*arguments)
    assert got == code
    assert message in err and err.count("\n") == 1 and out == ""
