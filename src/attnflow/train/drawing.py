"""Figures of training: curves over epochs, joint histograms, mosaics, theory over practice."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attnflow.palette import COLOURS, DASHES
from attnflow.plots.style import LABELS, WIDTHS, literal, new_figure, style
from attnflow.train.engine import Engine
from attnflow.train.evaluation import BINS, one_run
from attnflow.train.fixed_focus import Held
from attnflow.train.known_truth import RISE
from attnflow.train.outputs import read
from attnflow.train.theory import Fit, Practice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from attnflow.train.trained import Trained

LEGEND_LINE = 0.15
"""Height in inches of a line of a legend, which its figure must be higher by."""

ACROSS = 10
"""Most segments that a line of a mosaic shows."""
LINE, BETWEEN, MARGIN, PICTURE = 1.2, 0.35, 0.3, 0.88
"""Height of a line with its weights, what lies between inputs and left of them, and the side of a
picture, in the widths of a segment."""

TITLES = {**LABELS, "beta": r"class probability $\beta$", "focus_true": "focus true"}


class Panel(NamedTuple):
    """A panel of curves over epochs.

    Attributes:
        label: of its axis.
        lines: (set, or None for what rows themselves hold; name of the quantity) of each line.
        bounded: whether it lies from 0 to 1.
    """

    label: str
    lines: list[tuple[str | None, str]]
    bounded: bool = True


def learning(part: str) -> list[Panel]:
    """Focus, class probability, focus true and accuracy of a set."""
    names = ("alpha", "beta", "focus_true", "accuracy")
    return [Panel(TITLES.get(name, name), [(part, name)]) for name in names]


def over_epochs(
    runs: Sequence[tuple[str, list[dict[str, Any]]]], panels: Sequence[Panel]
) -> "Figure":
    """Quantities over epochs, one colour a run; of several lines in a panel, one dash a line.

    Args:
        runs: (label, rows of metrics) of each run.
        panels: two in a row.
    """
    from matplotlib.ticker import MaxNLocator

    with style():
        across = -(-len(panels) // 2)
        figure = new_figure(2, 1.3 + 0.9 * across + LEGEND_LINE * -(-len(runs) // 2))
        grid = figure.subplots(across, 2, sharex=True, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=True):
            for place, (label, rows) in enumerate(runs):
                _lines(axes, panel, place, label, rows)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.set_ylabel(panel.label)
            if panel.bounded:
                axes.set_ylim(0, 1.02)
            if len(panel.lines) > 1:
                axes.legend()
        for axes in grid[-2:]:
            axes.set_xlabel("epoch")
        figure.legend(
            *grid[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=min(2, len(runs)),
        )
    return figure


def _lines(axes: "Axes", panel: Panel, place: int, label: str, rows: list[dict[str, Any]]) -> None:
    """The lines of one run in a panel."""
    several = len(panel.lines) > 1
    for line, (part, name) in enumerate(panel.lines):
        used = [row for row in rows if part is None or part in row["sets"]]
        values = [row if part is None else row["sets"][part] for row in used]
        axes.plot(
            [row["epoch"] for row in used],
            [value.get(name, np.nan) for value in values],
            color=COLOURS[place % len(COLOURS)],
            linestyle=DASHES[(line if several else place) % len(DASHES)],
            marker="os^v"[line % 4] if len(used) == 1 else None,
            label=(part if place == 0 else None) if several else literal(label),
        )


def heat_maps(shares: Sequence[tuple[str, np.ndarray]]) -> "Figure":
    """Joint histograms of focus weight and class probability on the true segment, side by side."""
    with style():
        figure = new_figure(2, 2.2)
        panels = figure.subplots(1, len(shares), squeeze=False)[0]
        edges = np.linspace(0, 1, BINS + 1)
        middles = (edges[:-1] + edges[1:]) / 2
        for axes, (label, share) in zip(panels, shares, strict=True):
            axes.pcolormesh(edges, edges, share, cmap="Blues", vmin=0, vmax=1)
            for row, column in np.ndindex(share.shape):
                value = share[row, column]
                axes.text(
                    middles[column],
                    middles[row],
                    f"{100 * value:.0f}",
                    ha="center",
                    va="center",
                    color="white" if value > 0.5 else "black",
                )
            axes.set_aspect("equal")
            axes.set_xticks(edges, [f"{edge:.2g}" for edge in edges])
            axes.set_yticks(edges, [f"{edge:.2g}" for edge in edges])
            axes.grid(False)
            axes.set_title(literal(label))
            axes.set_xlabel(TITLES["beta"])
        panels[0].set_ylabel(f"{TITLES['alpha']}\n(percent of inputs)")
    return figure


def mosaics(trained: "Trained", part: str, count: int = 6, replica: int = 0) -> "Figure":
    """The first inputs of a set, with the weight on each segment; the true one is framed.

    Only for tasks whose segments are images.
    """
    engine: Engine = trained.engine
    inputs = engine.task.sets[part].at(np.arange(min(count, len(engine.task.sets[part]))))
    held = one_run(trained, replica)
    table = None
    if not engine.contextual:
        scores, logits = engine.score(trained.state)
        table = jnp.asarray(np.asarray(scores[replica])), jnp.asarray(np.asarray(logits[replica]))
    shown = jax.tree.map(jnp.asarray, inputs)
    found = read(engine, held, engine.base, shown, engine.run.replicas[replica], table)
    weights = np.exp(np.asarray(found.log_weights))
    with style():
        across = min(engine.task.segments, ACROSS)
        lines = -(-engine.task.segments // across)
        places = np.divmod(np.arange(engine.task.segments), across)  # line and column
        high = len(inputs) * (lines * LINE + BETWEEN)
        figure = new_figure(2, WIDTHS[2] * high / (across + MARGIN))
        axes = figure.subplots()
        axes.set(xlim=(-MARGIN, across), ylim=(high, 0), aspect="equal")
        axes.axis("off")
        for row, weight in enumerate(weights):
            truth = np.arange(len(weight)) == inputs.true[row]
            if inputs.truth is not None:
                truth = inputs.truth[row]
            top = row * (lines * LINE + BETWEEN) + BETWEEN
            label = engine.task.class_names[inputs.labels[row]] if engine.task.class_names else ""
            axes.text(-0.1, top + LINE / 2, literal(label), ha="right", va="center", rotation=90)
            for place, (line, column) in enumerate(zip(*places, strict=True)):
                item = np.asarray(engine.task.base[inputs.segments[row, place]]).squeeze()
                low = top + line * LINE + LINE - PICTURE
                box = (column + 0.5 - PICTURE / 2, column + 0.5 + PICTURE / 2)
                grey = "gray_r" if item.ndim == 2 else None
                axes.imshow(item, cmap=grey, extent=(*box, low + PICTURE, low))
                axes.text(
                    column + 0.5, low - 0.03, f"{weight[place]:.2f}", ha="center", va="bottom"
                )
                if truth[place]:
                    square = ((*box, *box[::-1], box[0]), low + PICTURE * np.array([0, 0, 1, 1, 0]))
                    axes.plot(*square, color=COLOURS[1], linewidth=2)
    return figure


def held(found: Sequence[Held]) -> "Figure":
    """Loss against epoch at each focus weight, and two ways to see what more focus gains.

    Below the loss: how much lower it is than that of the classifier at the next lower weight; and
    how much lower the loss of the same classifier is at a slightly higher weight. In the simple
    setting the closed form is a line under the measured points; for other networks
    it stands beside them, its time stretched by the best rate.
    """
    panels = [
        (one, kind) for one in found for kind in (("both",) if one.exact else ("run", "form"))
    ]
    with style():
        figure = new_figure(2, 5.4)
        grid = figure.subplots(3, len(panels), squeeze=False, sharex="col", sharey="row")
        for column, (one, kind) in zip(grid.T, panels, strict=True):
            curves = (
                (one.measured, one.theory),
                tuple(-np.diff(v, axis=0, prepend=np.nan) for v in (one.measured, one.theory)),
                (one.gain, one.theory_gain),
            )
            for axes, (measured, theory) in zip(column, curves, strict=True):
                _held_curves(axes, one, kind, measured, theory)
            title = literal(one.label) if kind != "form" else f"closed form, rate {one.rate:.2g}"
            column[0].set_title(
                title.replace(", seed", "\nseed").replace(", rate", "\nrate", kind == "form")
            )
            column[-1].set_xlabel("epoch")
        grid[0][0].set_ylabel("loss (nats)")
        grid[1][0].set_ylabel("gain over the next\nlower weight (nats)")
        grid[2][0].set_ylabel(f"gain of the same by\n{RISE:g} more weight (nats)")
        figure.legend(
            *grid[0][0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=len(found[0].alphas),
        )
    return figure


def _held_curves(axes: Any, one: Held, kind: str, measured: Any, theory: Any) -> None:
    for place, alpha in enumerate(one.alphas):
        look: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)]}
        if len(one.epochs) == 1:  # of which no line is seen
            look |= {"marker": "o", "markersize": 3}
        label = rf"$\alpha$ = {alpha:g}"
        there = np.isfinite(measured[place])
        points = one.epochs[there], measured[place][there]
        if kind == "run":
            axes.plot(*points, label=label, **look)
            continue
        dash = DASHES[place % len(DASHES)]
        axes.plot(one.epochs, theory[place], linestyle=dash, label=label, **look)
        if kind == "both":
            axes.plot(
                *points, **{**look, "linestyle": "", "marker": "o", "markersize": 2}, markevery=0.05
            )


def fitted(found: Fit) -> "Figure":
    """Measured focus weight and class probability as points, the fitted model as lines."""
    with style():
        figure = new_figure(2, 2.4)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, name in zip(panels, found.measured, strict=True):
            axes.plot(
                found.times, found.measured[name], "o", color=COLOURS[1], markersize=4, label="run"
            )
            axes.plot(
                found.curves["times"], found.curves[name], color=COLOURS[0], label="reduced model"
            )
            axes.set_xlabel("time t")
            axes.set_ylim(0, 1.02)
            axes.set_title(f"{TITLES[name]}: {found.distance[name]:.2g} apart (rms)")
        panels[-1].legend(loc="best")
    return figure


def practice(found: Practice) -> "Figure":
    """Measured quantities as points, closed form as lines, the largest distance in the title."""
    with style():
        moving = [name for name in found.measured if np.ptp(found.theory[name]) > 0]
        names = moving or list(found.measured)  # a single time shows no motion
        figure = new_figure(2, 2.2)
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            axes.plot(
                found.times,
                found.measured[name],
                "o",
                color=COLOURS[1],
                markersize=4,
                markevery=0.05 if len(found.times) > 15 else 1,
                label="trained",
            )
            axes.plot(found.times, found.theory[name], color=COLOURS[0], label="closed form")
            apart = f"apart by {found.deviation[name]:.1e}"
            if found.corrected is not None and found.remaining is not None:
                label = "corrected for steps"
                axes.plot(found.times, found.corrected[name], ":", color=COLOURS[2], label=label)
                apart += f"\ncorrected {found.remaining[name]:.1e}"
            axes.set_xlabel("time t")
            axes.set_title(f"{TITLES.get(name, name)}\n{apart}")
        lines = panels[0].get_legend_handles_labels()
        figure.legend(*lines, loc="outside upper center", ncols=3)
    return figure
