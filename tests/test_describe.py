"""Settings to JSON and back."""

import dataclasses
import json
from typing import Literal

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from hardy.attacks import DLR, KL, L2, NATTACK, PGD, Attack, Ball, CrossEntropy, Linf, Margin, fgsm
from hardy.data import Digits
from hardy.describe import (
    counted,
    describe,
    fingerprint,
    first_line,
    fitted,
    leaves,
    rebuild,
    require,
    settings,
    with_article,
)
from hardy.errors import HardyError, UsageError, unknown
from hardy.models.small import SmallCNN
from hardy.objectives import PGDAT
from hardy.training.optim import SGD
from hardy.training.run import Run


@settings
class TestLeaf:
    """A settings class with one field of each kind."""

    __test__ = False

    number: int
    share: float = 0.5
    name: str = "a"
    on: bool = False
    mode: Literal["x", "y"] = "x"
    maybe: float | None = None
    several: tuple[int, ...] = ()
    ball: Ball = Linf()


def run_of(**changes: object) -> Run:
    """A run of one epoch."""
    return Run(
        **{"name": "r", "data": Digits(), "model": SmallCNN(), "objective": PGDAT(), "optimizer": SGD(), "epochs": 1}
        | changes
    )


ATTACKS = [
    PGD(),
    PGD(L2(1.5), steps=0, step_size=0.1, start_at="image", momentum=0.75, loss=Margin(3.0)),
    PGD(loss=KL(), start_at="gaussian"),
    PGD(loss=DLR()),
    fgsm(Linf(0.03)),
    NATTACK(),
    NATTACK(Linf(0.03), steps=3, population=4, runner_up="first-member"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.summary)
def test_settings_survive_the_way_through_json(attack):
    text = json.dumps(describe(attack))
    again = rebuild(json.loads(text), Attack)
    assert again == attack
    assert type(again) is type(attack)
    assert fingerprint(again) == fingerprint(attack)


def test_a_description_names_classes_and_holds_every_field():
    assert describe(PGD(Linf(0.25), steps=3)) == {
        "type": "PGD",
        "ball": {"type": "Linf", "eps": 0.25},
        "steps": 3,
        "step_size": None,
        "start_at": "uniform",
        "momentum": 0.0,
        "loss": {"type": "CrossEntropy"},
    }


def test_tuples_become_lists_and_come_back_as_tuples():
    leaf = TestLeaf(1, several=(3, 4), maybe=0.5, ball=L2(2.0))
    assert describe(leaf)["several"] == [3, 4]
    assert rebuild(describe(leaf), TestLeaf) == leaf


def test_fields_left_out_take_their_defaults_and_a_whole_number_serves_as_a_float():
    assert rebuild({"type": "TestLeaf", "number": 2, "share": 1}, TestLeaf) == TestLeaf(2, share=1.0)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"type": "os.system"}, "'os.system', which is not one of this library's settings"),
        ({"type": "Tensor"}, "not one of this library's settings"),
        ({"type": ["PGD"]}, "not one of this library's settings"),
        ({}, "names the class None"),
        ({"type": "TestLeaf"}, "lacks number"),
        ({"type": "TestLeaf", "number": 1, "numbre": 2}, "has no field 'numbre'; it has number, share"),
        ({"type": "TestLeaf", "number": "1"}, r"settings \(TestLeaf\): number is '1'; it must be an integer"),
        ({"type": "TestLeaf", "number": True}, "number is True"),
        ({"type": "TestLeaf", "number": 1.0}, "number is 1.0"),
        ({"type": "TestLeaf", "number": 1, "share": "0.5"}, "share is '0.5'"),
        ({"type": "TestLeaf", "number": 1, "share": True}, "share is True"),
        ({"type": "TestLeaf", "number": 1, "share": None}, "share is None"),
        ({"type": "TestLeaf", "number": 1, "on": 1}, "on is 1"),
        ({"type": "TestLeaf", "number": 1, "mode": "z"}, "mode is 'z'"),
        ({"type": "TestLeaf", "number": 1, "several": [1, "b"]}, "several is"),
        ({"type": "TestLeaf", "number": 1, "several": 3}, "several is 3"),
        ({"type": "TestLeaf", "number": 1, "ball": {"type": "KL"}}, "ball is KL"),
        ({"type": "TestLeaf", "number": 1, "ball": {"type": "Box"}}, r"settings\.ball names the class 'Box'"),
        ({"type": "TestLeaf", "number": 1, "share": float("nan")}, "share is nan; it must be a finite number"),
        ({"type": "TestLeaf", "number": 10**30}, r"it must be an integer \(64 bits\)"),
        (
            {"type": "TestLeaf", "number": 1, "ball": {"type": "Linf", "eps": 8}},
            r"settings\.ball \(Linf\): eps is 8.0; it must be in",
        ),
        ({"type": "CrossEntropy"}, "describe a CrossEntropy; a TestLeaf was expected"),
        ([], "describe a tuple"),
        ("PGD", "describe a str"),
        (None, "describe a NoneType"),
    ],
)
def test_what_does_not_describe_settings_is_refused_in_a_sentence(data, said):
    with pytest.raises(UsageError, match=said):
        rebuild(data, TestLeaf)


KEYS = st.sampled_from(
    ["type", "ball", "steps", "eps", "loss", "kappa", "step_size", "start_at", "several", "number", "?"]
)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["PGD", "Linf", "NATTACK", "Margin", "TestLeaf", "image", ""])
)
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5))


@given(JSON)
def test_any_json_either_describes_settings_or_is_refused(data):
    try:
        value = rebuild(data, object)
    except UsageError:
        return
    assert json.dumps(describe(value)) == json.dumps(describe(rebuild(describe(value), object)))


@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(PGD)]), JSON, min_size=1, max_size=3))
def test_any_fields_of_an_attack_either_fit_or_are_refused(fields):
    try:
        value = rebuild({"type": "PGD", **fields}, PGD)
    except UsageError:
        return
    assert isinstance(value, PGD)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PGDAT(batch_norm="Train"), "batch_norm is 'Train'; it must be 'eval' or 'train' or 'batch'."),
        (lambda: NATTACK(runner_up="x"), "runner_up is 'x'; it must be 'per-member' or 'first-member'."),
        (lambda: PGD(start_at="random"), "start_at is 'random'; it must be 'uniform' or 'gaussian' or 'image'."),
        (lambda: PGD(start_at=None), "start_at is None; it must be 'uniform' or 'gaussian' or 'image'."),
        (lambda: PGD(0.5), "ball is 0.5; it must be a Ball."),
        (lambda: PGD(loss="ce"), "loss is 'ce'; it must be a Criterion."),
        (lambda: PGD(loss=CrossEntropy), f"loss is {CrossEntropy!r}; it must be a Criterion."),
        (lambda: PGDAT(attack=None), "attack is None; it must be an Attack."),
        (lambda: PGD(steps=10**20), f"steps is {10**20}; it must be an integer (64 bits)."),
        (lambda: PGD(steps=1.5), "steps is 1.5; it must be an integer (64 bits)."),
        (lambda: PGD(steps="3"), "steps is '3'; it must be an integer (64 bits)."),
        (lambda: PGD(step_size=True), "step_size is True; it must be a finite number (32 bits) or None."),
        (lambda: PGD(momentum=float("inf")), "momentum is inf; it must be a finite number (32 bits)."),
        (lambda: L2(float("inf")), "eps is inf; it must be a finite number (32 bits)."),
        (lambda: Margin(float("nan")), "kappa is nan; it must be a finite number (32 bits)."),
        (lambda: L2(1e39), "eps is 1e+39; it must be a finite number (32 bits)."),
        (lambda: L2(10**400), f"eps is {10**400}; it must be a finite number (32 bits)."),
        (lambda: NATTACK(learning_rate=0.0), "learning_rate is 0.0; it must be above 0."),
        (lambda: NATTACK(learning_rate=-1.0), "learning_rate is -1.0; it must be above 0."),
        (lambda: TestLeaf(1, on=1), "on is 1; it must be True or False."),
        (lambda: TestLeaf(1, name=3), "name is 3; it must be text."),
        (lambda: TestLeaf(1, several=(1, 2.5)), "several is (1, 2.5); it must be a tuple, each item an integer (64 bits)."),
        (lambda: TestLeaf(1, several=5), "several is 5; it must be a tuple, each item an integer (64 bits)."),
        (lambda: run_of(batch=64.0), "batch is 64.0; it must be an integer (64 bits)."),
        (lambda: run_of(epochs=1.5), "epochs is 1.5; it must be an integer (64 bits) or None."),
        (lambda: run_of(epochs=True), "epochs is True; it must be an integer (64 bits) or None."),
        (lambda: run_of(precision="fp16"), "precision is 'fp16'; it must be 'auto' or 'float32' or 'bfloat16'."),
        (lambda: dataclasses.replace(run_of(), objective=None), "objective is None; it must be an Objective."),
    ],
)  # fmt: skip
def test_fields_hold_what_their_types_say_or_the_object_is_not_made(make, said):
    with pytest.raises(UsageError) as error:
        make()
    assert str(error.value) == said


def test_numbers_and_sequences_of_other_libraries_become_pythons_own():
    leaf = TestLeaf(
        np.int64(3), share=np.float32(0.5), name=np.str_("b"), on=np.bool_(True), maybe=1, several=[np.int8(4)]
    )
    assert leaf == TestLeaf(3, 0.5, "b", True, "x", 1.0, (4,))
    assert [type(v) for v in (leaf.number, leaf.share, leaf.name, leaf.on, leaf.maybe)] == [
        int,
        float,
        str,
        bool,
        float,
    ]
    assert hash(leaf) == hash(TestLeaf(3, 0.5, "b", True, "x", 1.0, (4,)))
    json.dumps(describe(leaf))
    assert type(L2(np.float64(0.5)).eps) is float
    with pytest.raises(UsageError, match="it must be a finite number"):
        L2(np.float32("inf"))


def test_equal_settings_have_one_fingerprint_whatever_numbers_they_were_made_from():
    assert fingerprint(SmallCNN(mean=[0], deviation=(1,))) == fingerprint(SmallCNN(mean=(0.0,), deviation=(1.0,)))
    assert fingerprint(L2(1)) == fingerprint(L2(1.0))


def test_types_come_before_a_classes_own_conditions_which_hold_for_heirs_too():
    class Heir(PGD):
        """No settings class of its own."""

    for cls in (PGD, Heir):
        with pytest.raises(UsageError, match="steps is '3'"):
            cls(steps="3")
        with pytest.raises(UsageError, match="steps is -1; it must be at least 0"):
            cls(steps=-1)


def test_a_value_may_be_held_against_a_type_by_itself():
    assert fitted(np.int64(3), int, "n") == 3
    assert fitted([1, 2], tuple[float, ...], "shares") == (1.0, 2.0)
    with pytest.raises(UsageError, match=r"^which is 'new'; it must be 'best' or 'last' or None\.$"):
        fitted("new", Literal["best", "last"] | None, "which")


def test_of_another_librarys_message_the_first_line_is_quoted():
    assert first_line(RuntimeError("Too large.\nframe #0: c10::Error")) == "Too large"
    assert first_line(RuntimeError()) == ""


def test_only_settings_and_plain_values_have_a_json_form():
    with pytest.raises(
        UsageError, match=r"complex in builtins is not a settings class .* hardy\.describe\.settings makes"
    ):
        describe(1j)
    with pytest.raises(UsageError, match="no JSON form"):
        describe([1, object()])


def test_a_class_of_ones_own_is_not_taken_for_the_settings_class_of_its_name():
    own = type("PGD", (PGD,), {"__module__": "mine"})
    with pytest.raises(UsageError, match="PGD in mine is not a settings class"):
        describe(own())


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PGD().steps = 3  # type: ignore[misc]


def test_a_second_class_of_a_taken_name_is_refused_and_the_first_stays():
    other = type("PGD", (), {"__module__": "elsewhere"})
    with pytest.raises(TypeError, match=r"Two settings classes are named PGD: in hardy\.attacks\.pgd and elsewhere"):
        settings(other)
    assert type(rebuild(describe(PGD()), Attack)) is PGD


def test_fingerprints_are_twelve_digits_that_tell_settings_apart():
    prints = {fingerprint(a) for a in ATTACKS}
    assert len(prints) == len(ATTACKS)
    assert all(len(p) == 12 and int(p, 16) >= 0 for p in prints)
    assert fingerprint(PGD(steps=10)) == fingerprint(PGD())


def test_leaves_are_named_as_the_command_line_spells_them():
    assert leaves(PGD(Linf(0.25), steps=3, loss=Margin(1.0))) == {
        "ball.eps": 0.25,
        "steps": 3,
        "step_size": None,
        "start_at": "uniform",
        "momentum": 0.0,
        "loss.kappa": 1.0,
    }
    assert leaves(PGD(), "attack")["attack.ball.eps"] == 8 / 255
    assert leaves(CrossEntropy(), "loss") == {}


def test_require_says_what_was_given_and_what_is_allowed():
    require(True, "k", 3, "odd")
    with pytest.raises(UsageError, match=r"^k is 4; it must be odd\.$"):
        require(False, "k", 4, "odd")


def test_an_unknown_name_is_answered_with_the_nearest_or_all():
    assert "did you mean trades?" in str(unknown("method", "trade", ["trades", "alp"]))
    assert "known are alp, trades." in str(unknown("method", "zzz", ["trades", "alp"]))
    assert isinstance(unknown("method", "x", []), HardyError | ValueError)


@pytest.mark.parametrize("said", ["an int", "an Architecture", "a bool", "a Tensor", "a uint8", "a UsageError"])
def test_names_get_their_article(said: str):
    assert with_article(said.split()[1]) == said


@pytest.mark.parametrize(("n", "said"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1000, "1,000 images")])
def test_one_thing_is_told_from_several(n: int, said: str):
    assert counted(n, "image") == said


def test_settings_of_another_class_are_named_with_their_articles():
    from hardy.models import Architecture

    with pytest.raises(UsageError, match="describe a CrossEntropy; an Architecture was expected"):
        rebuild({"type": "CrossEntropy"}, Architecture)
