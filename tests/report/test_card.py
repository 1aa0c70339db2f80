"""A model card: what it says is what was told and measured, and what is missing is said."""

import dataclasses
import json

import pytest
from folders import ATTACK, row

from hardy.describe import describe
from hardy.recipes import recipe
from hardy.report.card import Card, card, config
from hardy.report.claim import Paper
from hardy.report.collect import Diagnosed

RUN = {
    "run": describe(recipe("rlfat-p-digits")),
    "hardy": "0.1.0",
    "commit": "abc",
    "origin": "digits train from /home/ann; read",
}
AUTO = {"type": "AutoAttack"}


def made(**changes) -> Card:
    usual = Card(
        name="mine",
        paper=Paper(),
        license="mit",
        network={"type": "SmallCNN", "width": 2},
        architecture="SmallCNN (width 2)",
        parameters=1234,
        shape=(1, 8, 8),
        classes=("zero", "one"),
        file="model.safetensors",
        digest="abc",
        measured="abc",
        clean=row(value=0.9, n=500, settings={"data": "digits test, 500 images from /home/ann; read"}),
        rows=(
            row("accuracy under pgd-20", 0.5),
            row("accuracy under autoattack", 0.4, settings={"attack": AUTO}, n=50),
        ),
        diagnoses=(),
        trained="Linf 0.1",
        run=RUN,
        which="best",
        data={"type": "Digits"},
    )
    return dataclasses.replace(usual, **changes)


def front(text: str) -> dict:
    """The metadata: a key a line, values as JSON, which YAML has too."""
    lines = text.split("---\n")[1].splitlines()
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in lines)}


def test_the_metadata_are_the_hubs_fields_and_the_measured_numbers():
    # fields and their nesting: huggingface/hub-docs, modelcard.md
    told = front(card(made(data={"type": "CIFAR10"}, run={"run": describe(recipe("rlfat-p-cifar10"))})))
    assert list(told) == ["license", "library_name", "pipeline_tag", "tags", "datasets", "metrics", "model-index"]
    assert (told["license"], told["pipeline_tag"], told["datasets"]) == (
        "mit",
        "image-classification",
        ["uoft-cs/cifar10"],
    )
    ((model,), (found,)) = told["model-index"], told["model-index"][0]["results"]
    assert model["name"] == "mine"
    assert found["task"] == {"type": "image-classification"}
    assert found["dataset"] == {"name": "digits test, 500 images", "type": "uoft-cs/cifar10", "split": "test"}
    assert found["metrics"] == [
        {"type": "accuracy", "name": "clean accuracy, 500 images", "value": 90.0},
        {
            "type": "accuracy",
            "name": "accuracy under pgd-20 (PGD, 20 steps; judged at the last iterate; seed 0), 100 images",
            "value": 50.0,
        },
        {
            "type": "accuracy",
            "name": "accuracy under autoattack (PGD, 20 steps; judged at the last iterate; seed 0), 50 images",
            "value": 40.0,
        },
    ]


def test_a_license_or_data_set_that_nothing_tells_is_not_there():
    told = front(card(made(license="", run={}, data={"type": "CIFAR10"})))
    assert not told.keys() & {"license", "datasets"}  # what it was judged by, it need not have been trained on


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("MIT", {"license": "mit"}),
        (
            "https://example.org/L",
            {"license": "other", "license_name": "mine-license", "license_link": "https://example.org/L"},
        ),
    ],
)
def test_a_license_is_an_id_of_the_hub_or_an_address(given, told):
    # fields: huggingface/hub-docs, modelcard.md
    assert {key: value for key, value in front(card(made(license=given))).items() if "license" in key} == told


def test_the_metadata_are_yaml():
    text = card(made(classes=("it's: a #1", "ß")))
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(text.split("---\n")[1]) == front(text)


def test_every_number_has_its_interval_its_images_and_how_it_was_measured():
    text = card(made())
    assert "| clean accuracy |  | 90.0 [80.0, 100.0] | 500 |" in text
    assert "| pgd-20 | PGD, 20 steps; judged at the last iterate; seed 0 | 50.0 [40.0, 60.0] | 100 |" in text
    crafted = row(
        "accuracy under fgsm",
        0.3,
        settings={"crafted on": ["x"], "precision": "bfloat16", "judge": "any", "attack": ATTACK},
    )
    text = card(made(rows=(crafted,)))
    assert "| fgsm | PGD, 20 steps; crafted on another network; crafted in bfloat16; seed 0 |" in text


def test_threat_data_training_and_classes_are_told():
    text = card(made())
    assert "trained against perturbations within Linf 0.1" in text
    assert "- Trained on: digits train; read." in text
    assert "- Judged by: digits test, 500 images; read." in text
    assert "- Classes, in the order of the logits: zero, one." in text
    assert "(hardy 0.1.0, commit abc)" in text
    assert "These are its best weights." in text
    assert "| objective | RLFATP |" in text
    assert "/home/ann" not in text
    placed = row(
        settings={"data": "digits test, 500 of 1,797 from scikit-learn, at a random place of 16 x 16; own split"}
    )
    assert "- Judged by: digits test, 500 of 1,797 from scikit-learn, at a random place of 16 x 16; own split." in card(
        made(clean=placed)
    )
    assert "These are its best weights, after 10 of 20 steps." in card(made(steps=(10, 20)))
    assert "Measured with hardy" in text


def test_what_is_not_known_is_said():
    text = card(made(run={}, trained=None, rows=(), which=None))
    assert "Which adversary it was trained with is not told." in text
    assert "It was trained without an adversary." in card(made(trained=None))
    assert "- Trained on: not told." in text
    assert "how they were trained is not told" in text
    assert "AutoAttack was not measured: no number here is one to quote" in text
    assert "It was not tested for masked gradients." in text


@pytest.mark.parametrize(
    ("n", "settings", "said"),
    [
        (50, {}, "AutoAttack was measured on 50 images of 500 only."),
        (50, {"crafted on": ["x"]}, "AutoAttack was not measured"),
        (500, {}, ""),
    ],
)
def test_how_much_autoattack_there_is_is_among_the_limits(n, settings, said):
    auto = row("accuracy under autoattack", 0.4, n=n, settings={"attack": AUTO, **settings})
    limits = card(made(rows=(auto,))).split("## Limits")[1].split("##")[0]
    assert said in limits
    assert ("AutoAttack" in limits) == bool(said)


def test_a_diagnosis_and_extra_images_and_a_paper_are_told():
    found = Diagnosed("suspicious", "FGSM beats PGD.", "Linf 0.1", 40, (), "abc", ())
    run = {**RUN, "run": {**RUN["run"], "extra": {"type": "Extra", "path": "1m.npz", "fraction": 0.7}}}
    text = card(made(diagnoses=(found,), run=run, paper=Paper("Robust", "https://example.org", "Ann", "ICLR 2020")))
    assert "- Signs of masked gradients (Linf 0.1, 40 images): suspicious. FGSM beats PGD." in text
    assert "mixed into each batch: path 1m.npz, fraction 0.7." in text
    assert text.endswith("## Paper\n\nAnn, *Robust*, ICLR 2020, https://example.org.\n")


def test_weights_that_had_another_file_when_they_were_measured_say_so():
    assert "other than" not in card(made())
    assert "are of the file with the SHA-256 def" in card(made(measured="def"))


def test_config_has_all_settings_and_no_place_of_the_images():
    told = config(made(), "0.1.0")
    assert told["model"] == {"type": "SmallCNN", "width": 2}
    assert told["class names"] == ("zero", "one")
    assert told["weights"] == {"file": "model.safetensors", "sha256": "abc", "measured sha256": "abc", "which": "best"}
    assert told["run"] == RUN["run"]
    assert told["trained"] == {"hardy": "0.1.0", "commit": "abc", "origin": "digits train; read"}


def test_ones_own_network_is_loaded_by_ones_own_function():
    text = card(made(code="mynet:build"))
    assert 'hardy.models.own("mynet:build")' in text
    assert "from mynet import build" in text
    normalised = made(code="mynet:build", arguments="classes=2", network={"mean": [0.5], "deviation": [0.25]})
    assert "model = build(classes=2).eval()" in card(normalised)
    assert "for each in ([0.5], [0.25]))\nlogits = model((images - mean) / deviation)" in card(normalised)
    assert "network.py" not in text
