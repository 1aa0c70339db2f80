"""What is known of how a network was trained, and how two runs differ."""

import shutil
from dataclasses import replace

import pytest

from hardy.cli.gaps import Gaps
from hardy.cli.trained import differences, learnt_from, run_of
from hardy.data import CIFAR10, Digits
from hardy.errors import UsageError
from hardy.models.published import published
from hardy.recipes import recipe
from hardy.training.average import EMA
from hardy.training.record import read_run
from hardy.training.stream import TrainingImages

BASE = recipe("pgdat-cifar10-small")


def of(name, base=BASE):
    made = recipe(name)
    return differences(replace(base, name=made.name), made)


def test_settings_that_differ_are_named_as_on_the_command_line():
    assert differences(BASE, BASE) == []
    assert differences(BASE, replace(BASE, epochs=10, seed=3)) == ["epochs 50 -> 10", "seed 0 -> 3"]
    eta = replace(recipe("rlfat-p-cifar10-small").objective, eta=0.0)
    assert differences(recipe("rlfat-p-cifar10-small").objective, eta, "objective") == ["objective.eta 0.5 -> 0"]
    assert of("rat-0.8-0.1-cifar10", recipe("rat-cifar10")) == ["objective.labels.beta_max 1 -> 0.8"]
    assert differences(BASE, replace(BASE, data=CIFAR10(first=100))) == ["data.first 5000 -> 100"]


def test_radii_are_named_in_both_their_forms():
    attack = replace(BASE.objective.attack, step_size=4 / 255)
    assert differences(BASE.objective.attack, attack) == ["step_size 2/255 = 0.00784314 -> 4/255 = 0.0156863"]


def test_of_another_class_only_what_is_not_its_own_default_is_named():
    assert of("trades-cifar10-small") == ["objective PGDAT -> TRADES"]  # start and loss of the attack go with it
    assert of("rlfat-p-cifar10-small") == ["objective PGDAT -> RLFATP"]
    assert of("rbsat-p-cifar10-small") == ["objective PGDAT -> RLFATP", "objective.eta = 0"]
    assert of("awp-trades-cifar10-small") == [
        "objective PGDAT -> AWP", "objective.inner = TRADES", "objective.gamma = 0.005",
    ]  # fmt: skip
    made = recipe("trades-cifar10-small")
    steps = replace(made.objective, attack=replace(made.objective.attack, steps=3))
    assert differences(BASE.objective, steps, "objective") == [
        "objective PGDAT -> TRADES", "objective.attack.steps 7 -> 3",
    ]  # fmt: skip
    plain = replace(made.objective, attack=BASE.objective.attack)  # TRADES on an attack that is not its own
    assert differences(BASE.objective, plain, "objective") == ["objective PGDAT -> TRADES"]
    assert differences(made.objective, plain, "objective") == [
        "objective.attack.start_at gaussian -> uniform", "objective.attack.loss KL -> CrossEntropy",
    ]  # fmt: skip


def test_what_the_first_lacks_is_named_unless_it_is_its_classs_default():
    assert differences(recipe("standard-cifar10-small").objective, BASE.objective, "objective") == [
        "objective Standard -> PGDAT", "objective.attack = PGD",
    ]  # fmt: skip
    assert differences(BASE, replace(BASE, average=EMA())) == ["average None -> EMA"]
    assert differences(BASE, replace(BASE, average=EMA(decay=0.9))) == ["average None -> EMA", "average.decay = 0.9"]
    assert differences(replace(BASE, average=EMA()), BASE) == ["average EMA -> None"]


def test_the_run_of_a_folder_of_its_weights_and_of_a_published_network_is_known(trained, tmp_path):
    run = read_run(trained)
    assert run_of(trained) == run_of(trained / "best.safetensors") == run
    assert run_of(trained / "last.safetensors") == run
    for name in published():
        assert run_of(tmp_path / name) is None
    assert run_of(type(trained)("rlfat-p-cifar10-small")).objective == recipe("rlfat-p-cifar10-small").objective


def test_of_weights_apart_from_their_run_or_beside_another_no_run_is_known(trained, tmp_path):
    shutil.copy(trained / "best.safetensors", tmp_path)
    assert run_of(tmp_path / "best.safetensors") is None
    text = (trained / "run.json").read_text().replace('"id": "', '"id": "0')
    (tmp_path / "run.json").write_text(text)
    assert run_of(tmp_path / "best.safetensors") is None  # another run's
    (tmp_path / "foreign.pth").write_bytes(b"not weights of ours")
    assert run_of(tmp_path / "foreign.pth") is None


def test_what_a_run_learnt_from_is_without_the_images_that_it_held_out(trained):
    _, test = Digits().load()
    part, unknown = learnt_from(trained, Gaps(), test)
    images = TrainingImages.load(read_run(trained))
    assert part.indices.tolist() == images.part.indices.tolist()
    assert not set(part.indices.tolist()) & set(images.held_out.indices.tolist())
    assert part.origin.endswith("; 40 held-out images not among them")
    assert unknown == ""
    same, _ = learnt_from(trained, Gaps(data=Digits()), test)
    assert same.indices.tolist() == part.indices.tolist()


def test_of_a_network_whose_run_is_not_known_all_images_of_the_data_named_are_taken_and_it_is_said(trained, tmp_path):
    shutil.copy(trained / "best.safetensors", tmp_path)
    train, test = Digits().load()
    part, unknown = learnt_from(tmp_path / "best.safetensors", Gaps(data=Digits()), test)
    assert part.indices.tolist() == train.indices.tolist()
    assert "all 1,297 training images count as seen; whether some were held out is not known" in unknown


def test_other_images_than_those_of_the_training_are_refused(trained, tmp_path):
    shutil.copy(trained / "best.safetensors", tmp_path)
    _, test = Digits(canvas=8).load()
    with pytest.raises(
        UsageError, match=r"does not tell what it was trained on: there is no run\.json of its run beside it"
    ):
        learnt_from(tmp_path / "best.safetensors", Gaps(), test)
    with pytest.raises(UsageError, match=r"was trained on other data than --data names .*leave --data out"):
        learnt_from(trained, Gaps(data=Digits(canvas=8)), test)
