from math import comb

import pytest
import torch

from hardy.evaluation import sign_kinds as kinds
from hardy.evaluation import signs
from hardy.evaluation.sign_kinds import Sign
from hardy.evaluation.signs import LEVEL, at_least, verdict


def held(n, *broken):
    """bool (n,): who holds; ranges of images that do not."""
    made = torch.ones(n, dtype=torch.bool)
    for first, last in broken:
        made[first:last] = False
    return made


def sign(name="made up", weight="hint", result="seen"):
    return Sign(name, weight, result, 0.001, {}, 0.5, "of what", "why")


@pytest.mark.parametrize(
    ("k", "n", "share"), [(0, 5, 0.2), (5, 5, 0.5), (8, 10, 0.5), (3, 40, 0.05), (40, 200, 0.25), (0, 0, 0.5)]
)
def test_the_tail_of_the_binomial_is_exact(k, n, share):
    summed = sum(comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k, n + 1))
    assert at_least(k, n, share) == pytest.approx(summed, rel=1e-12)


# Paired signs: (function, the name in its numbers). The first argument is the attack that should not win.
PAIRED = [
    (signs.one_step, "FGSM"), (signs.square_against, "Square"), (signs.transfer, "transfer"), (signs.noise, "noise"),
    (signs.averaged, "PGD-20 on averages"),
]  # fmt: skip
PAIRED_IDS = [title for _, title in PAIRED]


@pytest.mark.parametrize(("of", "title"), PAIRED, ids=PAIRED_IDS)
def test_a_paired_sign_is_seen_where_the_attack_that_should_not_win_breaks_more_alone(of, title):
    correct = held(20)
    found = of(held(20, (0, 8)), held(20, (7, 9)), correct)  # 7 by it alone, one by both, one by PGD alone
    assert (found.numbers[f"broken only by {title}"], found.numbers["broken only by PGD-20"]) == (7, 1)
    assert found.p == pytest.approx(9 / 2**8)
    assert found.result == "not seen"
    found = of(held(20, (0, 8)), held(20, (7, 8)), correct)
    assert (found.p, found.result) == (pytest.approx(1 / 2**7), "seen")
    assert found.numbers["PGD-20"] == pytest.approx(0.95)
    assert found.numbers[title] == pytest.approx(0.6)


@pytest.mark.parametrize(("of", "title"), PAIRED, ids=PAIRED_IDS)
def test_a_paired_sign_is_not_seen_where_the_attack_that_should_win_does(of, title):
    found = of(held(20), held(20, (0, 10)), held(20))
    assert (found.p, found.result) == (1.0, "not seen")


@pytest.mark.parametrize(("of", "title"), PAIRED, ids=PAIRED_IDS)
def test_a_paired_sign_needs_seven_images_that_pgd_left(of, title):
    pgd = held(20, (6, 20))
    found = of(~pgd, pgd, held(20))  # the most extreme outcome with six images
    assert (found.result, found.p) == ("not enough images", None)
    assert "0.016" in found.note
    assert of(held(20, (6, 20)), held(20, (7, 20)), held(20)).result == "not seen"


@pytest.mark.parametrize(("of", "title"), PAIRED, ids=PAIRED_IDS)
def test_where_pgd_broke_all_of_enough_images_nothing_is_left_to_be_masked(of, title):
    assert of(held(7, (0, 7)), held(7, (0, 7)), held(7)).result == "not seen"
    assert of(held(6, (0, 6)), held(6, (0, 6)), held(6)).result == "not enough images"
    # images that are misclassified unperturbed are none that were attacked
    assert of(held(20, (0, 20)), held(20, (0, 20)), held(20, (6, 20))).result == "not enough images"


# Signs of a share: (function, its threshold)
SHARES = [
    (signs.square_after, kinds.BLACK_BOX_GAIN), (signs.nattack_after, kinds.BLACK_BOX_GAIN),
    (signs.margin_loss, kinds.CW_GAIN), (signs.autoattack_below, kinds.AUTOATTACK_GAIN),
    (lambda after, left, correct: signs.effort({"more": after}, left, correct), kinds.EFFORT_GAIN),
]  # fmt: skip
SHARE_IDS = ["square", "nattack", "margin", "autoattack", "effort"]


@pytest.mark.parametrize(("of", "threshold"), SHARES, ids=SHARE_IDS)
def test_a_share_is_seen_where_it_is_too_large_for_its_threshold_by_chance(of, threshold):
    n = 150  # correct ones of 200, of which PGD-20 leaves 100
    correct, left = held(200, (150, 200)), held(200, (100, 200))
    needed = next(k for k in range(n) if at_least(k, n, threshold) <= LEVEL)
    assert threshold * n < needed < 100
    for k, result in ((needed, "seen"), (needed - 1, "not seen"), (0, "not seen")):
        found = of(held(200, (0, k), (100, 200)), left, correct)
        assert (found.result, found.p, found.threshold) == (result, at_least(k, n, threshold), threshold)
        assert {k, n, 100} <= set(found.numbers.values())


@pytest.mark.parametrize(("of", "threshold"), SHARES, ids=SHARE_IDS)
def test_a_share_of_fewer_than_ten_images_is_none(of, threshold):
    none, nine, ten = held(12, (0, 12)), held(12, (9, 12)), held(12, (10, 12))
    assert of(none, nine, nine).result == "not enough images"  # the most extreme outcome
    assert "fewer than 10" in of(none, nine, nine).note
    assert of(nine, nine, nine).result == "not enough images"
    assert of(none, ten, ten).result == "seen"
    assert of(none, none, none).result == "not enough images"


@pytest.mark.parametrize(("of", "threshold"), SHARES, ids=SHARE_IDS)
def test_the_last_few_images_that_an_attack_left_overstate_nothing(of, threshold):
    left = held(200, (3, 200))
    assert of(left & ~left, left, held(200)).result == "not seen"


def test_effort_counts_each_image_once():
    left = held(40, (20, 40))
    found = signs.effort({"a": held(40, (0, 4)), "b": held(40, (2, 6)), "c": held(40, (20, 40))}, left, held(40))
    assert found.numbers == {
        "images": 40, "left by PGD-20": 20, "of these broken by a": 4, "of these broken by b": 4, "of these broken by c": 0,
        "of these broken by any": 6,
    }  # fmt: skip
    assert found.p == at_least(6, 40, kinds.EFFORT_GAIN)


def test_accuracy_under_autoattack_is_that_of_what_both_leave():
    found = signs.autoattack_below(held(10, (4, 6)), held(10, (5, 10)), held(10))
    assert (found.numbers["PGD-20"], found.numbers["AutoAttack"]) == (0.5, 0.4)


def test_chance_is_the_share_of_the_commonest_class():
    labels = torch.tensor([0] * 12 + [1] * 8)
    found = signs.chance(held(20, (18, 20)), held(20), labels, 0.5)
    assert (found.threshold, found.p) == (0.6, pytest.approx(at_least(18, 20, 0.6)))
    assert found.result == "seen"
    assert signs.chance(held(20, (12, 20)), held(20), labels, 0.5).result == "not seen"
    # the network is right on too few to begin with
    assert signs.chance(held(20, (12, 20)), held(20, (12, 20)), labels, 0.5).result == "not enough images"
    assert signs.chance(held(20), held(20), torch.zeros(20, dtype=torch.int64), 0.5).result == "not enough images"


def test_accuracy_that_rises_with_eps_is_seen_between_neighbours_and_the_worst_counts_as_often_as_there_are():
    correct = held(20)
    fine = {0.1: held(20, (0, 2)), 0.2: held(20, (0, 4)), 0.4: held(20, (0, 4))}
    assert (signs.rising(fine, correct).result, signs.rising(fine, correct).p) == ("not seen", 1.0)
    rising = signs.rising({**fine, 0.3: held(20, (0, 12))}, correct)
    assert rising.p == pytest.approx(3 / 2**8)
    assert rising.result == "not seen"  # though 8 against none alone would be
    rising = signs.rising({**fine, 0.3: held(20, (0, 13))}, correct)
    assert (rising.p, rising.result) == (pytest.approx(3 / 2**9), "seen")
    assert (rising.numbers["broken only at 0.3"], rising.numbers["broken only at 102/255"]) == (9, 0)


def test_accuracy_that_could_not_rise_significantly_is_not_enough():
    # three comparisons: seven images are too few, though they are enough for one
    few = {eps: held(7) for eps in (0.1, 0.2, 0.3, 0.4)}
    assert signs.rising(few, held(7)).result == "not enough images"
    assert signs.rising({eps: held(9) for eps in few}, held(9)).result == "not seen"


def test_useless_gradients_are_those_of_correct_images_that_pgd_left():
    correct, left = held(40, (20, 40)), held(40, (0, 2), (20, 40))
    zero, none = held(40, (4, 40)), torch.zeros(40, dtype=torch.bool)  # two that PGD broke, and two that it left
    found = signs.gradients(zero, none, left, correct)
    assert list(found.numbers.values()) == [20, 18, 2, 0]
    assert (found.result, found.p) == ("not seen", at_least(2, 20, kinds.USELESS_GRADIENTS))
    both = signs.gradients(zero, held(40, (7, 40)), left, correct)  # the same two, and three others
    assert (both.result, both.p) == ("seen", at_least(5, 20, kinds.USELESS_GRADIENTS))
    assert signs.gradients(~none, ~none, none, correct).result == "not seen"  # PGD needed no better
    one = held(40, (1, 40))
    assert signs.gradients(zero, zero, one, one).result == "not enough images"


def test_a_single_change_refutes_that_outputs_depend_on_the_image_alone():
    one = ~held(3, (0, 2))
    assert (signs.changing(one, one & False).result, signs.changing(one, one & False).p) == ("seen", 0.0)
    none = torch.zeros(3, dtype=torch.bool)
    assert signs.changing(none, none).result == "not seen"


def test_every_sign_says_what_it_bounds_and_why_and_can_be_left_out():
    assert len({sort.name for sort in kinds.KINDS}) == len(kinds.KINDS)
    for sort in kinds.KINDS:
        left_out = sort.untested("for want of time")
        assert (left_out.result, left_out.p, left_out.note) == ("not tested", None, "for want of time")
        assert left_out.why.endswith(".")
        assert left_out.bounds
        assert sort.weight in ("strong", "hint")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "no sign"),
        ([sign(result="not seen")], "no sign"),
        ([sign(), sign(result="not seen")], "suspicious"),
        ([sign(weight="strong")], "masked"),
        ([sign(), sign(name="another")], "masked"),
        ([sign(result="not enough images", weight="strong"), sign(result="not tested", weight="strong")], "no sign"),
    ],
)
def test_a_strong_sign_or_two_hints_are_masked_and_one_hint_is_suspicious(found, said):
    assert verdict(found)[0] == said


def test_the_sentence_says_what_was_seen_and_how_much_could_be():
    found = [sign(), sign(name="another", weight="strong", result="not enough images"), sign(result="not seen")]
    assert "made up" in verdict(found)[1]
    assert "another" not in verdict(found)[1]
    assert "2 of 3 signs could be tested" in verdict(found)[1]
    assert "1 of 2 signs could be tested" in verdict(found[1:])[1]
    assert "None of the 1 signs could be tested" in verdict(found[1:2])[1]
