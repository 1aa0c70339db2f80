import numpy as np
import pytest

from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.report.figures import (
    Bar,
    Bars,
    Figure,
    HeatMap,
    HeatMaps,
    Matrix,
    Picture,
    Pictures,
    heat,
    picture,
    pixels_of,
)


def test_a_picture_keeps_its_pixels_to_8_bits():
    image = np.arange(24).reshape(2, 4, 3) / 23
    assert pixels_of(picture("p", image)) == pytest.approx(image, abs=0.5 / 255 + 1e-12)
    assert describe(picture("p", image)) == {"type": "Picture", "title": "p", "png": picture("p", image).png}


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 1)])
def test_a_grey_picture_has_three_equal_channels(shape):
    image = np.linspace(-0.5, 1.5, 8).reshape(shape)
    assert pixels_of(picture("p", image)) == pytest.approx(
        np.repeat(np.clip(image, 0, 1).reshape(2, 4, 1), 3, 2), abs=0.5 / 255 + 1e-12
    )


def test_heat_grows_lighter_with_the_value_from_dark_violet_to_yellow():
    colours = heat(np.array([[-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0]]))[0]
    assert colours[[0, -1]] == pytest.approx(colours[[1, -2]])
    assert colours[1] == pytest.approx([0.267, 0.005, 0.329], abs=0.001)
    assert colours[-2] == pytest.approx([0.993, 0.906, 0.144], abs=0.001)
    assert (np.diff(colours[1:-1] @ [0.2126, 0.7152, 0.0722]) > 0.05).all()


@pytest.mark.parametrize("png", ["", "*", "aGVsbG8="])
def test_what_is_no_picture_is_refused(png):
    with pytest.raises(UsageError, match="The picture 'p' is damaged"):
        pixels_of(Picture("p", png))


def test_a_figure_comes_out_of_json_as_it_went_in():
    made = Bars("t", "y", ("a", "b"), ("n",), ((Bar(1.5, 1, 2), None),))
    assert rebuild(describe(made), Figure) == made


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Bars("t", "y", ("a", "b"), ("n",), ((Bar(1),),)), r"bars has rows of \[1\]; it must be 1 of 2"),
        (lambda: Bars("t", "y", (), ("n",), ((),)), r"groups is \(\); it must be at least one"),
        (lambda: Bars("t", "y", ("a",), (), ()), r"names is \(\); it must be at least one"),
        (lambda: Bars("t", "y", ("a",), ("n",), ((Bar(float("nan")),),)), "value is nan; it must be a finite number"),
        (
            lambda: Matrix("t", ("a",), ("b",), ((1.0, 2.0),), "", "", ""),
            r"values has rows of \[2\]; it must be 1 of 1",
        ),
        (
            lambda: HeatMaps("t", (0.0, 1.0), (0.0,), (HeatMap("m", ((1.0,),)),), "", "", ""),
            r"values has rows of \[1\]; it must be 1 of 2",
        ),
        (lambda: Pictures("t", ((None,),), ("a", "b")), "There are 2 names for 1 rows of pictures"),
    ],
)
def test_a_figure_that_does_not_fit_together_is_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()
