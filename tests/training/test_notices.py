"""Notices of overfitting: said once, at the epoch that first shows it."""

import pytest

from hardy.training.notices import GAP, MARGIN, notices


def rows(robust, single_step=None):
    single_step = robust if single_step is None else single_step
    return [
        {"epoch": float(i), "robust": r, "single_step": s}
        for i, (r, s) in enumerate(zip(robust, single_step, strict=True), 1)
    ]


def said(history):
    """(epoch, first words) of every notice of a run."""
    return [(n, sentence.split(":")[0]) for n in range(1, len(history) + 1) for sentence in notices(history[:n])]


def test_a_network_that_goes_on_learning_gets_no_notice():
    assert said(rows([0.1, 0.2, 0.3, 0.28, 0.29, 0.31])) == []
    assert notices([]) == []


def test_robust_overfitting_is_said_once_after_two_measurements_below_the_best_by_the_margin():
    history = rows([0.20, 0.30, 0.24, 0.29, 0.24, 0.25, 0.20, 0.31, 0.20, 0.20])
    assert said(history) == [(6, "Robust overfitting")]
    (sentence,) = notices(history[:6])
    assert "was 30.0 % at epoch 2 and is 25.0 % now" in sentence
    assert f"more than {100 * MARGIN:g} points" in sentence
    assert "The weights of epoch 2 are kept as the best" in sentence


def test_a_loss_of_less_than_the_margin_is_no_overfitting():
    assert said(rows([0.30, 0.26, 0.251, 0.255])) == []


def test_catastrophic_overfitting_is_a_single_step_far_above_many():
    history = rows([0.3, 0.35, 0.32, 0.0, 0.0], [0.4, 0.5, 0.39, 0.9, 0.9])
    assert said(history)[0] == (4, "Catastrophic overfitting")
    assert said(history).count((5, "Catastrophic overfitting")) == 0
    (sentence,) = notices(history[:4])
    assert "90.0 % under a single step but 0.0 % under many" in sentence
    assert f"more than {100 * GAP:g} points apart" in sentence


def test_both_kinds_can_be_said_at_once():
    assert len(notices(rows([0.4, 0.1, 0.1], [0.4, 0.1, 0.9]))) == 2


@pytest.mark.parametrize("gap", [GAP - 0.01, GAP + 0.01])
def test_the_gap_is_what_decides(gap):
    assert bool(notices(rows([0.2], [0.2 + gap]))) == (gap > GAP)


def test_rows_of_older_versions_without_a_single_step_are_read():
    assert notices([{"epoch": 1.0, "robust": 0.3}]) == []
