"""Tables in the terminal: what they show is what they were given."""

from affectkit.evaluation.figures import Difference, Figure
from affectkit.report.page import Fold, Grid, Heading, Paragraph
from affectkit.report.terminal import print_blocks, table


def test_words_in_brackets_are_shown_and_are_no_markup(capsys):
    table("answers [test]", ["task [kind]", "is"], [["open_labels", "[angry]"], ["style", "[bold]loud[/bold]"]])
    told = capsys.readouterr().out
    for words in ("answers [test]", "task [kind]", "[angry]", "[bold]loud[/bold]"):
        assert words in told


def test_parts_of_a_page_are_lines_and_tables_under_their_heading(capsys):
    rows = (("one", Figure(0.5, 0.25, 0.75)), ("two", Difference(0.1, None, None, 0.9)), ("three", None))
    blocks = [
        Heading("By people"),
        Paragraph("What it is."),
        Grid(("who", "UAR"), rows),
        Fold("More", (Paragraph("folded"),)),
    ]
    said = []
    print_blocks(blocks, said.append, "test")
    shown = capsys.readouterr().out
    assert said == ["test: What it is."]
    assert "test, By people" in shown
    assert "0.500 [0.250, 0.750]" in shown
    assert "+0.100" in shown
    assert "–" in shown
