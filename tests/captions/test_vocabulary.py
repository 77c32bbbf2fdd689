"""Captions as words and numbers, and how two of them are compared."""

import json
import sys
import unicodedata

import numpy as np
import pytest

from attnflow.captions import metrics
from attnflow.captions.vocabulary import (
    END,
    PAD,
    UNKNOWN,
    build_vocabulary,
    load_vocabulary,
    tokenise,
)
from attnflow.errors import DataError
from oracles.bleu import bleu


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man, riding a horse.", "a man riding a horse"),
        ("It's a dog's ball!", "it 's a dog 's ball"),
        ("They don't look; he\u2019ll fall", "they do n't look he 'll fall"),
        ("a frost-covered clock that says 8:25...", "a frost-covered clock that says 8:25"),
        ('A "STOP" sign_post', "a stop sign_post"),
        ("black&white AT&T R & B", "black & white at&t r & b"),
        ("50% off, $5, $ 10 or #1 of a#b", "50 % off $ 5 $ 10 or # 1 of a #b"),
        ("at 5 o'clock; hors d'oeuvres, O'Brien", "at 5 o'clock hors d'oeuvres o'brien"),
        ("the U.S. flag in the U.S.A.", "the u.s. flag in the u.s.a."),
        ("2:30p.m. or 5 a.m.", "2:30 p.m. or 5 a.m."),
        ("on St. Louis Ave. by Mr. Smith.", "on st. louis ave. by mr. smith"),
        ("no. 5 in the sun. Say no.", "no. 5 in the sun say no"),
        ("a black/white cat / w/o 1/2 cup", "a black/white cat / w/o 1/2 cup"),
        ("they cannot, won't, gonna go", "they can not wo n't gon na go"),
        ("rock 'n' roll of the '50s, 'tis", "rock 'n' roll of the '50s 't is"),
        ("frost--covered - a---b", "frost covered a b"),
        ("What?! wow!!! ok...", "what ?! wow !!! ok"),
        ("a man.The dog's foo@bar.com", "a man.the dog 's foo@bar.com"),
        ("1,000 birds a*b+c=e ~ @ 5°", "1,000 birds a * b + c = e ~ @ 5 °"),
        (" \n", ""),
    ],
)
def test_captions_are_divided_as_cocos_evaluation_divides_them(caption, words):
    # the words are what pycocoevalcap's PTBTokenizer (Stanford CoreNLP 3.4.1) answered
    assert tokenise(caption) == words.split()


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("a man (or woman) [here]", "a man or woman here"),  # -lrb- or woman -rrb-
        ("5¢ €5 £3 ½", "5 ¢ € 5 £ 3 ½"),  # 5 cents $ 5 # 3 1/2
        ("a!b", "a b"),  # a!b
    ],
)
def test_captions_are_divided_otherwise_only_where_it_is_said(caption, words):
    assert tokenise(caption) == words.split()


WORDS = [
    *("हिन्दी", "में", "किताब", "ภาษาไทย", "ที่นี่", "مُحَمَّد", "می\u200cخواهم", "שָׁלוֹם", "தமிழ்"),
    *("বাংলা", "ന\u0d4d\u200d", "မြန်မာ", "ខ្មែរ", "बच्चे", "한국어", "日本語", "naïve", "tiếng"),
]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_marks_stay_with_their_letters_in_words_vocabulary_and_bleu(form):
    pytest.importorskip("sacrebleu")
    text = unicodedata.normalize(form, f"\u200f{', '.join(WORDS)}!")
    words = [unicodedata.normalize("NFC", word) for word in WORDS]
    assert tokenise(text) == words
    assert tokenise(" ".join(tokenise(text))) == words  # a written caption reads as it was
    known = build_vocabulary([tokenise(text)], 1)
    assert known.decode(known.encode(words, 30)) == words
    assert metrics.bleu([tokenise(text)], [[words]])[0] == pytest.approx(1, abs=1e-12)


def test_letters_of_two_spellings_are_one_word():
    assert tokenise("Cafe\u0301 CAFÉ cafe\u0301") == ["café"] * 3
    assert tokenise("\u0130stanbul") == ["i\u0307stanbul"]  # as Java lowers it, and Python
    assert tokenise("co\u00adop\ufeff") == ["coop"]
    assert tokenise("\u2764\ufe0f 1\ufe0f\u20e3 \U0001f469\u200d\U0001f467 dog") == ["1", "dog"]
    assert tokenise("x\ud800y") == ["x", "y"]  # what cannot be written


def test_only_frequent_words_are_known_and_captions_come_back():
    captions = [["a", "red", "dog"], ["a", "blue", "dog"], ["a", "dog"]]
    known = build_vocabulary(captions, 2)
    assert known.words[4:] == ("a", "dog")
    assert known.encode(["a", "red", "dog"], 5).tolist() == [4, UNKNOWN, 5, END, PAD]
    assert known.encode(["a", "dog", "a", "dog"], 3).tolist() == [4, 5, 4]  # cut, with no end
    assert known.decode([4, 5, END, 4]) == ["a", "dog"]
    assert build_vocabulary(captions, 1).words[4:] == ("a", "dog", "blue", "red")


def test_a_vocabulary_is_read_back_and_damage_is_named(tmp_path):
    known = build_vocabulary([["caf\u00e9", "a"]], 1)
    known.save(tmp_path / "v.json")
    assert load_vocabulary(tmp_path / "v.json") == known
    (tmp_path / "v.json").write_text(json.dumps(["a"]))
    with pytest.raises(DataError, match="v.json' is no vocabulary: it must begin with <pad>"):
        load_vocabulary(tmp_path / "v.json")
    with pytest.raises(DataError, match="no.json' cannot be read: No such file"):
        load_vocabulary(tmp_path / "no.json")


def sentences(seed, count=40):
    random = np.random.default_rng(seed)

    def one():
        return [f"w{i}" for i in random.integers(4, size=random.integers(4, 12))]

    return [one() for _ in range(count)], [[one() for _ in range(3)] for _ in range(count)]


@pytest.mark.parametrize("seed", range(3))
def test_bleu_is_that_of_its_definition(seed):
    given, wanted = sentences(seed)
    wanted[3], wanted[7] = wanted[3][:1], wanted[7][:2]  # not all have equally many references
    found = metrics.bleu(given, wanted)
    assert found == pytest.approx(bleu(given, wanted), abs=1e-12)
    assert found[0] > found[3] > 0


def test_bleu_of_equal_captions_is_1_and_of_short_or_strange_ones_less():
    words = "a red dog on a mat".split()
    assert metrics.bleu([words], [[["x"], words]]) == pytest.approx((1.0,) * 4)
    short = metrics.bleu([words[:4]], [[words]])
    assert short == pytest.approx((np.exp(1 - 6 / 4),) * 4)
    assert metrics.bleu([["cat"]], [[words]]) == (0.0,) * 4
    assert metrics.bleu([["a", "dog"]], [[words]])[1:] == (0.0,) * 3
    assert metrics.bleu([[]], [[words]]) == (0.0,) * 4


def test_rouge_and_cider_are_those_computed_by_hand(capfd):
    pytest.importorskip("pycocoevalcap", reason="pycocoevalcap is not installed")
    given = ["a b".split(), "c d".split(), "f g h".split()]
    wanted = [["a b".split()], ["c e".split()], ["f g".split()]]
    found = metrics.others(given, wanted)
    # P and R of the longest common subsequence, (1 + 1.2^2) P R / (R + 1.2^2 P)
    third = 2.44 * (2 / 3) / (1 + 1.44 * 2 / 3)
    assert found["rouge_l"] == pytest.approx((1 + 1 / 2 + third) / 3)
    # no word is shared by two images, so all weigh the same: cosines of one to four words in a
    # row, a Gaussian (deviation 6) of the lengths' difference in pairs of words, times 10
    cosines = [1 + 1, 1 / 2, (2 / 6**0.5 + 1 / 2**0.5) * np.exp(-1 / 72)]
    assert found["cider"] == pytest.approx(sum(10 * c / 4 for c in cosines) / 3)
    assert capfd.readouterr() == ("", "")


def test_without_a_word_to_be_like_there_is_no_rouge_nor_cider():
    pytest.importorskip("pycocoevalcap", reason="pycocoevalcap is not installed")
    assert metrics.others([["a"], []], [[[]], [[], []]]) == {}
    assert set(metrics.others([["a"], []], [[[]], [["a"], []]])) == {"rouge_l", "cider"}
    assert metrics.bleu([["a"]], [[[], []]]) == (0.0,) * 4


def test_without_pycocoevalcap_only_bleu_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap.cider.cider", None)
    assert metrics.others([["a"]], [[["a"]]]) is None
