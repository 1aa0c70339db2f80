"""Synchronised batch norm: two processes (gloo, CPU) against torch's batch norm on all images in one."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from hardy.errors import UsageError
from hardy.models.classifier import crafting
from hardy.models.synchronised import mean_statistics, synchronised
from hardy.parallel import Group, joined
from hardy.randomness import Noise
from pairs import together

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
NORMS = {
    "plain": lambda: nn.BatchNorm2d(3),
    "without weights": lambda: nn.BatchNorm2d(3, affine=False),
    "without statistics": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "cumulative": lambda: nn.BatchNorm2d(3, momentum=None),
    "flat": lambda: nn.BatchNorm1d(3),
    "torch's synchronised": lambda: nn.SyncBatchNorm(3),
}
CASES = [
    *((name, torch.float64, "contiguous", False) for name in NORMS),
    ("plain", torch.float64, "channels_last", False),
    ("plain", torch.float32, "channels_last", False),
    ("plain", torch.float32, "contiguous", True),
    ("plain", torch.float32, "channels_last", True),
]


class Own(nn.BatchNorm2d):
    """A batch norm that is called in a way of its own, as some libraries have them."""

    def forward(self, x):
        return super().forward(x).relu()


def drawn(purpose: str, *shape: int) -> torch.Tensor:
    """Numbers whose mean differs from row to row."""
    noise = Noise.of_batch(shape[0], purpose=purpose)
    return noise.normal(shape[1:]) + torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1)) / 3


def layer(name: str, dtype: torch.dtype) -> nn.Module:
    made = NORMS[name]().to(dtype)
    with torch.no_grad():
        for i, parameter in enumerate(made.parameters()):
            parameter.copy_(drawn(f"parameter {i}", 1, 3)[0])
    return made


def used(made: nn.Module, some: slice, dtype: torch.dtype, layout: str, *, low: bool) -> dict[str, torch.Tensor]:
    """All that a layer makes of 5 images, or of some of them, when it is called twice and differentiated once."""
    shape = (5, 3) if isinstance(made, nn.BatchNorm1d) else (5, 3, 4, 4)
    x, dy = (drawn(purpose, *shape).to(dtype)[some].clone() for purpose in ("images", "gradient"))
    if len(shape) == 4:
        x = x.contiguous(memory_format=LAYOUTS[layout])
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        first = made(x.bfloat16() if low else x)
        second = made((x * 2 + 1).bfloat16() if low else x * 2 + 1)
    ((first + second.square()) * dy).sum().backward()
    gradients = {f"gradient of {name}": value.grad.clone() for name, value in made.named_parameters()}
    with torch.no_grad():
        crafted = made.eval()(x)
    return {
        "images": first.detach(),
        "gradient of images": x.grad,
        "eval": crafted,
        **gradients,
        **dict(made.named_buffers()),
    }


def pair(folder: Path) -> None:
    """One of two processes: what it makes of every other image, the gradients of parameters summed over both."""
    torch.set_num_threads(1)
    with joined() as group:
        some = slice(group.rank, None, group.size)
        found = []
        for name, dtype, layout, low in CASES:
            made = layer(name, dtype)
            with synchronised(made, group):
                seen = used(made, some, dtype, layout, low=low)
            for key in [key for key in seen if key.startswith("gradient of") and key != "gradient of images"]:
                seen[key] = sum(group.gathered(seen[key]))
            found.append(seen)
            assert "forward" not in vars(made)
        model = nn.Sequential(nn.BatchNorm2d(3))
        with synchronised(model, group), crafting(model, "batch"):  # leaves no trace
            model(drawn("images", 5, 3, 4, 4)[some])
        apart = Own(3)
        apart(drawn("images", 5, 3, 4, 4)[some])
        own = apart.running_mean.clone()
        mean_statistics(apart, group)
        torch.save((found, model.state_dict(), own, apart.running_mean), folder / f"{group.rank}.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("synchronised")
    together("models.test_synchronised:pair", folder)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize(
    "case", range(len(CASES)), ids=lambda i: f"{CASES[i][0]}-{CASES[i][1]}-{CASES[i][2]}-{CASES[i][3]}"
)
def test_two_processes_make_of_their_images_what_one_makes_of_all(found, case):
    name, dtype, layout, low = CASES[case]
    whole = (
        nn.BatchNorm2d(3) if name == "torch's synchronised" else layer(name, dtype)
    )  # which refuses to work on a CPU
    whole.load_state_dict(layer(name, dtype).state_dict())
    expected = used(whole.to(dtype), slice(None), dtype, layout, low=low)
    tolerance = 1e-12 if dtype == torch.float64 else 0.04 if low else 1e-5
    for rank in range(2):
        given = found[rank][0][case]
        assert given.keys() == expected.keys()
        for key, value in expected.items():
            wanted = value[rank::2] if value.shape[:1] == (5,) else value
            if name == "without statistics" and key == "eval":
                continue  # it takes those of the images at hand, in every process its own
            assert given[key].dtype == wanted.dtype, key
            torch.testing.assert_close(
                given[key], wanted, rtol=tolerance, atol=tolerance, msg=lambda text, key=key: f"{key}: {text}"
            )


def test_crafting_in_batch_mode_leaves_the_running_statistics(found):
    for name, value in nn.Sequential(nn.BatchNorm2d(3)).state_dict().items():
        assert torch.equal(found[0][1][name], value)
        assert torch.equal(found[1][1][name], value)


def test_statistics_of_the_processes_are_replaced_by_their_mean(found):
    (*_, first, mean), (*_, second, other) = found
    assert not torch.allclose(first, second)
    assert torch.equal(mean, other)
    torch.testing.assert_close(mean, (first + second) / 2)


def test_a_batch_norm_with_a_forward_of_its_own_is_refused_by_name():
    model = nn.Sequential(nn.BatchNorm2d(3), Own(3))
    said = r"The batch norm 1 is an Own, whose forward is its own: .* Take norm_over 'process', or torch's own batch norm\."
    with pytest.raises(UsageError, match=said), synchronised(model, Group(0, 2)):
        pass
    assert "forward" not in vars(model[0])
    with synchronised(model, Group()):
        pass


def test_one_process_has_torchs_batch_norm():
    model = copy.deepcopy(nn.Sequential(nn.BatchNorm2d(3)))
    with synchronised(model, Group()):
        assert "forward" not in vars(model[0])
