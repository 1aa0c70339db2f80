"""Settings to JSON and back."""

import dataclasses
import json
from typing import Literal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from hardy.attacks import DLR, KL, L2, NATTACK, PGD, Attack, Ball, CrossEntropy, Linf, Margin, fgsm
from hardy.describe import describe, fingerprint, leaves, rebuild, require, settings
from hardy.errors import HardyError, UsageError, unknown


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
        ({"type": "TestLeaf", "number": "1"}, r"settings\.number is '1'"),
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
        ({"type": "TestLeaf", "number": 1, "ball": {"type": "Linf", "eps": 8}}, "eps is 8; it must be in"),
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


def test_only_settings_and_plain_values_have_a_json_form():
    with pytest.raises(TypeError, match="complex is not a settings class"):
        describe(1j)
    with pytest.raises(TypeError, match="no JSON form"):
        describe([1, object()])


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
