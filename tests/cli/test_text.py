"""Posts from a generated corpus to a page, by commands alone."""

import json
import re
import shutil

import pytest

OPTIONS = ["--train", "80", "--heldout", "80", "--test", "80", "--max-length", "16", "-p", "soft"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, compiled_once):
    """A small run on generated posts."""
    from attnflow.cli import run as call

    place = tmp_path_factory.mktemp("posts")
    data, out = str(place / "data"), str(place / "posts")
    assert call(["data", "generate", "hatexplain", "--data", data]) == 0
    given = ["--data", data, "--epochs", "4", "--batch", "32", "--out", out]
    assert call(["train", "--task", "hatexplain", *OPTIONS, *given]) == 0
    return place


def test_evaluate_gives_what_posts_have_more(document, run):
    found = document("evaluate", run / "posts")
    assert found["task"] == "hatexplain" and list(found["sets"]) == ["train", "heldout", "test"]
    shown = found["sets"]["test"]
    assert list(shown) == ["argmax", "mixture", "pooled", "focus_true", "auprc", "with_truth"]
    assert list(shown["pooled"]) == ["ftpt", "ffpt", "ftpf", "ffpf", "accuracy", "macro_f1"]
    assert 0 < shown["auprc"] <= 1 and 0 < shown["with_truth"] < 80


def test_the_summary_tells_both_tables(attnflow, run):
    code, out, _ = attnflow("evaluate", run / "posts")
    assert code == 0 and "F1 argmax" in out and "with truth" in out and "ftpt" in out


def test_the_page_of_posts_hides_words_until_they_are_asked_for(attnflow, run, tmp_path):
    texts = {}
    for name, options in (("hidden", []), ("shown", ["--show-words"])):
        code, _, err = attnflow("report", run / "posts", "--out", name, *options)
        assert code == 0, err
        assert "(posts-posts.html)" in (tmp_path / name / "report.md").read_text()
        texts[name] = (tmp_path / name / "posts-posts.html").read_text()
    body = {name: text.split("</style>")[1] for name, text in texts.items()}
    held = {name: re.findall(r'<span class="w[^>]*>([^<]*)</span>', t) for name, t in body.items()}
    legend = 7
    assert len(held["hidden"]) == len(held["shown"]) > 300
    assert set(held["hidden"][legend:]) == {""}
    assert {"the", "thunder", "fog"} <= set(held["shown"][legend:])
    assert "thunder" not in texts["hidden"] and "fog" not in texts["hidden"]
    lengths = [int(n) for n in re.findall(r"--n:(\d+)", body["hidden"])]
    assert lengths == [len(word) for word in held["shown"][legend:]]
    for text in texts.values():
        assert "http" not in text and body["shown"].count("<article>") == 60
        weights = [float(w) for w in re.findall(r'title="([\d.]+) %"', text)]
        assert sum(weights) == pytest.approx(100 * 60, rel=0.02)
        assert text.count(' r"') + text.count(" r h") + text.count(" r m") > 30


def test_a_run_is_not_measured_with_the_words_of_other_data(attnflow, run, tmp_path):
    shutil.copytree(run / "data", tmp_path / "data")
    file = tmp_path / "data" / "dataset.json"
    file.write_text(re.sub(r'"(\w+ing|\w+er)"', '"thunder"', file.read_text()))
    shutil.copytree(run / "posts", tmp_path / "posts")
    config = tmp_path / "posts" / "config.toml"
    config.write_text(config.read_text().replace(str(run / "data"), str(tmp_path / "data")))
    code, _, err = attnflow("evaluate", tmp_path / "posts")
    assert code == 2 and "words of the data are not those that run" in err
    assert err.count("\n") == 1


@pytest.mark.filterwarnings("default")
def test_our_warnings_are_sentences_and_old_places_are_found_from_elsewhere(
    attnflow, run, tmp_path, monkeypatch
):
    shutil.copytree(run / "data", tmp_path / "odd")
    file = tmp_path / "odd" / "dataset.json"
    posts = json.loads(file.read_text())
    first = next(post for post in posts.values() if post["rationales"])
    first["rationales"][0].append(1)
    file.write_text(json.dumps(posts))
    monkeypatch.chdir(tmp_path)
    given = ["--data", "odd", *OPTIONS, "--epochs", "1", "--batch", "32", "--out", "odd-run"]
    code, _, err = attnflow("train", "--task", "hatexplain", *given)
    assert code == 0 and err.startswith("attnflow: rationales of 1 posts are not as long")
    assert ".py" not in err
    monkeypatch.chdir("/")
    assert attnflow("evaluate", tmp_path / "odd-run", "--json")[0] == 0


@pytest.mark.slow
def test_fit_takes_the_share_of_true_words_for_the_number_of_segments(document, run):
    found = document("fit", run / "posts")
    assert 3 <= found["segments"] <= 10
