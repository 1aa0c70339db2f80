"""Drawing figures: into files of any format, and as SVG whose ink is the colour of the text around it."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardy.describe import require
from hardy.files import write_whole
from hardy.report import charts, grids
from hardy.report.figures import Bands, Bars, Figure, HeatMaps, Matrix, Pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

FORMATS = ("png", "svg", "pdf", "eps", "jpg", "jpeg", "tif", "tiff", "webp")  # endings of pictures

_INK, _PAPER = "#010203", "#fdfeff"  # no other part of a figure has these colours


def format_of(path: Path) -> str:
    """The format that a path's ending chooses; PNG where it has none. Raises: UsageError for one that is none of FORMATS."""
    ending = path.suffix.removeprefix(".").lower() or "png"
    require(ending in FORMATS, "the ending of a picture's name", path.suffix, f"one of {', '.join(FORMATS)}")
    return ending


def draw(path: Path, figure: Figure) -> None:
    """Draw a figure into a file, written whole; the path's ending is its format."""
    kind = format_of(path)
    canvas = _canvas(figure)
    write_whole(path, lambda partial: canvas.savefig(partial, dpi=150, format=kind))


def svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element to stand in a page: text stays text, and what is black takes the page's colour.

    name: makes the identifiers inside differ from those of the page's other figures.
    """
    import matplotlib

    drawn = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK)
    style: Any = {
        **drawn, "svg.fonttype": "none", "svg.hashsalt": name, "axes.facecolor": "none", "figure.facecolor": "none",
        "patch.edgecolor": _INK, "legend.labelcolor": _INK,
    }  # fmt: skip
    buffer = io.StringIO()
    with matplotlib.rc_context(style):
        _canvas(figure).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor").replace(charts.BLACK, "currentColor")
    # of the whole: the page says how wide it is, by its natural width
    natural = float(re.search(r' width="([\d.]+)pt"', text)[1]) * 96 / 72  # type: ignore[index]
    text = re.sub(r' (?:width|height)="[^"]*"', "", text, count=2)
    text = text.replace("<svg", f'<svg style="--natural: {natural:.0f}px"', 1)
    return re.sub(r'<g id="[^"]*">', "<g>", text)  # these are the same in all figures; others are made from the salt


def _canvas(figure: Figure) -> "Canvas":
    match figure:
        case Bands():
            return charts.bands(figure)
        case Bars():
            return charts.bars(figure)
        case HeatMaps():
            return grids.heat_maps(figure)
        case Matrix():
            return grids.matrix(figure)
        case Pictures():
            return grids.pictures(figure)
        case _:
            raise TypeError(f"{type(figure).__name__} is a figure that nothing here draws.")
