import pytest
import torch

from hardy.attacks import PGD, InfoFeature, Linf, cw
from hardy.errors import UsageError
from hardy.evaluation.perturbations import perturbation_distances
from hardy.randomness import Noise
from toys import classifier, linear, split, worst_linf

N = 14


@pytest.fixture(scope="module")
def model():
    return classifier()


@pytest.fixture(scope="module")
def data():
    return split(N, classifier())


def test_distances_are_those_of_the_two_attacks_images_with_the_same_random_numbers(model, data):
    ball = Linf(0.1)
    attacks = {"pgd": PGD(ball, steps=5), "infofeature": InfoFeature(ball, steps=5), "cw": cw(ball, 5)}
    rows = perturbation_distances(model, data, attacks, (1, 5), seed=3, run="toy", settings={"weights": "w"})
    assert [row.what for row in rows] == [
        f"{kind} of {name} from pgd after {after}"
        for name in ("infofeature", "cw")
        for after in ("1 step", "5 steps")
        for kind in ("L2 distance", "mean squared difference")
    ]
    noise = Noise(3, data.indices, purpose="evaluation")
    made = [attack(model, data.x(), data.labels, noise) for attack in (PGD(ball, steps=5), InfoFeature(ball, steps=5))]
    l2 = (made[0] - made[1]).flatten(1).norm(dim=1)
    assert l2.min() > 0
    assert rows[2].value == pytest.approx(l2.mean().item(), rel=1e-5)
    assert rows[2].high - rows[2].value == pytest.approx(1.959964 * l2.std().item() / N**0.5, rel=1e-5)
    assert rows[3].value == pytest.approx((l2**2 / 16).mean().item(), rel=1e-5)
    assert [rows[i].settings["steps"] for i in (0, 2)] == [1, 5]
    assert rows[0].settings["from"] == PGD(ball, steps=5).described
    assert (rows[0].n, rows[0].unit, rows[1].unit) == (N, "L2, pixels in [0, 1]", "squared pixels in [0, 1]")


def test_on_a_linear_network_the_distance_of_opposite_attacks_has_a_closed_form():
    toy = linear()
    data = split(10, toy, classes=2)
    # on two classes the margin's gradient is that of cross-entropy but for its length: signs, and so images, are equal
    attacks = {
        "pgd": PGD(Linf(0.1), steps=4, start_at="image"),
        "cw": PGD(Linf(0.1), 4, start_at="image", loss=cw(Linf(), 1).loss),
    }
    rows = perturbation_distances(toy, data, attacks, (4,))
    assert [row.value for row in rows] == [0.0, 0.0]
    far = {"none": PGD(Linf(0.1), 4, step_size=0.0, start_at="image"), "pgd": attacks["pgd"]}
    (l2, squared) = perturbation_distances(toy, data, far, (4,))
    moved = (worst_linf(toy, data.x(), data.labels, 0.1) - data.x()).flatten(1)
    assert l2.value == pytest.approx(moved.norm(dim=1).mean().item(), rel=1e-4)
    assert squared.value == pytest.approx(moved.square().mean().item(), rel=1e-4)


def test_no_distance_depends_on_the_batch(model, data):
    attacks = {"pgd": PGD(Linf(0.1), steps=3), "infofeature": InfoFeature(Linf(0.1), steps=3)}
    whole = [row.value for row in perturbation_distances(model, data, attacks, (1, 3), batch=N)]
    assert [row.value for row in perturbation_distances(model, data, attacks, (1, 3), batch=4)] == pytest.approx(whole)


def test_attacks_that_start_elsewhere_are_refused(model, data):
    attacks = {"pgd": PGD(Linf(0.1), steps=3), "from x": PGD(Linf(0.1), steps=3, start_at="image")}
    with pytest.raises(UsageError, match="from x and pgd start at different images; they must start at the same"):
        perturbation_distances(model, data, attacks, (1,))


@pytest.mark.parametrize(
    ("attacks", "counts", "said"),
    [
        ({"pgd": PGD(steps=3)}, (1,), "two attacks or more"),
        ({"pgd": PGD(steps=3), "cw": cw(Linf(), 3)}, (0,), "steps is 0; it must be at least 1"),
        ({"pgd": PGD(steps=3), "cw": cw(Linf(), 3)}, (4,), "steps is 4; it must be at most 3"),
    ],
)
def test_what_has_no_distance_is_refused(model, data, attacks, counts, said):
    with pytest.raises(UsageError, match=said):
        perturbation_distances(model, data, attacks, counts)


def test_progress_ends_with_all_that_there_is(model, data):
    told = []
    attacks = {"pgd": PGD(steps=3), "cw": cw(Linf(), 3)}
    perturbation_distances(model, data, attacks, (1, 3), batch=5, tell=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (3 * N, 3 * N)
    assert torch.is_grad_enabled()
