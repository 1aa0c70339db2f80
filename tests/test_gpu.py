"""What a CUDA device must do as the CPU does it."""

from dataclasses import replace

import pytest
import torch

import hardy
from hardy.attacks import PGD, Linf
from hardy.models import frozen, small_cnn
from hardy.randomness import Noise

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def test_uniform_numbers_are_equal_to_the_bit_and_normal_ones_within_a_millionth():
    here, there = (Noise(3, torch.arange(50, device=device), step=7, purpose="x") for device in ("cpu", "cuda"))
    assert torch.equal(here.uniform((3, 32, 32)), there.uniform((3, 32, 32)).cpu())
    assert torch.equal(here.integers(1000, (100,)), there.integers(1000, (100,)).cpu())
    assert torch.equal(here.permutation(99), there.permutation(99).cpu())
    assert (here.normal((3, 32, 32)) - there.normal((3, 32, 32)).cpu()).abs().max() <= 1e-6


def test_an_attack_on_a_float64_network_finds_the_same_images():
    model = small_cnn(width=4).build(10, 1).double().eval()
    noise = Noise.of_batch(16)
    x, y = noise.uniform((1, 16, 16)).double(), noise.integers(10, ())
    found = []
    for device in ("cpu", "cuda"):
        on_device = model.to(device)
        with frozen(on_device):
            rows = Noise(0, torch.arange(16, device=device))
            found.append(PGD(Linf(0.1), steps=5)(on_device, x.to(device), y.to(device), rows).cpu())
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_trains_is_interrupted_and_goes_on(tmp_path, precision):
    run = replace(hardy.recipe("rlfat-t-digits"), epochs=2, precision=precision)
    for _ in range(2):
        folder = hardy.train(run, tmp_path / "run", device="cuda")
    rows = hardy.evaluate(hardy.load(folder).cuda(), run.data.load()[1].to("cuda"), ["clean", "pgd-20"], eps=0.1)
    assert 0.2 < rows[0].value <= 1
    assert rows[1].value <= rows[0].value
