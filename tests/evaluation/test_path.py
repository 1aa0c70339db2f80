import pytest
import torch

from hardy.attacks import APGD, PGD, InfoFeature, Linf, Restarts
from hardy.errors import UsageError
from hardy.evaluation.path import ascending, one_path, walk
from hardy.models.classifier import frozen
from hardy.randomness import Noise
from toys import classifier, images, labels, smooth

COUNTS = (0, 1, 2, 5, 9)


def walked(model, attack, counts=COUNTS, n=6):
    noise = Noise(3, torch.arange(n), purpose="evaluation")
    with frozen(model):
        return dict(walk(model, attack, images(n), labels(n), noise, counts))


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_the_images_of_one_path_of_pgd_are_those_of_separate_attacks_to_the_bit(momentum):
    model, noise = smooth(), Noise(3, torch.arange(6), purpose="evaluation")
    found = walked(model, PGD(Linf(0.1), steps=9, momentum=momentum))
    for count in COUNTS:
        alone = PGD(Linf(0.1), steps=count, momentum=momentum)(model, images(6), labels(6), noise)
        assert torch.equal(found[count], alone)


def test_the_images_of_one_path_of_infofeature_are_those_of_separate_attacks_to_the_bit():
    model, noise = classifier(), Noise(3, torch.arange(6), purpose="evaluation")
    found = walked(model, InfoFeature(Linf(0.1), steps=9))
    for count in COUNTS:
        assert torch.equal(found[count], InfoFeature(Linf(0.1), steps=count)(model, images(6), labels(6), noise))


def test_images_that_an_attack_has_broken_stay_as_they_are():
    found = walked(smooth(), APGD(Linf(0.5), steps=9), (1, 8, 9))
    assert torch.equal(found[8], found[9])  # all are broken long before


def test_an_attack_of_several_stages_is_no_path_and_too_short_a_one_is_refused():
    with pytest.raises(UsageError, match="one run of iterations, as PGD is"):
        one_path(Restarts(PGD(steps=3), 2), (1, 2))
    with pytest.raises(UsageError, match="steps is 4; it must be at most 3, those of the attack"):
        one_path(PGD(steps=3), (1, 4))


@pytest.mark.parametrize(
    ("counts", "said"),
    [((), "at least one number"), ((2, -1), "steps is -1; it must be at least 0"), ((1, 1), "numbers that differ"),
     ((1.5,), "an integer")],
)  # fmt: skip
def test_counts_that_are_none_are_refused(counts, said):
    with pytest.raises(UsageError, match=said):
        ascending(counts, "steps", 0)


def test_counts_come_in_order():
    assert ascending([7, 0, 2], "steps", 0) == (0, 2, 7)
