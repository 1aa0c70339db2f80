import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from hardy.errors import UsageError
from hardy.report.charts import COLOURS
from hardy.report.figures import (
    Bands,
    Bar,
    Bars,
    Figure,
    HeatMap,
    HeatMaps,
    Line,
    Mark,
    Matrix,
    Panel,
    Pictures,
    Point,
    picture,
)
from hardy.report.plots import FORMATS, draw, svg

GREY = np.full((4, 4), 0.5)


def _pixels(path):
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def _of_colour(pixels, colour):
    """Bool (H, W): where a pixel has a colour of COLOURS, exactly."""
    return (pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(2)


def _line(name, values, spread=None):
    return Line(name, tuple(
        Point(x, y, None if spread is None else y - spread, None if spread is None else y + spread)
        for x, y in enumerate(values)))  # fmt: skip


def _bands(*lines, **more):
    return Bands("a title", (Panel("", "eps", "accuracy (%)", lines, **more),))


def test_pictures_are_drawn_with_gaps_where_there_is_none(tmp_path):
    rows = ((picture("left", GREY), picture("right", np.zeros((4, 4, 3)))), (None, picture("below", GREY)))
    draw(tmp_path / "a.png", Pictures("", rows))
    pixels = _pixels(tmp_path / "a.png").mean(2)
    high, wide = pixels.shape
    assert (pixels[high // 2 :, : wide // 2] == 255).all()  # the gap stays white
    assert (pixels[high // 2 :, wide // 2 :] == 128).mean() > 0.2


def test_words_that_are_longer_than_a_picture_go_on_in_the_next_line():
    name = "a/folder/with/a-rather-long-name/of-a-run-of-mine/best.safetensors"
    drawn = svg(Pictures("", ((picture(name, GREY), picture("dog 62 %\n→ cat 55 %", GREY)),), (name,)), "p")
    texts = [element.text for element in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert max(map(len, texts)) <= 30
    assert "".join(texts).count(name) == 2
    assert {"dog 62 %", "→ cat 55 %"} <= set(texts)


def test_a_row_without_words_is_as_high_as_its_pictures(tmp_path):
    row = picture("", GREY), picture("", GREY)
    for name, rows in (("one", (row,)), ("two", (row, row)), ("said", (row, (picture("below", GREY), None)))):
        draw(tmp_path / f"{name}.png", Pictures("", rows))
    one, two, said = (len(_pixels(tmp_path / f"{name}.png")) for name in ("one", "two", "said"))
    assert two == pytest.approx(2 * one, abs=1)
    assert said == pytest.approx(two + 30, abs=1)  # 0.2 inches


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_can_be_written(tmp_path, ending):
    draw(tmp_path / f"a.{ending}", Pictures("", ((picture("left", GREY),),)))
    assert (tmp_path / f"a.{ending}").stat().st_size > 100


def test_a_name_without_ending_is_a_png(tmp_path):
    draw(tmp_path / "a", Pictures("", ((picture("left", GREY),),)))
    with Image.open(tmp_path / "a") as opened:
        assert opened.format == "PNG"


def test_a_format_that_does_not_exist_is_refused_with_those_that_do_and_leaves_nothing_behind(tmp_path):
    with pytest.raises(UsageError, match=r"name is '\.xyz'; it must be one of png, svg, pdf"):
        draw(tmp_path / "c.xyz", _bands(_line("one", [0.2, 0.4])))
    assert list(tmp_path.iterdir()) == []


def test_a_kind_of_figure_that_is_not_known_is_an_error(tmp_path):
    class Other(Figure):
        title = "?"

    with pytest.raises(TypeError, match="Other is a figure that nothing here draws"):
        draw(tmp_path / "c.png", Other())


def test_bands_draw_each_line_and_a_paler_band_for_its_intervals(tmp_path):
    draw(tmp_path / "bare.png", _bands(_line("one", [50, 40, 30])))
    draw(tmp_path / "banded.png", _bands(_line("one", [50, 40, 30], 10)))
    bare, banded = _pixels(tmp_path / "bare.png"), _pixels(tmp_path / "banded.png")
    assert _of_colour(bare, COLOURS[0]).sum() > 300
    pale = (banded[..., 2] - banded[..., 0] > 20) & (banded[..., 0] > 180)
    assert pale.mean() > 0.1
    assert not ((bare[..., 2] - bare[..., 0] > 20) & (bare[..., 0] > 180)).mean() > 0.02


def test_points_are_joined_from_left_to_right_whatever_their_order(tmp_path):
    points = tuple(Point(x, 10 * x) for x in (2, 0, 1))
    draw(tmp_path / "mixed.png", _bands(Line("one", points)))
    draw(tmp_path / "sorted.png", _bands(Line("one", tuple(sorted(points, key=lambda point: point.x)))))
    assert (_pixels(tmp_path / "mixed.png") == _pixels(tmp_path / "sorted.png")).all()


def test_lines_of_all_panels_lie_within_them_and_share_a_y_axis(tmp_path):
    panels = tuple(
        Panel(name, "steps", "accuracy (%)", (_line("one", ys),)) for name, ys in (("low", [1, 1]), ("high", [9, 9]))
    )
    draw(tmp_path / "shared.png", Bands("two networks", panels))
    draw(tmp_path / "own.png", Bands("", panels, share_y=False))
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
    lines = [_line(f"a network with a long name {i}", [10 * i + 10] * 2) for i in range(10)]
    draw(tmp_path / "many.svg", _bands(*lines))
    text = (tmp_path / "many.svg").read_text()
    assert text.count("stroke-dasharray") >= 2  # the ninth and tenth, in the first two colours again


def test_points_without_any_value_above_0_can_be_drawn(tmp_path):
    draw(tmp_path / "zero.png", _bands(_line("one", [0, 0]), ticks=(0, 1)))
    assert _of_colour(_pixels(tmp_path / "zero.png"), COLOURS[0]).sum() > 300


def test_bars_are_as_high_as_their_values_and_gaps_stay_empty(tmp_path):
    bars = ((Bar(40, 35, 45), Bar(20)), (Bar(20), None))
    draw(tmp_path / "bars.png", Bars("t", "accuracy (%)", ("blur", "noise"), ("one", "two"), bars))
    pixels = _pixels(tmp_path / "bars.png")
    pixels = pixels[: int(0.85 * len(pixels))]  # without the legend
    half = pixels.shape[1] // 2
    left, right = (_of_colour(pixels, COLOURS[0])[:, part] for part in (slice(half), slice(half, None)))
    heights = [part.any(1).sum() for part in (left, right)]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.02)
    other = _of_colour(pixels, COLOURS[1])
    assert other[:, :half].any(1).sum() == pytest.approx(heights[1], rel=0.02)
    assert not other[:, half:].any()


def test_heat_maps_share_one_scale_of_colours(tmp_path):
    axis, steps = (-1.0, 0.0, 1.0), ((0.0, 0.5, 1.0), (9.0, 9.5, 10.0))
    maps = tuple(
        HeatMap(name, (row,) * 3, (Mark("image", 0, 0),)) for name, row in zip(("low", "high"), steps, strict=True)
    )
    draw(tmp_path / "both.png", HeatMaps("t", axis, axis, maps, "along", "across", "loss"))
    flat = HeatMap("flat", ((1.0,) * 3,) * 3)
    draw(tmp_path / "flat.png", HeatMaps("", axis, axis, (flat,), "", "", ""))
    pixels = _pixels(tmp_path / "both.png")
    wide = pixels.shape[1]
    dark = (pixels.sum(2) < 250) & (pixels[..., 2] > pixels[..., 1] + 30)  # the low end of the scale is dark violet
    yellow = (pixels[..., 0] > 150) & (pixels[..., 2] < 100)
    assert dark[:, : int(0.4 * wide)].mean() > 0.2
    assert yellow[:, : int(0.4 * wide)].mean() < 0.01
    assert yellow[:, int(0.5 * wide) : int(0.85 * wide)].mean() > 0.2


def test_bars_and_intervals_below_0_are_drawn_whole_below_a_line_at_0(tmp_path):
    def drawn(*bars):
        """Heights of the two bars, and of the lines on the second."""
        draw(tmp_path / "bars.png", Bars("", "gap (points)", ("a", "b"), ("one",), (bars,)))
        pixels = _pixels(tmp_path / "bars.png")
        wide = pixels.shape[1]
        sides = pixels[:, : int(0.4 * wide)], pixels[:, int(0.65 * wide) :]
        grey = (abs(sides[1] - 0x88) < 8).all(2)
        return [_of_colour(side, COLOURS[0]).any(1).nonzero()[0] for side in sides], grey.any(1).nonzero()[0]

    (up, down), _ = drawn(Bar(10), Bar(-10))
    assert len(up) > 100
    assert abs(len(up) - len(down)) <= 4
    assert abs(up.max() - down.min()) <= 6  # one ends where the other begins, at 0
    (first, second), line = drawn(Bar(10, 5, 15), Bar(2, -8, 12))
    assert line.max() > first.max() + 50  # the interval goes on below 0
    assert abs(first.max() - second.max()) <= 4


MATRIX = Matrix("t", ("a", "b"), ("a", "b", "c"), ((10.0, None, 90.0), (50.0, 20.0, 30.0)), "judged", "crafted on", "%")


def test_a_matrix_has_every_number_and_nothing_where_there_is_none():
    texts = [element.text for element in ET.fromstring(svg(MATRIX, "m")).iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text and re.fullmatch(r"\d+\.0", text)][:5] == [
        "10.0",
        "90.0",
        "50.0",
        "20.0",
        "30.0",
    ]
    assert {"judged", "crafted on", "a", "b", "c"} <= set(texts)


def test_a_matrix_has_room_for_long_names_beside_and_below(tmp_path):
    def coloured(columns):
        rows = ("/a/path/as/long/as/those/of/runs" * 3, "b")
        draw(tmp_path / "m.png", Matrix("t", rows, columns, ((0.0, 100.0), (100.0, 0.0)), "judged", "crafted on", "%"))
        pixels = _pixels(tmp_path / "m.png")[
            :, : -int(0.15 * _pixels(tmp_path / "m.png").shape[1])
        ]  # without the scale
        return ((pixels == (253, 231, 36)) | (pixels == (68, 1, 84))).all(2).sum()

    assert coloured(("pgd-10 on /a/path/as/long/as/those/of/runs" * 3, "b")) > 0.8 * coloured(("a", "b")) > 1000


FIGURES = [
    _bands(_line("one", [1, 2], 0.5)),
    Bars("t", "y", ("g",), ("n",), ((Bar(1),),)),
    HeatMaps("t", (0.0, 1.0), (0.0, 1.0), (HeatMap("m", ((1.0, 2.0), (3.0, 4.0))),), "x", "y", "v"),
    MATRIX,
    Pictures("t", ((picture("p", GREY),),), ("row",)),
]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: type(figure).__name__)
def test_as_svg_a_figure_takes_the_pages_colour_and_width_and_keeps_its_text(figure):
    text = svg(figure, "one")
    root = ET.fromstring(text)
    assert "viewBox" in root.attrib
    assert not {"width", "height"} & root.attrib.keys()
    assert "currentColor" in text
    assert "#000000" not in text
    assert "#010203" not in text
    assert any(element.text == figure.title for element in root.iter("{http://www.w3.org/2000/svg}text"))
    assert svg(figure, "one") == text


def test_two_figures_in_one_page_share_no_identifier():
    found = [set(re.findall(r' id="([^"]+)"', svg(FIGURES[0], name))) for name in ("one", "two")]
    assert found[0]
    assert not found[0] & found[1]
