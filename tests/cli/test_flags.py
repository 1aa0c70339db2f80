import pytest

from hardy.attacks import Linf
from hardy.cli.flags import number, parse, swap
from hardy.cli.train import settings_of
from hardy.describe import leaves
from hardy.errors import UsageError
from hardy.recipes import recipe, recipes
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


@pytest.mark.parametrize("name", sorted(recipes()))
def test_a_recipe_without_flags_is_itself_to_the_last_bit(name):
    assert settings_of(recipe(name), [], "hardy train")[0] == recipe(name)


_OTHER = {
    "start_at": "image", "cuts": "equal", "placement": "centre", "precision": "float32", "layout": "contiguous",
    "padding": "reflect", "name": "another",
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
    elif isinstance(value, str):
        other = _OTHER[leaf.rsplit(".", 1)[-1]]
    else:
        other = "3" if value is None else str(value + 1) if isinstance(value, int) else str(value / 2 + 0.01)
    return ["--" + ".".join([*parts, last]), other]


@pytest.mark.parametrize("name", ["rlfat-t-cifar10", "pgdat-cifar10-small", "standard-digits", "pgdat-rolled-cifar100"])
def test_every_leaf_of_a_recipe_is_a_flag(name):
    run, _ = swap(recipe(name), ["--average", "ema"])
    for leaf, value in leaves(run).items():
        args = _TOGETHER.get(leaf) or _flags(leaf, value)
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
