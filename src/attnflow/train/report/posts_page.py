"""A page of posts to read: each word shaded by its weight, the rationale underlined.

Posts may be offensive, so words are blocks of their length unless they are asked for; nothing in
the file gives them away then.
"""

from html import escape
from typing import Any

import numpy as np

from attnflow.train.evaluation import average_precision, predict
from attnflow.train.trained import Trained

COUNT = 60
"""Posts on a page."""

STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6470; --line: #d9dde2;
  --ground: #fff; --word: #edeff2; --good: #0b6e4f; --bad: #a3321f; --mark: #0072b2;
  --heat: 230, 159, 0; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --soft: #a3adba;
  --line: #3a424d; --ground: #16181c; --word: #2a3038; --good: #58c99d; --bad: #f0917f;
  --mark: #4aa8e0; --heat: 150, 92, 0; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 52rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } p { margin: .4rem 0; color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; margin: 1rem 0 1.75rem;
  padding: .6rem .9rem; border: 1px solid var(--line); border-radius: .5rem; font-size: .85rem;
  color: var(--soft); align-items: center; }
article { padding: .9rem 0 1rem; border-top: 1px solid var(--line); break-inside: avoid; }
header { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .82rem;
  color: var(--soft); margin-bottom: .35rem; font-variant-numeric: tabular-nums; }
header b { color: var(--ink); font-weight: 600; } .good { color: var(--good); }
.bad { color: var(--bad); }
.text { line-height: 2.15; }
.w { display: inline-block; padding: 0 .25em; margin: 0 .08em; border-radius: .25em;
  line-height: 1.45; border-bottom: .2em solid transparent;
  background: rgba(var(--heat), var(--a, 0)) padding-box; -webkit-print-color-adjust: exact;
  print-color-adjust: exact; color: var(--ink); }
.r { border-bottom-color: var(--mark); border-bottom-left-radius: 0;
  border-bottom-right-radius: 0; }
.m { box-shadow: inset 0 0 0 .1em var(--ink); }
.h { height: 1.65em; width: calc(var(--n) * .52em + .5em); vertical-align: middle;
  background: linear-gradient(rgba(var(--heat), var(--a, 0)), rgba(var(--heat), var(--a, 0))),
  var(--word); background-clip: padding-box; }
@media print { body { margin: 0; max-width: none; font-size: 11pt; } }"""


def posts_page(
    trained: Trained,
    part: str,
    *,
    replica: int = 0,
    title: str = "",
    count: int = COUNT,
    show_words: bool = False,
) -> str:
    """The first posts of a set as one HTML page that needs nothing else.

    Args:
        trained: a run whose task has texts.
        part: "train", "heldout" or "test".
        replica: which of the runs trained at once.
        title: of the run.
        count: how many posts.
        show_words: show the words in place of blocks.

    Raises:
        SettingError: there is no such set or run.
    """
    found = predict(trained, part, replica)
    made = trained.engine.task
    inputs, texts = made.sets[part], made.texts[part]
    shown = min(count, len(texts))
    posts = [
        _post(trained, part, row, found, texts[row], show_words=show_words) for row in range(shown)
    ]
    truth = np.asarray(inputs.truth)
    known = np.flatnonzero(truth.sum(axis=1))
    right = found["argmax"] == np.asarray(inputs.labels)
    which = trained.engine.run.replicas[replica]
    about = (
        f"{made.name}, {trained.engine.run.paradigm}, {trained.engine.run.networks}, {which}; "
        f"the first {shown} of {len(texts)} posts of set {part}. Of all: prediction true "
        f"{100 * right.mean():.1f} %; "
    )
    if len(known):
        hits = truth[known, found["focus"][known]]
        precision = average_precision(found["weights"][known], inputs.at(known))
        about += (
            f"of the {len(known)} with a rationale: focus true {100 * hits.mean():.1f} %, area "
            f"under precision against recall {precision:.3f}."
        )
    else:
        about += "none has a rationale."
    name = escape(f"Posts: {title or made.name}")
    hidden = "" if show_words else "<p>Words are hidden; --show-words shows them.</p>\n"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>{name}</h1>\n"
        f"<p>{escape(about)}</p>\n{hidden}{_legend()}\n" + "\n".join(posts) + "\n</body>\n</html>\n"
    )


def _legend() -> str:
    steps = " ".join(
        f'<span class="w" style="--a:{_shade(weight):.2f}">{100 * weight:.0f} %</span>'
        for weight in (0.0, 0.1, 0.25, 0.5, 1.0)
    )
    return (
        f'<div class="legend"><span>weight {steps}</span>'
        '<span><span class="w r">underlined</span> rationale</span>'
        '<span><span class="w m">framed</span> largest weight</span></div>'
    )


def _shade(weight: float) -> float:
    """The root of the weight, so that small ones are seen too."""
    return float(np.sqrt(weight))


def _verdict(right: bool) -> str:
    kind, word = ("good", "true") if right else ("bad", "false")
    return f'<span class="{kind}">{word}</span>'


def _post(
    trained: Trained,
    part: str,
    row: int,
    found: dict[str, np.ndarray],
    words: Any,
    *,
    show_words: bool,
) -> str:
    made = trained.engine.task
    inputs = made.sets[part]
    label, said = int(inputs.labels[row]), int(found["argmax"][row])
    truth, weights = np.asarray(inputs.truth)[row], found["weights"][row]
    facts = [
        f"<b>{row + 1}</b>",
        f"label <b>{escape(made.class_names[label])}</b>",
        f"prediction <b>{escape(made.class_names[said])}</b> {_verdict(label == said)}",
    ]
    if truth.any():
        mass = 100 * float(np.sum(weights[truth]))
        facts.append(f"focus {_verdict(bool(truth[found['focus'][row]]))}")
        facts.append(f"weight on the rationale {mass:.0f} %")
    else:
        facts.append("no rationale")
    spans = []
    for place, word in enumerate(words):
        weight = float(weights[place])
        classes = ["w", *(["r"] if truth[place] else []), *(["h"] if not show_words else [])]
        if place == int(found["focus"][row]):
            classes.append("m")
        style = f"--a:{_shade(weight):.2f}" + ("" if show_words else f";--n:{len(word)}")
        # half of a surrogate pair, which JSON can hold, cannot be written
        held = escape(word.encode("utf-8", "replace").decode()) if show_words else ""
        spans.append(
            f'<span class="{" ".join(classes)}" style="{style}" '
            f'title="{100 * weight:.1f} %">{held}</span>'
        )
    head = "".join(f"<span>{fact}</span>" for fact in facts)
    return f'<article><header>{head}</header><div class="text">{" ".join(spans)}</div></article>'
