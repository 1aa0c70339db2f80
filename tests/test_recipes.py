"""Every recipe builds, describes itself, is rebuilt from JSON and survives a step; the papers' have the papers' numbers."""

import dataclasses
import json

import pytest

from hardy import recipes
from hardy.attacks import KL, PGD, CrossEntropy, Linf
from hardy.data.augment import Augment
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.digits import Digits
from hardy.data.stl10 import STL10
from hardy.describe import describe, fingerprint, rebuild
from hardy.errors import UsageError
from hardy.models import Architecture, MadryResNet, PreActResNet18, SmallCNN, parameter_count
from hardy.models.checkpoints import load
from hardy.objectives import PGDAT, RLFATP, RLFATT, TRADES, RolledPGDAT, Standard
from hardy.recipes import digits, folder, rlfat2020, small
from hardy.recipes.settings import METHODS
from hardy.training.loop import train
from hardy.training.optim import Adam, Constant
from hardy.training.run import Run, Validation
from training.fakes import InMemory, rows

EVERY = {**digits.recipes(), **rlfat2020.recipes(), **small.recipes(), **folder.recipes()}
every = pytest.mark.parametrize("run", EVERY.values(), ids=EVERY.keys())
SETS = ("cifar10", "cifar100", "stl10")


def test_recipes_are_named_method_data_and_found_by_their_names():
    sets = ("digits", "cifar10", "cifar100", "stl10", "cifar10-small", "cifar100-small", "folder")
    assert set(EVERY) == {f"{method}-{data}" for method in METHODS for data in sets}
    assert recipes.recipes() == EVERY
    for name, run in EVERY.items():
        assert run.name == name
        assert recipes.recipe(name) == run


def test_an_unknown_recipe_is_refused_with_the_nearest_names():
    with pytest.raises(UsageError, match=r"There is no recipe named 'rlfatp-cifar10'; did you mean .*rlfat-p-cifar10"):
        recipes.recipe("rlfatp-cifar10")


def test_every_recipe_has_another_id():
    assert len({fingerprint(run) for run in EVERY.values()}) == len(EVERY)


@every
def test_a_recipe_is_rebuilt_equal_from_json(run):
    again = rebuild(json.loads(json.dumps(describe(run))), Run)
    assert again == run
    assert fingerprint(again) == fingerprint(run)


def _tiny(network: Architecture) -> Architecture:
    if isinstance(network, MadryResNet):
        return dataclasses.replace(network, units=1, widen=1)
    assert isinstance(network, PreActResNet18 | SmallCNN)
    return dataclasses.replace(network, width=2)


@every
def test_a_recipe_survives_a_step_on_eight_images(run, tmp_path):
    objective = run.objective
    if not isinstance(objective, Standard):
        objective = dataclasses.replace(objective, attack=dataclasses.replace(objective.attack, steps=1))
    channels, side = run.data.shape[0], min(run.data.shape[1], 32)
    held_out = 4 if run.validation.images else 0
    short = dataclasses.replace(
        run,
        data=InMemory(8, held_out, channels, side, kinds=10),
        model=_tiny(run.model),
        objective=objective,
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
def test_perturbations_do_not_leave_the_ball_by_more_than_the_steps_can_reach(run):
    if isinstance(run.objective, Standard):
        return
    attack = run.objective.attack
    assert isinstance(attack, PGD)
    assert isinstance(attack.ball, Linf)
    # enough steps to cross the ball, none larger than it
    assert attack.ball.eps <= attack.steps * attack.alpha
    assert attack.alpha <= attack.ball.eps
    assert isinstance(attack.loss, KL if isinstance(run.objective, TRADES | RLFATT) else CrossEntropy)
    assert attack.start_at == ("gaussian" if isinstance(run.objective, TRADES | RLFATT) else "uniform")


# the RLFAT paper

PAPER = rlfat2020.recipes()


@pytest.mark.parametrize("run", PAPER.values(), ids=PAPER.keys())
def test_the_papers_runs_have_its_training_settings(run):
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
def test_the_papers_attacks_have_its_numbers(data, steps):
    p = PGD(Linf(0.03), steps, 0.0075, start_at="uniform", momentum=0.0, loss=CrossEntropy())
    t = PGD(Linf(0.03), steps, 0.0075, start_at="gaussian", momentum=0.0, loss=KL())
    attacks = {method: getattr(PAPER[f"{method}-{data}"].objective, "attack", None) for method in METHODS}
    assert attacks == {
        "standard": None,
        "pgdat": p,
        "trades": t,
        "rbsat-p": p,
        "rbsat-t": t,
        "rlfat-p": p,
        "rlfat-t": t,
        "pgdat-rolled": p,
    }


@pytest.mark.parametrize("data", SETS)
def test_the_papers_objectives_have_its_weights_and_its_codes_batch_norm(data):
    def of(method):
        return PAPER[f"{method}-{data}"].objective

    for method in METHODS:
        assert method == "standard" or of(method).batch_norm == "train"
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


# the ones of a small budget


@pytest.mark.parametrize("run", small.recipes().values(), ids=small.recipes().keys())
def test_the_small_runs_have_the_settings_they_are_known_by(run):
    assert run.data == (CIFAR100(first=5_000) if "cifar100" in run.name else CIFAR10(first=5_000))
    assert run.model == PreActResNet18(width=16)
    assert (run.epochs, run.steps, run.batch) == (50, None, 128)
    assert run.optimizer == Adam(lr=1e-3)
    assert run.augment == Augment(flip=True)
    assert run.validation == Validation(images=500, attack=PGD(steps=10))
    if not isinstance(run.objective, Standard):
        attack = run.objective.attack
        assert (attack.ball, attack.steps, attack.step_size) == (Linf(8 / 255), 7, 2 / 255)
        assert run.objective.batch_norm == "eval"


@pytest.mark.parametrize("run", digits.recipes().values(), ids=digits.recipes().keys())
def test_the_runs_on_digits_need_no_download_and_a_small_network(run):
    assert isinstance(run.data, Digits)
    assert isinstance(run.model, SmallCNN)
    assert run.epochs is not None
    if not isinstance(run.objective, Standard):
        assert run.objective.attack.ball == Linf(digits.EPS)
        assert run.objective.batch_norm == "eval"
