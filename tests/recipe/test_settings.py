"""Plain values to frozen settings: what each type takes, what it refuses, and the words for it."""
# ruff: noqa: E501 -- each fault in one line

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from affectkit.recipe import marked_yaml
from affectkit.recipe.marked_yaml import WRONG
from affectkit.recipe.settings import describe, plain, read, sentences
from affectkit.recipe.views import Faces, Frames, Wave


@dataclass(frozen=True)
class Inner:
    """A block in a block."""

    rank: int
    """How many."""
    names: tuple[str, ...] = ()
    """Which."""


@dataclass(frozen=True)
class Settings:
    """One of every type."""

    whole: int
    """A whole number
    over two lines."""
    number: float = 0.5
    """A number."""
    truth: bool = False
    text: str = "no: word"
    """Text."""
    maybe: int | None = None
    choice: Literal["a", "b", 3] = "a"
    choice_or_not: Literal["on", "off"] | None = None
    names: tuple[str, ...] = ()
    pair: tuple[int, str] = (1, "x")
    shares: dict[str, float] = field(default_factory=dict)
    any: dict[str, Any] | None = None
    inner: Inner | None = None
    size: int | str = "auto"
    truth_or_text: bool | str = False

    def problems(self):
        return [("whole", f"must be even, got {self.whole}")] if self.whole % 2 else []


def given(yaml):
    """(settings, problems as text) from one line of YAML."""
    value = marked_yaml.parse("{whole: 2, " + yaml + "}" if "whole" not in yaml else "{" + yaml + "}", "")[0]
    made, problems = read(Settings, value, lambda path: ".".join(map(str, path)))
    return made, [f"{p.place}: {p.what}" + (f" => {p.fix}" if p.fix else "") for p in problems]


RIGHT = {
    "whole: 4.0": ("whole", 4), "whole: 1e2": ("whole", 100), "number: 3": ("number", 3.0), "number: -2e9": ("number", -2e9), "whole: 2147483646": ("whole", 2147483646),
    "truth: true": ("truth", True), "text: 5": ("text", "5"), "text: 007": ("text", "007"), "text: 1.10": ("text", "1.10"),
    "text: yes": ("text", "yes"), "maybe: null": ("maybe", None), "maybe: 3": ("maybe", 3), "choice: b": ("choice", "b"),
    "choice: 3": ("choice", 3), "choice_or_not: null": ("choice_or_not", None), "choice_or_not: on": ("choice_or_not", "on"),
    "names: [a, 1, 02]": ("names", ("a", "1", "02")), "names: []": ("names", ()), "pair: [3, b]": ("pair", (3, "b")),
    "shares: {a: 1, b: null}": ("shares", {"a": 1.0}), "any: {a: null, b: [07, {c: d}]}": ("any", {"a": None, "b": [7, {"c": "d"}]}),
    "inner: {rank: 3, names: [x]}": ("inner", Inner(3, ("x",))), "inner: null": ("inner", None),
    "size: 3": ("size", 3), "size: auto": ("size", "auto"), "truth_or_text: true": ("truth_or_text", True), "truth_or_text: x": ("truth_or_text", "x"),
}  # fmt: skip


@pytest.mark.parametrize("yaml", RIGHT)
def test_a_value_becomes_its_type(yaml):
    made, problems = given(yaml)
    assert problems == []
    name, value = RIGHT[yaml]
    assert getattr(made, name) == value
    assert type(getattr(made, name)) is type(value)


INNER = "inner: wants a mapping of settings (rank, names) or null"
WITHIN = "from -2147483647 to 2147483647"
REFUSED = {
    "whole: x": ["whole: wants a whole number, got text 'x'"],
    "whole: 2.5": ["whole: wants a whole number, got 2.5"],
    "whole: .inf": ["whole: wants a whole number, got inf"],
    "whole: 3.2e9": [f"whole: wants a whole number {WITHIN}, got 3200000000.0"],
    "whole: 9999999999": [f"whole: wants a whole number {WITHIN}, got 9999999999"],
    "maybe: -1e17": [f"maybe: wants a whole number {WITHIN}, got -1e+17"],
    "size: 2147483648": [f"size: wants a whole number {WITHIN}, got 2147483648"],
    "number: .inf": [f"number: wants a number {WITHIN}, got inf"], "number: -1e300": [f"number: wants a number {WITHIN}, got -1e+300"],
    "number: .nan": [f"number: wants a number {WITHIN}, got nan"], "shares: {a: 1e400}": [f"shares.a: wants a number {WITHIN}, got inf"],
    "pair: [1e12, x]": [f"pair.0: wants a whole number {WITHIN}, got 1000000000000.0"],
    "whole: true": ["whole: wants a whole number, got true"],
    "whole: 3": ["whole: must be even, got 3"],
    "number: 1_000": ["number: wants a number, got text '1_000'"],
    "number: null": ["number: wants a number, got nothing (null)"],
    "truth: 1": ["truth: wants true or false, got 1"],
    "truth: yes": ["truth: wants true or false, got text 'yes'"],
    "text: [a]": ["text: wants text, got a list ['a']"],
    "text: false": ['text: wants text, got false => write "false" in quotes'],
    "text: {a: b}": ["text: wants text, got a mapping {'a': 'b'}"],
    "maybe: x": ["maybe: wants a whole number or null, got text 'x'"],
    "choice: c": ["choice: text 'c' is none of a, b, 3"],
    "choice: true": ["choice: true is none of a, b, 3"],
    "choice_or_not: of": ["choice_or_not: wants one of on | off or null, got text 'of' => did you mean 'off'?"],
    "names: a": ['names: wants a list, got text \'a\' => write [a]'],
    "names: [a, [b], {c: d}]": ["names.1: wants text, got a list ['b']", "names.2: wants text, got a mapping {'c': 'd'}"],
    "pair: [1]": ["pair: wants 2 values, got 1"],
    "pair: [x, [y]]": ["pair.0: wants a whole number, got text 'x'", "pair.1: wants text, got a list ['y']"],
    "shares: [a]": ["shares: wants a mapping, got a list ['a'] => write {a: …}"],
    "shares: {a: x, b: y}": ["shares.a: wants a number, got text 'x'", "shares.b: wants a number, got text 'y'"],
    "any: 3": ["any: wants a mapping or null, got 3 => write {key: …}"],
    "inner: 3": [f"{INNER}, got 3"],
    "inner: {names: x}": ["inner.names: wants a list, got text 'x' => write [x]", "inner: missing key 'rank' (whole number) => add `rank: …`: How many."],
    "inner: {rnk: 3}": ["inner.rnk: unknown key 'rnk' => did you mean 'rank'?"],
    "nmber: 3": ["nmber: unknown key 'nmber' => did you mean 'number'?"],
    "whole: 3, zzz: 1": ["zzz: unknown key 'zzz'", "whole: must be even, got 3"],
    "whole: 3, nmber: 1": ["nmber: unknown key 'nmber' => did you mean 'number'?", "whole: must be even, got 3"],
    "text: [a], truth: 1": ["text: wants text, got a list ['a']", "truth: wants true or false, got 1"],
    "wole: 2": ["wole: unknown key 'wole' => did you mean 'whole'?"],
}  # fmt: skip


@pytest.mark.parametrize("yaml", REFUSED)
def test_a_value_that_does_not_fit_is_told_with_all_others(yaml):
    if yaml.startswith("wole"):
        made, problems = read(Settings, {"wole": 2}, lambda path: ".".join(map(str, path)))
        problems = [f"{p.place}: {p.what} => {p.fix}" for p in problems]
    else:
        made, problems = given(yaml)
    assert made is None
    assert problems == REFUSED[yaml]


def test_a_required_key_that_is_missing_is_told_with_its_sentence():
    made, problems = read(Settings, {}, lambda path: "here")
    assert made is None
    assert [str(p) for p in problems] == [
        "here: missing key 'whole' (whole number)\n    fix: add `whole: …`: A whole number over two lines."
    ]


@pytest.mark.parametrize("values", [WRONG, 3, None, [], "x"])
def test_what_is_no_mapping_is_refused(values):
    made, problems = read(Settings, values, lambda path: "here")
    assert made is None
    assert len(problems) == 1


def test_what_was_told_before_is_not_told_again():
    made, problems = read(Settings, {"whole": WRONG, "inner": {"rank": WRONG}, "any": {"a": [WRONG]}}, str)
    assert (made, problems) == (None, [])


def test_keys_of_ports_are_near_misses_too():
    _, problems = read(Settings, {"whole": 2, "pixls": "x"}, str, also=("pixels",))
    assert problems[0].fix == "did you mean 'pixels'?"
    assert problems[0].known[0] == "pixels"


def test_settings_are_described_for_help_and_docs():
    fields = {f.name: f for f in describe(Settings)}
    assert (fields["whole"].type, fields["whole"].default) == ("whole number", "")
    assert fields["whole"].about == "A whole number over two lines."
    assert fields["text"].default == '"no: word"'
    assert fields["choice"].type == "one of a | b | 3"
    assert fields["inner"].type == "settings or null"
    assert fields["names"].default == "[]"
    assert fields["shares"].type == "mapping to number"
    assert sentences(Inner) == {"rank": "How many.", "names": "Which."}


def test_settings_become_plain_values_again():
    made, _ = given("inner: {rank: 3, names: [x]}, shares: {a: 1}, pair: [3, b]")
    again, problems = read(Settings, plain(made), str)
    assert problems == []
    assert again == made


@dataclass(frozen=True)
class Ruled:
    """Settings with rules of their own, one of which spans two of them."""

    count: int = 1
    width: int = 8
    heads: int = 2

    def problems(self):
        found = [] if self.count > 0 else [("count", f"must be above 0, got {self.count}")]
        return found + ([] if self.width % self.heads == 0 else [("width", f"no multiple of the {self.heads} heads")])


def test_rules_are_told_beside_what_cannot_be_read():
    def told(**values):
        return [p.place + ": " + p.what for p in read(Ruled, values, lambda path: ".".join(map(str, path)))[1]]

    assert told(count=0, heads="x") == ["heads: wants a whole number, got text 'x'", "count: must be above 0, got 0"]
    assert told(count=0, heds=3)[1:] == ["count: must be above 0, got 0"]
    assert told(width=9, heads="x") == ["heads: wants a whole number, got text 'x'"], "9 and the default say nothing"
    assert told(count=0, width=9) == ["count: must be above 0, got 0", "width: no multiple of the 2 heads"]


@pytest.mark.parametrize(
    ("view", "problems"),
    [
        (Frames(count=0, max=0), [("count", "must be at least 1, got 0"), ("max", "must be at least 1, got 0")]),
        (Frames(max=None), []),
        (
            Faces(margin=-0.1, person=-1),
            [("margin", "must be at least 0, got -0.1"), ("person", "must be at least 0, got -1")],
        ),
        (Faces(margin=float("nan")), [("margin", "must be at least 0, got nan")]),
        (Wave(rate=0, seconds=0), [("rate", "must be at least 1, got 0"), ("seconds", "must be more than 0, got 0")]),
        (
            Wave(clips=0),
            [("clips", "must be at least 1, got 0"), ("clips", "wants `seconds`, the length of each clip")],
        ),
    ],
)
def test_views_say_which_numbers_mean_nothing(view, problems):
    assert view.problems() == problems


def test_a_seed_may_be_larger_than_other_numbers():
    @dataclass(frozen=True)
    class Drawn:
        seed: int = 0
        """Of what is drawn."""

    place = lambda path: ".".join(map(str, path))  # noqa: E731
    assert read(Drawn, {"seed": 2**32}, place) == (Drawn(2**32), [])
    assert "from -18446744073709551615" in read(Drawn, {"seed": 2**64}, place)[1][0].what
