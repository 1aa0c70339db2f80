"""What is claimed at RobustBench: every field is measured, said by the user, or open; nothing else."""

import dataclasses
import json

import pytest
from folders import row

from hardy.report.claim import Claim, Paper

# Every key of model_info/cifar10/Linf/Kang2021Stable.json (RobustBench/robustbench @f250f41) but `external`, which is for others'
# evaluations. Rice2020Overfitting.json, the example of its README, has the first twelve of them without `footnote`.
KEYS = [
    "link", "name", "authors", "additional_data", "number_forward_passes", "dataset", "venue", "architecture", "eps", "clean_acc",
    "reported", "autoattack_acc", "footnote", "unreliable",
]  # fmt: skip
AUTO = "AutoAttack (standard: apgd-ce, apgd-t, fab-t, square), Linf 8/255"


def attacked(n: int, value: float = 0.4321):
    return row("accuracy under autoattack", value, n=n, settings={"summary": AUTO, "precision": "bfloat16"})


def claim(**changes) -> Claim:
    usual = Claim(
        name="Song2020Robust",
        paper=Paper(),
        dataset="cifar10",
        norm="Linf",
        eps="8/255",
        architecture="WideResNet-28-10",
        in_zoo=True,
        made="WideResNet(depth=28, widen_factor=10, num_classes=10)",
        normalises=False,
        clean=row(value=0.85346, n=10_000),
        attacked=attacked(10_000),
        verdict="no sign",
        weights=("Song2020Robust.pt", "abc"),
        additional_data=False,
        forward_passes=1,
    )
    return dataclasses.replace(usual, **changes)


WHOLE = claim(
    paper=Paper("Robust local features", "https://example.org", "Ann Author, Bo Author", "ICLR 2020"),
    reported="47.5",
    footnote="It uses 1M images.",
    checkpoint="https://example.org/w.pt",
    license="MIT",
)


def test_every_field_of_robustbenchs_entry_is_there_as_its_own_entries_have_them():
    assert list(WHOLE.info) == KEYS
    assert WHOLE.info == {
        "link": "https://example.org",
        "name": "Robust local features",
        "authors": "Ann Author, Bo Author",
        "additional_data": False,
        "number_forward_passes": 1,
        "dataset": "cifar10",
        "venue": "ICLR 2020",
        "architecture": "WideResNet-28-10",
        "eps": "8/255",
        "clean_acc": "85.35",
        "reported": "47.5",
        "autoattack_acc": "43.21",
        "footnote": "It uses 1M images.",
        "unreliable": False,
    }
    assert json.loads(json.dumps(WHOLE.info)) == WHOLE.info
    assert WHOLE.open == []
    assert WHOLE.shortfall == ""


def test_what_nobody_said_is_open_and_nothing_is_put_in_its_place():
    bare = claim(additional_data=None, forward_passes=None, verdict=None)
    assert bare.open == [
        "link", "name", "authors", "additional_data", "number_forward_passes", "venue", "reported", "unreliable",
    ]  # fmt: skip
    assert {bare.info[name] for name in bare.open} == {None, ""}
    assert bare.info["footnote"] is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (None, "AutoAttack was not measured in Linf 8/255; RobustBench's number is that on all 10,000 images."),
        (attacked(200, 0.22), "AutoAttack was measured on the first 200 of 10,000 images: 22.0 [12.0, 32.0] %."),
        (attacked(9_999, 0.22), "the first 9,999 of 10,000"),
    ],
)
def test_without_autoattack_on_all_images_it_is_no_claim_and_says_so(row, said):
    partial = dataclasses.replace(WHOLE, attacked=row)
    assert not partial.complete
    assert partial.info["autoattack_acc"] is None
    assert partial.open == ["autoattack_acc"]
    assert said in partial.shortfall
    assert f"**Not yet a claim.** {partial.shortfall}" in partial.text
    assert "- **Robust accuracy**: not measured on all test images\n" in partial.text


@pytest.mark.parametrize(
    ("verdict", "unreliable"), [("masked", True), ("suspicious", True), ("no sign", False), (None, None)]
)
def test_it_is_unreliable_where_a_diagnosis_saw_signs_of_masked_gradients(verdict, unreliable):
    assert claim(verdict=verdict).info["unreliable"] is unreliable
    assert ("**Unreliable.** The verdict of `hardy diagnose`" in claim(verdict=verdict).text) == bool(unreliable)


def test_the_text_has_the_parts_of_robustbenchs_template_in_their_order():
    # of .github/ISSUE_TEMPLATE/new-model.md (RobustBench/robustbench @47a493f); Dataset and Footnote as in its issue 29
    parts = [
        "[New Model] Song2020Robust", "# Paper Information", "- **Paper Title**: Robust local features",
        "- **Paper URL**: https://example.org", "- **Paper authors**: Ann Author, Bo Author", "# Leaderboard Claim(s)",
        "## Model 1",
        "- **Architecture**: WideResNet-28-10", "- **Dataset**: cifar10", "- **Threat Model**: Linf", "- **eps**: 8/255",
        "- **Clean accuracy**: 85.35", "- **Robust accuracy**: 43.21", "- **Additional data**: false",
        f"- **Evaluation method**: {AUTO}, 10,000 images, seed 0, crafted in bfloat16",
        "- **Checkpoint and code**: https://example.org/w.pt: Song2020Robust.pt (SHA-256 abc)", "`WideResNet(depth=28,",
        "- **Footnote**: It uses 1M images.", "# Model Zoo:", "- [ ] I want to add",
        "- [ ] I use an architecture that is **not**",
        "- [x] I agree to release my model(s) under MIT", "- [ ] I want my models to be released under a custom license",
    ]  # fmt: skip
    places = [WHOLE.text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)
    assert "Not yet a claim" not in WHOLE.text


def test_what_takes_the_weights_is_said_and_how_it_normalises():
    assert "num_classes=10)`\n" in WHOLE.text
    assert (
        "num_classes=10)`, in a subclass that normalises by the buffers mu and sigma\n" in claim(normalises=True).text
    )


def test_a_network_that_robustbench_has_no_class_for_is_said_and_so_is_another_license():
    text = claim(in_zoo=False, made="network() of network.py", license="https://example.org/license").text
    assert "- [x] I use an architecture that is **not** included" in text
    assert "a state_dict for `network() of network.py`\n" in text
    assert "- [ ] I agree to release my model(s) under MIT" in text
    assert text.endswith(
        "- [x] I want my models to be released under a custom license, located here: https://example.org/license\n"
    )
