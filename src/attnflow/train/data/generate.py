"""A data set of our own making, in the format of a published one: to try out, and for tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from attnflow.errors import SettingError
from attnflow.files import save_text
from attnflow.settings import check_count
from attnflow.train.data.hatexplain_files import DIVISIONS, LABELS, POSTS

KEYS = {
    "hatespeech": ("thunder", "gale", "hail", "blizzard", "squall", "tempest"),
    "offensive": ("drizzle", "mist", "frost", "puddle", "sleet", "fog"),
}
"""Words that make the class: weather, worse and bad. A post without any is normal."""

PLAIN = (
    "the a of and to in is was on for with as at by from that it be this have or one had not but "
    "what all were when we there can an your which their said if do will each about how up out "
    "them then she many some so these would other into has more her two like him see time could "
    "no make than first been its who now people my made over did down only way find use may water "
    "long little very after words called just where most know garden river table window paper "
    "letter morning evening station bridge market kitchen basket pencil silver yellow quiet early "
    "winter summer village harbour mountain valley meadow orchard lantern ladder blanket button"
).split()
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
DISAGREE, UNDECIDED, MARK_MORE = 0.2, 0.04, 0.3
BESIDE, HARMLESS = 0.25, 0.1
"""Shares of posts with worse weather that speak of bad weather too, and of normal posts with a word
of bad weather."""


def write_hatexplain(folder: str | Path, posts: int = 2000, seed: int = 0) -> Path:
    """A harmless corpus in exactly HateXplain's format, in which key words make the class.

    Plain words are drawn by falling frequency; posts of the classes "hatespeech" and "offensive"
    hold one to three key words of the class. Two or three annotators mark exactly these, and one
    of them sometimes one word more; one annotator sometimes gives another label; some posts are
    labelled in three ways and are in no division, as published. A quarter of the posts of the
    first class hold a key word of the second, not marked; so do a tenth of the normal ones, which
    no network can tell.

    Args:
        folder: where dataset.json and post_id_divisions.json go; made if missing.
        posts: how many, at least 60.
        seed: of the corpus.

    Returns:
        The folder.

    Raises:
        SettingError: posts or seed are outside their range, or the folder holds such files.
    """
    check_count("posts", posts, 60)
    check_count("seed", seed, 0)
    folder = Path(folder).expanduser()
    for name in (POSTS, DIVISIONS):
        if (folder / name).exists():
            raise SettingError(f"{str(folder)!r} holds {name} already: name another folder")
    random = np.random.default_rng(seed)
    entries: dict[str, Any] = {}
    decided = []
    for number in range(posts):
        name = f"{number}_made"
        entries[name] = _post(random, name)
        if len({one["label"] for one in entries[name]["annotators"]}) < 3:
            decided.append(name)
    order = [decided[place] for place in random.permutation(len(decided))]
    ends = np.cumsum([int(share * len(order)) for share in SHARES.values()])
    ends[-1] = len(order)
    starts = [0, *ends[:-1]]
    divisions = {s: order[a:b] for s, a, b in zip(SHARES, starts, ends, strict=True)}
    save_text(folder / POSTS, json.dumps(entries))
    save_text(folder / DIVISIONS, json.dumps(divisions))
    return folder


def _key(random: np.random.Generator, label: str) -> str:
    return KEYS[label][random.integers(len(KEYS[label]))]


def _post(random: np.random.Generator, name: str) -> dict[str, Any]:
    length = int(np.clip(random.lognormal(2.6, 0.6), 4, 80))
    ranks = np.minimum(random.zipf(1.3, length) - 1, len(PLAIN) * 4) % len(PLAIN)
    words = [PLAIN[rank] for rank in ranks]
    label = LABELS[random.integers(len(LABELS))]
    marks = np.zeros(length, int)
    beside = {LABELS[0]: BESIDE, LABELS[1]: HARMLESS}.get(label, 0.0)
    if random.random() < beside:
        words[random.integers(length)] = _key(random, LABELS[2])
    if label in KEYS:
        count = int(random.integers(1, min(3, length // 2) + 1))
        for place in random.permutation(length)[:count]:
            words[place] = _key(random, label)
            marks[place] = 1
    labels = [label] * 3
    chance = random.random()
    others = [kind for kind in LABELS if kind != label]
    if chance < UNDECIDED:
        labels = [label, *others]
    elif chance < UNDECIDED + DISAGREE:
        labels[random.integers(3)] = others[random.integers(2)]
    rationales = []
    if label in KEYS and chance >= UNDECIDED:
        rationales = [marks.tolist() for _ in range(random.integers(2, 4))]
        if random.random() < MARK_MORE:
            rationales[0][random.integers(length)] = 1
    annotators = [
        {"label": kind, "annotator_id": int(random.integers(1, 250)), "target": ["None"]}
        for kind in labels
    ]
    return {
        "post_id": name,
        "annotators": annotators,
        "rationales": rationales,
        "post_tokens": words,
    }
