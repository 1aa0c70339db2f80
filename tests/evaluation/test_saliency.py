import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from torch import Tensor, nn

from hardy.errors import FailedError, UsageError
from hardy.evaluation.saliency import SmoothGrad, gini, saliency_maps, scaled, smooth_gradients, top_share
from hardy.models import small_cnn
from toys import classifier, images, labels, linear, smooth, split, split_of

SHAPE = (3, 4, 4)
PLAIN = SmoothGrad(noise=0.0)


class Power(nn.Module):
    """Logits sum_j a_cj x_j^power: their gradient is power a_c x^(power - 1), pixel by pixel."""

    def __init__(self, classes: int, power: int) -> None:
        super().__init__()
        self.weight, self.power = nn.Parameter(images(classes, SHAPE, seed=5) + 0.5), power

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", x**self.power, self.weight)


def deviations(data, noise):
    """The noise's standard deviation at each image."""
    x = data.x().flatten(1)
    return noise * (x.amax(1) - x.amin(1)).view(-1, 1, 1, 1)


@pytest.mark.parametrize("noise", [0.0, 0.15, 2.0])
def test_on_a_linear_network_the_map_is_the_weights_of_the_class_whatever_the_noise(noise):
    model = linear(shape=SHAPE)
    data = split(7, classes=2, shape=SHAPE)
    maps = saliency_maps(model, data, SmoothGrad(noise, samples=9)).maps
    torch.testing.assert_close(maps, model.weight[data.labels].abs().sum(1).detach())


@pytest.mark.parametrize("power", [2, 3])
def test_on_a_power_of_the_pixels_mean_and_spread_are_those_of_the_closed_form(power):
    data, samples = split(12, classes=3, shape=SHAPE), 400
    model = Power(3, power)
    made = smooth_gradients(model, data, SmoothGrad(0.3, samples))
    x, sigma, a = data.x(), deviations(data, 0.3), model.weight[data.labels].detach()
    # g ~ N(0, sigma^2): the mean of (x + g)^k is x, or x^2 + sigma^2; its variance sigma^2, or 4 x^2 sigma^2 + 2 sigma^4
    mean, variance = (x, sigma**2) if power == 2 else (x**2 + sigma**2, 4 * x**2 * sigma**2 + 2 * sigma**4)
    z = (made - power * a * mean) / (power * a * (variance / samples).sqrt())
    n = z.numel()
    assert abs(z.mean()) < 3 / n**0.5
    assert z.square().mean() == pytest.approx(1, abs=3 * (2 / n) ** 0.5)


def test_a_flat_image_has_no_range_and_no_noise():
    data = split_of(torch.full((2, *SHAPE), 0.5), torch.tensor([0, 1]), 3)
    model = smooth(shape=SHAPE)
    made = smooth_gradients(model, data, SmoothGrad(0.5, 20))
    torch.testing.assert_close(made, smooth_gradients(model, data, PLAIN))


def test_without_noise_it_is_captums_saliency():
    model = classifier(shape=SHAPE)
    data = split(10, classes=3, shape=SHAPE)
    theirs = Saliency(model).attribute(data.x().requires_grad_(), target=data.labels)
    made = saliency_maps(model, data, SmoothGrad(0.0, samples=50))
    torch.testing.assert_close(made.maps, theirs.sum(1).detach())
    assert made.rows[0].backwards == 10  # copies that are all the same are made once


def test_with_noise_it_is_captums_smoothgrad_within_monte_carlo_error():
    model, noise, samples, repeats = smooth(shape=SHAPE), 0.15, 50, 20
    data = split(6, classes=3, shape=SHAPE)
    ours = torch.stack([smooth_gradients(model, data, SmoothGrad(noise, samples), seed=i) for i in range(repeats)])
    error = ours.std(0) * (2 / repeats) ** 0.5  # of the difference of two means over all samples

    def theirs(noise: float) -> Tensor:
        tunnel = NoiseTunnel(Saliency(model))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            of = [
                tunnel.attribute(
                    x[None].requires_grad_(), nt_type="smoothgrad", nt_samples=samples * repeats,
                    nt_samples_batch_size=500, stdevs=float(sigma), target=int(y), abs=False,
                )
                for x, sigma, y in zip(data.x(), deviations(data, noise), data.labels, strict=True)
            ]  # fmt: skip
        return torch.cat(of)

    def squares(noise: float) -> Tensor:
        return ((ours.mean(0) - theirs(noise)) / error).square().mean()

    assert 0.7 < squares(noise) < 1.5  # 1, and a little more for want of repeats
    assert squares(1.5 * noise) > 3


def test_no_map_depends_on_the_batch_or_on_the_other_images():
    model, by = smooth(shape=SHAPE), SmoothGrad(samples=7)
    data = split(9, classes=3, shape=SHAPE)
    whole = smooth_gradients(model, data, by)
    torch.testing.assert_close(smooth_gradients(model, data, by, batch=5), whole)
    some = torch.tensor([4, 1])
    torch.testing.assert_close(smooth_gradients(model, data.take(some), by), whole[some])
    assert not torch.allclose(smooth_gradients(model, data, by, seed=1), whole, rtol=1e-3)


def test_no_more_copies_than_the_batch_go_through_the_network_at_once_and_half_as_many_where_memory_runs_out():
    model, seen = smooth(shape=SHAPE), []
    data = split(3, classes=3, shape=SHAPE)

    def small(x: Tensor) -> Tensor:
        if len(x) > 8:
            raise torch.OutOfMemoryError
        seen.append(len(x))
        return model(x)

    made = smooth_gradients(small, data, SmoothGrad(samples=20), batch=30)
    assert max(seen[1:]) == 7
    torch.testing.assert_close(made, smooth_gradients(model, data, SmoothGrad(samples=20)))


def test_the_network_is_in_evaluation_mode_and_full_precision_and_comes_back_as_it_was():
    data = split(5, classes=3, shape=(1, 8, 8))
    model = small_cnn(width=2).build(3, 1)
    whole = smooth_gradients(model, data, SmoothGrad(samples=4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.autocast = torch.bfloat16
    torch.testing.assert_close(smooth_gradients(model, data, SmoothGrad(samples=4), batch=1), whole)
    assert model.training
    assert model.autocast is torch.bfloat16
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_rows_are_means_of_the_maps_with_their_intervals():
    model, told = smooth(shape=SHAPE), []
    data = split(10, classes=3, shape=SHAPE)
    made = saliency_maps(
        model, data, SmoothGrad(0.2, 3), seed=4, batch=8, run="toy", settings={"weights": "w"},
        tell=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    norms = smooth_gradients(model, data, SmoothGrad(0.2, 3), seed=4).abs().flatten(1).sum(1)
    share, index, l1 = made.rows
    assert (share.what, share.value) == ("saliency in the top 10 % of pixels", top_share(made.maps).mean().item())
    assert (index.unit, index.value) == ("Gini index", gini(made.maps).mean().item())
    assert l1.value == pytest.approx(norms.mean().item(), rel=1e-6)
    assert l1.high - l1.value == pytest.approx(1.959964 * norms.std().item() / 10**0.5, rel=1e-5)
    assert l1.settings == {
        "weights": "w", "data": "made up", "seed": 4, "maps": {"type": "SmoothGrad", "noise": 0.2, "samples": 3},
    }  # fmt: skip
    assert (l1.run, l1.n, l1.forwards, l1.backwards) == ("toy", 10, 30, 30)
    assert told == [(8, 30), (16, 30), (24, 30), (30, 30)]


@pytest.mark.parametrize(
    ("values", "index", "share"),
    [
        ([[0.0, 0.0], [0.0, 5.0]], 0.75, 1.0),
        ([[2.0, 2.0], [2.0, 2.0]], 0.0, 0.25),
        ([[0.0, 0.0], [0.0, 0.0]], 0.0, 0.25),
        ([[4.0, 1.0], [3.0, 2.0]], 0.25, 0.4),  # (-3 * 1 - 2 + 3 + 3 * 4) / (4 * 10)
    ],
)
def test_gini_index_and_share_of_the_top_pixels_by_hand(values, index, share):
    maps = torch.tensor([values])
    assert gini(maps).tolist() == pytest.approx([index])
    assert top_share(maps).tolist() == pytest.approx([share])


def test_the_top_tenth_of_20_pixels_are_2():
    assert top_share(torch.arange(1.0, 21).view(1, 4, 5)).item() == pytest.approx(39 / 210)


def test_a_map_is_scaled_by_its_own_percentile_and_cut_off():
    ramp = torch.arange(101.0).view(1, 101)
    maps = torch.stack([ramp, 1000 * ramp])
    made = scaled(maps)
    torch.testing.assert_close(made, (ramp / 99).clamp(max=1).expand(2, 1, 101))
    torch.testing.assert_close(scaled(maps, 50)[1], (ramp / 50).clamp(max=1))


def test_a_map_that_is_0_almost_everywhere_is_scaled_by_its_maximum_and_one_of_zeros_stays_black():
    maps = torch.zeros(2, 20, 20)
    maps[0, 3, 3] = 8.0
    made = scaled(maps)
    assert (made[0, 3, 3], made[0].sum(), made[1].sum()) == (1, 1, 0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SmoothGrad(noise=-0.1), r"noise is -0.1; it must be at least 0"),
        (lambda: SmoothGrad(noise=float("nan")), "noise is nan"),
        (lambda: SmoothGrad(samples=0), "samples is 0; it must be at least 1"),
        (lambda: SmoothGrad(samples=2.5), r"samples is 2.5; it must be an integer"),
        (lambda: scaled(torch.ones(1, 2, 2), 0), r"percentile is 0; it must be in \(0, 100\]"),
        (lambda: scaled(torch.ones(1, 2, 2), 101), "percentile is 101"),
        (lambda: saliency_maps(linear(), split(3, classes=2), PLAIN, batch=0), "batch is 0; it must be at least 1"),
        (lambda: saliency_maps(linear(), split(3, classes=2), PLAIN, seed=-1), r"seed is -1; it must be in \[0, 2\*\*32\)"),
        (lambda: saliency_maps(linear(), split(0, classes=2), PLAIN), "n is 0; it must be at least 1 image"),
        (lambda: saliency_maps(linear(), split(3, classes=3), PLAIN), "logits"),
        (lambda: saliency_maps(lambda x: torch.ones(len(x), 2), split(3, classes=2), PLAIN), "No gradient reaches"),
    ],
)  # fmt: skip
def test_what_has_no_map_is_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()


def test_a_gradient_that_is_no_number_makes_no_map():
    data = split_of(torch.zeros(2, 1, 4, 4), labels(2, 3), 3)
    with pytest.raises(FailedError, match="NaN or infinite around some images; there is no map"):
        saliency_maps(lambda x: x.flatten(1)[:, :3].sqrt(), data, PLAIN)  # the root's slope at 0
