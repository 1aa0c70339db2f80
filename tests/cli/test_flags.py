import errno
from dataclasses import dataclass

import pytest
import torch

from hardy.attacks import Linf
from hardy.cli.checks import device, new_file
from hardy.cli.flags import number, parse, swap
from hardy.cli.train import settings_of
from hardy.data import Folder
from hardy.describe import leaves
from hardy.errors import UsageError
from hardy.models import wrn_40_2
from hardy.recipes import recipe, recipes
from hardy.recipes.methods import METHODS
from hardy.training import EMA, SGD, Adam, Cosine


@pytest.mark.parametrize(
    ("text", "value"), [("8/255", 8 / 255), ("0.031", 0.031), ("1e-3", 1e-3), ("-.5", -0.5), ("3", 3.0)]
)
def test_numbers_are_read_as_people_write_them(text, value):
    assert number(text) == value


@pytest.mark.parametrize("text", ["eight", "8/", "8/0", "", "8//255", "1/2/3"])
def test_what_is_no_number_is_refused_with_a_sentence(text):
    with pytest.raises(UsageError, match=r"is not a number; write it as in"):
        number(text)


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e400", "1e300/1e-300", "1/inf/"])
def test_what_is_not_finite_is_refused_with_a_sentence(text):
    with pytest.raises(UsageError, match="number; write"):
        number(text)


@pytest.mark.parametrize(
    ("default", "text"), [(0.4, "0.4"), (8 / 255, "8/255"), (0.8, "0.8"), (6.0, "6"), (0.1 + 0.2, repr(0.1 + 0.2))]
)
def test_a_default_is_shown_in_help_by_its_shortest_text(capsys, default, text):
    @dataclass(frozen=True)
    class Options:
        value: float = default

    with pytest.raises(SystemExit):
        parse(Options, ["--help"], "hardy")
    assert f"(default: {text})" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["foo", "meta", "xpu", "cpu:7", "cuda:99", "mps", ""])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name):
    if name:
        with pytest.raises(UsageError, match=f"device is '{name}'; it must be cpu"):
            device(name)
    else:
        assert device(None) == device(name)


def test_a_device_is_taken_by_its_name():
    assert device("cpu") == torch.device("cpu")


def test_a_gpu_that_cannot_be_used_is_refused_with_the_reason(monkeypatch):
    def busy(*_, **__):
        raise RuntimeError("CUDA error: all devices are busy\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", busy)
    with pytest.raises(UsageError, match=r"^The device 'cuda' cannot be used: CUDA error: all devices are busy$"):
        device(None)
    with pytest.raises(UsageError, match="must be cpu or cuda or cuda:0 or cuda:1"):
        device("cuda:2")


def test_a_file_that_can_be_made_may_be_named(tmp_path):
    new_file(tmp_path / "new" / "folder" / "rows.json", "--json")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_or_cannot_be_made_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in ("file", "link", "."):
        with pytest.raises(UsageError, match="exists already; --json names a new file"):
            new_file(tmp_path / taken, "--json")
    for folder in ("file", "link"):
        with pytest.raises(UsageError, match=rf"cannot be written; {tmp_path / folder}: .*--json names"):
            new_file(tmp_path / folder / "rows.json", "--json")

    def read_only(dir):
        raise OSError(errno.EROFS, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(UsageError, match="Read-only file system"):
        new_file(tmp_path / "new", "--json")


@pytest.mark.parametrize("name", sorted(recipes()))
def test_a_recipe_without_flags_is_itself_to_the_last_bit(name):
    assert settings_of(recipe(name), [], "hardy train")[0] == recipe(name)


_OTHER = {
    "start_at": "image", "cuts": "equal", "placement": "centre", "precision": "float32", "layout": "contiguous",
    "padding": "reflect", "name": "another", "path": "other.npz", "if_none": "one step", "classes": "all", "form": "cam",
    "label": "predicted", "distance": "l1", "over": "mean", "clip": "sum", "norm_over": "process",
}  # fmt: skip
_TOGETHER = {  # leaves that are only allowed to change with another
    "steps": ["--steps", "7", "--epochs", "None"],
    "epochs": ["--epochs", "7", "--steps", "None"],
    "model.mean": ["--model.mean", "0.5", "--model.deviation", "0.25"],
    "model.deviation": ["--model.mean", "0.5", "--model.deviation", "0.25"],
}


def _flags(leaf: str, value: object) -> list[str]:
    """Flags that give a leaf another value."""
    *parts, last = leaf.replace("_", "-").split(".")
    if isinstance(value, bool):
        return ["--" + ".".join([*parts, f"no-{last}" if value else last])]
    if leaf.endswith("batch_norm"):
        other = "train" if value == "eval" else "eval"
    elif leaf.endswith(".on"):
        other = "logits" if value == "features" else "features"
    elif isinstance(value, str):
        other = _OTHER[leaf.rsplit(".", 1)[-1]]
    else:
        other = "3" if value is None else str(value + 1) if isinstance(value, int) else str(value / 2 + 0.01)
    return ["--" + ".".join([*parts, last]), other]


@pytest.mark.parametrize(
    "name",
    [
        "rlfat-t-cifar10",
        "pgdat-cifar10-small",
        "pgdat-rolled-cifar100",
        *(f"{method}-digits" for method in METHODS if not method.startswith(("pgdat", "rlfat", "rbsat"))),
    ],
)
def test_every_leaf_of_a_recipe_is_a_flag(name):
    run, _ = swap(recipe(name), ["--average", "ema", "--extra", "extra", "--extra.path", "more.npz"])
    # a method on digits has no leaves of its own but those of its objective
    of = "objective." if name.endswith("-digits") else ""
    for leaf, value in ((leaf, value) for leaf, value in leaves(run).items() if leaf.startswith(of)):
        args = _TOGETHER.get(leaf) or _flags(leaf, value)
        if leaf == "micro_batch":  # methods that look at a batch together allow no other
            args = ["--micro-batch", str(run.batch)]
        changed, _ = settings_of(run, args, "hardy train")
        assert leaves(changed)[leaf] != value, leaf


def test_parts_are_swapped_by_name_and_their_leaves_are_flags_then():
    args = [
        "--optimizer",
        "sgd",
        "--optimizer.lr",
        "0.2",
        "--optimizer.schedule",
        "cosine",
        "--average=ema",
        "--average.decay",
        "0.9",
    ]
    run, _ = settings_of(recipe("pgdat-digits"), args, "hardy train")
    assert run.optimizer == SGD(lr=0.2, schedule=Cosine())
    assert run.average == EMA(0.9)
    assert isinstance(recipe("pgdat-digits").optimizer, Adam)


def test_a_part_that_may_be_left_out_is_left_out_by_none():
    run, _ = swap(recipe("pgdat-digits"), ["--average", "ema"])
    assert swap(run, ["--average", "none"])[0].average is None


def test_a_network_goes_by_its_builders_name_too():
    assert swap(recipe("pgdat-digits"), ["--model", "wrn_40_2"])[0].model == wrn_40_2()


@pytest.mark.parametrize("flags", [["--data.path", "pictures"], ["--data.path=pictures"]])
def test_a_part_that_needs_a_setting_finds_it_among_the_flags(flags):
    run, _ = settings_of(recipe("pgdat-digits"), [*flags, "--data", "folder", "--data.size", "16"], "hardy train")
    assert run.data == Folder("pictures", size=16)


def test_a_part_that_needs_a_setting_says_so():
    with pytest.raises(UsageError, match=r"--data folder needs --data\.path too"):
        swap(recipe("pgdat-digits"), ["--data", "folder"])


def test_a_data_set_that_does_not_exist_is_called_one():
    with pytest.raises(UsageError, match=r"no data set named 'cifar11'; did you mean cifar10"):
        swap(recipe("pgdat-digits"), ["--data", "cifar11"])


def test_a_swap_deep_inside_keeps_the_rest():
    run, left = swap(recipe("pgdat-digits"), ["--objective.attack.ball", "l2", "--seed", "3"])
    assert type(run.objective.attack.ball).__name__ == "L2"
    assert run.objective.attack.steps == recipe("pgdat-digits").objective.attack.steps
    assert left == ["--seed", "3"]


def test_a_part_of_the_wrong_kind_is_refused_with_the_nearest_names():
    with pytest.raises(UsageError, match=r"no schedule named 'cosin'; did you mean cosine"):
        swap(recipe("pgdat-digits"), ["--optimizer.schedule", "cosin"])
    with pytest.raises(UsageError, match=r"no optimizer named 'ema'"):
        swap(recipe("pgdat-digits"), ["--optimizer", "ema"])


def test_a_ball_of_eps_8_over_255_is_read_exactly():
    run, _ = settings_of(recipe("pgdat-digits"), ["--objective.attack.ball.eps", "8/255"], "hardy train")
    assert run.objective.attack.ball == Linf(8 / 255)


def test_a_wrong_value_ends_with_exit_code_2_and_names_the_setting(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(type(recipe("pgdat-digits")), ["--batch", "many"], "hardy train", recipe("pgdat-digits"))
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert "--batch" in said.err
    assert "many" in said.err
