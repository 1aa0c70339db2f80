"""Figures as data: what is drawn, so that a result file can keep it and a report draw it again in its own size and colours."""

import base64
import io
from abc import ABC
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hardy.describe import require, settings
from hardy.errors import UsageError


class Figure(ABC):
    """What is drawn. Concrete ones are settings, with JSON's types only; `hardy.report.plots` draws them."""

    title: str


@settings
class Point:
    """A value and its interval, where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@settings
class Line:
    """Points of one name, drawn from left to right."""

    name: str
    points: tuple[Point, ...]


@settings
class Panel:
    """Lines in one pair of axes. ticks: where on the x axis there are numbers; None leaves it to matplotlib."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    ticks: tuple[float, ...] | None = None


@settings
class Bands(Figure):
    """Panels side by side; each line with a band for its intervals. A line of the same name looks the same in all of them.

    Values are at least 0, where the y axes begin. share_y: one y axis for all panels.
    """

    title: str
    panels: tuple[Panel, ...]
    share_y: bool = True


@settings
class Bar:
    """The height of a bar, and its interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@settings
class Bars(Figure):
    """Groups of bars: in each group one bar of each name, at the same place and in the same colour.

    bars: by name, then by group; None is a gap. The y axis begins at 0, or below the lowest value or interval.
    """

    title: str
    y_label: str
    groups: tuple[str, ...]
    names: tuple[str, ...]
    bars: tuple[tuple[Bar | None, ...], ...]

    def __post_init__(self) -> None:
        require(bool(self.groups), "groups", self.groups, "at least one")
        require(bool(self.names), "names", self.names, "at least one")
        _fits("bars", self.bars, self.names, self.groups)


@settings
class Mark:
    """A point of a map, with a word beside it."""

    word: str
    x: float
    y: float


@settings
class HeatMap:
    """Values over two scales: a row for each y, in it one for each x."""

    title: str
    values: tuple[tuple[float, ...], ...]
    marks: tuple[Mark, ...] = ()


@settings
class HeatMaps(Figure):
    """Maps side by side over the same scales, with contour lines and one colour scale: equal colours are equal values."""

    title: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    maps: tuple[HeatMap, ...]
    x_label: str
    y_label: str
    value_label: str

    def __post_init__(self) -> None:
        for shown in self.maps:
            _fits("values", shown.values, self.ys, self.xs)


@settings
class Matrix(Figure):
    """A square for each row and column, with its number in it. values: in the unit of value_label; None is a gap."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    row_label: str
    column_label: str
    value_label: str

    def __post_init__(self) -> None:
        _fits("values", self.values, self.rows, self.columns)


@settings
class Picture:
    """A picture and the words above it. png: its file in base64."""

    title: str
    png: str


@settings
class Pictures(Figure):
    """A grid of pictures; None is a gap. Words beside a row are its name, "" where it has none."""

    title: str
    rows: tuple[tuple[Picture | None, ...], ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.names and len(self.names) != len(self.rows):
            raise UsageError(
                f"There are {len(self.names)} names for {len(self.rows)} rows of pictures; one each, or none."
            )


def picture(title: str, image: npt.ArrayLike) -> Picture:
    """An image (H, W, 3), (H, W, 1) or (H, W) with values in [0, 1], which it is clipped to, as a picture of 8 bits."""
    from PIL import Image

    pixels = np.rint(255 * np.clip(np.asarray(image), 0, 1)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).save(buffer, "png")
    return Picture(title, base64.b64encode(buffer.getvalue()).decode())


def heat(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W, 3): values (H, W) in [0, 1] in the colours of heat maps, which grow lighter with the value."""
    from matplotlib import colormaps

    return np.asarray(colormaps["viridis"](np.clip(values, 0.0, 1.0)))[..., :3]


def pixels_of(shown: Picture) -> npt.NDArray[Any]:
    """The picture's values (H, W, 3) in [0, 1]. Raises: UsageError where it is none."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(base64.b64decode(shown.png, validate=True)), formats=("png",)) as opened:
            return np.asarray(opened.convert("RGB"), dtype=np.float64) / 255
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The picture {shown.title!r} is damaged ({error}); it must be a PNG file in base64."
        ) from error


def _fits(what: str, values: Sequence[Sequence[object]], rows: Sequence[object], columns: Sequence[object]) -> None:
    """Raises UsageError unless there is a value for each row and column."""
    if [len(row) for row in values] != [len(columns)] * len(rows):
        raise UsageError(
            f"{what} has rows of {[len(row) for row in values]}; it must be {len(rows)} of {len(columns)}."
        )
