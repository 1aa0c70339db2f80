"""The attacks' names on the command line."""

import pytest

from hardy.attacks import (
    APGD,
    DLR,
    FAB,
    L2,
    NATTACK,
    PGD,
    AutoAttack,
    CarliniWagner,
    InfoFeature,
    Linf,
    Margin,
    Restarts,
    Square,
    Targeted,
    TargetedDLR,
)  # fmt: skip
from hardy.attacks.names import ATTACKS, in_balls, named
from hardy.errors import UsageError

EPS = 8 / 255


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5)])
@pytest.mark.parametrize("name", ATTACKS)
def test_every_name_makes_an_attack_in_the_ball_asked_for(name, ball):
    if name == "cw-l2" and isinstance(ball, Linf):
        with pytest.raises(UsageError, match=r"cw-l2 .* small L2 distances; Linf 0\.1 was given: say --norm l2"):
            named(name, ball)
        return
    attack = named(name.replace("-K", "-7"), ball)
    if name == "clean":
        assert attack is None
    else:
        assert attack.ball == ball
        assert all(stage.ball == ball for stage in attack.stages)
        assert str(ball) in attack.summary


@pytest.mark.parametrize("name", [name for name in ATTACKS if name.endswith("-K")])
def test_a_name_with_a_k_takes_any_number_of_steps(name):
    for steps in (1, 7, 1000):
        assert named(name.replace("-K", f"-{steps}"), Linf(EPS)).iterations == steps


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
        ("infofeature-7", InfoFeature(Linf(EPS), steps=7)),
        ("apgd-ce", APGD(Linf(EPS), 100)),
        ("apgd-dlr", APGD(Linf(EPS), 100, DLR())),
        ("apgd-t", Targeted(APGD(Linf(EPS), 100, TargetedDLR()), 9)),
        ("fab", FAB(Linf(EPS), 100)),
        ("fab-t", Targeted(FAB(Linf(EPS), 100), 9)),
        ("square", Square(Linf(EPS), 5000)),
        ("autoattack", AutoAttack(Linf(EPS), "standard")),
        ("autoattack-plus", AutoAttack(Linf(EPS), "plus")),
        ("autoattack-rand", AutoAttack(Linf(EPS), "rand")),
        ("pgd-20x5", Restarts(PGD(Linf(EPS), steps=20), 5)),
        ("cw-30x2", Restarts(PGD(Linf(EPS), steps=30, loss=Margin(50.0)), 2)),
        ("infofeature-7x10", Restarts(InfoFeature(Linf(EPS), steps=7), 10)),
        ("pgd-20x1", PGD(Linf(EPS), steps=20)),
    ],
)
def test_a_name_means(name, attack):
    assert named(name, Linf(EPS)) == attack


def test_carlini_wagner_is_for_l2():
    assert named("cw-l2", L2(0.5)) == CarliniWagner(L2(0.5))


def test_the_queries_that_are_named_are_those_that_are_made():
    attack = named("nattack", Linf(EPS))
    queries = attack.steps * attack.population + attack.steps // attack.test_every
    assert f"at most {queries:,} queries an image" in ATTACKS["nattack"][0]
    assert f"{named('square', Linf(EPS)).queries:,} queries" in ATTACKS["square"][0]


def test_an_attack_in_several_balls_is_named_by_their_radii():
    balls = [Linf(4 / 255), Linf(8 / 255)]
    assert in_balls("pgd-5", balls) == [
        ("pgd-5 at 4/255", PGD(balls[0], steps=5)),
        ("pgd-5 at 8/255", PGD(balls[1], steps=5)),
    ]
    assert in_balls("pgd-5", balls[:1]) == [("pgd-5", PGD(balls[0], steps=5))]
    assert in_balls("clean", balls) == [("clean", None)]


def test_steps_are_2_of_255_at_8_of_255():
    attack = named("pgd-10", Linf(EPS))
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
        ("infofeature-K", "as in infofeature-20"),
        ("infofeature-0", "asks for 0 steps"),
        ("pgd-0x5", "asks for 0 steps"),
        ("pgd-20x0", "There is no attack named 'pgd-20x0'"),
        ("pgd-20x", "There is no attack named"),
        ("pgd-20x5x2", "There is no attack named"),
        ("pgd-Kx5", "There is no attack named"),
        ("pgd-020", "There is no attack named"),
        ("squarex2", "did you mean square"),
        ("autoatack", "did you mean autoattack"),
    ],
)
def test_names_that_are_none_are_answered_with_a_hint(name, said):
    with pytest.raises(UsageError, match=said):
        named(name, Linf(EPS))


def test_a_radius_in_bytes_is_refused():
    with pytest.raises(UsageError, match="8/255, not 8"):
        named("pgd-20", Linf(8))
