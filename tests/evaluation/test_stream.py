"""The stream: independence of batches and order, who leaves when, what counts as broken, memory that runs out."""

import dataclasses
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import (
    APGD,
    DLR,
    FAB,
    L2,
    NATTACK,
    PGD,
    CarliniWagner,
    FeatureScatter,
    Foreign,
    InfoFeature,
    Iterative,
    Linf,
    Margin,
    Restarts,
    Square,
    State,
    Targeted,
    TargetedDLR,
    Worst,
)
from hardy.data.digits import Digits
from hardy.data.split import Split
from hardy.errors import FailedError
from hardy.evaluation.stream import Counted, classify, under_attack, verdict
from hardy.models import small_cnn
from hardy.randomness import Noise
from toys import classifier, images, labels, linear, predicted, smooth, split, split_of

INF, TWO = Linf(0.1), L2(0.5)

# every image its own problem

STREAMED = {
    "pgd": PGD(INF, steps=5),
    "momentum": PGD(INF, steps=5, momentum=0.75),
    "l2": PGD(TWO, steps=5),
    "noise": PGD(Linf(0.3), steps=0),
    "infofeature": InfoFeature(INF, steps=4),
    "nattack": NATTACK(INF, steps=6, population=20, test_every=2, learning_rate=0.05),
    "apgd": APGD(INF, steps=8),
    "apgd-dlr-l2": APGD(TWO, steps=8, loss=DLR()),
    "apgd-t": Targeted(APGD(INF, steps=5, loss=TargetedDLR()), classes=2),
    "fab": FAB(INF, steps=5),
    "fab-random-l2": FAB(TWO, steps=5, start_at="random"),
    "fab-t": Targeted(FAB(INF, steps=4), classes=3),
    "square": Square(Linf(0.05), queries=40),
    "square-l2": Square(L2(0.25), queries=40),
    "carlini-wagner": CarliniWagner(L2(0.3), steps=6, binary_search_steps=3, learning_rate=0.1, initial_c=1.0),
    "restarts": Restarts(PGD(Linf(0.05), steps=2), 3),
    "worst": Worst((APGD(Linf(0.05), steps=4), FAB(Linf(0.05), steps=3), Square(Linf(0.05), queries=20))),
}


def double(n: int = 64) -> tuple[nn.Module, Split]:
    """A float64 network of five classes, and images labelled by it."""
    model = close(n).double()
    return model, split(n, model, 5, seed=1)


def close(n: int) -> nn.Module:
    """A network of five classes, none of which leads by much on these images."""
    model = classifier(5, seed=1)
    with torch.no_grad():
        model.linear.bias -= model(split(n, classes=5, seed=1).x()).mean(0)
    return model


@pytest.mark.parametrize("attack", STREAMED.values(), ids=STREAMED.keys())
@pytest.mark.parametrize("judge", ["last", "any"])
def test_neither_batch_size_nor_order_changes_verdicts_or_adversarial_images(attack, judge):
    model, data = double()
    expected = under_attack(model, data, attack, judge=judge, batch=64, keep=True)
    assert 0 < int(expected.correct.sum()) < 64
    order = Noise.of_batch(1, purpose="order").permutation(64)[0]
    everything, part = torch.arange(64), torch.tensor([40, 3, 17])
    for batch, index in ((1, everything), (7, everything), (7, order), (64, order), (2, part)):
        outcome = under_attack(model, data.take(index), attack, judge=judge, batch=batch, keep=True)
        assert torch.equal(outcome.correct, expected.correct[index])
        torch.testing.assert_close(outcome.x_adv, expected.x_adv[index], rtol=0, atol=1e-6)
        if len(index) == 64:
            assert outcome.after == expected.after
            assert outcome.backwards == expected.backwards
            if not any(
                isinstance(stage, Square) for stage in attack.stages
            ):  # it asks ahead where there are few images
                assert outcome.forwards == expected.forwards


@dataclasses.dataclass
class DrawingState(State):
    """noise: whose numbers are noted."""

    noise: Noise


class Drawing(Iterative):
    """Notes the numbers that each image draws in each iteration; its images are done after various numbers of these."""

    ball, iterations, summary = Linf(0.1), 6, "drawing"

    def __init__(self) -> None:
        self.drawn: dict[tuple[int, int], tuple[int, ...]] = {}
        self.together: list[set[int]] = []

    def start(self, f, x, target, noise) -> DrawingState:
        zero = torch.zeros(len(x), dtype=torch.int64)
        return DrawingState(x.clone(), zero > 0, zero, noise)

    def advance(self, f, x, target, state) -> DrawingState:
        self.together.append(set(state.step.tolist()))
        bits = state.noise.draw(state.step).derive("more").bits((3,))
        for row, step, numbers in zip(state.noise.rows.tolist(), state.step.tolist(), bits.tolist(), strict=True):
            assert (row, step) not in self.drawn
            self.drawn[row, step] = tuple(numbers)
        # every third image is through after two iterations
        step = torch.where((state.noise.rows % 3 == 0) & (state.step == 1), self.iterations, state.step + 1)
        return DrawingState(state.x_adv, step >= self.iterations, step, state.noise)


def test_the_noise_of_an_image_is_equal_to_the_bit_in_any_batch_and_order():
    model, data = double(64)
    order = Noise.of_batch(1, purpose="order").permutation(64)[0]
    noted = []
    for batch, index in ((64, torch.arange(64)), (1, torch.arange(64)), (7, torch.arange(64)), (7, order), (64, order)):
        attack = Drawing()
        under_attack(model, data.take(index), attack, batch=batch)
        noted.append(attack.drawn)
    assert all(one == noted[0] for one in noted)
    assert len(noted[0]) == 22 * 2 + 42 * 6
    assert len(set(noted[0].values())) == len(noted[0])


def test_waiting_images_enter_while_others_are_at_other_iterations():
    model, data = double(64)
    attack = Drawing()
    under_attack(model, data, attack, batch=7)
    assert max(len(steps) for steps in attack.together) >= 2
    in_lockstep = -(-64 // 7) * 6
    assert len(attack.together) < in_lockstep


def test_an_images_noise_is_keyed_by_seed_and_by_its_place_in_the_source_file():
    model = smooth(seed=1)
    data = split(64, model, seed=1)
    attack = PGD(Linf(0.3), steps=0)
    first = under_attack(model, data, attack).correct
    assert torch.equal(under_attack(model, data, attack).correct, first)
    assert not torch.equal(under_attack(model, data, attack, seed=1).correct, first)
    elsewhere = Split(data.images, data.labels, data.classes, data.indices + 64, data.origin)
    assert not torch.equal(under_attack(model, elsewhere, attack).correct, first)


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Split]:
    """A small float32 network after a few steps of training, and the 500 test images of digits."""
    train, test = Digits().load()
    model = small_cnn(6).build(10, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    order = Noise.of_batch(1, purpose="training").permutation(len(train))[0]
    for index in (*order.split(64), *order.flip(0).split(64)):
        loss = nn.functional.cross_entropy(model(train.x(index)), train.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval(), test


@pytest.mark.parametrize(
    "attack",
    [
        PGD(Linf(0.015), steps=5),
        APGD(Linf(0.015), steps=6),
        Targeted(FAB(Linf(0.015), steps=3), classes=2),
        Square(Linf(0.015), queries=40),
    ],
    ids=["pgd", "apgd", "fab-t", "square"],
)
def test_in_float32_at_most_two_verdicts_in_a_thousand_differ(attack, trained):
    model, data = trained
    expected = under_attack(model, data, attack, batch=64)
    assert len(data) == 500
    assert 50 < int(expected.correct.sum()) < int(classify(model, data).correct.sum()) - 25
    order = Noise.of_batch(1, purpose="order").permutation(500)[0]
    for batch, index in ((7, torch.arange(500)), (250, order)):
        again = under_attack(model, data.take(index), attack, batch=batch).correct
        assert int((again != expected.correct[index]).sum()) <= 1


# the judge: who leaves when


def test_judging_at_any_iterate_finds_whatever_the_last_finds_and_more():
    model = smooth(seed=4)
    data = split(300, model, seed=4)
    attack = PGD(Linf(0.15), steps=6, step_size=0.3, loss=Margin())  # steps over the ball: goes to and fro
    last, always = (under_attack(model, data, attack, judge=judge).correct for judge in ("last", "any"))
    assert not (always & ~last).any()
    assert int(always.sum()) < int(last.sum())
    # the verdict at the last iterate is that on the images the attack hands back
    noise = Noise(0, data.indices, purpose="evaluation")
    x_adv = attack(model, data.x(), data.labels, noise)
    assert torch.equal(last, predicted(model, x_adv) == data.labels)
    # and that at any is that on every iterate
    state = attack.start(model, data.x(), data.labels, noise)
    broken = torch.zeros(300, dtype=torch.bool)
    for _ in range(6):
        state = attack.advance(model, data.x(), data.labels, state)
        broken |= predicted(model, state.x_adv) != data.labels
    assert torch.equal(always, ~broken)


def test_judging_at_any_iterate_sees_the_start():
    model = linear()
    data = split(400, model, 2)
    started = under_attack(model, data, PGD(Linf(0.2), steps=0)).correct
    one_step = PGD(Linf(0.2), steps=1, step_size=0.0)
    assert 0 < int(started.sum()) < len(data)
    assert torch.equal(under_attack(model, data, one_step, judge="any").correct, started)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_judged_at_the_last_iterate_nobody_leaves_early(batch):
    model, data = double()
    attack = PGD(Linf(0.2), steps=5)
    last, always = (under_attack(model, data, attack, judge=judge, batch=batch) for judge in ("last", "any"))
    assert int(last.correct.sum()) < 32
    assert (last.forwards, last.backwards) == (64 * 6, 64 * 5)
    assert always.backwards < 64 * 4


STOPPING = {name: attack for name, attack in STREAMED.items() if attack.stops_at_success}


@pytest.mark.parametrize("attack", STOPPING.values(), ids=STOPPING.keys())
def test_an_attack_that_stops_at_success_leaves_when_it_stops_under_both_judges(attack):
    model, data = double()
    last, always = (under_attack(model, data, attack, judge=judge, batch=7, keep=True) for judge in ("last", "any"))
    assert torch.equal(last.correct, always.correct)
    assert torch.equal(last.x_adv, always.x_adv)
    assert (last.forwards, last.backwards) == (always.forwards, always.backwards)
    # called by hand it stops at the same images
    x_adv = attack(model, data.x(), data.labels, Noise(0, data.indices, purpose="evaluation"))
    assert torch.equal(predicted(model, x_adv) == data.labels, last.correct)
    torch.testing.assert_close(x_adv[~last.correct], last.x_adv[~last.correct], rtol=0, atol=1e-6)
    # and what it broke costs less than what it did not
    easy, hard = (data.take(chosen) for chosen in (~last.correct, last.correct))
    costs = [under_attack(model, some, attack).forwards / len(some) for some in (easy, hard)]
    assert costs[0] < costs[1]


def test_an_attack_that_goes_on_beyond_its_iterations_is_ended():
    class Endless(PGD):
        """Never done by its own account."""

        def advance(self, f, x, target, state):
            state = super().advance(f, x, target, state)
            return dataclasses.replace(state, done=torch.zeros_like(state.done))

    model, data = double(20)
    expected = under_attack(model, data, PGD(INF, steps=3))
    outcome = under_attack(model, data, Endless(INF, steps=3), batch=6)
    assert torch.equal(outcome.correct, expected.correct)
    assert outcome.backwards == 60


def test_the_batch_shown_to_the_network_is_never_larger_than_asked_for():
    sizes = []

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return x.flatten(1)[:, :4]

    data = split(50, classes=4)
    for attack in (PGD(INF, steps=3), NATTACK(INF, steps=2, population=4), APGD(INF, steps=3), Square(INF, queries=4)):
        for judge in ("last", "any"):
            under_attack(Watched(), data, attack, judge=judge, batch=12)
    assert max(sizes) == 12


def test_counting_counts_images_and_those_with_a_gradient():
    counted = Counted(smooth())
    x = images(5)
    counted(x)
    with torch.no_grad():
        counted(x.clone().requires_grad_())
    counted(images(3).requires_grad_())
    assert (counted.forwards, counted.backwards) == (13, 3)


# what counts as broken


def test_the_verdict_of_a_network_in_bfloat16_is_that_of_the_same_in_float32():
    model, data = classifier(), split(400, seed=5)
    with torch.no_grad():  # no class leads by much on average: some images stand close to a boundary
        model.linear.bias -= model(data.x()).mean(0)
    expected = classify(model, data).correct
    model.autocast = torch.bfloat16
    with torch.no_grad():
        assert not torch.equal(model(data.x()).argmax(1) == data.labels, expected)
    assert torch.equal(classify(model, data).correct, expected)
    assert torch.equal(verdict(Counted(model), data.x(), data.labels), expected)


@pytest.mark.parametrize("attack", [PGD(INF, steps=4), APGD(INF, steps=6), FAB(INF, steps=4), Square(INF, queries=20)])
def test_what_was_crafted_in_bfloat16_breaks_the_network_in_float32(attack):
    model = close(100)
    data = split(100, model, 5, seed=1)
    model.autocast = torch.bfloat16
    outcome = under_attack(model, data, attack, judge="any", keep=True)
    assert 0 < int(outcome.correct.sum()) < 100
    model.autocast = None
    assert torch.equal(predicted(model, outcome.x_adv) == data.labels, outcome.correct)


def test_a_network_in_training_mode_is_attacked_and_judged_in_evaluation_mode():
    model = close(40)
    data = split(40, model, 5, seed=1)
    expected = under_attack(model, data, PGD(INF, steps=3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    outcome = under_attack(model.train(), data, PGD(INF, steps=3))
    assert torch.equal(outcome.correct, expected.correct)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_callers_own_autocast_does_not_reach_the_verdicts():
    seen = []

    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return x.flatten(1)[:, :2]

    with torch.autocast("cpu", torch.bfloat16):
        verdict(Plain(), images(2), labels(2, 2))
    assert seen == [False]


def test_a_success_that_only_the_lower_precision_sees_does_not_end_the_attack():
    class Lying(NATTACK):
        """Stops after its first update, whether it has broken the image or not."""

        def advance(self, f, x, target, state):
            state = super().advance(f, x, target, state)
            state.done |= state.step == 1
            return state

    model = linear()
    data = split_of(images(40, low=0.35, high=0.65), labels(40, 2), 2)
    data = split_of(data.x(), predicted(model, data.x()), 2)
    settings = {"steps": 30, "population": 20, "learning_rate": 0.2, "test_every": 1}
    honest = under_attack(model, data, NATTACK(Linf(0.05), **settings))
    assert 0 < int(honest.correct.sum()) < 40
    assert torch.equal(under_attack(model, data, Lying(Linf(0.05), **settings)).correct, honest.correct)


class Forger(Iterative):
    """Claims success at once, with an image of its own making; makes another each iteration."""

    ball, iterations, summary, stops_at_success = Linf(0.1), 3, "forger", True

    def __init__(self, forge) -> None:
        self.forge = forge

    def start(self, f, x, target, noise) -> State:
        zero = torch.zeros(len(x), dtype=torch.int64)
        return State(self.forge(x, zero), zero == 0, zero)

    def advance(self, f, x, target, state) -> State:
        step = state.step + 1
        return State(self.forge(x, step), step > 0, step)


def brightness() -> tuple[nn.Module, Split]:
    """Calls an image bright whose mean is above 1/2; eight dark and eight bright ones."""

    class Bright(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mean = x.mean((1, 2, 3))
            return torch.stack([1 - mean, mean], 1)

    x = torch.cat([torch.full((8, 1, 4, 4), 0.45), torch.full((8, 1, 4, 4), 0.55)])
    return Bright(), split_of(x, torch.arange(16) // 8, 2)


@pytest.mark.parametrize(
    ("forge", "illegal"),
    [
        (lambda x, step: x, 0),  # no success at all
        (lambda x, step: 1 - x * 0.4 / 0.55, 8),  # a distance of 0.2 and more: breaks the dark ones
        (lambda x, step: x + 0.1 + 1e-5, 8),
        (lambda x, step: torch.where(x < 0.5, x + 0.15, x), 8),
    ],
    ids=["a lie", "far away", "just outside", "half of them"],
)
@pytest.mark.parametrize("judge", ["last", "any"])
def test_a_claim_outside_the_ball_counts_as_illegal_and_not_as_broken(forge, illegal, judge):
    model, data = brightness()
    outcome = under_attack(model, data, Forger(forge), judge=judge, batch=5, keep=True)
    assert bool(outcome.correct.all())
    assert outcome.illegal == illegal
    assert torch.equal(outcome.x_adv, data.x())


@pytest.mark.parametrize("outside", [-1e-3, 1 + 1e-3])
def test_a_claim_outside_the_range_of_pixels_is_illegal_even_within_the_ball(outside):
    model, data = brightness()

    def forge(x: Tensor, step: Tensor) -> Tensor:
        x_adv = 1 - x
        x_adv[:, 0, 0, 0] = outside
        return x_adv

    attack = Forger(forge)
    attack.ball = Linf(1.0)
    outcome = under_attack(model, data, attack)
    assert (int(outcome.correct.sum()), outcome.illegal) == (16, 16)


def test_an_illegal_claim_does_not_keep_a_later_legal_one_from_counting():
    model, data = brightness()

    def forge(x: Tensor, step: Tensor) -> Tensor:
        return torch.where(step.view(-1, 1, 1, 1) < 2, 1 - 2 * (x - 0.5) - x, 1 - x - 0.001 * (x - 0.5).sign())

    attack = Forger(forge)
    attack.ball = Linf(0.12)
    outcome = under_attack(model, data, attack, batch=5, keep=True)
    assert int(outcome.correct.sum()) == 0
    assert outcome.illegal == 16
    assert float((outcome.x_adv - data.x()).abs().max()) <= 0.12


def test_an_image_at_the_very_radius_is_legal():
    model, data = brightness()
    attack = Forger(lambda x, step: (x + 0.1 * (0.5 - x).sign()).float())
    outcome = under_attack(model, data, attack)
    assert (int(outcome.correct.sum()), outcome.illegal) == (0, 0)


class Astray(PGD):
    """An attack that turns the images into no numbers."""

    def advance(self, f, x, target, state):
        state = super().advance(f, x, target, state)
        state.x_adv[3:] = self.momentum
        return state


@pytest.mark.parametrize("judge", ["last", "any"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_attack_that_gives_no_numbers_has_failed_and_broken_nothing(judge, value):
    model = linear()
    data = split(8, model, 2)
    attack = Astray(Linf(0.0), steps=2)
    object.__setattr__(attack, "momentum", value)
    with pytest.raises(FailedError, match="ended in NaN or infinite pixels"):
        under_attack(model, data, attack, judge=judge)


@pytest.mark.parametrize("batch", [1, 7, 250])
def test_an_attack_that_couples_images_sees_the_same_groups_whatever_the_batch(batch):
    model, data = double(130)
    attack, seen = FeatureScatter(INF, steps=1), []

    def watched(x):
        seen.append(len(x))
        return model(x)

    outcome = under_attack(watched, data, attack, classify(model, data).correct, batch=batch)
    assert set(seen[:-1]) <= {100, 30} | set(range(batch + 1))
    groups = torch.arange(130).split(100)
    noise = Noise(0, data.indices, purpose="evaluation")
    by_hand = torch.cat([attack(model, data.x(of), data.labels[of], noise[of]) for of in groups])
    assert torch.equal(outcome.correct, verdict(model, data.x(), data.labels) & verdict(model, by_hand, data.labels))


# stages side by side


SIDE_BY_SIDE = {name: STREAMED[name] for name in ("apgd-t", "fab-t", "restarts", "worst")}


@pytest.mark.parametrize("attack", SIDE_BY_SIDE.values(), ids=SIDE_BY_SIDE.keys())
@pytest.mark.parametrize("judge", ["last", "any"])
def test_stages_side_by_side_give_the_verdicts_of_one_after_another(attack, judge):
    model, data = double()
    apart = under_attack(model, data, attack, judge=judge, keep=True)
    for batch in (1, 7, 64, 500):
        together = under_attack(model, data, attack, judge=judge, batch=batch)
        assert torch.equal(together.correct, apart.correct)
        assert together.after[-1] == apart.after[-1]
        assert len(together.after) == len(apart.after)
        if batch == 1:  # no room for two places: the very same passes
            assert together.backwards == apart.backwards
            asks_ahead = any(isinstance(stage, Square) for stage in attack.stages)
            assert asks_ahead or together.forwards == apart.forwards


@pytest.mark.parametrize("kind", ["targeted", "restarts"])
def test_stages_side_by_side_need_as_many_batches_as_one_of_them(kind):
    model, data = double(16)
    tiny = Linf(1e-6)  # breaks nothing
    one = {"targeted": APGD(tiny, steps=6, loss=TargetedDLR()), "restarts": PGD(tiny, steps=6)}[kind]
    attack = Targeted(one, classes=4) if kind == "targeted" else Restarts(one, 4)
    calls = Counter()

    def watched(x):
        calls["gradient" if x.requires_grad else "verdict"] += 1
        return model(x)

    correct = classify(model, data).correct
    under_attack(watched, data, attack, correct, batch=4 * 16)
    together = calls["gradient"]
    calls.clear()
    under_attack(watched, data, attack, correct, batch=16)
    assert together < calls["gradient"] / 2


def test_an_image_that_one_stage_breaks_leaves_its_other_places_at_once():
    model, data = double()
    attack = Targeted(APGD(Linf(0.3), steps=50, loss=TargetedDLR()), classes=4)
    correct = classify(model, data).correct
    together = under_attack(model, data, attack, correct, batch=4 * 64)
    assert not bool(together.correct.any())
    assert together.forwards < 4 * 64 * 50 / 4


def test_adversarial_images_are_kept_where_they_broke_and_are_the_images_themselves_elsewhere():
    model, data = double()
    data = dataclasses.replace(data, labels=torch.where(torch.arange(64) < 5, (data.labels + 1) % 5, data.labels))
    outcome = under_attack(model, data, APGD(INF, steps=8), batch=7, keep=True)
    correct = classify(model, data).correct
    broken = correct & ~outcome.correct
    assert 0 < int(broken.sum()) < 59
    assert outcome.x_adv.dtype == torch.float32
    assert torch.equal(outcome.x_adv[~broken], data.x()[~broken])
    assert torch.equal(predicted(model, outcome.x_adv) == data.labels, outcome.correct)
    assert float(INF.distance(outcome.x_adv, data.x()).max()) <= INF.eps
    assert under_attack(model, data, APGD(INF, steps=8)).x_adv is None


# memory that runs out


class Small(nn.Module):
    """A network in a memory that holds so many images at once, in passes with a gradient, without, or both."""

    def __init__(self, holds: int, when: str) -> None:
        super().__init__()
        self.model, self.holds, self.when, self.refused = close(40).double(), holds, when, Counter()

    def forward(self, x: Tensor) -> Tensor:
        kind = "gradient" if x.requires_grad and torch.is_grad_enabled() else "plain"
        if len(x) > self.holds and self.when in (kind, "both"):
            self.refused[len(x)] += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.model(x)


def by_hand(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """One step of another library's kind."""
    x = x.clone().requires_grad_()
    gradient = torch.autograd.grad(nn.functional.cross_entropy(network(x), y, reduction="sum"), x)[0]
    return (x + 0.1 * gradient.sign()).clamp(0, 1).detach()


@pytest.mark.parametrize("when", ["gradient", "plain", "both"])
@pytest.mark.parametrize("holds", [1, 5])
@pytest.mark.parametrize(
    "attack",
    [
        PGD(INF, steps=3),  # needs its memory in advance and in the verdict
        APGD(INF, steps=4),  # in start, with a gradient
        Square(INF, queries=6),  # in start, without
        Worst((PGD(Linf(0.05), steps=2), FAB(Linf(0.05), steps=3))),
        Foreign(by_hand, INF),
    ],
    ids=["pgd", "apgd", "square", "worst", "foreign"],
)
def test_where_memory_runs_out_the_batch_is_halved_and_the_result_is_the_same(attack, holds, when):
    model, data = double(40)
    expected = under_attack(model, data, attack, judge="any", keep=True)
    assert 0 < int(expected.correct.sum()) < 40
    small = Small(holds, when)
    outcome = under_attack(small, data, attack, judge="any", batch=32, keep=True)
    assert torch.equal(outcome.correct, expected.correct)
    torch.testing.assert_close(outcome.x_adv, expected.x_adv, rtol=0, atol=1e-6)
    # each size fails once while attacking (and once more where the images were classified before): it is not tried again
    assert all(times <= 2 for times in small.refused.values())


def test_the_room_of_an_attack_that_makes_copies_counts_these():
    model, data = double(40)
    attack = NATTACK(INF, steps=4, population=4, test_every=1, learning_rate=0.2)
    expected = under_attack(model, data, attack)
    small = Small(9, "plain")
    assert torch.equal(under_attack(small, data, attack, batch=64).correct, expected.correct)
    # classified; then, with four members an image, tested and updated, until two images are left at a time
    assert small.refused == {40: 1, 20: 1, 10: 1, 16: 2, 32: 1}


def test_memory_that_does_not_hold_one_image_is_told_of():
    _, data = double(8)
    for when in ("gradient", "plain"):
        with pytest.raises(FailedError, match="does not hold one image's attack"):
            under_attack(Small(0, when), data, PGD(INF, steps=1))
