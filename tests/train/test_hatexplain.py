"""HateXplain is read as published, by every rule; damage is named; the made corpus has its form."""

import json
from collections import Counter

import numpy as np
import pytest

from attnflow.errors import DataError, MissingPart, SettingError
from attnflow.train.data import download as fetching
from attnflow.train.data.download import fetch
from attnflow.train.data.generate import KEYS, write_hatexplain
from attnflow.train.data.hatexplain_files import Post, read_posts
from attnflow.train.data.vocabulary import Vocabulary
from attnflow.train.known_truth import any_known
from attnflow.train.tasks import task
from attnflow.train.tasks.hatexplain import hatexplain, label_of, rationale_of


def entry(name, words, labels, *rationales):
    annotators = [{"label": label, "annotator_id": 1, "target": ["None"]} for label in labels]
    words = words.split()
    return {
        "post_id": name,
        "annotators": annotators,
        "rationales": [list(marks) for marks in rationales],
        "post_tokens": words,
    }


H, N, O = "hatespeech", "normal", "offensive"  # noqa: E741
POSTS = [
    entry("a", "fog and more fog", (H, H, O), (1, 0, 0, 1), (1, 0, 0, 0)),
    entry("b", "a quiet day", (N, N, H)),
    entry("c", "fog again today", (O, O, O), (1, 0, 0), (1, 1, 0), (0, 1, 0)),
    entry("d", "no two agree", (H, N, O)),
    entry("e", "new fog", (O, H, H), (0, 1)),
    entry("f", "new words come fog", (H, O, O), (0, 0, 0, 1), (0, 0, 1, 1)),
]
SPLITS = {"train": ["c", "a", "b", "d"], "val": ["e"], "test": ["f"]}


def write(folder, posts=POSTS, splits=SPLITS):
    folder.mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({p["post_id"]: p for p in posts}))
    (folder / "post_id_divisions.json").write_text(json.dumps(splits))
    return folder


def test_a_clone_of_the_repository_is_read_with_byte_order_marks_too(tmp_path):
    clone = tmp_path / "there" / "HateXplain"
    clone.mkdir(parents=True)
    folder = write(clone / "Data")
    for file in folder.iterdir():
        file.write_text(file.read_text(), encoding="utf-8-sig")
    for place in (folder, clone, clone.parent):
        assert [post.name for post in read_posts(place)["train"]] == ["c", "a", "b", "d"]


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data")


def words_of(made, name, row):
    inputs = made.sets[name]
    return [made.vocabulary[n] for n in inputs.segments[row][inputs.mask[row]]]


def marked(made, name, row):
    return np.flatnonzero(made.sets[name].truth[row]).tolist()


def test_posts_become_inputs_in_the_official_order_and_split(data):
    made = hatexplain(data, min_count=1)
    assert {name: len(part) for name, part in made.sets.items()} == {
        "train": 3,
        "heldout": 1,
        "test": 1,
    }  # the post on which all three disagree is left out
    assert made.class_names == ("hatespeech", "normal", "offensive")
    assert made.sets["train"].labels.tolist() == [2, 0, 1]
    assert words_of(made, "train", 0) == ["fog", "again", "today"]
    assert made.texts["train"][1] == ("fog", "and", "more", "fog")
    assert made.sets["train"].segments.shape == (3, 4)
    assert made.sets["train"].mask.sum(axis=1).tolist() == [3, 4, 3]
    assert not made.sets["train"].truth[2].any()  # a normal post has no rationale


def test_words_are_numbered_by_frequency_in_the_training_posts_alone(data):
    made = hatexplain(data, min_count=1)
    assert made.vocabulary[:3] == ("<padding>", "<unknown>", "fog")
    assert made.vocabulary[3:] == tuple(sorted(made.vocabulary[3:]))  # equally rare: by letters
    assert words_of(made, "test", 0) == ["<unknown>"] * 3 + ["fog"]
    assert hatexplain(data, min_count=2).vocabulary == ("<padding>", "<unknown>", "fog")
    assert Vocabulary.of([["<unknown>", "a"]]).words == ("<padding>", "<unknown>", "a")


def test_the_words_of_all_posts_may_be_told_apart(data):
    made = hatexplain(data, min_count=1, vocabulary="all")
    assert "<unknown>" not in words_of(made, "test", 0)
    assert words_of(made, "test", 0) == list(made.texts["test"][0])
    told = {word for part in made.texts.values() for words in part for word in words}
    assert set(made.vocabulary) == told | {"<padding>", "<unknown>"}
    with pytest.raises(SettingError, match="vocabulary must be one of train, all, got 'test'"):
        hatexplain(data, vocabulary="test")


def test_the_label_is_that_of_the_majority_or_of_one_annotator(data):
    assert hatexplain(data, label="first").sets["train"].labels.tolist() == [2, 0, 1, 0]
    assert hatexplain(data, label="third").sets["train"].labels.tolist() == [2, 2, 0, 2]
    post = Post("x", ("w",), (H, N), ())
    assert label_of(post, "majority") is None and label_of(post, "third") is None


def test_a_word_is_true_by_majority_by_any_mark_or_by_one_annotator(data):
    by = {rule: hatexplain(data, rationale=rule) for rule in ("majority", "union", "first")}
    assert [marked(by["majority"], "train", row) for row in range(3)] == [[0, 1], [0], []]
    assert [marked(by["union"], "train", row) for row in range(3)] == [[0, 1], [0, 3], []]
    assert [marked(by["first"], "train", row) for row in range(3)] == [[0], [0, 3], []]
    third = rationale_of(Post("x", ("w", "v"), (H,), ((1, 0), (0, 1))), "third")
    assert third.tolist() == [False, False]


def test_long_posts_are_cut_with_their_rationale(data):
    made = hatexplain(data, max_length=3, rationale="union")
    longer = sum(len(words) > 3 for part in hatexplain(data).texts.values() for words in part)
    assert longer > 0 and made.remarks == (
        "Posts left out, as the rule majority gives them no label: 1.",
        f"Posts cut to their first 3 words: {longer}.",
    )
    assert hatexplain(data, label="first").remarks == ()
    assert made.sets["train"].segments.shape == (3, 3)
    assert made.texts["train"][1] == ("fog", "and", "more") and marked(made, "train", 1) == [0]


def test_lengths_to_pad_to_are_below_the_longest_post(tmp_path):
    made = hatexplain(write_hatexplain(tmp_path))
    places = made.segments
    assert made.lengths == (16, 32, 64) and 64 < places <= 80
    assert hatexplain(tmp_path, max_length=40).lengths == (16, 32)


def test_a_part_of_the_posts_is_drawn_by_seed(data, tmp_path):
    write_hatexplain(tmp_path)
    first, same, other = (hatexplain(tmp_path, train=20, seed=seed) for seed in (0, 0, 1))
    assert len(first.sets["train"]) == 20 and len(first.sets["test"]) > 100
    assert first.texts == same.texts and first.texts["train"] != other.texts["train"]
    with pytest.raises(SettingError, match="train must be a whole number from 1 to 3, .* got 9"):
        hatexplain(data, train=9)


def test_rationales_of_another_length_are_evened_with_a_warning(tmp_path):
    posts = [*POSTS[:4], entry("e", "new fog", (H,) * 3, (1,), (0, 1, 1)), POSTS[5]]
    with pytest.warns(UserWarning, match="rationales of 1 posts .*the first is 'e'"):
        made = hatexplain(write(tmp_path / "odd", posts), rationale="union")
    assert marked(made, "heldout", 0) == [0, 1]


def test_posts_without_words_are_left_out(tmp_path):
    posts = [*POSTS[:1], entry("b", "", (N,) * 3), *POSTS[2:]]
    assert len(read_posts(write(tmp_path / "empty", posts))["train"]) == 3


def test_json_nested_without_end_is_damage(tmp_path):
    folder = write(tmp_path / "deep", POSTS)
    (folder / "dataset.json").write_text("[" * 10**6)
    with pytest.raises(DataError, match="dataset.json' is damaged or no JSON"):
        read_posts(folder)


def without(key):
    return [{k: v for k, v in POSTS[0].items() if k != key}, *POSTS[1:]]


@pytest.mark.parametrize(
    "posts, splits, message",
    [
        (without("annotators"), SPLITS, "post 'a' in .* must have a list of annotators"),
        (without("post_tokens"), SPLITS, "post 'a' in .* must have a list of words post_tokens"),
        (without("rationales"), SPLITS, "rationales of post 'a' in .* must be lists of 0 and 1"),
        ([{**POSTS[0], "rationales": [[2]]}, *POSTS[1:]], SPLITS, "must be lists of 0 and 1"),
        ([entry("a", "x", ("rude",)), *POSTS[1:]], SPLITS, "labels of post 'a' .* got 'rude'"),
        ([entry("a", "x", ()), *POSTS[1:]], SPLITS, "labels of post 'a' .* got None"),
        (POSTS[1:], SPLITS, "lists post 'a', which .* has not"),
        (POSTS, {**SPLITS, "val": ["a"]}, "lists post 'a' more than once"),
        (POSTS, {**SPLITS, "val": []}, "lists no post in 'val'"),
        (POSTS, {"train": ["a"], "val": ["b"]}, "must hold a list of ids 'test'"),
        (POSTS, {**SPLITS, "val": [3]}, "must hold a list of ids 'val'"),
    ],
)
def test_damage_is_named(tmp_path, posts, splits, message):
    with pytest.raises(DataError, match=message):
        hatexplain(write(tmp_path / "bad", posts, splits))


@pytest.mark.parametrize("name", ["dataset.json", "post_id_divisions.json"])
def test_a_truncated_or_strange_file_is_named(data, name):
    file = data / name
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=f"{name}' is damaged or no JSON"):
        hatexplain(data)
    file.write_text("[1]")
    with pytest.raises(DataError, match=f"{name}' must hold a JSON object, got list"):
        hatexplain(data)


def test_a_post_that_is_no_object_is_named(data):
    posts = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps({**posts, "a": 3}))
    with pytest.raises(DataError, match="post 'a' .* must be a JSON object"):
        hatexplain(data)


def test_missing_files_say_what_to_put_where(data, tmp_path):
    message = "no dataset.json and no post_id_divisions.json at .*attnflow data fetch hatexplain"
    with pytest.raises(MissingPart, match=message):
        task("hatexplain", data=tmp_path / "nowhere")
    (data / "dataset.json").unlink()
    with pytest.raises(MissingPart, match="no dataset.json at .*: run"):
        task("hatexplain", data=data)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"label": "fourth"}, "label must be one of majority, first, second, third, got 'fourth'"),
        ({"rationale": "all"}, "rationale must be one of majority, union, first, second, third"),
        ({"min_count": 0}, "min_count must be a whole number of at least 1, got 0"),
        ({"max_length": 1}, "max_length must be a whole number of at least 2, got 1"),
    ],
)
def test_options_outside_their_range_are_refused(data, options, message):
    with pytest.raises(SettingError, match=message):
        hatexplain(data, **options)


def test_a_set_without_any_rationale_is_of_unknown_truth(tmp_path):
    posts = [*POSTS[:4], entry("e", "calm day", (N,) * 3), POSTS[5]]
    made = hatexplain(write(tmp_path / "calm", posts))
    assert [any_known(made.sets[name]) for name in ("train", "heldout")] == [True, False]


def test_the_made_corpus_has_the_published_form_and_its_planted_words(tmp_path):
    write_hatexplain(tmp_path, seed=3)
    found = read_posts(tmp_path)
    posts = [post for part in found.values() for post in part]
    assert {len(post.labels) for post in posts} == {3}
    for post in posts:
        label = label_of(post, "majority")
        planted = [word in KEYS.get(label, ()) for word in post.words]
        if label != N:
            assert len(post.rationales) in (2, 3)
            assert rationale_of(post, "majority").tolist() == planted and any(planted)
        else:
            assert post.rationales == ()
    counts = Counter(label_of(post, "majority") for post in posts)
    assert min(counts.values()) > 0.25 * len(posts)
    written = json.loads((tmp_path / "dataset.json").read_text())
    assert len(written) == 2000 and 1850 < len(posts) < 2000  # undecided posts are in no division
    again = write_hatexplain(tmp_path / "again", seed=3)
    assert (again / "dataset.json").read_bytes() == (tmp_path / "dataset.json").read_bytes()
    with pytest.raises(SettingError, match="holds dataset.json already: name another folder"):
        write_hatexplain(tmp_path)
    with pytest.raises(SettingError, match="posts must be a whole number of at least 60, got 3"):
        write_hatexplain(tmp_path / "few", 3)


def test_fetch_gets_both_files_and_refuses_what_is_no_json(data, tmp_path, monkeypatch):
    names = ("dataset.json", "post_id_divisions.json")
    monkeypatch.setitem(fetching.FILES, "hatexplain", (data.as_uri() + "/", names))
    # a file: address is answered by the same library, without HTTP's status
    monkeypatch.setattr(fetching.urllib.response.addinfourl, "status", 200, raising=False)
    place = fetch("hatexplain", tmp_path / "got")
    assert sorted(p.name for p in place.iterdir()) == sorted(names)
    assert len(hatexplain(place).sets["train"]) == 3
    (data / "post_id_divisions.json").write_text("<html>")
    with pytest.raises(DataError, match="is not post_id_divisions.json: .* is damaged or no JSON"):
        fetch("hatexplain", tmp_path / "other")
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["dataset.json"]
    monkeypatch.setitem(fetching.FILES, "hatexplain", ("http://127.0.0.1:9/", names))
    with pytest.raises(MissingPart, match="cannot download .* put dataset.json into"):
        fetch("hatexplain", tmp_path / "third", timeout=1)


def test_hugging_faces_version_reads_as_the_published_one(data, tmp_path):
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["hatespeech", "normal", "offensive"])
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "annotators": {
                "label": datasets.List(label),
                "annotator_id": datasets.List(datasets.Value("int32")),
                "target": datasets.List(datasets.List(datasets.Value("string"))),
            },
            "rationales": datasets.List(datasets.List(datasets.Value("int32"))),
            "post_tokens": datasets.List(datasets.Value("string")),
        }
    )
    entries = {p["post_id"]: p for p in POSTS}
    splits = {}
    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        rows = [
            {
                "id": p["post_id"],
                "annotators": {k: [a[k] for a in p["annotators"]] for k in p["annotators"][0]},
                "rationales": p["rationales"],
                "post_tokens": p["post_tokens"],
            }
            for p in (entries[one] for one in SPLITS[split])
        ]
        splits[name] = datasets.Dataset.from_list(rows, features=features)
    datasets.disable_progress_bars()
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    assert read_posts(tmp_path / "saved") == read_posts(data)


def rows_of(split):
    """Posts of a split in Hugging Face's form: labels by number, a record of lists."""
    entries = {p["post_id"]: p for p in POSTS}
    for post in (entries[name] for name in SPLITS[split]):
        labels = [[H, N, O].index(a["label"]) for a in post["annotators"]]
        words = {key: post[key] for key in ("rationales", "post_tokens")}
        yield {"id": post["post_id"], "annotators": {"label": labels}, **words}


def write_rows(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        table = pyarrow.Table.from_pylist(list(rows))
        pytest.importorskip("pyarrow.parquet").write_table(table, file)
    else:
        file.write_text("\n".join(json.dumps(row) for row in rows))


@pytest.mark.parametrize(
    "names",
    [
        "train-00000.parquet validation-00000.parquet test-00000.parquet",
        "data/train-00000-of-00001.parquet data/validation-00000-of-00001.parquet "
        "data/test-00000-of-00001-4b8f0d.parquet",
        "default/train/0000.parquet default/validation/0000.parquet default/test/0000.parquet",
        "plain_text/partial-train/0000.parquet plain_text/partial-validation/0000.parquet "
        "plain_text/partial-test/0000.parquet",
        "plain_text/hatexplain-train.parquet plain_text/hatexplain-validation.parquet "
        "plain_text/hatexplain-test.parquet",
        "training_set/train.parquet training_set/validation.parquet training_set/test.parquet",
        "testing/train/0000.parquet testing/validation/0000.parquet testing/test/0000.parquet",
        "train-test/Train_1.parquet train-test/val.PARQUET.parquet train-test/eval.parquet",
        "validated/training.jsonl validated/dev.jsonl validated/testing.jsonl",
        "training_data/a.parquet my.dev/a.parquet evaluation/a.parquet",
    ],
)
def test_a_file_belongs_to_the_split_that_names_it_or_its_nearest_folder(data, tmp_path, names):
    for name, split in zip(names.split(), SPLITS, strict=True):
        write_rows(tmp_path / "hub" / name, rows_of(split))
    write_rows(tmp_path / "hub" / ".cache" / names.split()[0], rows_of("train"))
    assert read_posts(tmp_path / "hub") == read_posts(data)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("train=train dev=val other=test", "no posts in split 'test': .* there are dev.parquet, o"),
        ("x=train y=val", "no posts in split 'train': .* there are x.parquet, y.parquet"),
        ("train_test=train val=val test=test", "'train_test.parquet' of .* fits two splits, train"),
        ("train=train val=val test=test test2=test", "post 'f' is in 'test.parquet' and again in"),
        ("train=train val=val test=train", "post 'c' is in .* and again in 'train.parquet'"),
        ("train-0-of-2=train val=val test=test", "1 of the 2 files train-\\*-of-2: the others are"),
    ],
)
def test_posts_whose_split_is_not_certain_are_refused_by_name(tmp_path, files, message):
    for name, split in (file.split("=") for file in files.split()):
        write_rows(tmp_path / f"{name}.parquet", rows_of(split))
    with pytest.raises(DataError, match=message):
        read_posts(tmp_path)


def test_a_post_that_is_twice_in_one_file_or_on_the_hub_is_refused(tmp_path, monkeypatch):
    for name, split in (("train", "train"), ("val", "val"), ("test", "test")):
        write_rows(tmp_path / f"{name}.jsonl", 2 * list(rows_of(split)))
    with pytest.raises(DataError, match=r"post 'f' is in 'test.jsonl' and again in 'test.jsonl'"):
        read_posts(tmp_path)
    datasets = pytest.importorskip("datasets")
    same = dict.fromkeys(("train", "validation", "test"), list(rows_of("train")))
    monkeypatch.setattr(datasets, "load_dataset", lambda name, revision: same)
    with pytest.raises(DataError, match="post 'c' is twice in 'me/mine', in 'validation' again"):
        read_posts("hub:me/mine")


def test_a_file_of_no_split_is_left_out_with_a_warning_and_a_damaged_one_is_named(tmp_path, data):
    for split in SPLITS:
        write_rows(tmp_path / f"hub/{split}.parquet", rows_of(split))
    write_rows(tmp_path / "hub/other.parquet", rows_of("train"))
    with pytest.warns(UserWarning, match="'other.parquet' of .* is named by no split"):
        assert read_posts(tmp_path / "hub") == read_posts(data)
    (tmp_path / "hub/test.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match="test.parquet' is damaged or of another kind"):
        read_posts(tmp_path / "hub")


def test_without_the_library_hugging_faces_version_says_what_to_install(tmp_path, monkeypatch):
    for name in ("datasets", "pyarrow"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    (tmp_path / "train.parquet").write_bytes(b"")
    with pytest.raises(MissingPart, match=r"needs the library pyarrow.*\[data\]"):
        read_posts(tmp_path)
    with pytest.raises(MissingPart, match="'Hate-speech-CNERG/hatexplain' on the hub needs"):
        read_posts("hub:")


def test_a_hub_that_does_not_answer_is_told_with_what_to_do(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def nothing(name, revision):
        raise ConnectionError(f"no route to {name} {revision}")

    monkeypatch.setattr(datasets, "load_dataset", nothing)
    with pytest.raises(MissingPart, match="cannot load 'me/mine' from the hub .*no route.*: put"):
        read_posts("hub:me/mine")
