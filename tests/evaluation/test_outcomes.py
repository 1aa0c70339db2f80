"""Outcomes in a file: interrupted measurements go on, damaged files are read as far as they are whole, two are compared."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from hardy.attacks import APGD, FAB, NATTACK, PGD, FeatureScatter, Foreign, Linf, Square, Worst
from hardy.data.split import Split
from hardy.errors import FailedError, UsageError
from hardy.evaluation import outcomes
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.outcomes import Journal, Paired, broken_at, compare, identity
from hardy.evaluation.stream import Outcome, classify, under_attack
from hardy.evaluation.transfer import Averaged
from hardy.files import locked
from hardy.parallel import Group
from hardy.randomness import Noise
from toys import classifier, smooth, split, split_of

INF = Linf(0.1)
SEVERAL = Worst((PGD(INF, steps=3, step_size=0.01, start_at="image"), APGD(INF, steps=4), Square(INF, queries=12)))


class Watched(nn.Module):
    """A float64 network that counts its passes of single images, and fails in the pass it is told to."""

    def __init__(self, n: int = 60) -> None:
        super().__init__()
        self.model = classifier(5, seed=1).double()
        with torch.no_grad():  # no class leads by much
            self.model.linear.bias -= self.model(split(n, classes=5, seed=1).x()).mean(0)
        self._seen, self._fails_at = 0, -2  # underscored: none of its settings

    def forward(self, x: Tensor) -> Tensor:
        self._seen += len(x)
        self._fails_at -= 1
        if self._fails_at == -1:
            raise KeyboardInterrupt
        logits: Tensor = self.model(x)
        return logits


def subject(n: int = 60) -> tuple[Watched, Split]:
    """The network, and images labelled by it but for the first six."""
    model = Watched()
    made = split(n, model.model, 5, seed=1)
    y = torch.where(torch.arange(n) < 6, (made.labels + 1) % 5, made.labels)
    return model, split_of(made.x(), y, 5)


def journal(folder: Path, attack=SEVERAL, **about) -> Journal:
    return Journal(folder, "mine", {"run": "", "attack": attack.summary, "data": "made up", **about})


def attacked(model: nn.Module, data: Split, folder: Path, attack=SEVERAL, batch: int = 7, **how) -> Outcome:
    return under_attack(model, data, attack, batch=batch, journal=journal(folder, attack), **how)


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("*.jsonl")
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def at_once(monkeypatch):
    """Outcomes are written as soon as they are known."""
    monkeypatch.setattr(outcomes, "_WAIT", 0.0)


# what is in it


def test_the_file_tells_of_each_image_which_stage_broke_it(tmp_path):
    model, data = subject()
    data = data.take(Noise.of_batch(1, purpose="order").permutation(60)[0])
    outcome = attacked(model, data, tmp_path)
    found = broken_at(the_file(tmp_path))
    assert sorted(found) == list(range(60))
    assert [i for i, stage in found.items() if stage == -1] == list(range(6))
    correct = dict(zip(data.indices.tolist(), outcome.correct.tolist(), strict=True))
    assert {i: stage is None for i, stage in found.items()} == correct
    after = [sum(stage is None or stage > n for stage in found.values()) for n in range(3)]
    assert tuple(after) == outcome.after
    assert 54 > after[0] > after[1] >= after[2] > 0


def test_the_first_line_says_what_was_measured_and_the_last_what_it_cost(tmp_path):
    model, data = subject()
    outcome = attacked(model, data, tmp_path)
    first, *rest = lines(the_file(tmp_path))
    assert first["about"]["attack"] == SEVERAL.summary
    assert first["stages"] == 3
    assert (rest[-1]["forwards"], rest[-1]["backwards"]) == (outcome.forwards, outcome.backwards)
    assert 0 < rest[-1]["seconds"] <= outcome.seconds


@pytest.mark.parametrize("name", ["pgd-20 at 8/255", "PGD on cross-entropy, " * 30, "../up", "a b"])
def test_any_name_makes_one_file_in_the_folder(name, tmp_path):
    model, data = subject(8)
    folder = tmp_path / "new" / "folder"
    under_attack(model, data, PGD(INF, steps=1), journal=Journal(folder, name, {}))
    assert len(list(folder.glob("*.jsonl"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def about_of(tmp_path: Path, **changed) -> str:
    """The name of the file of a measurement that differs in one thing from the usual one."""
    usual = {
        "model": classifier(),
        "attack": PGD(INF, steps=1),
        "seed": 0,
        "judge": "last",
        "craft_on": None,
        "run": "",
    }
    how = usual | changed
    model, attack = how.pop("model"), how.pop("attack")
    data = split(4, shape=(1, 4, 4))
    before = set(tmp_path.glob("*.jsonl"))
    evaluate(model, data, {"mine": attack}, outcomes=tmp_path, **how)
    (path,) = set(tmp_path.glob("*.jsonl")) - before or [None]
    return path


def test_weights_attack_seed_judge_precision_and_surrogate_have_files_of_their_own(tmp_path):
    other, low, normalised = classifier(), classifier(), classifier()
    with torch.no_grad():
        other.first.weight[0, 0, 0, 0] += 1e-3
    low.autocast = torch.bfloat16
    normalised.mean = normalised.mean + 0.1
    statistics = classifier()
    statistics.norm.running_mean[0] += 0.1
    changes = [
        {}, {"model": other}, {"model": low}, {"model": normalised}, {"model": statistics}, {"attack": PGD(INF, steps=2)},
        {"attack": PGD(Linf(0.2), steps=1)}, {"seed": 1}, {"judge": "any"}, {"craft_on": classifier()},
        {"craft_on": other}, {"craft_on": [classifier(), other]}, {"run": "mine"}, {"settings": {"precision": "bfloat16"}},
    ]  # fmt: skip
    files = [about_of(tmp_path, **change) for change in changes]
    assert None not in files
    assert len(set(files)) == len(changes)
    assert about_of(tmp_path, batch=1) is None  # the same as the first


def test_of_a_plain_function_outcomes_are_kept_under_a_runs_name_only(tmp_path):
    model, data = subject(8)
    known, function = classifier(), classifier().forward
    for networks in ({"model": function}, {"craft_on": function}, {"craft_on": [known, function]}):
        with pytest.raises(UsageError, match="a plain function shows none"):
            about_of(tmp_path, **{"model": known, **networks})
    evaluate(model.forward, data, ["pgd-2"], outcomes=tmp_path, run="function")
    assert len(broken_at(the_file(tmp_path))) == 8


def test_identity_is_that_of_values_not_of_objects():
    assert identity(smooth()) == identity(smooth())
    assert identity(smooth()) != identity(smooth(seed=1))
    assert identity(nn.Sequential(nn.ReLU())) != identity(nn.Sequential(nn.Tanh()))
    assert identity(Averaged([smooth(), smooth(seed=1)])) != identity(Averaged([smooth(seed=1), smooth()]))
    assert identity(classifier().to(memory_format=torch.channels_last)) == identity(classifier().train())
    assert identity(lambda x: x) is None
    assert identity(Averaged([smooth(), lambda x: x])) is None


class Scaled(nn.Module):
    """Classifies images after some contrast."""

    def __init__(self, contrast: float, slope: float = 0.1, edited: bool = False) -> None:
        super().__init__()
        self.model, self.activation, self.contrast = classifier(), nn.LeakyReLU(slope), contrast
        if edited:
            self.__class__ = Edited

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(self.activation(x * self.contrast))
        return logits


class Edited(Scaled):
    """The same class after its author changed what it does."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(self.activation(1 - x * self.contrast))
        return logits


Edited.__qualname__ = Scaled.__qualname__


def test_networks_of_the_same_weights_are_told_apart_by_settings_and_code():
    networks = [Scaled(0.5), Scaled(0.6), Scaled(0.5, slope=0.2), Scaled(0.5, edited=True)]
    assert len(set(map(identity, networks))) == 4
    assert identity(Scaled(0.5)) == identity(networks[0].train())


def test_outcomes_of_other_images_or_labels_are_not_taken_for_these(tmp_path):
    model, data = subject(8)
    attacked(model, data, tmp_path)
    content = the_file(tmp_path).read_bytes()
    for other in (replace(data, images=data.images.flip(3)), replace(data, labels=(data.labels + 1) % 5)):
        with pytest.raises(
            UsageError, match="holds outcomes of other images or labels than those at the same places now"
        ):
            attacked(model, other, tmp_path)
    assert the_file(tmp_path).read_bytes() == content
    with pytest.raises(UsageError, match=r"Two different images have the index 3; .* must differ"):
        attacked(model, replace(data, indices=torch.full((8,), 3)), tmp_path / "indices")


def test_an_attack_on_groups_begins_anew_with_other_images_in_them(tmp_path):
    data = split(12, shape=(1, 4, 4))
    attack = {"mine": FeatureScatter(INF, steps=2)}
    for some in (slice(4), slice(12), torch.arange(11, -1, -1)):
        evaluate(classifier(), data.take(some), attack, outcomes=tmp_path)
        evaluate(classifier(), data.take(some), attack, outcomes=tmp_path)
    assert len(list(tmp_path.glob("*.jsonl"))) == 3


# going on


@pytest.mark.parametrize("judge", ["last", "any"])
def test_what_is_measured_already_is_not_measured_again(judge, tmp_path):
    model, data = subject()
    first = attacked(model, data, tmp_path, judge=judge)
    content = the_file(tmp_path).read_bytes()
    correct = classify(model, data).correct
    model._seen = 0
    again = attacked(model, data, tmp_path, judge=judge, correct=correct)
    assert model._seen == 0
    assert torch.equal(again.correct, first.correct)
    assert (again.forwards, again.backwards, again.after) == (first.forwards, first.backwards, first.after)
    assert (
        again.seconds >= json.loads(content.splitlines()[-1])["seconds"]
    )  # as written: the first went on for a moment
    assert the_file(tmp_path).read_bytes() == content


@pytest.mark.parametrize("attack", [SEVERAL, PGD(INF, steps=3), NATTACK(INF, steps=4, population=3, test_every=2)])
@pytest.mark.parametrize("often", [0.0, 1e9])  # written at once, or only at the end
def test_an_interrupted_measurement_goes_on_and_ends_as_if_nothing_had_been(attack, often, tmp_path, monkeypatch):
    monkeypatch.setattr(outcomes, "_WAIT", often)
    model, data = subject()
    correct = classify(model, data).correct
    expected = attacked(model, data, tmp_path / "whole", attack, correct=correct)
    folder, fails = tmp_path / "parts", Noise.of_batch(1, purpose="fails").integers(25, (200,))[0].tolist()
    model._seen = interrupted = 0
    outcome = None
    while outcome is None:
        model._fails_at = fails[interrupted]
        try:
            outcome = attacked(model, data, folder, attack, correct=correct)
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted >= 3
    assert torch.equal(outcome.correct, expected.correct)
    assert outcome.after == expected.after
    assert broken_at(the_file(folder)) == broken_at(the_file(tmp_path / "whole"))
    # every pass that was made is paid for, and no image decided twice in a stage
    assert outcome.forwards == model._seen
    decided = [(line["stage"], i) for line in lines(the_file(folder))[1:] for i in line["broken"] + line["held"]]
    assert len(decided) == len(set(decided))


def test_images_that_a_stage_has_decided_are_not_attacked_again_in_it(tmp_path, at_once):
    model, data = subject()
    correct = classify(model, data).correct
    model._fails_at = 40
    with pytest.raises(KeyboardInterrupt):
        attacked(model, data, tmp_path, correct=correct)
    decided = {0: set(), 1: set(), 2: set()}
    for line in lines(the_file(tmp_path))[1:]:
        decided.get(line["stage"], set()).update(line["broken"] + line["held"])
    assert len(decided[0]) > 0
    model._fails_at = -2
    shown = []
    model.register_forward_pre_hook(lambda _, arguments: shown.append(arguments[0].detach()))
    attacked(model, data, tmp_path, correct=correct)
    again = torch.cat(shown)
    finished = {i for line in lines(the_file(tmp_path))[1:] for i in line["broken"] if i in decided[0]}
    gone = [i for i in decided[0] if i in finished and broken_at(the_file(tmp_path))[i] == 0]
    assert gone
    for i in gone:
        assert float((again - data.x()[i]).abs().flatten(1).amax(1).min()) > 0.1


def test_attacks_of_others_go_on_batch_by_batch(tmp_path, at_once):
    def step(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        gradient = torch.autograd.grad(nn.functional.cross_entropy(network(x), y, reduction="sum"), x)[0]
        return (x + 0.1 * gradient.sign()).clamp(0, 1).detach()

    model, data = subject()
    attack, correct = Foreign(step, INF), classify(model, data).correct
    expected = under_attack(model, data, attack, correct)
    model._fails_at = 9
    with pytest.raises(KeyboardInterrupt):
        attacked(model, data, tmp_path, attack, correct=correct)
    model._fails_at, model._seen = -2, 0
    assert torch.equal(attacked(model, data, tmp_path, attack, correct=correct).correct, expected.correct)
    assert 0 < model._seen < expected.forwards
    assert len(broken_at(the_file(tmp_path))) == 60


def test_more_images_go_on_where_fewer_ended(tmp_path):
    model, data = subject(100)
    evaluate(
        model, data.take(slice(50)), {"mine": SEVERAL}, outcomes=tmp_path, batch=1
    )  # at batch 1 nothing is asked ahead
    content = the_file(tmp_path).read_bytes()
    first = set(range(50))
    model._seen = 0
    (row,) = evaluate(model, data, {"mine": SEVERAL}, outcomes=tmp_path, batch=1)
    (fresh,) = evaluate(model, data, {"mine": SEVERAL}, batch=1)
    assert row.value == fresh.value
    assert (row.forwards, row.backwards) == (fresh.forwards, fresh.backwards)  # of all hundred
    whole = the_file(tmp_path).read_bytes()
    assert whole.startswith(content)
    added = [json.loads(line) for line in whole[len(content) :].splitlines()]
    assert not first & {i for line in added for i in line["broken"] + line["held"]}
    # and fewer are there already
    again = evaluate(model, data.take(slice(20, 40)), {"mine": SEVERAL}, outcomes=tmp_path)[0]
    assert again.value == evaluate(model, data.take(slice(20, 40)), {"mine": SEVERAL})[0].value
    assert the_file(tmp_path).read_bytes() == whole


def test_illegal_claims_are_remembered(tmp_path):
    class Outside(PGD):
        """Leaves its ball."""

        def advance(self, f, x, target, state):
            state = super().advance(f, x, target, state)
            state.x_adv = (x + 3 * (state.x_adv - x)).clamp(0, 1)
            return state

    model, data = subject()
    first = attacked(model, data, tmp_path, Outside(INF, steps=3))
    assert first.illegal > 10
    again = attacked(model, data, tmp_path, Outside(INF, steps=3))
    assert (again.illegal, again.correct.tolist()) == (first.illegal, first.correct.tolist())


def test_adversarial_images_are_made_again_where_only_their_outcome_is_known(tmp_path):
    model, data = subject()
    first = attacked(model, data, tmp_path)
    content = lines(the_file(tmp_path))
    again = attacked(model, data, tmp_path, keep=True)
    expected = under_attack(model, data, SEVERAL, keep=True)
    assert torch.equal(again.correct, first.correct)
    torch.testing.assert_close(again.x_adv, expected.x_adv, rtol=0, atol=1e-6)
    *added, last = lines(the_file(tmp_path))
    assert added == content
    assert not last["broken"] + last["held"]  # nothing new but what it cost
    assert last["forwards"] == again.forwards > first.forwards


KILLED = """
import sys, time, torch
from pathlib import Path
import hardy
from hardy.attacks import PGD, APGD, Linf, Worst
from hardy.evaluation import outcomes
from toys import classifier, split
outcomes._WAIT = 0.0
passes = iter(range(int(sys.argv[2])))  # so many, and then none
model = classifier(5, seed=1).double()
data = split(60, model, 5, seed=1)
model.register_forward_pre_hook(lambda *_: time.sleep(600) if next(passes, None) is None else None)
attack = Worst((PGD(Linf(0.3), steps=3), APGD(Linf(0.3), steps=4)))
row, = hardy.evaluate(model, data, {"mine": attack}, outcomes=Path(sys.argv[1]), batch=4)
print(row.value)
"""


@pytest.mark.slow
def test_a_killed_process_goes_on_where_it_was_and_another_is_kept_out(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def started(folder: Path, passes: int = 10**6) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder), str(passes)],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def known(path: Path) -> int:
        return sum(len(line["broken"]) + len(line["held"]) for line in lines(path)[1:])

    deadline = time.monotonic() + 120
    with started(tmp_path / "whole") as whole, started(tmp_path / "parts", 45) as hanging:
        try:
            while time.monotonic() < deadline and hanging.poll() is None:
                files = list((tmp_path / "parts").glob("*.jsonl"))
                if files and files[0].read_bytes().endswith(b"\n") and known(files[0]) >= 8:
                    break
                time.sleep(0.02)
            with started(tmp_path / "parts") as second:
                said = second.communicate()[1]
        finally:
            hanging.send_signal(signal.SIGKILL)
        value = whole.communicate()[0]
        hanging.communicate()
    assert hanging.returncode == -signal.SIGKILL
    assert second.returncode == 1
    assert "Another process measures mine" in said
    (path,) = (tmp_path / "parts").glob("*.jsonl")
    before = path.read_bytes()
    assert 8 <= known(path) < 60
    with started(tmp_path / "parts") as again:
        assert again.communicate()[0] == value != ""
    assert path.read_bytes().startswith(before)
    (other,) = (tmp_path / "whole").glob("*.jsonl")
    assert path.name == other.name
    assert broken_at(path) == broken_at(other)
    decided = [(line["stage"], i) for line in lines(path)[1:] for i in line["broken"] + line["held"]]
    assert len(decided) == len(set(decided))
    costs = [line["forwards"] for line in lines(path)[1:]]
    assert costs == sorted(costs)
    assert costs[-1] >= lines(other)[-1]["forwards"]


def test_two_at_once_are_refused_and_the_lock_is_let_go_after_an_error(tmp_path, at_once):
    model, data = subject()
    attacked(model, data.take(slice(8)), tmp_path)
    path = the_file(tmp_path)
    with (
        locked(path.with_suffix(".lock"), ""),
        pytest.raises(UsageError, match=r"Another process measures mine for .*; wait for it, or name another folder\."),
    ):
        attacked(model, data, tmp_path)
    correct = classify(model, data).correct
    model._fails_at = 3
    with pytest.raises(KeyboardInterrupt):
        attacked(model, data, tmp_path, correct=correct)
    model._fails_at = -2
    assert len(attacked(model, data, tmp_path).correct) == 60


# damage


@pytest.mark.parametrize("kept", [0, 1, 10, 0.3, 0.7, -30, -1])
def test_a_torn_file_is_read_as_far_as_it_is_whole(kept, tmp_path, at_once):
    model, data = subject()
    expected = attacked(model, data, tmp_path)
    path = the_file(tmp_path)
    whole, found = path.read_bytes(), broken_at(path)
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    again = attacked(model, data, tmp_path)
    assert torch.equal(again.correct, expected.correct)
    assert broken_at(path) == found
    assert torch.equal(attacked(model, data, tmp_path).correct, expected.correct)


BAD = [
    b"\xff\xfe\x00garbage", b"[]", b"3", b"null", b"{}", b"[" * 5000, b'{"stage": 0}',
    b'{"stage": 0, "broken": [1], "held": [2]}',
    b'{"stage": 0, "broken": [7], "held": "no", "illegal": [], "seconds": 1, "forwards": 1, "backwards": 1}',
    b'{"stage": 0, "broken": [7.5], "held": [], "illegal": [], "seconds": 1, "forwards": 1, "backwards": 1}',
    b'{"stage": 0, "broken": [true], "held": [], "illegal": [], "seconds": 1, "forwards": 1, "backwards": 1}',
    b'{"stage": 0, "broken": [99999999999999999999], "held": [], "illegal": [], "seconds": 1, "forwards": 1, "backwards": 1}',
    b'{"stage": 0, "broken": [], "held": [], "illegal": [], "seconds": NaN, "forwards": 1, "backwards": 1}',
    b'{"stage": 0, "broken": [], "held": [], "illegal": [], "seconds": 1, "forwards": -1, "backwards": 1}',
    b'{"stage": "0", "broken": [], "held": [], "illegal": [], "seconds": 1, "forwards": 1, "backwards": 1}',
    b'{"about": 3, "stages": 3}', b'{"about": {}}', b'{"about": {}, "stages": 0}',
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", [0, 1, -1])
def test_damaged_lines_are_passed_over(bad, where, tmp_path):
    model, data = subject()
    expected = attacked(model, data, tmp_path)
    path = the_file(tmp_path)
    whole = path.read_bytes().splitlines(keepends=True)
    found = broken_at(path)
    whole.insert(where if where >= 0 else len(whole), bad + b"\n")
    path.write_bytes(b"".join(whole))
    assert broken_at(path) == found
    again = attacked(model, data, tmp_path)
    assert torch.equal(again.correct, expected.correct)
    assert again.forwards == expected.forwards


def test_the_file_of_another_measurement_is_left_alone(tmp_path):
    model, data = subject()
    attacked(model, data, tmp_path)
    path = the_file(tmp_path)
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([first.replace("Square", "Circle"), *rest]))
    with pytest.raises(UsageError, match="holds another measurement than its name says"):
        attacked(model, data, tmp_path)


def test_a_folder_that_cannot_be_written_is_told_of(tmp_path):
    model, data = subject(8)
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedError, match="could not be made"):
        attacked(model, data, tmp_path / "file")


@pytest.mark.parametrize("content", [None, b"", b"<html>404</html>", b'{"run": "row"}\n', b"\xff" * 40])
def test_what_holds_no_outcomes_is_refused(content, tmp_path):
    path = tmp_path / "a.jsonl"
    if content is not None:
        path.write_bytes(content)
    for read in (lambda: broken_at(path), lambda: compare(path, path)):
        with pytest.raises(UsageError, match="does not hold outcomes" if content is not None else "could not be read"):
            read()
    with pytest.raises(UsageError, match="could not be read"):
        broken_at(tmp_path)


def test_images_that_were_not_taken_through_all_stages_are_left_out(tmp_path, at_once):
    model, data = subject()
    correct = classify(model, data).correct
    model._fails_at = 40
    with pytest.raises(KeyboardInterrupt):
        attacked(model, data, tmp_path, correct=correct)
    found = broken_at(the_file(tmp_path))
    assert 6 < len(found) < 60
    against_itself = compare(the_file(tmp_path), the_file(tmp_path))
    assert against_itself.n == len(found)
    assert not set(against_itself.not_in_first) & found.keys()
    assert None not in found.values()  # none has come to the end of the last stage


def test_an_image_is_robust_only_where_every_stage_has_left_it(tmp_path):
    path, costs = tmp_path / "a.jsonl", {"illegal": [], "seconds": 1, "forwards": 1, "backwards": 1}
    told = [(2, [4], [1, 2, 3]), (0, [], [1, 3, 4]), (1, [3], [1])]
    rows = [
        {"about": {}, "stages": 3},
        *({"stage": s, "broken": b, "held": h, "crc32": [*b, *h], **costs} for s, b, h in told),
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert broken_at(path) == {1: None, 3: 1, 4: 2}  # 2 was left by the last stage alone


# two of them


def test_two_networks_are_compared_image_by_image(tmp_path):
    model, data = subject()
    other = Watched()
    with torch.no_grad():
        other.model.first.weight.mul_(0.8)
    attack = FAB(INF, steps=4)
    one = attacked(model, data, tmp_path / "one", attack).correct
    two = attacked(other, data.take(torch.arange(59, -1, -1)), tmp_path / "two", attack).correct.flip(0)
    paired = compare(the_file(tmp_path / "one"), the_file(tmp_path / "two"))
    cases = {"both": one & two, "only_first": one & ~two, "only_second": ~one & two, "neither": ~one & ~two}
    for name, which in cases.items():
        assert getattr(paired, name) == tuple(which.nonzero().squeeze(1).tolist())
        assert bool(which.any())
    assert paired.n == 60
    again = compare(the_file(tmp_path / "two"), the_file(tmp_path / "one"))
    assert (again.only_first, again.p_value) == (paired.only_second, paired.p_value)


def test_only_images_in_both_files_are_compared(tmp_path):
    model, data = subject()
    attacked(model, data.take(slice(0, 40)), tmp_path / "one")
    attacked(model, data.take(slice(30, 60)), tmp_path / "two")
    paired = compare(the_file(tmp_path / "one"), the_file(tmp_path / "two"))
    assert sorted(paired.both + paired.neither) == list(range(30, 40))
    assert (paired.only_first, paired.only_second, paired.p_value) == ((), (), 1.0)
    assert (paired.not_in_first, paired.not_in_second) == (tuple(range(40, 60)), tuple(range(30)))
    attacked(model, data.take(slice(50, 60)), tmp_path / "three")
    with pytest.raises(UsageError, match="have no image in common"):
        compare(the_file(tmp_path / "one"), the_file(tmp_path / "three"))


def test_different_images_are_not_compared_whatever_their_source_is_called(tmp_path):
    model, data = subject(8)
    for name, images in (("here", data.images), ("there", data.images), ("other", data.images.flip(3))):
        made = replace(data, images=images)
        under_attack(model, made, PGD(INF, steps=1), journal=Journal(tmp_path / name, "a", {"data": name}))
    assert compare(the_file(tmp_path / "here"), the_file(tmp_path / "there")).n == 8
    with pytest.raises(UsageError, match="are about different images or labels; they must be the same"):
        compare(the_file(tmp_path / "here"), the_file(tmp_path / "other"))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 5), (10, 2), (0, 12), (40, 61)])
def test_the_p_value_is_mcnemars_exact_one(first, second):
    paired = Paired((-1,) * 30, tuple(range(first)), tuple(range(second)), ())
    assert paired.n == 30 + first + second
    fewer, differ = min(first, second), first + second
    by_hand = min(1.0, 2 * float(stats.binom.cdf(fewer, differ, 0.5)))
    assert paired.p_value == pytest.approx(by_hand, rel=1e-9)


def test_a_file_of_several_processes_tells_of_all_their_passes_and_the_slowest_ones_seconds(tmp_path, monkeypatch):
    model, data = subject(4)
    first, second = journal(tmp_path), journal(tmp_path)
    with first.opened(model, None, SEVERAL, data):
        second.path = first.path
        monkeypatch.setattr(outcomes, "this_group", lambda: Group(0, 2))
        first.write(3.0, 10, 5)
        second.write(4.0, 7, 2)
        first.write(3.5, 11, 5)
    told = [[line[name] for name in ("seconds", "forwards", "backwards")] for line in lines(first.path)[1:]]
    assert told == [[3.0, 10, 5], [4.0, 17, 7], [4.0, 18, 7]]
