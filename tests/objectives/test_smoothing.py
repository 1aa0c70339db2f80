"""Label smoothing: a setting of the methods whose loss is a cross-entropy with y, each of them, and of no other."""

import dataclasses

import pytest
import torch

import hardy.objectives
from hardy.errors import UsageError
from hardy.objectives import Objective
from objectives.by_hand import Linear, Told, images, labels, mean_smoothed, noise, probabilities

# the cross-entropy's terms, each with its weight and whether it is of clean images, perturbed ones, or both
CROSS_ENTROPIES = {
    "Standard": {"natural": (1.0, "clean")},
    "PGDAT": {"adversarial": (1.0, "perturbed")},
    "RolledPGDAT": {"adversarial": (1.0, "perturbed")},
    "TRADES": {"natural": (1.0, "clean")},
    "RLFATP": {"local": (1.0, "perturbed")},
    "RLFATT": {"natural": (1.0, "clean")},
    "ALP": {"natural": (0.5, "clean"), "adversarial": (0.5, "perturbed")},
    "FeatureMatching": {"joint": (1.0, "both")},
    "FeatureScatterAT": {"adversarial": (1.0, "perturbed")},
    "InfoFeatureAT": {"adversarial": (1.0, "perturbed")},
    "ADT": {"adversarial": (1.0, "perturbed")},
    "FGSMRS": {"adversarial": (1.0, "perturbed")},
}
WITHOUT = {"MART", "RAT", "AVmixup", "InterpolationAT", "AWP"}
NO_METHOD = {"Objective", "Terms", "RegionalSampler", "DistanceLabels"}
each = pytest.mark.parametrize("name", CROSS_ENTROPIES)


def made(name: str, **settings) -> Objective:
    """The method with an attack that adds 0.2; its network takes means, so that moving an image's pixels changes nothing."""
    cls = getattr(hardy.objectives, name)
    return cls(**settings) if name == "Standard" else cls(attack=Told(0.2), **settings)


def test_it_is_a_setting_of_exactly_these_methods():
    methods = {name for name in hardy.objectives.__all__ if name not in NO_METHOD}
    assert methods == set(CROSS_ENTROPIES) | WITHOUT
    assert all(issubclass(getattr(hardy.objectives, name), Objective) for name in methods)
    having = {
        name for name in methods
        if "smoothing" in {field.name for field in dataclasses.fields(getattr(hardy.objectives, name))}
    }  # fmt: skip
    assert having == set(CROSS_ENTROPIES)


@each
def test_by_default_only_feature_scattering_smooths(name):
    assert getattr(hardy.objectives, name)().smoothing == (0.5 if name == "FeatureScatterAT" else 0.0)


@each
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_the_cross_entropy_is_with_the_smoothed_label_and_no_other_term_changes(name, share):
    model, x, y = Linear().double(), images().double(), labels()
    perturbed = (x + 0.2).clamp(0, 1)
    terms = made(name, smoothing=share)(model, x, y, noise())
    hard = made(name, smoothing=0.0)(model, x, y, noise())
    at = {"clean": (x, y), "perturbed": (perturbed, y), "both": (torch.cat([x, perturbed]), torch.cat([y, y]))}
    for term, (weight, of) in CROSS_ENTROPIES[name].items():
        where, label = at[of]
        expected = weight * mean_smoothed(model(where), label, share)
        torch.testing.assert_close(terms[term], expected)
        assert share == 0 or abs(terms[term] - hard[term]) > 1e-2
    others = terms.keys() - CROSS_ENTROPIES[name].keys()
    assert all(terms[term] == hard[term] for term in others)
    assert bool(others) == (name in {"TRADES", "RLFATP", "RLFATT", "ALP", "FeatureMatching"})


@each
def test_the_attack_gets_the_label_itself(name):
    if name == "Standard":
        return
    objective, y = made(name, smoothing=0.5), labels()
    objective(Linear(), images(), y, noise())
    target = objective.attack.target
    assert torch.equal(target, y) or name in {"TRADES", "RLFATT"}
    if name in {"TRADES", "RLFATT"}:  # the prediction, whatever the label
        torch.testing.assert_close(target, probabilities(Linear()(images())).detach())


@each
@pytest.mark.parametrize("share", [1.0, 1.5, -0.1, float("nan")])
def test_a_share_that_is_none_is_refused(name, share):
    with pytest.raises(UsageError, match=rf"smoothing is {share}; it must be"):
        made(name, smoothing=share)


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_the_others_take_none(name):
    with pytest.raises(TypeError, match="unexpected keyword argument 'smoothing'"):
        getattr(hardy.objectives, name)(smoothing=0.1)
