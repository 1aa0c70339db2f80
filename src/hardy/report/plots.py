"""Figures, the only place that draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hardy.describe import require
from hardy.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours: distinct for colour-blind readers too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")

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


def save(path: Path, figure: "Figure") -> None:
    """Write a figure whole, in the format of the path's ending."""
    kind = format_of(path)
    write_whole(path, lambda partial: figure.savefig(partial, dpi=150, format=kind))
