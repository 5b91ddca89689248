"""Conversations in data files: pairs of question and answer, or records as LLaVA's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectkit_plugins.datasets._annotations import words

from affectkit.tables import parse_json

TAG = re.compile(r"<(?:image|video)>\s*")
"""Where a picture goes in a question of LLaVA's form; the recipe's prompt has places of its own."""


def spoken(value: Any) -> Iterator[tuple[str, str]]:
    """(question, answer) of a list of records `from` and `value`; an answer that nobody asked for has no question."""
    question = ""
    for said in value if isinstance(value, list) else ():
        text = words(said.get("value")) if isinstance(said, dict) else ""
        if isinstance(said, dict) and said.get("from") == "human":
            question = TAG.sub("", text).strip()
        elif text:
            yield question, text
            question = ""


def turns_in(text: str) -> tuple[tuple[str, str], ...]:
    """The turns in a cell: a JSON list of [question, answer], or of records `from` and `value`; empty for an empty cell.

    Raises ValueError saying what is wrong.
    """
    if not text.strip():
        return ()
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ValueError(f"broken JSON ({error})") from error
    if not isinstance(value, list):
        raise ValueError(f"wants a list, got {text.strip()[:40]}")
    if value and all(isinstance(said, dict) for said in value):
        turns = list(spoken(value))
        if 2 * len(turns) != len(value) or not all(question for question, _ in turns):
            raise ValueError("records do not take turns: {from: human, value: …}, then {from: gpt, value: …}")
        return tuple(turns)
    return tuple(_pair(number, turn) for number, turn in enumerate(value, 1))


def _pair(number: int, turn: Any) -> tuple[str, str]:
    if not isinstance(turn, list) or len(turn) != 2 or not all(isinstance(t, str) and t.strip() for t in turn):
        raise ValueError(f"turn {number} is not [question, answer], two texts that are not empty")
    question, answer = turn
    return question.strip(), answer.strip()
