"""How figures look: sizes, colours, axes, legend, and files with the same bytes every time."""

import io
import json
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from attnflow.errors import SettingError, escaped
from attnflow.files import atomic
from attnflow.palette import COLOURS, DASHES, MARKERS

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")

WIDTHS = {1: 3.25, 2: 6.75}
"""Width in inches of a figure over one and over two columns of a paper."""

LABELS = {
    "mu": r"classifier margin $\mu$",
    "nu": r"focus score $\nu$",
    "alpha": r"focus weight $\alpha$",
    "loss": r"loss $L$ (nats)",
}
TIME_LABEL = r"time $t$ = step $\times$ learning rate"

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so the same everywhere
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.6,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.use_mathtext": True,
    "mathtext.fontset": "dejavusans",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "attnflow",
}

RESOLUTION = 300
"""Dots per inch of a PNG."""

METADATA = {
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": "attnflow"},
    "svg": {"Date": None, "Creator": "attnflow"},
    "png": {"Software": "attnflow"},
}


@dataclass(frozen=True)
class Look:
    """How one paradigm is drawn."""

    label: str
    title: str
    colour: str
    dash: Any
    marker: str
    order: int


def style() -> AbstractContextManager[Any]:
    """Defaults of matplotlib with our style on top; the user's settings come back on leaving."""
    import matplotlib.style

    return matplotlib.style.context(["default", STYLE])


def new_figure(columns: int, height: float) -> "Figure":
    """An empty figure of so many columns of a paper, and so many inches high."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTHS[columns], height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def laid_out(figure: "Figure") -> Iterator[None]:
    """Axes and legend placed once: in the block every format has the same places and repeats none.

    Only the power of ten at an axis' end is mathematical type: to parse it at each tick takes long.
    """
    from matplotlib.ticker import ScalarFormatter

    class PlainTicks(ScalarFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return super().__call__(x, pos).replace(r"$\mathdefault{", "").replace("}$", "")

    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if type(axis.get_major_formatter()) is ScalarFormatter:
            axis.set_major_formatter(PlainTicks())
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    yield
    figure.set_layout_engine(layout)


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a path's ending asks for.

    Raises:
        SettingError: none of ours.
    """
    ending = Path(path).suffix.removeprefix(".").lower()
    if ending not in FORMATS:
        raise SettingError(f"path must end in .{', .'.join(FORMATS)}, got {str(path)!r}")
    return ending


def save(figure: "Figure", path: Path) -> None:
    """Write a figure, whole or not at all, without date or version in it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    ending = format_of(path)
    canvas, resolution = figure.canvas, figure.dpi
    whole = io.BytesIO()  # what draws a PDF raises errors of its own where a disk is full
    with atomic(path) as temporary:
        try:  # by the canvas: savefig would draw everything once more, to lay it out
            if ending == "pdf":
                FigureCanvasPdf(figure).print_pdf(whole, metadata=METADATA[ending])
            elif ending == "svg":
                FigureCanvasSVG(figure).print_svg(whole, metadata=METADATA[ending])
            else:
                figure.dpi = RESOLUTION
                FigureCanvasAgg(figure).print_png(whole, metadata=METADATA[ending])
        finally:
            figure.dpi = resolution
            figure.set_canvas(canvas)
        temporary.write_bytes(whole.getvalue())


def looks_of(dataset: "xr.Dataset") -> list[Look]:
    """Colour, dashes and marker of each paradigm, by its place in the dataset."""
    looks = []
    for n, (label, title) in enumerate(
        zip(dataset["paradigm"].values, dataset["title"].values, strict=True)
    ):
        looks.append(
            Look(
                str(label),
                str(title),
                COLOURS[n % len(COLOURS)],
                DASHES[n % len(DASHES)],
                MARKERS[n % len(MARKERS)],
                n,
            )
        )
    return looks


def methods_of(dataset: "xr.Dataset") -> list[str]:
    """The methods of a dataset, in order."""
    return [str(m) for m in dataset["method"].values]


def curve(dataset: "xr.Dataset", name: str, label: str, method: str) -> Float[np.ndarray, " time"]:
    """One curve over time, NaN where the method was not computed."""
    return dataset[name].sel({"paradigm": label, "method": method}).values


def seen(values: np.ndarray, log: bool) -> np.ndarray:
    """Places along a linear or logarithmic axis; NaN where a logarithmic axis has no place."""
    if not log:
        return np.asarray(values)
    return np.log(np.where(values > 0, values, np.nan))


def sparse(
    x: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " points"],
    order: int,
    of: int,
    count: int = 12,
) -> np.ndarray:
    """Indices of about ``count`` points spread evenly along a curve as it is seen.

    Args:
        x: places along the horizontal axis; points with NaN are left out.
        y: places along the vertical axis.
        order: which of the curves this is: each is shifted by its part of the spacing, so that the
            markers of coinciding curves stand side by side.
        of: how many curves there are.
        count: how many points, where there are enough.
    """
    usable = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if usable.size == 0:
        return usable
    x, y = x[usable], y[usable]
    steps = [np.diff(v) / (np.ptp(v) or 1.0) for v in (x, y)]
    path = np.concatenate([[0.0], np.cumsum(np.hypot(*steps))])
    wanted = path[-1] * (np.arange(count) + (order + 0.5) / of) / count
    nearest = np.abs(path[None, :] - wanted[:, None]).argmin(axis=1)
    return usable[np.unique(nearest)]


def plot_curve(
    axes: "Axes",
    look: Look,
    method: str,
    reference: str,
    x: np.ndarray,
    y: np.ndarray,
    marked: np.ndarray,
) -> None:
    """One curve in the manner of its method; the reference method is a line, whatever it is."""
    if method == reference:
        # earlier curves are wider, so that they show beside later ones that cover them
        width = max(2.0 - 0.35 * look.order, 1.1)
        axes.plot(
            x,
            y,
            color=look.colour,
            linestyle=look.dash,
            linewidth=width,
            zorder=3 + look.order / 10,
        )
    elif method == "finite steps":
        axes.plot(x, y, color=look.colour, linestyle=":", linewidth=1.0, zorder=3.9)
    if method not in ("closed form", "finite steps"):
        hollow = method == "simulation"
        axes.plot(
            x[marked],
            y[marked],
            linestyle="none",
            marker=look.marker,
            markersize=3.8 if hollow else 2.0,
            markerfacecolor="white" if hollow else look.colour,
            markeredgecolor=look.colour,
            markeredgewidth=0.8,
            clip_on=False,
            zorder=4 + look.order / 10,
        )


def time_axis(axes: "Axes", times: np.ndarray, log: bool) -> None:
    """The horizontal axis for time, from 0 or, logarithmic, from the first positive time."""
    axes.set_xlabel(TIME_LABEL)
    low, high = (times[times > 0][0] if log else 0.0), times[-1]
    if low == high:  # there is one time
        low, high = (low / 10, high * 10) if log else (0.0, 1.0)
    if log:
        axes.set_xscale("log")
        decades(axes.xaxis, low, high)
    axes.set_xlim(low, high)


def decades(axis: Any, low: float, high: float, most: int = 6) -> None:
    """Ticks at whole powers of ten, thinned where there are many, minor ones at the others."""
    from matplotlib.ticker import LogLocator, NullFormatter

    span = max(math.log10(high / low), 1.0)
    every = max(1, math.ceil(span / most))
    axis.set_major_locator(LogLocator(base=10.0**every, numticks=most + 2))
    axis.set_minor_locator(
        LogLocator(base=10.0, subs=(1.0,) if every > 1 else tuple(range(2, 10)), numticks=100)
    )
    axis.set_minor_formatter(NullFormatter())


def literal(text: str) -> str:
    """A text of the user's as figures take it: what is not seen escaped, no dollar for formulas."""
    return escaped(text, keep="\n\u200c\u200d").replace("$", r"\$")


def handles(dataset: "xr.Dataset", looks: list[Look]) -> list[Any]:
    """A line for each paradigm, as a legend shows it."""
    from matplotlib.lines import Line2D

    marked = any(method not in ("closed form", "finite steps") for method in methods_of(dataset))
    return [
        Line2D(
            [],
            [],
            color=look.colour,
            linestyle=look.dash,
            linewidth=1.4,
            marker=look.marker if marked else "",
            markerfacecolor="white",
            markersize=3.8,
            markeredgewidth=0.8,
            label=literal(look.title),
        )
        for look in looks
    ]


def legend(figure: "Figure", dataset: "xr.Dataset", looks: list[Look]) -> None:
    """Above the axes: the setting, what lines and markers mean, a handle for each paradigm."""
    drawn = methods_of(dataset)
    width = figure.get_size_inches()[0]
    how = ", ".join(f"{_SHAPES[method]}: {method}" for method in drawn)
    text = _setting_text(dataset)
    if len(drawn) > 1:
        text += ("\n" if 0.05 * len(f"{text} {how}") > width else "    ") + how
    above = figure.legend(
        handles=handles(dataset, looks),
        loc="outside upper center",
        ncols=_columns([look.title for look in looks], width),
        title=text,
        alignment="center",
    )
    above.get_title().set_multialignment("center")


_SHAPES = {
    "closed form": "line",
    "simulation": "hollow markers",
    "finite steps": "thin dotted line",
    "descent": "dots",
}


def _columns(titles: list[str], width: float) -> int:
    """The most columns with which a legend of these titles fits into a width in inches."""
    for count in range(len(titles), 1, -1):
        # matplotlib fills column by column, the first ones fullest; a handle takes 0.5 inches
        rows = [len(titles) // count + (n < len(titles) % count) for n in range(count)]
        ends = np.cumsum(rows)
        longest = [max(map(len, titles[e - r : e])) for e, r in zip(ends, rows, strict=True)]
        if sum(0.5 + 0.052 * n for n in longest) <= width:
            return count
    return 1


def _setting_text(dataset: "xr.Dataset") -> str:
    """The setting, in the paper's letters, with only what differs from the simple one."""
    setting = json.loads(dataset.attrs["setting"])
    simple = {
        "foreground_segments": ("k", 1),
        "foreground_norm": ("r", 1),
        "background_norm": ("s", 0),
        "focus_rate": (r"\eta_f", 1),
        "classifier_rate": (r"\eta_c", 1),
        "decay": (r"\lambda_w", 0),
    }
    letters = [("m", setting["segments"]), ("C", setting["classes"])]
    letters += [
        (letter, setting[k])
        for k, (letter, usual) in simple.items()
        if setting.get(k, usual) != usual
    ]
    mu0, nu0 = (float(v) for v in dataset.attrs["initial"])
    letters += [(letter, v) for letter, v in ((r"\mu_0", mu0), (r"\nu_0", nu0)) if v != 0]
    return ", ".join(f"${letter} = {value:g}$" for letter, value in letters)
