"""The attacks' names on the command line."""

import pytest

from hardy.attacks import NATTACK, PGD, Linf, Margin
from hardy.attacks.names import ATTACKS, named
from hardy.errors import UsageError

EPS = 8 / 255


def test_every_name_makes_an_attack_in_the_ball_asked_for():
    for name in ATTACKS:
        attack = named(name.replace("-K", "-7"), 0.1)
        if name == "clean":
            assert attack is None
        else:
            assert attack.ball == Linf(0.1)


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("clean", None),
        ("noise", PGD(Linf(EPS), steps=0)),
        ("fgsm", PGD(Linf(EPS), steps=1, step_size=EPS, start_at="image")),
        ("fgsm-rs", PGD(Linf(EPS), steps=1, step_size=EPS, start_at="uniform")),
        ("pgd-20", PGD(Linf(EPS), steps=20)),
        ("pgd-1", PGD(Linf(EPS), steps=1)),
        ("cw-30", PGD(Linf(EPS), steps=30, loss=Margin(50.0))),
        ("nattack", NATTACK(Linf(EPS))),
    ],
)
def test_a_name_means(name, attack):
    assert named(name, EPS) == attack


def test_steps_are_2_of_255_at_8_of_255():
    attack = named("pgd-10", EPS)
    assert isinstance(attack, PGD)
    assert attack.alpha == pytest.approx(2 / 255, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pgd", "did you mean pgd-K"),
        ("fgms", "did you mean fgsm"),
        ("", "known are"),
        ("xyzzy", "known are"),
        ("PGD-20", "There is no attack named 'PGD-20'"),
        ("pgd-20 ", "There is no attack named"),
        ("pgd--3", "There is no attack named"),
        ("pgd-0", "asks for 0 steps; it must be at least 1, as in pgd-20"),
        ("pgd-K", "'pgd-K' lacks its number of steps; K stands for one, as in pgd-20"),
        ("cw-K", "as in cw-20"),
    ],
)
def test_names_that_are_none_are_answered_with_a_hint(name, said):
    with pytest.raises(UsageError, match=said):
        named(name, EPS)


def test_a_radius_in_bytes_is_refused():
    with pytest.raises(UsageError, match="8/255, not 8"):
        named("pgd-20", 8)
