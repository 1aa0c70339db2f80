"""Adversarial images in a file: what goes in comes out, with the same verdicts."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from hardy.attacks import APGD, FAB, PGD, Linf
from hardy.errors import FailedError, UsageError
from hardy.evaluation.adversarial import Adversarial, save_verified
from hardy.evaluation.stream import under_attack
from toys import classifier, images, labels, split

INF = Linf(0.1)


def made(n: int = 10) -> Adversarial:
    return Adversarial(images(n), labels(n), torch.arange(n) + 100, {"attack": "mine", "eps": 8 / 255})


def test_what_is_written_is_read(tmp_path):
    found = made()
    found.save(tmp_path / "new" / "pgd.safetensors")
    again = Adversarial.read(tmp_path / "new" / "pgd.safetensors")
    assert again.x_adv.dtype == torch.float32
    for name in ("x_adv", "labels", "indices"):
        assert torch.equal(getattr(again, name), getattr(found, name))
    assert again.about == found.about


def test_images_in_another_layout_are_written_as_they_are(tmp_path):
    found = dataclasses.replace(made(), x_adv=images(10, (3, 4, 4)).to(memory_format=torch.channels_last))
    found.save(tmp_path / "a.safetensors")
    assert torch.equal(Adversarial.read(tmp_path / "a.safetensors").x_adv, found.x_adv)


def test_a_file_that_is_there_is_kept(tmp_path):
    path = tmp_path / "a.safetensors"
    made().save(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        made(3).save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("attack", [PGD(INF, steps=5), APGD(INF, steps=6), FAB(INF, steps=5)])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_images_that_were_attacked_get_the_same_verdicts_when_they_are_read_again(attack, batch, tmp_path):
    model = classifier(seed=1)
    data = split(64, model, seed=1)
    outcome = under_attack(model, data, attack, judge="any", keep=True)
    assert 0 < int(outcome.correct.sum()) < 64
    found = Adversarial(outcome.x_adv, data.labels, data.indices, {"attack": attack.described})
    assert save_verified(tmp_path / "a.safetensors", found, model, outcome.correct) == 0
    again = Adversarial.read(tmp_path / "a.safetensors")
    assert torch.equal(again.accuracy(model.train(), batch), outcome.correct)
    assert model.training
    assert torch.equal(again.indices, data.indices)
    assert again.about["attack"]["type"] == type(attack).__name__


def test_another_network_may_judge_them():
    model, other = classifier(seed=1), classifier(seed=2)
    found = made(40)
    assert not torch.equal(found.accuracy(model), found.accuracy(other))
    assert torch.equal(found.accuracy(other.forward), found.accuracy(other))  # a plain function, too


def test_images_that_do_not_fit_into_memory_at_once_are_judged_in_parts():
    model, found = classifier(seed=1), made(40)

    def small(x):
        if len(x) > 3:
            raise torch.OutOfMemoryError
        return model(x)

    assert torch.equal(found.accuracy(small), found.accuracy(model))


def test_other_verdicts_than_before_are_an_error_where_they_are_more_than_rounding_can_turn(tmp_path):
    model, found = classifier(seed=1), made(40)
    correct = found.accuracy(model)
    one, two = correct.clone(), correct.clone()
    one[3] = ~one[3]
    two[3:5] = ~two[3:5]
    assert save_verified(tmp_path / "one.safetensors", found, model, one) == 1
    with pytest.raises(FailedError, match=r"2 of the 40 images in .*two\.safetensors get another verdict"):
        save_verified(tmp_path / "two.safetensors", found, model, two)
    assert len(Adversarial.read(tmp_path / "two.safetensors").x_adv) == 40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x_adv": None}, "does not hold adversarial images"),
        ({"labels": None}, "does not hold adversarial images"),
        ({"x_adv": images(10) * 2}, "must lie in \\[0, 1\\]"),
        ({"x_adv": images(10) * torch.nan}, "must lie in \\[0, 1\\]"),
        ({"x_adv": images(10).half()}, "must be a float32 or float64"),
        ({"labels": labels(9)}, "holds 10 images, and labels or indices that are not int64"),
        ({"labels": labels(10).float()}, "holds 10 images, and labels or indices that are not int64"),
        (
            {"indices": torch.zeros(10, 1, dtype=torch.int64)},
            "holds 10 images, and labels or indices that are not int64",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused(change, said, tmp_path):
    found = made()
    tensors = {"x_adv": found.x_adv, "labels": found.labels, "indices": found.indices} | change
    kept = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, tmp_path / "a.safetensors", {"about": json.dumps({})})
    with pytest.raises(UsageError, match=said):
        Adversarial.read(tmp_path / "a.safetensors")


@pytest.mark.parametrize("content", [None, b"", b"<html>404</html>", b"\xff" * 40])
def test_what_is_no_such_file_is_refused(content, tmp_path):
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="does not hold adversarial images"):
        Adversarial.read(path)


def test_a_description_that_is_no_json_object_is_refused(tmp_path):
    found = made(2)
    for about in ("[1]", "{", None):
        save_file(
            {"x_adv": found.x_adv, "labels": found.labels, "indices": found.indices},
            tmp_path / "a.safetensors",
            None if about is None else {"about": about},
        )
        with pytest.raises(UsageError, match="does not hold adversarial images"):
            Adversarial.read(tmp_path / "a.safetensors")
