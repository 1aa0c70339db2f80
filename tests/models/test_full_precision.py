"""full_precision: torch's own setting is what it was, whoever leaves first."""

import torch

from hardy.models.full_precision import ieee_convolutions


def test_of_two_inside_at_once_the_last_to_leave_undoes_it():
    """As of two threads that evaluate at the same time."""
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    assert before != "ieee"
    one, other = ieee_convolutions(), ieee_convolutions()
    one.__enter__()
    other.__enter__()
    assert convolutions.fp32_precision == "ieee"
    one.__exit__(None, None, None)
    assert convolutions.fp32_precision == "ieee"
    other.__exit__(None, None, None)
    assert convolutions.fp32_precision == before
