"""A run of two short epochs on digits, made once for all command tests."""

from dataclasses import replace

import pytest

import hardy
from hardy.models import small_cnn
from hardy.training import Validation


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a finished run; tests must not change it."""
    whole = hardy.recipe("rlfat-p-digits")
    quick = replace(whole.objective, attack=replace(whole.objective.attack, steps=1))
    run = replace(
        whole,
        name="quick",
        model=small_cnn(width=2),
        objective=quick,
        epochs=2,
        validation=Validation(images=40, attack=quick.attack),
        precision="float32",
    )
    return hardy.train(run, tmp_path_factory.mktemp("runs") / "quick")
