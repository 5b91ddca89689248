"""The ways to write a label and nothing else, for several test files."""

import itertools

LABELS = ("happy", "sad", "not sure", "neutral")
MARKS = (
    "{}", "{}.", "{}!", "{}?", "{},", "{}:", "{};", "{}…", "{}。", "{}！", "{}，", "{}؟", "{}।", "'{}'", '"{}"', "“{}”", "‘{}’",
    "„{}“", "«{}»", "「{}」", "『{}』", "《{}》", "({})", "[{}]", "{{{}}}", "<{}>", "（{}）", "【{}】", "**{}**", "*{}*", "_{}_",
    "__{}__", "`{}`", "```{}```", "# {}", "- {}", "• {}", "> {}", "~~{}~~", "|{}|", "  {}\n", "\t{}\r\n", "{}\u200b", "\ufeff{}",
    "{} 😊", "→ {}", "**“{}”.**", "({}).", "{} .", "= {}",
)  # fmt: skip
"""Fifty ways to write a label and nothing else."""


def widened(text):
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


FORMS = [
    (form.format(turn(label)), label)
    for form, (turn, label) in itertools.product(
        MARKS,
        ((str, "happy"), (str.upper, "sad"), (str.title, "not sure"), (widened, "neutral")),
    )
]
