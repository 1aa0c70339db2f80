import numpy as np
import pytest
from PIL import Image

from hardy.errors import UsageError
from hardy.report.plots import COLOURS, FORMATS, HeatMap, Panel, Point, bands, curves, heat_maps, panels


def test_panels_are_drawn_with_gaps_where_there_is_no_image(tmp_path):
    grey = np.full((4, 4), 0.5)
    panels(tmp_path / "a.png", [[("left", grey), ("right", np.zeros((4, 4, 3)))], [None, ("below", grey)]])
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    high, wide = pixels.shape
    assert (pixels[high // 2 :, : wide // 2] == 255).all()  # the gap stays white
    assert (pixels[high // 2 :, wide // 2 :] == 128).mean() > 0.2


def test_curves_are_drawn_in_the_format_of_the_ending(tmp_path):
    curves(tmp_path / "c.svg", {"one": ([0, 1], [0.2, 0.4])}, x_label="epoch", y_label="accuracy %", title="t")
    text = (tmp_path / "c.svg").read_text()
    assert text.lstrip().startswith("<?xml")
    assert "<svg" in text


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_can_be_written(tmp_path, ending):
    panels(tmp_path / f"a.{ending}", [[("left", np.full((4, 4), 0.5))]])
    assert (tmp_path / f"a.{ending}").stat().st_size > 100


def test_a_name_without_ending_is_a_png(tmp_path):
    panels(tmp_path / "a", [[("left", np.full((4, 4), 0.5))]])
    with Image.open(tmp_path / "a") as picture:
        assert picture.format == "PNG"


def test_a_format_that_does_not_exist_is_refused_with_those_that_do_and_leaves_nothing_behind(tmp_path):
    with pytest.raises(UsageError, match=r"name is '\.xyz'; it must be one of png, svg, pdf"):
        curves(tmp_path / "c.xyz", {"one": ([0, 1], [0.2, 0.4])}, x_label="epoch", y_label="accuracy %")
    assert list(tmp_path.iterdir()) == []


def _pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def _of_colour(pixels, colour):
    """Bool (H, W): where a pixel has a colour of COLOURS, exactly."""
    return (pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(2)


def _line(values, spread=None):
    return [Point(x, y, None if spread is None else y - spread, None if spread is None else y + spread)
            for x, y in enumerate(values)]  # fmt: skip


def test_bands_draw_each_line_and_a_paler_band_for_its_intervals(tmp_path):
    bands(tmp_path / "bare.png", [Panel("", "eps", "accuracy (%)", {"one": _line([50, 40, 30])})])
    bands(tmp_path / "banded.png", [Panel("", "eps", "accuracy (%)", {"one": _line([50, 40, 30], 10)})])
    bare, banded = _pixels(tmp_path / "bare.png"), _pixels(tmp_path / "banded.png")
    assert _of_colour(bare, COLOURS[0]).sum() > 300
    pale = (banded[..., 2] - banded[..., 0] > 20) & (banded[..., 0] > 180)
    assert pale.mean() > 0.1
    assert not ((bare[..., 2] - bare[..., 0] > 20) & (bare[..., 0] > 180)).mean() > 0.02


def test_lines_of_all_panels_lie_within_them_and_share_a_y_axis(tmp_path):
    panels_ = [
        Panel(name, "steps", "accuracy (%)", {"one": _line(ys)}) for name, ys in (("low", [1, 1]), ("high", [9, 9]))
    ]
    bands(tmp_path / "shared.png", panels_, title="two networks")
    bands(tmp_path / "own.png", panels_, share_y=False)
    heights = {}
    for name in ("shared", "own"):
        drawn = _of_colour(_pixels(tmp_path / f"{name}.png"), COLOURS[0])
        wide = drawn.shape[1]
        halves = drawn[: int(0.85 * drawn.shape[0]), : wide // 2], drawn[: int(0.85 * drawn.shape[0]), wide // 2 :]
        heights[name] = [half.sum(1).argmax() for half in halves]
        assert all(half.sum(1).max() > 100 for half in halves)  # a level line in each
    assert heights["shared"][0] - heights["shared"][1] > 200
    assert abs(heights["own"][0] - heights["own"][1]) < 20


def test_more_lines_than_colours_are_all_drawn(tmp_path):
    lines = {f"a network with a long name {i}": _line([10 * i + 10] * 2) for i in range(10)}
    bands(tmp_path / "many.svg", [Panel("", "eps", "accuracy (%)", lines)])
    text = (tmp_path / "many.svg").read_text()
    assert text.count("stroke-dasharray") >= 2  # the ninth and tenth, in the first two colours again


def test_points_without_any_value_above_0_can_be_drawn(tmp_path):
    bands(tmp_path / "zero.png", [Panel("", "steps", "accuracy (%)", {"one": _line([0, 0])}, ticks=[0, 1])])
    assert _of_colour(_pixels(tmp_path / "zero.png"), COLOURS[0]).sum() > 300


def test_heat_maps_share_one_scale_of_colours(tmp_path):
    axis = [-1.0, 0.0, 1.0]
    low, high = np.tile([0.0, 0.5, 1.0], (3, 1)), np.tile([9.0, 9.5, 10.0], (3, 1))
    maps = [HeatMap(name, axis, axis, values, {"image": (0, 0)}) for name, values in (("low", low), ("high", high))]
    heat_maps(tmp_path / "both.png", maps, x_label="along", y_label="across", value_label="loss", title="t")
    heat_maps(
        tmp_path / "flat.png",
        [HeatMap("flat", axis, axis, np.ones((3, 3)), {})],
        x_label="",
        y_label="",
        value_label="",
    )
    pixels = _pixels(tmp_path / "both.png")
    wide = pixels.shape[1]
    dark = (pixels.sum(2) < 250) & (pixels[..., 2] > pixels[..., 1] + 30)  # the low end of the scale is dark violet
    yellow = (pixels[..., 0] > 150) & (pixels[..., 2] < 100)
    assert dark[:, : int(0.4 * wide)].mean() > 0.2
    assert yellow[:, : int(0.4 * wide)].mean() < 0.01
    assert yellow[:, int(0.5 * wide) : int(0.85 * wide)].mean() > 0.2
