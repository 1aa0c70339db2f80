import colorsys

import pytest
import torch

from hardy.data.split import Split
from hardy.errors import UsageError
from hardy.evaluation.sensitivity import brightness, gamma, gradient_norms, loss_sensitivity
from hardy.models import small_cnn
from hardy.randomness import Noise
from toys import linear


def split(n=12, channels=3, side=6, classes=2):
    noise = Noise.of_batch(n, purpose="images")
    labels = noise.derive("y").integers(classes, ())
    images = noise.integers(256, (channels, side, side)).to(torch.uint8)
    images[0, :, 0] = 0  # black
    images[1, :, 1] = 255  # white
    return Split(images, labels, tuple(map(str, range(classes))), torch.arange(n), "made for tests")


@pytest.mark.parametrize("alpha", [-0.15, 0.15, -1.0, 1.0, 0.0])
def test_brightness_shifts_the_value_in_hsv_as_the_standard_library_computes_it(alpha):
    x = split().x()
    bright = brightness(x, alpha)
    for image in range(3):
        for row in range(6):
            for column in range(6):
                h, s, v = colorsys.rgb_to_hsv(*x[image, :, row, column].double().tolist())
                wanted = colorsys.hsv_to_rgb(h, s, min(max(v + alpha, 0), 1))
                assert bright[image, :, row, column].tolist() == pytest.approx(wanted, abs=1e-6)


def test_for_one_channel_the_value_is_the_pixel():
    x = split(channels=1).x()
    torch.testing.assert_close(brightness(x, 0.15), (x + 0.15).clamp(0, 1))


def test_gamma_is_a_power():
    x = split().x()
    torch.testing.assert_close(gamma(x, 0.8), torch.from_numpy(x.numpy() ** 0.8))


def test_on_a_linear_network_the_gradient_norm_has_a_closed_form():
    data = split()
    model = linear(shape=(3, 6, 6))
    x = gamma(data.x(), 1.2)
    # the gradient of log(1 + exp(-margin)) is -sigmoid(-margin) times that of the margin
    wanted = torch.sigmoid(-model.margin(x, data.labels)) * model.direction(data.labels).flatten(1).norm(dim=1)
    torch.testing.assert_close(gradient_norms(model, data, lambda x: gamma(x, 1.2), batch=5), wanted.detach())


def test_rows_hold_the_mean_and_its_interval_for_every_shift_and_exponent():
    data = split()
    model = linear(shape=(3, 6, 6))
    rows = loss_sensitivity(model, data, shifts=(-0.15,), exponents=(0.8, 1.2), run="toy")
    assert [row.what for row in rows] == [
        f"loss sensitivity at {w}" for w in ("brightness -0.15", "gamma 0.8", "gamma 1.2")
    ]
    norms = gradient_norms(model, data, lambda x: brightness(x, -0.15)).double()
    assert rows[0].value == pytest.approx(norms.mean().item())
    assert rows[0].high - rows[0].value == pytest.approx(1.959964 * norms.std().item() / 12**0.5)
    assert (rows[0].n, rows[0].run, rows[0].unit) == (12, "toy", "gradient norm")


def test_batch_norm_is_in_evaluation_mode_whatever_the_batch_and_the_mode_comes_back():
    data = split(channels=1, side=8)
    model = small_cnn(width=2).build(2, 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole = gradient_norms(model, data, lambda x: x, batch=12)
    torch.testing.assert_close(gradient_norms(model, data, lambda x: x, batch=1), whole, rtol=1e-4, atol=1e-6)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("shifts", "exponents"), [((2.0,), ()), ((), (0.0,)), ((), (-1.0,))])
def test_a_shift_or_exponent_out_of_range_is_refused(shifts, exponents):
    with pytest.raises(UsageError, match=r"it must be"):
        loss_sensitivity(linear(shape=(3, 6, 6)), split(), shifts=shifts, exponents=exponents)


def test_what_cannot_be_measured_is_refused():
    model, data = linear(shape=(3, 6, 6)), split()
    with pytest.raises(UsageError, match="n is 0; it must be at least 1 image"):
        loss_sensitivity(model, data.take(slice(0, 0)))
    for asked, said in (
        ({"batch": 0}, "batch is 0"),
        ({"batch": 2.0}, r"batch is 2\.0"),
        ({"shifts": 0.1}, r"shifts is 0\.1"),
    ):
        with pytest.raises(UsageError, match=said):
            loss_sensitivity(model, data, **asked)
    with pytest.raises(UsageError, match="No gradient reaches the images"):
        loss_sensitivity(lambda x: model(x).detach(), data)


def test_inference_mode_outside_changes_nothing():
    model, data = linear(shape=(3, 6, 6)), split()
    expected = [row.value for row in loss_sensitivity(model, data)]
    with torch.inference_mode():
        assert [row.value for row in loss_sensitivity(model, split())] == expected
