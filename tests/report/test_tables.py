"""Tables: the paper's number beside the measured one."""

from dataclasses import replace

import pytest

from hardy.report.analysis import Tabular
from hardy.report.tables import HEADS, Line, Printed, markdown, over_seeds, wide
from hardy.results import Measurement


def row(value=0.274, n=1000, unit="fraction"):
    return Measurement("run", "accuracy", value, unit, n, 0.247, 0.302, {}, 1.0, 1, 1, "cpu")


PAPER = Printed(0.5397, "Table 1(b)")


def test_a_line_has_both_numbers_the_interval_and_their_difference_in_per_cent():
    cells = Line("RLFAT-P", "PGD", 1, PAPER, row()).cells()
    assert cells == ("RLFAT-P", "1", "PGD", "53.97", "27.4", "[24.7, 30.2]", "-26.6", "1,000")
    assert len(cells) == len(HEADS)


def test_what_is_not_there_is_a_dash():
    assert Line("a", "b", 0, None, row()).cells()[3:7] == ("–", "27.4", "[24.7, 30.2]", "–")
    assert Line("a", "b", 0, PAPER, None).cells()[3:] == ("53.97", "–", "–", "–", "–")
    bare = replace(row(), low=None, high=None)
    assert Line("a", "b", 0, None, bare).cells()[5] == "–"


def test_a_number_that_is_no_fraction_is_in_its_own_unit_and_so_is_the_difference():
    sensitivity = Printed(1.41, "Table 2(a)", "gradient norm")
    cells = Line("a", "b", 0, sensitivity, row(1.2, unit="gradient norm")).cells()
    assert cells[3:7] == ("1.41", "1.2", "[0.247, 0.302]", "-0.21")


def test_numbers_of_different_units_have_no_difference():
    distance = Printed(2.1, "Table 2", "x 1e-5, unknown", digits=1)
    assert Line("a", "b", 0, distance, row(1.5, unit="L2")).cells()[3:7] == ("2.1", "1.5", "[0.247, 0.302]", "–")


def test_numbers_of_different_balls_have_no_difference():
    paper = replace(PAPER, same_ball=False)
    assert Line("a", "b", 0, paper, row()).cells()[3:7] == ("53.97", "27.4", "[24.7, 30.2]", "–")
    shown = over_seeds([Line("a", "b", seed, paper, row()) for seed in (0, 1)], None)
    assert shown is not None
    assert shown.rows[0][-1] == "–"


@pytest.mark.parametrize(
    ("printed", "text"),
    [(Printed(0.947, ""), "94.70"), (Printed(0.947, "", digits=1), "94.7"), (Printed(47.95, "", "minutes"), "47.95")],
)
def test_a_papers_number_is_shown_as_it_is_printed(printed, text):
    assert str(printed) == text


def test_a_page_has_title_tables_and_remarks():
    shown = [Tabular("", HEADS, (Line("a", "b", 0, PAPER, row()).cells(),)), Tabular("More", ("x",), (("y",),))]
    page = markdown("A title", shown, ["One.", "Two."])
    assert page.startswith("# A title\n\n| method |")
    assert "\n\n## More\n\n| x |\n| --- |\n| y |\n\n" in page
    assert page.endswith("One.\n\nTwo.\n")


LINES = [
    Line("PGDAT", "PGD", 0, None, row(n=200)),
    Line("PGDAT", "CW", 0, None, None),
    Line("RAT", "PGD", 0, None, row(0.5, 200)),
    Line("RAT", "CW", 0, None, row(0.25, 100)),
]


def test_a_wide_table_has_a_row_for_each_method_and_a_column_for_each_attack():
    shown = wide(LINES, {("RAT", 0): "masked"})
    assert shown.heads == ("method", "seed", "PGD, 200 images", "CW, 100 images", "verdict")
    assert shown.rows[0] == ("PGDAT", "0", "27.4 [24.7, 30.2]", "–", "–")
    assert shown.rows[1][0] == "RAT"
    assert shown.rows[1][-1] == "masked"
    assert shown.rows[1][3] == "25.0 [24.7, 30.2]"


def test_where_all_numbers_are_of_as_many_images_no_column_says_so():
    assert wide(LINES[:3]).heads == ("method", "seed", "PGD", "CW")


def test_a_column_whose_rows_differ_in_their_images_does_not_say_one_number():
    assert wide([*LINES, Line("ST", "CW", 0, None, row(n=50))]).heads == ("method", "seed", "PGD, 200 images", "CW")


def test_several_seeds_have_a_mean_a_deviation_and_whole_networks_as_best_and_worst():
    pgd, cw = {0: 0.5, 1: 0.6, 2: 0.55}, {0: 0.7, 1: 0.2, 2: 0.3}
    lines = [
        Line("RAT", column, seed, Printed(0.6, "") if column == "PGD" else None, row(values[seed]))
        for seed in pgd
        for column, values in (("PGD", pgd), ("CW", cw))
    ]
    told = over_seeds([*lines, Line("ST", "PGD", 0, None, row())], "PGD")
    assert told.heads == ("method", "what", "paper", "seeds", "mean", "deviation", "best", "worst", "difference")
    assert told.rows[0] == ("RAT", "PGD", "60.00", "3", "55.0", "5.0", "60.0", "50.0", "-5.0")
    # the row of the best network under PGD, which is the worst under CW
    assert told.rows[1] == ("RAT", "CW", "–", "3", "40.0", "26.5", "20.0", "70.0", "–")
    assert len(told.rows) == 2
    assert told.title == "Over seeds; best and worst are whole networks, by PGD"
    assert [cells[6:8] for cells in over_seeds(lines, None).rows] == [("–", "–")] * 2


def test_a_single_seed_is_no_several():
    assert over_seeds(LINES, "PGD") is None
