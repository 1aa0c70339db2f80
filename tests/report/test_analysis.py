import json

import pytest

from hardy.errors import UsageError
from hardy.report.analysis import Analysis, Tabular, read, write
from hardy.report.figures import Bands, Line, Panel, Point
from hardy.results import Measurement

ROW = Measurement("run", "clean accuracy", 0.5, "fraction", 10, 0.2, 0.8, {"data": "made"}, 0.1, 10, 0, "cpu")
FIGURE = Bands("t", (Panel("", "x", "y", (Line("one", (Point(0, 1),)),)),))
MADE = Analysis(
    "eps", "Accuracy by radius", "It falls.", "hardy analyse eps run",
    (Tabular("cells", ("", "a"), (("one", "50.0"),)),), FIGURE, (ROW,), ("A remark.",),
)  # fmt: skip


@pytest.mark.parametrize("figure", [FIGURE, None])
def test_an_analysis_comes_out_of_its_file_as_it_went_in(tmp_path, figure):
    made = Analysis(**{**vars(MADE), "figure": figure})
    write(tmp_path / "eps.json", made)
    told = json.loads((tmp_path / "eps.json").read_text())
    assert told["kind"] == "analysis"
    assert read(told, "eps.json") == made


@pytest.mark.parametrize(
    "change",
    [
        {"rows": [{"run": "x"}]},
        {"rows": 1},
        {"figure": {"type": "Unknown"}},
        {"figure": {"type": "Point", "x": 0, "y": 0}},
        {"tables": [{"type": "Tabular", "title": "t", "heads": ["a"], "rows": [["1", "2"]]}]},
        {"name": 3},
        {"remarks": "one"},
    ],
)
def test_a_file_that_tells_something_else_is_refused_with_its_name(tmp_path, change):
    write(tmp_path / "eps.json", MADE)
    told = json.loads((tmp_path / "eps.json").read_text()) | change
    with pytest.raises(UsageError, match=r"eps\.json is damaged, or was written by another version"):
        read(told, "eps.json")
    told.pop(next(iter(change)))
    with pytest.raises(UsageError, match=r"eps\.json is damaged"):
        read(told, "eps.json")
