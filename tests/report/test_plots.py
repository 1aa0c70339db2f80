import numpy as np
import pytest
from PIL import Image

from hardy.errors import UsageError
from hardy.report.plots import FORMATS, curves, panels


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
