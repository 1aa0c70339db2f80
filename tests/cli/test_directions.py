import json

import pytest
from commands import run
from PIL import Image

QUICK = ("--n", "12", "--offline", "--eps", "0.1")


def analysed(capsys, out, name, *args):
    """(what was printed, the rows) of an analysis that must succeed and leave a figure."""
    ran = run(capsys, "analyse", name, *args, *QUICK, "--out", out)
    assert ran.code == 0, ran.err
    with Image.open(out / f"{name}.png") as picture:
        assert len(picture.convert("RGB").getcolors(2**24)) > 10
    rows = json.loads((out / f"{name}.json").read_text())["rows"]
    assert ran.out.endswith(f"{out / name}.png\n{out / name}.json: {len(rows)} rows\n")
    return ran, rows


def test_perturbations_prints_both_distances_of_each_attack(capsys, trained, tmp_path):
    ran, rows = analysed(capsys, tmp_path, "perturbations", trained, "--steps", "1", "2")
    assert len(rows) == 2 * 2 * 2
    assert [line for line in ran.out.splitlines() if line.startswith("Mean")] == [
        f"Mean {kind} of {name} from pgd" for name in ("cw", "infofeature")
        for kind in ("L2 distance [95 % interval]", "squared difference [95 % interval]")
    ]  # fmt: skip
    assert f"{rows[0]['value']:.3f} [{rows[0]['low']:.3f}, {rows[0]['high']:.3f}]" in ran.out
    assert rows[0]["value"] > 0


def test_direction_prints_loss_and_accuracy_at_each_scale_for_each_network(capsys, trained, tmp_path):
    networks = (trained / "best.safetensors", trained / "last.safetensors")
    ran, rows = analysed(
        capsys, tmp_path, "direction", *networks, "--scales", "0", "0.2", "2", "--no-clip", "--attack", "pgd-2"
    )
    assert [row["settings"]["scale"] for row in rows] == [0, 0, 0.2, 0.2, 2, 2] * 2
    assert rows[1]["value"] == 1  # of images that are classified correctly
    assert rows[4]["value"] > rows[0]["value"]
    assert rows[0]["settings"]["clip"] is False
    assert [line.split()[0] for line in ran.out.splitlines() if line[:1].isdigit()] == ["0", "0.2", "2"] * 2


def test_surface_prints_the_extremes_and_writes_every_place(capsys, trained, tmp_path):
    ran, rows = analysed(capsys, tmp_path, "surface", trained, "--points", "3", "--attack", "pgd-2", "--picture", "png")
    assert [(row["settings"]["along"], row["settings"]["across"]) for row in rows] == [
        (s, t) for t in (-1.5, 0, 1.5) for s in (-1.5, 0, 1.5)
    ]
    assert f"{max(row['value'] for row in rows):.3f}" in ran.out
    assert f"{rows[4]['value']:.3f}" in ran.out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("perturbations RUN --attacks pgd", "it must be names that differ"),
        ("perturbations RUN --attacks", "attacks is (); it must be at least one name, such as infofeature"),
        ("perturbations RUN --against fgsm", "no attack in steps of one size named 'fgsm'"),
        ("perturbations RUN --steps 0", "steps is 0; it must be at least 1"),
        ("perturbations RUN --eps 8", "eps is 8.0; it must be in (0, 1], the pixels' units: 8/255, not 8"),
        ("perturbations RUN --step-size 0", "step_size is 0.0; it must be above 0"),
        ("perturbations RUN --n 0", "n is 0; it must be at least 1 image"),
        ("direction", "sources is (); it must be at least one run's folder"),
        ("direction RUN --scales", "scales is (); it must be at least one number"),
        ("direction RUN --scales 1 1", "scales is (1.0, 1.0); it must be numbers that differ"),
        ("direction RUN --scales a", "['a']"),
        ("direction RUN --attack pgd", "no attack named 'pgd'; did you mean pgd-K"),
        (
            "direction RUN --attack adv-interp",
            "attack is 'adv-interp'; it must be one on single images, such as pgd-10",
        ),
        ("direction RUN --eps 2", "eps is 2.0"),
        ("surface RUN --points 1", "points is 1; it must be at least 2"),
        ("surface RUN --scale 0", "scale is 0.0; it must be above 0"),
        ("surface RUN --attack clean", "attack is 'clean'; it must be an attack on one network"),
        ("surface nowhere", "no weights file nowhere"),
    ],
)
def test_a_mistake_gets_a_sentence_and_leaves_no_file(capsys, trained, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    ran = run(capsys, "analyse", *(trained if word == "RUN" else word for word in flags.split()))
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", " ").split())
    assert "Traceback" not in ran.err
    assert not ran.out
    assert list(tmp_path.iterdir()) == []
