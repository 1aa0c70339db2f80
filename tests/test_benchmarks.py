"""benchmarks/: the timing of a step runs, counts its operations right, and times steps that make them."""

import importlib.util
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from hardy.models import preact_resnet_18
from hardy.randomness import Noise

STEP = Path(__file__).parents[1] / "benchmarks" / "step.py"

# One image through PreActResNet-18 of width 2: multiplications and additions, 9ab for each of the outputs of a 3x3
# convolution from a to b channels.
# stem        9*3*2 on 32x32                                                             55,296
# layer 1     4 * 9*2*2 on 32x32                                                        147,456
# layer 2     9*2*4 + 3 * 9*4*4 + shortcut 2*4 on 16x16                                 131,072
# layer 3     9*4*8 + 3 * 9*8*8 + shortcut 4*8 on 8x8                                   131,072
# layer 4     9*8*16 + 3 * 9*16*16 + shortcut 8*16 on 4x4                               131,072
# linear      16*10                                                                         160
STEM = 2 * 55_296
FORWARD = 2 * (55_296 + 147_456 + 3 * 131_072 + 160)


class Operations(TorchDispatchMode):
    """Counts what is run by torch's own formulas, in backward passes too."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


@pytest.fixture(scope="module")
def step():
    spec = importlib.util.spec_from_file_location("benchmarks_step", STEP)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_prints_and_writes_every_contestant_and_the_operations_counted_by_hand(tmp_path, compiled):
    out = tmp_path / "step.json"
    sizes = {"batch": 4, "width": 2, "rounds": 1, "matrix": 64}
    flags = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    flags += ["--compile"] if compiled else []
    ran = subprocess.run(
        [sys.executable, str(STEP), *flags, "--threads", "1", "--json", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["settings"] == {**sizes, "device": "cpu"}
    assert found["machine"]["threads"] == 1
    assert found["machine"]["torch"] == torch.__version__
    needed = 10 * 2 * FORWARD + 3 * FORWARD - STEM
    assert found["operations_per_image"] == needed == 27_311_296
    rows = {row["name"]: row for row in found["contestants"]}
    assert list(rows) == ["hardy", "plain", "foolbox", *(["compiled"] if compiled else [])]
    assert rows["plain"]["precision"] == rows["foolbox"]["precision"] == "float32"
    products = {row["precision"]: row["gflops"] for row in found["products"]}
    assert set(products) == {row["precision"] for row in rows.values()}
    assert all(rate > 0 for rate in products.values())
    fastest = max(rows["plain"]["images_per_second"], rows["foolbox"]["images_per_second"])
    for name, row in rows.items():
        assert row["seconds_of_rounds"] == [row["seconds"]]
        assert row["seconds"] > 0
        assert row["images_per_second"] == pytest.approx(4 / row["seconds"])
        assert row["ratio"] == pytest.approx(row["images_per_second"] / fastest)
        assert row["gflops"] == pytest.approx(4 * needed / row["seconds"] / 1e9)
        assert row["share"] == pytest.approx(row["gflops"] / products[row["precision"]])
        line = next(line for line in ran.stdout.splitlines() if line.startswith(name))
        assert f"{row['images_per_second']:.4g}" in line.split()
    losses = [row["first_loss"] for row in rows.values()]
    assert max(losses) - min(losses) < 0.02 * min(losses)


@pytest.mark.parametrize(
    ("name", "crafting"),
    [("hardy", 2 * FORWARD), ("plain", 2 * FORWARD), ("foolbox", 3 * FORWARD)],  # foolbox: the weights' gradients too
)
def test_a_step_makes_the_operations_that_are_counted(step, name, crafting):
    x, y = Noise.of_batch(4).uniform((3, 32, 32)), torch.tensor([0, 3, 3, 9])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = step.CONTESTANTS[name](preact_resnet_18(2).build(10), x, y)
        with Operations() as counter:
            run()
    assert counter.total == 4 * (10 * crafting + 3 * FORWARD - STEM)


def test_every_contestant_learns_from_images_on_the_edge_of_the_ball(step):
    x, y = Noise.of_batch(4).uniform((3, 32, 32)), torch.tensor([0, 3, 3, 9])
    for make in step.CONTESTANTS.values():
        model = preact_resnet_18(2).build(10)
        before = {name: value.clone() for name, value in model.named_parameters()}
        seen = []
        model.register_forward_pre_hook(lambda module, args, seen=seen: seen.append((module.training, args[0])))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make(model, x, y)()
        assert [training for training, _ in seen] == [False] * 10 + [True]
        start, *_, found = (images.detach() for _, images in seen)
        assert 0.7 * 8 / 255 < float((start - x).abs().max()) <= 8 / 255 + 1e-6
        assert float((found - x).abs().mean()) > float((start - x).abs().mean())
        assert float((found - x).abs().max()) == pytest.approx(8 / 255, abs=1e-6)
        assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters() if value.ndim > 1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--batch", "0"], "argument --batch: it is '0'; it must be a whole number of at least 1."),
        (["--rounds", "1.5"], "argument --rounds: it is '1.5'; it must be a whole number of at least 1."),
        (["--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
        (["--depth", "18"], "unrecognized arguments: --depth 18"),
        (["--device", "cuda"], "--device is cuda, and torch finds no such device here; cpu is allowed."),
        (["--json", "{tmp}/there"], "there; it must be a file that does not exist yet, in a folder that does."),
        (["--json", "{tmp}/a/b"], "b; it must be a file that does not exist yet, in a folder that does."),
    ],
)
def test_wrong_flags_are_refused_with_a_sentence_before_anything_is_measured(
    step, tmp_path, capsys, monkeypatch, flags, said
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    there = tmp_path / "there"
    there.write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        step.main([flag.format(tmp=tmp_path) for flag in flags])
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert there.read_text(encoding="utf-8") == "mine"


def test_without_foolbox_a_sentence_says_how_to_get_it(step, monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(SystemExit, match=r"`pip install --editable '\.\[test\]'` .* installs foolbox\."):
        step.foolbox_step(preact_resnet_18(1).build(10), torch.zeros(1, 3, 32, 32), torch.tensor([0]))
