"""Tasks of one's own: truth is measured by, never learned from; what does not fit is refused."""

from dataclasses import replace

import numpy as np
import pytest

from attnflow.errors import DataError, SettingError
from attnflow.train import evaluation as ev
from attnflow.train import losses
from attnflow.train.config import Training
from attnflow.train.loop import train
from attnflow.train.report.compare_runs import compare_runs
from attnflow.train.run_folder import RunFolder
from attnflow.train.tasks import Mosaics, Task, task
from attnflow.train.tasks.arrays import from_arrays
from attnflow.train.theory import fit_run
from training_runs import weights

pytestmark = pytest.mark.usefixtures("compiled_lightly")
RUN = Training(epochs=4, batch=64, networks="two-layer", paradigm="lvml")
COUNT, PLACES = 400, 5
FILE = """
import numpy as np
from attnflow.train.tasks.arrays import from_arrays

def bags(segments=5, train=400, seed=0):
    random = np.random.default_rng(seed)
    def draw(count):
        inputs = random.normal(size=(count, segments, 8)).astype("float32")
        labels, true = random.integers(3, size=count), random.integers(segments, size=count)
        inputs[np.arange(count), true, labels] += 4
        return inputs, labels, true
    return from_arrays("bags", 3, draw(train), draw(100))

def number(seed): return 3
def fails(): raise OSError("no such bag")
def anything(**options): return bags(train=options.get("train", 50))
"""


def draw(seed, share=1.0):
    """Vectors, one of which tells the class; of a share of the inputs it is known which."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(COUNT, PLACES, 8))
    labels, true = random.integers(3, size=COUNT), random.integers(PLACES, size=COUNT)
    inputs[np.arange(COUNT), true, labels] += 4
    return inputs, labels, np.where(random.random(COUNT) < share, true, -1)


def bags(share):
    return from_arrays("bags", 3, draw(0, share), draw(1, share))


@pytest.fixture(scope="module")
def known():
    return train(RUN, task=bags(1.0))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_networks_do_not_learn_from_the_truth(known, share):
    trained = train(RUN, task=bags(share))
    assert weights(trained) == weights(known)
    ours, theirs = (ev.evaluate(one)["sets"]["heldout"] for one in (trained, known))
    for rule in ev.RULES:
        assert ours[rule]["accuracy"] == theirs[rule]["accuracy"]
    assert theirs["pooled"]["accuracy"] > 40  # chance: 33
    told = draw(1, share)[2] >= 0
    right = ev.predict(known, "heldout")["focus"] == draw(1)[2]
    assert ours["with_truth"] == np.count_nonzero(told)
    assert theirs["focus_true"] == pytest.approx(100 * np.mean(right))
    expected = pytest.approx(100 * np.mean(right[told])) if share else None
    assert ours["focus_true"] == expected


def test_metrics_are_means_over_the_inputs_whatever_their_batch_and_mask(tmp_path):
    inputs, labels, true = (values[:33] for values in draw(0))
    mask = np.arange(PLACES)[None] >= np.arange(33)[:, None] % 3
    mask[np.arange(33), true] = True
    mask[0] = np.arange(PLACES) == true[0]  # nothing beside the true segment
    run = Training(epochs=1, batch=32, learning_rates=(1e-12,), paradigm="lvml")  # the last: one
    trained = train(run, tmp_path / "run", task=from_arrays("few", 3, (inputs, labels, true, mask)))
    networks = trained.engine.modules(ev.one_run(trained))
    inputs = inputs.astype(np.float32)
    scores = np.asarray(networks.focus(inputs))
    log_weights = losses.log_weights(scores, mask)
    each = losses.label_log_probabilities(networks.classifier(inputs), labels)
    row, rows = trained.rows[-1], np.arange(33)
    assert row["loss"] == pytest.approx(float(losses.lvml(log_weights, each).mean()), rel=1e-5)
    alpha = np.exp(np.asarray(log_weights))[rows, true]
    assert row["alpha"] == pytest.approx(np.mean(alpha), rel=1e-5) and alpha[0] == 1
    others = [np.delete(s, t)[np.delete(m, t)] for s, t, m in zip(scores, true, mask, strict=True)]
    above = [scores[i, true[i]] - np.mean(others[i]) for i in range(1, 33)]
    assert row["sets"]["train"]["nu"] == pytest.approx(np.mean(above), rel=1e-4)


def test_where_no_true_segment_is_known_what_needs_one_is_refused(tmp_path):
    trained = train(RUN, tmp_path / "run", task=bags(0.0))
    row = RunFolder(tmp_path / "run").metrics()[-1]
    assert row["alpha"] is None and set(row["sets"]["train"]) == {"accuracy", "macro_f1"}
    with pytest.raises(SettingError, match="a fit needs true segments, and of set 'train' none"):
        fit_run(trained)
    with pytest.raises(SettingError, match="a signature needs true segments"):
        ev.signature(trained, "heldout")
    for run, what in (
        (replace(RUN, fixed_focus=(0.5,)), "a fixed focus"),
        (replace(RUN, paradigm="soft@alpha=0.5,hard"), "a switch by focus"),
    ):
        with pytest.raises(SettingError, match=f"{what} needs .* true segments are known; task ba"):
            train(run, task=bags(0.0))


def test_a_function_in_a_file_makes_a_task_that_runs_and_is_reported(tmp_path, monkeypatch):
    file = tmp_path / "own.py"
    file.write_text(FILE)
    monkeypatch.chdir(tmp_path)
    trained = train(replace(RUN, task="own.py:bags", segments=4, train=200), "run")
    monkeypatch.chdir("/")  # the run is found, and finds its file, from anywhere
    assert (trained.engine.task.segments, len(trained.engine.task.sets["train"])) == (4, 200)
    assert weights(ev.load(tmp_path / "run")) == weights(trained)
    page = compare_runs([tmp_path / "run"], tmp_path / "page")
    assert "| bags | 4 | 3 |" in page.read_text()
    assert len(task(f"{file}:anything", train=60, data="here").sets["train"]) == 60
    for name, options, message in (
        ("bags", {"test": 5}, "has no option test, got 5"),
        ("number", {"seed": 1}, "must return a Task, got int"),
        ("fails", {"seed": 1}, "cannot be made: OSError: no such bag"),
        ("other", {}, "no function 'other' in"),
    ):
        with pytest.raises(SettingError, match=message):
            task(f"{file}:{name}", **options)
    with pytest.raises(SettingError, match="task must be one of .*, or FILE.py:NAME, got 'bags'"):
        task("bags")


def test_arrays_lie_as_they_were_given():
    inputs, labels, true = draw(3)
    made = from_arrays("a", 3, (inputs, labels), test=(inputs[:7] + 1, labels[:7], true[:7]))
    assert made.base.dtype == np.float32 and list(made.sets) == ["train", "test"]
    there = np.asarray(made.gather(made.base, made.sets["test"].segments))
    np.testing.assert_array_equal(there, (inputs[:7] + 1).astype(np.float32))
    images = (inputs[..., None, None] > 0).astype(np.uint8)
    assert from_arrays("b", 3, (images, labels)).base.dtype == np.uint8


INDEX = np.arange(12).reshape(4, 3)
BASE = np.ones((12, 2), np.float32)
ZERO = np.zeros(4, int)
MASK = np.array([[1, 1, 0]] * 4, bool)


def made(sets=None, base=BASE, classes=2, **change):
    fields = {"segments": INDEX, "labels": ZERO, "true": ZERO, **change}
    return Task("own", base, sets or {"train": Mosaics(**fields)}, classes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made(classes=1), "classes must be a whole number of at least 2, got 1"),
        (lambda: made({"test": Mosaics(INDEX, ZERO, ZERO)}), "task own must have a set 'train'"),
        (lambda: made({"dev": Mosaics(INDEX, ZERO, ZERO)}), "must be of train, .* got 'dev'"),
        (lambda: made(base=np.full((12, 2), np.nan)), "base items of task own must be finite"),
        (lambda: made(segments=INDEX + 1), "segments of set 'train' .* from 0 to 11, got 12"),
        (lambda: made(segments=INDEX[:, :1]), r"of at least 2 segments, .* shape \(4, 1\)"),
        (lambda: made(segments=INDEX[:0]), r"of at least 2 segments, .* shape \(0, 3\)"),
        (lambda: made(labels=ZERO + 2), "labels of set 'train' of task own .* 0 to 1, got 2"),
        (lambda: made(labels=ZERO - 1), "labels of set 'train' of task own .* 0 to 1, got -1"),
        (lambda: made(labels=ZERO[:3]), r"whole numbers of shape \(4,\), got int64 \(3,\)"),
        (lambda: made(labels=ZERO / 2), r"whole numbers of shape \(4,\), got float64 \(4,\)"),
        (lambda: made(true=ZERO + 3), "true places of set 'train' .* from -1 to 2, got 3"),
        (lambda: made(mask=MASK.astype(int)), "mask of set 'train' .* must be true or false"),
        (lambda: made(mask=MASK & False), "must leave each input a segment"),
        (lambda: made(true=ZERO + 2, mask=MASK), "true segments of .* must not be masked"),
        (lambda: made(mask=MASK, truth=~MASK), "true segments of .* must not be masked"),
        (lambda: from_arrays("a", 2, BASE), r"train must be \(segments, labels\), .* ndarray"),
        (lambda: from_arrays("a", 2, (BASE, ZERO)), r"must have shape \(N, m, \*shape\), got"),
        (
            lambda: from_arrays("a", 2, (BASE[INDEX], ZERO), (BASE[INDEX, :1], ZERO)),
            "all sets must have segments of one shape and number",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(make, message):
    with pytest.raises(SettingError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_run_goes_on_with_the_data_it_began_with_and_no_other(tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(done, total, rows):
        raise Interrupted

    with pytest.raises(Interrupted):
        train(RUN, tmp_path / "run", task=bags(1.0), progress=interrupt)
    other = from_arrays("bags", 3, draw(2), draw(1))
    with pytest.raises(DataError, match="training inputs of the data are not those .* changed"):
        train(None, tmp_path / "run", task=other, resume=True)
    resumed = train(None, tmp_path / "run", task=bags(0.0), resume=True)
    assert [row["epoch"] for row in resumed.rows[-RUN.epochs :]] == [1, 2, 3, 4]
    # to be measured on other inputs is no harm
    assert ev.evaluate(ev.load(tmp_path / "run", task=other))["sets"]["train"]["focus_true"]


def test_fingerprints_tell_what_is_learned_from():
    inputs, labels, true = draw(0)
    plain = bags(1.0).fingerprint()
    assert bags(0.0).fingerprint() == plain
    for changed in (
        (inputs + 1, labels),
        (inputs, labels[::-1]),
        (inputs, labels, true, np.arange(PLACES)[None] >= np.zeros((COUNT, 1))),
    ):
        found = from_arrays("bags", 3, changed, draw(1)).fingerprint()
        assert found["train"] != plain["train"] and found["vocabulary"] == plain["vocabulary"]
