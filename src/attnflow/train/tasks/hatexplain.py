"""HateXplain: three classes of posts, with the words that annotators gave as their reason.

Segments are words. A word is true where it belongs to the rationale; a post without rationale, as
all that count as normal, is of unknown truth, and every measure of the focus leaves it out. Posts
are offensive: nothing here shows them.
"""

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from attnflow.errors import SettingError
from attnflow.settings import check_count
from attnflow.train.data.hatexplain_files import LABELS, Post, read_posts
from attnflow.train.data.vocabulary import Vocabulary
from attnflow.train.tasks.task import Mosaics, Task

ORDINALS = {"first": 0, "second": 1, "third": 2}
LABEL_RULES = ("majority", *ORDINALS)
RATIONALE_RULES = ("majority", "union", *ORDINALS)
VOCABULARIES = ("train", "all")
LENGTHS = (16, 32, 64)


def hatexplain(
    data: str | Path = ".",
    *,
    train: int | None = None,
    heldout: int | None = None,
    test: int | None = None,
    label: str = "majority",
    rationale: str = "majority",
    min_count: int = 2,
    vocabulary: str = "train",
    max_length: int = 128,
    seed: int = 0,
) -> Task:
    """Posts of HateXplain, official split; the validation posts are held out.

    Args:
        data: a folder with dataset.json and post_id_divisions.json, or with Hugging Face's
            version; or "hub:" (see ``posts.read_posts``).
        train: number of training posts, drawn by seed; None for all.
        heldout: number of validation posts, likewise.
        test: number of test posts, likewise.
        label: "majority" of the annotators, where posts on which all disagree are left out; or
            that of the "first" (as in the published experiments), "second" or "third".
        rationale: a word is true if more than half of those who marked a rationale marked it
            ("majority"), if any did ("union"), or if the "first", "second" or "third" of them did.
        min_count: how often a word must occur in the posts of the vocabulary; rarer ones are one
            unknown word.
        vocabulary: whose words are told apart: those of the posts to "train", or of "all", as in
            the paper's code (with min_count 1 and the official posts a table of 28,041, of which
            one, an end of text, never occurs and is left out here).
        max_length: words of a post that count; further ones are cut off.
        seed: of the draw.

    Raises:
        SettingError: a value is outside its range.
        MissingPart: there are no such data.
        DataError: they are damaged.

    Source: Mathew et al. (2021); Vashisht and Ramaswamy (2023), experiments.
    """
    for what, given, known in (
        ("label", label, LABEL_RULES),
        ("rationale", rationale, RATIONALE_RULES),
        ("vocabulary", vocabulary, VOCABULARIES),
    ):
        if given not in known:
            raise SettingError(f"{what} must be one of {', '.join(known)}, got {given!r}")
    check_count("max_length", max_length, 2)
    random = np.random.default_rng(seed)
    chosen: dict[str, list[tuple[Post, str]]] = {}
    unlabelled = 0
    counts = {"train": train, "heldout": heldout, "test": test}
    for name, posts in read_posts(data).items():
        told = [(post, kind) for post in posts if (kind := label_of(post, label)) is not None]
        unlabelled += len(posts) - len(told)
        chosen[name] = _drawn(random, told, counts[name], name)
    texts = {name: [p.words[:max_length] for p, _ in told] for name, told in chosen.items()}
    counted = chain(*texts.values()) if vocabulary == "all" else texts["train"]
    listed = Vocabulary.of(counted, min_count)
    places = max(len(words) for part in texts.values() for words in part)
    sets = {}
    for name, told in chosen.items():
        numbers, mask = listed.numbers(texts[name], places)
        truth = np.zeros_like(mask)
        for row, (post, _) in enumerate(told):
            marks = rationale_of(post, rationale)[:places]
            truth[row, : len(marks)] = marks
        labels = np.array([LABELS.index(kind) for _, kind in told], np.int32)
        nowhere = np.full(len(told), -1, np.int32)
        sets[name] = Mosaics(numbers, labels, nowhere, mask, truth & mask)
    words = listed.words
    return Task(
        "hatexplain",
        np.arange(len(words), dtype=np.int32),
        sets,
        len(LABELS),
        LABELS,
        vocabulary=words,
        lengths=tuple(length for length in LENGTHS if length < places),
        texts=texts,
        remarks=_remarks(unlabelled, label, chosen, max_length),
    )


def _remarks(
    unlabelled: int, label: str, chosen: dict[str, list[tuple[Post, str]]], max_length: int
) -> tuple[str, ...]:
    """What was left out: posts without a label by this rule, and words of long posts."""
    found = []
    if unlabelled:
        found.append(f"Posts left out, as the rule {label} gives them no label: {unlabelled}.")
    long = sum(len(post.words) > max_length for told in chosen.values() for post, _ in told)
    if long:
        found.append(f"Posts cut to their first {max_length} words: {long}.")
    return tuple(found)


def _drawn(
    random: np.random.Generator, told: list[tuple[Post, str]], count: int | None, name: str
) -> list[tuple[Post, str]]:
    if count is None:
        return told
    if not 1 <= count <= len(told):
        raise SettingError(
            f"{name} must be a whole number from 1 to {len(told)}, the posts there are, got {count}"
        )
    return [told[row] for row in np.sort(random.permutation(len(told))[:count])]


def label_of(post: Post, rule: str) -> str | None:
    """The label of a post; None where the rule gives none."""
    if rule in ORDINALS:
        place = ORDINALS[rule]
        return post.labels[place] if place < len(post.labels) else None
    (label, count), *_ = Counter(post.labels).most_common()
    return label if 2 * count > len(post.labels) else None


def rationale_of(post: Post, rule: str) -> Bool[np.ndarray, " words"]:
    """Which words of a post are its rationale; none where it is not known."""
    marks = np.array(post.rationales, bool).reshape(-1, len(post.words))
    if rule in ORDINALS:
        rows = marks[ORDINALS[rule] :][:1]
        return np.any(rows, axis=0)
    if rule == "union":
        return np.any(marks, axis=0)
    return 2 * marks.sum(axis=0) > len(marks)
