"""Tasks from Hugging Face's datasets, and what a callback is told."""

import numpy as np
import pytest

from attnflow.errors import SettingError
from attnflow.train import Training, from_arrays, from_dataset, train

datasets = pytest.importorskip("datasets", reason="needs the extra data")


def rows(count, seed, most=4):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    lengths = [4 if place == 0 else int(generator.integers(2, most + 1)) for place in range(count)]
    segments = [generator.normal(size=(n, 5)).astype("float32").tolist() for n in lengths]
    true = [int(generator.integers(0, n)) for n in lengths]
    return {"patches": segments, "kind": labels.tolist(), "where": true}


def table(given, named=True):
    found = datasets.Dataset.from_dict(given)
    return found.cast_column("kind", datasets.ClassLabel(names=["a", "b", "c"])) if named else found


def test_a_dataset_becomes_the_task_of_its_arrays():
    given = {"train": rows(12, 1), "dev": rows(6, 2)}
    kept = datasets.DatasetDict({split: table(columns) for split, columns in given.items()})
    made = from_dataset(kept, "patches", "kind", "where", splits={"heldout": "dev"})
    sets = {}
    for split, columns in given.items():
        segments, mask = np.zeros((len(columns["kind"]), 4, 5), "float32"), []
        for place, value in enumerate(columns["patches"]):
            segments[place, : len(value)] = value
            mask.append(np.arange(4) < len(value))
        sets[split] = (segments, np.array(columns["kind"]), np.array(columns["where"]), mask)
    wanted = from_arrays("dataset", 3, sets["train"], sets["dev"], None, ["a", "b", "c"])
    assert made.class_names == wanted.class_names and made.classes == 3
    np.testing.assert_array_equal(made.base, wanted.base)
    for part in ("train", "heldout"):
        for name in ("labels", "true", "mask"):
            ours, theirs = getattr(made.sets[part], name), getattr(wanted.sets[part], name)
            np.testing.assert_array_equal(ours, theirs)


def test_it_trains_and_a_callback_sees_all_that_is_measured():
    told = []
    made = from_dataset(table(rows(30, 3), named=False), "patches", "kind", "where")
    run = Training(epochs=2, batch=10, seeds=(0, 1), paradigm="soft")
    trained = train(run, task=made, progress=lambda *given: told.append(given))
    assert [given[:2] for given in told] == [(1, 2), (2, 2)]
    for _, _, known in told:
        assert [row["seed"] for row in known["metrics"]] == [0, 1]
    last = told[-1][2]["metrics"]
    kept = [row for row in trained.rows if row["epoch"] == 2]
    for ours, row in zip(last, kept, strict=True):
        assert ours["loss"] == row["loss"]
        assert ours["train.alpha"] == row["sets"]["train"]["alpha"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"segments": "patch", "label": "kind"}, "columns must be among .*, got 'patch'"),
        ({"label": "kind", "splits": {"test": "eval"}}, "splits must name .*, got test='eval'"),
        ({"label": "patches"}, "patches must hold whole numbers"),
    ],
)
def test_what_a_dataset_lacks_is_named(arguments, message):
    equal = {**rows(5, 4), "patches": np.zeros((5, 4, 2)).tolist()}
    with pytest.raises(SettingError, match=message):
        from_dataset(table(equal), **{"segments": "patches", **arguments})


def test_a_dataset_without_training_inputs_is_refused():
    kept = datasets.DatasetDict(eval=table(rows(4, 5)))
    with pytest.raises(SettingError, match="must have a split train, got eval"):
        from_dataset(kept, "patches", "kind")
