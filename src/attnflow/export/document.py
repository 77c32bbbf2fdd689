r"""Derivations written out: a LaTeX document, its PDF, Markdown, a Python module, JSON.

``export(paradigms, format, path)`` writes all steps of the derivations in order. Formulas carry the
same running numbers in every format.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sympy as sp

from attnflow.errors import MissingPart, SettingError
from attnflow.export import latex
from attnflow.export.languages import LANGUAGES, program
from attnflow.export.latex import escaped, markdown, sentence
from attnflow.export.numpy_module import python_module
from attnflow.files import check_place, save_text
from attnflow.symbolic.catalogue import CATALOGUE, paradigm
from attnflow.symbolic.derivation import switch_steps
from attnflow.symbolic.derivation.derived import derive
from attnflow.symbolic.derivation.step import Step
from attnflow.symbolic.derivation.time_steps import difference_steps
from attnflow.symbolic.paradigm import Paradigm

FORMATS = {
    **{"latex": ".tex", "pdf": ".pdf", "markdown": ".md", "json": ".json"},
    **{"python": ".py", "jax": ".py", "julia": ".jl", "mathematica": ".wl"},
}
"""Format -> ending of its files."""
_CHECKED = {
    "proved": "Proved symbolically.",
    "50 digits": "Checked to 50 digits.",
    "definition": "Definition.",
}
_PREAMBLE = r"""\documentclass[11pt]{article}
\usepackage{amsmath}
\setlength{\textwidth}{160mm}
\setlength{\textheight}{240mm}
\setlength{\oddsidemargin}{0mm}
\setlength{\topmargin}{-15mm}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\raggedright
\title{Learning dynamics of attention: derivations}
\author{attnflow}
\date{}
\begin{document}
\maketitle
"""


@dataclass(frozen=True)
class Section:
    """A part of a document: a heading, where it comes from, and numbered steps.

    Attributes:
        name: prefix of its labels.
        title: heading.
        source: one sentence, may be empty.
        steps: (number, step), numbered through the whole document.
        left_out: a sentence for each part that could not be derived.
    """

    name: str
    title: str
    source: str
    steps: tuple[tuple[int, Step], ...]
    left_out: tuple[str, ...] = ()


def sections(paradigms: Iterable[str | Paradigm]) -> tuple[Section, ...]:
    """All steps of the paradigms' derivations, numbered, and where each pair of them parts.

    Raises:
        ParadigmError: an unknown name.
        SettingError: no paradigm at all, or one twice.
    """
    chosen = [paradigm(p) for p in paradigms]
    repeated = sorted({p.name for p in chosen if [q.name for q in chosen].count(p.name) > 1})
    if not chosen or repeated:
        got = f"{', '.join(repeated)} twice" if repeated else "none"
        raise SettingError(f"paradigms must be one or more different ones, got {got}")
    numbered, count = [], 0
    for name, title, source, steps in _parts(chosen):
        left_out = next((derive(p).left_out for p in chosen if p.name == name), ())
        numbered.append(Section(name, title, source, tuple(enumerate(steps, count + 1)), left_out))
        count += len(steps)
    return tuple(numbered)


def _parts(chosen: list[Paradigm]) -> list[tuple[str, str, str, tuple[Step, ...]]]:
    """Name, title, source and steps of each section; what several share comes first, and once."""
    told = [(p.name, p.title, p.source, derive(p).steps) for p in chosen]
    if len(chosen) == 1:
        return told
    shared = set.intersection(*(set(steps) for *_, steps in told))
    common = tuple(step for step in told[0][3] if step in shared)
    return [
        ("common", "What is common to the paradigms", "", common),
        *((n, t, source, tuple(s for s in all_ if s not in shared)) for n, t, source, all_ in told),
        ("difference", "Where the paradigms part", "", tuple(difference_steps(chosen))),
        ("switch", "When to change the paradigm", "", tuple(switch_steps.steps(chosen))),
    ]


def _symbols(parts: Sequence[Section]) -> list[tuple[str, str]]:
    """LaTeX and meaning of every symbol and special function that occurs."""
    symbols: set[sp.Basic] = set()
    heads: set[type] = set()
    for part in parts:
        for _, step in part.steps:
            for left, right in latex.display(step.equation).rows:
                symbols |= (left.atoms(sp.Symbol) | right.atoms(sp.Symbol)) & set(latex.NAMES)
                heads |= {type(f) for f in right.atoms(sp.Function)}
    used = [entry for symbol, entry in latex.NAMES.items() if symbol in symbols]
    return used + [entry for head, entry in latex.FUNCTIONS.items() if head in heads]


def _flat(name: str) -> str:
    """A derivative on one line, for a table."""
    return re.sub(r"\\frac\{(.*?)\}\{(.*?)\}", r"\1/\2", name)


def latex_document(paradigms: Iterable[str | Paradigm]) -> str:
    """A standalone LaTeX document (article, amsmath) with every step of the derivations."""
    parts = sections(paradigms)
    rows = " \\\\\n".join(
        f"${_flat(name)}$ & {sentence(meaning)}" for name, meaning in _symbols(parts)
    )
    text = [_PREAMBLE]
    for part in parts:
        text.append(f"\n\\section{{{escaped(part.title)}}}\n")
        if part.source:
            text.append(f"Source: {escaped(part.source)}.\n")
        for number, step in part.steps:
            text.append(
                f"\n\\paragraph{{{sentence(step.title)}.}} {sentence(step.text)} "
                f"\\mbox{{\\textit{{{_CHECKED.get(step.check, step.check)}}}}}\n"
                f"{latex.fragment(step, number, part.name)}\n"
            )
        text += [f"\n{escaped(reason)}\n" for reason in part.left_out]
    table = f"{{\\footnotesize\\begin{{tabular}}{{ll}}\n{rows}\n\\end{{tabular}}}}\n"
    return "".join(text) + f"\n\\section*{{Symbols}}\n{table}\n\\end{{document}}\n"


def markdown_document(paradigms: Iterable[str | Paradigm]) -> str:
    """The same in Markdown with ``$$`` formulas, for notebooks and web pages."""
    parts = sections(paradigms)
    lines = ["# Learning dynamics of attention: derivations"]
    for part in parts:
        lines += ["", f"## {markdown(part.title)}", ""]
        if part.source:
            lines += [f"Source: {markdown(part.source)}.", ""]
        for number, step in part.steps:
            lines += [
                f"### {number}. {sentence(step.title, markdown)}",
                "",
                f"{sentence(step.text, markdown)} *{_CHECKED.get(step.check, step.check)}*",
                "",
                f"$$\n{latex.body(step.equation)} \\tag{{{number}}}\n$$",
                "",
            ]
        lines += [line for reason in part.left_out for line in (markdown(reason), "")]
    lines += ["## Symbols", "", "| symbol | meaning |", "|---|---|"]
    lines += [f"| ${name}$ | {sentence(meaning)} |" for name, meaning in _symbols(parts)]
    return "\n".join(lines) + "\n"


def json_document(paradigms: Iterable[str | Paradigm]) -> str:
    """The steps as JSON: number, label, title, text, check, LaTeX, and sympy's own notation."""
    document = [
        {
            "name": part.name,
            "title": part.title,
            "source": part.source,
            "steps": [
                {
                    "number": number,
                    "label": f"{part.name}:{step.name}",
                    "title": step.title.replace("`", ""),
                    "text": step.text.replace("`", ""),
                    "check": step.check,
                    "latex": latex.body(step.equation),
                    "left": str(step.equation.lhs),
                    "right": str(step.equation.rhs),
                }
                for number, step in part.steps
            ],
            "left_out": list(part.left_out),
        }
        for part in sections(paradigms)
    ]
    return json.dumps(document, indent=2) + "\n"


def _module(write: Callable[[Sequence[Paradigm]], str]) -> Callable[..., str]:
    """A writer of programs as a writer of documents: of paradigms or their names."""

    def document(paradigms: Iterable[str | Paradigm]) -> str:
        chosen = [paradigm(p) for p in paradigms]
        if not chosen:
            raise SettingError("paradigms must be one or more different ones, got none")
        return write(chosen)

    return document


_WRITERS: dict[str, Callable[[Iterable[str | Paradigm]], str]] = {
    "latex": latex_document,
    "markdown": markdown_document,
    "json": json_document,
    "python": _module(python_module),
    "jax": _module(partial(python_module, jax=True)),
    **{name: _module(partial(program, language=known)) for name, known in LANGUAGES.items()},
}


def format_of(format: str | None, path: str | os.PathLike[str] | None) -> str:
    """The format that is meant: as named, else as the file ends, else LaTeX.

    Raises:
        SettingError: the format is unknown, or the file ends as those of another.
    """
    if format is not None and format not in FORMATS:
        raise SettingError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    ending = "" if path is None else Path(path).suffix.lower()
    meant = next((name for name, own in FORMATS.items() if own == ending), None)
    if format is not None and meant is not None and FORMATS[format] != ending:
        raise SettingError(f"path must end in {FORMATS[format]} for format {format}, got {path}")
    return format or meant or "latex"


def export(
    paradigms: str | Paradigm | Iterable[str | Paradigm] = "all",
    format: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> str | bytes:
    """Write derivations out.

    Args:
        paradigms: "all" (the built-in ones), a name or Paradigm, or several of them.
        format: "latex", "pdf", "markdown", "json", "python" (NumPy), "jax", "julia" or
            "mathematica"; None as the path ends, else LaTeX.
        path: file to write (whole or not at all), or None to only return the contents.

    Returns:
        The contents: text, or bytes for a PDF.

    Raises:
        SettingError: the format is unknown, or the file ends as those of another format or cannot
            be written.
        MissingPart: no LaTeX is installed and a PDF was asked for.
    """
    format = format_of(format, path)
    if isinstance(paradigms, str | Paradigm):
        paradigms = list(CATALOGUE.values()) if paradigms == "all" else [paradigms]
    if path is not None:
        check_place(path, folder=False)  # before the work, not after it
    if format == "pdf":
        contents: str | bytes = compile_pdf(latex_document(paradigms))
    else:
        contents = _WRITERS[format](paradigms)
    if path is not None:
        save_text(path, contents)
    return contents


def compile_pdf(document: str) -> bytes:
    """Compile a LaTeX document with latexmk, pdflatex or tectonic, whichever is installed.

    Raises:
        MissingPart: none of them is installed, or the compiler lacks a package.
    """
    options = ("-interaction=nonstopmode", "-halt-on-error")
    commands = {
        "latexmk": [["latexmk", "-pdf", *options, "document.tex"]],
        "pdflatex": [["pdflatex", *options, "document.tex"]] * 2,
        "tectonic": [["tectonic", "document.tex"]],
    }
    found = next((name for name in commands if shutil.which(name)), None)
    if found is None:
        raise MissingPart(
            "a PDF needs a LaTeX compiler (latexmk, pdflatex or tectonic) and none is installed: "
            "on Debian or Ubuntu 'apt-get install texlive-latex-base', on macOS "
            "'brew install tectonic', "
            "or export with format latex and compile elsewhere"
        )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "document.tex").write_text(document, encoding="utf-8")
        for command in commands[found]:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace"
            )
            if done.returncode:
                complaint = [line for line in done.stdout.splitlines() if line.startswith("!")]
                raise MissingPart(
                    f"{found} could not compile the document: "
                    f"{(complaint or [done.stderr.strip()[-200:] or 'no message'])[0]}; "
                    f"install the package "
                    f"amsmath (Debian: texlive-latex-base), or export with format latex"
                )
        return Path(folder, "document.pdf").read_bytes()
