"""Optimiser steps of four methods: this library's, and that of a loop around a peer's attack, with the papers' losses."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count

import torch
from peers import EPS, STEP_SIZE, STEPS, Craft, Loss
from torch import Tensor, nn
from torch.nn import functional as F

from hardy.attacks import KL, PGD, Linf
from hardy.models import Classifier, WideResNet, preact_resnet_18
from hardy.models.full_precision import ieee_convolutions
from hardy.objectives import PGDAT, RAT, RLFATT, TRADES, Objective
from hardy.objectives.objective import loss_of
from hardy.randomness import Noise
from hardy.training.optim import SGD
from hardy.training.precision import prepare
from hardy.types import Images, Labels

CLASSES, SHAPE = 10, (3, 32, 32)
NETWORKS = {"PreActResNet-18": preact_resnet_18, "WRN-34-10": lambda width: WideResNet(34, width)}
WIDTHS = {"PreActResNet-18": 64, "WRN-34-10": 10}

Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Method:
    """A method as the steps are made: by this library's objective, and by a plain loss of clean and adversarial images.

    loss: what is maximised. trained: images that pass through the network in training, for each image of the batch.
    """

    objective: Objective
    loss: Loss
    plain: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
    trained: int

    @property
    def clean_passes(self) -> int:
        """Forward passes of the clean images before the attack, without a gradient."""
        return int(self.loss == "kl")


def _pgdat(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    del x
    return F.cross_entropy(model(x_adv), y)


def _trades(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    clean = model(x)
    return F.cross_entropy(clean, y) + 6.0 * _agreement(model(x_adv), clean)


def _rlfat_t(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    clean, shuffled = model(x), model(_block_shuffled(x_adv))
    transfer = (shuffled - model(x_adv)).square().sum(1).mean()
    return F.cross_entropy(clean, y) + 6.0 * _agreement(shuffled, clean) + transfer


def _rat(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    # no peer gives an attack's path: the direction is that of its end alone, which is less work than the paper's
    scale = 0.1 * torch.randint(0, 21, (2 * len(x), 1, 1, 1), device=x.device)
    twice = x.repeat(2, 1, 1, 1)
    points = (twice + scale * (x_adv - x).repeat(2, 1, 1, 1)).clamp(0, 1)
    logits = model(points)
    confidence = (1 - scale * (1 - 0.1) / 2).view(-1, 1)
    classes = logits.shape[1]
    labels = ((1 - confidence) / (classes - 1)).expand(-1, classes).scatter(1, y.repeat(2)[:, None], confidence)
    return -(labels * logits.log_softmax(1)).sum(1).mean()


def _agreement(logits: Tensor, clean: Tensor) -> Tensor:
    return F.kl_div(logits.log_softmax(1), clean.softmax(1), reduction="batchmean")


def _block_shuffled(x: Tensor) -> Tensor:
    """Two blocks along each axis, cut at random places, columns and then rows in another order; one for the batch."""
    for dim in (2, 3):
        parts = x.split([cut := int(torch.randint(1, x.shape[dim], ())), x.shape[dim] - cut], dim)
        x = torch.cat(parts[:: 1 - 2 * int(torch.randint(0, 2, ()))], dim)
    return x


_ATTACK, _KL_ATTACK = PGD(Linf(EPS), STEPS, STEP_SIZE), PGD(Linf(EPS), STEPS, STEP_SIZE, "gaussian", loss=KL())
METHODS = {
    "PGD-AT": Method(PGDAT(_ATTACK), "cross-entropy", _pgdat, 1),
    "TRADES": Method(TRADES(_KL_ATTACK), "kl", _trades, 2),
    "RLFAT-T": Method(RLFATT(_KL_ATTACK), "kl", _rlfat_t, 3),
    "RAT": Method(RAT(_ATTACK), "cross-entropy", _rat, 2),
}


def ours(model: Classifier, objective: Objective, x: Images, y: Labels, *, compiled: bool = False) -> Run:
    """One optimiser step as `hardy.train` makes it, precision and memory layout "auto"."""
    prepare(model, x.device, compiled=compiled)
    optimizer, numbers = SGD(0.1, momentum=0.9, weight_decay=5e-4).build(model), count()

    def run() -> Tensor:
        noise = Noise.of_batch(len(x), step=next(numbers), purpose="objective", device=x.device)
        model.train()
        with nullcontext() if model.autocast else ieee_convolutions():
            loss = loss_of(objective(model, x, y, noise))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def usual(model: Classifier, method: Method, craft: Craft, x: Images, y: Labels) -> Run:
    """The loop usually written: float32, NCHW, SGD with momentum."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)

    def run() -> Tensor:
        model.eval()
        x_adv = craft(x, y)
        model.train()
        optimizer.zero_grad()  # not before: foolbox leaves gradients in the weights
        loss = method.plain(model, x, x_adv, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def operations(network: str, width: int, method: Method) -> int:
    """Floating-point operations that a training step needs for each image; needed, not made: one number for all.

    Counted are convolutions and linear layers, 2 for each multiplication and addition, padding included. A step of the attack
    is a forward pass and a backward pass to the images (2 x forward); training is a forward pass and the gradients of weights
    and inputs (3 x forward), less that of the first layer's input, which nothing needs.
    """
    forward: list[int] = []  # of each layer, the first one first
    with torch.device("meta"):  # shapes without numbers
        model, image = NETWORKS[network](width).empty(CLASSES, SHAPE[0]), torch.empty(1, *SHAPE)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            # weight[0] is all that goes into one output
            layer.register_forward_hook(lambda it, _, out: forward.append(2 * out.numel() * it.weight[0].numel()))
    model(image)
    passes = method.clean_passes + 2 * STEPS + 3 * method.trained
    return passes * sum(forward) - method.trained * forward[0]
