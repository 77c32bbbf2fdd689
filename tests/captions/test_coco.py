"""COCO's files and the generated set: what is read, what is refused, what pictures show."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from attnflow.captions.coco import read_coco
from attnflow.captions.feature_store import open_store, write_store
from attnflow.captions.generated_set import COLOURS, generate_coco
from attnflow.captions.images import cells_within, frame, load_image
from attnflow.errors import DataError, MissingPart, SettingError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return generate_coco(tmp_path_factory.mktemp("coco") / "set", train=30, val=6, seed=4)


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "set")


def test_the_generated_set_reads_as_coco(made):
    corpus = read_coco(made, min_count=1)
    train = corpus.sets["train"]
    assert (len(train), len(corpus.sets["val"]), corpus.year) == (30, 6, 2017)
    assert train.words.shape == (60, corpus.length) and train.first.tolist() == [*range(0, 61, 2)]
    known = corpus.vocabulary
    for picture, row in zip(train.pictures, train.first, strict=False):
        assert " ".join(known.decode(train.words[row])) == picture.captions[0]


def test_the_named_box_holds_the_named_colour(made):
    corpus = read_coco(made, min_count=1)
    part, checked = corpus.sets["train"], 0
    for number, picture in enumerate(part.pictures):
        image = load_image(picture.path, 48, "crop")
        for row in range(part.first[number], part.first[number + 1]):
            for word, box in zip(part.words[row], part.boxes[row], strict=True):
                name = corpus.vocabulary.words[word]
                if name in COLOURS:
                    x, y, width, height = (int(v) for v in box)
                    middle = image[y + height // 2 + 1, x + width // 2]
                    assert np.abs(middle.astype(int) - COLOURS[name]).max() < 40
                    checked += 1
    assert checked > 60
    instances = json.loads((made / "annotations" / "instances_train2017.json").read_text())
    named = {tuple(b) for p in part.pictures for each in p.named for _, b in each}
    assert {tuple(map(float, one["bbox"])) for one in instances["annotations"]} == named


def test_equal_seeds_make_equal_sets_and_an_old_one_is_not_overwritten(made, tmp_path):
    again = generate_coco(tmp_path / "again", train=30, val=6, seed=4)
    for file in sorted(made.rglob("*.*")):
        assert file.read_bytes() == (again / file.relative_to(made)).read_bytes()
    with pytest.raises(SettingError, match="holds train2017 already: name another folder"):
        generate_coco(again)
    with pytest.raises(SettingError, match="side must be a whole number from 24 to 4096, got 5"):
        generate_coco(tmp_path, side=5)
    with pytest.raises(SettingError, match="year must be 2014 or 2017, got 2015"):
        generate_coco(tmp_path, year=2015)


def test_years_are_found_and_chosen(copy):
    generate_coco(copy, train=3, val=1, year=2014)
    assert read_coco(copy, min_count=1).year == 2017
    assert len(read_coco(copy, year=2014, min_count=1).sets["train"]) == 3
    shutil.rmtree(copy / "annotations")
    with pytest.raises(MissingPart, match="captions_train2014.json.*attnflow data generate coco"):
        read_coco(copy, year=2014)
    with pytest.raises(SettingError, match="year must be 2014 or 2017, got 2016"):
        read_coco(copy, year=2016)


def test_limits_take_the_first_images_and_the_vocabulary_of_those(made):
    corpus = read_coco(made, limits={"train": 5}, min_count=1)
    assert len(corpus.sets["train"]) == 5
    whole = read_coco(made, min_count=1)
    assert corpus.sets["train"].pictures == whole.sets["train"].pictures[:5]
    assert set(corpus.vocabulary.words) <= set(whole.vocabulary.words)


def edit(folder, change):
    path = folder / "annotations" / "captions_train2017.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (
            lambda f: next((f / "train2017").iterdir()).unlink(),
            DataError,
            r"image '\d+.png', which captions_train2017.json names, is not in '.*train2017'",
        ),
        (
            lambda f: shutil.rmtree(f / "val2017"),
            MissingPart,
            "no images at '.*val2017': put COCO's folder val2017 there",
        ),
        (
            lambda f: (f / "annotations" / "captions_val2017.json").unlink(),
            MissingPart,
            "no captions_val2017.json at '.*annotations': put COCO's file there",
        ),
        (
            lambda f: (f / "annotations" / "captions_train2017.json").write_text('{"images": ['),
            DataError,
            "captions_train2017.json' is damaged or no JSON",
        ),
        (
            lambda f: edit(f, lambda d: d.pop("annotations")),
            DataError,
            r"captions_train2017.json' is no COCO caption file \(KeyError: 'annotations'\)",
        ),
        (
            lambda f: edit(f, lambda d: d["annotations"][0].update(image_id=999)),
            DataError,
            "has a caption of image 999, which it does not list",
        ),
        (
            lambda f: edit(f, lambda d: d["images"][0].update(file_name="../x.png")),
            DataError,
            "file_name '../x.png' leads out of the folder",
        ),
        (
            lambda f: edit(f, lambda d: d["annotations"].clear()),
            DataError,
            "holds no image with captions",
        ),
        (
            lambda f: edit(f, lambda d: [a.update(caption="...") for a in d["annotations"]]),
            DataError,
            "the captions of '.*captions_train2017.json' hold no word",
        ),
        (
            lambda f: edit(f, lambda d: d["annotations"][0].update(id=7, caption=None)),
            DataError,
            r"the caption of annotation 7 of image \d+ must be text, got None",
        ),
        (
            lambda f: edit(f, lambda d: d["annotations"][0].update(caption=5)),
            DataError,
            "must be text, got 5",
        ),
        (
            lambda f: edit(f, lambda d: d["images"][0].update(id=d["images"][0]["id"] + 0.5)),
            DataError,
            r"the number of an image must be whole, got \d+.5",
        ),
        (
            lambda f: edit(f, lambda d: d["annotations"][0].update(image_id=1.5)),
            DataError,
            "the number of an image must be whole, got 1.5",
        ),
        (
            lambda f: edit(f, lambda d: d["images"].append(d["images"][0])),
            DataError,
            r"captions_train2017.json' lists image \d+ 2 times",
        ),
        (
            lambda f: edit(f, lambda d: d["annotations"][0]["named"][0].update(bbox=[0, 0, 5])),
            DataError,
            r"a bbox must be four finite numbers, got \[0, 0, 5\]",
        ),
        (
            lambda f: edit(f, lambda d: d["annotations"][0]["named"][0].update(bbox=[9, 9, -2, 5])),
            DataError,
            r"width and height of a bbox must not be negative, got \[9, 9, -2, 5\]",
        ),
        (
            lambda f: edit(f, lambda d: d["images"][0].update(height=0)),
            DataError,
            r"must be at least 1 pixel wide and high .*, got \d+ x 0",
        ),
        (
            lambda f: edit(f, lambda d: d["annotations"][0]["named"][0].update(words=[-1])),
            DataError,
            r"named words must be counted from 0, got \[-1\]",
        ),
    ],
    ids=[
        *("image", "folder", "file", "truncated", "other", "unlisted", "outside", "empty"),
        *(
            "wordless",
            "null",
            "number",
            "part",
            "caption-part",
            "twice",
            "box",
            "inside-out",
            "flat",
            "below",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named(copy, damage, kind, message):
    damage(copy)
    with pytest.raises(kind, match=message):
        read_coco(copy, min_count=1)


def set_of(folder, images, annotations, part="train"):
    """A set of small files: images by path, listed with captions as given."""
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(folder / name)
    listed = [{"id": key, "file_name": name} for key, name in annotations]
    captions = [{"id": 1, "image_id": key, "caption": "a dog"} for key, _ in annotations]
    (folder / "annotations").mkdir(exist_ok=True)
    path = folder / "annotations" / f"captions_{part}2017.json"
    path.write_text(json.dumps({"images": listed, "annotations": captions}), encoding="utf-8-sig")
    return path


def test_width_and_height_are_needed_only_where_boxes_are_and_then_the_image_tells(copy, made):
    whole = read_coco(made, min_count=1)
    edit(copy, lambda d: [(one.pop("width"), one.pop("height")) for one in d["images"]])
    assert [p.width for p in read_coco(copy, min_count=1).sets["train"].pictures] == [48] * 30
    edit(copy, lambda d: [one.pop("named") for one in d["annotations"]])
    corpus = read_coco(copy, min_count=1)
    assert corpus.sets["train"].pictures[0].width is None
    assert corpus.sets["train"].references == whole.sets["train"].references


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("train2017/a.jpg", "train2017/a.jpg"),
        ("train2017/a.jpg", "http://images.cocodataset.org/train2017/a.jpg"),
        ("train2017/a.jpg", "C:\\coco\\train2017\\a.jpg"),
        ("train2017/a.jpg", "/data/coco/train2017/a.jpg"),
        ("images/of/a.jpg", "images/of/a.jpg"),
        ("train2017/cats/a.jpg", "cats/a.jpg"),
    ],
)
def test_an_image_may_be_named_with_its_folder(tmp_path, file, name):
    set_of(tmp_path / "coco", ["val2017/b.jpg"], [(2, "b.jpg")], "val")
    set_of(tmp_path / "coco", [file], [(1, name)])
    for place in (tmp_path / "coco", tmp_path):
        (picture,) = read_coco(place, min_count=1).sets["train"].pictures
        assert picture.path == tmp_path / "coco" / file


def test_two_names_of_one_file_are_refused(tmp_path):
    set_of(tmp_path, ["val2017/b.jpg"], [(2, "b.jpg")], "val")
    set_of(tmp_path, ["train2017/a.jpg"], [(1, "x/a.jpg"), (2, "y/a.jpg")])
    with pytest.raises(DataError, match="'y/a.jpg' and 'x/a.jpg' would both be '.*a.jpg'"):
        read_coco(tmp_path, min_count=1)


@pytest.mark.parametrize("place", ["dataset_coco.json", "annotations/dataset_coco.json"])
def test_karpathys_split_file_is_read(tmp_path, place):
    splits = {"1": "train", "2": "restval", "3": "val", "4": "test"}
    folders = {"1": "train2014", "2": "val2014", "3": "val2014", "4": "val2014"}
    for name, folder in folders.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("RGB", (20, 10)).save(tmp_path / folder / f"{name}.jpg")
    images = [
        {
            **{"filepath": folders[name], "filename": f"{name}.jpg", "cocoid": 10 * int(name)},
            **{"imgid": int(name), "split": split, "sentids": [1]},
            "sentences": [{"tokens": ["no"], "raw": f"Dog no {name}.", "imgid": 1, "sentid": 1}],
        }
        for name, split in splits.items()
    ]
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(json.dumps({"images": images, "dataset": "coco"}))
    corpus = read_coco(tmp_path, min_count=1)
    assert corpus.year == 2014
    found = {part: [(p.id, p.path.name) for p in s.pictures] for part, s in corpus.sets.items()}
    assert found == {"train": [(10, "1.jpg"), (20, "2.jpg")], "val": [(30, "3.jpg")]}
    assert corpus.sets["train"].pictures[0].captions == ("Dog no 1.",)
    (tmp_path / place).write_text(json.dumps({"images": images[:1], "dataset": "coco"}))
    with pytest.raises(DataError, match="holds no image of split 'val', only of train"):
        read_coco(tmp_path, min_count=1)


def test_ids_keep_their_type_and_spelling_in_store_and_results(tmp_path):
    ids = ["007", "a-b", 9, "10"]
    set_of(tmp_path, ["val2017/b.jpg"], [(11.0, "b.jpg")], "val")
    set_of(
        tmp_path,
        [f"train2017/{i}.jpg" for i in range(4)],
        [(k, f"{i}.jpg") for i, k in enumerate(ids)],
    )
    corpus = read_coco(tmp_path, min_count=1)
    read = [picture.id for picture in corpus.sets["train"].pictures]
    assert read == ids and [type(one) for one in read] == [type(one) for one in ids]
    recipe = {"dtype": "float32"}
    store = write_store(
        tmp_path / "store", recipe, corpus.sets.values(), lambda part: [np.zeros((len(part), 1, 2))]
    )
    store.check(corpus.sets["train"])
    index = json.loads((tmp_path / "store" / "index.json").read_text())
    assert index["images"] == [*ids, 11]
    np.savez(tmp_path / "own.npz", features=np.ones((4, 1, 2)), images=["007", "a-b", "9", "10"])
    open_store(tmp_path / "own.npz").check(corpus.sets["train"])
    set_of(tmp_path, [], [(9, "0.jpg"), ("9", "1.jpg")])
    with pytest.raises(DataError, match="lists image 9 2 times"):
        read_coco(tmp_path, min_count=1)
    set_of(tmp_path, [], [(True, "0.jpg")])
    with pytest.raises(DataError, match="the id of an image must be a number or text, got True"):
        read_coco(tmp_path, min_count=1)


def test_boxes_of_a_photo_that_its_exif_turns_are_refused(copy):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = next(iter(sorted((copy / "train2017").iterdir())))
    Image.new("RGB", (48, 30)).save(file, exif=exif)
    edit(copy, lambda d: d["images"][0].update(width=48, height=30))
    with pytest.raises(DataError, match="is 30 x 48 as its EXIF orientation turns it, but listed"):
        read_coco(copy, min_count=1)
    edit(copy, lambda d: d["images"][0].update(width=30, height=48))
    assert read_coco(copy, min_count=1).sets["train"].pictures[0].width == 30


def test_a_damaged_image_is_named(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="x.jpg' is damaged, or is no image"):
        load_image(tmp_path / "x.jpg", 8, "crop")


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "large.tif"])
def test_sixteen_bits_of_grey_are_seen_as_eight(tmp_path, name):
    grey = np.tile(np.arange(0, 256, 4, np.uint8), (64, 1))
    deep = grey.astype(np.uint16) * 256 + 128
    image = Image.fromarray(deep.astype(np.int32) if name == "large.tif" else deep)
    image.save(tmp_path / name)
    with Image.open(tmp_path / name) as opened:
        assert opened.mode.startswith("I")
    seen = load_image(tmp_path / name, 64, "crop")
    assert (seen == grey[..., None]).all()


@pytest.mark.parametrize("resize", ["crop", "square"])
def test_a_point_of_the_original_comes_where_the_frame_says(tmp_path, resize):
    pixels = np.zeros((90, 120, 3), np.uint8)
    pixels[40:50, 60:70] = 255
    Image.fromarray(pixels).save(tmp_path / "dot.png")
    seen = load_image(tmp_path / "dot.png", 45, resize)
    assert seen.shape == (45, 45, 3)
    rows, columns = np.nonzero(seen[..., 0] > 128)
    placed = frame(120, 90, 45, resize)
    assert rows.mean() + 0.5 == pytest.approx(placed.scale_y * 45 - placed.top, abs=0.6)
    assert columns.mean() + 0.5 == pytest.approx(placed.scale_x * 65 - placed.left, abs=0.6)


def test_cells_hold_a_box_that_covers_half_of_them():
    placed = frame(40, 40, 40, "crop")
    boxes = np.array([[0, 0, 10, 10], [5, 0, 20, 10], [12, 12, 3, 3], [np.nan] * 4])
    found = cells_within(boxes, placed, 40, (4, 4)).reshape(4, 4, 4)
    assert np.argwhere(found[0]).tolist() == [[0, 0]]
    assert np.argwhere(found[1]).tolist() == [[0, 0], [0, 1], [0, 2]]
    assert np.argwhere(found[2]).tolist() == [[1, 1]]  # small: the cell it covers most
    assert not found[3].any()
