"""Images in the official format train: colours of the classes are learned through the archive."""

import json
import shutil
import tracemalloc

import numpy as np
import pytest

from attnflow.cli import run as command
from attnflow.errors import DataError
from attnflow.train import evaluation as ev
from attnflow.train.config import Training
from attnflow.train.data.cifar_archive import ARCHIVES
from attnflow.train.data.images import CIFAR10_CLASSES
from attnflow.train.loop import train
from attnflow.train.tasks import task
from cifar_files import TEN, batch, write_tar

pytestmark = pytest.mark.usefixtures("compiled_once")


def coloured(count, seed):
    """Rows of noise around a colour of each class, and the classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    colours = np.random.default_rng(0).integers(60, 200, (10, 3))
    pixels = np.repeat(colours[labels], 1024, axis=1) + random.integers(-40, 40, (count, 3072))
    return pixels.clip(0, 255).astype(np.uint8), labels.tolist()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folder with an archive in the official format."""
    folder = tmp_path_factory.mktemp("images")
    files = {"batches.meta": batch({b"label_names": [n.encode() for n in CIFAR10_CLASSES]})}
    for seed, name in enumerate([*TEN.train, TEN.test]):
        pixels, labels = coloured(100, seed)
        files[name] = batch({b"batch_label": b"x", b"labels": labels, b"data": pixels})
    write_tar(folder / TEN.file, TEN.folder, files)
    return folder


@pytest.fixture(autouse=True)
def own_checksums(monkeypatch):
    monkeypatch.setitem(ARCHIVES, "cifar10", TEN)


def config(folder, **change):
    values = {"segments": 4, "train": 600, "heldout": 100, "test": 100, "epochs": 6, "batch": 50}
    plain = {"networks": "linear", "learning_rates": (0.001,), "paradigm": "lvml"}
    return Training(task="cifar10", data=str(folder), **(values | plain | change))


def test_an_archive_in_the_official_format_trains(archive):
    trained = train(config(archive))
    shown = ev.evaluate(trained)["sets"]
    assert trained.engine.task.class_names == ("airplane", "automobile", "bird")
    for part in ("heldout", "test"):
        assert shown[part]["focus_true"] > 80  # chance: 25
        assert shown[part]["argmax"]["accuracy"] > 80  # chance: 33


@pytest.mark.slow
def test_the_papers_networks_train_on_it_and_switch_when_theory_says(archive):
    # 12 steps of 0.02 / (1 - 0.9) an epoch: t = 27.9, where theory switches, is within the 12th
    run = config(archive, networks="cifar", learning_rates=(0.02,), epochs=14)
    change = {"paradigm": "soft@theory,hard"}
    trained = train(Training(**{**run.as_dict(), **change}))
    names = [row["paradigm"] for row in trained.rows]
    assert names == 12 * ["soft"] + 2 * ["hard"]
    assert ev.evaluate(trained)["sets"]["test"]["argmax"]["accuracy"] > 80


def test_a_damaged_archive_is_named_by_the_command(archive, tmp_path, capsys, monkeypatch):
    content = (archive / TEN.file).read_bytes()
    (tmp_path / TEN.file).write_bytes(content[: len(content) // 2])
    code = command(["train", "--task", "cifar10", "--data", str(tmp_path)])
    said = capsys.readouterr().err
    assert code == 2 and said.count("\n") == 1
    assert TEN.file in said and "is damaged or truncated" in said
    monkeypatch.undo()
    with pytest.raises(DataError, match="is damaged or not the official one"):
        task("cifar10", data=archive)


def test_mosaics_of_a_hundred_segments_need_the_memory_of_their_images(archive):
    tracemalloc.start()
    made = task("cifar10", data=archive, segments=100, train=40_000, heldout=10, test=10)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.sets["train"].segments.shape == (40_000, 100)
    assert most < 120e6  # as pixels: 12.3 GB


def test_a_run_on_images_remembers_where_they_were(archive, tmp_path, capsys):
    train(config(archive, epochs=1), tmp_path / "run")
    assert command(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "cifar10"
    moved = tmp_path / "run" / "config.toml"
    shutil.move(archive / TEN.file, archive / "away")
    try:
        assert command(["evaluate", str(moved.parent)]) == 3
    finally:
        shutil.move(archive / "away", archive / TEN.file)
    assert "no cifar10 at" in capsys.readouterr().err
