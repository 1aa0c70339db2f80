"""Heat maps, matrices of numbers, and grids of pictures."""

import textwrap
from typing import TYPE_CHECKING

from hardy.report.figures import HeatMaps, Matrix, Pictures, pixels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 30  # characters that fit beside or above a picture


def heat_maps(made: HeatMaps) -> "Figure":
    """Maps side by side with contour lines and one colour scale."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    values = [value for shown in made.maps for row in shown.values for value in row]
    levels = MaxNLocator(16).tick_values(min(values), max(values))  # round numbers
    figure = Figure(figsize=(1.4 + 4.0 * len(made.maps), 4.2), layout="constrained")
    figure.suptitle(made.title, fontsize=9, x=0.01, ha="left")
    axes = figure.subplots(1, len(made.maps), squeeze=False, sharey=True)[0]
    for place, shown in zip(axes, made.maps, strict=True):
        filled = place.contourf(made.xs, made.ys, shown.values, levels=levels, cmap="viridis")
        place.contour(made.xs, made.ys, shown.values, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
        for mark in shown.marks:
            place.plot(mark.x, mark.y, "o", color="white", markersize=5, markeredgecolor="black")
            place.annotate(
                mark.word,
                (mark.x, mark.y),
                xytext=(0, 7),
                textcoords="offset points",
                color="white",
                fontsize=9,
                ha="center",
            )
        place.set_title(shown.title, fontsize=10, loc="left")
        place.set_xlabel(made.x_label)
    axes[0].set_ylabel(made.y_label)
    figure.colorbar(filled, ax=list(axes), label=made.value_label)
    return figure


def matrix(made: Matrix) -> "Figure":
    """A coloured square for each number; gaps stay empty."""
    import numpy as np
    from matplotlib.figure import Figure

    values = np.array([[np.nan if value is None else value for value in row] for row in made.values])
    high, wide = values.shape
    beside, below = (max(map(len, names)) for names in (made.rows, made.columns))
    # names of columns, which are turned, reach below the squares, and to the left of the first one
    size = 2.2 + 0.08 * max(beside, below) + 0.85 * wide, 1.5 + 0.045 * below + 0.5 * high
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(made.title, fontsize=9, x=0.01, ha="left")
    axes = figure.subplots()
    drawn = axes.imshow(values, cmap="viridis", aspect="auto")
    bright = (np.nanmin(values) + np.nanmax(values)) / 2
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "black" if value > bright else "white"
            axes.text(j, i, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(wide), made.columns, rotation=30, ha="right")
    axes.set_yticks(range(high), made.rows)
    axes.set_xlabel(made.column_label)
    axes.set_ylabel(made.row_label)
    axes.spines[:].set_visible(False)
    figure.colorbar(drawn, label=made.value_label)
    return figure


def pictures(made: Pictures) -> "Figure":
    """Each picture below its words; the name of a row on its left."""
    from matplotlib.figure import Figure

    wide, high = max(map(len, made.rows)), len(made.rows)
    words = [max((len(_wrapped(cell.title)) for cell in row if cell is not None), default=0) for row in made.rows]
    names = [_wrapped(name) for name in made.names]
    figure = Figure(
        figsize=(
            1.9 * wide + 0.2 + 0.2 * max(map(len, names), default=-1),
            sum(1.95 + 0.2 * lines for lines in words) + (0.3 if made.title else 0),
        ),
        layout="constrained",
    )
    figure.suptitle(made.title, fontsize=9, x=0.01, ha="left")
    axes = figure.subplots(high, wide, squeeze=False)
    for i, row in enumerate(made.rows):
        for j in range(wide):
            axes[i, j].set_xticks([])
            axes[i, j].set_yticks([])
            axes[i, j].spines[:].set_visible(False)
            axes[i, j].patch.set_visible(False)
            cell = row[j] if j < len(row) else None
            if cell is not None:
                axes[i, j].imshow(pixels_of(cell), interpolation="nearest")
                axes[i, j].set_title("\n".join(_wrapped(cell.title)), fontsize=9)
        if made.names:
            axes[i, 0].set_ylabel("\n".join(names[i]), fontsize=9)
    return figure


def _wrapped(words: str) -> list[str]:
    """Lines that are not longer than a picture is wide."""
    return [part for line in words.splitlines() for part in textwrap.wrap(line, _ACROSS)]
