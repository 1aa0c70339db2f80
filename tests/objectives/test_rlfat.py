"""RLFAT and RBSAT against their equations: what is shuffled, the transfer term, batch-norm passes."""

import copy

import pytest
import torch

from hardy.attacks import KL, PGD, Linf
from hardy.data.block_shuffle import block_shuffle
from hardy.errors import UsageError
from hardy.models import frozen
from hardy.objectives import RLFATP, RLFATT
from objectives.by_hand import (
    Linear,
    Scripted,
    Told,
    assert_near,
    far,
    forwards_counted,
    gradients,
    images,
    labels,
    mean_cross_entropy,
    mean_divergence,
    mean_smoothed,
    network,
    noise,
    probabilities,
    statistics,
)

either = pytest.mark.parametrize("method", [RLFATP, RLFATT])
STEP = 3  # of the noise: one whose shuffle is not the identity


def attack(method, steps: int = 3) -> PGD:
    return PGD(Linf(0.1), steps) if method is RLFATP else PGD(Linf(0.1), steps, start_at="gaussian", loss=KL())


def crafted(method, model, x, y, given):
    with frozen(model):
        return attack(method).perturb(model, x, y if method is RLFATP else probabilities(model(x)), given)


@pytest.mark.parametrize("eta", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("k", [2, 3])
def test_rlfat_p_is_cross_entropy_of_the_shuffled_plus_eta_times_the_squared_distance_to_the_whole(eta, k):
    model, x, y, given = network(), images(), labels(), noise(step=STEP)
    other = copy.deepcopy(model)
    x_adv = crafted(RLFATP, other, x, y, given)
    terms = RLFATP(attack(RLFATP), eta=eta, k=k)(model, x, y, given)
    x_shuffled = block_shuffle(x_adv, k, given.derive("rbs"))
    assert not torch.equal(x_shuffled, x_adv)
    shuffled, whole = other(x_shuffled), other(x_adv)
    torch.testing.assert_close(terms["local"], mean_cross_entropy(shuffled, y))
    if eta:
        by_hand = eta / len(x) * sum((shuffled[b, c] - whole[b, c]) ** 2 for b in range(len(x)) for c in range(5))
        assert by_hand > 1e-4
        torch.testing.assert_close(terms["transfer"], by_hand, rtol=1e-4, atol=1e-6)
    assert list(terms) == (["local", "transfer"] if eta else ["local"])


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_rlfat_t_is_clean_cross_entropy_plus_beta_times_the_divergence_to_the_shuffled_plus_the_transfer(eta):
    # float64: in float32 rounding, another one on each processor, turns the sign of gradients that are nearly zero
    model, x, y, given = network().double(), images().double(), labels(), noise(step=STEP)
    other = copy.deepcopy(model)
    x_adv = crafted(RLFATT, other, x, y, given)
    terms = RLFATT(attack(RLFATT), beta=2.5, eta=eta)(model, x, y, given)
    x_shuffled = block_shuffle(x_adv, 2, given.derive("rbs"))
    assert not torch.equal(x_shuffled, x_adv)
    clean, shuffled, whole = other(x), other(x_shuffled), other(x_adv)
    torch.testing.assert_close(terms["natural"], mean_cross_entropy(clean, y))
    divergence = mean_divergence(probabilities(clean), probabilities(shuffled))
    torch.testing.assert_close(terms["local agreement"], 2.5 * divergence, rtol=1e-4, atol=1e-6)
    if eta:
        by_hand = eta * ((shuffled - whole) ** 2).sum() / len(x)
        torch.testing.assert_close(terms["transfer"], by_hand, rtol=1e-4, atol=1e-6)
    assert list(terms) == ["natural", "local agreement", "transfer"][: 3 if eta else 2]


def test_logits_that_differ_by_one_in_every_class_cost_eta_times_the_number_of_classes():
    zeros, ones = torch.zeros(4, 7), torch.ones(4, 7)
    assert RLFATP(Told(), eta=0.5)(Scripted(zeros, ones), images(), labels(), noise())["transfer"] == 0.5 * 7
    # asked for the attack's target, the clean images, the shuffled ones, the whole ones
    terms = RLFATT(Told(), eta=2.0)(Scripted(zeros, zeros, zeros, ones), images(), labels(), noise())
    assert terms["transfer"] == 2.0 * 7


class Corner(Linear):
    """Sees the upper left quarter alone, so that shuffling changes its logits."""

    def trunk(self, x):
        return x[:, :, : x.shape[2] // 2, : x.shape[3] // 2]


@either
def test_the_gradient_of_the_transfer_goes_through_both_sides(method):
    model, x, y, given = Corner(), images(), labels(), noise(step=STEP)
    found = gradients(method(Told(0.2), eta=3.0)(model, x, y, given)["transfer"], model)
    x_adv = (x + 0.2).clamp(0, 1)
    x_shuffled = block_shuffle(x_adv, 2, given.derive("rbs"))

    def by_hand(detached: str) -> torch.Tensor:
        shuffled, whole = model(x_shuffled), model(x_adv)
        shuffled, whole = (
            shuffled.detach() if detached == "shuffled" else shuffled,
            whole.detach() if detached == "whole" else whole,
        )
        return 3.0 * ((shuffled - whole) ** 2).sum() / len(x)

    assert_near(found, gradients(by_hand(""), model))
    assert far(found, gradients(by_hand("shuffled"), model))
    assert far(found, gradients(by_hand("whole"), model))


def test_the_gradient_of_the_local_agreement_goes_through_both_predictions():
    model, x, y, given = Corner(), images(), labels(), noise(step=STEP)
    found = gradients(RLFATT(Told(0.2), beta=3.0)(model, x, y, given)["local agreement"], model)
    x_shuffled = block_shuffle((x + 0.2).clamp(0, 1), 2, given.derive("rbs"))

    def by_hand(detached: str) -> torch.Tensor:
        p, q = probabilities(model(x)), probabilities(model(x_shuffled))
        return 3.0 * mean_divergence(p.detach() if detached == "clean" else p, q.detach() if detached == "adv" else q)

    assert_near(found, gradients(by_hand(""), model))
    assert far(found, gradients(by_hand("clean"), model))
    assert far(found, gradients(by_hand("adv"), model))


def test_the_local_agreement_is_measured_from_the_clean_prediction():
    sure, unsure = torch.tensor([[4.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    model = Scripted(sure, sure, unsure)
    term = RLFATT(Told(), beta=1.0, eta=0.0)(model, images(1), torch.tensor([0]), noise(1))["local agreement"]
    torch.testing.assert_close(term, mean_divergence(probabilities(sure), probabilities(unsure)))


@either
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_attack_gets_the_whole_images_not_the_shuffled_ones(method, mode):
    told, x, y, model = Told(), images(), labels(), network()
    other = copy.deepcopy(model).train(mode == "train")
    method(told, batch_norm=mode)(model, x, y, noise(step=STEP))
    assert torch.equal(told.x, x)
    if method is RLFATP:
        assert torch.equal(told.target, y)
    else:
        torch.testing.assert_close(told.target, probabilities(other(x)).detach())
        assert not told.target.requires_grad
    assert told.training == (mode == "train")
    assert not told.grads


@either
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("cuts", ["random", "equal"])
def test_cuts_and_per_image_reach_the_shuffle(method, per_image, cuts):
    model, x, y, given, seen = network(), images(), labels(), noise(step=STEP), []
    model.register_forward_pre_hook(lambda _, passed: seen.append(passed[0].clone()))
    method(Told(0.0), k=4, cuts=cuts, per_image=per_image)(model, x, y, given)
    wanted = block_shuffle(x, 4, given.derive("rbs"), cuts=cuts, per_image=per_image)
    assert not torch.equal(wanted, x)
    assert sum(torch.equal(passed, wanted) for passed in seen) == 1


@either
def test_one_block_makes_rlfat_its_base_method_without_transfer(method):
    model, x, y = network(), images(), labels()
    terms = method(Told(0.2), k=1)(model, x, y, noise())
    assert terms["transfer"] == 0


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (RLFATP(attack(RLFATP)), 2),
        (RLFATP(attack(RLFATP), eta=0.0), 1),
        (RLFATT(attack(RLFATT)), 3),
        (RLFATT(attack(RLFATT), eta=0.0), 2),
        (RLFATP(attack(RLFATP, 5), batch_norm="train"), 2 + 5),
        (RLFATP(attack(RLFATP, 5), eta=0.0, batch_norm="train"), 1 + 5),
        (RLFATT(attack(RLFATT, 5), batch_norm="train"), 3 + 5 + 1),
        (RLFATT(attack(RLFATT, 5), eta=0.0, batch_norm="train"), 2 + 5 + 1),
    ],
)
def test_the_running_statistics_count_the_training_passes_and_in_train_mode_those_of_the_attack(objective, passes):
    assert forwards_counted(objective) == {passes}


@either
def test_the_running_statistics_are_to_the_bit_those_of_the_training_passes(method):
    model, x, y, given = network(), images(), labels(), noise(step=STEP)
    other = copy.deepcopy(model)
    method(Told(0.2))(model, x, y, given)
    x_adv = (x + 0.2).clamp(0, 1)
    if method is RLFATT:
        other(x)
    other(block_shuffle(x_adv, 2, given.derive("rbs")))
    other(x_adv)
    assert all(map(torch.equal, statistics(model), statistics(other)))


def test_the_defaults_are_the_papers_weights():
    assert (RLFATP().eta, RLFATP().k, RLFATP().cuts, RLFATP().per_image) == (0.5, 2, "random", False)
    assert (RLFATT().beta, RLFATT().eta, RLFATT().k, RLFATT().cuts) == (6.0, 1.0, 2, "random")
    assert RLFATP().attack == PGD()
    assert RLFATT().attack == PGD(start_at="gaussian", loss=KL())


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda: RLFATP(eta=-0.1), "eta is -0.1"),
        (lambda: RLFATP(eta=float("nan")), "eta is nan"),
        (lambda: RLFATP(k=0), "k is 0; it must be at least 1 block"),
        (lambda: RLFATT(eta=-0.1), "eta is -0.1"),
        (lambda: RLFATT(beta=-6.0), "beta is -6.0"),
        (lambda: RLFATT(k=-1), "k is -1"),
    ],
)
def test_weights_and_blocks_out_of_range_are_refused(bad, said):
    with pytest.raises(UsageError, match=said):
        bad()


@either
def test_more_blocks_than_pixels_are_refused(method):
    with pytest.raises(UsageError, match="k is 9"):
        method(Told(), k=9)(network(), images(), labels(), noise())


@either
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_with_smoothing_the_cross_entropy_is_of_the_spread_label_and_the_rest_stays(method, share):
    model, x, y, given = network().double(), images().double(), labels(), noise(step=STEP)
    other, hard = copy.deepcopy(model), method(attack(method))(copy.deepcopy(model), x, y, given)
    x_adv = crafted(method, other, x, y, given)
    terms = method(attack(method), smoothing=share)(model, x, y, given)
    name, at = ("local", block_shuffle(x_adv, 2, given.derive("rbs"))) if method is RLFATP else ("natural", x)
    expected = mean_smoothed(other(at), y, share)
    torch.testing.assert_close(terms[name], expected)
    assert_near(gradients(terms[name], model), gradients(expected, other))
    assert all(torch.equal(terms[kept], hard[kept]) for kept in terms.keys() - {name})
    assert len(terms) == (2 if method is RLFATP else 3)


@either
@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_of_smoothing_that_is_none_is_refused(method, share):
    with pytest.raises(UsageError, match=f"smoothing is {share}; it must be"):
        method(smoothing=share)
