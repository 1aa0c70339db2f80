from hardy.report.document import Commands, Document, Drawn, Folded, Heading, Items, Paragraph, Section, grid
from hardy.report.figures import Pictures
from hardy.report.plain import latex, markdown

DOCUMENT = Document("Title", "A lead.", (Section("s", "First", (
    Heading("Part"), Paragraph("Plain."), Paragraph("Look here.", warning=True), Items(("one", "two")),
    grid("Cells", ("a|b", "n"), (("x_1", "50 %"), ("y & z", "–"))),
    Folded("All of it: the numbers", (grid("More", ("c",), (("1",),)),)),
    Folded("Settings", (grid("", ("c",), (("2",),)),)),
    Drawn(Pictures("p", ((None,),)), "What is seen."), Commands(("hardy list",)),
)),))  # fmt: skip


def test_markdown_has_everything_in_order():
    assert markdown(DOCUMENT).split("\n\n") == [
        "# Title", "A lead.", "## First", "### Part", "Plain.", "**Look here.**", "- one\n- two", "**Cells**",
        "| a\\|b | n |\n| --- | ---: |\n| x_1 | 50 % |\n| y & z | – |", "### All of it: the numbers", "**More**",
        "| c |\n| --- |\n| 1 |", "### Settings", "| c |\n| --- |\n| 2 |", "*What is seen.*", "```sh\nhardy list\n```\n",
    ]  # fmt: skip


def test_latex_has_the_tables_and_sentences_with_what_is_special_escaped_and_no_settings():
    text = latex(DOCUMENT)
    assert (
        "% Cells\n\\begin{tabular}{lr}\n\\toprule\na|b & n \\\\\n\\midrule\nx\\_1 & 50 \\% \\\\\ny \\& z & -- \\\\\n"
        in text
    )
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 2
    assert r"\usepackage{booktabs}" in text
    assert "\nLook here.\n" in text
    assert "\none\\\\\ntwo\\\\\n" in text
    assert "Settings" not in text
