"""What users import stays where it is: a change of a public name has to change this file."""

import subprocess
import sys

import pytest

import hardy

NAMES = {
    hardy: "FailedError HardyError Measurement Noise Run UsageError attacks data diagnose evaluate evaluation load models "
    "objectives parallel recipe recipes train",
    hardy.attacks: "APGD AdversarialDistribution AdversarialInterpolation Attack AutoAttack Ball CarliniWagner Criterion "
    "CrossEntropy DLR FAB FeatureScatter Foreign InfoFeature Iterative KL L2 Linf Margin NATTACK PGD Restarts Square "
    "State Targeted TargetedCrossEntropy TargetedDLR TargetedMargin Worst bind cw fgsm",
    hardy.data: "Augment CIFAR10 CIFAR100 Dataset Digits Extra Folder Imagenette STL10 SVHN Split batches block_shuffle corrupt "
    "random_roll",
    hardy.evaluation: "Diagnosis Paired Sign SmoothGrad activation_maps adversarial_examples average_accuracy broken_at "
    "classified_by_all compare corruption_accuracy diagnose evaluate generalisation_gaps loss_along loss_sensitivity "
    "loss_surface over_eps over_restarts over_steps perturbation_distances saliency_maps transfer_matrix",
    hardy.models: "Architecture BatchNormMode Classifier MadryResNet OwnNetwork PreActResNet18 ResNet18 SmallCNN WideResNet "
    "Wrapped crafting frozen initialise own parameter_count preact_resnet_18 resnet_18 small_cnn w32_10 w40_2 wrap wrn_28_10 "
    "wrn_34_10 wrn_40_2",
    hardy.objectives: "ADT ALP AVmixup AWP DistanceLabels FGSMRS FeatureMatching FeatureScatterAT InfoFeatureAT "
    "InterpolationAT MART Objective PGDAT RAT RLFATP RLFATT RegionalSampler RolledPGDAT Standard TRADES Terms",
    hardy.recipes: "recipe recipes tables",
}


def test_the_public_names_are_these():
    assert {module.__name__: sorted(module.__all__) for module in NAMES} == {
        module.__name__: sorted(names.split()) for module, names in NAMES.items()
    }


def test_every_public_name_can_be_had():
    for module in NAMES:
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_public_classes_and_functions_have_docstrings():
    for module in NAMES:
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value) and getattr(value, "__module__", "").startswith("hardy"):
                assert (value.__doc__ or "").strip(), f"{module.__name__}.{name}"


def test_a_name_that_is_not_there_is_told_as_python_tells_it():
    with pytest.raises(AttributeError, match="module 'hardy' has no attribute 'evaluat'"):
        hardy.evaluat  # noqa: B018
    assert dir(hardy) == hardy.__all__


def test_help_does_not_wait_for_torch():
    code = "import sys; from hardy.__main__ import main; main(['--help']); sys.exit('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "hardy train" in ran.stdout
