"""All corruptions: what each promises, whatever it does, and whose constants it has."""

import pytest
import torch

from data.pictures import pictures
from hardy.data.corrupt_blur import GlassBlur, MotionBlur
from hardy.data.corrupt_digital import ElasticTransform
from hardy.data.corruptions import KINDS, RAT_PAPER, SEVERITIES, USUAL, constants, corrupt, corruption
from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.randomness import Noise

ALL = [(kind, severity) for kind in KINDS for severity in SEVERITIES]


def test_the_usual_fifteen_and_the_rat_papers_twelve_are_these():
    assert USUAL == (
        "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
        "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
    )  # fmt: skip
    assert tuple(kind for kind in USUAL if "noise" not in kind) == RAT_PAPER
    assert set(KINDS) - set(USUAL) == {"speckle_noise", "gaussian_blur", "spatter", "saturate"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8), (3, 48, 40), (4, 16, 20)])
def test_a_corrupted_image_is_an_image_that_depends_on_its_own_numbers_only(kind, shape):
    x, noise = pictures(5, *shape), Noise(3, torch.tensor([4, 8, 15, 16, 23]))
    kept = x.clone()
    for severity in (1, 5):
        y = corrupt(x, kind, severity, noise)
        assert y.dtype == torch.uint8
        assert y.shape == x.shape
        assert torch.equal(x, kept)
        assert torch.equal(y, corrupt(x, kind, severity, noise))
        other = torch.tensor([3, 0, 2])
        assert torch.equal(y[other], corrupt(x[other], kind, severity, noise[other]))
        assert torch.equal(y[1:2], corrupt(x[1:2], kind, severity, noise[1:2]))
        if shape == (3, 32, 32):
            assert not torch.equal(x, y)


STEADY = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "gaussian_blur",
    "brightness",
    "contrast",
    "fog",
)


@pytest.mark.parametrize(
    "kind", [*STEADY, "jpeg_compression", "defocus_blur", "motion_blur", "zoom_blur", "snow", "frost", "spatter"]
)
@pytest.mark.parametrize("side", [32, 64])
def test_images_differ_the_more_the_more_severe_it_is(kind, side):
    x, noise = pictures(40, 3, side, side), Noise.of_batch(40)
    away = [float((corrupt(x, kind, severity, noise).double() - x).square().mean()) for severity in SEVERITIES]
    assert away[4] > 1.3 * away[0] > 0
    if kind in STEADY:  # the constants of others grow now here, now there
        assert away == sorted(away)


@pytest.mark.parametrize(
    "kind", [*(kind for kind in KINDS if "blur" in kind), "pixelate", "contrast", "elastic_transform"]
)
def test_a_flat_image_stays_as_it_is_where_nothing_is_added(kind):
    for level in (0, 77, 255):
        x = torch.full((2, 3, 32, 32), level, dtype=torch.uint8)
        for severity in SEVERITIES:
            assert torch.equal(corrupt(x, kind, severity, Noise.of_batch(2)), x), severity


RANDOM = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur", "snow", "frost", "fog",
          "elastic_transform", "spatter")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_random_numbers_of_its_own_where_there_are_any(kind):
    twice = pictures(1).expand(2, -1, -1, -1)
    y = corrupt(twice, kind, 5, Noise.of_batch(2))
    assert torch.equal(y[0], y[1]) == (kind not in RANDOM)
    assert torch.equal(y, corrupt(twice, kind, 5, Noise.of_batch(2, seed=1))) == (kind not in RANDOM)


def test_images_of_cifars_size_have_its_constants_and_others_imagenets_in_proportion():
    assert corruption("glass_blur", 5, (3, 32, 32)) == GlassBlur(0.4, 1, 2)
    assert corruption("motion_blur", 2, (3, 224, 224)) == MotionBlur(15, 5)
    assert corruption("motion_blur", 2, (3, 112, 300)) == MotionBlur(7.5, 2.5)
    assert corruption("glass_blur", 5, (3, 112, 112)) == GlassBlur(0.75, 2, 2)
    assert corruption("glass_blur", 1, (3, 33, 33)).shift == 1  # never less than a pixel
    assert corruption("elastic_transform", 2, (3, 32, 32)) == ElasticTransform(32 * 0.05, 32 * 0.2, 32 * 0.07)
    assert corruption("elastic_transform", 3, (3, 448, 448)) == ElasticTransform(488 * 0.05, 488 * 0.01, 488 * 0.02)
    assert corruption("fog", 4, (1, 16, 16)) == corruption("fog", 4, (3, 32, 32))
    said = [constants((3, side, side)) for side in (28, 32, 96, 224)]
    assert said == [
        "those of CIFAR, lengths times 28/32",
        "those of CIFAR",
        "those of ImageNet, lengths times 96/224",
        "those of ImageNet",
    ]


@pytest.mark.parametrize(("kind", "severity"), ALL)
def test_every_corruption_can_be_told_in_json_at_any_size(kind, severity):
    for side in (8, 32, 33, 224, 300):
        made = corruption(kind, severity, (3, side, side))
        assert rebuild(describe(made), type(made)) == made


def test_no_images_stay_none():
    assert corrupt(pictures(0), "snow", 1, Noise.of_batch(0)).shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("images", "kind", "severity", "said"),
    [
        (pictures(1).float() / 255, "snow", 1, r"Images are torch.float32 \(1, 3, 32, 32\); they must be uint8"),
        (pictures(1)[0], "snow", 1, r"Images are torch.uint8 \(3, 32, 32\)"),
        (pictures(1), "snwo", 1, "There is no corruption named 'snwo'; did you mean snow"),
        (pictures(2), "snow", 1, "noise is 'of 1 rows'; it must be of 2, one for each image"),
        (pictures(1), "snow", 0, "severity is 0; it must be in 1..5"),
        (pictures(1), "snow", 6, "severity is 6; it must be in 1..5"),
        (pictures(1)[..., :7], "snow", 1, "the shorter side of the images is 7; it must be at least 8 pixels"),
    ],
)
def test_what_cannot_be_corrupted_is_told(images, kind, severity, said):
    with pytest.raises(UsageError, match=said):
        corrupt(images, kind, severity, Noise.of_batch(1))
