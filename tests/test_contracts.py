"""One battery over every attack; that over every objective is in test_contracts_objectives.py."""

import dataclasses
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import (
    APGD,
    DLR,
    FAB,
    KL,
    L2,
    NATTACK,
    PGD,
    AdversarialDistribution,
    AdversarialInterpolation,
    Attack,
    AutoAttack,
    Ball,
    CarliniWagner,
    CrossEntropy,
    FeatureScatter,
    InfoFeature,
    Iterative,
    Linf,
    Margin,
    Restarts,
    Square,
    Targeted,
    TargetedCrossEntropy,
    TargetedDLR,
    TargetedMargin,
    Worst,
    cw,
    fgsm,
)  # fmt: skip
from hardy.attacks.combine import Combined, Toward
from hardy.attacks.informative import Coupled
from hardy.attacks.names import ATTACKS, named
from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.randomness import Noise
from toys import SHAPE, classifier, images, predicted, smooth

N, CLASSES = 9, 4
INF, TWO = Linf(0.1), L2(0.3)
SMALL = {"steps": 12, "population": 6, "learning_rate": 0.05, "test_every": 4}


def small_autoattack(ball: Ball, version: str) -> Worst:
    """What AutoAttack holds in that version, with few steps; tests/attacks/test_autoattack.py has the real one."""
    ce, dlr, fab, square = APGD(ball, 3), APGD(ball, 3, DLR()), FAB(ball, steps=2), Square(ball, 6)
    targeted = (Targeted(APGD(ball, 3, TargetedDLR()), 2), Targeted(fab, 2))
    again = Worst((fab, Restarts(dataclasses.replace(fab, start_at="random"), 2)))
    return Worst(
        {
            "standard": (ce, *targeted, square),
            "plus": (Restarts(ce, 2), Restarts(dlr, 2), again, square, *targeted),
            "rand": (dataclasses.replace(ce, passes=2), dataclasses.replace(dlr, passes=2)),
        }[version]
    )


# every attack there is, every loss, start and ball at least once; new attacks are added here
CASES: dict[str, Attack] = {
    "noise": PGD(INF, steps=0),
    "noise-l2": PGD(TWO, steps=0),
    "fgsm": fgsm(INF),
    "fgsm-rs": fgsm(INF, random_start=True),
    "fgsm-l2": fgsm(TWO),
    "fgsm-rs-l2": fgsm(TWO, random_start=True),
    "cw": cw(INF, 5),
    "cw-l2": cw(TWO, 5),
    "nattack": NATTACK(INF, **SMALL),
    "nattack-l2": NATTACK(TWO, **SMALL),
    "nattack-first-member": NATTACK(INF, runner_up="first-member", **SMALL),
    "carlini-wagner": CarliniWagner(TWO, steps=8, binary_search_steps=3, learning_rate=0.1, initial_c=1.0),
    "distribution": AdversarialDistribution(INF, steps=3, samples=2),
    "distribution-own-gradients": AdversarialDistribution(INF, steps=3, samples=2, accumulate=False),
    "feature-scatter": FeatureScatter(INF, steps=2),
    "feature-scatter-l2": FeatureScatter(TWO, on="features"),
    "adversarial-interpolation": AdversarialInterpolation(INF, steps=2),
    "adversarial-interpolation-l2": AdversarialInterpolation(TWO),
    "restarts": Restarts(PGD(INF, steps=2), 3),
    "restarts-image": Restarts(fgsm(TWO), 2),
    "targeted-pgd": Targeted(PGD(TWO, steps=3, loss=TargetedMargin()), 2),
    "targeted-pgd-ce": Targeted(PGD(INF, steps=3, loss=TargetedCrossEntropy()), 9),
    "targeted-restarts": Targeted(Restarts(APGD(INF, 3, TargetedDLR()), 2), 2),
    "toward": Toward(APGD(INF, 6, TargetedDLR()), 2),
    "toward-no-such-class": Toward(APGD(INF, 6, TargetedDLR()), CLASSES),
    "worst": Worst((NATTACK(INF, **SMALL), fgsm(INF), InfoFeature(INF, steps=2))),
    "worst-l2": Worst((PGD(TWO, steps=2), CarliniWagner(TWO, steps=8, binary_search_steps=2, initial_c=1.0))),
}
# every loss from every start; balls and momentum take turns, so that each loss and each start meets both of both
for i, loss in enumerate((CrossEntropy(), KL(), Margin(), DLR())):
    for j, start in enumerate(("uniform", "gaussian", "image")):
        ball, momentum = (INF, TWO)[(i + j) % 2], (0.0, 0.75)[(i // 2 + j) % 2]
        name = f"pgd-{type(loss).__name__}-{start}-{momentum:g}-{type(ball).__name__}"
        CASES[name] = PGD(ball, steps=5, start_at=start, momentum=momentum, loss=loss)
for ball in (INF, TWO):
    kind = type(ball).__name__
    CASES |= {f"apgd-{type(loss).__name__}-{kind}": APGD(ball, 8, loss) for loss in (CrossEntropy(), DLR())}
    CASES |= {f"autoattack-{v}-{kind}": small_autoattack(ball, v) for v in ("standard", "plus", "rand")}
    CASES |= {
        f"fab-{kind}": FAB(ball, steps=6),
        f"fab-random-{kind}": FAB(ball, steps=6, start_at="random"),
        f"square-{kind}": Square(ball, 34),
        f"infofeature-{kind}": InfoFeature(ball, steps=3, classes="predicted" if ball is TWO else "label"),
        f"targeted-apgd-{kind}": Targeted(APGD(ball, 6, TargetedDLR()), 3),
        f"targeted-fab-{kind}": Targeted(FAB(ball, steps=4), 3),
    }
# these draw no random numbers
DETERMINISTIC = {"fgsm", "fgsm-l2", "carlini-wagner", "restarts-image", "toward-no-such-class"}
DETERMINISTIC |= {name for name in CASES if re.match(r"pgd-.*-image-|fab-(Linf|L2)|targeted-fab", name)}


def over(cases: dict[str, Attack]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("attack", cases.values(), ids=cases.keys())


every_attack = over(CASES)
# batch-coupled attacks, for training, give an image no result of its own
every_attack_on_single_images = over({name: a for name, a in CASES.items() if a.group is None})
# one made of several has no state of its own; evaluation streams its stages, all of which are tried here as well
every_iterative_attack = over({name: a for name, a in CASES.items() if isinstance(a, Iterative)})


def needs_classifier(attack: Attack) -> bool:
    """Whether the attack looks into the network: the other toys have nothing to be looked at."""
    parts = attack.stages or (attack,)
    return any(isinstance(part, InfoFeature) or (isinstance(part, Coupled) and part.on == "features") for part in parts)


def within(attack: Any, ball: Ball) -> Any:
    """The same attack in another ball."""
    if isinstance(attack, Worst):
        return Worst(tuple(within(part, ball) for part in attack.attacks))
    if isinstance(attack, Restarts | Targeted | Toward):
        return dataclasses.replace(attack, attack=within(attack.attack, ball))
    return dataclasses.replace(attack, ball=ball)


def network(attack: Attack, classes: int = CLASSES, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    """One that an attack of these radii breaks for some of the images, and not for all."""
    return classifier(classes, shape, seed=6) if needs_classifier(attack) else smooth(classes, shape, seed=10)


def target_of(attack: Attack, model: nn.Module, x: Tensor) -> Tensor:
    """What the attack's loss compares with: labels that are right for most images, or a prediction near the clean one."""
    if isinstance(attack, PGD) and isinstance(attack.loss, KL):
        with torch.no_grad():
            z = model(x)
        # not exactly the clean one, where the divergence has no gradient and its sign would be that of a rounding error
        away = (1 + torch.arange(len(x)).view(-1, 1) % 3) * torch.arange(z.shape[1])
        return (z + 0.1 * away).softmax(1).to(x.dtype)
    y = predicted(model, x)
    return torch.cat([(y[:1] + 1) % CLASSES, y[1:]])


def case(
    attack: Attack, n: int = N, dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = SHAPE
) -> tuple[nn.Module, Tensor, Tensor, Noise]:
    """A network, images of which some touch 0 and 1, targets, noise."""
    model, x = network(attack, shape=shape).to(dtype), images(n, shape, dtype=dtype)
    if n > 2:
        x[1, :, :2], x[2, :, 2:] = 0.0, 1.0
    return model, x, target_of(attack, model, x), Noise(7, torch.arange(n) * 11, purpose="contract")


def loss_of(attack: Attack) -> object:
    """What a stage maximises, looked for in what it is made of."""
    if isinstance(attack, Toward):
        return loss_of(attack.attack)
    return attack.loss if isinstance(attack, PGD | APGD) else None


def inside(attack: Attack, x_adv: Tensor, x: Tensor) -> bool:
    """Whether images lie in the ball and in [0, 1], to the last bit."""
    norm = torch.inf if isinstance(attack.ball, Linf) else 2
    distance = (x_adv.double() - x.double()).flatten(1).norm(p=norm, dim=1)
    return 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1 and float(distance.max()) <= attack.ball.eps


@every_attack
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_have_their_form_and_lie_in_the_ball_and_in_the_range(attack, dtype):
    model, x, target, noise = case(attack, dtype=dtype)
    x_adv = attack(model, x, target, noise)
    assert x_adv.shape == x.shape
    assert x_adv.dtype == x.dtype
    assert not x_adv.requires_grad
    assert inside(attack, x_adv, x)


@every_attack
def test_something_is_done(attack):
    if attack == CASES["toward-no-such-class"]:
        return
    model, x, target, noise = case(attack)
    x_adv = attack(model, x, target, noise)
    moved = (x_adv != x).flatten(1).any(1)
    if isinstance(attack, Combined | FAB | CarliniWagner):
        # these promise the image itself where it is misclassified already, and where nothing in the ball was found
        broken = (predicted(model, x) == target) & (predicted(model, x_adv) != target)
        assert moved.any()
        assert torch.equal(moved[1:], broken[1:])
    else:
        assert moved.all()


@every_attack
def test_images_that_are_all_misclassified_already_are_misclassified_afterwards(attack):
    model, x, target, noise = case(attack)
    if target.is_floating_point():
        return
    y = (predicted(model, x) + 1) % CLASSES
    x_adv = attack(model, x, y, noise)
    assert inside(attack, x_adv, x)
    if isinstance(attack, Combined):
        assert torch.equal(x_adv, x)  # there is nothing to be attacked
    elif attack.stops_at_success:
        assert (predicted(model, x_adv) != y).all()


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
    model, x, noise = classifier(CLASSES, seed=6), images(4), Noise.of_batch(4)
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
    model, x, noise = classifier(CLASSES, seed=6), images(4), Noise.of_batch(4)
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
    short = dataclasses.replace(attack, steps=min(1, attack.steps)) if isinstance(attack, PGD | InfoFeature) else attack
    first, second = (short(model, x, target, n) for n in (noise, noise.derive("other")))
    assert torch.equal(first, second) == (attack in {CASES[name] for name in DETERMINISTIC})


@every_attack
def test_a_radius_of_zero_gives_x_itself(attack):
    nowhere = within(attack, type(attack.ball)(0.0))
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


@every_attack_on_single_images
@pytest.mark.parametrize("size", [1, 7])
def test_batch_size_changes_no_image(attack, size):
    model, x, target, noise = case(attack, dtype=torch.float64)
    expected = attack(model, x, target, noise)
    parts = [slice(first, first + size) for first in range(0, N, size)]
    got = torch.cat([attack(model, x[part], target[part], noise[part]) for part in parts])
    assert float((got - expected).abs().max()) < 1e-9


@every_attack_on_single_images
def test_order_changes_no_image(attack):
    model, x, target, noise = case(attack, dtype=torch.float64)
    order = Noise.of_batch(1, purpose="order").permutation(N)[0]
    expected = attack(model, x, target, noise)[order]
    assert float((attack(model, x[order], target[order], noise[order]) - expected).abs().max()) < 1e-9


@every_iterative_attack
def test_states_may_be_parted_and_joined_on_the_way(attack):
    model, x, target, noise = case(attack, dtype=torch.float64)
    expected = attack(model, x, target, noise)
    model = attack.view(model)
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


@every_iterative_attack
def test_every_image_is_done_after_the_iterations_named_and_stays_so(attack):
    model, x, target, noise = case(attack)
    f = attack.view(model)
    state = attack.start(f, x, target, noise)
    nothing_to_do = attack.iterations == 0 or attack == CASES["toward-no-such-class"]
    assert state.done.all() == nothing_to_do
    for _ in range(attack.iterations):
        state = attack.advance(f, x, target, state)
    assert state.done.shape == (N,)
    assert state.done.all()
    assert torch.equal(state.x_adv, attack(model, x, target, noise))
    if attack.iterations:
        assert torch.equal(attack.advance(f, x, target, state).x_adv, state.x_adv)


@every_iterative_attack
def test_only_attacks_that_make_their_own_tests_are_done_before_their_last_iteration(attack):
    model, x, target, noise = case(attack)
    f = attack.view(model)
    state = attack.start(f, x, target, noise)
    for _ in range(attack.iterations):
        early = state.done & (state.step < attack.iterations)
        assert attack.stops_at_success or not early.any()
        if early.any():
            assert (predicted(model, state.x_adv[early]) != target[early]).all()
        state = attack.advance(f, x, target, state)


@every_iterative_attack
def test_an_image_whose_success_evaluation_denies_is_attacked_on(attack):
    if not attack.stops_at_success:
        return
    model, x, target, noise = case(attack)
    f = attack.view(model)
    state = attack.start(f, x, target, noise)
    for _ in range(attack.iterations):
        state.done &= state.step >= attack.iterations  # as evaluation does
        before = state.step.clone()
        going = ~state.done
        state = attack.advance(f, x, target, state)
        assert (state.step > before)[going].all()
        assert inside(attack, state.x_adv, x)
    assert state.done.all()
    assert (state.step >= attack.iterations).all()


@every_iterative_attack
def test_advancing_leaves_the_state_it_was_given_alone(attack):
    if not attack.iterations:
        return
    model, x, target, noise = case(attack)
    model = attack.view(model)
    state = attack.start(model, x, target, noise)
    tensors = {
        f.name: getattr(state, f.name) for f in dataclasses.fields(state) if isinstance(getattr(state, f.name), Tensor)
    }
    before = {name: value.clone() for name, value in tensors.items()}
    attack.advance(model, x, target, state)
    assert all(torch.equal(value, before[name]) for name, value in tensors.items())


@every_attack
@pytest.mark.parametrize("layout", ["channels_last", "sliced", "turned", "expanded"])
def test_memory_layout_changes_no_image(attack, layout):
    shape = (3, 4, 4)
    model, x, _, noise = case(attack, dtype=torch.float64, shape=shape)
    if layout == "expanded":
        x = x[:1].expand(N, *shape)
    elif layout == "turned":  # rows and columns change places in memory
        x = x.mT.contiguous().mT
    elif layout == "sliced":
        wide = torch.full((N, 5, 4, 9), 0.5, dtype=torch.float64)
        wide[:, 1:4, :, 1::2] = x
        x = wide[:, 1:4, :, 1::2]
    else:
        x = x.to(memory_format=torch.channels_last)
    assert not x.is_contiguous()
    target = target_of(attack, model, x)
    every_other = torch.stack([target, target], 1)[:, 0]
    got = attack(model, x, every_other, noise)
    assert float((got - attack(model, x.contiguous(), target, noise)).abs().max()) < 1e-9


# how many classes there are


@every_attack
@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_are_enough_or_said_to_be_too_few(attack, classes):
    model, x = network(attack, classes), images(N)
    target = target_of(attack, model, x)
    target = target if target.is_floating_point() else predicted(model, x)
    losses = {type(loss_of(stage)) for stage in attack.stages}
    needed = max((n for kind, n in ((DLR, 3), (TargetedDLR, 4)) if kind in losses), default=2)
    if classes >= needed:
        assert inside(attack, attack(model, x, target), x)
    elif isinstance(attack, Toward) and attack.rank >= classes:
        assert torch.equal(attack(model, x, target), x)  # there is no such class to be attacked towards
    else:
        least = min(n for kind, n in ((DLR, 3), (TargetedDLR, 4)) if kind in losses and n > classes)
        with pytest.raises(
            UsageError, match=rf"DLR loss needs at least {least} classes; the network gives {classes}\."
        ):
            attack(model, x, target)


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
@pytest.mark.parametrize(
    "wrong",
    [lambda y: y.int(), lambda y: y.float(), lambda y: nn.functional.one_hot(y, CLASSES), lambda y: y[:, None]],
    ids=["int32", "float32", "one-hot", "column"],
)
def test_what_are_no_labels_is_refused_in_a_sentence(attack, wrong):
    model, x, target, noise = case(attack)
    if target.is_floating_point():
        with pytest.raises(
            UsageError, match=r"KL compares logits with probabilities|Labels are .*; they must be int64"
        ):
            attack(model, x, wrong(predicted(model, x)), noise)
        return
    given = wrong(target)
    if given.is_floating_point() and (isinstance(attack, Coupled) or attack in (CASES["noise"], CASES["noise-l2"])):
        return  # what they do not look at may be anything, such as the probabilities that other losses compare with
    with pytest.raises(UsageError, match=r"Labels are torch\..*; they must be int64 \(N,\)"):
        attack(model, x, given, noise)


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
    tried = {type(part) for attack in CASES.values() for part in (attack, *attack.stages)}
    known = [named(name.replace("-K", "-3"), TWO) for name in ATTACKS if name != "clean"]
    assert {type(attack) for attack in known} - {AutoAttack} <= tried
    assert {type(stage) for attack in known for stage in attack.stages} <= tried
