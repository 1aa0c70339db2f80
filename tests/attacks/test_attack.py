"""Attack: what a call checks, and the state's parts."""

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from hardy.attacks import (
    APGD,
    DLR,
    FAB,
    KL,
    L2,
    NATTACK,
    PGD,
    CarliniWagner,
    InfoFeature,
    Linf,
    Margin,
    Restarts,
    Square,
    Targeted,
)  # fmt: skip
from hardy.attacks.attack import Around, State, check_images, looking, of_unfinished
from hardy.errors import FailedError, UsageError
from hardy.models.classifier import Classifier, crafting
from hardy.randomness import Noise
from toys import classifier, images, labels, smooth


@dataclass
class WithParts(State):
    """A state with something of each kind."""

    velocity: Tensor | None
    noise: Noise


def state(n: int, first: int = 0) -> WithParts:
    rows = torch.arange(first, first + n)
    return WithParts(rows.float().view(-1, 1, 1, 1), rows % 2 == 0, rows, None, Noise(3, rows).draw(rows))


@pytest.mark.parametrize("index", [torch.tensor([3, 0]), torch.tensor([True, False, False, True])])
def test_selecting_takes_the_same_rows_of_every_part(index):
    picked = state(4).select(index)
    rows = torch.arange(4)[index]
    assert picked.x_adv.flatten().long().equal(rows)
    assert picked.done.equal(rows % 2 == 0)
    assert picked.velocity is None
    assert picked.noise.rows.equal(rows)
    assert picked.noise.draws.equal(rows)
    assert isinstance(picked, WithParts)


def test_joining_what_was_parted_gives_the_whole():
    whole = state(5)
    joined = WithParts.cat([whole.select(torch.arange(2)), whole.select(torch.arange(2, 5))])
    assert joined.x_adv.equal(whole.x_adv)
    assert joined.done.equal(whole.done)
    assert joined.velocity is None
    assert joined.noise.bits((3,)).equal(whole.noise.bits((3,)))
    assert joined.select(torch.tensor([], dtype=torch.int64)).x_adv.shape == (0, 1, 1, 1)


@dataclass
class Nesting(State):
    """A state within a state."""

    inner: State


def test_a_state_within_a_state_is_parted_and_joined_with_it():
    whole = Nesting(state(5).x_adv, state(5).done, state(5).step, state(5))
    parts = [whole.select(torch.tensor([4, 1])), whole.select(torch.tensor([0]))]
    joined = Nesting.cat(parts)
    assert joined.inner.step.tolist() == joined.step.tolist() == [4, 1, 0]
    assert isinstance(joined.inner, WithParts)
    assert joined.inner.noise.rows.tolist() == [4, 1, 0]


def test_images_that_are_done_are_not_moved():
    seen = []

    def move(x: Tensor, target: Tensor, of: State) -> State:
        seen.append(target.tolist())
        return WithParts(x + 1, of.done, of.step + 1, None, of.noise)

    x, before = torch.zeros(4, 1, 1, 1), state(4)  # 0 and 2 are done
    after = of_unfinished(move, x, torch.arange(4), before)
    assert seen == [[1, 3]]
    assert after.x_adv.flatten().tolist() == [0, 1, 2, 1]
    assert after.step.tolist() == [0, 2, 2, 4]
    assert after.noise.rows.tolist() == [0, 1, 2, 3]
    finished = before.select(torch.tensor([0, 2]))
    assert of_unfinished(move, x[:2], torch.arange(2), finished) is finished
    unfinished = before.select(torch.tensor([1, 3]))
    assert of_unfinished(move, x[:2], torch.arange(2), unfinished).x_adv.flatten().tolist() == [1, 1]
    assert seen[1:] == [[0, 1]]


class Noted(Around):
    """A network whose calls are noted."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.noted = model, []

    def around(self, f):
        return lambda x: self.noted.append(len(x)) or f(x)


def test_what_is_done_around_a_network_is_done_where_an_attack_looks_into_it_too():
    model, x = classifier(), images(3)
    once, twice = Noted(model), Noted(Noted(model))
    for f in (model, once, twice):
        logits, features = looking(f, Classifier.with_features)(x)
        assert torch.equal(logits, model(x))
        assert torch.equal(features, model.features(x))
    assert torch.equal(once(x), model(x))
    assert once.noted == [3, 3]
    assert twice.noted == twice.model.noted == [3]
    for f in (smooth(), Noted(smooth()), lambda x: x):
        with pytest.raises(UsageError, match=r"looks at a network's activations, and needs a hardy Classifier"):
            looking(f, Classifier.with_features)


# the path


WALKS = [
    PGD(Linf(0.1), steps=4),
    PGD(L2(0.5), steps=4, momentum=0.9),
    PGD(Linf(0.1), steps=3, start_at="image"),
    PGD(Linf(0.1), steps=4, start_at="gaussian", loss=Margin()),
    InfoFeature(Linf(0.1), steps=4, weight=1.0),
    InfoFeature(Linf(0.1), steps=3, start_at="image", classes="predicted", distance="l1"),
]
walks = pytest.mark.parametrize("attack", WALKS, ids=str)


@walks
@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_the_path_is_each_iterate_with_the_networks_logits_there_at_no_pass_more(attack, mode):
    model, x, y, noise = classifier().train(), images(5), labels(5), Noise.of_batch(5)
    passes = []
    model.norm.register_forward_hook(lambda *_: passes.append(1))
    with crafting(model, mode):
        separate = [
            dataclasses.replace(attack, steps=steps).perturb(model, x, y, noise) for steps in range(attack.steps + 1)
        ]
        passes.clear()
        attack.perturb(model, x, y, noise)
        needed = len(passes)
        path = list(attack.path(model, x, y, noise))
        assert len(passes) == 2 * needed
        assert needed == attack.steps + isinstance(attack, InfoFeature)  # the maps of x
        assert [torch.equal(at, expected) for (at, _), expected in zip(path, separate, strict=True)] == [True] * len(
            path
        )
        for at, logits in path[:-1]:
            assert not logits.requires_grad
            assert torch.equal(logits, model(at))
        assert path[-1][1] is None
        if attack.start_at == "image":
            assert torch.equal(path[0][0], x)
            assert path[0][0].data_ptr() != x.data_ptr()
    other = [logits for _, logits in path[:-1]]
    with torch.no_grad(), crafting(model, "eval" if mode == "batch" else "batch"):
        assert not any(torch.allclose(model(at), logits) for (at, _), logits in zip(path, other, strict=False))
    assert len({at.data_ptr() for at, _ in path}) == attack.steps + 1  # none is written over


@walks
def test_the_states_are_made_one_at_a_time_and_end_in_what_perturb_hands_back(attack):
    model, x, y, noise = classifier(), images(5), labels(5), Noise.of_batch(5)
    passes = []
    model.norm.register_forward_hook(lambda *_: passes.append(1))
    before_the_first = int(isinstance(attack, InfoFeature))
    expected = attack.perturb(model, x, y, noise)
    passes.clear()
    states, made = attack.states(attack.view(model), x, y, noise), []
    assert passes == []
    for step, one in enumerate(states):
        assert len(passes) == before_the_first + step
        assert one.step.tolist() == [step] * 5
        assert one.done.tolist() == [step == attack.steps] * 5
        made.append(one.x_adv)
    assert len(made) == attack.steps + 1
    assert torch.equal(made[-1], expected)
    assert [torch.equal(a, b) for a, (b, _) in zip(made, attack.path(model, x, y, noise), strict=True)] == [True] * len(
        made
    )


@pytest.mark.parametrize("attack", [PGD(Linf(0.1), steps=0), InfoFeature(Linf(0.1), steps=0)], ids=str)
def test_a_path_without_steps_is_the_start_alone(attack):
    model, x, y = classifier(), images(3), labels(3)
    ((at, logits),) = attack.path(model, x, y, Noise.of_batch(3))
    assert torch.equal(at, attack(model, x, y, Noise.of_batch(3)))
    assert logits is None


def test_the_path_through_any_function_and_through_what_counts_it():
    model, x, y, noise = smooth(), images(3), labels(3), Noise.of_batch(3)
    attack = PGD(Linf(0.1), steps=3)
    expected = list(attack.path(model, x, y, noise))
    noted = Noted(model)
    for f in (noted, model.forward):
        for (at, logits), (same, there) in zip(attack.path(f, x, y, noise), expected, strict=True):
            assert torch.equal(at, same)
            assert (logits is None and there is None) or torch.equal(logits, there)
    assert noted.noted == [3] * 3
    assert list(attack.path(model, x[:0], y[:0], noise[:0]))[-1][0].shape == (0, 1, 4, 4)


class Seldom(PGD):
    """Looks at every second iterate, and at another image besides; is done before it need be."""

    @property
    def iterations(self):
        return 2 * self.steps

    def advance(self, f, x, target, state):
        f(state.x_adv + 0.25)
        if int(state.step[0]) % 2:
            f(state.x_adv)
        step = state.step + 1
        return dataclasses.replace(state, x_adv=state.x_adv * 0.9, step=step, done=step >= self.steps)


def test_an_iterate_that_was_not_passed_has_no_logits_and_not_those_of_the_one_before():
    model, x = smooth(), images(3)
    path = list(Seldom(steps=5).path(model, x, labels(3), Noise.of_batch(3)))
    assert len(path) == 5 + 1  # once all images are done, the path ends
    assert [logits is None for _, logits in path] == [True, False, True, False, True, True]
    assert all(torch.equal(logits, model(at)) for at, logits in path if logits is not None)


@pytest.mark.parametrize(
    "attack", [Square(queries=5), NATTACK(steps=3, population=4), FAB(steps=2), APGD(steps=3)], ids=str
)
def test_logits_of_a_path_are_never_those_of_other_images_than_the_iterate(attack):
    model, x, y, noise = smooth(), images(4), labels(4), Noise.of_batch(4)
    path = list(attack.path(model, x, y, noise))
    assert torch.equal(path[-1][0], attack.perturb(model, x, y, noise))
    assert path[-1][1] is None
    for at, logits in path[:-1]:
        assert logits is None or torch.allclose(logits, model(at), atol=1e-5)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), r"torch\.uint8 \(2, 3, 4, 4\); they must be a float32 or float64"),
        (torch.zeros(3, 4, 4), r"\(3, 4, 4\); they must be a float32 or float64 tensor \(N, C, H, W\)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.float16), r"Images are torch\.float16"),
        (torch.zeros(2, 3, 4, 4).numpy(), "Images are ndarray"),
        (None, "Images are NoneType"),
        (torch.full((2, 3, 4, 4), 255.0), r"\[255, 255\].*Divide bytes by 255"),
        (torch.full((2, 3, 4, 4), -0.1), r"lie in \[-0\.1, -0\.1\]"),
        (torch.full((2, 3, 4, 4), torch.nan), r"\[nan, nan\]"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(x, said):
    with pytest.raises(UsageError, match=said):
        check_images(x)


def test_the_rounding_of_an_undone_normalisation_is_let_pass():
    check_images(torch.tensor([-9e-7, 1 + 9e-7]).view(1, 1, 1, 2))
    with pytest.raises(UsageError, match="Pixels lie in"):
        check_images(torch.tensor([-2e-6, 0.5]).view(1, 1, 1, 2))


def test_targets_and_noise_must_have_a_row_for_each_image():
    model, x = smooth(), images(4)
    for target in (labels(3), torch.tensor(1), labels(0)):
        with pytest.raises(UsageError, match=r"There are 4 images and targets of shape \("):
            PGD()(model, x, target)
    with pytest.raises(UsageError, match="There are 4 images and 1 rows of noise"):
        PGD()(model, x, labels(4), Noise.of_batch(1))


def test_noise_left_out_is_a_fixed_seed():
    model, x, y = smooth(), images(4), labels(4)
    assert torch.equal(PGD(Linf(0.1))(model, x, y), PGD(Linf(0.1))(model, x, y, Noise.of_batch(4)))
    assert not torch.equal(PGD(Linf(0.1))(model, x, y), PGD(Linf(0.1))(model, x, y, Noise.of_batch(4, 1)))


def test_a_gradient_that_is_asked_for_at_x_is_not_passed_on():
    x = images(3).requires_grad_()
    for steps in (0, 2):
        x_adv = PGD(Linf(0.1), steps=steps, start_at="image")(smooth(), x, labels(3))
        assert not x_adv.requires_grad
        assert x_adv.data_ptr() != x.data_ptr()
    assert x.grad is None
    assert x.requires_grad


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        (torch.tensor([0, 1, 3]), r"Labels lie in 0\.\.3; f gives 3 classes, 0\.\.2"),
        (torch.tensor([0, -1, 2]), r"Labels lie in -1\.\.2"),
        (torch.tensor([0, 1, 2], dtype=torch.int32), r"Labels are torch.int32 \(3,\); they must be int64"),
        (torch.tensor([[0], [1], [2]]), r"Labels are torch.int64 \(3, 1\)"),
        (torch.tensor([True, False, True]), r"Labels are torch.bool"),
        (torch.tensor([0.0, 1.0, 2.0]), r"Labels are torch.float32 \(3,\)"),
        (torch.eye(3), r"Labels are torch.float32 \(3, 3\)"),
        ([0, 1, 2], "The target is list; it must be a tensor, int64 labels"),
        (torch.tensor([0, 1, 2]).numpy(), "The target is ndarray"),
        (1, "The target is int"),
        (None, "The target is NoneType"),
    ],
)
def test_labels_that_f_has_no_class_for_are_refused(y, sentence):
    attacks = (
        PGD(Linf(0.1), steps=1), PGD(loss=Margin()), PGD(loss=DLR()), NATTACK(steps=1, population=2), APGD(steps=2),
        FAB(steps=2), Square(queries=2), CarliniWagner(steps=2), InfoFeature(steps=1), Restarts(PGD(), 2), Targeted(FAB()),
    )  # fmt: skip
    for attack in attacks:
        with pytest.raises(UsageError, match=sentence):
            attack(classifier() if isinstance(attack, InfoFeature) else smooth(), images(3), y)


@pytest.mark.parametrize(
    "out",
    [
        lambda x: x.mean((1, 2, 3)),
        lambda x: x,
        lambda x: (x,),
        lambda x: x[:1].flatten(1),
        lambda x: x.flatten(1).long(),
    ],
)
def test_an_f_that_gives_no_logits_is_refused_where_there_are_labels(out):
    with pytest.raises(UsageError, match=r"For 3 images f gives .*; with labels it must give logits \(N, K\)"):
        PGD(Linf(0.1), steps=1)(out, images(3), labels(3))


def test_checking_the_labels_costs_no_pass_through_f():
    passes = []
    model = smooth()
    PGD(Linf(0.1), steps=4)(lambda x: passes.append(len(x)) or model(x), images(3), labels(3))
    assert passes == [3] * 4


@pytest.mark.parametrize("given", [3, [0, 1, 2], torch.arange(3)])
def test_noise_of_another_kind_is_refused(given):
    with pytest.raises(UsageError, match=r"noise is .*; it must be a Noise\."):
        PGD()(smooth(), images(3), labels(3), given)


def test_what_is_no_function_is_refused():
    with pytest.raises(UsageError, match=r"f is torch\.float32 \(3, 1, 4, 4\); it must be a network"):
        PGD()(images(3), images(3), labels(3))


def test_images_that_the_network_cannot_take_are_refused_in_one_line():
    for wrong in (images(3, dtype=torch.float64), images(3, (3, 4, 4))):
        with pytest.raises(UsageError, match=r"^f cannot take images torch\.float.* \(3, .*\): .*\.$") as error:
            PGD(steps=1)(smooth(), wrong, labels(3))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "f",
    [lambda x: smooth()(x).detach(), lambda x: smooth()(x * 0 + x.detach()).detach(), lambda x: torch.ones(len(x), 3),
     lambda x: torch.ones(len(x), 3, requires_grad=True)],
)  # fmt: skip
def test_a_network_that_gives_no_gradient_is_refused_by_attacks_that_need_one(f):
    for attack in (PGD(steps=1), APGD(steps=1), FAB(steps=1)):
        with pytest.raises(UsageError, match="No gradient reaches the images"):
            attack(f, images(3), labels(3))
    if not f(images(1)).requires_grad:  # its distance depends on the images whatever the network does
        with pytest.raises(UsageError, match="No gradient reaches the images"):
            CarliniWagner(steps=1)(f, images(3), labels(3))
    assert Square(queries=2)(f, images(3), labels(3)).shape == (3, 1, 4, 4)
    assert NATTACK(steps=1, population=2)(f, images(3), labels(3)).shape == (3, 1, 4, 4)


def test_labels_do_not_pass_for_probabilities():
    for target in (labels(3), torch.ones(3), torch.ones(3, 1)):
        with pytest.raises(UsageError, match="KL compares logits with probabilities"):
            PGD(steps=1, loss=KL())(smooth(), images(3), target)


def test_an_attack_that_ends_in_pixels_that_are_no_numbers_has_failed():
    # a number that float32 holds, and not its multiples
    with pytest.raises(FailedError, match="ended in NaN or infinite pixels"):
        PGD(L2(1.0), steps=3, momentum=3e38)(smooth(), images(3), labels(3))


def test_a_function_around_a_network_is_called_in_the_mode_the_caller_chose():
    seen = []
    model = smooth().train()
    PGD(steps=1)(lambda x: seen.append(model.training) or model(x), images(3), labels(3))
    assert seen == [True]
