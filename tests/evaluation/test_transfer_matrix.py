import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import APGD, FAB, PGD, FeatureScatter, Linf, Square, Targeted, TargetedMargin, cw
from hardy.attacks.adapters import Foreign
from hardy.attacks.attack import Attack
from hardy.errors import FailedError, UsageError
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.stream import classify, under_attack
from hardy.evaluation.transfer_matrix import transfer_matrix
from hardy.results import wilson
from toys import Linear, linear, smooth, split, split_of

INF = Linf(0.12)
N = 8
WATCHED = {"pgd": PGD(INF, steps=3)}


def two():
    """Networks, and images as the first of them sees them."""
    networks = {f"network {seed}": smooth(seed=seed) for seed in (0, 2)}
    return networks, split(N, smooth())


def cell(rows, judged, source):
    (row,) = [row for row in rows if (row.run, row.settings["crafted on"]["name"]) == (judged, source)]
    return row


ATTACKS = {
    "pgd": PGD(INF, steps=5),
    "cw": cw(INF, 4),
    "apgd": APGD(INF, steps=5),
    "targeted": Targeted(PGD(INF, steps=3, loss=TargetedMargin())),
    "fab": FAB(INF, steps=4),
    "square": Square(INF, queries=10),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_every_verdict_is_that_of_an_attack_crafted_on_the_source_to_the_image(attack):
    networks, data = two()
    alone = [transfer_matrix(networks, data.take(slice(i, i + 1)), {"it": attack}, seed=4) for i in range(N)]
    together = transfer_matrix(networks, data, {"it": attack}, seed=4, batch=3)
    broken = 0
    for judged, model in networks.items():
        for source, other in networks.items():
            outcome = under_attack(model, data, attack, seed=4, craft_on=None if source == judged else other)
            verdicts = [bool(cell(rows, judged, source).value) for rows in alone]
            assert verdicts == outcome.correct.tolist(), (judged, source)
            assert cell(together, judged, source).value == outcome.correct.double().mean().item()
            broken += int(classify(model, data).correct.sum() - outcome.correct.sum())
    assert broken > 3  # else nothing was compared


def test_numbers_and_intervals_are_those_of_evaluate_crafted_on_the_source():
    networks, data = two()
    rows = transfer_matrix(
        networks, data, {"pgd": ATTACKS["pgd"], "cw": ATTACKS["cw"]}, settings={"network 2": {"weights": "w"}}
    )
    assert [row.what.split(" crafted on ")[0] for row in rows] == ["accuracy under pgd"] * 4 + ["accuracy under cw"] * 4
    for judged, model in networks.items():
        expected = evaluate(model, data, {"pgd": ATTACKS["pgd"]}, craft_on=networks["network 2"])
        row = cell(rows[:4], judged, "network 2")
        assert (row.value, row.n, (row.low, row.high)) == (expected[0].value, N, (expected[0].low, expected[0].high))
        assert row.settings["crafted on"] == {"name": "network 2", "weights": "w"}
        assert row.settings.get("weights") == ("w" if judged == "network 2" else None)
        assert {key: row.settings[key] for key in ("attack", "summary", "judge", "seed", "data")} == {
            key: expected[0].settings[key] for key in ("attack", "summary", "judge", "seed", "data")
        }


def test_what_fools_one_linear_network_helps_its_opposite():
    weight = linear().weight.detach()
    one, opposite = (
        Linear(weight, -weight.sum((1, 2, 3)) / 2),
        Linear(weight.flip(0), -weight.flip(0).sum((1, 2, 3)) / 2),
    )
    data = split(40, one, classes=2)
    wrong_for_one = split_of(data.x(), 1 - data.labels, 2)
    attack = {"pgd": PGD(Linf(0.05), steps=10, start_at="image")}
    rows = transfer_matrix({"one": one, "opposite": opposite}, data, attack)
    assert cell(rows, "one", "one").value < 0.8
    assert cell(rows, "one", "opposite").value == 1.0  # crafted towards what `one` says is right
    rows = transfer_matrix({"one": one, "opposite": opposite}, wrong_for_one, attack)
    assert cell(rows, "one", "one").value == 0.0  # misclassified as they are
    assert cell(rows, "opposite", "one").value == 1.0


class Watched(nn.Module):
    """Counts the images that pass through it with a gradient."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.asked = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += len(x) if x.requires_grad else 0
        return self.model(x)


def test_an_attack_is_crafted_once_a_source_however_many_judge_and_only_where_one_is_still_right():
    data = split(N, smooth(), seed=1)
    source = Watched(smooth(seed=2))
    few = transfer_matrix({"a": smooth()}, data, WATCHED, sources={"s": source}, batch=5)
    assert source.asked == 3 * N
    source.asked = 0
    many = {name: smooth() for name in "abc"}
    rows = transfer_matrix(many, data, WATCHED, sources={"s": source}, batch=5)
    assert source.asked == 3 * N
    assert [row.value for row in rows] == [few[0].value] * 3
    assert [(row.forwards, row.backwards) for row in rows] == [(4 * N, 3 * N)] * 3
    source.asked = 0
    wrong = split_of(data.x(), (data.labels + 1) % 3, 3)
    (row,) = transfer_matrix({"a": smooth()}, wrong, WATCHED, sources={"s": source}, batch=5)
    assert (source.asked, row.value, row.backwards) == (0, 0.0, 0)
    assert (row.low, row.high) == wilson(0, N)


def test_modes_are_restored_and_an_attack_of_another_library_will_do():
    networks, data = two()
    networks["network 2"].train()

    def theirs(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        gradient = torch.autograd.grad(nn.functional.cross_entropy(network(x), y, reduction="sum"), x)[0]
        return (x + 0.12 * gradient.sign()).clamp(0, 1).detach()

    attack = Foreign(theirs, INF)
    rows = transfer_matrix(networks, data, {"theirs": attack})
    assert networks["network 2"].training
    assert not networks["network 0"].training
    expected = evaluate(networks["network 0"], data, {"theirs": attack}, craft_on=networks["network 2"])
    assert cell(rows, "network 0", "network 2").value == expected[0].value


class Turns(Attack):
    """An attack that hands back what it makes of the images, wherever that is."""

    ball, stages, summary, described = Linf(0.1), (), "turns", "turns"

    def __init__(self, turn) -> None:
        self.turn = turn

    def perturb(self, f, x, target, noise):
        return self.turn(x)


def test_what_an_attack_was_not_allowed_to_make_does_not_count_and_is_told():
    model = linear()
    data = split(10, model, classes=2)
    (row,) = transfer_matrix({"it": model}, data, {"turns": Turns(lambda x: 1 - x)})
    assert row.value == 1.0
    turned = int((model(1 - data.x()).argmax(1) != data.labels).sum())
    assert row.settings["illegal"] == turned > 0


def test_an_attack_that_ends_in_no_numbers_is_an_error():
    model = linear()
    with pytest.raises(FailedError, match="The attack went astray"):
        transfer_matrix({"it": model}, split(4, model, classes=2), {"turns": Turns(lambda x: x * torch.nan)})


def test_progress_ends_with_all_that_there_is_and_never_falls():
    networks, data = two()
    told = []
    attacks = {"pgd": ATTACKS["pgd"], "targeted": ATTACKS["targeted"]}
    transfer_matrix(networks, data, attacks, batch=3, tell=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (4 * N, 4 * N)
    assert len(told) > 4


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda m, s: transfer_matrix({}, s, {"pgd": PGD()}), "at least one to judge, and a source"),
        (lambda m, s: transfer_matrix({"a": m}, s, {"pgd": PGD()}, sources={}), "at least one to judge, and a source"),
        (lambda m, s: transfer_matrix({"a": m}, s, {}), r"attacks is \[\]; it must be at least one"),
        (lambda m, s: transfer_matrix({"a": m}, s, {"fs": FeatureScatter()}), "depends on an image alone"),
        (lambda m, s: transfer_matrix({"a": m}, s, {"pgd": PGD()}, batch=0), "batch is 0"),
        (lambda m, s: transfer_matrix({"a": m, "b": linear(5)}, s, {"pgd": PGD()}), "logits .* are needed for 3 classes"),
        (lambda m, s: transfer_matrix({"a": m}, s, {"pgd": PGD()}, sources={"b": linear(5)}), "are needed for 3 classes"),
        (lambda m, s: transfer_matrix({"a": m}, s.take(slice(0)), {"pgd": PGD()}), "n is 0; it must be at least 1 image"),
    ],
)  # fmt: skip
def test_what_makes_no_matrix_is_refused_with_a_sentence(asked, said):
    with pytest.raises(UsageError, match=said):
        asked(smooth(), split(4, smooth()))
