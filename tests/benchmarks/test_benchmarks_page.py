"""benchmarks/page.py: the tables of docs/speed.md are those of the results, and a machine without results has none."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ROW = {
    "precision": "bfloat16",
    "images per second": 19.487,
    "ratio": 2.904,
    "share": 0.2724,
    "seconds of rounds": [2.0, 1.6],
}
STEP = {
    "step": {
        "parts": [
            {
                "method": "PGD-AT",
                "network": "PreActResNet-18",
                "contestants": [
                    {"name": "hardy", **ROW},
                    {
                        "name": "plain",
                        "precision": "float32",
                        "images per second": 6.7,
                        "ratio": 1.0,
                        "share": 0.8,
                        "seconds of rounds": [4.0, 6.0],
                    },
                ],
                "products": [
                    {"precision": "bfloat16", "gflops": 1827.9},
                    {"precision": "float32", "gflops": 216.1},
                ],
            }
        ]
    }
}  # fmt: skip


def test_the_tables_of_the_page_are_those_of_the_results(benchmarks):
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    places = {(found[2], found[3]) for found in benchmarks.page.PLACE.finditer(text)}
    assert {name for name, kind in places if kind == "cpu"} == set(benchmarks.page.TABLES)
    assert benchmarks.page.filled(text, ROOT / "docs" / "results") == text


def test_a_table_is_written_anew_between_its_lines_and_nothing_else_is_touched(benchmarks, tmp_path):
    (tmp_path / "speed-cpu.json").write_text(json.dumps(STEP))
    page = "# Speed\n\n<!-- step of cpu -->\nold\n<!-- end -->\n\nby hand\n<!-- step of cuda -->\n<!-- end -->\n"
    expected = """# Speed

<!-- step of cpu -->

| step | of | precision | images/s | over the fastest peer | in its rounds | of a bare product |
|---|---:|---:|---:|---:|---:|---:|
| PGD-AT, PreActResNet-18 | hardy | bfloat16 | 19.5 | 2.90 | 2.00 to 3.75 | 27% |
| PGD-AT, PreActResNet-18 | plain | float32 | 6.7 | 1.00 |  | 80% |

<!-- end -->

by hand
<!-- step of cuda -->

Not measured.

<!-- end -->
"""
    assert benchmarks.page.filled(page, tmp_path) == expected
    assert benchmarks.page.filled(expected, tmp_path) == expected


def test_the_reference_is_the_one_that_seconds_of_autoattack_are_set_beside(benchmarks):
    def one(seconds: float, robust: list[bool]) -> list[dict]:
        return [
            {"seconds": [seconds, 1.0], "robust": [[True] * 4, robust], "forwards": [900, 100], "backwards": [200, 50]}
        ]

    of = {"hardy": one(3.0, [True, False, False, False]), "pyautoattack": one(9.0, [True, True, False, False])}
    shown = benchmarks.page.autoattack({"autoattack": {"found": of}, "undefended": {"found": of}})
    assert "| robust | hardy | 1 of 4 | 1.0 + 0.2 | 4 | 2.50 |" in shown
    assert "| robust | pyautoattack | 2 of 4 | 1.0 + 0.2 | 10 | 1.00 |" in shown


@pytest.mark.parametrize("between", [0.75, None])
def test_points_are_those_of_bfloat16_less_those_of_float32(benchmarks, between):
    row = {"float32": 0.25, "bfloat16": 0.2487, "only one": 31, "points": -0.13, "interval": 0.11}
    about = {"machine": {"cpu": "C", "threads": 2, "torch": "2", "foolbox": "3.3", "hardy": "1", "commit": "abc"}}
    about["settings"] = {"n": 10_000, "epochs": 5, "width": 8}
    found = {
        **about,
        "attack": row,
        "seeds": [{"seed": 0, **row}],
        "training": {"points": -0.13, "between seeds": between},
    }
    shown = benchmarks.page.parity(found)
    assert "| the attack | 25.00% | 24.87% | 31 | -0.13 ± 0.11 |" in shown
    assert "Mean of the seeds: -0.13 points" in shown
    assert (
        "10,000 test images; trainings of 5 epochs, PreActResNet-18 of width 8. Measured on C, 2 threads; torch 2, "
        in shown
    )
    assert "foolbox 3.3, hardy 1 at commit abc." in shown
    assert ("0.75" in shown) == (between is not None)
