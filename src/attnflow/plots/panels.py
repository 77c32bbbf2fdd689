"""What is drawn: curves over time, the phase plane, deviations over time."""

import math
from typing import TYPE_CHECKING

import numpy as np

from attnflow.errors import SettingError
from attnflow.plots.style import (
    LABELS,
    Look,
    curve,
    decades,
    legend,
    looks_of,
    methods_of,
    new_figure,
    plot_curve,
    seen,
    sparse,
    time_axis,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def over_time(axes: "Axes", dataset: "xr.Dataset", name: str, log_time: bool) -> None:
    """One quantity of all paradigms by all methods over time, into given axes."""
    times = dataset["time"].values
    looks = looks_of(dataset)
    log_value = name == "loss" and log_time
    for look in looks:
        reference = str(dataset["reference"].sel(paradigm=look.label).item())
        shown = curve(dataset, name, look.label, reference)
        marked = sparse(seen(times, log_time), seen(shown, log_value), look.order, len(looks))
        for method in methods_of(dataset):
            plot_curve(
                axes,
                look,
                method,
                reference,
                times,
                curve(dataset, name, look.label, method),
                marked,
            )
    time_axis(axes, times, log_time)
    axes.set_ylabel(LABELS[name])
    if name == "alpha":
        axes.set_ylim(0.0, 1.03)
    elif log_value:
        axes.set_yscale("log")
        values = dataset["loss"].values
        values = values[np.isfinite(values) & (values > 0)]
        if values.size:
            decades(axes.yaxis, values.min(), values.max())


def single(dataset: "xr.Dataset", name: str, log_time: bool, columns: int) -> "Figure":
    """One quantity over time."""
    figure = new_figure(columns, 2.75)
    over_time(figure.subplots(), dataset, name, log_time)
    legend(figure, dataset, looks_of(dataset))
    return figure


def overview(dataset: "xr.Dataset", log_time: bool, columns: int) -> "Figure":
    """mu, nu, alpha and loss over time, two by two."""
    figure = new_figure(columns, 4.6 if columns == 2 else 4.2)
    panels = figure.subplots(2, 2, sharex=True)
    for axes, name in zip(panels.flat, ("mu", "nu", "alpha", "loss"), strict=True):
        over_time(axes, dataset, name, log_time)
    for axes in panels[0]:
        axes.set_xlabel("")
    if columns == 1:
        for axes in panels[1]:
            axes.set_xlabel("time $t$")
    legend(figure, dataset, looks_of(dataset))
    return figure


def phase(dataset: "xr.Dataset", paradigm: str | None, columns: int | None) -> "Figure":
    """Orbits in the plane of mu and nu over the level curves of the first integral.

    One panel for each paradigm that has a first integral, or one for the paradigm named; the other
    orbits are thin lines in each.
    """
    looks = looks_of(dataset)
    has_levels = [bool(np.isfinite(row).all()) for row in dataset["level_mu"].values]
    if paradigm is not None:
        panels = [look for look in looks if look.label == paradigm]
    else:
        panels = [look for look, has in zip(looks, has_levels, strict=True) if has] or looks[:1]
    columns = columns or (1 if len(panels) == 1 else 2)
    across = min(len(panels), 3)
    down = math.ceil(len(panels) / across)
    figure = new_figure(columns, (2.9 if len(panels) == 1 else 2.75) + 1.9 * (down - 1))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, own in zip(grid.flat, panels, strict=False):
        _levels(axes, dataset, own.label)
        for look in looks:
            _orbit(axes, dataset, look, len(looks), faint=look != own)
        axes.set_xlabel(LABELS["mu"])
        if len(panels) > 1:
            axes.set_title(f"levels of {own.title}" if has_levels[own.order] else own.title)
        axes.set_xlim(*_ends(dataset["mu_grid"].values))
        axes.set_ylim(*_ends(dataset["nu_grid"].values))
        axes.grid(False)
    for row in grid:
        row[0].set_ylabel(LABELS["nu"])
    legend(figure, dataset, looks)
    return figure


def _ends(grid: np.ndarray) -> tuple[float, float]:
    return float(grid[0]), float(grid[-1])


def _levels(axes: "Axes", dataset: "xr.Dataset", label: str) -> None:
    """Level curves of the first integral: through evenly spaced points of the plane's diagonal.

    Its values grow like e^nu and e^mu, so evenly spaced values would crowd in one corner.
    """
    part_mu = dataset["level_mu"].sel(paradigm=label).values
    part_nu = dataset["level_nu"].values
    if not (np.isfinite(part_mu).all() and np.isfinite(part_nu).all()):
        return
    level = part_nu[:, None] + part_mu[None, :]
    # from the lower right corner along the edge to the lower left, then up to the upper left
    edge = np.concatenate([level[0, ::-1][::10], level[10:-1:10, 0]])
    own = curve(
        dataset, "first_integral", label, str(dataset["reference"].sel(paradigm=label).item())
    )
    values = np.unique(np.concatenate([edge[np.isfinite(edge)], own[:1]]))
    axes.contour(
        dataset["mu_grid"].values,
        dataset["nu_grid"].values,
        level,
        levels=values,
        colors="#b8b8b8",
        linewidths=0.5,
        linestyles="-",
        zorder=1,
    )


def _orbit(axes: "Axes", dataset: "xr.Dataset", look: Look, of: int, faint: bool) -> None:
    reference = str(dataset["reference"].sel(paradigm=look.label).item())
    for method in methods_of(dataset):
        mu, nu = (curve(dataset, name, look.label, method) for name in ("mu", "nu"))
        if faint:
            if method == reference:
                axes.plot(mu, nu, color=look.colour, linestyle=look.dash, linewidth=0.8, zorder=2)
            continue
        marked = sparse(mu, nu, look.order, of)
        plot_curve(axes, look, method, reference, mu, nu, marked)


def compared(dataset: "xr.Dataset") -> bool:
    """Whether any paradigm was computed by two methods."""
    return bool((dataset["computed"].values.sum(axis=1) > 1).any())


def error(dataset: "xr.Dataset", log_time: bool, columns: int) -> "Figure":
    """The largest deviation over all quantities, over time, of all but the reference method.

    Raises:
        SettingError: only one method was computed.
    """
    if not compared(dataset):
        raise SettingError(
            "the figure 'error' must have two methods to compare, got only "
            + ", ".join(methods_of(dataset))
        )
    figure = new_figure(columns, 2.75)
    axes = figure.subplots()
    times, looks = dataset["time"].values, looks_of(dataset)
    rounding = np.finfo(np.float64).eps / 2
    for look in looks:
        row = dataset.sel(paradigm=look.label)
        marked = sparse(seen(times, log_time), np.zeros(times.size), look.order, len(looks))
        for method in methods_of(dataset):
            computed = bool(row["computed"].sel({"method": method}))
            if method == str(row["reference"].item()) or not computed:
                continue
            worst = row["deviation"].sel({"method": method}).max("quantity", skipna=False).values
            shown = np.maximum(worst, rounding)  # an exact zero has no place on this axis
            axes.plot(times, shown, color=look.colour, linestyle=look.dash, linewidth=1.0, zorder=3)
            plot_curve(axes, look, method, "", times, shown, marked)
    axes.set_yscale("log")
    axes.axhline(dataset.attrs["tolerance"], color="#555555", linewidth=0.8, zorder=2)
    axes.annotate(
        "tolerance",
        (1.0, dataset.attrs["tolerance"]),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=6.5,
        color="#555555",
    )
    top = max(axes.get_ylim()[1], 10 * dataset.attrs["tolerance"])
    axes.set_ylim(rounding, top)
    decades(axes.yaxis, rounding, top)
    axes.set_ylabel("largest deviation from reference")
    time_axis(axes, times, log_time)
    legend(figure, dataset, looks)
    return figure
