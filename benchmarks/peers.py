"""Adversarial images as peers' documentation shows how to make them: by the loop usually written, foolbox and torchattacks.

All take STEPS steps of STEP_SIZE inside Linf EPS, in eval mode, from where the method says, foolbox's KL from where its PGD does.
TRADES and RLFAT-T maximise KL from the clean prediction; PGD-AT and RAT cross-entropy. foolbox's KL is its LinfPGD with another
`get_loss_fn`, as it documents; torchattacks' is its TPGD. foolbox calls backward(), which computes gradients of the weights too,
that nobody uses.
"""

import sys
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS, STEP_SIZE, STEPS = 8 / 255, 2 / 255, 10

Loss = Literal["cross-entropy", "kl"]
Craft = Callable[[Tensor, Tensor], Tensor]  # images and labels to adversarial images


def plain(model: nn.Module, loss: Loss, steps: int = STEPS) -> Craft:
    """The loop usually written; where KL is maximised, TRADES' authors'."""

    def craft(x: Tensor, y: Tensor) -> Tensor:
        if loss == "kl":
            with torch.no_grad():
                clean = model(x).softmax(1)
            x_adv = x + 0.001 * torch.randn_like(x)
        else:
            x_adv = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
        for _ in range(steps):
            x_adv.requires_grad_()
            logits = model(x_adv)
            cost = F.cross_entropy(logits, y) if loss == "cross-entropy" else _kl(logits, clean)
            grad = torch.autograd.grad(cost, x_adv)[0]
            x_adv = x_adv.detach() + STEP_SIZE * grad.sign()
            x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
        return x_adv

    return craft


def _kl(logits: Tensor, clean: Tensor) -> Tensor:
    return F.kl_div(logits.log_softmax(1), clean, reduction="sum")


def foolbox(model: nn.Module, loss: Loss, steps: int = STEPS) -> Craft:
    """LinfPGD of foolbox, without its test for success afterwards."""
    library, eagerpy = imported("foolbox"), imported("eagerpy")

    class OfKL(library.attacks.LinfPGD):
        """The loss is a method to override; labels are not looked at."""

        def get_loss_fn(self, model, labels):
            del labels
            with torch.no_grad():
                clean = model(self.clean).raw.softmax(1)
            return lambda images: eagerpy.astensor(_kl(model(images).raw, clean))

    wrapped = library.PyTorchModel(model.eval(), bounds=(0, 1), device=next(model.parameters()).device)
    attack = (library.attacks.LinfPGD if loss == "cross-entropy" else OfKL)(
        abs_stepsize=STEP_SIZE, steps=steps, random_start=True
    )

    def craft(x: Tensor, y: Tensor) -> Tensor:
        if loss == "kl":
            attack.clean = eagerpy.astensor(x)
        return attack.run(wrapped, x, y, epsilon=EPS)

    return craft


def torchattacks(model: nn.Module, loss: Loss, steps: int = STEPS) -> Craft:
    """PGD of torchattacks, or its TPGD."""
    library = imported("torchattacks")
    made = library.PGD if loss == "cross-entropy" else library.TPGD
    return made(model, eps=EPS, alpha=STEP_SIZE, steps=steps)


def imported(name: str):
    """A peer's package. Exits with a sentence where it is not installed."""
    how = {
        "foolbox": "pip install --editable '.[test]'",
        "eagerpy": "pip install --editable '.[test]'",
        "torchattacks": "pip install --no-deps --target benchmarks/.peers torchattacks==3.5.1",
    }
    try:
        return __import__(name)
    except ImportError as error:
        sys.exit(f"{error}; `{how[name]}` in the repository's folder installs it, or leave it out by --peers.")


PEERS: dict[str, Callable[..., Craft]] = {"plain": plain, "foolbox": foolbox, "torchattacks": torchattacks}
