"""A run's folder loses nothing and notices damage, in every kind of run."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from attnflow.captions.config import CaptionTraining
from attnflow.captions.generated_set import generate_coco
from attnflow.cli import run as command
from attnflow.errors import DataError, SettingError
from attnflow.reading import read_toml
from attnflow.train.checkpoints import Checkpoints
from attnflow.train.config import Training, from_toml, to_toml
from attnflow.train.loop import train
from attnflow.train.run_folder import RunFolder
from training_runs import EXACT

pytestmark = pytest.mark.usefixtures("compiled_once", "compiled_lightly")
FEW = replace(EXACT, epochs=3, passes=1)
STATE = {"weights": np.arange(6.0), "step": np.int32(3)}


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    data = generate_coco(tmp_path_factory.mktemp("coco") / "set", train=12, val=4)
    return CaptionTraining(
        data=str(data),
        paradigm="soft",
        **{"min_count": 1, "image_size": 24, "encoder_width": 4, "encoder_blocks": 1},
        **{"hidden": 4, "attention": 4, "embedding": 4, "batch": 6, "epochs": 2},
        measured=2,
    )


@pytest.fixture(params=["plain", "captions"])
def begin(request):
    """A small run of each kind, and the functions that train and load it."""
    if request.param == "plain":
        from attnflow.train.evaluation import load

        return FEW, train, load
    from attnflow.captions.evaluation import load
    from attnflow.captions.loop import train as function

    return request.getfixturevalue("coco"), function, load


@pytest.mark.parametrize("name", ["lr[0.1]", "a\\b", "*?", "line\nend", "#%41", "[", " ", "\u03bd"])
def test_a_checkpoint_comes_back_from_a_folder_of_any_name(tmp_path, name):
    for folder in (tmp_path / name, tmp_path / name / name):
        kept = Checkpoints(folder)
        kept.save(STATE, 1, {"stage": 0}, 0.5)
        found, record = kept.load(1, STATE)
        assert np.array_equal(found["weights"], STATE["weights"]) and record["stage"] == 0


def test_a_run_in_a_folder_with_brackets_resumes_and_evaluates(tmp_path, begin):
    run, train, load = begin
    (tmp_path / "lr[0.1]*").symlink_to(tmp_path / "a" / "[b]")  # leads to no folder yet
    first = train(run, tmp_path / "lr[0.1]*")
    assert len(train(None, tmp_path / "lr[0.1]*", resume=True).rows) == len(first.rows)
    assert len(load(tmp_path / "lr[0.1]*").rows) == len(first.rows)


def test_any_flipped_bit_of_a_checkpoint_is_noticed(tmp_path):
    kept = Checkpoints(tmp_path)
    random = np.random.default_rng(0)
    state = {"weights": random.normal(size=3000).astype(np.float32), "step": np.int32(3)}
    for step in (1, 2):
        kept.save(state, step, {"stage": 1}, 0.5)
    noticed = 0
    for file in sorted((tmp_path / "2").iterdir()):
        whole = file.read_bytes()
        for place in random.integers(len(whole), size=100).tolist():
            bad = bytearray(whole)
            bad[place] ^= 1 << int(random.integers(8))
            file.write_bytes(bad)
            try:
                found, record = kept.load(2, state)
            except DataError as error:
                said = str(error)
                assert "2' is damaged" in said and "go on from checkpoint 1" in said
                noticed += 1
            else:  # a byte that nothing depends on, of the archive's own lists
                assert record["stage"] == 1
                assert all(np.array_equal(found[name], state[name]) for name in state)
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match="is damaged"):
            kept.load(2, state)
        file.write_bytes(whole)
    assert noticed > 150
    with pytest.raises(DataError, match="of other networks"):
        kept.load(2, {"weights": np.zeros(3, np.float32), "step": np.int32(0)})


def test_a_checkpoint_that_does_not_read_back_stops_the_run(tmp_path, monkeypatch):
    from attnflow.train import checkpoints

    monkeypatch.setattr(checkpoints.np, "savez", lambda file, **arrays: file.write(b"nothing"))
    with pytest.raises(SettingError, match="does not keep what is written"):
        train(FEW, tmp_path / "run")


def test_damage_in_a_run_is_told_in_one_sentence(tmp_path, begin, capsys):
    run, train, _ = begin
    folder = tmp_path / "run"
    train(run, folder)
    newest = max(int(p.name) for p in (folder / "checkpoints").iterdir())
    row = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    record = json.loads((folder / "run.json").read_text())
    config = (folder / "config.toml").read_text()
    kept = f"checkpoints/{newest}/record.json"
    stage = json.loads((folder / kept).read_text()) | {"stage": 99}
    seed = "seeds = [0, 1]" if "learning_rates" in record["config"] else "seed = 1"
    for name, text, said in (
        (kept, "{", "is damaged"),
        (kept, "{}", "is damaged"),
        (kept, json.dumps(stage), "is damaged"),
        (kept, "[" * 100_000, "is damaged"),
        ("run.json", "{", "is damaged"),
        ("run.json", "[]", "is damaged"),
        ("run.json", "{}", "is damaged"),
        ("run.json", json.dumps(record | {"data": None}), "is damaged"),
        ("run.json", json.dumps(record | {"config": 3}), "is damaged"),
        ("metrics.jsonl", json.dumps(row | {"epoch": "one"}) + "\n", "is damaged"),
        ("metrics.jsonl", json.dumps(row | {"sets": {"train": {"loss": "x"}}}) + "\n", "damaged"),
        ("metrics.jsonl", "{}\n", "is damaged"),
        ("config.toml", config + seed, "Cannot overwrite a value"),
        ("config.toml", config.replace("\nepochs = ", "\nepochs = 1"), "began with epochs ="),
        ("config.toml", "a = " + "[" * 100_000, "is no TOML"),
        ("config.toml", config.replace("\nepochs", "\nchunks", 1), "began with"),
    ):
        before = (folder / name).read_bytes()
        (folder / name).write_text(text)
        for arguments in (("evaluate", folder), ("train", "--out", folder, "--resume")):
            assert command([str(a) for a in arguments]) == 2, (name, text[:40], arguments)
            err = capsys.readouterr().err
            assert said in err and err.count("\n") == 1, (name, text[:40], err)
        (folder / name).write_bytes(before)
    (folder / "metrics.jsonl").unlink()
    assert command(["train", "--out", str(folder), "--resume"]) == 2
    assert "metrics.jsonl' lacks rows of epoch 1: " in capsys.readouterr().err
    (folder / f"checkpoints/{newest}/state.npz").write_text("{}")
    assert command(["evaluate", str(folder)]) == 2
    assert "state.npz' is damaged, or is no .npz" in capsys.readouterr().err
    (folder / f"checkpoints/{newest}").rename(folder / f"checkpoints/{newest + 1}")
    assert command(["evaluate", str(folder)]) == 2
    assert f"it is checkpoint {newest} under another name" in capsys.readouterr().err
    (folder / "run.json").unlink()
    assert command(["evaluate", str(folder)]) == 2
    assert "run.json' cannot be read" in capsys.readouterr().err


def test_nothing_begins_where_checkpoints_or_metrics_lie(tmp_path, begin):
    run, train, _ = begin
    folder = tmp_path / "run"
    train(run, folder)
    (folder / "config.toml").unlink()
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for resume in (True, False):
        with pytest.raises(SettingError, match=r"holds metrics of a run but no config\.toml"):
            train(run, folder, resume=resume)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(SettingError, match="holds metrics of a run but no config"):
        train(run, folder)  # metrics.csv has them
    (folder / "metrics.csv").unlink()
    with pytest.raises(SettingError, match="holds checkpoints of a run but no config"):
        train(run, folder, resume=True)
    for step in (folder / "checkpoints").iterdir():
        step.rename(step.with_name(f"old-{step.name}"))
    with pytest.raises(SettingError, match="holds checkpoints of a run but no config"):
        train(run, folder)
    (tmp_path / "other").mkdir()
    os.mkfifo(tmp_path / "other" / "metrics.jsonl")
    with pytest.raises(SettingError, match="must be a regular file"):
        train(run, tmp_path / "other")


LOCKED = """
import sys
from attnflow.train.run_folder import RunFolder
folder = RunFolder(sys.argv[1])
folder.lock()
print("locked", flush=True)
input()
"""


def test_a_folder_belongs_to_one_process_until_that_ends(tmp_path, begin):
    run, train, _ = begin
    run = replace(run, epochs=1, paradigm="soft")
    train(run, tmp_path / "before")
    for place, resume in ((tmp_path / "run", False), (tmp_path / "before", True)):
        with subprocess.Popen(
            [sys.executable, "-c", LOCKED, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None and other.stdout.readline() == "locked\n"
            with pytest.raises(SettingError, match="another process trains in .*wait until it has"):
                train(None if resume else run, place, resume=resume)
            other.kill()  # what a crash leaves holds nobody up
        train(None if resume else run, place, resume=resume)
        again = RunFolder(place)
        again.lock()
        again.close()


def test_captions_go_on_with_their_own_data_only(tmp_path, coco):
    from attnflow.captions.loop import train

    train(replace(coco, epochs=1), tmp_path / "run")
    place = f"{coco.data}/annotations"
    [file] = [f"{place}/{p}" for p in os.listdir(place) if p.startswith("captions_train")]
    with open(file, encoding="utf-8") as stream:
        text = stream.read()
    document = json.loads(text)
    for entry in document["annotations"]:
        entry["caption"] = " ".join(reversed(entry["caption"].split()))
    try:
        with open(file, "w", encoding="utf-8") as stream:
            json.dump(document, stream)
        with pytest.raises(DataError, match="the training inputs of the data are not those"):
            train(None, tmp_path / "run", resume=True)
    finally:
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(text)
    train(None, tmp_path / "run", resume=True)


def test_a_config_of_any_text_comes_back_from_toml(tmp_path):
    strange = "a\nb\t\"c\\ \x7f\x01 \u2028 [x] # '''"
    run = Training(task="cifar10", data=strange, networks=strange)
    (tmp_path / "c.toml").write_text(to_toml(run), encoding="utf-8")
    assert from_toml(tmp_path / "c.toml") == run
    with pytest.raises(SettingError, match="a config must hold Unicode text, got 'data = "):
        to_toml(Training(task="cifar10", data="\udcff"))
    for place in (" a b ", "\ta"):  # a place is taken as it is
        assert Training(**Training.read({"start_from": place})).start_from == place
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingError, match="config must be a TOML file.*regular file"):
        read_toml(tmp_path / "pipe")
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbfepochs = 3\n")
    assert read_toml(tmp_path / "bom.toml") == {"epochs": 3}


def test_a_full_disk_stops_training_in_one_sentence(tmp_path):
    """A limit on the size of files stands for a disk that is full."""
    code = (
        "import resource, sys; from attnflow.cli import run;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "--task", "orthogonal", "--epochs", "2"]
        + ["--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": ""},
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert "File too large" in done.stderr and done.stderr.count("\n") == 1
    assert not [p for p in tmp_path.rglob(".*") if p.name != ".lock"]
