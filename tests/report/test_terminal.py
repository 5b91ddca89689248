"""Tables in the terminal: what they show is what they were given."""

from affectkit.report.terminal import table


def test_words_in_brackets_are_shown_and_are_no_markup(capsys):
    table("answers [test]", ["task [kind]", "is"], [["open_labels", "[angry]"], ["style", "[bold]loud[/bold]"]])
    told = capsys.readouterr().out
    for words in ("answers [test]", "task [kind]", "[angry]", "[bold]loud[/bold]"):
        assert words in told
