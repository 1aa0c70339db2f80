"""Lines with bands and bars with intervals, in the colours of Okabe and Ito."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hardy.report.figures import Bands, Bars, Panel, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK = "#000000"
# Okabe and Ito's colours: distinct for colour-blind readers too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", BLACK)

_DASHES = ("-", "--", ":", "-.")  # a line's, where all colours have been used
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")  # points differ in grey print, too
_HATCHES = ("", "//", "..", "\\\\", "xx", "--", "oo", "++")  # and so do bars


def bands(made: Bands) -> "Figure":
    """Panels side by side, the legend below."""
    names = list(dict.fromkeys(line.name for panel in made.panels for line in panel.lines))
    wide = max(7.2, 4.4 * len(made.panels))
    beside = _names_beside(names, wide)
    size = (wide, 4.0 + 0.22 * -(-len(names) // beside))
    figure = _figure(size, made.title)
    axes = figure.subplots(1, len(made.panels), squeeze=False)[0]
    tops = [_top([point for line in panel.lines for point in line.points]) for panel in made.panels]
    for place, panel, top in zip(axes, made.panels, tops, strict=True):
        for line in panel.lines:
            _band(place, names.index(line.name), len(names), line.name, sorted(line.points, key=lambda point: point.x))
        place.set_title(panel.title, fontsize=10, loc="left")
        place.set_xlabel(panel.x_label)
        place.set_ylim(0, max(tops) if made.share_y else top)
        if place is axes[0] or not made.share_y:
            place.set_ylabel(panel.y_label)
        _ticks(place, panel)
        _bare(place)
    _legend(figure, axes, beside)
    return figure


def bars(made: Bars) -> "Figure":
    """One pair of axes, the legend below where there is more than one name."""
    import numpy as np

    wide = max(6.0, 0.9 + len(made.groups) * (0.3 + 0.12 * len(made.names)))
    beside = _names_beside(made.names, wide)
    figure = _figure((wide, 3.9 + 0.22 * -(-len(made.names) // beside)), made.title)
    axes = figure.subplots()
    places, width = np.arange(len(made.groups)), 0.8 / len(made.names)
    for number, (name, row) in enumerate(zip(made.names, made.bars, strict=True)):
        there = [(place, bar) for place, bar in zip(places, row, strict=True) if bar is not None]
        at = [place + (number + 0.5) * width - 0.4 for place, _ in there]
        values = [bar.value for _, bar in there]
        low = [0.0 if bar.low is None else bar.value - bar.low for _, bar in there]
        high = [0.0 if bar.high is None else bar.high - bar.value for _, bar in there]
        colour, hatch = COLOURS[number % len(COLOURS)], _HATCHES[number // len(COLOURS) % len(_HATCHES)]
        axes.bar(at, values, 0.92 * width, color=colour, hatch=hatch, label=name, edgecolor="none")
        if any(low + high):
            axes.errorbar(at, values, (low, high), fmt="none", ecolor="#888888", elinewidth=1, capsize=2)
    drawn = [Point(0, bar.value, bar.low, bar.high) for row in made.bars for bar in row if bar is not None]
    bottom = 1.05 * min([0.0, *(value for point in drawn for value in (point.y, point.low) if value is not None)])
    axes.set_ylim(bottom, max(0.0, _top(drawn)))
    if bottom < 0:
        axes.axhline(0, color=BLACK, linewidth=0.8)
    axes.set_xlim(-0.5, len(made.groups) - 0.5)
    axes.set_ylabel(made.y_label)
    long = max(map(len, made.groups)) * len(made.groups) * 0.09 > wide
    axes.set_xticks(places, made.groups, rotation=40 if long else 0, ha="right" if long else "center")
    _bare(axes)
    axes.grid(visible=False, axis="x")
    if len(made.names) > 1:
        _legend(figure, [axes], beside)
    return figure


def _figure(size: tuple[float, float], title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def _legend(figure: "Figure", axes: "Sequence[Axes]", beside: int) -> None:
    labelled = {label: line for place in axes for line, label in zip(*place.get_legend_handles_labels(), strict=True)}
    # below the axes, never over the lines
    figure.legend(
        labelled.values(), labelled.keys(), loc="outside lower center", ncols=beside, frameon=False, fontsize=9
    )


def _names_beside(names: Sequence[str], inches: float) -> int:
    """How many names of a legend stand beside each other below axes that wide."""
    letters = 14 * inches
    return max(1, min(len(names), int(letters // (max(map(len, names)) + 8))))


def _bare(axes: "Axes") -> None:
    axes.set_axisbelow(True)
    axes.grid(visible=True, color="#888888", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _ticks(axes: "Axes", panel: Panel) -> None:
    if panel.ticks is not None:
        axes.set_xticks(panel.ticks, [f"{tick:g}" for tick in panel.ticks])
    elif all(point.x == int(point.x) for line in panel.lines for point in line.points):
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))


def _top(points: Sequence[Point]) -> float:
    """Where a y axis that begins at 0 ends."""
    values = [value for point in points for value in (point.y, point.high) if value]
    return 1.05 * max(values, default=1.0)


def _band(axes: "Axes", number: int, of: int, name: str, points: Sequence[Point]) -> None:
    """The number-th of so many lines. Earlier ones are wider, and show beside later ones that cover them."""
    colour, dash = COLOURS[number % len(COLOURS)], _DASHES[number // len(COLOURS) % len(_DASHES)]
    xs, many = [point.x for point in points], len(points) > 30
    wider = 0.1 if many else 1 - (number + 1) / of
    axes.plot(
        xs, [point.y for point in points], color=colour, linestyle=dash, linewidth=1.4 + 1.8 * wider,
        marker="" if many else _MARKS[number % len(_MARKS)], markersize=4 + 3 * wider, label=name,
        clip_on=False, zorder=3,  # a point at 0 is shown whole
    )  # fmt: skip
    if any(point.low is not None for point in points):
        lows = [point.y if point.low is None else point.low for point in points]
        highs = [point.y if point.high is None else point.high for point in points]
        axes.fill_between(xs, lows, highs, color=colour, alpha=min(0.15, 0.4 / of), linewidth=0)
