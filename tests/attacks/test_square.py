"""Square: step by step against AutoAttack's on the same random numbers, its squares, and streams of images."""

from collections import deque

import pytest
import torch
from pyautoattack.square import SquareAttack

from hardy.attacks import L2, PGD, Linf
from hardy.attacks.square import _AHEAD, Square, SquareState, _offsets, _patterns
from hardy.errors import UsageError
from hardy.evaluation.stream import Counted
from hardy.randomness import Noise
from toys import Linear, images, labels, linear, predicted, smooth, worst_linf

BALLS = [Linf(0.06), L2(0.6)]


def run(attack: Square, f, x: torch.Tensor, y: torch.Tensor, noise: Noise | None = None) -> SquareState:
    """All iterations; the last state."""
    state = attack.start(f, x, y, Noise.of_batch(len(x)) if noise is None else noise)
    for _ in range(attack.iterations):
        state = attack.advance(f, x, y, state)
    return state


def random_model(shape, seed: int, classes: int = 4):
    return smooth(classes, shape, seed, torch.float64)


# against AutoAttack


def reference(attack: Square, f, **settings) -> SquareAttack:
    norm = type(attack.ball).__name__
    return SquareAttack(f, norm, attack.queries, attack.ball.eps, attack.p_init, device="cpu", **settings)


def replayed(attack: Square, noise: Noise, shape) -> deque:
    """Our random numbers for one image, in [0, 1), in the order in which AutoAttack draws its own."""
    c, h, w = shape
    queue: deque = deque()
    if isinstance(attack.ball, L2):
        side = h // 5
        squares = noise.draw(0).bits(((h // side) * (w // side), 1 + c))[0] / 2**32
        for square in squares:
            queue += [square[:1], square[1:].view(1, c, 1, 1)]
    else:
        queue.append(noise.draw(0).bits((c, 1, w)) / 2**32)
    placed = 5 if isinstance(attack.ball, L2) else 2
    for step in range(attack.queries):
        words = noise.draw(1 + step // _AHEAD).bits((_AHEAD, placed + c))[0, step % _AHEAD] / 2**32
        queue += [*words[:placed, None], words[placed:].view((1, c, 1, 1) if placed == 5 else (c, 1, 1))]
    return queue


@pytest.mark.parametrize("ball", BALLS, ids=str)
@pytest.mark.parametrize(("shape", "seed"), [((3, 10, 10), 0), ((3, 10, 10), 1), ((1, 15, 15), 2), ((2, 11, 11), 3)])
@pytest.mark.parametrize("schedule", ["fixed", "rescaled"])
def test_on_the_same_random_numbers_it_is_autoattacks(monkeypatch, ball, shape, seed, schedule):
    model, x = random_model(shape, seed), images(2, shape, seed, torch.float64, 0.1, 0.9)
    y = predicted(model, x)
    attack = Square(ball, queries=70, schedule=schedule)
    # projections without the slack that keeps images in the ball to the last bit
    monkeypatch.setattr("hardy.attacks.balls._ROUNDING", 0.0)
    monkeypatch.setattr("hardy.attacks.balls._NORM_ROUNDING", 0.0)
    noise = Noise(seed, torch.tensor([4, 17]), purpose="evaluation")
    ours = run(attack, model, x, y, noise)
    for i in range(2):
        queue = replayed(attack, noise[i : i + 1], shape)
        with monkeypatch.context() as patched:
            patched.setattr(torch, "rand", lambda size, queue=queue: queue.popleft().double().expand(list(size)))
            theirs = reference(attack, model, resc_schedule=schedule == "rescaled")
            theirs.init_hyperparam(x)
            queries, x_adv = theirs.attack_single_run(x[i : i + 1].clone(), y[i : i + 1])
            with torch.no_grad():
                margin = theirs.margin_and_loss(x_adv, y[i : i + 1])[0]
        assert torch.allclose(ours.x_adv[i], x_adv[0], atol=5e-6)
        assert float(ours.margin[i]) == pytest.approx(float(margin), abs=1e-4)
        assert float((ours.x_adv[i] - x[i]).abs().max()) > 0.01
        assert int(queries) == int(ours.step[i]) + 1
        assert (len(queue) == 0) == (int(queries) == 71)


@pytest.mark.parametrize("ball", [Linf(0.06), L2(3.0)], ids=str)
def test_it_stops_at_the_query_at_which_autoattack_stops(monkeypatch, ball):
    shape = (3, 10, 10)
    stopped = []
    for seed in (1, 5, 6):
        model, x = random_model(shape, seed), images(1, shape, seed, torch.float64, 0.4, 0.6)
        y, noise = predicted(model, x), Noise.of_batch(1, seed)
        attack = Square(ball, queries=60)
        queue = replayed(attack, noise, shape)
        with monkeypatch.context() as patched:
            patched.setattr(torch, "rand", lambda size, queue=queue: queue.popleft().double().expand(list(size)))
            theirs = reference(attack, model, resc_schedule=False)
            theirs.init_hyperparam(x)
            queries, _ = theirs.attack_single_run(x, y)
        ours = run(attack, model, x, y, noise)
        assert int(ours.step) + 1 == int(queries)
        stopped.append(int(queries))
    assert 1 < min(stopped) < 60  # it mattered


@pytest.mark.parametrize("queries", [1, 37, 1000, 5000, 10000, 12000])
@pytest.mark.parametrize("schedule", ["fixed", "rescaled"])
def test_the_schedule_is_autoattacks(queries, schedule):
    attack = Square(queries=queries, schedule=schedule)
    theirs = reference(attack, None, resc_schedule=schedule == "rescaled")
    assert [attack.share(t) for t in range(queries)] == [theirs.p_selection(t) for t in range(queries)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 9, 12, 29])
def test_the_patterns_are_autoattacks(monkeypatch, size):
    theirs = reference(Square(L2(1.0)), None)
    for direction in (0, 1):
        monkeypatch.setattr(torch, "rand", lambda shape, d=direction: torch.full(shape, 0.25 + 0.5 * d))
        got = _patterns((size,), torch.device("cpu"), torch.float32)[direction]
        assert torch.allclose(got, theirs.eta(size), atol=1e-6)
        assert float(got.square().sum()) == pytest.approx(1, abs=1e-5)


def test_a_table_of_patterns_holds_each_size_in_its_corner():
    table = _patterns((3, 7), torch.device("cpu"), torch.float32)
    assert torch.equal(table[:2, :3, :3], _patterns((3,), torch.device("cpu"), torch.float32))
    assert torch.equal(table[2:], _patterns((7,), torch.device("cpu"), torch.float32))
    assert not table[:2, 3:].any()
    assert not table[:2, :, 3:].any()


def test_the_sides_of_the_squares_on_cifar_images():
    # sqrt(p * 1024) with p = 0.8, 0.4, ... 0.0015625, rounded
    steps = [0, 11, 51, 201, 501, 1001, 2001, 4001]
    assert [Square().side(t, 32, 32) for t in steps] == [29, 20, 14, 10, 7, 5, 4, 3]
    assert [Square(L2(0.5)).side(t, 32, 32) for t in steps] == [29, 21, 15, 11, 7, 5, 5, 3]
    assert Square(L2(0.5)).side(0, 4, 4) == 4
    assert Square().side(4999, 8, 8) == 1


# what is proposed


def proposals(attack: Square, x: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(start, `count` proposals from there, one for each of as many copies of an image) of images that never improve."""
    shown = []

    def f(z: torch.Tensor) -> torch.Tensor:
        shown.append(z)
        return torch.tensor([1.0, 0.0]).expand(len(z), 2)

    many = x.expand(count, *x.shape[1:])
    y = torch.zeros(count, dtype=torch.int64)
    attack.advance(f, many, y, attack.start(f, many, y, Noise.of_batch(count)))
    return shown[0], shown[1]


def test_the_linf_start_is_vertical_stripes_with_even_odds():
    x = torch.full((1, 3, 6, 8), 0.5)
    start, _ = proposals(Square(Linf(0.1)), x, 400)
    offset = start - 0.5
    assert torch.allclose(offset.abs(), torch.full_like(offset, 0.1), atol=1e-6)
    assert torch.equal(offset, offset[:, :, :1].expand_as(offset))
    up = (offset[:, :, 0] > 0).float()
    assert float((up.mean(0) - 0.5).abs().max()) < 4 * 0.5 / 400**0.5
    assert float(torch.corrcoef(up.flatten(1).T).fill_diagonal_(0).abs().max()) < 4.5 / 400**0.5


def test_linf_squares_are_uniform_in_place_and_sign_of_one_colour_each():
    x = torch.full((1, 3, 8, 10), 0.5)
    attack = Square(Linf(0.1), p_init=9 / 80)  # a side of 3
    n = 3000
    start, proposed = proposals(attack, x, n)
    _, far = proposals(Square(Linf(0.1), p_init=9 / 80), x, n)
    assert torch.equal(proposed, far)
    changed = (proposed != start).any(1)
    # a column's sign agrees in half of the channels' cases, so that a square shows in nearly every column
    rows, columns = changed.any(2), changed.any(1)
    assert int(rows.sum(1).max()) == 3
    assert int((columns.nonzero()[:, 1]).max()) == 8  # the last that AutoAttack reaches: 10 - 3 - 1 + 2
    top = rows.float().argmax(1)[rows.any(1)]
    assert sorted(set(top.tolist())) == [0, 1, 2, 3, 4]
    share = torch.bincount(top, minlength=5) / len(top)
    assert float((share - 0.2).abs().max()) < 4 * (0.16 / n) ** 0.5 + 0.01
    inside = (proposed - 0.5)[:, :, 4, 4][changed[:, 4, 4]] > 0
    assert float(inside.float().mean()) == pytest.approx(0.5, abs=0.06)


def test_squares_of_images_at_different_iterations_have_each_its_own_side():
    x = images(3, (3, 8, 8))
    row, column = _offsets(torch.zeros(3, 2, dtype=torch.int64), torch.tensor([1, 4, 8]), x)
    assert torch.equal(row, torch.arange(8).expand(3, 8))
    assert torch.equal(column, row)
    row, _ = _offsets(torch.full((3, 2), 2**32 - 1), torch.tensor([1, 4, 8]), x)
    assert (-row[:, 0]).tolist() == [6, 3, 0]


@pytest.mark.parametrize("ball", [*BALLS, Linf(0.0), L2(0.0)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_that_is_shown_to_the_network_is_in_the_ball_to_the_last_bit(ball, dtype):
    model, x = smooth(4, (3, 9, 9), dtype=dtype), images(6, (3, 9, 9), dtype=dtype)
    x[0], x[1] = 0, 1
    shown = []

    def f(z: torch.Tensor) -> torch.Tensor:
        shown.append(z)
        return model(z)

    y = predicted(model, x)
    attack = Square(ball, queries=40, p_init=0.3)
    x_adv = attack(f, x, y)
    assert float(x_adv.min()) >= 0
    assert float(x_adv.max()) <= 1
    whole = [z for z in [x_adv, *shown] if len(z) == len(x)]
    for z in whole:
        distance = ball.distance(z.double(), x.double())
        assert float(distance.max()) <= ball.eps
    assert len(whole) > 1


def test_l2_proposals_use_the_whole_radius():
    x = torch.full((1, 3, 10, 10), 0.5)
    start, proposed = proposals(Square(L2(0.4)), x, 50)
    for z in (start, proposed):
        assert torch.allclose(L2(0.4).distance(z, x.expand_as(z)), torch.full((50,), 0.4), atol=1e-5)
    assert bool((start != proposed).flatten(1).any(1).all())


# what it finds


def test_it_breaks_the_images_of_a_linear_model_that_can_be_broken_easily_and_no_others():
    model, x = linear(shape=(1, 5, 5), seed=3), images(40, (1, 5, 5), seed=3, low=0.2, high=0.8)
    y = predicted(model, x)
    x_adv = Square(Linf(0.1), queries=300, schedule="rescaled")(model, x, y)
    broken = model.margin(x_adv, y) < 0
    possible = model.margin(worst_linf(model, x, y, 0.1), y) < 0
    assert not (broken & ~possible).any()
    easy = model.margin(worst_linf(model, x, y, 0.02), y) < 0
    assert bool(easy.any())
    assert bool(broken[easy].all())


def test_the_margin_never_rises_and_is_that_of_the_image():
    model, x = smooth(4, (3, 8, 8), 2), images(8, (3, 8, 8))
    y = predicted(model, x)
    attack = Square(Linf(0.01), queries=50)
    state = attack.start(model, x, y, Noise.of_batch(8))
    first = state.margin
    for _ in range(50):
        after = attack.advance(model, x, y, state)
        assert bool((after.margin <= state.margin).all() | state.done.any())
        state = after
    logits = model(state.x_adv)
    rest = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    assert torch.allclose(logits.gather(1, y[:, None])[:, 0] - rest, state.margin, atol=1e-4)
    assert bool((state.margin < first).any())


def test_broken_images_stop_at_once_and_stay():
    model, x = smooth(4, (3, 8, 8)), images(6, (3, 8, 8))
    y = predicted(model, x)
    y[[1, 4]] = (y[[1, 4]] + 1) % 4
    attack = Square(Linf(0.001), queries=20)
    state = attack.start(model, x, y, Noise.of_batch(6))
    assert state.done[[1, 4]].all()
    assert not state.done.all()
    last = state
    for _ in range(20):
        last = attack.advance(model, x, y, last)
    assert torch.equal(last.x_adv[[1, 4]], state.x_adv[[1, 4]])
    assert last.step[[1, 4]].tolist() == [0, 0]
    assert last.done.all()


def test_a_batch_that_is_misclassified_already_is_done_at_once():
    model, x = smooth(4, (3, 8, 8)), images(5, (3, 8, 8))
    y = (predicted(model, x) + 1) % 4
    shown = 0

    def f(z: torch.Tensor) -> torch.Tensor:
        nonlocal shown
        shown += len(z)
        return model(z)

    x_adv = Square(Linf(0.001))(f, x, y)
    assert shown == 5
    assert bool((predicted(model, x_adv) != y).all())


def test_an_image_whose_success_is_denied_goes_on():
    model, x = smooth(4, (3, 8, 8)), images(4, (3, 8, 8))
    y = (predicted(model, x) + 1) % 4
    attack = Square(Linf(0.001), queries=20)
    state = attack.start(model, x, y, Noise.of_batch(4))
    state.done = torch.zeros_like(state.done)
    after = attack.advance(model, x, y, state)
    assert after.step.tolist() == [1] * 4
    assert bool((after.x_adv != state.x_adv).flatten(1).any(1).all())


def test_a_point_exactly_on_the_boundary_is_searched_on():
    x, y = images(2, (1, 6, 6)), torch.tensor([0, 1])
    state = run(Square(queries=5), lambda z: torch.zeros(len(z), 2), x, y)
    assert state.step.tolist() == [5, 0]  # the first of two equal logits is the class


def test_an_image_costs_its_start_and_a_query_an_iteration():
    shown = 0

    def f(z: torch.Tensor) -> torch.Tensor:
        nonlocal shown
        shown += len(z)
        assert not torch.is_grad_enabled()
        return torch.tensor([1.0, 0.0]).expand(len(z), 2)

    Square(queries=70)(f, images(3), torch.zeros(3, dtype=torch.int64))
    assert shown == 3 * 71


def test_towards_a_class_the_margin_to_that_class_falls():
    model, x = smooth(4, (3, 8, 8), 1), images(6, (3, 8, 8))
    y = predicted(model, x)
    with torch.no_grad():
        least = model(x).argmin(1)
    pairs = torch.stack([y, least], 1)
    attack = Square(Linf(0.02), queries=40)

    def behind(z: torch.Tensor) -> torch.Tensor:
        logits = model(z).detach()
        return logits.amax(1) - logits.gather(1, least[:, None])[:, 0]

    state = run(attack, model, x, pairs)
    left = state.step == 40
    assert bool(left.any())
    assert bool((behind(state.x_adv) < behind(x))[left].all())


# streams


def streamed(attack: Square, model, x, y, noise: Noise, room: int, order: list[int]) -> torch.Tensor:
    """x_adv of every image, which enter a batch of `room` in this order as others leave."""
    waiting, inside, state, found = list(order), [], None, {}
    while waiting or inside:
        if len(inside) < room and waiting:
            new = waiting[: room - len(inside)]
            waiting = waiting[len(new) :]
            fresh = attack.start(model, x[new], y[new], noise[torch.tensor(new)])
            state = fresh if state is None or not inside else type(state).cat([state, fresh])
            inside += new
        found |= {i: state.x_adv[k] for k, i in enumerate(inside) if state.done[k]}
        left = (~state.done).nonzero().squeeze(1)
        inside, state = [inside[k] for k in left.tolist()], state.select(left)
        if inside:
            state = attack.advance(model, x[inside], y[inside], state)
    return torch.stack([found[i] for i in range(len(x))])


@pytest.mark.parametrize("ball", BALLS, ids=str)
@pytest.mark.parametrize(("room", "turned"), [(1, False), (3, True), (5, False), (64, True)])
def test_an_image_is_attacked_alike_whenever_and_beside_whomever_it_enters(ball, room, turned):
    model, x = random_model((2, 7, 7), 5), images(9, (2, 7, 7), dtype=torch.float64)
    y, noise = predicted(model, x), Noise(3, torch.arange(9) + 40, purpose="evaluation")
    attack = Square(type(ball)(ball.eps / 2), queries=45)
    expected = attack(model, x, y, noise)
    order = list(range(9))[:: -1 if turned else 1]
    assert torch.allclose(streamed(attack, model, x, y, noise, room, order), expected, atol=1e-9)
    assert 0 < int((predicted(model, expected) != y).sum()) < 9


def test_an_empty_state_moves_nowhere():
    model, x, y = smooth(), images(0), labels(0)
    attack = Square(queries=3)
    state = attack.start(model, x, y, Noise.of_batch(0))
    assert attack.advance(model, x, y, state).x_adv.shape == x.shape


# images of any kind


@pytest.mark.parametrize("ball", BALLS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 9), (1, 2, 3), (3, 4, 4), (1, 14, 14), (3, 12, 7), (2, 6, 20)])
def test_images_of_any_shape_are_attacked(ball, shape):
    model, x = smooth(4, shape), images(4, shape, low=0.3, high=0.7)
    x_adv = Square(ball, queries=25)(model, x, predicted(model, x))
    assert bool(x_adv.isfinite().all())
    assert bool((x_adv != x).flatten(1).any(1).all())
    assert float(ball.distance(x_adv, x).max()) <= ball.eps


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_memory_layout_does_not_matter(ball):
    model, x = random_model((3, 8, 8), 1), images(5, (3, 8, 8), dtype=torch.float64)
    y, attack = predicted(model, x), Square(ball, queries=30)
    expected = attack(model, x, y)
    assert torch.allclose(attack(model, x.to(memory_format=torch.channels_last), y), expected, atol=1e-9)
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.allclose(attack(model, turned, y), expected, atol=1e-9)


def test_logits_that_are_not_numbers_are_never_kept():
    model, x = linear(shape=(1, 6, 6)), images(8, (1, 6, 6))
    y = predicted(model, x)
    holes = lambda z: torch.where((z[:, :1, 0, 0] * 255).long() % 3 == 0, torch.nan, model(z))  # noqa: E731
    state = run(Square(Linf(0.1), queries=40), holes, x, y)
    assert bool(state.x_adv.isfinite().all())
    assert bool(state.margin.isfinite().any())
    known = state.margin.isfinite()
    assert bool(holes(state.x_adv[known]).isfinite().all())


def test_no_queries_hand_back_the_start():
    model = Linear(torch.zeros(2, 1, 4, 4), torch.tensor([1.0, 0.0]))
    x, y = images(3, low=0.3, high=0.7), torch.zeros(3, dtype=torch.int64)
    x_adv = Square(Linf(0.1), queries=0)(model, x, y)
    assert torch.allclose((x_adv - x).abs(), torch.full_like(x, 0.1), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"queries": -1}, "queries is -1; it must be at least 0"),
        ({"p_init": 0.0}, r"p_init is 0\.0; it must be in \(0, 1\]"),
        ({"p_init": 1.5}, r"p_init is 1\.5"),
        ({"schedule": "other"}, "schedule is 'other'"),
        ({"ball": PGD()}, "ball is PGD"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        Square(**change)


def test_the_summary_holds_all_numbers():
    assert Square().summary == "Square, Linf 8/255, 5000 queries, p 0.8 at first, fixed schedule"
    assert Square(L2(0.5), 100, 0.3, "rescaled").summary == (
        "Square, L2 0.5, 100 queries, p 0.3 at first, rescaled schedule"
    )


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_queries_asked_at_once_are_those_asked_one_by_one(ball) -> None:
    model = random_model((3, 9, 9), 1)
    x = images(5, (3, 9, 9)).double()
    y = predicted(model, x)
    attack = Square(ball, 2 * _AHEAD + 11)

    def found(images: int) -> tuple[SquareState, int]:
        counted = Counted(model)
        return run(attack.filling(images), counted, x, y), counted.forwards

    (alone, queries), (together, asked) = found(5), found(200)
    assert torch.equal(alone.done, together.done)
    torch.testing.assert_close(together.x_adv, alone.x_adv, rtol=0, atol=1e-12)
    torch.testing.assert_close(together.margin, alone.margin, rtol=0, atol=1e-9)
    assert bool((alone.x_adv != x).any())
    assert queries < asked < 8 * queries
