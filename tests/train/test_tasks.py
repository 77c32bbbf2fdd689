"""Tasks keep their contract; readers read the published formats exactly, and refuse the rest."""

import os
import pickle
import shutil
import struct
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jax
import numpy as np
import pytest

from attnflow.errors import DataError, MissingPart, SettingError
from attnflow.train.data.cifar_archive import ARCHIVES, read_unpacked, sha256_of
from attnflow.train.data.download import fetch
from attnflow.train.data.find_images import find_images, read_archive
from attnflow.train.data.images import CIFAR10_CLASSES, CIFAR100_FOREGROUND
from attnflow.train.data.pickles import read_batch
from attnflow.train.tasks import Mosaics, Task, task
from attnflow.train.tasks.cifar import OTHER_ORDER, cifar10, published_mosaics
from attnflow.train.tasks.task import draw_mosaics, only_used
from cifar_files import batch, rows, ten_files, write_tar

TEN, HUNDRED = ARCHIVES["cifar10"].unchecked(), ARCHIVES["cifar100"].unchecked()


def foreground_of(task, name):
    inputs = task.sets[name]
    return inputs.segments[np.arange(len(inputs)), inputs.true]


def test_digits_are_one_foreground_digit_among_background_ones():
    from sklearn.datasets import load_digits

    target = load_digits().target
    made = task("digits", segments=7, train=500, heldout=100, test=100, seed=3)
    assert made.shape == (8, 8, 1) and made.segments == 7 and made.base.dtype == np.uint8
    for name, inputs in made.sets.items():
        kinds = target[inputs.segments]
        assert np.array_equal(target[foreground_of(made, name)], inputs.labels)
        assert np.all((kinds <= 2).sum(axis=1) == 1)
        assert len(np.unique(inputs.true)) == 7 and len(np.unique(inputs.labels)) == 3
    seen = set(made.sets["train"].segments.ravel()) | set(made.sets["heldout"].segments.ravel())
    assert not seen & set(made.sets["test"].segments.ravel())


def test_one_seed_draws_one_set_of_mosaics():
    first, same, other = (task("digits", train=50, seed=s).sets["train"] for s in (1, 1, 2))
    assert np.array_equal(first.segments, same.segments)
    assert not np.array_equal(first.segments, other.segments)


def test_true_places_and_labels_are_uniform():
    drawn = draw_mosaics(
        np.random.default_rng(0), 30000, 6, [np.arange(9), np.arange(9, 11)], np.arange(20, 30)
    )
    for values, kinds in ((drawn.true, 6), (drawn.labels, 2)):
        share = np.bincount(values, minlength=kinds) / 30000
        np.testing.assert_allclose(share, 1 / kinds, atol=4 * np.sqrt(1 / kinds / 30000))


def test_memory_of_many_mosaics_is_that_of_their_indices():
    drawn = draw_mosaics(np.random.default_rng(0), 40000, 100, [np.arange(5)], np.arange(5, 50))
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(drawn)) < 17e6  # as pixels: 12.3 GB


def test_the_exact_simple_setting_is_its_population():
    made = task("orthogonal", segments=4, classes=3)
    batch = np.asarray(made.gather(made.base, made.sets["train"].segments))
    assert batch.shape == (3, 4, 3)
    np.testing.assert_array_equal(batch[:, 0], np.eye(3))
    assert np.all(batch[:, 1:] == 0) and made.full_batch


@pytest.mark.parametrize("mean", [None, 0, 0.5])
def test_the_sampled_simple_setting_has_the_published_variances(mean):
    options = {"samples": 4000, "heldout": 10, "background_mean": mean}
    made = task("orthogonal", segments=5, classes=4, **options)
    mean = 1 if mean is None else mean
    inputs = made.sets["train"]
    segments = np.asarray(made.gather(made.base, inputs.segments))
    rows = np.arange(4000)
    true = segments[rows, inputs.true]
    noise = true - np.eye(5)[inputs.labels]
    assert np.std(noise[:, :4]) == pytest.approx(1e-5, rel=0.1)
    background = segments[np.arange(5) != inputs.true[:, None]]
    assert np.all(background[:, :4] == 0)
    assert background[:, 4].mean() == pytest.approx(mean, abs=0.01)
    assert background[:, 4].std() == pytest.approx(0.1, rel=0.05)
    assert made.setting.background_norm == mean


def test_a_background_mean_without_samples_or_below_0_is_refused():
    with pytest.raises(SettingError, match="background_mean is for sampled inputs .* got 0"):
        task("orthogonal", background_mean=0)
    with pytest.raises(SettingError, match="background_mean must be a finite number .* got -1"):
        task("orthogonal", samples=9, background_mean=-1)


# ---- the official formats, written as Python 2 wrote them


def test_official_archive_reads_as_channels_first_rows(tmp_path):
    path = write_tar(tmp_path / TEN.file, TEN.folder, ten_files())
    before = sorted(tmp_path.rglob("*"))
    images = read_archive(path, TEN)
    assert sorted(tmp_path.rglob("*")) == before  # nothing unpacked
    assert images.train.shape == (100, 32, 32, 3) and images.test.shape == (20, 32, 32, 3)
    row = rows(20, 1)[3]  # of the second batch
    assert np.array_equal(images.train[23], row.reshape(3, 32, 32).transpose(1, 2, 0))
    assert images.train_labels[23] == 3 and images.names == tuple(CIFAR10_CLASSES)


def test_unpacked_archive_equals_the_packed_one(tmp_path):
    files = ten_files()
    folder = tmp_path / TEN.folder
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    ours = read_unpacked(folder, TEN)
    theirs = read_archive(write_tar(tmp_path / "a.tar.gz", TEN.folder, files), TEN)
    assert np.array_equal(ours.train, theirs.train)
    assert np.array_equal(ours.test_labels, theirs.test_labels)
    (folder / "data_batch_3").unlink()
    with pytest.raises(MissingPart, match="is not a whole cifar-10-batches-py: no 'data_batch_3'"):
        read_unpacked(folder, TEN)


def test_cifar100_reads_fine_labels(tmp_path):
    names = sorted(" ".join(CIFAR100_FOREGROUND.values()).split()) + [f"b{i}" for i in range(50)]
    files = {"meta": batch({b"fine_label_names": [n.encode() for n in names]})}
    for name in ("train", "test"):
        labels = list(range(100))
        files[name] = batch(
            {b"fine_labels": labels, b"coarse_labels": [0] * 100, b"data": rows(100)}
        )
    images = read_archive(write_tar(tmp_path / HUNDRED.file, HUNDRED.folder, files), HUNDRED)
    assert images.train.shape == (100, 32, 32, 3) and images.train_labels[77] == 77
    assert len(set(" ".join(CIFAR100_FOREGROUND.values()).split())) == 50


def test_arrays_written_by_python_three_read_too():
    found = read_batch(pickle.dumps({b"data": rows(2)}, 2), "a file")
    assert np.array_equal(found["data"], rows(2))


class Evil:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (self.place,)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(tmp_path, protocol):
    place = tmp_path / "made"
    content = pickle.dumps({b"data": Evil(str(place))}, protocol)
    with pytest.raises(DataError, match=r"it asks for (posix|nt)\.mkdir, which image data do not"):
        read_batch(content, "'x'")
    assert not place.exists()


@pytest.mark.parametrize("name", ["builtins.eval", "builtins.getattr", "numpy.load", "os.system"])
def test_no_global_but_the_four_inert_ones_is_found(name):
    module, _, last = name.rpartition(".")
    with pytest.raises(DataError, match="which image data do not need"):
        read_batch(f"c{module}\n{last}\n(tR.".encode(), "'x'")


def test_every_truncation_of_a_batch_is_refused():
    content = batch({b"labels": [1], b"data": rows(1)})
    for cut in [0, 1, 5, *range(10, len(content) - 1, 97), len(content) - 1]:
        with pytest.raises(DataError, match="'x' "):
            read_batch(content[:cut], "'x'")
    pixels = b"T" + struct.pack("<i", 3072) + rows(1).tobytes()
    number = content.replace(pixels, pickle.dumps(10**12, 2)[2:-1])  # a terabyte, if taken for size
    with pytest.raises(DataError, match="an array in it is no array of bytes"):
        read_batch(number, "'x'")
    with pytest.raises(DataError, match="holds no dictionary"):
        read_batch(pickle.dumps([1]), "'x'")


def test_damage_is_named(tmp_path):
    path = write_tar(tmp_path / TEN.file, TEN.folder, ten_files())
    with pytest.raises(DataError, match="is damaged or not the official one: its MD5 is"):
        find_images(path, "cifar10")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="is damaged or truncated"):
        read_archive(path, TEN)
    files = ten_files()
    del files["data_batch_4"]
    write_tar(path, TEN.folder, files)
    with pytest.raises(DataError, match="it has no 'data_batch_4'"):
        read_archive(path, TEN)
    files = ten_files() | {"test_batch": batch({b"labels": [11], b"data": rows(1)})}
    write_tar(path, TEN.folder, files)
    with pytest.raises(DataError, match="labels outside its 10 classes"):
        read_archive(path, TEN)
    files = ten_files() | {"test_batch": batch({b"labels": [1, 2], b"data": rows(1)})}
    write_tar(path, TEN.folder, files)
    with pytest.raises(DataError, match="must hold n rows of 3072 bytes and n labels"):
        read_archive(path, TEN)
    for name, held, message in (
        ("test_batch", {b"labels": [1.5], b"data": rows(1)}, "lacks images or labels"),
        ("batches.meta", {b"label_names": 5}, "'batches.meta' of .* lacks label_names"),
    ):
        write_tar(path, TEN.folder, ten_files() | {name: batch(held)})
        with pytest.raises(DataError, match=message):
            read_archive(path, TEN)
    (tmp_path / TEN.folder).mkdir()
    (tmp_path / TEN.folder / "data_batch_1").write_bytes(b"")
    path.unlink()
    with pytest.raises(MissingPart, match="is not a whole .*: no 'batches.meta' in it"):
        find_images(tmp_path, "cifar10")


def write_classes(folder, count=2, side=32):
    from PIL import Image

    for part in ("train", "test"):
        for kind, name in enumerate(CIFAR10_CLASSES):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = np.full((side, side, 3), 10 * kind + i, np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i:04}.png")


def test_images_by_class_read_alike_from_folder_and_tar(tmp_path):
    write_classes(tmp_path / "data")
    with tarfile.open(tmp_path / "cifar10-mine.tar.xz", "w:xz") as tar:
        tar.add(tmp_path / "data", "some/where")
    for place in (tmp_path / "data", tmp_path / "cifar10-mine.tar.xz", tmp_path):
        images = find_images(place, "cifar10")
        assert images.names == tuple(CIFAR10_CLASSES)
        assert images.train.shape == (20, 32, 32, 3)
        assert np.array_equal(images.train[:, 0, 0, 0], 10 * images.train_labels + [0, 1] * 10)
    made = cifar10(tmp_path / "data", segments=3, train=40, heldout=10, test=10)
    assert np.array_equal(
        made.base[foreground_of(made, "test")][:, 0, 0, 0] // 10, made.sets["test"].labels
    )
    parts = {name: np.unique(inputs.segments) for name, inputs in made.sets.items()}
    assert not set(parts["test"]) & {*parts["train"], *parts["heldout"]}
    assert np.array_equal(np.unique(np.concatenate([*parts.values()])), np.arange(len(made.base)))


@pytest.mark.parametrize(
    "name",
    [
        "cifar-10-batches-py.tar.gz",
        "cifar-10-python (1).tar.gz",
        "cifar-10-python.tar",
        "CIFAR10.TGZ",
        "cifar-10-batches-py-target/cifar-10-batches-py",
        "downloads/cifar-10-batches-py",
        "here",
    ],
)
def test_the_official_archive_is_known_by_what_it_holds(tmp_path, name, monkeypatch):
    monkeypatch.setitem(ARCHIVES, "cifar10", TEN)
    if "tar" in name.split(".") or name.endswith("TGZ"):
        write_tar(tmp_path / name, TEN.folder, ten_files())
        (tmp_path / "cifar-100-python.tar.gz").write_bytes(b"of another data set")
        assert find_images(tmp_path / name, "cifar10").train.shape == (100, 32, 32, 3)
    else:
        (tmp_path / name).mkdir(parents=True)
        for file, content in ten_files().items():
            (tmp_path / name / file).write_bytes(content)
    assert find_images(tmp_path, "cifar10").train.shape == (100, 32, 32, 3)


def test_classes_of_cifar100_may_lie_in_their_groups(tmp_path):
    from PIL import Image

    groups = {group: names.split() for group, names in CIFAR100_FOREGROUND.items()}
    groups["others"] = [f"b{i}" for i in range(50)]
    for depth in ("flat", "groups"):
        for group, names in groups.items():
            for part, name in ((part, name) for part in ("train", "test") for name in names):
                above = part if depth == "flat" else f"{part}/{group}"
                (tmp_path / depth / "images" / above / name).mkdir(parents=True)
                pixels = np.full((32, 32, 3), len(name), np.uint8)
                Image.fromarray(pixels).save(tmp_path / depth / "images" / above / name / "0.png")
    with tarfile.open(tmp_path / "groups.tar", "w") as tar:
        tar.add(tmp_path / "groups", "x")
    wanted = find_images(tmp_path / "flat", "cifar100")
    for place in ("groups", "groups/images", "groups.tar"):
        images = find_images(tmp_path / place, "cifar100")
        assert images.names == wanted.names
        assert np.array_equal(images.train, wanted.train)
        assert np.array_equal(images.test_labels, wanted.test_labels)


def test_images_of_every_kind_are_read_and_what_lies_beside_them_is_not(tmp_path):
    from PIL import Image

    write_classes(tmp_path, 1)
    cats = tmp_path / "train" / "cat"
    grey = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64
    Image.fromarray(grey).save(cats / "1.PNG")  # 16 bits
    Image.fromarray(np.full((32, 32, 4), 70, np.uint8)).save(cats / "2.png")
    Image.fromarray(np.full((32, 32, 3), 70, np.uint8)).convert("CMYK").save(cats / "3.jpg")
    for name in (".DS_Store", "Thumbs.db", "._0000.png", "notes.txt"):
        (cats / name).write_bytes(b"no image")
    (cats / "folder.png").mkdir()
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / ".cache" / "x.png").write_bytes(b"no image")
    with tarfile.open(tmp_path / "cifar10.tar", "w") as tar:
        for part in ("train", "test"):
            tar.add(tmp_path / part, part)
    for place in (tmp_path, tmp_path / "cifar10.tar"):
        images = find_images(place, "cifar10")
        found = images.train[images.train_labels == CIFAR10_CLASSES.index("cat")]
        assert len(found) == 4
        assert np.array_equal(found[1], np.stack([grey >> 8] * 3, axis=-1))
        assert np.all(found[2] == 70) and np.all(np.abs(found[3].astype(int) - 70) < 4)


def test_base_items_that_no_input_holds_are_left_out_and_nothing_else_changes():
    random, base = np.random.default_rng(0), np.arange(50)[:, None]
    members = [np.array([0, 1]), np.array([30])]
    sets = {
        name: draw_mosaics(random, count, 3, members, np.arange(10, 20))
        for name, count in (("train", 9), ("test", 2))
    }
    kept, renamed = only_used(base, sets)
    held = np.unique(np.concatenate([inputs.segments.ravel() for inputs in sets.values()]))
    assert np.array_equal(kept, base[held])
    for name, inputs in sets.items():
        assert np.array_equal(kept[renamed[name].segments], base[inputs.segments])
        assert np.array_equal(renamed[name].labels, inputs.labels)


def test_wrong_images_are_named(tmp_path):
    with pytest.raises(MissingPart, match="no cifar10 at .*run 'attnflow data fetch cifar10"):
        find_images(tmp_path, "cifar10")
    write_classes(tmp_path, 1, side=16)
    with pytest.raises(DataError, match="0000.png' of .* must be 32 x 32, got 16 x 16"):
        find_images(tmp_path, "cifar10")
    write_classes(tmp_path, 1)
    with pytest.raises(DataError, match="is not cifar100: it has no class"):
        find_images(tmp_path, "cifar100")
    for part in ("train", "test"):
        shutil.copytree(tmp_path / part / "cat", tmp_path / part / "unicorn")
        match = (
            "with equal classes, got 'unicorn' in train only",
            "it has a class 'unicorn'",
        )
        with pytest.raises(DataError, match=match[part == "test"]):
            find_images(tmp_path, "cifar10")
    for part in ("train", "test"):
        shutil.rmtree(tmp_path / part / "unicorn")
    cat = tmp_path / "train" / "cat" / "0000.png"
    cat.write_bytes(b"nothing")
    with pytest.raises(DataError, match="'train/cat/0000.png' of .* is damaged, or is no image"):
        find_images(tmp_path, "cifar10")
    cat.unlink()
    cat.symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match="train/cat/0000.png' cannot be read: No such file"):
        find_images(tmp_path, "cifar10")
    tar = tmp_path / "cifar10.tar.gz"
    write_tar(tar, "train/cat", {"notes.txt": b"nothing"})
    content = bytearray(tar.read_bytes())
    content[-8] ^= 1  # of its checksum
    tar.write_bytes(content)
    with pytest.raises(
        DataError, match="cifar10.tar.gz' is damaged or truncated: CRC check failed"
    ):
        find_images(tar, "cifar10")
    (tmp_path / "cifar10.tar").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is no tar, or is damaged"):
        find_images(tmp_path / "cifar10.tar", "cifar10")


class Ranged(SimpleHTTPRequestHandler):
    """Serves files, from the middle where asked; the first request ends early."""

    asked: list = []

    def do_GET(self):
        content = Path(self.translate_path(self.path)).read_bytes()
        span = self.headers.get("Range")
        self.asked.append(span)
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:] if span else content[: len(content) // 3])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    Ranged.asked = []
    (tmp_path / "web").mkdir()
    handler = partial(Ranged, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield tmp_path / "web", f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_fetch_goes_on_where_it_stopped_and_checks_what_came(server, tmp_path):
    web, url = server
    source = write_tar(web / TEN.file, TEN.folder, ten_files())
    archive = replace(TEN, url=f"{url}/{TEN.file}", sha256=sha256_of(source))
    seen = []
    with pytest.raises(MissingPart, match="the connection ended after|IncompleteRead|put cifar-10"):
        fetch("cifar10", tmp_path / "data", archive=archive)
    assert not (tmp_path / "data" / TEN.file).exists()
    path = fetch("cifar10", tmp_path / "data", lambda *a: seen.append(a), archive=archive)
    assert path.read_bytes() == source.read_bytes()
    assert Ranged.asked[0] is None and Ranged.asked[1].startswith("bytes=")
    assert seen[-1] == (source.stat().st_size,) * 2
    assert fetch("cifar10", tmp_path / "data", archive=archive) == path  # nothing to do
    with pytest.raises(DataError, match="gave is not cifar-10-python.tar.gz: its SHA-256"):
        for _ in range(2):
            try:
                fetch("cifar10", tmp_path / "other", archive=replace(archive, sha256="0" * 64))
            except MissingPart:
                continue
    assert not list((tmp_path / "other").iterdir())


def test_fetch_without_a_network_says_what_to_put_where(tmp_path):
    archive = replace(TEN, url="http://127.0.0.1:9/nothing")
    with pytest.raises(MissingPart, match="cannot download .* put cifar-10-python.tar.gz into"):
        fetch("cifar10", tmp_path, archive=archive, timeout=1)
    with pytest.raises(
        SettingError, match="data set must be one of cifar10, cifar100, hatexplain, got 'x'"
    ):
        fetch("x", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="folder must be one that can be written to, got '.*x'"):
        fetch("cifar10", tmp_path / "file" / "x", archive=archive)


def test_a_task_of_ones_own_is_checked():
    inputs = Mosaics(np.array([[0, 7]]), np.array([0]), np.array([-1]))
    with pytest.raises(SettingError, match="segments of set 'train' .* from 0 to 2, got 7"):
        Task("mine", np.zeros((3, 2), np.float32), {"train": inputs}, 2)
    with pytest.raises(SettingError, match="task must be one of digits, .* got 'mnist'"):
        task("mnist")
    with pytest.raises(SettingError, match="segments must be a whole number of at least 2, got 1"):
        task("digits", segments=1)


# ---- the mosaics of the paper's code


def naive_mosaics(numbers, segments, labels, foreground):
    """Mosaics by NumPy's global generator, an image after another, as lists of image numbers."""
    front = [i for i, label in enumerate(labels) if label in foreground]
    behind = [i for i, label in enumerate(labels) if label not in foreground]
    mosaics, classes, places = [], [], []
    for number in numbers:
        np.random.seed(number)
        some = list(np.random.randint(0, len(behind), segments - 1))
        one = front[np.random.randint(0, len(front))]
        place = np.random.randint(0, segments)
        images = [behind[i] for i in some]
        images.insert(place, one)
        mosaics.append(images)
        classes.append(foreground.index(labels[one]))
        places.append(place)
    return mosaics, classes, places


@pytest.mark.parametrize("segments", [2, 5, 9, 20, 50])
@pytest.mark.parametrize(
    ("images", "foreground", "names"), [(1700, (0, 1, 2), 10), (50_000, (3, 40, 7, 99), 100)]
)
def test_published_mosaics_are_those_of_a_naive_loop(segments, images, foreground, names):
    labels = np.random.default_rng(segments).integers(names, size=images)
    kinds = [np.flatnonzero(labels == kind) for kind in foreground]
    behind = np.flatnonzero(~np.isin(labels, foreground))
    numbers = range(40, 140)
    global_state = np.random.get_state()
    found = published_mosaics(numbers, segments, kinds, behind)
    assert np.array_equal(global_state[1], np.random.get_state()[1])  # the user's own is untouched
    wanted = naive_mosaics(numbers, segments, labels.tolist(), foreground)
    for values, naive in zip((found.segments, found.labels, found.true), wanted, strict=True):
        np.testing.assert_array_equal(values, naive)
        assert values.dtype == np.int32


def test_published_sets_are_the_first_numbers_of_their_images(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHIVES, "cifar10", TEN)
    place = write_tar(tmp_path / TEN.file, TEN.folder, ten_files())
    images = read_archive(place, TEN)
    sizes = {"train": 30, "heldout": 12, "test": 9}
    made = cifar10(place, 6, **sizes, mosaics="published")
    for part, start in (("train", 0), ("heldout", 30), ("test", 0)):
        pixels, labels = (
            (images.test, images.test_labels)
            if part == "test"
            else (images.train, images.train_labels)
        )
        numbers = range(start, start + sizes[part])
        wanted, classes, places = naive_mosaics(numbers, 6, labels.tolist(), (0, 1, 2))
        inputs = made.sets[part]
        assert np.array_equal(made.base[inputs.segments], pixels[np.array(wanted)])
        assert inputs.labels.tolist() == classes and inputs.true.tolist() == places
    again, drawn = (cifar10(place, 6, **sizes, mosaics=m) for m in ("published", "drawn"))
    assert again.fingerprint() == made.fingerprint() != drawn.fingerprint()
    assert made.remarks == drawn.remarks == ()


def test_published_mosaics_of_images_by_class_say_so(tmp_path):
    from PIL import Image

    for part in ("train", "test"):
        for kind in CIFAR10_CLASSES:
            (tmp_path / part / kind).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / part / kind / "1.png")
    sizes = {"train": 5, "heldout": 5, "test": 5}
    assert task("cifar10", data=tmp_path, **sizes).remarks == ()
    assert task("cifar10", data=tmp_path, **sizes, mosaics="published").remarks == (OTHER_ORDER,)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fresh": True}, "neither fresh nor of a data seed, got fresh"),
        ({"seed": 4}, "neither fresh nor of a data seed, got seed 4"),
        ({"mosaics": "paper"}, "mosaics must be one of drawn, published, got 'paper'"),
        ({"segments": 1}, "segments must be .* at least 2, got 1"),
        ({"segments": 2**30}, "inputs x segments must be at most"),
        ({"heldout": 0}, "number of mosaics must be .* got 0"),
    ],
)
def test_published_mosaics_that_cannot_be_are_refused(options, said, tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHIVES, "cifar10", TEN)
    place = write_tar(tmp_path / TEN.file, TEN.folder, ten_files())
    with pytest.raises(SettingError, match=said):
        task("cifar10", data=place, **{"mosaics": "published", "train": 9, "test": 9} | options)
