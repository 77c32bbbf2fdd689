"""Batches: every image once, in an order that the seed decides, from images or from a store."""

import errno
import os
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from attnflow.captions import pipeline
from attnflow.captions.coco import read_coco
from attnflow.captions.config import CaptionTraining
from attnflow.captions.feature_store import open_store, write_store
from attnflow.captions.features import compute_features
from attnflow.captions.generated_set import generate_coco
from attnflow.captions.loop import settled
from attnflow.captions.pipeline import Pixels, ahead, batches
from attnflow.captions.vocabulary import PAD
from attnflow.errors import DataError, MissingPart, SettingError

pytestmark = pytest.mark.usefixtures("compiled_once")
PIXELS = Pixels(24, "crop")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return generate_coco(tmp_path_factory.mktemp("coco") / "set", train=10, val=3)


@pytest.fixture(scope="module")
def part(data):
    return read_coco(data, min_count=1).sets["train"]


def rows(found):
    return [row for batch in found for row in batch.rows.tolist()]


def test_an_epoch_holds_every_image_once_and_the_last_batch_is_filled(part):
    found = list(batches(part, PIXELS, 4, each=2, seed=1))
    order = rows(found)
    assert sorted(order[:10]) == list(range(10)) and order[10:] == [-1, -1]
    assert [batch.pixels.shape for batch in found] == [(4, 24, 24, 3)] * 3
    assert found[0].pixels.dtype == np.uint8
    assert (found[2].words[2:] == PAD).all() and (found[2].words[:2] != PAD).any(axis=-1).all()
    for batch in found[:2]:
        for row, pixels in zip(batch.rows, batch.pixels, strict=True):
            assert (pixels == PIXELS(part, row)).all()


def test_the_order_follows_from_seed_and_epoch_and_goes_on_anywhere(part):
    def order(**options):
        return rows(batches(part, PIXELS, 4, each=2, **options))

    assert order(seed=1) == order(seed=1)
    assert order(seed=1) != order(seed=2)
    assert order(seed=1) != order(seed=1, epoch=1)
    assert order(seed=1, first=2) == order(seed=1)[8:]
    assert order(seed=1, first=3) == []
    assert order(seed=None, limit=5)[:5] == [0, 1, 2, 3, 4]


def test_captions_are_drawn_anew_each_epoch_where_an_image_has_more(part):
    def chosen(each, epoch):
        found = list(batches(part, PIXELS, 10, each=each, seed=3, epoch=epoch))[0]
        return dict(zip(found.rows.tolist(), found.captions.tolist(), strict=True))

    assert all(sorted(c) == [2 * row, 2 * row + 1] for row, c in chosen(2, 0).items())
    assert all(c[2] == -1 for c in chosen(3, 0).values())
    seen = [chosen(1, epoch) for epoch in range(4)]
    assert {c[0] - 2 * row for one in seen for row, c in one.items()} == {0, 1}


@pytest.mark.slow
def test_several_processes_bring_the_same_batches(part):
    plain = list(batches(part, PIXELS, 4, each=2, seed=1))
    spread = list(batches(part, PIXELS, 4, each=2, seed=1, workers=2))
    for one, other in zip(plain, spread, strict=True):
        for name in ("pixels", "words", "rows", "captions"):
            assert (getattr(one, name) == getattr(other, name)).all()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_from_wherever_it_is_read(data, tmp_path, workers):
    copy = shutil.copytree(data, tmp_path / "set")
    part = read_coco(copy, min_count=1).sets["train"]
    part.pictures[3].path.write_bytes(b"")
    with pytest.raises(
        DataError, match=f"{part.pictures[3].path.name}' is damaged, or is no image"
    ):
        list(batches(part, PIXELS, 4, each=2, seed=1, workers=workers))


def test_batches_are_put_on_the_device_ahead_of_their_use(part):
    put = []

    def note(arrays):
        put.append(len(put))
        return arrays

    found = ahead(batches(part, PIXELS, 2, each=1), note)
    next(found)
    assert len(put) == 1 + pipeline.AHEAD
    assert len(list(found)) == 4


@pytest.mark.parametrize("name", ["grain", "sacrebleu"])
def test_without_a_library_the_message_says_how_to_get_it(monkeypatch, name):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    said = rf"captions need the library {name}, .* pip install '\.\[captions\]'"
    with pytest.raises(MissingPart, match=said):
        pipeline.check_libraries()


@pytest.fixture(scope="module")
def store(data, tmp_path_factory):
    run = CaptionTraining(data=str(data), image_size=24, encoder_width=4, encoder_blocks=2, batch=4)
    out = tmp_path_factory.mktemp("features") / "store"
    return run, compute_features(run, out, dtype="float32")


def test_stored_features_are_those_of_the_encoder_and_are_made_once(part, store):
    from attnflow.captions.program import encoder_of

    run, features = store
    assert (features.cells, features.width) == (36, 8)
    (batch,) = batches(part, features, 10, each=1)
    (images,) = batches(part, PIXELS, 10, each=1)
    expected = jax.jit(encoder_of(run).__call__)(images.pixels)
    np.testing.assert_allclose(batch.pixels, np.asarray(expected), rtol=1e-5, atol=1e-6)
    before = (features.path / "features.npy").stat().st_mtime_ns
    compute_features(run, features.path, dtype="float32")
    assert (features.path / "features.npy").stat().st_mtime_ns == before
    assert isinstance(features.array, np.memmap)
    with pytest.raises(SettingError, match="features that were made otherwise"):
        compute_features(run, features.path, dtype="float16")
    with pytest.raises(SettingError, match="dtype of features must be one of float16, float32"):
        compute_features(run, features.path, dtype="int8")


def test_a_disk_too_full_for_features_is_told_before_memory_is_mapped(part, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def compute(_):
        return iter([np.ones((10, 4, 3))])

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(SettingError, match="got: No space left on device"):
        write_store(tmp_path / "store", {"dtype": "float32"}, [part], compute)
    assert os.listdir(tmp_path) == []
    monkeypatch.delattr(os, "posix_fallocate")  # a system without the call
    made = write_store(tmp_path / "store", {"dtype": "float32"}, [part], compute)
    assert (made.array == 1).all()
    assert (made.path / "features.npy").stat().st_blocks * 512 >= made.array.nbytes


def test_an_image_of_two_sets_is_kept_once_and_must_be_one_picture(part, tmp_path):
    recipe = {"dtype": "float16"}
    twin = replace(part, name="val", pictures=part.pictures[::-1])
    values = np.random.default_rng(0).normal(size=(10, 4, 3))

    def compute(given):
        found = values if given is part else values[::-1] * (1 + 1e-4)
        return iter([found[:6], found[6:]])

    made = write_store(tmp_path / "one", recipe, [part, twin], compute)
    assert made.array.shape == values.shape and len(made.rows) == len(part)
    for row in range(10):
        np.testing.assert_allclose(made(part, row), values[row], rtol=2e-3)
        assert (made(twin, row) == made(part, 9 - row)).all()
    with pytest.raises(DataError, match=r"image \d+ is another picture in each set"):
        write_store(tmp_path / "two", recipe, [part, twin], lambda _: iter([values]))
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (np.nan, DataError, r"features of image \d+ are not finite"),
        (1e5, SettingError, r"dtype must be float32, got float16: .* of image \d+ reach 1e\+05"),
    ],
)
def test_features_that_their_numbers_do_not_hold_are_refused(part, tmp_path, value, error, said):
    values = np.ones((10, 4, 3), np.float32)
    values[7, 2, 1] = value
    with pytest.raises(error, match=said):
        write_store(tmp_path / "x", {"dtype": "float16"}, [part], lambda _: iter([values]))
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_not_finite_is_named_before_a_step(part, store, tmp_path):
    from attnflow.captions.program import standards

    copy = shutil.copytree(store[1].path, tmp_path / "store")
    array = np.load(copy / "features.npy", mmap_mode="r+")
    array[3, 2, 1] = np.nan
    array.flush()
    with pytest.raises(DataError, match="features '.*store' are not finite"):
        standards(part, open_store(copy), None)


def test_size_and_cut_of_images_are_those_of_the_store(store, data, tmp_path):
    run, features = store
    stored = CaptionTraining(data=str(data), features=str(features.path))
    assert settled(stored).seen == settled(replace(stored, image_size=24)).seen == (24, "crop")
    assert settled(run) == replace(run, resize="crop")
    for given, said in [
        ({"image_size": 48}, "image_size must be 24, as of the features '.*store', got 48"),
        ({"resize": "square"}, "resize must be crop, as of the features '.*store', got square"),
    ]:
        other = replace(stored, **given)
        with pytest.raises(SettingError, match=said):
            settled(other)
        assert settled(other, kept=True).seen == (24, "crop")
    np.savez(tmp_path / "own.npz", features=np.zeros((1, 1, 1)), images=[1])
    own = replace(stored, features=str(tmp_path / "own.npz"), resize="square")
    assert settled(own).seen == (224, "square")
    with pytest.raises(MissingPart, match="make them with 'attnflow data features"):
        settled(replace(stored, features=str(tmp_path / "none")))


def test_an_npz_of_ones_own_is_read_and_damage_is_named(part, store, tmp_path):
    _, features = store
    numbers = [picture.id for picture in part.pictures]
    values = np.random.default_rng(0).normal(size=(10, 9, 5)).astype(np.float16)
    np.savez(tmp_path / "own.npz", features=values, images=numbers)
    own = open_store(tmp_path / "own.npz")
    own.check(part)
    (batch,) = batches(part, own, 10, each=1)
    assert (batch.pixels == values).all() and batch.pixels.dtype == np.float16
    np.savez(tmp_path / "short.npz", features=values[:4], images=numbers[:4])
    with pytest.raises(DataError, match=r"lack image \d+ of train \(6 in all\)"):
        open_store(tmp_path / "short.npz").check(part)
    np.savez(tmp_path / "flat.npz", features=values[0], images=numbers)
    with pytest.raises(DataError, match=r"flat.npz' are damaged: features must be \[N, L, D\]"):
        open_store(tmp_path / "flat.npz")
    for name, given, said in [
        ("hollow", {"features": values[:, :0]}, r"at least one cell and number, got \(10, 0, 5\)"),
        ("inf", {"features": np.where(values > 2, np.inf, values)}, r"finite, those of image \d+"),
        ("twice", {"images": [*numbers[:9], numbers[0]]}, f"image {numbers[0]} is there twice"),
        ("part", {"images": np.array(numbers) + 0.5}, "of an image must be whole, got"),
    ]:
        np.savez(tmp_path / f"{name}.npz", **{"features": values, "images": numbers, **given})
        with pytest.raises(DataError, match=f"{name}.npz' are damaged: .*{said}"):
            open_store(tmp_path / f"{name}.npz")
    (tmp_path / "bad.npz").write_bytes(b"x")
    with pytest.raises(DataError, match="bad.npz' are damaged"):
        open_store(tmp_path / "bad.npz")
    with pytest.raises(MissingPart, match="make them with 'attnflow data features"):
        open_store(tmp_path / "none")
