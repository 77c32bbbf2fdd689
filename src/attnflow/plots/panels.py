"""What is drawn: curves over time, the phase plane, deviations over time."""

import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from attnflow.errors import SettingError
from attnflow.plots.style import (
    LABELS,
    Look,
    curve,
    decades,
    legend,
    literal,
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


def planes(dataset: "xr.Dataset", paradigm: str | None) -> list[Look]:
    """What has a plane of its own: the paradigm named, or all that have a first integral."""
    looks = looks_of(dataset)
    if paradigm is not None:
        return [look for look in looks if look.label == paradigm]
    return [look for look in looks if _plane(dataset, look.label) is not None] or looks[:1]


def plane(axes: "Axes", dataset: "xr.Dataset", own: Look) -> None:
    """One paradigm's orbit over the level curves of its first integral, into given axes."""
    _levels(axes, dataset, own.label)
    looks = looks_of(dataset)
    for look in looks:
        _orbit(axes, dataset, look, len(looks), faint=look != own)
    told = dataset["first_integral"].attrs
    axes.set(xlabel=LABELS["mu"], xlim=_ends(told["mu_grid"]), ylim=_ends(told["nu_grid"]))
    axes.grid(False)


def _plane(dataset: "xr.Dataset", label: str) -> Float[np.ndarray, "nu mu"] | None:
    """The first integral over the grids of nu and mu; None where there is none."""
    told = dataset["first_integral"].attrs
    by_nu = np.asarray(told["level_nu"])
    by_mu = np.reshape(told["level_mu"], (-1, by_nu.size))
    level = by_nu[:, None] + by_mu[list(dataset["paradigm"].values).index(label)]
    return level if np.isfinite(level).all() else None


def phase(dataset: "xr.Dataset", paradigm: str | None, columns: int | None) -> "Figure":
    """Orbits in the plane of mu and nu over the level curves of the first integral.

    One panel for each paradigm that has a first integral, or one for the paradigm named; the other
    orbits are thin lines in each.
    """
    looks = looks_of(dataset)
    panels = planes(dataset, paradigm)
    columns = columns or (1 if len(panels) == 1 else 2)
    across = min(len(panels), 3)
    down = math.ceil(len(panels) / across)
    figure = new_figure(columns, (2.9 if len(panels) == 1 else 2.75) + 1.9 * (down - 1))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, own in zip(grid.flat, panels, strict=False):
        plane(axes, dataset, own)
        if len(panels) > 1:
            axes.set_title(f"levels of {literal(own.title)}")
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
    level = _plane(dataset, label)
    if level is None:
        return
    # from the lower right corner along the edge to the lower left, then up to the upper left
    edge = np.concatenate([level[0, ::-1][::10], level[10:-1:10, 0]])
    own = curve(
        dataset, "first_integral", label, str(dataset["reference"].sel(paradigm=label).item())
    )
    values = np.unique(np.concatenate([edge[np.isfinite(edge)], own[:1]]))
    axes.contour(
        dataset["first_integral"].attrs["mu_grid"],
        dataset["first_integral"].attrs["nu_grid"],
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
    """A figure of ``deviations``."""
    figure = new_figure(columns, 2.75)
    deviations(figure.subplots(), dataset, log_time)
    legend(figure, dataset, looks_of(dataset))
    return figure


def deviations(axes: "Axes", dataset: "xr.Dataset", log_time: bool) -> None:
    """The largest deviation over all quantities, over time, of all but the reference method.

    Raises:
        SettingError: only one method was computed.
    """
    if not compared(dataset):
        raise SettingError(
            "the figure 'error' must have two methods to compare, got only "
            + ", ".join(methods_of(dataset))
        )
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
