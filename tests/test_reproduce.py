"""The paper's experiments by name: configs that hold together, shrunk in proportion, and a page."""

import json
from dataclasses import replace

import pytest

from attnflow import reproduce as module
from attnflow.cli import run as command
from attnflow.errors import MissingPart, SettingError
from attnflow.reproduce import Experiment, configs, experiment, experiments, reproduce
from attnflow.schedule import Schedule

NAMES = (
    *("ode-20", "ode-100", "sdc-cifar10", "sdc-cifar100", "heat-maps", "captions"),
    *("signature-orthogonal", "signature-cifar10", "signature-cifar100"),
    *("hatexplain-simple", "hatexplain-transformer"),
)


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """A folder in which every file seems to be, and sets of posts and captions that are counted."""
    (tmp_path / "vgg19.pth").write_bytes(b"")
    plain = module._counts
    full = {"train": 15383, "heldout": 1922, "test": 1924}

    def counts(one, run):
        if one.data == "coco":
            return {"train": 82783, "heldout": 40504}
        return full if one.data == "hatexplain" else plain(one, run)

    monkeypatch.setattr(module, "_counts", counts)
    return str(tmp_path)


def test_every_experiment_of_the_paper_has_a_name():
    assert set(experiments()) == set(NAMES)
    for one in experiments().values():
        assert one.title and one.size and one.cpu and one.gpu and one.differs
        assert bool(one.flow) != bool(one.runs)


@pytest.mark.parametrize("scale", [1.0, 0.3, 0.01, 1e-6])
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"ode-20", "ode-100"}))
def test_epochs_and_sets_shrink_in_proportion(name, scale, counted):
    one = experiment(name)
    whole, found = (configs(one, counted, scale=s, seed=3) for s in (1.0, scale))
    assert list(found) == list(one.runs)
    for run, full in zip(found.values(), whole.values(), strict=True):
        ends = [stage.end for stage in run.schedule.stages]
        assert len(ends) == len(full.schedule.stages) and run.epochs >= len(ends)
        assert run.epochs == max(len(ends), round(scale * full.epochs))
        last = 0
        for end, other in zip(ends[:-1], full.schedule.stages, strict=False):
            assert last < end.value < run.epochs
            assert abs(end.value - scale * other.end.value) <= max(1, len(ends))
            last = end.value
        for part in ("train", "heldout", "test"):
            if getattr(full, part, None) is not None:
                assert getattr(run, part) == max(1, round(scale * getattr(full, part)))
        assert getattr(run, "seeds", None) == (3,) or run.seed == 3
        assert replace(run, epochs=full.epochs, paradigm=full.paradigm) == replace(
            full, **{p: getattr(run, p) for p in ("train", "heldout", "test") if hasattr(run, p)}
        )


def test_the_hybrid_of_words_in_context_is_in_two_stages_of_their_own_rates(counted):
    run = configs(experiment("hatexplain-transformer"), counted)["hybrid"]
    first, second = Schedule(run.paradigm).stages
    assert (first.end.value, first.rate("focus", 1.0), first.fresh) == (500, 0.005, False)
    assert (run.epochs, second.rate("focus", 1.0), second.fresh) == (550, 0.008, True)


@pytest.mark.parametrize("name", NAMES)
def test_data_that_are_missing_are_named_with_their_source(name):
    one = experiment(name)
    if not one.data:
        configs(one)
        return
    with pytest.raises(MissingPart, match=f"{name} needs {one.data}, got no --data: .*https://"):
        configs(one)
    if one.captions:
        with pytest.raises(MissingPart, match="needs the weights of VGG19, got no vgg19"):
            configs(one, "nowhere")


def test_the_command_lists_all_and_says_what_is_missing(capsys):
    assert command(["reproduce", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in listed} == set(NAMES)
    assert all(one["cpu"] and one["gpu"] and one["size"] for one in listed)
    assert command(["reproduce", "sdc-cifar100"]) == 3
    assert "cifar-100-python.tar.gz from https://" in capsys.readouterr().err
    assert command(["reproduce"]) == command(["reproduce", "sdc"]) == 2
    assert command(["reproduce", "ode-20", "--scale", "2"]) == 2
    assert "scale must be above 0 and at most 1, got 2" in capsys.readouterr().err


def test_what_no_experiment_can_be_is_refused(tmp_path):
    with pytest.raises(SettingError, match="experiment must be one of ode-20, .*, got 'sdc'"):
        reproduce("sdc", tmp_path)
    for scale in (0, -1, 1.5, float("nan")):
        with pytest.raises(SettingError, match="scale must be above 0 and at most 1, got"):
            reproduce("ode-20", tmp_path, scale=scale)
    assert not list(tmp_path.iterdir())


def test_what_came_out_stands_beside_what_is_known():
    known = {"run": "soft", "source": "a book", "values": [["test", "argmax", "ftpt", 50.0]]}
    one = Experiment(
        *("any", "", "", "", ""), shown=(("test", "argmax", "focus_true"),), published=(known,)
    )
    rates = {"sets": {"test": {"argmax": {"ftpt": 40.0}, "focus_true": 60.0}}}
    assert one.rows({"soft": rates, "hard": rates}) == [
        ("soft", "test", "argmax", "focus_true", 60.0, None),
        ("hard", "test", "argmax", "focus_true", 60.0, None),
        ("soft", "test", "argmax", "ftpt", 40.0, 50.0),
    ]
    assert one.rows({"hard": {"sets": {"train": {}}}}) == []


@pytest.fixture
def tiny(monkeypatch):
    """An experiment of seconds."""
    made = Experiment(
        *("tiny", "A tiny experiment", "", "", ""),
        common={"task": "digits", "train": 400, "heldout": 200, "test": 200, "epochs": 4},
        runs={"soft": {"paradigm": "soft"}, "hybrid": {"paradigm": "soft@epoch=2,hard:fresh"}},
        shown=(("test", "argmax", "accuracy"),),
        differs=("Everything.",),
    )
    monkeypatch.setattr(module, "experiments", lambda: {"tiny": made})


@pytest.mark.slow
@pytest.mark.usefixtures("tiny", "compiled_once", "compiled_lightly")
def test_an_experiment_leaves_runs_and_a_page_and_is_gone_on_with(tmp_path):
    place = tmp_path / "out"
    page = reproduce("tiny", place, scale=0.5)
    text = page.read_text()
    for words in ("A tiny experiment", "0.5 of the published", "What differs: Everything."):
        assert words in text
    assert text.count("<td>not known</td>") == 2 and "came out" in text
    kept = {run: (place / run / "metrics.jsonl").read_bytes() for run in ("soft", "hybrid")}
    assert kept["hybrid"].count(b"\n") == 2 and b'"hard"' in kept["hybrid"]
    reproduce("tiny", place, scale=0.5)
    assert kept == {run: (place / run / "metrics.jsonl").read_bytes() for run in kept}
    for other in ({"scale": 0.25}, {"scale": 0.5, "seed": 1}):
        with pytest.raises(SettingError, match="soft' holds a run with another scale, seed or"):
            reproduce("tiny", place, **other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ode-20", "ode-100"])
def test_the_figures_of_the_flow_are_drawn_with_the_order_of_onsets(name, tmp_path):
    page = reproduce(name, tmp_path, scale=0.01)
    text = page.read_text()
    assert text.count("<img") == 2 and "not known" in text
    onset = {
        line.split("<td>")[1][:4]: float(line.split("<td>")[4].removesuffix("</td>"))
        for line in text.splitlines()
        if line.startswith("<tr><td>")
    }
    assert onset["lvml"] < onset["soft"] < onset["hard"]
