r"""Run all derivations in order and build one document of them.

``python derivations/build.py`` writes ``build/latex/NN.tex`` for each derivation, the standalone
``build/latex/derivations.tex``, and ``build/derivations.pdf`` where a LaTeX compiler is installed.
"""

import argparse
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from _common import FOLDER, Derivation  # noqa: E402

from attnflow.errors import MissingPart  # noqa: E402
from attnflow.export.document import compile_pdf  # noqa: E402
from attnflow.export.latex import NAMES, display, sentence  # noqa: E402

SCRIPTS = tuple(sorted(HERE.glob("[0-9][0-9]_*.py")))
"""The derivations in reading order."""

PREAMBLE = r"""\documentclass[11pt]{article}
\usepackage{amsmath}
\setlength{\textwidth}{165mm}
\setlength{\textheight}{240mm}
\setlength{\oddsidemargin}{-3mm}
\setlength{\topmargin}{-15mm}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\setlength{\parskip}{1ex}
\raggedright
\title{Learning dynamics of attention: executable derivations}
\author{attnflow}
\date{}
\begin{document}
\maketitle
"""


def load(script: Path) -> ModuleType:
    """A fresh copy of a derivation's module."""
    spec = importlib.util.spec_from_file_location(f"derivation_{script.stem}", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def symbols(told: Sequence[Derivation]) -> str:
    """A table of the symbols that occur."""
    used, over = set(), r"\1/\2"
    for derivation in told:
        for step in derivation.steps:
            for left, right in display(step.equation).rows:
                used |= left.free_symbols | right.free_symbols
    flat = re.compile(r"\\frac\{(.*?)\}\{(.*?)\}")  # a derivative on one line, for the table
    rows = " \\\\\n".join(
        f"${flat.sub(over, name)}$ & {sentence(meaning)}"
        for symbol, (name, meaning) in NAMES.items()
        if symbol in used
    )
    return "{\\footnotesize\\begin{tabular}{ll}\n" + rows + "\n\\end{tabular}}\n"


def document(told: Sequence[Derivation]) -> str:
    """The standalone LaTeX document: what the scripts wrote, one after the other."""
    body = "\n".join(derivation.latex() for derivation in told)
    return f"{PREAMBLE}\\section*{{Symbols}}\n{symbols(told)}\n{body}\n\\end{{document}}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, write, compile."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the LaTeX files")
    folder = parser.parse_args(arguments).out
    told = []
    for script in SCRIPTS:
        derivation = load(script).main()
        derivation.write(folder)
        print(f"{script.name}: {len(derivation.steps)} formulas", flush=True)
        told.append(derivation)
    text = document(told)
    source = folder / "derivations.tex"
    source.write_text(text, encoding="utf-8")
    try:
        pdf = compile_pdf(text)
    except MissingPart as missing:
        print(f"no PDF: {missing}\nThe document is {source}")
        return 0
    target = folder.parent / "derivations.pdf"
    target.write_bytes(pdf)
    print(f"{sum(len(d.steps) for d in told)} formulas in {target}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
