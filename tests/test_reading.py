"""Files of others: byte-order marks, nesting, devices, bombs and turned photos, in every reader."""

import io
import json
import os
import struct
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from attnflow import reading
from attnflow.captions.feature_store import open_store
from attnflow.captions.images import load_image
from attnflow.errors import DataError, SettingError
from attnflow.reading import holding, image_size, open_image, read_json, read_toml, tar_members
from attnflow.train.config import from_toml
from attnflow.train.data import download as downloading
from attnflow.train.data.find_images import find_images


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_damage(tmp_path, encoding):
    (tmp_path / "a.json").write_text('{"\u00e9": [1, "\u0915"]}', encoding=encoding)
    assert read_json(tmp_path / "a.json") == {"\u00e9": [1, "\u0915"]}
    if encoding.startswith("utf-8"):
        (tmp_path / "a.toml").write_text('task = "digits"\nepochs = 3\n', encoding=encoding)
        assert from_toml(tmp_path / "a.toml").epochs == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("9" * 5000, r"Exceeds the limit \(4300"),
        ('{"a": 1, "b": 2, "a": 3}', "an object holds 'a' more than once"),
        ("\ufeff\ufeff{}", "is damaged or no JSON"),
        ("", "is damaged or no JSON"),
    ],
)
def test_json_that_no_reader_takes_is_one_sentence(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message) as told:
        read_json(tmp_path / "a.json")
    assert len(str(told.value)) < 300 and "a.json" in str(told.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 50_000, "nested too deeply|nesting|Invalid|recursion"),
        ("a = " + "9" * 5000, r"Exceeds the limit \(4300"),
        ("#" * (1 << 20) + "\n", "at most 1048576 bytes"),
        ("epochs == 3", "is no TOML"),
    ],
)
def test_toml_that_no_reader_takes_is_one_sentence(tmp_path, text, message):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(SettingError, match=message) as told:
        read_toml(tmp_path / "a.toml")
    assert len(str(told.value)) < 300 and "a.toml" in str(told.value)


def readers(place):
    """Every reader of a file, on what lies there."""
    yield lambda: read_json(place)
    yield lambda: read_toml(place)
    yield lambda: load_image(place, 8, "crop")
    yield lambda: image_size(place)
    yield lambda: list(tar_members(place, lambda name: True))
    yield lambda: find_images(place, "cifar10")


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "folder"])
def test_only_regular_files_are_read(tmp_path, kind):
    place = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero")
    each = [read for read in readers(place)][: 5 if kind == "folder" else None]
    done = []

    def run():
        for read in each:
            with pytest.raises((DataError, SettingError), match="must be a regular file"):
                read()
            done.append(read)

    thread = threading.Thread(target=run, daemon=True)  # a reader of a pipe would wait for ever
    thread.start()
    thread.join(20)
    assert len(done) == len(each)


def test_a_link_to_a_regular_file_is_read(tmp_path):
    (tmp_path / "a").write_text("{}")
    (tmp_path / "b.json").symlink_to(tmp_path / "a")
    assert read_json(tmp_path / "b.json") == {}


def header(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header("train/cat/a.png", 1_200_000_000), "'train/cat/a.png' of .* at most 268435456 b"),
        (header("notes", 1_200_000_000), "'notes' of .* must be of at most"),
        (header("pax", 1_200_000_000, tarfile.XHDTYPE), "'pax' of .* must be of at most"),
        (header("a/test_batch", 1 << 40), "'a/test_batch' of .* must be of at most"),
    ],
)
def test_a_tar_is_judged_by_its_headers_before_anything_is_read(tmp_path, content, message):
    for name in ("cifar10.tar", "cifar-10-python.tar.gz"):
        packed = content + bytes(1024)
        if name.endswith("gz"):
            packed = zlib.compress(packed, wbits=31)
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(DataError, match=message):
            find_images(tmp_path / name, "cifar10")


def test_a_tar_of_too_many_members_or_bytes_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "cifar10.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(6):
            info = tarfile.TarInfo(f"{number}")
            info.size = 1000
            tar.addfile(info, io.BytesIO(bytes(1000)))
    assert len(list(tar_members(path, lambda name: True))) == 6
    for name, limit in (("MOST_MEMBERS", 5), ("LARGEST_TAR", 5000)):
        with monkeypatch.context() as patched:
            patched.setattr(reading, name, limit)
            with pytest.raises(DataError, match="must unpack to at most"):
                find_images(path, "cifar10")


def test_an_archive_of_zeros_is_refused_by_its_ratio(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("images.npy", b"x")
        with packed.open("features.npy", "w") as member:
            for _ in range(80):
                member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DataError, match="'features.npy' of .* would unpack from"):
        open_store(path)


def png_of(width, height):
    """A small file that says that it is a large image."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8001, 12_000, 40_000])
def test_an_image_is_judged_by_its_header_before_it_is_decoded(tmp_path, side):
    (tmp_path / "a.png").write_bytes(png_of(side, side))
    with pytest.raises(DataError, match="a.png' must be of at most 64000000 pixels"):
        load_image(tmp_path / "a.png", 8, "crop")
    place = tmp_path / "data"
    for part in ("train", "test"):
        (place / part / "cat").mkdir(parents=True)
        (place / part / "cat" / "a.png").write_bytes(png_of(side, side))
    with pytest.raises(DataError, match="must be 32 x 32, got|at most 64000000"):
        find_images(place, "cifar10")


def test_a_file_of_another_kind_starts_no_program_under_an_images_name(tmp_path):
    # Pillow hands PostScript to ghostscript
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    with pytest.raises(DataError, match="is damaged, or is no image"):
        load_image(tmp_path / "a.jpg", 8, "crop")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "deep.png", "tif"])
def test_a_photo_stands_as_a_viewer_shows_it(tmp_path, orientation, kind):
    from PIL import Image

    shown = np.full((32, 32), 200, np.uint8)  # left and right, top and bottom are all told apart
    shown[:16, :16], shown[16:, :16] = 20, 90
    # Orientation o: the matrix that stores what is shown
    stored = {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.T,
        6: shown.T[::-1],
        7: shown[::-1, ::-1].T,
        8: shown.T[:, ::-1],
    }[orientation]
    if kind == "deep.png":
        image = Image.fromarray(stored.astype(np.uint16) << 8)
    else:
        image = Image.fromarray(np.ascontiguousarray(stored))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    image.save(path, exif=exif, **({"quality": 100} if kind == "jpg" else {}))
    for seen in (load_image(path, 32, "square"), np.asarray(open_image(path.read_bytes(), "it"))):
        assert np.abs(seen[..., 0].astype(int) - shown).max() <= 3  # what JPEG loses


def test_the_size_of_a_turned_photo_is_that_which_is_shown(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        Image.new("RGB", (40, 24)).save(tmp_path / "a.jpg", exif=exif)
        wanted = open_image(tmp_path / "a.jpg", "it").size
        assert image_size(tmp_path / "a.jpg") == wanted
        assert wanted == ((40, 24) if orientation < 5 else (24, 40))


def test_data_lie_where_they_are_named_or_up_to_two_folders_deeper(tmp_path):
    def wanted(folder: Path) -> bool:
        return (folder / "mark").is_file()

    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "mark").write_text("")
    for place in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        assert holding(place, wanted, "it") == tmp_path / "a" / "b"
    (tmp_path / "a" / "c").mkdir()
    (tmp_path / "a" / "c" / "mark").write_text("")
    with pytest.raises(DataError, match="holds it more than once, in 'a/b' and 'a/c': name one"):
        holding(tmp_path, wanted, "it")
    (tmp_path / "a" / "mark").write_text("")
    assert holding(tmp_path, wanted, "it") == tmp_path / "a"
    assert holding(tmp_path / "none", wanted, "it") is None


@pytest.mark.parametrize("length", ["abc", "-5", "9" * 5000, "", "\u0665"])
def test_a_strange_content_length_is_as_none(tmp_path, monkeypatch, length):
    class Response(io.BytesIO):
        status = 200
        headers = {"Content-Length": length}

    asked = []
    monkeypatch.setattr(
        downloading.urllib.request, "urlopen", lambda *_, **__: Response(json.dumps({}).encode())
    )
    downloading.fetch("hatexplain", tmp_path, lambda done, total: asked.append(total))
    assert set(asked) == {None} and (tmp_path / "dataset.json").read_text() == "{}"
