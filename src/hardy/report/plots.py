"""Figures, the only place that draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hardy.describe import require
from hardy.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours: distinct for colour-blind readers too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")

_DASHES = ("-", "--", ":", "-.")  # a line's, where all colours have been used
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")  # points differ in grey print, too

FORMATS = ("png", "svg", "pdf", "eps", "jpg", "jpeg", "tif", "tiff", "webp")  # endings of pictures


def format_of(path: Path) -> str:
    """The format that a path's ending chooses; PNG where it has none. Raises: UsageError for one that is none of FORMATS."""
    ending = path.suffix.removeprefix(".").lower() or "png"
    require(ending in FORMATS, "the ending of a picture's name", path.suffix, f"one of {', '.join(FORMATS)}")
    return ending


def panels(path: Path, rows: Sequence[Sequence[tuple[str, npt.NDArray[Any]] | None]]) -> None:
    """A grid of images, each (title, (H, W, 3) or (H, W) in [0, 1]), or None for a gap; the path's ending is its format."""
    from matplotlib.figure import Figure

    wide, high = max(map(len, rows)), len(rows)
    figure = Figure(figsize=(1.9 * wide, 2.15 * high), layout="constrained")
    axes = figure.subplots(high, wide, squeeze=False)
    for i, row in enumerate(rows):
        for j in range(wide):
            axes[i, j].axis("off")
            cell = row[j] if j < len(row) else None
            if cell is not None:
                title, image = cell
                axes[i, j].imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                axes[i, j].set_title(title, fontsize=9)
    save(path, figure)


def curves(
    path: Path,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    title: str = "",
) -> None:
    """Lines of (x, y) values, each named beside its end, with labelled axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for colour, (name, (xs, ys)) in zip(COLOURS, lines.items(), strict=False):
        axes.plot(xs, ys, color=colour, linewidth=1.6, label=name)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))  # beside the lines, never over them
    save(path, figure)


class Point(NamedTuple):
    """A value and its interval, where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Panel:
    """Lines of points in one pair of axes. ticks: where on the x axis there are numbers; left out, where matplotlib likes."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Sequence[Point]]
    ticks: Sequence[float] | None = None


def bands(path: Path, drawn: Sequence[Panel], *, title: str = "", share_y: bool = True) -> None:
    """Panels side by side; each line with a band for its intervals. A line of the same name looks the same in all of them.

    Values are at least 0, where the y axes begin.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for panel in drawn for name in panel.lines))
    beside = _names_beside(names, len(drawn))
    size = (max(6.0, 4.4 * len(drawn)), 4.0 + 0.22 * -(-len(names) // beside))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    axes = figure.subplots(1, len(drawn), squeeze=False)[0]
    tops = [_top(panel) for panel in drawn]
    for place, panel, top in zip(axes, drawn, tops, strict=True):
        for name, points in panel.lines.items():
            _band(place, names.index(name), len(names), name, sorted(points))
        place.set_title(panel.title, fontsize=10, loc="left")
        place.set_xlabel(panel.x_label)
        place.set_ylim(0, max(tops) if share_y else top)
        if place is axes[0] or not share_y:
            place.set_ylabel(panel.y_label)
        if panel.ticks is not None:
            place.set_xticks(panel.ticks, [f"{tick:g}" for tick in panel.ticks])
        elif all(point.x == int(point.x) for points in panel.lines.values() for point in points):
            place.xaxis.get_major_locator().set_params(integer=True)
        place.grid(visible=True, alpha=0.3)
        place.spines[["top", "right"]].set_visible(False)
    labelled = {label: line for place in axes for line, label in zip(*place.get_legend_handles_labels(), strict=True)}
    # below the axes, never over the lines
    figure.legend(
        labelled.values(), labelled.keys(), loc="outside lower center", ncols=beside, frameon=False, fontsize=9
    )
    save(path, figure)


def _top(panel: Panel) -> float:
    """Where a y axis that begins at 0 ends."""
    values = [value for points in panel.lines.values() for point in points for value in (point.y, point.high) if value]
    return 1.05 * max(values, default=1.0)


def _names_beside(names: Sequence[str], wide: int) -> int:
    """How many names of a legend stand beside each other below so many panels."""
    letters = 60 * max(1.4, wide)
    return max(1, min(len(names), int(letters // (max(map(len, names)) + 8))))


def _band(axes: "Axes", number: int, of: int, name: str, points: Sequence[Point]) -> None:
    """The number-th of so many lines. Earlier ones are wider, and show beside later ones that cover them."""
    colour, dash = COLOURS[number % len(COLOURS)], _DASHES[number // len(COLOURS) % len(_DASHES)]
    wider = 1 - (number + 1) / of
    xs, mark = [point.x for point in points], _MARKS[number % len(_MARKS)]
    axes.plot(
        xs, [point.y for point in points], color=colour, linestyle=dash, linewidth=1.4 + 1.8 * wider, marker=mark,
        markersize=4 + 3 * wider, label=name, clip_on=False, zorder=3,  # a point at 0 is shown whole
    )  # fmt: skip
    lows = [point.y if point.low is None else point.low for point in points]
    highs = [point.y if point.high is None else point.high for point in points]
    axes.fill_between(xs, lows, highs, color=colour, alpha=min(0.15, 0.4 / of), linewidth=0)


@dataclass(frozen=True)
class HeatMap:
    """Values over two scales. values: (len(ys), len(xs)). marked: points, each with a word."""

    title: str
    xs: Sequence[float]
    ys: Sequence[float]
    values: npt.NDArray[Any]
    marked: Mapping[str, tuple[float, float]]


def heat_maps(
    path: Path, drawn: Sequence[HeatMap], *, x_label: str, y_label: str, value_label: str, title: str = ""
) -> None:
    """Heat maps side by side with contour lines and one colour scale: equal colours are equal values."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    low, high = (float(bound) for bound in (min(m.values.min() for m in drawn), max(m.values.max() for m in drawn)))
    levels = MaxNLocator(16).tick_values(low, high)  # round numbers
    figure = Figure(figsize=(1.4 + 4.0 * len(drawn), 4.2), layout="constrained")
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    axes = figure.subplots(1, len(drawn), squeeze=False, sharey=True)[0]
    for place, panel in zip(axes, drawn, strict=True):
        filled = place.contourf(panel.xs, panel.ys, panel.values, levels=levels, cmap="viridis")
        place.contour(panel.xs, panel.ys, panel.values, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
        for word, (x, y) in panel.marked.items():
            place.plot(x, y, "o", color="white", markersize=5, markeredgecolor="black")
            place.annotate(
                word, (x, y), xytext=(0, 7), textcoords="offset points", color="white", fontsize=9, ha="center"
            )
        place.set_title(panel.title, fontsize=10, loc="left")
        place.set_xlabel(x_label)
    axes[0].set_ylabel(y_label)
    figure.colorbar(filled, ax=list(axes), label=value_label)
    save(path, figure)


def save(path: Path, figure: "Figure") -> None:
    """Write a figure whole, in the format of the path's ending."""
    kind = format_of(path)
    write_whole(path, lambda partial: figure.savefig(partial, dpi=150, format=kind))
