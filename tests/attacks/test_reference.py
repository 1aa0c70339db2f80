"""AutoAttack's parts against pyautoattack, on networks trained here: the same accuracy, the same images broken."""

from itertools import combinations, product
from statistics import mean

import pytest
import torch
from pyautoattack import AutoAttack as Reference
from torch import nn

from hardy.attacks import APGD, FAB, L2, PGD, Linf, Square, Targeted, TargetedDLR
from hardy.data import Digits
from hardy.evaluation.stream import classify, under_attack
from hardy.losses.logits import cross_entropy
from hardy.models import small_cnn
from hardy.randomness import Noise

N, CLASSES, STEPS, QUERIES = 50, 3, 20, 200  # a fraction of what AutoAttack takes, for both
SEEDS = {"apgd-ce": 3, "apgd-t": 3, "fab-t": 3, "square": 8}  # chance matters most to the last
BALLS = {
    ("plain", "linf"): Linf(0.025), ("plain", "l2"): L2(0.2), ("adversarial", "linf"): Linf(0.12), ("adversarial", "l2"): L2(0.7),
}  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    return Digits().load()


@pytest.fixture(scope="module")
def networks(digits):
    return {training: trained(digits[0], training) for training in ("plain", "adversarial")}


def trained(split, training):
    """A small network after some hundred steps, plainly or on adversarial images.

    It is trained in float64, so that it is the same on every processor: what rounding in float32 does to it grows with the steps.
    """
    model = small_cnn().build(10, 1).double()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(150):
        rows = Noise.of_batch(1, step=step, purpose="rows").permutation(len(split))[0, :64]
        x, y = split.x(rows).double(), split.labels[rows]
        if training == "adversarial":
            x = PGD(Linf(0.15), steps=4)(model, x, y, Noise.of_batch(len(x), step=step))
        optimizer.zero_grad()
        cross_entropy(model.train()(x), y).mean().backward()
        optimizer.step()
    return model.float().eval()


def our_part(ball, name):
    return {
        "apgd-ce": APGD(ball, steps=STEPS),
        "apgd-t": Targeted(APGD(ball, steps=STEPS, loss=TargetedDLR()), CLASSES),
        "fab-t": Targeted(FAB(ball, steps=STEPS), CLASSES),
        "square": Square(ball, queries=QUERIES),
    }[name]


class Module(nn.Module):
    """The reference changes the mode of what it is given."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)


def reference_part(ball, name, model, x, y, seed):
    norm = "Linf" if isinstance(ball, Linf) else "L2"
    attack = Reference(Module(model), attacks=[name], version="custom", eps=ball.eps, norm=norm, seed=seed)
    attack.apgd.n_restarts = attack.apgd_targeted.n_restarts = attack.fab.n_restarts = 1
    attack.fab.n_iter = STEPS
    for apgd in (attack.apgd, attack.apgd_targeted):  # its checkpoints are set where it is made, for 100 steps
        apgd.n_iter = STEPS
        apgd.n_iter_2, apgd.n_iter_min, apgd.size_decr = (max(int(share * STEPS), 1) for share in (0.22, 0.06, 0.03))
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = CLASSES
    attack.square.n_queries = QUERIES
    with torch.enable_grad():
        x_adv, _ = attack.run_standard_evaluation(x, y, batch_size=N)
    with torch.no_grad():
        return model(x_adv).argmax(1) == y


def robust(model, split, ball, name, seed, ours):
    """Bool (N,) after one part alone."""
    clean = classify(model, split).correct
    if ours:
        return under_attack(model, split, our_part(ball, name), clean, seed=seed).correct
    left = clean.nonzero().squeeze(1)
    clean[left] = reference_part(ball, name, model, split.x(left), split.labels[left], seed)
    return clean


def differ(pairs):
    """Images with another verdict, mean of the pairs."""
    return mean(float((a != b).sum()) for a, b in pairs)


@pytest.mark.parametrize(
    ("training", "norm"),
    [pytest.param(*case, marks=() if case == ("adversarial", "linf") else pytest.mark.slow) for case in BALLS],
)
def test_parts_and_whole_break_as_many_and_the_same_images_as_the_reference(networks, digits, training, norm):
    model, split, ball = networks[training], digits[1].take(slice(N)), BALLS[training, norm]
    ours, reference = (
        {name: [robust(model, split, ball, name, seed, own) for seed in range(n)] for name, n in SEEDS.items()}
        for own in (True, False)
    )
    for found in (ours, reference):
        found["all"] = [torch.stack(parts).all(0) for parts in zip(*found.values(), strict=False)]
    for name in ours:
        counts = [mean(float(held.sum()) for held in found[name]) for found in (ours, reference)]
        assert abs(counts[0] - counts[1]) <= max(2, 0.005 * N), name
        assert 0.1 * N < counts[1] < 0.9 * N, name
        # the two means of pairs are known to about a third of an image, from so few seeds
        between, own = differ(product(ours[name], reference[name])), differ(combinations(reference[name], 2))
        assert between <= own + 1 / 3, name
