"""Every recipe builds, describes itself, is rebuilt from JSON and survives a step; the papers' have the papers' numbers."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

from hardy import recipes
from hardy.attacks import (
    KL,
    PGD,
    AdversarialDistribution,
    AdversarialInterpolation,
    CrossEntropy,
    FeatureScatter,
    InfoFeature,
    Linf,
)
from hardy.data.augment import Augment
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.digits import Digits
from hardy.data.folder import Folder
from hardy.data.imagenette import Imagenette
from hardy.data.stl10 import STL10
from hardy.data.svhn import SVHN
from hardy.describe import describe, fingerprint, rebuild
from hardy.errors import UsageError
from hardy.models import (
    Architecture,
    MadryResNet,
    PreActResNet18,
    ResNet18,
    SmallCNN,
    WideResNet,
    parameter_count,
)
from hardy.models.checkpoints import load
from hardy.objectives import (
    ADT,
    ALP,
    AWP,
    FGSMRS,
    MART,
    PGDAT,
    RAT,
    RLFATP,
    RLFATT,
    TRADES,
    AVmixup,
    FeatureMatching,
    FeatureScatterAT,
    InfoFeatureAT,
    InterpolationAT,
    Objective,
    RolledPGDAT,
    Standard,
)
from hardy.objectives.rat import DistanceLabels, RegionalSampler
from hardy.recipes import comparison, digits, folder, infofeature2021, modern, rat2021, references, rlfat2020, small
from hardy.training.average import EMA
from hardy.training.loop import train
from hardy.training.optim import SGD, Adam, Constant, Cosine, OneCycle
from hardy.training.run import Run, Validation
from training.fakes import InMemory, rows

MODULES = (digits, small, folder, rlfat2020, infofeature2021, rat2021, references, modern)
EVERY = {name: run for module in MODULES for name, run in module.recipes().items()}
every = pytest.mark.parametrize("run", EVERY.values(), ids=EVERY.keys())

OF_RLFAT = ("standard", "pgdat", "trades", "rbsat-p", "rbsat-t", "rlfat-p", "rlfat-t", "pgdat-rolled")
OF_INFOFEATURE = ("alp", "feature-matching", "feature-scatter", "adv-interp", "infofeature")
OF_RAT = ("avmixup", "adt", "rat")
OF_REFERENCES = ("mart", "fgsm-rs", "awp-pgdat", "awp-trades")
INFOFEATURE_ABLATIONS = {
    "lambda-0.01": {"weight": 0.01}, "lambda-1.0": {"weight": 1.0}, "no-ce": {"ce_weight": 0.0},
    "3-steps": {"steps": 3}, "4-steps": {"steps": 4}, "5-steps": {"steps": 5}, "6-steps": {"steps": 6},
    "l1": {"distance": "l1"}, "cosine": {"distance": "cosine"},
}  # fmt: skip
EVERY_METHOD = (*OF_RLFAT, *OF_INFOFEATURE, *OF_RAT, *OF_REFERENCES)


def _inmost(objective: Objective) -> Objective:
    return objective.inner if isinstance(objective, AWP) else objective


def test_every_method_has_a_recipe_on_digits_on_a_folder_and_at_the_small_budget():
    papers = {
        f"{method}-{data}-small"
        for data, methods in (
            ("svhn", ("standard", "pgdat", "feature-scatter", "adv-interp", "infofeature")),
            ("stl10", OF_RLFAT),
            ("imagenette", ("standard", "pgdat", "trades", "avmixup", "adt", "rat")),
        )
        for method in methods
    }
    for module, sets, more in (
        (digits, ["digits"], set()),
        (folder, ["folder"], set()),
        (small, ["cifar10-small", "cifar100-small"], papers),
        (modern, ["cifar10-modern", "cifar100-modern"], set()),
    ):
        assert set(module.recipes()) == {f"{method}-{data}" for method in EVERY_METHOD for data in sets} | more


def test_the_papers_recipes_are_named_method_and_data_where_the_paper_is_the_methods_home():
    def named(methods: tuple[str, ...], *sets: str) -> set[str]:
        return {f"{method}-{data}" for method in methods for data in sets}

    attacks = ("feature-scatter", "adv-interp", "infofeature")
    assert set(rlfat2020.recipes()) == named(OF_RLFAT, "cifar10", "cifar100", "stl10")
    assert set(infofeature2021.recipes()) == (
        named(("alp", "feature-matching"), "cifar10")
        | named(attacks, "cifar10", "cifar10-wrn", "cifar100", "svhn")
        | named(
            ("standard", "pgdat"),
            "cifar10-infofeature2021",
            "cifar10-wrn-infofeature2021",
            "cifar100-infofeature2021",
            "svhn-infofeature2021",
        )
        | named(tuple(f"infofeature-{name}" for name in INFOFEATURE_ABLATIONS), "cifar10")
    )
    assert set(rat2021.recipes()) == (
        named(("avmixup", "adt", "rat"), "cifar10", "cifar100", "imagenette")
        | named(("standard", "pgdat", "trades"), "cifar10-rat2021", "cifar100-rat2021", "imagenette-rat2021")
        | named(("rat-ars", "rat-1.0-0.3", "rat-1.0-0.5", "rat-0.8-0.1", "rat-0.6-0.1"), "cifar10")
    )
    assert set(references.recipes()) == named(("mart", "fgsm-rs", "awp-pgdat", "awp-trades"), "cifar10")


def test_recipes_are_found_by_their_names_and_no_two_modules_share_one():
    assert recipes.recipes() == EVERY
    assert len(EVERY) == sum(len(module.recipes()) for module in MODULES)
    for name, run in EVERY.items():
        assert run.name == name
        assert recipes.recipe(name) == run


def test_an_unknown_recipe_is_refused_with_the_nearest_names():
    with pytest.raises(UsageError, match=r"There is no recipe named 'rlfatp-cifar10'; did you mean .*rlfat-p-cifar10"):
        recipes.recipe("rlfatp-cifar10")
    with pytest.raises(UsageError, match=r"There is no recipe named 'awp-rat-cifar1'; did you mean awp-rat-cifar10 "):
        recipes.recipe("awp-rat-cifar1")


@pytest.mark.parametrize("name", ["awp-awp-pgdat-digits", "awp-awp-trades-cifar10", "awp-", "awp-awp-rat-cifar10"])
def test_awp_around_awp_or_around_nothing_is_no_recipe(name):
    with pytest.raises(UsageError, match=f"There is no recipe named '{name}'"):
        recipes.recipe(name)


@pytest.mark.parametrize("name", [name for name in EVERY if "cifar10" in name and not name.startswith("awp-")])
def test_awp_before_a_name_puts_awp_around_that_recipes_objective(name):
    run = EVERY[name]
    wrapped = recipes.recipe(f"awp-{run.name}")
    if wrapped.name in EVERY:
        assert wrapped == EVERY[wrapped.name]  # an exact name comes first
        return
    gamma = 0.005 if type(run.objective) is TRADES else 0.01
    assert wrapped == dataclasses.replace(run, name=f"awp-{run.name}", objective=AWP(run.objective, gamma))


def test_an_exact_name_with_awp_comes_before_wrapping_the_recipe_without_it():
    assert recipes.recipe("awp-pgdat-cifar10") == references.recipes()["awp-pgdat-cifar10"]
    assert recipes.recipe("awp-pgdat-cifar10").optimizer != recipes.recipe("pgdat-cifar10").optimizer


def test_no_two_recipes_are_the_same_run_under_two_names():
    assert len({fingerprint(run) for run in EVERY.values()}) == len(EVERY)
    nameless = {fingerprint(dataclasses.replace(run, name="run")) for run in EVERY.values()}
    assert len(nameless) == len(EVERY)


def test_the_table_of_all_methods_has_them_all():
    assert set(comparison.tables()) == {"methods"}
    for setting in comparison.tables()["methods"].settings.values():
        assert tuple(setting.rows) == EVERY_METHOD


@every
def test_a_recipe_is_rebuilt_equal_from_json(run):
    again = rebuild(json.loads(json.dumps(describe(run))), Run)
    assert again == run
    assert fingerprint(again) == fingerprint(run)


@every
def test_a_recipes_network_and_objective_fit_its_data(run):
    if isinstance(run.data, Folder):  # the user's, and there is none
        return
    model = run.model.outline(run.data.classes, run.data.shape[0])
    assert parameter_count(model) > 0
    run.objective.check(run.data.shape)
    if run.data.training_images:
        assert run.length(run.data.training_images - run.validation.images) > 0


def _tiny(network: Architecture) -> Architecture:
    match network:
        case MadryResNet():
            return dataclasses.replace(network, units=1, widen=1)
        case WideResNet():
            return dataclasses.replace(network, depth=10, widen=1)
        case _:
            return dataclasses.replace(network, width=2)


def _quick(objective: Objective) -> Objective:
    """With one step of attack."""
    if isinstance(objective, AWP):
        return dataclasses.replace(objective, inner=_quick(objective.inner))
    if isinstance(objective, Standard):
        return objective
    changes = {"steps": 1, "samples": 1} if isinstance(objective.attack, AdversarialDistribution) else {"steps": 1}
    return dataclasses.replace(objective, attack=dataclasses.replace(objective.attack, **changes))


def _survives(run: Run, tmp_path) -> None:
    channels, held_out = run.data.shape[0], 4 if run.validation.images else 0
    short = dataclasses.replace(
        run,
        data=InMemory(8, held_out, channels, 16, kinds=10),
        model=_tiny(run.model),
        objective=_quick(run.objective),
        epochs=None,
        steps=1,
        batch=8,
        validation=dataclasses.replace(run.validation, images=held_out, attack=PGD(steps=1)),
    )
    folder = train(short, tmp_path, device="cpu")
    (row,) = rows(folder, "train")
    assert row["step"] == 1
    assert row["loss"] > 0
    assert len(rows(folder, "validation")) == (1 if held_out else 0)
    assert parameter_count(load(folder)) > 0


@every
def test_a_recipe_survives_a_step_on_eight_images(run, tmp_path):
    _survives(run, tmp_path)


@pytest.mark.parametrize(
    "name", ["awp-rat-cifar10", "awp-infofeature-svhn", "awp-rlfat-t-cifar100", "awp-standard-stl10"]
)
def test_a_recipe_with_awp_around_it_survives_a_step_on_eight_images(name, tmp_path):
    _survives(recipes.recipe(name), tmp_path)


@every
def test_an_attack_crosses_its_ball_with_steps_no_larger_than_the_ball_allows(run):
    objective = _inmost(run.objective)
    attack = objective.attack
    if attack is None:
        assert isinstance(objective, Standard)
        return
    assert isinstance(attack.ball, Linf)
    assert run.validation.attack.ball == attack.ball  # weights are chosen against what was trained against
    if isinstance(attack, AdversarialDistribution):  # its steps are none of pixels
        assert (attack.steps, attack.samples, attack.step_size) == (7, 5, 0.3)
        return
    alpha = attack.walk.alpha if isinstance(attack, InfoFeature) else attack.alpha
    # an ablation of the number of steps leaves their size: three from anywhere in the ball reach most of it, not all
    assert attack.ball.eps <= attack.steps * alpha or run.name == "infofeature-3-steps-cifar10"
    assert alpha <= attack.ball.eps * (1.25 if isinstance(objective, FGSMRS) else 1)
    if isinstance(attack, PGD):
        away = isinstance(objective, TRADES | RLFATT)
        assert isinstance(attack.loss, KL if away else CrossEntropy)
        assert attack.start_at == ("gaussian" if away or isinstance(objective, MART) else "uniform")


def _rates(run: Run, *at: int) -> list[float]:
    """The learning rate in the last step before each of these epochs, and in the first one after; of a run with steps, steps."""
    length = run.epochs or run.steps
    per = run.data.training_images // run.batch if run.epochs else 1
    steps = [step for unit in at for step in (unit * per - 1, unit * per)]
    return [run.optimizer.lr * run.optimizer.schedule((step + 0.5) / (length * per)) for step in steps]


# the RLFAT paper

RLFAT2020 = rlfat2020.recipes()


@pytest.mark.parametrize("run", RLFAT2020.values(), ids=RLFAT2020.keys())
def test_the_rlfat_papers_runs_have_its_training_settings(run):
    stl10 = "stl10" in run.name
    assert (run.batch, run.steps, run.epochs) == (32, 29_700 if stl10 else 79_800, None)
    assert run.optimizer == Adam(lr=1e-3, beta1=0.9, beta2=0.999, weight_decay=0.0, schedule=Constant(), clip=None)
    assert run.augment == Augment(flip=True, crop=0, cutout=0)
    assert run.validation.images == 0
    assert run.average is None
    assert run.model == (MadryResNet(units=6, widen=2) if stl10 else MadryResNet(units=5, widen=10))
    assert (run.model.mean, run.model.deviation) == ((), ())  # raw pixels
    assert run.data == (STL10() if stl10 else CIFAR100() if "cifar100" in run.name else CIFAR10())
    assert run.data.first is None


@pytest.mark.parametrize(("data", "steps"), [("cifar10", 10), ("cifar100", 7), ("stl10", 7)])
def test_the_rlfat_papers_attacks_have_its_numbers(data, steps):
    p = PGD(Linf(0.03), steps, 0.0075, start_at="uniform", momentum=0.0, loss=CrossEntropy())
    t = PGD(Linf(0.03), steps, 0.0075, start_at="gaussian", momentum=0.0, loss=KL())
    assert {method: RLFAT2020[f"{method}-{data}"].objective.attack for method in OF_RLFAT} == {
        "standard": None,
        "pgdat": p,
        "trades": t,
        "rbsat-p": p,
        "rbsat-t": t,
        "rlfat-p": p,
        "rlfat-t": t,
        "pgdat-rolled": p,
    }


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "stl10"])
def test_the_rlfat_papers_objectives_have_its_weights_and_its_codes_batch_norm(data):
    def of(method):
        return RLFAT2020[f"{method}-{data}"].objective

    for method in OF_RLFAT:
        assert method == "standard" or of(method).batch_norm == "train"
        assert of(method).smoothing == 0.0
    assert type(of("standard")) is Standard
    assert type(of("pgdat")) is PGDAT
    assert type(of("pgdat-rolled")) is RolledPGDAT
    assert type(of("trades")) is TRADES
    assert of("trades").beta == 6.0
    for method, cls, eta in [
        ("rlfat-p", RLFATP, 0.5),
        ("rbsat-p", RLFATP, 0.0),
        ("rlfat-t", RLFATT, 1.0),
        ("rbsat-t", RLFATT, 0.0),
    ]:
        one = of(method)
        assert type(one) is cls
        assert (one.eta, one.k, one.cuts, one.per_image) == (eta, 2, "random", False)
        assert cls is RLFATP or one.beta == 6.0


# the InfoFeature paper, sections 4, 4.1 and 4.2

INFOFEATURE2021 = infofeature2021.recipes()


@pytest.mark.parametrize("run", INFOFEATURE2021.values(), ids=INFOFEATURE2021.keys())
def test_the_infofeature_papers_runs_have_its_training_settings(run):
    svhn, wide = "svhn" in run.name, "wrn" in run.name or "cifar100" in run.name
    assert run.data == (SVHN() if svhn else CIFAR100() if "cifar100" in run.name else CIFAR10())
    half = (0.5, 0.5, 0.5)  # to [-1, 1]
    assert run.model == (WideResNet(28, 10, half, half) if wide else ResNet18(64, half, half))
    assert (run.epochs, run.steps, run.batch) == (200 if wide else 120, None, 128)
    assert run.augment == Augment(flip=not svhn, crop=4, padding="zero", cutout=0)
    assert run.optimizer == SGD(
        lr=0.01 if svhn else 0.1, momentum=0.9, weight_decay=2e-4, schedule=run.optimizer.schedule
    )
    lr = 0.01 if svhn else 0.1
    assert _rates(run, 60, 90) == pytest.approx([lr, lr / 10, lr / 10, lr / 100])
    assert run.validation == Validation(images=1_000, attack=PGD(Linf(8 / 255), steps=10))
    assert run.average is None


@pytest.mark.parametrize("data", ["cifar10", "cifar10-wrn", "cifar100", "svhn"])
def test_the_infofeature_papers_methods_have_its_numbers(data):
    eps, alpha = 8 / 255, 2 / 255
    smoothing = 0.0 if data == "cifar10" else 0.5  # section 4.2
    assert INFOFEATURE2021[f"standard-{data}-infofeature2021"].objective == Standard(smoothing=0.0)
    pgd = PGD(Linf(eps), 7, alpha, start_at="uniform")
    assert INFOFEATURE2021[f"pgdat-{data}-infofeature2021"].objective == PGDAT(pgd, "eval", smoothing=0.0)
    maps = InfoFeature(Linf(eps), 7, alpha, weight=0.1, ce_weight=1.0, clip="terms", distance="l2")
    assert INFOFEATURE2021[f"infofeature-{data}"].objective == InfoFeatureAT(maps, "eval", smoothing)
    scatter = FeatureScatter(Linf(eps), 1, None, on="logits")
    assert scatter.alpha == eps
    assert INFOFEATURE2021[f"feature-scatter-{data}"].objective == FeatureScatterAT(scatter, "eval", 0.5)
    towards = AdversarialInterpolation(Linf(eps), 1, None, on="features")
    assert INFOFEATURE2021[f"adv-interp-{data}"].objective == InterpolationAT(towards, 0.5, "eval")
    if data == "cifar10":
        assert INFOFEATURE2021["alp-cifar10"].objective == ALP(pgd, weight=0.1, batch_norm="eval", smoothing=0.0)
        assert INFOFEATURE2021["feature-matching-cifar10"].objective == FeatureMatching(
            pgd, weight=10.0, weight_logits=0.0, form="cam", batch_norm="eval", smoothing=0.0
        )


@pytest.mark.parametrize(("name", "changes"), INFOFEATURE_ABLATIONS.items(), ids=INFOFEATURE_ABLATIONS.keys())
def test_the_infofeature_papers_ablations_differ_from_it_in_one_setting_of_the_attack(name, changes):
    whole = INFOFEATURE2021["infofeature-cifar10"]
    changed = dataclasses.replace(whole.objective, attack=dataclasses.replace(whole.objective.attack, **changes))
    run = INFOFEATURE2021[f"infofeature-{name}-cifar10"]
    assert run == dataclasses.replace(whole, name=run.name, objective=changed)


# the RAT paper, "Training Setup" and Tables 3 and 4

RAT2021 = rat2021.recipes()


@pytest.mark.parametrize("run", RAT2021.values(), ids=RAT2021.keys())
def test_the_rat_papers_runs_have_its_training_settings(run):
    imagenette = "imagenette" in run.name
    assert run.data == (Imagenette() if imagenette else CIFAR100() if "cifar100" in run.name else CIFAR10())
    assert run.model == (PreActResNet18(64, (), ()) if imagenette else WideResNet(34, 10, (), ()))
    assert (run.steps, run.epochs, run.batch) == (80_000, None, 128)
    assert run.augment == Augment(flip=True, crop=4, padding="zero", cutout=0)
    assert run.optimizer == SGD(lr=0.1, momentum=0.9, weight_decay=2e-4, schedule=run.optimizer.schedule)
    assert _rates(run, 30_000, 45_000) == pytest.approx([0.1, 0.01, 0.01, 0.001])
    assert run.validation == Validation(images=0, attack=PGD(Linf(8 / 255), steps=10))
    assert run.average is None


@pytest.mark.parametrize(("data", "largest"), [("cifar10", 2.0), ("cifar100", 2.0), ("imagenette", 3.0)])
def test_the_rat_papers_methods_have_its_numbers(data, largest):
    pgd = PGD(Linf(8 / 255), 10, 2 / 255, start_at="uniform")
    away = PGD(Linf(8 / 255), 10, 2 / 255, start_at="gaussian", loss=KL())
    points = RegionalSampler(samples=2, smallest=0.0, largest=largest, spacing=0.1, if_none="end", clip=True)
    assert points.scales == round(10 * largest) + 1
    assert RAT2021[f"rat-{data}"].objective == RAT(pgd, points, DistanceLabels(beta_max=1.0, beta_min=0.1), "eval")
    assert RAT2021[f"avmixup-{data}"].objective == AVmixup(pgd, gamma=2.0, lambda_1=1.0, lambda_2=0.1)
    learned = AdversarialDistribution(Linf(8 / 255), 7, 5, 0.3, 0.01, accumulate=True)
    assert RAT2021[f"adt-{data}"].objective == ADT(learned)
    assert RAT2021[f"standard-{data}-rat2021"].objective == Standard()
    assert RAT2021[f"pgdat-{data}-rat2021"].objective == PGDAT(pgd)
    assert RAT2021[f"trades-{data}-rat2021"].objective == TRADES(away, beta=6.0)


def test_the_rat_papers_ablations_differ_from_rat_in_the_labels_alone():
    rat = RAT2021["rat-cifar10"]
    for name, largest, smallest in [
        ("rat-ars-cifar10", 1.0, 1.0),
        ("rat-1.0-0.3-cifar10", 1.0, 0.3),
        ("rat-1.0-0.5-cifar10", 1.0, 0.5),
        ("rat-0.8-0.1-cifar10", 0.8, 0.1),
        ("rat-0.6-0.1-cifar10", 0.6, 0.1),
    ]:
        objective = dataclasses.replace(rat.objective, labels=DistanceLabels(largest, smallest))
        assert RAT2021[name] == dataclasses.replace(rat, name=name, objective=objective)


# MART, FGSM-RS and AWP

REFERENCES = references.recipes()
_MEAN, _DEVIATION = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


def test_all_references_are_of_cifar10_with_batches_of_128_crops_and_flips():
    for name, run in REFERENCES.items():
        padding = "reflect" if name == "awp-pgdat-cifar10" else "zero"
        assert run.data == CIFAR10()
        assert (run.batch, run.steps) == (128, None)
        assert run.augment == Augment(flip=True, crop=4, padding=padding, cutout=0)
        held_out = 0 if name == "fgsm-rs-cifar10" else 1_000
        assert run.validation == Validation(images=held_out, attack=PGD(Linf(8 / 255), steps=10))
        assert (run.optimizer.momentum, run.optimizer.nesterov, run.optimizer.decay_norms) == (0.9, False, True)


def test_mart_has_its_papers_numbers():
    run = REFERENCES["mart-cifar10"]
    assert run.model == ResNet18(64, (), ())
    assert (run.epochs, run.optimizer.weight_decay) == (120, 3.5e-3)
    assert _rates(run, 75, 90) == pytest.approx([0.01, 0.001, 0.001, 0.0001])
    attack = PGD(Linf(8 / 255), 10, 8 / 255 / 4, start_at="gaussian", loss=CrossEntropy())
    assert run.objective == MART(attack, beta=5.0, batch_norm="eval")


def test_fgsm_rs_has_its_codes_numbers():
    run = REFERENCES["fgsm-rs-cifar10"]
    assert run.model == PreActResNet18(64, _MEAN, _DEVIATION)
    assert (run.epochs, run.optimizer.weight_decay) == (15, 5e-4)
    schedule = run.optimizer.schedule
    rates = [run.optimizer.lr * schedule(progress) for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.1, 0.0])
    assert run.objective == FGSMRS(PGD(Linf(8 / 255), 1, 10 / 255, start_at="uniform"), "train", smoothing=0.0)


def test_awp_has_its_codes_numbers():
    for name, model, inner, gamma in [
        (
            "awp-pgdat-cifar10",
            PreActResNet18(64, _MEAN, _DEVIATION),
            PGDAT(PGD(Linf(8 / 255), 10, 2 / 255, start_at="uniform"), "train"),
            0.01,
        ),
        (
            "awp-trades-cifar10",
            WideResNet(34, 10, (), ()),
            TRADES(PGD(Linf(8 / 255), 10, 2 / 255, start_at="gaussian", loss=KL()), beta=6.0, batch_norm="eval"),
            0.005,
        ),
    ]:
        run = REFERENCES[name]
        assert run.model == model
        assert (run.epochs, run.optimizer.weight_decay) == (200, 5e-4)
        assert _rates(run, 100, 150) == pytest.approx([0.1, 0.01, 0.01, 0.001])
        assert run.objective == AWP(inner, gamma)


# the ones of a small budget


def _steps_of_attack(run: Run, ball: Linf, step_size: float | None) -> None:
    """Seven steps in the ball, and batch norm's running statistics, but where a method has its own."""
    objective = _inmost(run.objective)
    if isinstance(objective, Standard):
        return
    assert objective.attack.ball == ball
    assert objective.batch_norm == "eval"
    if isinstance(objective, FeatureScatterAT | InterpolationAT):
        assert (objective.attack.steps, objective.attack.step_size) == (1, None)
    elif isinstance(objective, FGSMRS):
        assert (objective.attack.steps, objective.attack.step_size) == (1, 1.25 * ball.eps)
    elif not isinstance(objective, ADT):
        assert (objective.attack.steps, objective.attack.step_size) == (7, step_size)


@pytest.mark.parametrize("run", small.recipes().values(), ids=small.recipes().keys())
def test_the_small_runs_have_the_settings_they_are_known_by(run):
    data = run.name.split("-")[-2]
    assert run.data == {
        "cifar10": CIFAR10(first=5_000), "cifar100": CIFAR100(first=5_000), "svhn": SVHN(first=5_000),
        "stl10": STL10(), "imagenette": Imagenette(size=64),
    }[data]  # fmt: skip
    assert run.model == PreActResNet18(width=16)
    assert (run.epochs, run.steps, run.batch) == (10 if data in ("stl10", "imagenette") else 50, None, 128)
    assert run.optimizer == Adam(lr=1e-3)
    assert run.augment == Augment(flip=data != "svhn")
    assert run.validation == Validation(images=500, attack=PGD(steps=10))
    _steps_of_attack(run, Linf(8 / 255), 2 / 255)


# those of today's good practice


@pytest.mark.parametrize("run", modern.recipes().values(), ids=modern.recipes().keys())
def test_the_modern_runs_have_the_settings_they_are_known_by(run):
    cifar100 = "cifar100" in run.name
    mean, deviation = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)) if cifar100 else (_MEAN, _DEVIATION)
    assert run.data == (CIFAR100() if cifar100 else CIFAR10())
    assert run.model == PreActResNet18(64, mean, deviation)
    assert (run.epochs, run.steps, run.batch) == (110, None, 128)
    assert run.optimizer == SGD(lr=0.1, momentum=0.9, weight_decay=5e-4, schedule=run.optimizer.schedule)
    assert _rates(run, 100, 105) == pytest.approx([0.1, 0.01, 0.01, 0.001])
    assert run.augment == Augment(flip=True, crop=4, padding="reflect", cutout=0)
    assert run.average == EMA(decay=0.995)
    assert run.validation == Validation(images=1_000, attack=PGD(Linf(8 / 255), steps=10))
    objective = _inmost(run.objective)
    if type(objective) in (PGDAT, TRADES, RLFATP, RLFATT, RAT):
        assert (objective.batch_norm, objective.attack.steps, objective.attack.step_size) == ("eval", 10, 2 / 255)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "data", "folder"),
    [("cifar10", CIFAR10(), "cifar-10-batches-py"), ("cifar100", CIFAR100(), "cifar-100-python")],
)
def test_the_modern_runs_normalise_by_their_datas_mean_and_deviation(name, data, folder):
    root = os.environ.get("HARDY_DATA")
    if not root or not (Path(root) / folder).is_dir():
        pytest.skip(f"$HARDY_DATA has no {folder}")
    model, x = modern.recipes()[f"pgdat-{name}-modern"].model, data.load(Path(root), offline=True)[0].x()
    assert model.mean == pytest.approx(x.mean((0, 2, 3), dtype=torch.float64).tolist(), abs=1e-4)
    deviations = [float(x[:, channel].double().std()) for channel in range(3)]
    assert model.deviation == pytest.approx(deviations, abs=1e-3)


@pytest.mark.parametrize("run", digits.recipes().values(), ids=digits.recipes().keys())
def test_the_runs_on_digits_need_no_download_and_a_small_network(run):
    assert isinstance(run.data, Digits)
    assert isinstance(run.model, SmallCNN)
    assert (run.epochs, run.batch) == (40, 64)
    assert run.optimizer == Adam(lr=3e-3, schedule=OneCycle())
    _steps_of_attack(run, Linf(0.1), None)


@pytest.mark.parametrize("run", folder.recipes().values(), ids=folder.recipes().keys())
def test_the_runs_on_a_folder_have_the_settings_they_are_known_by(run):
    assert run.data == Folder(path="images")
    assert run.model == PreActResNet18(width=32)
    assert (run.epochs, run.batch) == (30, 32)
    assert run.optimizer == Adam(lr=1e-3, schedule=Cosine())
    assert run.augment == Augment(flip=True)
    _steps_of_attack(run, Linf(8 / 255), 2 / 255)
