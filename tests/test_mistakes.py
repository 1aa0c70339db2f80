"""Whatever a user gets wrong on the command line: the exit code, a sentence that helps, and nothing done.

Every command runs in a working folder that holds the same files, right and wrong ones, and must leave it as it was.
"""

import io
import json
import pickle
import shlex
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import hardy
from cli.commands import Ran, run
from hardy.data import CIFAR10, Digits, download
from hardy.models import preact_resnet_18, small_cnn
from hardy.models.checkpoints import read_weights, save_weights
from hardy.training import Validation

NETWORK = small_cnn(width=2)
MODULE = """
from torch import nn

number = 3
network = nn.Linear(3, 3)

def build(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, num_classes))

def seven(num_classes):
    return build(7)

def broken(num_classes):
    return nn.Linear(-num_classes, 1)

def text(num_classes):
    return "a network"

def many(depth, width):
    return build(depth)

def flat(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

def sure(num_classes):
    return nn.Sequential(flat(num_classes), nn.Softmax(1))

def coupled(num_classes):
    class Coupled(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1) - x.flatten(1).mean(0))
    return Coupled(64, num_classes)

def refuses(num_classes):
    raise FileNotFoundError("no weights here")
"""


@pytest.fixture(scope="session")
def shelf(tmp_path_factory) -> Path:
    """All files that the commands are given, under the names that they have there."""
    top = tmp_path_factory.mktemp("shelf")
    _runs(top)
    _weights(top)
    _data(top)
    (top / "file").write_text("mine")
    (top / "rows.json").write_text("[]")
    (top / "picture.png").write_bytes(b"mine")
    (top / "analysed").mkdir()
    (top / "analysed" / "shuffle.json").write_bytes(b"mine")
    (top / "analysed" / "corrupted.json").write_bytes(b"mine")
    (top / "foreign").mkdir()
    (top / "foreign" / "notes.txt").write_text("mine")
    (top / "empty").mkdir()
    (top / "link").symlink_to("nowhere")
    (top / "published").mkdir()
    (top / "published" / "rlfat-digits.json").write_text(json.dumps({"measured": [], "sha256": "0" * 64}))
    shutil.copy(top / "run" / "last.safetensors", top / "published" / "rlfat-digits.safetensors")
    (top / "mynet.py").write_text(MODULE)
    (top / "raises.py").write_text("1 / 0\n")
    (top / "unfinished.py").write_text("def build(:\n")
    return top


def _runs(top: Path) -> None:
    """run: a finished one with best and last weights; the others lack something or are damaged."""
    recipe = hardy.recipe("standard-digits")
    of_two_steps = {"model": NETWORK, "data": Digits(canvas=8), "epochs": None, "steps": 2, "precision": "float32"}
    held_out = Validation(images=20, attack=replace(recipe.validation.attack, steps=1))
    hardy.train(replace(recipe, name="quick", validation=held_out, **of_two_steps), top / "run", device="cpu")
    shutil.rmtree(top / "run" / "tensorboard", ignore_errors=True)
    for name in ("last-only", "unweighed", "demo/standard"):
        shutil.copytree(top / "run", top / name)
    (top / "last-only" / "best.safetensors").unlink()
    for kind in ("best", "last"):
        (top / "unweighed" / f"{kind}.safetensors").unlink()
    told = json.loads((top / "run" / "run.json").read_text())
    whole = json.dumps(told)
    damaged = {
        "truncated-run": whole[: len(whole) // 2],
        "empty-run": "",
        "list-run": "[]",
        "newer-run": json.dumps({**told, "run": {**told["run"], "depth": 3}}),
        "hostile-run": json.dumps({**told, "run": {"type": "os.system", "command": "touch hacked"}}),
    }
    for name, text in damaged.items():
        (top / name).mkdir()
        (top / name / "run.json").write_text(text)


def _weights(top: Path) -> None:
    last = top / "run" / "last.safetensors"
    content = last.read_bytes()
    tensors, header = read_weights(last)
    about = {key: header[key] for key in ("run", "data", "ball")}
    (top / "truncated.safetensors").write_bytes(content[: len(content) // 2])
    (top / "flipped.safetensors").write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    (top / "empty.safetensors").touch()
    (top / "page.safetensors").write_text("<html>404</html>")
    torch.save(tensors, top / "pickled.pt")
    save_file(load_file(last), top / "foreign.safetensors")
    plain = {name: value for name, value in tensors.items() if name not in ("mean", "deviation")}
    torch.save({"state_dict": {f"module.{name}": value for name, value in plain.items()}}, top / "wrapped.pt")
    torch.save({"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": []}, top / "optimizer.pt")
    torch.save({"epoch": 3, "best": 0.5}, top / "numbers.pt")
    torch.save({"state_dict": plain, "args": Path("a")}, top / "objects.pt")
    torch.save({**plain, "mean": torch.zeros(1), "std": torch.zeros(1)}, top / "flat-deviation.pt")
    (top / "truncated.pt").write_bytes((top / "wrapped.pt").read_bytes()[:500])
    (top / "page.pt").write_text("<html>404</html>")
    (top / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1")
    torch.save(
        {k: v for k, v in NETWORK.build(2, 3).state_dict().items() if k not in ("mean", "deviation")}, top / "two.pt"
    )
    (top / "advs").mkdir()
    (top / "advs" / "fgsm.safetensors").write_text("mine")
    (top / "advs" / "fgsm-at-8-255.safetensors").write_text("mine")
    save_weights(top / "no-data.safetensors", tensors, NETWORK, 10, 1, {})
    save_weights(top / "wider.safetensors", tensors, small_cnn(width=3), 10, 1, about)
    save_weights(top / "resnet.safetensors", tensors, preact_resnet_18(width=2), 10, 1, about)
    save_weights(top / "seven-classes.safetensors", NETWORK.build(7, 1).state_dict(), NETWORK, 7, 1, about)
    nan = {name: value.clone() for name, value in tensors.items()}
    nan["linear.bias"][3] = torch.nan
    save_weights(top / "nan.safetensors", nan, NETWORK, 10, 1, about)
    for name, model in (
        ("hostile", {"type": "os.system", "command": "touch hacked"}),
        ("own", {"type": "OwnNetwork", "source": "mynet:build"}),
        ("attack", {"type": "PGD"}),
    ):
        changed = {**header, "model": model}
        save_file(tensors, top / f"{name}.safetensors", {"hardy": json.dumps(changed)})
    for name, data in (("hostile-data", {"type": "os.system"}), ("network-as-data", {"type": "SmallCNN"})):
        save_weights(top / f"{name}.safetensors", tensors, NETWORK, 10, 1, {"data": data})
    save_weights(top / "odd-ball.safetensors", tensors, NETWORK, 10, 1, {**about, "ball": {"type": "Cube"}})


PER_FILE = 4  # images of a CIFAR-10 batch here


def _data(top: Path) -> None:
    """cifar: a release of few images, and the same with one file spoilt; images: folders of pictures; extra images."""
    whole = top / "cifar" / "cifar-10-batches-py"
    whole.mkdir(parents=True)
    pixels = np.arange(PER_FILE * 3072).reshape(PER_FILE, 3072).astype(np.uint8)
    content = {b"data": pixels, b"labels": [0, 1, 2, 3]}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (whole / name).write_bytes(pickle.dumps(content, protocol=2))
    (whole / "batches.meta").write_bytes(pickle.dumps({b"label_names": list("abcdefghij")}, protocol=2))
    batch = (whole / "data_batch_3").read_bytes()
    spoilt = {
        "truncated": batch[: len(batch) // 2],
        "page": b"<!DOCTYPE html><html>",
        "labels": pickle.dumps({**content, b"labels": [0, 1, 2, 10]}, protocol=2),
        "fewer": pickle.dumps({b"data": pixels[:2], b"labels": [0, 1]}, protocol=2),
        "hostile": b"cos\nsystem\n(S'touch hacked'\ntR.",
    }
    for name, changed in spoilt.items():
        shutil.copytree(whole, top / f"cifar-{name}" / whole.name)
        (top / f"cifar-{name}" / whole.name / "data_batch_3").write_bytes(changed)
    shutil.copytree(whole, top / "cifar-part" / whole.name)
    (top / "cifar-part" / whole.name / "data_batch_5").unlink()
    (top / "cifar-archive").mkdir()
    (top / "cifar-archive" / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b\x08\x00damaged")
    picture = io.BytesIO()
    Image.new("RGB", (12, 12), (255, 128, 0)).save(picture, "PNG")
    pictures = {
        "images": ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"),
        "one-class": ("cat/1.png", "cat/2.png"),
        "few": ("cat/1.png", "cat/2.png", "dog/1.png"),
        "broken": ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"),
        "only-train": ("train/cat/1.png", "train/dog/1.png"),
        "parted": ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/fox/1.png"),
    }
    for folder, files in pictures.items():
        for file in files:
            (top / folder / file).parent.mkdir(parents=True, exist_ok=True)
            (top / folder / file).write_bytes(picture.getvalue())
    (top / "broken" / "dog" / "2.png").write_bytes(picture.getvalue()[:40])
    (top / "no-images" / "cat").mkdir(parents=True)
    (top / "no-images" / "dog").mkdir()
    (top / "no-images" / "cat" / "notes.txt").write_text("mine")
    image, label = np.zeros((6, 8, 8, 1), np.uint8), np.arange(6)
    np.savez(top / "extra.npz", image=image, label=label)
    np.savez(top / "extra-colour.npz", image=np.zeros((6, 32, 32, 3), np.uint8), label=label)
    np.savez(top / "extra-labels.npz", image=image, label=label + 5)
    np.savez(top / "extra-bare.npz", label=label)
    (top / "extra-truncated.npz").write_bytes((top / "extra.npz").read_bytes()[:200])


@pytest.fixture
def place(shelf, tmp_path, monkeypatch) -> Path:
    """The working folder, with a copy of what is on the shelf; nothing else is found, and no connection can be made."""
    place = tmp_path / "place"
    shutil.copytree(shelf, place, symlinks=True)
    monkeypatch.chdir(place)
    few = replace(CIFAR10._layout, train_count=PER_FILE, test_count=PER_FILE)
    monkeypatch.setattr(CIFAR10, "_layout", few)
    monkeypatch.setattr(download, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr("hardy.models.published.FOLDER", place / "published")
    monkeypatch.delenv("HARDY_DATA", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python's own traces of importing the user's module
    monkeypatch.setattr(sys.modules["hardy.models.own"], "_ADMITTED", {})

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)
    yield place
    for name in ("mynet", "raises", "unfinished"):
        sys.modules.pop(name, None)


def _inside(folder: Path) -> dict[str, bytes | None]:
    """The content of everything in a folder; None for what is no file."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def _sentence(ran: Ran) -> str:
    """What was said of the mistake: hardy's own last line, or what the reader of flags says, without its frame."""
    lines = ran.err.splitlines()
    own = [line for line in lines if line.startswith("hardy: ")]
    if own:
        assert own == lines[-1:]
        assert own[0].endswith((".", "?"))
        return own[0]
    assert "For full helptext" in ran.err
    return " ".join(ran.err.replace("│", " ").split())


def case(command: str, *parts: str, code: int = 2):
    """A command, and what its sentence must contain: what was wrong, what was given, what is allowed."""
    return pytest.param(command, code, parts, id=command)


NAMES = [
    case(
        "nosuch",
        "no command named 'nosuch'; known are analyse, compare, demo, diagnose, evaluate, export, list, report, table, train",
    ),
    case("evalute", "no command named 'evalute'; did you mean evaluate?"),
    case("--verbose", "no command named '--verbose'; known are"),
    case('""', "no command named ''; known are"),
    case("list recipe", "no list named 'recipe'; did you mean recipes?"),
    case("list recipes models", "One kind is listed at a time, or all; 'recipes models' was given"),
    case("list --all", "no list named '--all'; known are attacks"),
    case("demo extra", "Unrecognized options: extra"),
    case("demo --fast", "Unrecognized options: --fast"),
    case("train", "A recipe is missing, as in `hardy train rlfat-p-digits`"),
    case("train rlfat-p-digts", "no recipe named 'rlfat-p-digts'; did you mean rlfat-p-digits"),
    case('train ""', "no recipe named ''; known are", "rlfat-p-digits"),
    case("train --epochs 3", "The recipe comes first", "'--epochs' was given"),
    case("train pgdat-digits extra", "Unrecognized options: extra"),
    case("train pgdat-digits --epoch 3", "Unrecognized options: --epoch, 3", "Perhaps you meant: --epochs"),
    case("train pgdat-digits --no-such 3", "Unrecognized options: --no-such, 3"),
    case("evaluate", "Missing", "RUN|WEIGHTS|NAME", "a run's folder, a weights file"),
    case("evaluate run run", "Unrecognized options: run"),
    case("evaluate run --attack pgd-20", "Unrecognized options: --attack, pgd-20", "Perhaps you meant: --attacks"),
    case("evaluate run --attacks pgd-20x", "no attack named 'pgd-20x'; did you mean pgd-K"),
    case("evaluate run --attacks PGD-20", "no attack named 'PGD-20'; did you mean pgd-K"),
    case("evaluate run --attacks pgd-007", "no attack named 'pgd-007'; did you mean pgd-K"),
    case("evaluate run --attacks pgd-٣", "no attack named 'pgd-٣'; did you mean pgd-K"),
    case("evaluate run --attacks pgd-0", "'pgd-0' asks for 0 steps; it must be at least 1"),
    case("evaluate run --attacks pgd-K", "'pgd-K' lacks its number of steps", "as in pgd-20"),
    case("evaluate run --attacks pgd-99999999999999999999", "steps is 99999999999999999999", "an integer (64 bits)"),
    case("evaluate run --attacks 'clean fgsm'", "no attack named 'clean fgsm'; did you mean clean or fgsm?"),
    case("evaluate run --attacks ''", "attacks is ''; it must be names with commas between, as in clean,pgd-20"),
    case("evaluate run --attacks ,", "attacks is ','; it must be names with commas between"),
    case("evaluate run --device xpu", "device is 'xpu'; it must be cpu"),
    case("evaluate run --device cpu:7", "device is 'cpu:7'; it must be cpu"),
    case("evaluate rlfat-digit", "no weights file rlfat-digit", "did you mean rlfat-digits?"),
    case("evaluate rlfat-digits", "published/rlfat-digits.safetensors is not the file that was published", "0" * 64),
    case("train pgdat-digits --device cuda:99", "device is 'cuda:99'; it must be cpu"),
    case("train pgdat-digits --device meta", "device is 'meta'; it must be cpu"),
    case("train pgdat-digits --device gpu --dry-run", "device is 'gpu'; it must be cpu"),
    case("compare", "required"),
    case("export run --out shared", "required", "--to"),
    case("export run --to robustbank --out shared", "robustbench", "huggingface"),
    case(
        "compare run/run.json run/none.jsonl",
        "run/run.json does not hold outcomes; those that hardy evaluate writes do",
    ),
    case("compare run/none.jsonl run/run.json", "run/none.jsonl could not be read: No such file or directory"),
    case("compare run run/run.json", "run could not be read: Is a directory"),
    case("analyse", "An analysis is missing: sensitivity or shuffle"),
    case("analyse sensitivty x", "no analysis named 'sensitivty'; did you mean sensitivity?"),
    case("analyse sensitivity run --attacks clean", "Unrecognized options: --attacks, clean"),
    case("analyse sensitivity run --device xpu", "device is 'xpu'; it must be cpu"),
    case("analyse shuffle extra", "Unrecognized options: extra"),
    case("analyse eps run run", "sources is ['run', 'run']; it must be networks that differ"),
    case("analyse eps run --attack pgd-2O", "no attack named 'pgd-2O'; did you mean pgd-K"),
    case("analyse steps run --attack pgd-20", "no attack in steps of one size named 'pgd-20'; did you mean pgd?"),
    case("analyse restarts run --restart 2", "Unrecognized options: --restart, 2", "Perhaps you meant: --restarts"),
    case("analyse strength run --attacks pgd infofeatur", "'infofeatur'; did you mean infofeature?"),
    case("analyse perturbations run --against clean", "no attack in steps of one size named 'clean'"),
    case("analyse direction run --attack clean", "attack is 'clean'; it must be an attack on one network"),
    case("analyse surface run --attack pdg-10", "no attack named 'pdg-10'; did you mean pgd-K"),
    case("analyse surface run --device xpu", "device is 'xpu'; it must be cpu"),
    case("analyse corruptions run --types snwo", "no type of corruption named 'snwo'; did you mean snow?"),
    case(
        "analyse corruptions run --severity 2", "Unrecognized options: --severity, 2", "Perhaps you meant: --severities"
    ),
    case("analyse corruptions run --images relaesed", "'relaesed'", "--images", "'released'"),
    case("analyse corrupted run", "Unrecognized options: run"),
    case("analyse corrupted --types rain", "no type of corruption named 'rain'"),
    case("diagnose", "Missing", "RUN|WEIGHTS|NAME", "a run's folder, a weights file"),
    case("diagnose run run", "Unrecognized options: run"),
    case("diagnose run --fast", "Unrecognized options: --fast"),
    case("diagnose run --quick yes", "Unrecognized options: yes"),
    case("diagnose run --device xpu", "device is 'xpu'; it must be cpu"),
    case("diagnose rlfat-digit", "no weights file rlfat-digit", "did you mean rlfat-digits?"),
    case("table", "Missing", "of the table, as in `hardy list tables`"),
    case("table rlfat-1d", "no table named 'rlfat-1d'; did you mean", "rlfat-1b"),
    case("table rlfat-1b rlfat-1c", "Unrecognized options: rlfat-1c"),
    case("table rlfat-1b --rows PGD-AT", "rlfat-1b has no row 'PGD-AT' at scale small; it has PGDAT, TRADES"),
    case("table rlfat-1b --colums PGD", "Unrecognized options: --colums, PGD"),
]

VALUES = [
    case("train pgdat-digits --epochs", "Missing value for argument '--epochs'"),
    case("train pgdat-digits --epochs three", "--epochs", "'three'", "INT"),
    case("train pgdat-digits --epochs 2.5", "--epochs", "'2.5'", "INT"),
    case("train pgdat-digits --epochs 0", "length is 0; it must be at least 1"),
    case("train pgdat-digits --steps -3", "length is -3; it must be at least 1"),
    case("train pgdat-digits --epochs 3 --steps 10", "epochs is 3 and steps is 10", "one of them"),
    case("train pgdat-digits --epochs None", "epochs is None and steps is None", "one of them"),
    case("train pgdat-digits --epochs 99999999999999999999", "epochs is 99999999999999999999", "an integer (64 bits)"),
    case("train pgdat-digits --batch 0", "batch is 0; it must be at least 1"),
    case("train pgdat-digits --batch many", "--batch", "'many'", "INT"),
    case("train pgdat-digits --batch 2000", "batch is 2000; it must be at most the number of training images, 1297"),
    case("train pgdat-digits --seed -1", "seed is -1; it must be in [0, 2**32)"),
    case("train pgdat-digits --seed 4294967296", "seed is 4294967296; it must be in [0, 2**32)"),
    case('train pgdat-digits --name ""', "name is ''; it must be"),
    case("train pgdat-digits --name ..", "name is '..'; it must be"),
    case("train pgdat-digits --objective.attack.ball.eps 8", "eps is 8.0", "8/255, not 8"),
    case("train pgdat-digits --objective.attack.ball.eps -8/255", "eps is -0.03", "in [0, 1]"),
    case("train pgdat-digits --objective.attack.ball.eps eight", "'eight' is not a number", "0.031, 8/255 or 1e-3"),
    case("train pgdat-digits --objective.attack.ball.eps 8/0", "'8/0' is not a number", "8/255"),
    case("train pgdat-digits --objective.attack.ball.eps 8,5", "'8,5' is not a number", "8/255"),
    case("train pgdat-digits --objective.attack.ball.eps nan", "'nan' is not a finite number", "8/255"),
    case("train pgdat-digits --objective.attack.steps -1", "steps is -1; it must be at least 0"),
    case("train pgdat-digits --objective.attack.step-size -1/255", "step_size is -0.0039", "at least 0, or None"),
    case("train pgdat-digits --objective.attack.momentum -1", "momentum is -1.0; it must be at least 0"),
    case("train pgdat-digits --objective.attack.start-at centre", "'centre'", "start-at", "'uniform'"),
    case("train pgdat-digits --objective.batch-norm on", "'on'", "--objective.batch-norm", "'train'"),
    case("train trades-digits --objective.beta -6", "beta is -6.0; it must be at least 0"),
    case("train rlfat-p-digits --objective.eta -1", "eta is -1.0; it must be at least 0"),
    case("train rlfat-p-digits --objective.k 0", "k is 0; it must be at least 1 block"),
    case("train rlfat-p-digits --objective.k 1.5", "--objective.k", "'1.5'", "INT"),
    case("train rlfat-p-digits --objective.cuts even", "'even'", "--objective.cuts", "'random', 'equal'"),
    case("train rlfat-p-digits --objective.per-image yes", "Unrecognized options: yes"),
    case("train pgdat-digits --optimizer.lr -1", "lr is -1.0; it must be above 0"),
    case("train pgdat-digits --optimizer.lr inf", "'inf' is not a finite number", "1e-3"),
    case("train pgdat-digits --optimizer.lr 1e400", "'1e400' is not a finite number", "1e-3"),
    case("train pgdat-digits --optimizer.lr 1e39", "lr is 1e+39; it must be a finite number (32 bits)"),
    case('train pgdat-digits --optimizer.lr ""', "'' is not a number", "1e-3"),
    case("train pgdat-digits --optimizer.clip 0", "clip is 0.0; it must be above 0, or None"),
    case("train pgdat-digits --optimizer.schedule.peak 2", "peak is 2.0", "(0, 1)"),
    case("train pgdat-digits --model.width 0", "width is 0; it must be at least 1"),
    case("train pgdat-digits --model.width 99999999999", "SmallCNN(width=99999999999", "cannot be built"),
    case("train pgdat-digits --model.mean 0.5", "deviation is (); it must be as long as mean", "length 1"),
    case("train pgdat-digits --model.mean 0.5 --model.deviation 0", "deviation is (0.0,)", "above 0"),
    case("train pgdat-digits --model.mean 0.5 0.5 --model.deviation 1 1", "mean is (0.5, 0.5)", "empty or have 1"),
    case("train pgdat-digits --model.mean half --model.deviation 1", "--model.mean", "['half']", "NUMBER"),
    case("train pgdat-digits --precision float16", "'float16'", "--precision", "'bfloat16'"),
    case("train pgdat-digits --layout rows", "'rows'", "--layout", "'channels_last'"),
    case("train pgdat-digits --compile yes", "Unrecognized options: yes"),
    case("train pgdat-digits --data.canvas 7", "canvas is 7; it must be an integer in 8..64"),
    case("train pgdat-digits --data.placement left", "'left'", "--data.placement", "'centre'"),
    case("train pgdat-digits --validation.images -1", "validation.images is -1; it must be at least 0"),
    case("train pgdat-digits --validation.images 1297", "1297 images were to be held out of 1297", "fewer"),
    case("train pgdat-digits --validation.images ten", "--validation.images", "'ten'", "INT"),
    case("train pgdat-digits --validation.every 0", "validation.every is 0; it must be at least 1 epoch"),
    case("train pgdat-digits --augment.padding -1", "'-1'", "--augment.padding", "'reflect'"),
    case("evaluate run --eps 8", "eps is 8.0", "in (0, 1], the pixels' units: 8/255, not 8"),
    case("evaluate run --eps 0", "eps is 0.0", "in (0, 1]"),
    case("evaluate run --eps -1/255", "eps is -0.0039", "in (0, 1]"),
    case("evaluate run --eps eight", "'eight' is not a number", "8/255"),
    case("evaluate run --eps nan", "'nan' is not a finite number", "8/255"),
    case("evaluate run --n 0", "n is 0; it must be at least 1 image"),
    case("evaluate run --n all", "--n", "'all'", "INT"),
    case("evaluate run --n-black-box 0", "n-black-box is 0; it must be at least 1 image"),
    case("evaluate run --judge first", "'first'", "--judge", "'last', 'any'"),
    case("evaluate run --weights middle", "'middle'", "--weights", "'best'"),
    case("evaluate run --batch 0", "batch is 0; it must be at least 1"),
    case("evaluate run --seed -1", "seed is -1; it must be in [0, 2**32)"),
    case("evaluate run --precision half", "'half'", "--precision", "'float32'"),
    case("analyse sensitivity", "sources is (); it must be at least one run's folder, weights file or published"),
    case("analyse sensitivity run --n 0", "n is 0; it must be at least 1 image"),
    case("analyse sensitivity run --gamma 0", "gamma is 0.0; it must be above 0"),
    case("analyse sensitivity run --gamma two", "--gamma", "['two']", "NUMBER"),
    case("analyse sensitivity run --brightness 2", "brightness shift is 2.0; it must be in [-1, 1]"),
    case("analyse sensitivity run --brightness --gamma", "brightness and gamma", "at least one"),
    case("analyse sensitivity run --weights newest", "'newest'", "--weights", "'best'"),
    *(
        case(f"analyse {name} run --n 0", "n is 0; it must be at least 1 image")
        for name in ("eps", "steps", "restarts", "strength", "perturbations", "direction", "surface")
    ),
    case("analyse eps", "sources is (); it must be at least one run's folder, weights file or published network"),
    case("analyse eps run --eps 8", "eps is 8.0; it must be in [0, 1], the pixels' units: 8/255, not 8"),
    case("analyse eps run --eps 0.1 0.1", "eps is (0.1, 0.1); it must be radii that differ"),
    case("analyse steps run --steps 0 -1", "steps is -1; it must be at least 0"),
    case("analyse steps run --eps 0", "eps is 0.0; it must be in (0, 1]"),
    case("analyse restarts run --restarts 0", "restarts is 0; it must be at least 1"),
    case("analyse restarts run --picture bmp", "picture is 'bmp'; it must be one of png, svg, pdf"),
    case("analyse corruptions run --types", "types is (); it must be at least one type of corruption"),
    case("analyse corruptions run --types snow snow", "types is ('snow', 'snow'); it must be types that differ"),
    case("analyse corruptions run --severities 0", "severity is 0; it must be in 1..5"),
    case("analyse corruptions run --severities 1 1", "severities is (1, 1); it must be severities that differ"),
    case("analyse corruptions run --severities hard", "'hard'"),
    case("analyse corrupted --image 500", "image is 500; it must be in 0..499"),
    case("analyse corrupted --severities 6", "severity is 6; it must be in 1..5"),
    case("analyse corrupted --seed -1", "seed is -1; it must be in [0, 2**32)"),
    case("analyse perturbations run --steps 0", "steps is 0; it must be at least 1"),
    case("analyse perturbations run --attacks pgd", "attacks is ('pgd',); it must be names that differ"),
    case("analyse strength run --attacks pgd pgd", "attacks is ('pgd', 'pgd'); it must be names that differ"),
    case("analyse strength run --seed -1", "seed is -1; it must be in [0, 2**32)"),
    case("analyse direction run --scales 1 1", "scales is (1.0, 1.0); it must be numbers that differ"),
    case("analyse direction run --scales one", "['one']"),
    case("analyse surface run --points 1", "points is 1; it must be at least 2"),
    case("analyse surface run --scale 0", "scale is 0.0; it must be above 0"),
    case("diagnose run --n 0", "n is 0; it must be at least 1 image"),
    case("diagnose run --n all", "--n", "'all'", "INT"),
    case("diagnose run --eps 0.7", "eps is '0.7'; it must be in (0, 0.5), the pixels' units: 8/255, not 8"),
    case("diagnose run --eps 0", "eps is '0'; it must be in (0, 0.5)"),
    case("diagnose run --eps abc", "'abc' is not a number; write it as in 0.031, 8/255"),
    case("diagnose run --eps 4/255,8/255", "'4/255,8/255' is not a number"),
    case("diagnose run --norm l2 --eps -1", "eps is '-1'; it must be above 0"),
    case("diagnose run --norm l1", "'l1'", "--norm", "'linf', 'l2'"),
    case("diagnose run --seed -1", "seed is -1; it must be in [0, 2**32)"),
    case("diagnose run --batch 0", "batch is 0; it must be at least 1"),
    case("diagnose run --precision half", "'half'", "--precision", "'float32'"),
    case("diagnose run --weights middle", "'middle'", "--weights", "'best'"),
    case("analyse shuffle --seed -1", "seed is -1; it must be in [0, 2**32)"),
    case("analyse shuffle --image 500", "image is 500; it must be in 0..499"),
    case("analyse shuffle --image first", "--image", "'first'", "INT"),
    case("analyse shuffle --k", "k is (); it must be at least one number of blocks"),
    case("analyse shuffle --k 17", "k is 17; it must be the number of blocks, 1 to the image's side (16)"),
    case("analyse shuffle --k two", "--k", "['two']", "INT"),
    case("analyse shuffle --cuts odd", "'odd'", "--cuts", "'random', 'equal'"),
    case("table rlfat-1b --scale big", "'big'", "--scale", "'smoke', 'small', 'paper'"),
    case("table rlfat-1b --seeds 0", "seeds is 0; it must be at least 1"),
    case("table rlfat-1b --seeds many", "--seeds", "'many'", "INT"),
    case("table rlfat-1b --precision half", "'half'", "--precision", "'bfloat16'"),
]

SWAPS = [
    case("train pgdat-digits --optimizer adamw", "no optimizer named 'adamw'; did you mean adam?"),
    case("train pgdat-digits --optimizer none", "no optimizer named 'none'; known are", "adam", "sgd"),
    case("train pgdat-digits --optimizer ema", "no optimizer named 'ema'; known are", "adam", "sgd"),
    case("train pgdat-digits --optimizer sgd --optimizer.momentum 1", "momentum is 1.0; it must be in [0, 1)"),
    case("train pgdat-digits --optimizer.schedule cosin", "no schedule named 'cosin'; did you mean cosine?"),
    case(
        "train pgdat-digits --optimizer.schedule piecewise --optimizer.schedule.drops 0.9 0.5",
        "drops is (0.9, 0.5)",
        "rising",
    ),
    case("train pgdat-digits --average swa", "no average named 'swa'; known are", "ema", "none"),
    case("train pgdat-digits --average ema --average.decay 1", "decay is 1.0; it must be in [0, 1)"),
    case("train pgdat-digits --average.decay 0.9", "Unrecognized options: --average.decay, 0.9"),
    case("train pgdat-digits --objective rlfat", "no objective named 'rlfat'; did you mean", "rlfatt"),
    case("train pgdat-digits --objective", "no objective named ''; known are", "pgdat, rat, rlfatp"),
    case("train pgdat-digits --objective.beta 6", "Unrecognized options: --objective.beta, 6"),
    case("train pgdat-digits --objective.attack pgdat", "no attack named 'pgdat'; did you mean", "pgd"),
    case(
        "train pgdat-digits --objective.attack nattack --objective.attack.sigma 0", "sigma is 0.0; it must be above 0"
    ),
    case("train pgdat-digits --objective.attack.ball l3", "no ball named 'l3'; did you mean l2?"),
    case("train pgdat-digits --objective.attack.loss l2", "no loss named 'l2'; did you mean kl?"),
    case("train pgdat-digits --validation none", "no validation named 'none'; known are validation"),
    case("train pgdat-digits --model resnet19", "no network named 'resnet19'; did you mean resnet18"),
    case("train pgdat-digits --model", "no network named ''; known are", "wrn_34_10"),
    case("train pgdat-digits --model wrn_40_2 --model.depth 11", "depth is 11; it must be 6n + 4"),
    case("train pgdat-digits --model.depth 28", "Unrecognized options: --model.depth, 28"),
    case("train pgdat-digits --model ownnetwork", "--model ownnetwork needs --model.source too"),
    case("train pgdat-digits --model :build", "':build' names no function; write module:function"),
    case("train pgdat-digits --model mynet:", "'mynet:' names no function; write module:function"),
    case("train pgdat-digits --model mynet:bild", "no function in mynet named 'bild'; did you mean build?"),
    case("train pgdat-digits --model mynet:number", "builder is an int; it must be the function or class"),
    case("train pgdat-digits --model mynet:network", "builder is a Linear; it must be the function or class"),
    case("train pgdat-digits --model mynet:broken", "mynet:broken could not build a network", "-10"),
    case("train pgdat-digits --model mynet:text", "mynet:text made a str; it must make a torch.nn.Module"),
    case("train pgdat-digits --model mynet:many", "mynet:many could not build a network", "'width'"),
    case("train pgdat-digits --model mynet:seven", "the network gives", "(2, 7); logits (2, 10) are needed"),
    case("train pgdat-digits --model raises:build", "module raises cannot be imported: ZeroDivisionError"),
    case("train pgdat-digits --model unfinished:build", "module unfinished cannot be imported: SyntaxError"),
    case("train pgdat-digits --model nowhere:build", "module nowhere cannot be imported", "No module named 'nowhere'"),
    case("train pgdat-digits --model os:getcwd", "os:getcwd made a str; it must make a torch.nn.Module"),
    case("train pgdat-digits --model mynet:build --model.maps-layer conv9", "no layer named 'conv9'; known are 0"),
    case(
        "train pgdat-digits --model mynet:build --model.source other:build",
        "built by other:build",
        "no code runs",
        "--model other:build",
    ),
    case("train pgdat-digits --data cifar11", "no data set named 'cifar11'; did you mean cifar10"),
    case("train pgdat-digits --data folder", "--data folder needs --data.path too"),
    case("train pgdat-digits --data folder --data.path", "--data folder needs --data.path too"),
    case('train pgdat-digits --data folder --data.path ""', "path is ''; it must be a folder of images"),
    case("train pgdat-digits --data folder --data.path images --data.size 7", "size is 7", "8..512"),
    case("train pgdat-digits --data folder --data.path images --data.test-share 1", "test_share is 1.0", "below 1"),
    case("train pgdat-digits --data cifar10 --data.first 0", "first is 0; it must be an integer in 1.."),
    case("analyse shuffle --data cifar10-small", "no data set named 'cifar10-small'; did you mean cifar10"),
    case("analyse shuffle --data none", "no data set named 'none'; known are cifar10"),
    case("analyse shuffle --data folder", "--data folder needs --data.path too"),
]

DATA = [
    case(f"{command} --offline --data cifar10 --data-root {root}", *parts)
    for command in ("train pgdat-digits", "analyse shuffle")
    for root, *parts in (
        ("nowhere", "data root is 'nowhere'; it must be a folder that exists"),
        ("file", "data root is 'file'; it must be a folder that exists"),
        ("empty", "CIFAR-10 was not found", "cifar-10-python.tar.gz", "looked in empty"),
        ("cifar-part", "CIFAR-10 was not found", "lacks data_batch_5"),
        ("cifar-truncated", "cifar-10-batches-py/data_batch_3 is truncated, damaged or not a CIFAR pickle"),
        ("cifar-page", "data_batch_3 is a web page, not a CIFAR pickle"),
        ("cifar-labels", "labels in", "data_batch_3 lie in 0..10; they must lie in 0..9"),
        ("cifar-fewer", "data_batch_3 holds 2 images; the release's file holds 4"),
        ("cifar-hostile", "data_batch_3", "it asks for os.system, which no CIFAR file needs"),
        ("cifar-archive", "cifar-10-python.tar.gz is truncated, damaged or not a tar archive"),
    )
] + [
    case("train pgdat-digits --data cifar10 --data-root cifar --offline", "batch is 64", "training images, 20"),
    case("train pgdat-digits --data cifar100 --data-root cifar --offline", "CIFAR-100 was not found", "in cifar,"),
    case("train pgdat-digits --data svhn --data-root empty --offline", "SVHN train was not found", "train_32x32.mat"),
    case("train pgdat-digits --data stl10 --data-root empty --offline", "STL-10 was not found", "train_X.bin"),
    case("train pgdat-digits --data imagenette --data-root empty --offline", "Imagenette was not found", "imagenette2"),
    case("train pgdat-folder --data.path nowhere", "path is 'nowhere', which does not exist", "<class>/<image>"),
    case("train pgdat-folder --data.path file", "path is 'file', which is a file", "<class>/<image>"),
    case("train pgdat-folder --data.path empty", "empty holds no class folder", "two class folders or more"),
    case("train pgdat-folder --data.path one-class", "only the class folder 'cat'", "two class folders or more"),
    case("train pgdat-folder --data.path few", "'dog' in few has 1 image,", "leaves no test image"),
    case("train pgdat-folder --data.path broken", "broken/dog/2.png is damaged or not an image", "PNG"),
    case("train pgdat-folder --data.path only-train", "only-train holds train; expected is <class>/<image>"),
    case("train pgdat-folder --data.path parted", "parted has the class 'dog' in one of train and test only"),
    case("train pgdat-folder --data.path no-images", "no-images/cat holds no image, and 1 other file;", "png"),
    case("analyse shuffle --data folder --data.path one-class", "only the class folder 'cat'", "two class folders"),
    case("train pgdat-digits --extra extra", "--extra extra needs --extra.path too"),
] + [
    case(f"train pgdat-digits --data.canvas 8 --extra extra --extra.path {args}", *parts)
    for args, *parts in (
        ("nowhere.npz", "nowhere.npz cannot be read: No such file"),
        ("empty", "empty cannot be read: Is a directory"),
        ("file", "file begins with b'mi'; it must be an npz archive with image and label"),
        ("extra-truncated.npz", "extra-truncated.npz is truncated, damaged or not an npz archive"),
        ("extra-bare.npz", "extra-bare.npz holds label; it must hold image and label"),
        ("extra-labels.npz", "labels in extra-labels.npz lie in 5..10; they must lie in 0..9"),
        ("extra-colour.npz", "uint8 (6, 32, 32, 3); they must be uint8 (N, 8, 8, 1)"),
        ("extra.npz --extra.fraction 1", "fraction is 1.0; it must be above 0 and below 1"),
        ("extra.npz --extra.fraction 0.001", "extra.fraction is", "0.001 in a batch of 64", "images of both kinds"),
    )
]  # fmt: skip

WEIGHTS = [
    case(f"{command} {file}", *parts)
    for command in (
        "evaluate",
        "analyse sensitivity run",
        "analyse eps run",
        "diagnose",
        "export --to huggingface --out shared",
    )
    for file, *parts in (
        ("nowhere", "no weights file nowhere, nor a folder of that name"),
        ("link", "no weights file link"),
        ("truncated.safetensors", "truncated.safetensors is damaged or not a safetensors file"),
        ("empty.safetensors", "empty.safetensors is damaged or not a safetensors file"),
        ("page.safetensors", "page.safetensors is damaged or not a safetensors file"),
        ("flipped.safetensors", "flipped.safetensors is damaged: it is not what was written, by its own digest"),
        ("foreign.safetensors", "foreign.safetensors does not say which network its weights belong to"),
        ("nan.safetensors", "nan.safetensors hold NaN or infinite values, in linear.bias"),
        ("wider.safetensors", "wider.safetensors belong to another architecture", "21 of another shape"),
        ("resnet.safetensors", "resnet.safetensors belong to another architecture", "missing", "unknown"),
        ("hostile.safetensors", "hostile.safetensors names a network that cannot be built", "'os.system'"),
        ("attack.safetensors", "attack.safetensors names a network that cannot be built", "PGD", "Architecture"),
        ("own.safetensors", "own.safetensors", "built by mynet:build, and no code runs", "--model mynet:build"),
        ("own.safetensors --model mynet:bild", "no function in mynet named 'bild'; did you mean build?"),
        ("own.safetensors --model mynet:text", "own.safetensors", "built by mynet:build, and no code runs"),
        ("own.safetensors --model mynet:build", "own.safetensors belong to another architecture"),
        ("empty", "empty has no best.safetensors or last.safetensors", "not the folder of a run"),
        ("foreign", "foreign has no best.safetensors or last.safetensors", "not the folder of a run"),
        ("truncated-run", "truncated-run has no best.safetensors or last.safetensors"),
        ("unweighed --weights last", "unweighed has no last.safetensors"),
        ("last-only --weights best", "last-only has no best.safetensors; it has last weights"),
        ("run/last.safetensors --weights best", "best weights were asked for", "run/last.safetensors is a single file"),
    )
] + [
    case("evaluate no-data.safetensors", "no-data.safetensors does not say which data", "as in --data cifar10"),
    case("evaluate seven-classes.safetensors", "gives torch.float32 (2, 7); logits (2, 10) are needed for 10 classes"),
    case("evaluate hostile-data.safetensors", "the class 'os.system', which is not one of this library's settings"),
    case("evaluate network-as-data.safetensors", "a SmallCNN; a Dataset was expected"),
    case("evaluate odd-ball.safetensors", "the class 'Cube', which is not one of this library's settings"),
    case("evaluate run --model nowhere:build", "module nowhere cannot be imported"),
]  # fmt: skip

SMALL = "--model small_cnn --model.width 2"
ON_DIGITS = "--data digits --data.canvas 8"
TWO = f"two.pt {SMALL} --data folder --data.path images --data.test-share 0.5"

OF_OTHERS = [  # what no run of ours made: their files, and functions
    case(f"{command} {file} {flags}", *parts)
    for command, flags in (  # what the file is comes before what is asked of it
        ("evaluate", ""),
        ("evaluate", f"{SMALL} {ON_DIGITS}"),
        ("analyse sensitivity", ""),
    )
    for file, *parts in (
        ("file", "file is truncated, damaged, or not weights that torch.save wrote"),
        ("picture.png", "picture.png is truncated, damaged, or not weights that torch.save wrote"),
        ("run/run.json", "run/run.json is truncated, damaged, or not weights that torch.save wrote"),
        ("truncated.pt", "truncated.pt is truncated, damaged, or not weights that torch.save wrote"),
        ("/proc/self/mem", "/proc/self/mem cannot be read"),
        ("page.pt", "page.pt is a web page, not the weights"),
        ("pointer.pt", "pointer.pt is a pointer to a file in large-file storage"),
        ("optimizer.pt", "optimizer.pt holds the state of an optimizer, not of a network"),
        ("numbers.pt", "numbers.pt holds no network under a key that is known", "its entries are epoch, best"),
        ("objects.pt", "objects.pt holds more than tensors and plain values: it asks for pathlib", "can run any code"),
    )
] + [
    case("evaluate pickled.pt", "pickled.pt does not say which network its weights belong to, nor which data", "--model"),
    case("evaluate wrapped.pt", "nor which data they are for; name both, as in --model preact_resnet_18 --data cifar10"),
    case(f"evaluate wrapped.pt {SMALL}", "wrapped.pt does not say which data its network is for", "--data cifar10"),
    case(f"evaluate wrapped.pt {ON_DIGITS}", "wrapped.pt does not say which network", "--model mypackage.mymodule:build"),
    case(f"evaluate wrapped.pt --model small-cnn {ON_DIGITS}", "no network named 'small-cnn'; did you mean", "small_cnn"),
    case(f"evaluate wrapped.pt --model resnet18x {ON_DIGITS}", "no network named 'resnet18x'; did you mean", "resnet18"),
    case(f"evaluate wrapped.pt --model {ON_DIGITS}", "no network named '--data'; known are"),
    case(f"evaluate wrapped.pt --model small_cnn {ON_DIGITS}", "not those of a SmallCNN", "21 are of another shape"),
    case(f"evaluate wrapped.pt --model resnet_18 {ON_DIGITS}", "not those of a ResNet18", "missing", "unknown"),
    case(f"evaluate wrapped.pt {SMALL} --model.depth 3 {ON_DIGITS}", "Unrecognized options: --model.depth, 3"),
    case(f"evaluate wrapped.pt {SMALL} --model.mean 0.5 {ON_DIGITS}", "deviation is (); it must be as long as mean"),
    case(f"evaluate wrapped.pt --model mynet:bild {ON_DIGITS}", "no function in mynet named 'bild'; did you mean build"),
    case(f"evaluate wrapped.pt --model mynet:build {ON_DIGITS}", "wrapped.pt are not those of a OwnNetwork"),
    case(f"evaluate wrapped.pt {SMALL} --data digit", "no data set named 'digit'; did you mean digits"),
    case(f"evaluate wrapped.pt {SMALL} --data folder", "--data folder needs --data.path too"),
    case(f"evaluate wrapped.pt {SMALL} --data cifar10 --data-root empty --offline", "CIFAR-10 was not found"),
    case(f"evaluate wrapped.pt {SMALL} --data cifar10 --data-root cifar --offline", "cannot take images of shape (3, 32, 32)"),
    case(f"evaluate wrapped.pt {SMALL} {ON_DIGITS} --weights best", "wrapped.pt is a single file; only a run's folder"),
    case(f"evaluate flat-deviation.pt {SMALL} {ON_DIGITS}", "deviation std in flat-deviation.pt is (0.0,); it must be above 0"),
    case(f"evaluate two.pt {SMALL} {ON_DIGITS}", "last layer of two.pt has 2 classes; 10 are needed"),
    case("evaluate run --model small_cnn", "run says itself which network it is; leave --model out"),
    case("evaluate run --data cifar10 --data-root cifar --offline", "run cannot be evaluated", "(3, 32, 32)"),
    case("evaluate mynet:build", "mynet:build does not say which data its network is for; name it, as in --data cifar10"),
    case("evaluate mynet:bild", "no function in mynet named 'bild'; did you mean build?"),
    case("evaluate mynet:number", "builder is an int; it must be the function or class"),
    case("evaluate mynet:", "'mynet:' names no function; write module:function"),
    case("evaluate nowhere:build", "module nowhere cannot be imported", "No module named 'nowhere'"),
    case("evaluate raises:build", "module raises cannot be imported: ZeroDivisionError"),
    case(f"evaluate mynet:refuses {ON_DIGITS}", "mynet:refuses could not build a network", "no weights here"),
    case(f"evaluate mynet:text {ON_DIGITS}", "mynet:text made a str; it must make a torch.nn.Module"),
    case(f"evaluate mynet:seven {ON_DIGITS}", "mynet:seven cannot be evaluated", "logits (2, 10) are needed"),
    case(f"evaluate mynet:sure {ON_DIGITS}", "mynet:sure cannot be evaluated. The network gives probabilities"),
    case(f"evaluate mynet:coupled {ON_DIGITS}", "mynet:coupled cannot be evaluated. The logits of an image change"),
]  # fmt: skip

ATTACKED = [
    case("evaluate run --norm l3", "'l3'", "--norm", "'linf', 'l2'"),
    case("evaluate run --norm l2 --eps 0", "eps is 0.0; it must be above 0"),
    case("evaluate run --eps 4/255,8", "eps is 8.0", "8/255, not 8"),
    case("evaluate run --eps 4/255;8/255", "'4/255;8/255' is not a number"),
    case("evaluate run --eps 8/255,0.1,8/255", "eps is '8/255,0.1,8/255'; it must be radii that differ"),
    case("evaluate run --eps ,", "eps is ','; it must be radii, as in 4/255,8/255"),
    case("evaluate run --eps 4/255 8/255", "Unrecognized options: 8/255"),
    case("evaluate run --eps '4/255, eight'", "'eight' is not a number"),
    case("evaluate run --attacks cw-l2", "cw-l2 looks for small L2 distances; Linf", "--norm l2"),
    case("evaluate run --attacks cw_l2", "no attack named 'cw_l2'; did you mean cw-l2"),
    case("evaluate run --attacks auto-attack", "no attack named 'auto-attack'; did you mean autoattack"),
    case("evaluate run --attacks AutoAttack", "no attack named 'AutoAttack'; did you mean autoattack"),
    case("evaluate run --attacks fgsmx5", "no attack named 'fgsmx5'; did you mean fgsm"),
    case("evaluate run --attacks pgd-20x0", "no attack named 'pgd-20x0'; did you mean pgd-K"),
    case("evaluate run --attacks infofeature-K", "'infofeature-K' lacks its number of steps", "infofeature-20"),
    case(f"evaluate mynet:flat {ON_DIGITS} --attacks infofeature-2", "infofeature-2 cannot be made", "maps_layer"),
    case(f"evaluate run --craft-on mynet:flat {ON_DIGITS} --attacks infofeature-2", "infofeature-2 cannot be made"),
    case(f"evaluate {TWO} --attacks clean,apgd-dlr", "apgd-dlr cannot be made", "DLR loss needs at least 3 classes"),
    case(f"evaluate {TWO} --attacks clean,apgd-t", "apgd-t cannot be made", "at least 4 classes", "gives 2"),
    case(f"evaluate {TWO} --attacks pgd-2,autoattack", "autoattack cannot be made", "gives 2"),
    case("evaluate run --craft-on nowhere", "no weights file nowhere"),
    case("evaluate run --craft-on file", "file is truncated, damaged, or not weights"),
    case("evaluate run --craft-on wrapped.pt", "wrapped.pt does not say which network its weights belong to; name it"),
    case("evaluate run --craft-on wrapped.pt --model small_cnn", "wrapped.pt are not those of a SmallCNN"),
    case("evaluate run --craft-on seven-classes.safetensors", "seven-classes.safetensors cannot be evaluated", "(2, 7)"),
    case("evaluate run --craft-on last-only mynet:seven", "mynet:seven cannot be evaluated", "(2, 7)"),
    case("evaluate --craft-on run", "--craft-on names no network, or the one to be judged is missing beside run"),
    case("evaluate run --craft-on", "--craft-on names no network"),
    case(f"analyse eps mynet:sure {ON_DIGITS}", "mynet:sure cannot be evaluated. The network gives probabilities"),
    case("analyse steps run seven-classes.safetensors", "seven-classes.safetensors", "(2, 7); logits (2, 10) are needed"),
    case(f"analyse strength mynet:flat {ON_DIGITS}", "infofeature cannot be made on this network", "maps_layer"),
    case(f"diagnose mynet:sure {ON_DIGITS}", "mynet:sure cannot be evaluated. The network gives probabilities"),
    case(f"diagnose mynet:seven {ON_DIGITS}", "mynet:seven cannot be evaluated", "logits (2, 10) are needed"),
    case("diagnose mynet:flat", "mynet:flat does not say which data its network is for; name it, as in --data cifar10"),
    case("diagnose run --model small_cnn --surrogate mynet:flat", "run says itself which network it is; leave --model out"),
    case("diagnose run --surrogate", "Missing value for argument '--surrogate'"),
    case("diagnose run --surrogate nowhere", "no weights file nowhere, nor a folder of that name"),
    case("diagnose run --surrogate resnet.safetensors", "resnet.safetensors belong to another architecture"),
    case("diagnose run --surrogate last-only", "--surrogate last-only is the network itself"),
    case("diagnose run --surrogate run", "--surrogate run is the network itself; name another one"),
    case("diagnose run --surrogate wrapped.pt", "wrapped.pt does not say which network its weights belong to; name it"),
    case("diagnose run --surrogate seven-classes.safetensors", "seven-classes.safetensors", "(2, 7)"),
    case("diagnose run --surrogate mynet:coupled", "mynet:coupled cannot be evaluated. The logits of an image change"),
    case("diagnose run --surrogate mynet:flat --norm l2 --eps 4", "eps is 4.0; it must be below 4, from where the same grey"),
    case("evaluate run --outcomes file", "file cannot be written", "Not a directory", "--outcomes names a folder"),
    case("evaluate run --outcomes file/deep", "file/deep cannot be written", "Not a directory", "--outcomes"),
    case("evaluate run --outcomes /proc/none", "/proc/none cannot be written", "--outcomes names a folder"),
    case("evaluate run --outcomes new --adversarial other", "--outcomes and --adversarial are both given"),
    case("evaluate run --adversarial file", "file cannot be written", "Not a directory", "--adversarial names a folder"),
    case("evaluate run --adversarial /proc/none", "/proc/none cannot be written", "--adversarial names a folder"),
    case("evaluate run --adversarial advs", "advs/fgsm.safetensors exists already; --adversarial names a folder for new"),
    case("evaluate run --adversarial advs --attacks fgsm --eps 4/255,8/255", "advs/fgsm-at-8-255.safetensors exists"),
    case("evaluate run --by-class yes", "Unrecognized options: yes"),
]  # fmt: skip

PLACES = [
    case("train pgdat-digits --out file", "file is a file; name a new or empty folder"),
    case("train pgdat-digits --out file/run", "file/run could not be made: Not a directory", code=1),
    case("train pgdat-digits --out link/run", "link/run could not be made", code=1),
    case("train pgdat-digits --out /proc/none/run", "/proc/none/run could not be made", code=1),
    case("train pgdat-digits --out foreign", "foreign holds files but no run.json; name a new or empty folder"),
    case('train pgdat-digits --out ""', "holds files but no run.json; name a new or empty folder"),
    case("train pgdat-digits --out run", "run holds a run with other settings: data.canvas (8 there, 16 given)"),
    case("train pgdat-digits --out truncated-run", "truncated-run/run.json is damaged"),
    case("train pgdat-digits --out empty-run", "empty-run/run.json is damaged"),
    case("train pgdat-digits --out list-run", "list-run/run.json is damaged: it has no entry 'run'"),
    case("train pgdat-digits --out newer-run", "newer-run/run.json does not describe a run", "'depth'", "it has name"),
    case("train pgdat-digits --out hostile-run", "hostile-run/run.json does not describe a run", "'os.system'"),
    case("demo --out", "Missing value for argument '--out'"),
    case("demo --out file", "file/standard could not be made: Not a directory", code=1),
    case("demo --out /proc/none/demo", "/proc/none/demo/standard could not be made", code=1),
    case("demo --out demo", "demo/standard holds a run with other settings: data.canvas (8 there, 16 given)"),
    case("evaluate run --json rows.json", "rows.json exists already; --json names a new file"),
    case("evaluate run --json link", "link exists already; --json names a new file"),
    case("evaluate run --json empty", "empty exists already; --json names a new file"),
    case("evaluate run --json file/rows.json", "file/rows.json cannot be written", "Not a directory", "a new file"),
    case("evaluate run --json /proc/rows.json", "/proc/rows.json cannot be written", "--json names a new file"),
    case("diagnose run --json rows.json", "rows.json exists already; --json names a new file"),
    case("diagnose run --json link", "link exists already; --json names a new file"),
    case("diagnose run --json file/found.json", "file/found.json cannot be written", "Not a directory", "a new file"),
    case("analyse eps run --out file", "file/eps.json cannot be written", "Not a directory", "a folder for new files"),
    case("export run --to huggingface --out empty", "empty exists already; --out names a new folder"),
    case("export run --to huggingface --out link", "link exists already; --out names a new folder"),
    case("export run --to robustbench --out file/shared", "file/shared cannot be written", "--out names a new folder"),
    case("analyse surface run --out /proc/none", "cannot be written", "--out names a folder for new files"),
    case(
        "analyse corruptions run --overlays nowhere",
        "nowhere/frost1.png is not there; the folder of overlays must hold",
    ),
    case("analyse corruptions run --overlays broken", "broken/frost1.png is not there"),
    case(
        "analyse corruptions run --images released --offline",
        "released for CIFAR-10 and CIFAR-100, not for digits test",
    ),
    case("analyse corruptions run --out file", "file/corruptions.json cannot be written", "a folder for new files"),
    case("analyse corrupted --out analysed", "corrupted.json exists already; --out names a folder for new files"),
    case("analyse shuffle --picture xyz", "picture is 'xyz'; it must be one of png, svg, pdf"),
    case("analyse shuffle --out analysed", "shuffle.json exists already; --out names a folder for new files"),
    case(
        "analyse shuffle --out file", "file/shuffle.json cannot be written", "Not a directory", "a folder for new files"
    ),
    case("analyse shuffle --out /proc", "/proc/shuffle.json cannot be written", "--out names a folder for new files"),
]


ALL = [*NAMES, *VALUES, *SWAPS, *DATA, *WEIGHTS, *OF_OTHERS, *ATTACKED, *PLACES]


@pytest.mark.parametrize(("command", "code", "parts"), ALL)
def test_a_mistake_gets_its_exit_code_and_a_sentence_and_changes_nothing(capsys, place, command, code, parts):
    if "/proc/" in command and not Path("/proc/self/mem").exists():
        pytest.skip("there is no /proc here")
    before = _inside(place)
    ran = run(capsys, *shlex.split(command))
    assert ran.code == code, ran.err
    said = _sentence(ran)
    for part in parts:
        assert part in said
    assert "Traceback" not in ran.err
    assert not ran.out or ran.out.startswith("usage: hardy")  # how to do it right, and nothing that looks like a result
    assert _inside(place) == before


def test_what_the_mistakes_are_made_from_is_right(capsys, place):
    quick = ("--steps", "1", "--batch", "2", "--precision", "float32")
    small = ("--model", "smallcnn", "--model.width", "1")
    for args in (
        ("evaluate", "run", "--n", "5"),
        ("evaluate", "run/last.safetensors", "--n", "5", "--attacks", "clean"),
        *(
            ("evaluate", *shlex.split(f"{what} --n 2 --attacks fgsm"))
            for what in (f"wrapped.pt {SMALL} {ON_DIGITS}", f"mynet:flat {ON_DIGITS}", TWO)
        ),
        ("analyse", "sensitivity", "run", "last-only", "--n", "5"),
        ("analyse", "shuffle", "--data", "cifar10", "--data-root", "cifar", "--offline"),
        ("train", "standard-cifar10", *quick, *small, "--data-root", "cifar", "--offline"),
        ("train", "standard-folder", *quick, *small, "--data.path", "images", "--data.test-share", "0.5"),
        (
            "train",
            "standard-digits",
            *quick,
            *small,
            "--data.canvas",
            "8",
            "--extra",
            "extra",
            "--extra.path",
            "extra.npz",
        ),
        ("train", "standard-digits", *quick, "--model", "mynet:build", "--out", "own"),
    ):
        ran = run(capsys, *args)
        assert ran.code == 0, ran.err
