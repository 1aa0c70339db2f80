"""Tables: the paper's number beside the measured one."""

from hardy.report.tables import HEADS, Line, markdown, wide
from hardy.results import Measurement


def row(value=0.274, n=1000):
    return Measurement("run", "accuracy", value, "fraction", n, 0.247, 0.302, {}, 1.0, 1, 1, "cpu")


def test_a_line_has_both_numbers_the_interval_and_their_difference_in_per_cent():
    cells = Line("RLFAT-P", "PGD", 1, 0.5397, "Table 1(b)", row()).cells()
    assert cells == ("RLFAT-P", "1", "PGD", "53.97", "27.4", "[24.7, 30.2]", "-26.6", "1,000")
    assert len(cells) == len(HEADS)


def test_what_is_not_there_is_a_dash():
    assert Line("a", "b", 0, None, "", row()).cells()[3:7] == ("–", "27.4", "[24.7, 30.2]", "–")
    assert Line("a", "b", 0, 0.5, "", None).cells()[3:] == ("50.00", "–", "–", "–", "–")


def test_a_page_has_title_table_and_remarks():
    page = markdown("A title", ["One.", "Two."], HEADS, [Line("a", "b", 0, 0.5, "", row()).cells()])
    assert page.startswith("# A title\n\n| method |")
    assert page.count("\n|") == 3
    assert page.endswith("One.\n\nTwo.\n")


def test_a_wide_table_has_a_row_for_each_method_and_a_column_for_each_attack():
    lines = [
        Line("PGDAT", "PGD", 0, None, "", row()),
        Line("PGDAT", "CW", 0, None, "", None),
        Line("RAT", "PGD", 0, None, "", row(0.5, 200)),
        Line("RAT", "CW", 0, None, "", row(0.25, 200)),
    ]
    heads, rows = wide(lines, {("RAT", 0): "masked"})
    assert heads == ("method", "seed", "PGD, 200 images", "CW, 200 images", "verdict")
    assert rows[0] == ("PGDAT", "0", "27.4 [24.7, 30.2]", "–", "–")
    assert rows[1][0] == "RAT"
    assert rows[1][-1] == "masked"
    assert rows[1][3] == "25.0 [24.7, 30.2]"
