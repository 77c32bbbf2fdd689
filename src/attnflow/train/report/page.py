"""Pages that compare runs, as Markdown or as one HTML file that needs nothing else."""

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from attnflow.errors import SettingError, shown
from attnflow.export.latex import markdown
from attnflow.files import new_folder, save_text
from attnflow.plots.style import save
from attnflow.train.trained import Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = {"markdown": "md", "html": "html"}
"""What a page can be written as -> the ending of its file."""

LONGEST = 200
"""Bytes of the name of a figure's file."""

STYLE = """\
:root { color-scheme: light dark; --rule: #ddd; --soft: #555; --ink: #111; --ground: #fff; }
@media (prefers-color-scheme: dark) {
:root { --rule: #444; --soft: #bbb; --ink: #eee; --ground: #16181c; } }
body { font-family: sans-serif; line-height: 1.45; max-width: 75rem; margin: 2rem auto; \
padding: 0 1rem; color: var(--ink); background: var(--ground); overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.85rem; display: block; \
overflow-x: auto; }
th, td { border-bottom: 1px solid var(--rule); padding: 0.2rem 0.6rem; text-align: left; \
white-space: nowrap; overflow-wrap: normal; }
td { font-variant-numeric: tabular-nums; }
figure { margin: 2rem 0; overflow-x: auto; }
figcaption { color: var(--soft); position: sticky; left: 0; }
img { width: 100%; min-width: 36rem; max-width: 60rem; background: #fff; border-radius: 4px; }
a { color: inherit; }"""


@dataclass(frozen=True)
class Page:
    """A page in the order in which its parts are added.

    Attributes:
        title: the heading.
        parts: each a function from (kind, folder of the page) to text.
    """

    title: str
    parts: list[Callable[[str, Path], str]] = field(default_factory=list)

    def text(self, words: str) -> None:
        """Add a paragraph of plain words."""
        self.parts.append(
            lambda kind, _: f"<p>{escape(words)}</p>" if kind == "html" else markdown(words)
        )

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table."""
        kept = [tuple(row) for row in rows]

        def spell(kind: str, _: Path) -> str:
            if kind == "html":
                lines = [_html_row("th", header), *(_html_row("td", row) for row in kept)]
                return "<table>\n" + "\n".join(lines) + "\n</table>"
            lines = (" | ".join(markdown(cell) for cell in row) for row in (header, *kept))
            first, *others = (f"| {line} |" for line in lines)
            return "\n".join([first, "|" + "---|" * len(header), *others])

        self.parts.append(spell)

    def link(self, words: str, file: Path) -> None:
        """Add a paragraph that leads to another file beside the page."""

        def spell(kind: str, folder: Path) -> str:
            place = quote(file.relative_to(folder).as_posix())
            if kind == "html":
                return f'<p><a href="{escape(place)}">{escape(words)}</a></p>'
            return f"[{markdown(words)}]({place})"

        self.parts.append(spell)

    def figure(self, caption: str, image: Path) -> None:
        """Add an SVG: Markdown names the file, HTML holds it."""

        def spell(kind: str, folder: Path) -> str:
            if kind == "html":
                data = base64.b64encode(image.read_bytes()).decode()
                source = f"data:image/svg+xml;base64,{data}"
                said = escape(caption)
                shown = f'<img alt="{said}" src="{source}">'
                return f"<figure>{shown}<figcaption>{said}</figcaption></figure>"
            place = quote(image.relative_to(folder).as_posix())
            said = markdown(caption)
            return f"![{said}]({place})\n\n{said}."

        self.parts.append(spell)

    def render(self, kind: str, folder: Path) -> str:
        """The whole page, "markdown" or "html", for a file in that folder."""
        parts = [part(kind, folder) for part in self.parts]
        if kind == "markdown":
            return "\n\n".join([f"# {markdown(self.title)}", *parts]) + "\n"
        title = escape(self.title)
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
            f"<h1>{title}</h1>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
        )


def _html_row(cell: str, values: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(v)}</{cell}>" for v in values) + "</tr>"


Runs = Sequence[tuple[str, Trained]]
"""The name of each run's folder, numbered where several are equal, and the run."""

Figures = Iterable[tuple[str, str, "Figure"]]
"""(name of the file, what it shows, the figure)."""


@dataclass(frozen=True)
class Account:
    """What a kind of run has on the page that compares runs.

    Attributes:
        title: of the page.
        load: from a run's folder to the run.
        evaluate: what conclusion and tables are told of the runs.
        conclusion: add what stands on top.
        figures: what is drawn.
        tables: add what comes after the figures.
        more: add what comes last, files beside the page in the folder given.
    """

    title: str
    load: Callable[[str | Path], Trained]
    evaluate: Callable[[Runs], Any]
    conclusion: Callable[[Page, Runs, Any], None]
    figures: Callable[[Runs], Figures]
    tables: Callable[[Page, Runs, Any], None]
    more: Callable[[Page, Runs, Path], None] = lambda page, runs, folder: None

    def write(
        self,
        paths: Sequence[str | Path],
        out: str | Path,
        kind: str,
        progress: Callable[[str], None],
    ) -> Path:
        """Write the page and its figures (SVG) into a folder, whole or not at all.

        Raises:
            SettingError: no run, or a folder that holds none, or no such kind of page.
            MissingPart, DataError: data or checkpoints are missing or damaged.
        """
        if kind not in FORMATS:
            raise SettingError(f"format must be one of {', '.join(FORMATS)}, got {kind!r}")
        if not paths:
            raise SettingError("a report needs at least one run")
        runs: list[tuple[str, Trained]] = []
        for path, name in zip(paths, _names(paths), strict=True):
            progress(f"loading {path}")
            runs.append((name, self.load(path)))
        page, name = Page(self.title), f"report.{FORMATS[kind]}"
        with new_folder(out) as folder:
            progress("evaluating")
            found = self.evaluate(runs)
            self.conclusion(page, runs, found)
            remarks: dict[str, list[str]] = {}
            for label, trained in runs:
                for remark in trained.remarks:
                    remarks.setdefault(remark, []).append(label)
            for remark, labels in remarks.items():
                page.text(f"{', '.join(labels)}: {remark}")
            progress("drawing")
            (folder / "figures").mkdir()
            for name_of, caption, figure in self.figures(runs):
                progress(f"drawing {caption[0].lower()}{caption[1:]}")
                image = _free(folder / "figures", name_of)
                save(figure, image)
                page.figure(caption, image)
            self.tables(page, runs, found)
            self.more(page, runs, folder)
            save_text(folder / name, page.render(kind, folder))
        return Path(out) / name


def _free(folder: Path, name: str) -> Path:
    """An SVG of that name, cut to what every disk takes, numbered where there is one already."""
    cut = name.replace("/", "-").encode()[:LONGEST].decode(errors="ignore")
    image, number = folder / f"{cut}.svg", count(2)
    while image.exists():
        image = folder / f"{cut}-{next(number)}.svg"
    return image


def _names(paths: Sequence[str | Path]) -> list[str]:
    """The names of the folders as they are shown, numbered where they are equal."""
    plain = [shown(Path(path).absolute().name) for path in paths]
    twice = {name for name in plain if plain.count(name) > 1}
    names: list[str] = []
    for place, name in enumerate(plain, 1):
        tried = (f"{name}-{number}" for number in count(place))
        free = (one for one in tried if one not in {*plain, *names})
        names.append(next(free) if name in twice else name)
    return names
