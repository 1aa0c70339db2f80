"""Accuracy, clean and under attack: closed forms, counts, independence of batches, what is refused."""

import importlib.metadata

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from hardy.attacks import L2, NATTACK, PGD, Linf, cw, fgsm
from hardy.data.split import Split
from hardy.describe import rebuild
from hardy.errors import UsageError
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.stream import classify, under_attack
from hardy.models.full_precision import full_precision
from hardy.randomness import Noise
from hardy.results import Measurement, append, read
from toys import (
    Linear,
    ToyClassifier,
    classifier,
    images,
    labels,
    linear,
    predicted,
    smooth,
    split,
    split_of,
    worst_linf,
)

EPS = 8 / 255


def linear_split(n: int = 400, *, mislabelled: int = 0) -> tuple[Linear, Split]:
    """A linear model of margins around eps's reach, and images it classifies correctly but for the first few."""
    model = linear()
    made = split(n, model, 2)
    y = made.labels.clone()
    y[:mislabelled] = 1 - y[:mislabelled]
    return model, Split(made.images, y, made.classes, made.indices, made.origin)


def robust_in_linf(model: Linear, images_of: Split, eps: float) -> Tensor:
    """Which images no perturbation within eps breaks."""
    x, y = images_of.x(), images_of.labels
    margin = model.margin(worst_linf(model, x, y, eps), y)
    assert float(margin.detach().abs().min()) > 1e-5  # none hangs on a rounding error
    return margin > 0


def costs(row: Measurement) -> tuple[int, int]:
    return row.forwards, row.backwards


# closed forms


@pytest.mark.parametrize("name", ["fgsm", "pgd-10", "cw-10"])
@pytest.mark.parametrize("judge", ["last", "any"])
def test_accuracy_on_a_linear_model_is_the_closed_form(name, judge):
    model, data = linear_split(mislabelled=40)
    robust = robust_in_linf(model, data, EPS)
    assert 0.2 < float(robust.float().mean()) < 0.8
    row, clean = evaluate(model, data, [name, "clean"], judge=judge, batch=64)
    assert row.value == float(robust.double().mean())
    assert clean.value == 0.9
    outcome = under_attack(model, data, PGD(Linf(EPS), steps=10), judge=judge)
    assert torch.equal(outcome.correct, robust)


def test_accuracy_falls_with_the_radius_as_computed():
    model, data = linear_split()
    for eps in (0.0, 2 / 255, 6 / 255, 16 / 255):
        (row,) = evaluate(model, data, ["pgd-10"], eps=eps)
        assert row.value == float(robust_in_linf(model, data, eps).double().mean())


def test_accuracy_in_l2_is_the_closed_form():
    model = linear()
    data = split_of(images(300, low=0.35, high=0.65), labels(300, 2), 2)
    data = split_of(data.x(), predicted(model, data.x()), 2)
    distance = model.margin(data.x(), data.labels) / model.direction(data.labels).flatten(1).norm(dim=1)
    assert float((distance.detach() - 0.1).abs().min()) > 1e-5
    attack = PGD(L2(0.1), steps=60)
    assert torch.equal(under_attack(model, data, attack).correct, distance > 0.1)


def test_an_image_misclassified_unperturbed_is_never_robust():
    # noise puts some of the misclassified ones right; they stay misclassified
    model, data = linear_split(mislabelled=100)
    attack = PGD(Linf(0.2), steps=0)
    fooled_back = attack(model, data.x(), data.labels, Noise(0, data.indices, purpose="evaluation"))
    assert bool((predicted(model, fooled_back) == data.labels)[:100].any())
    for tried in (attack, fgsm(Linf(EPS)), NATTACK(Linf(0.02), steps=2, population=4)):
        outcome = under_attack(model, data, tried)
        assert not outcome.correct[:100].any()
        assert bool(outcome.correct[100:].any())


def test_nattack_counts_the_images_that_resist_it_and_no_clean_errors():
    model, data = linear_split(60, mislabelled=20)
    attack = NATTACK(Linf(EPS), steps=30, population=20, learning_rate=0.2)
    (row,) = evaluate(model, data, {"nattack": attack})
    robust, clean = robust_in_linf(model, data, EPS), classify(model, data).correct
    assert float((robust & clean).double().mean()) <= row.value <= 40 / 60
    assert row.settings["judge"] == "any"


# costs


@pytest.mark.parametrize("steps", [1, 4])
def test_pgd_costs_a_pass_both_ways_for_each_step_and_a_verdict(steps):
    model = smooth()
    data = split(30, model)
    (row,) = evaluate(model, data, {"pgd": PGD(Linf(1e-4), steps=steps)}, batch=7)
    assert row.value > 0.9  # nearly all go on to the end
    assert costs(row) == (30 * (steps + 1), 30 * steps)


def test_judging_at_any_iterate_costs_a_verdict_for_each_iterate_of_an_unbroken_image():
    model = smooth()
    data = split(30, model)
    (row,) = evaluate(model, data, {"pgd": PGD(Linf(0.0), steps=4)}, judge="any", batch=7)
    assert row.value == 1.0
    assert costs(row) == (30 * 4 * 2 + 30, 30 * 4)  # the start is an iterate too


def test_images_misclassified_unperturbed_cost_nothing_but_that_look():
    model, data = linear_split(50, mislabelled=20)
    clean, row = evaluate(model, data, {"clean": None, "pgd": PGD(Linf(0.0), steps=3)})
    assert costs(clean) == (50, 0)
    assert costs(row) == (30 * 4, 30 * 3)


def test_nattack_costs_its_queries_and_a_verdict():
    model = smooth()
    data = split(5, model)
    attack = NATTACK(Linf(0.0), steps=20, population=4)
    (row,) = evaluate(model, data, {"nattack": attack}, batch=8)
    assert costs(row) == (5 * (20 * 4 + 2 + 1), 0)


# the row


def test_a_row_says_all_that_determines_its_value(tmp_path):
    model, data = linear_split(100, mislabelled=10)
    attack = cw(Linf(EPS), 5)
    rows = evaluate(model, data, {"clean": None, "cw": attack}, judge="any", seed=3, run="r", settings={"note": "n"})
    clean, row = rows
    assert (clean.what, row.what) == ("clean accuracy", "accuracy under cw")
    assert (row.run, row.unit, row.n, row.device) == ("r", "fraction", 100, "cpu")
    assert (row.torch, row.hardy) == (torch.__version__, importlib.metadata.version("hardy"))
    assert rebuild(row.settings["attack"], PGD) == attack
    assert row.settings["summary"] == attack.summary
    assert (row.settings["judge"], row.settings["seed"], row.settings["note"]) == ("any", 3, "n")
    assert row.settings["data"] == clean.settings["data"] == "made up"
    assert "attack" not in clean.settings
    assert row.seconds > 0
    append(tmp_path / "results.jsonl", rows)
    assert read(tmp_path / "results.jsonl") == (rows, 0)


def test_the_interval_is_wilsons_of_the_images_tested():
    model, data = linear_split(120, mislabelled=30)
    for row in evaluate(model, data, ["clean", "fgsm"]):
        exact = stats.binomtest(round(row.value * 120), 120).proportion_ci(method="wilson")
        assert (row.low, row.high) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_rows_are_handed_out_one_by_one_in_the_order_asked_for():
    model, data = linear_split(30)
    seen: list[Measurement] = []
    rows = evaluate(model, data, ["fgsm", "clean", "pgd-2"], measured=seen.append)
    assert rows == seen
    assert [row.what for row in rows] == ["accuracy under fgsm", "clean accuracy", "accuracy under pgd-2"]


def test_names_get_an_linf_ball_of_the_radius_given():
    model, data = linear_split(10)
    for row in evaluate(model, data, ["fgsm", "pgd-3", "cw-3", "noise", "fgsm-rs"], eps=0.03):
        assert row.settings["attack"]["ball"] == {"type": "Linf", "eps": 0.03}


@pytest.mark.parametrize("judge", ["last", "any"])
def test_progress_rises_to_the_number_of_images_attacked(judge):
    model, data = linear_split(80, mislabelled=13)
    calls = []
    (row,) = evaluate(model, data, ["pgd-3"], judge=judge, batch=16, progress=lambda *call: calls.append(call))
    assert {(name, total) for name, _, total, _ in calls} == {("pgd-3", 67)}
    done = [d for _, d, _, _ in calls]
    assert done == sorted(set(done))
    assert done[-1] == 67
    robust = [r for _, _, _, r in calls]
    assert robust == sorted(robust)
    assert all(0 <= r <= d for r, d in zip(robust, done, strict=True))
    assert robust[-1] == round(row.value * 80)


def test_a_network_that_is_always_wrong_has_nothing_to_attack():
    model, data = linear_split(20, mislabelled=20)
    (row,) = evaluate(model, data, ["pgd-3"])
    assert (row.value, costs(row)) == (0.0, (0, 0))


# the network is left as it was


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_mode_is_forced_and_undone(training):
    model = classifier().train(training)
    model.linear.eval()
    model.first.weight.requires_grad_(False)
    modes = [m.training for m in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = split(20, classifier())
    rows = evaluate(model, data, ["clean", "pgd-3"])
    assert rows[0].value == 1.0  # with the running statistics, as the labels were made
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 7
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_mode_is_undone_after_an_error_too():
    model = classifier().train()
    with pytest.raises(ZeroDivisionError):
        evaluate(model, split(10), ["pgd-3"], progress=lambda *_: 1 / 0)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


class Recording(ToyClassifier):
    """Notes for each pass whether it ran under autocast, and whether for a gradient."""

    def trunk(self, x: Tensor) -> Tensor:
        self.passes.add((torch.is_autocast_enabled("cpu"), torch.is_grad_enabled() and x.requires_grad))
        return super().trunk(x)


def recording() -> Recording:
    model = classifier()
    model.__class__ = Recording
    model.passes = set()
    model.autocast = torch.bfloat16
    return model


@pytest.mark.parametrize("wrap", [lambda m: m, nn.Sequential], ids=["itself", "wrapped"])
def test_a_network_in_bfloat16_attacks_in_it_and_is_judged_in_float32(wrap):
    inner = recording()
    evaluate(wrap(inner), split(20), ["clean", "pgd-3", "noise"], judge="any")
    assert inner.passes == {(False, False), (True, True)}
    assert inner.autocast is torch.bfloat16


def test_full_precision_is_undone_after_an_error_too():
    model = recording()
    with pytest.raises(ZeroDivisionError), full_precision(model):
        model.autocast = 1 / (model.autocast is not None)
    assert model.autocast is torch.bfloat16
    with full_precision(lambda x: x):
        pass


# what is refused


class Gives(nn.Module):
    """A network that gives what a function makes of the images."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor):
        return self.function(x)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (smooth(shape=(3, 4, 4)), r"cannot take images of shape \(1, 4, 4\): "),
        (
            smooth(classes=4),
            r"For 2 images the network gives torch\.float32 \(2, 4\); logits \(2, 3\) are needed for 3 classes",
        ),
        (Gives(lambda x: x.flatten(1)[:1, :3]), r"gives torch\.float32 \(1, 3\)"),
        (Gives(lambda x: x[:, :, 0, :3]), r"gives torch\.float32 \(2, 1, 3\)"),
        (Gives(lambda x: x.flatten(1)[:, :3].long()), r"gives torch\.int64 \(2, 3\)"),
        (smooth(dtype=torch.float64), r"cannot take images of shape \(1, 4, 4\): .*[dD]ouble"),
        ("runs/mine", "The network is str; it must be a module or function"),
        (Gives(lambda x: (x, x)), "gives tuple"),
        (Gives(lambda x: None), "gives NoneType"),
        (Gives(lambda x: x.flatten(1)[:, :3] * torch.nan), "NaN or infinite logits on unperturbed images"),
        (Gives(lambda x: x.flatten(1)[:, :3] / 0), "NaN or infinite logits"),
    ],
    ids=["channels", "classes", "rows", "3-D", "integers", "double", "path", "tuple", "None", "NaN", "infinite"],
)
def test_what_is_no_classifier_of_these_images_is_refused(model, said):
    with pytest.raises(UsageError, match=said):
        evaluate(model, split(5), ["clean"])


def test_one_image_is_enough():
    (row,) = evaluate(smooth(), split(1, smooth()), ["clean"])
    assert (row.value, row.n) == (1.0, 1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"attacks": ["pgd"]}, "There is no attack named 'pgd'"),
        ({"attacks": ["pgd-0"]}, "asks for 0 steps"),
        ({"batch": 0}, "batch is 0; it must be at least 1"),
        ({"eps": 8}, "8/255, not 8"),
        ({"seed": -1}, "seed is -1"),
        ({"judge": "all"}, "judge is 'all'; it must be 'last' or 'any'"),
        ({"eps": "8/255"}, "eps is '8/255'; it must be a finite number"),
        ({"eps": None}, "eps is None; it must be a finite number"),
        ({"seed": 1.0}, r"seed is 1\.0; it must be an integer"),
        ({"batch": 64.0}, r"batch is 64\.0; it must be an integer"),
        ({"attacks": "clean"}, r"attacks is 'clean'; it must be a list of names and attacks, as in \["),
        ({"attacks": PGD()}, r"attacks is PGD\(.*\); it must be a list"),
        ({"attacks": None}, "attacks is None; it must be a list"),
        ({"attacks": [3]}, r"attacks is \[3\]; it must be a list"),
        ({"attacks": {"mine": "pgd-3"}}, "or a dictionary of names to attacks"),
        ({"attacks": {3: PGD()}}, "or a dictionary of names to attacks"),
    ],
)
def test_what_cannot_be_done_is_refused(asked, said):
    model, data = linear_split(5)
    with pytest.raises(UsageError, match=said):
        evaluate(model, data, **({"attacks": ["fgsm"]} | asked))


def test_no_images_are_refused():
    model, data = linear_split(5)
    with pytest.raises(UsageError, match="n is 0; it must be at least 1 image"):
        evaluate(model, data.take(slice(0, 0)), ["clean"])


def test_logits_that_are_not_numbers_count_as_wrong():
    # fine on the two images that are looked at first, NaN on bright ones
    model = Gives(lambda x: torch.where(x.amax((1, 2, 3))[:, None] > 0.99, torch.nan, x.flatten(1)[:, :3]))
    x = torch.cat([images(6, high=0.9), torch.ones(2, 1, 4, 4)])
    data = split_of(x, torch.cat([predicted(model, split_of(x, labels(8), 3).x())[:6], torch.tensor([0, 0])]), 3)
    clean, noisy = evaluate(model, data, {"clean": None, "still": PGD(Linf(0.0), steps=1)})
    assert clean.value == noisy.value == 0.75


def test_data_of_another_kind_is_refused():
    model, data = linear_split(5)
    for wrong, name in (((data, data), "tuple"), (data.x(), r"torch\.float32 \(5, 1, 4, 4\)"), (None, "NoneType")):
        with pytest.raises(UsageError, match=rf"The data is {name}; it must be one hardy\.data\.Split"):
            evaluate(model, wrong, ["clean"])


def test_attack_objects_may_stand_among_the_names_and_go_by_their_summaries():
    model, data = linear_split(30)
    attack = PGD(Linf(0.03), steps=2)
    rows = evaluate(model, data, ["clean", attack])
    assert [row.what for row in rows] == ["clean accuracy", f"accuracy under {attack.summary}"]
    assert rows[1].value == evaluate(model, data, {"mine": attack})[0].value


def test_a_plain_function_may_be_evaluated_too():
    model, data = linear_split(60)
    names = ["clean", "pgd-3", NATTACK(Linf(EPS), steps=2, population=4)]
    by_function = evaluate(model.forward, data, names)
    assert [row.value for row in by_function] == [row.value for row in evaluate(model, data, names)]


def test_a_network_without_a_gradient_is_judged_clean_and_by_attacks_that_need_none():
    model, data = linear_split(20)

    def detached(x: Tensor) -> Tensor:
        return model(x).detach()

    evaluate(detached, data, ["clean", "noise", NATTACK(Linf(EPS), steps=1, population=2)])
    with pytest.raises(UsageError, match="No gradient reaches the images"):
        evaluate(detached, data, ["fgsm"])


def test_nattack_breaks_no_image_by_way_of_a_network_that_is_not_finite_everywhere():
    # members of the population that are bright get NaN; the images themselves, within a radius of 0, never do
    model = linear(3)
    calls = []

    def brittle(x: Tensor) -> Tensor:
        calls.append(len(x))
        return torch.where(torch.arange(len(x))[:, None] % 7 == 6, torch.nan, model(x))

    data = split(6, model, 3)
    (row,) = evaluate(brittle, data, [NATTACK(Linf(0.0), steps=3, population=8, test_every=1)])
    assert row.value == 1.0
    assert max(calls) > 6


@pytest.mark.parametrize("outside", [torch.inference_mode, torch.no_grad])
def test_evaluation_within_inference_mode_or_without_gradients_gives_the_same_numbers(outside):
    model = classifier()
    expected = [row.value for row in evaluate(model, split(20, model), ["clean", "pgd-3", "cw-3"], eps=0.3)]
    with outside():
        inside = split(20, model)  # its tensors are made inside
        assert [row.value for row in evaluate(model, inside, ["clean", "pgd-3", "cw-3"], eps=0.3)] == expected
    assert [row.value for row in evaluate(model, inside, ["clean", "pgd-3", "cw-3"], eps=0.3)] == expected
    assert expected[1] < 1


def test_a_network_made_in_inference_mode_is_refused_in_a_sentence():
    with torch.inference_mode():
        model = classifier()
    with pytest.raises(UsageError, match="The network was made in torch's inference mode"):
        evaluate(model, split(5), ["clean"])
    assert not model.training
