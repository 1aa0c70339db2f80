"""benchmarks/: what is timed is what is said to be, operations are counted right, and what is printed was measured."""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from hardy.attacks import NATTACK, PGD, Linf
from hardy.data import Split
from hardy.evaluation.stream import classify
from hardy.models import preact_resnet_18
from hardy.randomness import Noise

FOLDER = Path(__file__).parents[2] / "benchmarks"

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


@pytest.fixture
def batch():
    return Noise.of_batch(4).uniform((3, 32, 32)), torch.tensor([0, 3, 3, 9])


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_prints_and_writes_every_contestant_and_the_operations_counted_by_hand(tmp_path, compiled):
    out = tmp_path / "step.json"
    sizes = {"batch": 4, "rounds": 1, "matrix": 64, "width": 2}
    flags = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    flags += ["--compile"] if compiled else []
    flags += ["--methods", "PGD-AT", "--peers", "plain,foolbox", "--threads", "1", "--json", str(out)]
    ran = subprocess.run([sys.executable, str(FOLDER / "step.py"), *flags], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["settings"] == {**sizes, "device": "cpu"}
    assert found["machine"]["threads"] == 1
    assert found["machine"]["torch"] == torch.__version__
    assert found["machine"]["foolbox"] == version("foolbox")
    (part,) = found["parts"]
    needed = 10 * 2 * FORWARD + 3 * FORWARD - STEM
    assert part["operations of an image"] == needed == 27_311_296
    rows = {row["name"]: row for row in part["contestants"]}
    assert list(rows) == ["hardy", *(["compiled"] if compiled else []), "plain", "foolbox"]
    assert rows["plain"]["precision"] == rows["foolbox"]["precision"] == "float32"
    products = {row["precision"]: row["gflops"] for row in part["products"]}
    assert set(products) == {row["precision"] for row in rows.values()}
    assert all(rate > 0 for rate in products.values())
    fastest = max(rows["plain"]["images per second"], rows["foolbox"]["images per second"])
    for name, row in rows.items():
        assert row["seconds of rounds"] == [row["seconds"]]
        assert row["seconds"] > 0
        assert row["images per second"] == pytest.approx(4 / row["seconds"])
        assert row["ratio"] == pytest.approx(row["images per second"] / fastest)
        assert row["gflops"] == pytest.approx(4 * needed / row["seconds"] / 1e9)
        assert row["share"] == pytest.approx(row["gflops"] / products[row["precision"]])
        line = next(line for line in ran.stdout.splitlines() if line.startswith(name))
        assert f"{row['images per second']:.4g}" in line.split()
    losses = [row["first loss"] for row in rows.values()]
    assert max(losses) - min(losses) < 0.02 * min(losses)


# forward passes without a gradient before the attack, and images in training for each of the batch
PASSES = {"PGD-AT": (0, 1), "TRADES": (1, 2), "RLFAT-T": (1, 3), "RAT": (0, 2)}


def contestant(benchmarks, method, who, x, y):
    """(the network, its step)."""
    model, of = preact_resnet_18(2).build(10), benchmarks.methods.METHODS[method]
    if who == "hardy":
        return model, benchmarks.methods.ours(model, of.objective, x, y)
    return model, benchmarks.methods.usual(model, of, benchmarks.peers.PEERS[who](model, of.loss), x, y)


@pytest.mark.parametrize("who", ["hardy", "plain", "foolbox"])
@pytest.mark.parametrize("method", PASSES)
def test_a_step_makes_the_operations_that_are_counted(benchmarks, batch, method, who):
    clean, trained = PASSES[method]
    crafting = 3 * FORWARD if who == "foolbox" else 2 * FORWARD  # foolbox: the weights' gradients too
    training = clean * FORWARD + 3 * trained * FORWARD - trained * STEM
    assert benchmarks.methods.operations("PreActResNet-18", 2, benchmarks.methods.METHODS[method]) == (
        10 * 2 * FORWARD + training
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, run = contestant(benchmarks, method, who, *batch)
        with Operations() as counter:
            run()
    assert counter.total == 4 * (10 * crafting + training)


def test_the_wide_network_is_wrn_34_10(benchmarks):
    of = benchmarks.methods
    with torch.device("meta"):
        network = of.NETWORKS["WRN-34-10"](of.WIDTHS["WRN-34-10"]).empty(10, 3)
    assert sum(p.numel() for p in network.parameters()) == 46_160_474
    stem, forward, inputs = 1024 * 9 * 3 * 16, 640 * 10, 16
    # in each group five units of two convolutions, and a shortcut
    for pixels, width in (1024, 160), (256, 320), (64, 640):
        forward += pixels * (10 * inputs * width + 9 * 9 * width * width)
        inputs = width
    assert of.operations("WRN-34-10", 10, of.METHODS["PGD-AT"]) == 2 * (23 * (stem + forward) - stem)


@pytest.mark.parametrize("who", ["hardy", "plain", "foolbox"])
def test_every_contestant_learns_from_images_on_the_edge_of_the_ball(benchmarks, batch, who):
    x, _ = batch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, run = contestant(benchmarks, "PGD-AT", who, *batch)
        before = {name: value.clone() for name, value in model.named_parameters()}
        seen = []
        model.register_forward_pre_hook(lambda module, args: seen.append((module.training, args[0])))
        run()
    assert [training for training, _ in seen] == [False] * 10 + [True]
    start, *_, found = (images.detach() for _, images in seen)
    assert 0.7 * 8 / 255 < float((start - x).abs().max()) <= 8 / 255 + 1e-6
    assert float((found - x).abs().mean()) > float((start - x).abs().mean())
    assert float((found - x).abs().max()) == pytest.approx(8 / 255, abs=1e-6)
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters() if value.ndim > 1)


def test_the_plain_losses_are_the_objectives(benchmarks, batch):
    """In eval mode, at the same adversarial images, where a loss draws nothing."""
    x, y = batch
    model = preact_resnet_18(2).build(10).eval()
    noise, x_adv = Noise.of_batch(4), (x + 0.02).clamp(0, 1)
    for method in ("PGD-AT", "TRADES"):
        of = benchmarks.methods.METHODS[method]
        ours = sum(of.objective.terms(model, x, y, x_adv, noise).values())
        torch.testing.assert_close(of.plain(model, x, x_adv, y), ours)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--batch", "0"], "argument --batch: it is '0'; it must be a whole number of at least 1."),
        (["--rounds", "1.5"], "argument --rounds: it is '1.5'; it must be a whole number of at least 1."),
        (["--methods", "PGD-AT,PGD-AT"], "it must be some of PGD-AT,TRADES,RLFAT-T,RAT, each once."),
        (["--peers", "art"], "it must be some of plain,foolbox,torchattacks, each once."),
        (["--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
        (["--depth", "18"], "unrecognized arguments: --depth 18"),
        (["--device", "cuda"], "--device is cuda, and torch finds no such device here; cpu is allowed."),
        (["--json", "{tmp}/there"], "there; it must be a file that does not exist yet, in a folder that does."),
        (["--json", "{tmp}/a/b"], "b; it must be a file that does not exist yet, in a folder that does."),
    ],
)
def test_wrong_flags_are_refused_with_a_sentence_before_anything_is_measured(benchmarks, refused, flags, said):
    refused(benchmarks.step, flags, said)


@pytest.mark.parametrize(
    ("name", "how"), [("foolbox", r"\.\[test\]"), ("torchattacks", r"--target benchmarks/\.peers")]
)
def test_without_a_peer_a_sentence_says_how_to_get_it(benchmarks, monkeypatch, name, how):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit, match=rf"{how}.* in the repository's folder installs it"):
        benchmarks.peers.PEERS[name](preact_resnet_18(1).build(10), "cross-entropy")


def test_an_evaluation_is_timed_beside_foolbox_and_beside_bare_passes(benchmarks):
    x = (255 * Noise.of_batch(6).uniform((3, 16, 16))).to(torch.uint8)
    split = Split(x, torch.arange(6) % 5, tuple("abcde"), torch.arange(6), "noise")
    attacks = {"pgd-20": PGD(Linf(8 / 255), 2, 2 / 255), "nattack": NATTACK(Linf(8 / 255), 2, 3, test_every=1)}
    model = preact_resnet_18(2).build(5)
    rows = benchmarks.evaluation.measure(model, split, attacks, 1)
    by_attack = {name: [row for row in rows if row["attack"] == name] for name in attacks}
    assert [row["name"] for row in by_attack["pgd-20"]][0 :: len(by_attack["pgd-20"]) - 1] == ["hardy", "foolbox"]
    assert by_attack["nattack"][-1]["name"] == "bare passes"
    assert by_attack["nattack"][-1]["robust"] is None
    clean = classify(model, split).correct
    for row in rows:
        assert row["ratio"] == pytest.approx(by_attack[row["attack"]][-1]["seconds"] / row["seconds"])
        assert row["robust"] is None or row["robust"] <= int(clean.sum())
    assert by_attack["pgd-20"][0]["backwards"] == 2 * int(clean.sum())
    assert model.autocast is None


def test_bare_passes_are_as_many_as_were_asked_for(benchmarks):
    x = torch.zeros(6, 3, 16, 16, dtype=torch.uint8)
    split = Split(x, torch.zeros(6, dtype=torch.int64), ("a",), torch.arange(6), "nothing")
    model = preact_resnet_18(1).build(5)
    seen = []
    model.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    benchmarks.evaluation.bare(model, split, 1500)()
    assert seen == [600, 600, 300]


@pytest.mark.slow
def test_costs_are_measured_for_each_method_and_grow_with_what_is_counted(benchmarks, tmp_path, capsys):
    out = tmp_path / "costs.json"
    benchmarks.costs.main(["--width", "2", "--batch", "4", "--rounds", "1", "--json", str(out)])
    found = json.loads(out.read_text())
    assert [row["name"] for row in found["methods"]] == ["PGD-AT", "RBSAT-P", "RLFAT-P", "RAT", "TRADES", "RLFAT-T"]
    assert found["methods"][0]["over PGD-AT"] == 1
    assert 0 < found["rbs"] < 1
    assert [(row["counted"], row["grown"] > 0) for row in found["growth"]] == [(n, True) for n in (1, 2, 4, 1, 2, 4)]
    assert "a block shuffle is" in capsys.readouterr().out


@pytest.mark.slow
def test_start_up_and_memory_are_those_of_whole_processes(benchmarks, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    out = tmp_path / "starting.json"
    benchmarks.starting.main(["--rounds", "1", "--json", str(out)])
    found = json.loads(out.read_text())
    assert found["seconds"]["first step"] > found["seconds"]["import"] > 0
    assert found["memory"]["10"] > found["memory"]["nothing"] > 0
    assert list((tmp_path / "temporary").glob("tmp*")) == []


def test_a_ratio_fell_where_it_is_clearly_lower_than_the_one_that_is_kept(benchmarks):
    step = {"parts": [{"method": "RAT", "network": "N", "contestants": [
        {"name": "hardy", "ratio": 2.0, "share": 0.8}, {"name": "plain", "ratio": 1.0, "share": 0.9}]}]}  # fmt: skip
    attacks = {"found": {"hardy": [{"seconds": [1.0, 3.0]}], "pyautoattack": [{"seconds": [8.0, 2.0]}]}}
    found = {"step": step, "undefended": attacks, "costs": {"batches over step": 50.0}}
    now = dict(benchmarks.bench.ratios(found))
    assert now == {
        "RAT step, N: hardy over the fastest peer": 2.0,
        "RAT step, N: hardy, share of a bare product": 0.8,
        "AutoAttack, an undefended network: hardy over pyautoattack": 2.5,
        "batches over the step": 50.0,
    }
    name = "RAT step, N: hardy over the fastest peer"
    assert benchmarks.bench.fallen(now, now) == []
    assert benchmarks.bench.fallen(now, {name: 2.2}) == []  # noise
    assert benchmarks.bench.fallen(now, {name: 2.3, "of another version": 9.0}) == [f"fell: {name} is 2.00, was 2.30"]


def test_some_parts_do_not_replace_what_is_kept_of_all(benchmarks, refused):
    refused(benchmarks.bench, ["--parts", "step", "--write"], "--write replaces what is kept of all parts;")


def test_every_part_gets_the_threads_and_the_file_has_what_was_found(benchmarks, tmp_path, monkeypatch):
    commands = []

    def run(command, **_):
        commands.append(command)
        Path(command[-1]).write_text(json.dumps({"batches over step": 2.0}), encoding="utf-8")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(benchmarks.bench, "machine", lambda device: {"cpu": "C"})
    monkeypatch.setattr(benchmarks.bench.subprocess, "run", run)
    out = tmp_path / "found.json"
    threads = str(torch.get_num_threads())
    benchmarks.bench.main(["--parts", "starting,costs", "--threads", threads, "--json", str(out)])
    assert all(command[command.index("--threads") + 1] == threads for command in commands)
    assert json.loads(out.read_text(encoding="utf-8")) == {
        "machine": {"cpu": "C"},
        **{part: {"batches over step": 2.0} for part in ("starting", "costs")},
    }


def test_two_verdicts_of_the_same_images_are_compared_image_by_image(benchmarks):
    one = torch.tensor([True] * 6 + [False] * 4)
    other = torch.tensor([True] * 3 + [False] * 3 + [True] + [False] * 3)
    found = benchmarks.parity.compared(one, other)
    half = pytest.approx(100 * 1.96 * ((3 + 1) - (3 - 1) ** 2 / 10) ** 0.5 / 10)
    assert found == {
        "n": 10,
        "float32": pytest.approx(0.6),
        "bfloat16": pytest.approx(0.4),
        "only one": 4,
        "points": -20.0,
        "interval": half,
    }


@pytest.mark.slow
@pytest.mark.data
def test_precisions_are_compared_from_the_same_seeds_and_a_second_command_goes_on(benchmarks, tmp_path, capsys):
    flags = ["--out", str(tmp_path / "parity"), "--seeds", "2", "--width", "1", "--epochs", "1"]
    benchmarks.parity.main([*flags, "--n", "20", "--json", str(tmp_path / "first.json")])
    found = json.loads((tmp_path / "first.json").read_text())
    assert found["attack"]["n"] == 20
    assert [row["seed"] for row in found["seeds"]] == [0, 1]
    assert found["training"]["points"] == pytest.approx(sum(row["points"] for row in found["seeds"]) / 2)
    runs = {file.parent.name: json.loads(file.read_text()) for file in (tmp_path / "parity").glob("*/run.json")}
    assert set(runs) == {"float32-0", "float32-1", "bfloat16-0", "bfloat16-1"}
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "parity").glob("*.json")}
    benchmarks.parity.main([*flags, "--n", "20", "--json", str(tmp_path / "second.json")])
    assert {file: file.stat().st_mtime_ns for file in written} == written
    assert json.loads((tmp_path / "second.json").read_text()) == found
    assert "training, mean of the seeds' points" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"is of 20 images, and --n is 10; name another --out\."):
        benchmarks.parity.main([*flags, "--n", "10"])


@pytest.mark.parametrize("script", ["evaluation", "parity"])
def test_without_the_images_a_sentence_says_where_they_were_looked_for(benchmarks, tmp_path, monkeypatch, script):
    monkeypatch.setenv("HARDY_DATA", str(tmp_path))
    out = ["--out", str(tmp_path / "out")] if script == "parity" else []
    with pytest.raises(SystemExit) as stop:
        getattr(benchmarks, script).main(out)
    assert stop.value.code == 2
    assert list(tmp_path.iterdir()) == []


def plan(out: Path) -> None:
    out.mkdir()
    (out / "plan.json").write_text(json.dumps({"minutes": 1, "epochs": 1, "seconds of an epoch": {}}))


@pytest.mark.slow
@pytest.mark.data
def test_the_script_for_a_gpu_trains_measures_and_goes_on(tmp_path):
    out = tmp_path / "gpu"
    plan(out)
    small = "--model.width 1 --data.first 256 --validation.images 20 --objective.attack.steps 1"
    command = [
        str(FOLDER / "gpu.sh"), os.environ["HARDY_DATA"], "--device", "cpu", "--minutes", "30", "--out", str(out),
        "--images", "200", "--train", small,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHON": sys.executable}
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stdout + first.stderr
    lines = (out / "table.md").read_text().splitlines()
    assert lines[0] == "| method | clean | PGD-20 | CW-20 | AutoAttack, 200 images |"
    assert [line.split(" | ")[0] for line in lines[2:6]] == ["| pgdat", "| trades", "| rlfat-p", "| rlfat-t"]
    assert "not measured" not in (out / "table.md").read_text()
    written = {file: file.read_bytes() for file in out.glob("*/results.jsonl")}
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert not any(line.startswith("hardy evaluate") for line in again.stdout.splitlines())
    assert {file: file.read_bytes() for file in written} == written


@pytest.mark.parametrize("images", ["0", "10001"])
def test_the_script_for_a_gpu_refuses_images_that_are_not_there_before_hours_of_training(
    benchmarks, tmp_path, capsys, images
):
    with pytest.raises(SystemExit):
        benchmarks.gpu.main([str(tmp_path), "--device", "cpu", "--images", images])
    assert f"--images is {images}; it must be 1 to 10,000" in capsys.readouterr().err


def test_the_script_for_a_gpu_refuses_a_folder_without_the_data(benchmarks, tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmarks.gpu.main([str(tmp_path), "--device", "cpu"])
    assert "There is no cifar-10-batches-py in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
