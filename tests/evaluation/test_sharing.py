"""Images shared out among two processes (gloo, CPU): the rows of one process, and one file of outcomes."""

import dataclasses
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from hardy.attacks import PGD, AdversarialInterpolation, Linf
from hardy.attacks.names import in_balls
from hardy.data.split import Split
from hardy.errors import FailedError, UsageError
from hardy.evaluation import accuracy, outcomes
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.adversarial import Adversarial
from hardy.evaluation.outcomes import broken_at, measured_in
from hardy.evaluation.sharing import shared_out
from hardy.evaluation.stream import Outcome
from hardy.files import locked
from hardy.models import small_cnn
from hardy.models.classifier import Classifier
from hardy.parallel import joined
from hardy.randomness import Noise
from pairs import together

N = 13
BALL = Linf(0.05)
STAGED = in_balls("pgd-2x3", [BALL])[0][1]  # three restarts
ATTACKS = {
    "clean": None,
    "pgd-3": PGD(BALL, 3),
    "restarts": STAGED,
    **dict(in_balls("apgd-ce", [BALL])),
    "adv-interp": AdversarialInterpolation(BALL),  # on groups of images
}


def network() -> Classifier:
    """A network that classifies most of the images below correctly, and not all of them under attack."""
    return small_cnn(width=4).build(4, 1).eval()


def images() -> Split:
    """Images labelled by the network, two of them wrongly."""
    pixels = Noise.of_batch(N, purpose="images").integers(256, (1, 8, 8)).to(torch.uint8)
    with torch.no_grad():
        labels = network()(pixels / 255).argmax(1)
    labels[[3, 8]] = (labels[[3, 8]] + 1) % 4
    return Split(pixels, labels, tuple("abcd"), torch.arange(100, 100 + N), "made for tests")


def measured(folder: Path) -> list:
    rows = evaluate(network(), images(), ATTACKS, outcomes=folder / "outcomes", by_class=True, run="a run")
    return rows + evaluate(network(), images(), {"pgd-3": PGD(BALL, 3)}, adversarial=folder / "adversarial")


def late(work):
    """The same, a second later."""

    def made(*args):
        time.sleep(1)
        return work(*args)

    return made


def pair(folder: Path) -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    with joined() as group:
        rows = measured(folder)
        few = evaluate(network(), images().take(slice(1)), ["clean"])  # nothing is left for the second process
        again = evaluate(network(), images(), {"pgd-3": PGD(BALL, 3)}, outcomes=folder / "outcomes", run="a run")
        (lock,) = (file.with_suffix(".lock") for file in (folder / "outcomes").glob("pgd-3-*.jsonl"))
        with locked(lock, "") if group.is_first else nullcontext(), pytest.raises(UsageError, match="Another process"):
            evaluate(network(), images(), {"pgd-3": PGD(BALL, 3)}, outcomes=folder / "outcomes", run="a run")
        if group.is_first:
            outcomes.marks = late(outcomes.marks)
        slow = evaluate(network(), images(), {"pgd-3": PGD(BALL, 3)}, outcomes=folder / "late", run="a run")

        def fails() -> None:
            raise FailedError("It went wrong.")

        with pytest.raises(FailedError, match="It went wrong"):
            group.by_first(fails)
        said = group.gathered(f"process {group.rank}"), group.most(group.rank, -group.rank), group.word(0.01)
        group.leave_word("a word")
        torch.save([list(map(dataclasses.asdict, each)) for each in (rows, few, again, slow)] + [said, group.word()],
                   folder / f"{group.rank}.pt")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("sharing")
    together("evaluation.test_sharing:pair", made)
    return made


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """What one process measures."""
    made = tmp_path_factory.mktemp("alone")
    torch.save([dataclasses.asdict(row) for row in measured(made)], made / "rows.pt")
    return made


def found(folder: Path) -> list:
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def without_time(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "seconds"}


def test_two_processes_find_the_rows_of_one_with_the_passes_of_both(folder, alone):
    expected = torch.load(alone / "rows.pt")
    assert {row["value"] for row in expected} - {0.0, 1.0}  # there is something to tell apart
    for rows, *_ in found(folder):
        assert list(map(without_time, rows)) == list(map(without_time, expected))
        assert all(row["seconds"] > 0 for row in rows)


def test_their_outcomes_are_in_one_file_which_is_that_of_one_process(folder, alone):
    files = sorted((alone / "outcomes").glob("*.jsonl"))
    assert len(files) == len(ATTACKS) - 1
    for file in files:
        other = folder / "outcomes" / file.name
        assert broken_at(other) == broken_at(file)
        assert measured_in(other) == measured_in(file)
    assert {file.name for file in (folder / "outcomes").glob("*.jsonl")} == {file.name for file in files}


def test_one_process_goes_on_where_two_were_with_what_both_have_spent(folder, alone):
    split, attack = images(), PGD(BALL, 3)
    (row,) = evaluate(network(), split, {"pgd-3": attack}, outcomes=folder / "outcomes", run="a run")
    (first, *_) = [row for row in torch.load(alone / "rows.pt") if row["what"] == "accuracy under pgd-3"]
    assert (row.value, row.forwards, row.backwards) == (first["value"], first["forwards"], first["backwards"])
    for _, _, again, *_ in found(folder):  # two processes, too, made nothing again
        assert (again[0]["forwards"], again[0]["backwards"]) == (first["forwards"], first["backwards"])


def test_a_first_process_that_comes_late_counts_no_pass_of_the_others_twice(folder, alone):
    (first, *_) = [row for row in torch.load(alone / "rows.pt") if row["what"] == "accuracy under pgd-3"]
    for _, _, _, slow, *_ in found(folder):
        assert (slow[0]["forwards"], slow[0]["backwards"]) == (first["forwards"], first["backwards"])


def test_the_adversarial_images_of_both_are_in_one_file_in_the_order_of_the_images(folder, alone):
    one, other = (Adversarial.read(where / "adversarial" / "pgd-3.safetensors") for where in (alone, folder))
    assert torch.equal(one.indices, other.indices)
    torch.testing.assert_close(other.x_adv, one.x_adv, rtol=0, atol=1e-6)


def test_a_process_that_gets_no_image_finds_what_the_others_find(folder):
    for _, few, *_ in found(folder):
        assert (few[0]["n"], few[0]["forwards"]) == (1, 1)


def test_processes_hear_each_other_and_fail_together(folder):
    for *_, said, word in found(folder):
        assert said == (["process 0", "process 1"], [1, 0], None)
        assert word == "a word"


def test_one_process_measures_everything_at_once():
    whole = Outcome(torch.tensor([True, False]), 1.0, 2, 0)
    assert shared_out(images(), lambda some: whole if some == slice(None) else None) is whole
    assert accuracy.shared_out is shared_out
