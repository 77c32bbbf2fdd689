"""Paper-ready figures of a comparison, drawn from its dataset alone.

A closed form is a line, a simulation hollow markers, descent filled dots, all of one paradigm in
one colour (Okabe and Ito's, told apart by colour-blind readers) with its own dash pattern and
marker, so that figures also read in grey. The same dataset gives the same bytes, whatever the
user's matplotlib settings, which stay untouched.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from attnflow.errors import SettingError
from attnflow.plots import panels
from attnflow.plots.style import (
    FORMATS,
    LABELS,
    WIDTHS,
    format_of,
    handles,
    laid_out,
    looks_of,
    save,
    style,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = ("mu", "nu", "alpha", "loss", "overview", "phase", "error")
"""What can be drawn."""


def draw(
    dataset: "xr.Dataset",
    name: str,
    path: str | os.PathLike[str] | None = None,
    *,
    log_time: bool = False,
    columns: int | None = None,
    paradigm: str | None = None,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw one figure of a comparison and, if a path is given, write it.

    Args:
        dataset: what ``compare`` returned, or the same read from its file.
        name: "mu", "nu", "alpha" or "loss" (over time), "overview" (these four), "phase" (orbits
            in the plane of mu and nu, with level curves of the first integral) or "error" (largest
            deviation from the closed form over time).
        path: file to write, .pdf, .svg or .png; equal datasets give equal bytes.
        log_time: whether time (and with it the loss) is on a logarithmic axis.
        columns: width in columns of a paper, 1 or 2; 2 for an overview or several phase planes.
        paradigm: for "phase", the only paradigm to draw; all that have a first integral if None.
        ax: Axes of the caller's to draw into, in the caller's style; None for a figure of its own.
            "overview" makes a grid of two by two, "phase" one of a panel for each paradigm.

    Returns:
        The matplotlib Figure.

    Raises:
        SettingError: an argument is not what is allowed, or the file cannot be written.
    """
    _check(dataset, name, columns, paradigm)
    if path is not None:
        format_of(path)
    if ax is not None:
        _into(ax, dataset, name, log_time, paradigm)
        whole = cast("Figure", ax.figure.figure)  # of a part of a figure the whole one
        if path is not None:
            save(whole, Path(path))
        return whole
    with style():
        if name == "overview":
            figure = panels.overview(dataset, log_time, columns or 2)
        elif name == "phase":
            figure = panels.phase(dataset, paradigm, columns)
        elif name == "error":
            figure = panels.error(dataset, log_time, columns or 1)
        else:
            figure = panels.single(dataset, name, log_time, columns or 1)
        if path is not None:
            with laid_out(figure):
                save(figure, Path(path))
    return figure


def _check(dataset: "xr.Dataset", name: str, columns: int | None, paradigm: str | None) -> None:
    """Refuse what cannot be drawn."""
    if name not in FIGURES:
        raise SettingError(f"figure must be one of {', '.join(FIGURES)}, got {name!r}")
    if columns not in (None, *WIDTHS):
        raise SettingError(f"columns must be 1 or 2, got {columns!r}")
    known = [str(p) for p in dataset["paradigm"].values]
    if paradigm is not None and name != "phase":
        raise SettingError(f"paradigm is for the figure 'phase' only, got it for {name!r}")
    if paradigm is not None and paradigm not in known:
        raise SettingError(f"paradigm must be one of {', '.join(known)}, got {paradigm!r}")


def _into(
    ax: "Axes", dataset: "xr.Dataset", name: str, log_time: bool, paradigm: str | None
) -> None:
    """Draw a figure of one panel into given axes."""
    if name == "overview":
        raise SettingError("the figure 'overview' is a grid of two by two: draw it without ax")
    looks = looks_of(dataset)
    if name == "phase":
        found = panels.planes(dataset, paradigm)
        if len(found) != 1:
            raise SettingError(
                f"the figure 'phase' of {len(found)} paradigms is a grid: with ax, name the "
                "paradigm to draw"
            )
        panels.plane(ax, dataset, found[0])
        ax.set_ylabel(LABELS["nu"])
    elif name == "error":
        panels.deviations(ax, dataset, log_time)
    else:
        panels.over_time(ax, dataset, name, log_time)
    ax.legend(handles=handles(dataset, looks))


def draw_all(
    dataset: "xr.Dataset",
    folder: str | os.PathLike[str],
    formats: Iterable[str] = FORMATS,
    *,
    log_time: bool = False,
    names: Sequence[str] = FIGURES,
) -> list[Path]:
    """Draw every figure that the dataset has data for into a folder, in each format.

    Args:
        dataset: what ``compare`` returned, or the same read from its file.
        folder: where ``mu.pdf`` and the others go; made where it is missing.
        formats: from "pdf", "svg" and "png".
        log_time: whether time is on a logarithmic axis.
        names: which figures.

    Returns:
        The paths written. "error" is left out where only one method was computed.

    Raises:
        SettingError: an argument is not what is allowed, or a file cannot be written.
    """
    endings = list(formats)
    for ending in endings:
        if ending not in FORMATS:
            raise SettingError(f"formats must be from {', '.join(FORMATS)}, got {ending!r}")
    paths = []
    for name in names:
        if name == "error" and not panels.compared(dataset):
            continue
        figure = draw(dataset, name, log_time=log_time)
        with style(), laid_out(figure):
            for ending in endings:
                path = Path(folder) / f"{name}.{ending}"
                save(figure, path)
                paths.append(path)
    return paths
