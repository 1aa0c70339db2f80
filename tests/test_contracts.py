"""One battery over every attack; that over every objective is in test_contracts_objectives.py."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import DLR, KL, L2, NATTACK, PGD, Attack, CrossEntropy, Linf, Margin, cw, fgsm
from hardy.attacks.names import ATTACKS, named
from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.randomness import Noise
from toys import classifier, images, labels, predicted, smooth

N = 9
SMALL = {"steps": 12, "population": 6, "learning_rate": 0.05, "test_every": 4}

# every attack there is, every loss, start and ball at least once; new attacks are added here
CASES: dict[str, Attack] = {
    "noise": PGD(Linf(0.1), steps=0),
    "noise-l2": PGD(L2(0.5), steps=0),
    "fgsm": fgsm(Linf(0.1)),
    "fgsm-rs": fgsm(Linf(0.1), random_start=True),
    "fgsm-l2": fgsm(L2(0.5)),
    "fgsm-rs-l2": fgsm(L2(0.5), random_start=True),
    "cw": cw(Linf(0.1), 5),
    "cw-l2": cw(L2(0.5), 5),
    "nattack": NATTACK(Linf(0.1), **SMALL),
    "nattack-l2": NATTACK(L2(0.5), **SMALL),
    "nattack-first-member": NATTACK(Linf(0.1), runner_up="first-member", **SMALL),
}
# every loss from every start; balls and momentum take turns, so that each loss and each start meets both of both
for i, loss in enumerate((CrossEntropy(), KL(), Margin(), DLR())):
    for j, start in enumerate(("uniform", "gaussian", "image")):
        ball, momentum = (Linf(0.1), L2(0.5))[(i + j) % 2], (0.0, 0.75)[(i // 2 + j) % 2]
        name = f"pgd-{type(loss).__name__}-{start}-{momentum:g}-{type(ball).__name__}"
        CASES[name] = PGD(ball, steps=5, start_at=start, momentum=momentum, loss=loss)
every_attack = pytest.mark.parametrize("attack", CASES.values(), ids=CASES.keys())


def loss_of(attack: Attack) -> object:
    return attack.loss if isinstance(attack, PGD) else None


def target_of(attack: Attack, model: nn.Module, x: Tensor) -> Tensor:
    """What the attack's loss compares with: labels that are right for most images, or a prediction near the clean one."""
    if isinstance(loss_of(attack), KL):
        with torch.no_grad():
            # not exactly the clean one, where the divergence has no gradient and its sign would be that of a rounding error
            return (model(x) + 0.1 * labels(len(x), 3)[:, None] * torch.tensor([1.0, 0.0, -1.0])).softmax(1).to(x.dtype)
    y = predicted(model, x)
    return torch.cat([(y[:1] + 1) % 3, y[1:]])


def case(attack: Attack, n: int = N, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Tensor, Tensor, Noise]:
    """A network, images of which some touch 0 and 1, targets, noise."""
    model, x = smooth(dtype=dtype), images(n, dtype=dtype)
    if n > 2:
        x[1, :, :2], x[2, :, 2:] = 0.0, 1.0
    return model, x, target_of(attack, model, x), Noise(7, torch.arange(n) * 11, purpose="contract")


@every_attack
def test_images_have_their_form_and_lie_in_the_ball_and_in_the_range(attack):
    model, x, target, noise = case(attack)
    x_adv = attack(model, x, target, noise)
    assert x_adv.shape == x.shape
    assert x_adv.dtype == x.dtype
    assert not x_adv.requires_grad
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1
    difference = (x_adv.double() - x.double()).flatten(1)
    norm = torch.inf if isinstance(attack.ball, Linf) else 2
    assert float(difference.norm(p=norm, dim=1).max()) <= attack.ball.eps


@every_attack
def test_something_is_done(attack):
    model, x, target, noise = case(attack)
    assert bool((attack(model, x, target, noise) != x).flatten(1).any(1).all())


@every_attack
def test_the_images_given_are_left_alone_and_not_handed_back(attack):
    model, x, target, noise = case(attack)
    before, target_before = x.clone(), target.clone()
    x_adv = attack(model, x, target, noise)
    x_adv.zero_()
    assert torch.equal(x, before)
    assert torch.equal(target, target_before)


@every_attack
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_mode_parameters_and_gradients_of_the_network_are_left_alone(attack, training):
    model, x, noise = classifier(), images(4), Noise.of_batch(4)
    target = target_of(attack, model, x)
    model.train(training)
    model.linear.eval()
    model.second.weight.requires_grad_(False)
    modes = [m.training for m in model.modules()]
    wanted = [p.requires_grad for p in model.parameters()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attack(model, x, target, noise)
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@every_attack
def test_a_network_in_training_mode_is_attacked_as_in_evaluation_mode(attack):
    model, x, noise = classifier(), images(4), Noise.of_batch(4)
    target = target_of(attack, model, x)
    expected = attack(model, x, target, noise)
    assert torch.equal(attack(model.train(), x, target, noise), expected)


@every_attack
def test_gradients_already_there_are_neither_cleared_nor_added_to(attack):
    model, x, target, noise = case(attack)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    attack(model, x, target, noise)
    assert all(bool((p.grad == 3).all()) for p in model.parameters())


@every_attack
def test_the_same_noise_gives_the_same_images(attack):
    model, x, target, noise = case(attack)
    torch.manual_seed(1)
    first = attack(model, x, target, noise)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(attack(model, x, target, noise), first)
    assert torch.equal(torch.get_rng_state(), state)


@every_attack
def test_other_noise_gives_other_images_where_there_is_any(attack):
    model, x, target, noise = case(attack)
    # many steps may end in one corner of the ball, wherever they began
    short = dataclasses.replace(attack, steps=min(1, attack.iterations))
    first, second = (short(model, x, target, n) for n in (noise, noise.derive("other")))
    random = not isinstance(attack, PGD) or attack.start_at != "image"
    assert torch.equal(first, second) != random


@every_attack
def test_a_radius_of_zero_gives_x_itself(attack):
    nowhere = dataclasses.replace(attack, ball=type(attack.ball)(0.0))
    model, x, target, noise = case(attack)
    assert torch.equal(nowhere(model, x, target, noise), x)


@every_attack
@pytest.mark.parametrize("n", [0, 1])
def test_no_image_and_one_image_are_batches_too(attack, n):
    model, x, target, noise = case(attack, n)
    x_adv = attack(model, x, target, noise)
    assert x_adv.shape == (n, *x.shape[1:])
    assert x_adv.data_ptr() != x.data_ptr() or n == 0


@every_attack
def test_gradients_switched_off_outside_change_nothing(attack):
    model, x, target, noise = case(attack)
    expected = attack(model, x, target, noise)
    with torch.no_grad():
        assert torch.equal(attack(model, x, target, noise), expected)
        assert not torch.is_grad_enabled()


@every_attack
def test_inference_mode_outside_changes_nothing(attack):
    model, x, target, noise = case(attack)
    expected = attack(model, x, target, noise)
    with torch.inference_mode():
        made_inside = (x.clone(), target.clone(), Noise(7, noise.rows.clone(), purpose="contract"))
        assert torch.equal(attack(model, *made_inside), expected)
        assert torch.is_inference_mode_enabled()
    assert torch.equal(attack(model, *made_inside), expected)


# an image's result is its own


@every_attack
@pytest.mark.parametrize("size", [1, 7])
def test_batch_size_changes_no_image(attack, size):
    model, x, target, noise = case(attack, dtype=torch.float64)
    expected = attack(model, x, target, noise)
    parts = [slice(first, first + size) for first in range(0, N, size)]
    got = torch.cat([attack(model, x[part], target[part], noise[part]) for part in parts])
    assert float((got - expected).abs().max()) < 1e-9


@every_attack
def test_order_changes_no_image(attack):
    model, x, target, noise = case(attack, dtype=torch.float64)
    order = Noise.of_batch(1, purpose="order").permutation(N)[0]
    expected = attack(model, x, target, noise)[order]
    assert float((attack(model, x[order], target[order], noise[order]) - expected).abs().max()) < 1e-9


@every_attack
def test_states_may_be_parted_and_joined_on_the_way(attack):
    model, x, target, noise = case(attack, dtype=torch.float64)
    expected = attack(model, x, target, noise)
    head, tail = torch.arange(4), torch.arange(4, N)
    early = attack.start(model, x[head], target[head], noise[head])
    for _ in range(2):
        early = attack.advance(model, x[head], target[head], early)
    late = attack.start(model, x[tail], target[tail], noise[tail])
    state = type(early).cat([early, late])  # images at different iterations, side by side
    place = torch.cat([head, tail])
    result = torch.full_like(x, torch.nan)
    for turn in range(attack.iterations + 1):
        leaving = state.done
        result[place[leaving]] = state.x_adv[leaving]
        place, state = place[~leaving], state.select(~leaving)
        if turn == 1:  # and in another order
            order = torch.arange(len(place)).flip(0)
            place, state = place[order], state.select(order)
        if len(place):
            state = attack.advance(model, x[place], target[place], state)
    assert not len(place)
    assert float((result - expected).abs().max()) < 1e-9


@every_attack
def test_every_image_is_done_after_the_iterations_named_and_stays_so(attack):
    model, x, target, noise = case(attack)
    state = attack.start(model, x, target, noise)
    assert state.done.all() == (attack.iterations == 0)
    for _ in range(attack.iterations):
        state = attack.advance(model, x, target, state)
    assert state.done.shape == (N,)
    assert state.done.all()
    assert torch.equal(state.x_adv, attack(model, x, target, noise))
    if attack.iterations:
        assert torch.equal(attack.advance(model, x, target, state).x_adv, state.x_adv)


@every_attack
def test_advancing_leaves_the_state_it_was_given_alone(attack):
    if not attack.iterations:
        return
    model, x, target, noise = case(attack)
    state = attack.start(model, x, target, noise)
    tensors = {
        f.name: getattr(state, f.name) for f in dataclasses.fields(state) if isinstance(getattr(state, f.name), Tensor)
    }
    before = {name: value.clone() for name, value in tensors.items()}
    attack.advance(model, x, target, state)
    assert all(torch.equal(value, before[name]) for name, value in tensors.items())


# what is refused


@every_attack
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x: x * 255, "Pixels lie in"),
        (lambda x: x - 0.5, "Pixels lie in"),
        (lambda x: x * torch.nan, "Pixels lie in"),
        (lambda x: (x * 255).to(torch.uint8), "must be a float32 or float64 tensor"),
        (lambda x: x[:, 0], "must be a float32 or float64 tensor"),
        (lambda x: x.flatten(1), "must be a float32 or float64 tensor"),
        (lambda x: x.half(), "must be a float32 or float64 tensor"),
        (lambda x: x.bfloat16(), "must be a float32 or float64 tensor"),
        (lambda x: x.numpy(), "Images are ndarray; they must be"),
    ],
    ids=["bytes", "centred", "nan", "integers", "3-D", "2-D", "half", "bfloat16", "numpy"],
)
def test_what_is_no_batch_of_images_is_refused(attack, wrong, said):
    model, x, target, noise = case(attack)
    with pytest.raises(UsageError, match=said):
        attack(model, wrong(x), target, noise)


@every_attack
def test_targets_and_noise_of_another_length_are_refused(attack):
    model, x, target, noise = case(attack)
    with pytest.raises(UsageError, match=f"There are {N} images and targets"):
        attack(model, x, target[:-1], noise)
    with pytest.raises(UsageError, match=f"There are {N} images and {N - 1} rows of noise"):
        attack(model, x, target, noise[:-1])


# as settings


@every_attack
def test_attacks_describe_themselves_and_are_rebuilt(attack):
    assert rebuild(describe(attack), Attack) == attack
    assert hash(rebuild(describe(attack), Attack)) == hash(attack)
    assert str(attack.ball) in attack.summary
    assert "\n" not in attack.summary


def test_every_attack_the_command_line_knows_is_of_a_kind_tried_here():
    kinds = {type(attack) for attack in CASES.values()}
    known = {type(named(name.replace("-K", "-3"), 0.1)) for name in ATTACKS if name != "clean"}
    assert known <= kinds
