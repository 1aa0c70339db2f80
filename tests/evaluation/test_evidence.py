import pytest

from hardy.attacks import PGD, Linf
from hardy.evaluation import memory
from hardy.evaluation.evidence import Evidence
from hardy.evaluation.transfer import Averaged
from toys import smooth, split

BALL = Linf(0.05)


def evidence(model, data, batch=24):
    return Evidence(model, data, BALL, 0, batch, None, "toy", {})


@pytest.mark.parametrize("wrong", [0, 4, 24])
def test_the_share_of_useful_gradients_is_that_of_the_images_that_were_asked(wrong):
    model = smooth()
    data = split(24, model)
    data.labels[:wrong] = (data.labels[:wrong] + 1) % 3
    found = evidence(model, data)
    found.gradients(random=False)
    rows = [row for row in found.rows if row.what == "share with a useful gradient"]
    assert [(row.value, row.n) for row in rows] == ([(1.0, 24 - wrong)] if wrong < 24 else [])


def test_gradients_of_many_passes_at_once_are_those_of_as_many_fewer_images(monkeypatch):
    model, shown = smooth(), []

    def looked(x):
        shown.append(len(x))
        return model(x)

    found = evidence(looked, split(24, model))
    # half of the free memory holds the passes of all images; ten times as many it would not hold
    monkeypatch.setattr(memory, "_free", lambda: 2 * 24 * memory._gradient_bytes(model, found.split))
    shown.clear()
    found.under("PGD", PGD(BALL, steps=1), craft_on=Averaged([looked] * 10))
    assert max(shown[:-1]) <= 2
    shown.clear()
    found.under("PGD", PGD(BALL, steps=1))
    assert max(shown) == 24
