"""YAML with marks: what it means, where it stands, what is refused, and that no text takes long."""
# ruff: noqa: E501 -- each message in one line

import math
import random
import time

import pytest

from affectkit.recipe.marked_yaml import (
    MOST_DEPTH,
    MOST_NODES,
    MOST_TEXT,
    WRONG,
    Mark,
    as_written,
    dump,
    holds_wrong,
    parse,
    read,
)
from affectkit.recipe.settings import plain


def told(text):
    value, _, problems = parse(text, "a.yaml")
    return value, [f"{p.place}: {p.what}" + (f" => {p.fix}" if p.fix else "") for p in problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-5", -5), ("0x1F", 31), ("0o17", 15), ("007", 7), ("1e-5", 1e-5), ("1E3", 1000.0), (".5", 0.5),
        ("-.inf", -math.inf), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("yes", "yes"), ("on", "on"), ("1_000", "1_000"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"),
        ("'5'", "5"), ('"a\\nb"', "a\nb"), ("[1, [a]]", [1, ["a"]]), ("{a: {b: }}", {"a": {"b": None}}),
        ("1: a", {"1": "a"}), ("&x [1]", [1]), ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("!!str 5", "5"), ("\ufeffa: 1", {"a": 1}),
    ],
)  # fmt: skip
def test_yaml_is_read_as_its_core_schema(text, value):
    found, problems = told(text)
    assert problems == []
    assert found == value
    assert type(plain(found)) is type(value)


def test_every_key_and_item_has_its_mark():
    _, marks, _ = parse("a:\n  b: [x,\n   y]\nc: 1\n", "f.yaml", ("up.yaml",))
    assert {p: (m.line, m.column) for p, m in marks.items()} == {
        (): (1, 1), ("a",): (1, 1), ("a", "b"): (2, 3), ("a", "b", 0): (2, 7), ("a", "b", 1): (3, 4), ("c",): (4, 1),
    }  # fmt: skip
    assert str(marks["a", "b"]) == "f.yaml:2:3 (extended by up.yaml)"
    assert str(Mark("f.yaml", 2, 3, ("top.yaml", "mid.yaml"))) == "f.yaml:2:3 (extended by mid.yaml <- top.yaml)"
    assert str(Mark("f.yaml")) == "f.yaml"


def test_a_number_remembers_how_it_was_written():
    value, _ = told("[007, 1.10, 1e-3, 5, 2.5]")
    assert [as_written(v) for v in value] == ["007", "1.10", "1e-3", "5", "2.5"]


BROKEN = {
    "a: 1\n\tb: 2\n": "a.yaml:2:1: is not YAML: a tab stands where only spaces may => indent with spaces",
    "a: {b: 1\nc: {}\n": "a.yaml:2:2: is not YAML: a bracket is not closed, or a comma is missing (it begins at line 1) => close it",
    "a: b: c\n": "a.yaml:1:5: is not YAML: a colon stands where none may => mend the indentation, or quote a text that holds `: `",
    'a: "x\nb: 1\n': "a.yaml:3:1: is not YAML: a quote is not closed (it begins at line 1) => close it",
    "a:\n  b: 1\n c: 2\n": "a.yaml:3:2: is not YAML: the indentation does not fit the lines above => line up the keys of one mapping",
    "a: @x\n": "a.yaml:1:4: is not YAML: a text begins with a character that YAML keeps for itself => quote the text",
    "a: *x\n": "a.yaml:1:4: is not YAML: an alias names no anchor => write `&name` at what it stands for",
    "a: 1\nwords\nb: 2\n": "a.yaml:3:1: is not YAML: a line is no `key: value` => add the colon with a space behind it, or mend the indentation",
    "a: 1\n---\nb: 2\n": "a.yaml:2:1: is not YAML: there is a second document behind `---` => one recipe a file",
    "a: 1\nb: x\0\n": "a.yaml:2:5: is not YAML: the character U+0000 may not stand in it",
    "a: &a [*a]\n": "a.yaml:1:4: an alias leads back to itself => write the value out",
    "a: &a {b: *a}\n": "a.yaml:1:4: an alias leads back to itself => write the value out",
    "a: " + "[" * 60 + "]" * 60: "a.yaml:1:44: is nested too deeply, which no recipe is",
    "[" * 3000: "a.yaml: is nested too deeply, which no recipe is",
    "- " * 5000: "a.yaml: is nested too deeply, which no recipe is",
    "x" * (MOST_TEXT + 1): "a.yaml: is longer than 100,000 characters, which no recipe is",
}  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=lambda t: repr(t[:20]))
def test_what_is_no_yaml_is_told_in_plain_words(text):
    assert told(text) == (WRONG, [BROKEN[text]])


FORBIDDEN = {
    "a: !!python/object/apply:os.system ['x']": "!!python/object/apply:os.system",
    "a: !!python/name:os.system": "!!python/name:os.system",
    "a: !!python/object/new:os.system {args: [x]}": "!!python/object/new:os.system",
    "a: !env HOME": "!env",
    "a: !!int x": "!!int",
    "a: !!float x": "!!float",
    "a: !!bool 5": "!!bool",
    "a: !!binary aGk=": "!!binary",
    "a: !!set {x, y}": "!!set",
}


@pytest.mark.parametrize("text", FORBIDDEN)
def test_a_tag_makes_nothing(text):
    value, problems = told(text)
    assert value == {"a": WRONG}
    what = f"the tag {FORBIDDEN[text]!r} is not allowed: a recipe holds plain values only"
    assert problems == [f"a.yaml:1:4: {what} => leave it out"]


def test_duplicates_at_any_depth_are_told_beside_each_other():
    value, problems = told("a: {b: 1, b: 2}\nc: 3\na: 4\n<<: {x: 1}\n[k]: 2\nbig: 99999999999999999999\n")
    assert value == {"a": {"b": 1}, "c": 3, "big": WRONG}
    assert [p.split(" => ")[0] for p in problems] == [
        "a.yaml:1:11: duplicate key 'b' (first at line 1)",
        "a.yaml:3:1: duplicate key 'a' (first at line 1)",
        "a.yaml:4:1: merge keys (`<<`) are not read",
        "a.yaml:5:1: a key must be a word",
        "a.yaml:6:6: the number is too large",
    ]
    assert holds_wrong(value)
    assert not holds_wrong({"a": [1, {"b": None}]})


BOMBS = {
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)),
    "mappings": "a: &a {x: 1, y: 2}\n"
    + "".join(f"k{i}: &k{i} {{p: *{'a' if not i else f'k{i - 1}'}, q: *{'a' if not i else f'k{i - 1}'}}}\n" for i in range(30)),
    "items": "a: [" + "x," * (MOST_NODES + 5) + "]",
    "brackets": "a: " + "[" * 40_000,
    "dashes": "- " * 40_000,
    "questions": "? " * 40_000,
    "words": "a\n" * 49_000,
    "duplicates": "a: b\n" * 9_000,
    "digits": "a: " + "9" * 90_000,
    "spaces": " " * 99_000 + "x",
    "steps": "".join(" " * i + "k:\n" for i in range(400)),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_no_text_takes_long(name):
    began = time.process_time()
    value, _, problems = parse(BOMBS[name], "a.yaml")
    assert time.process_time() - began < 20  # no bomb goes off; speed is for benchmarks/
    assert problems or value is not WRONG
    assert len(problems) < 10_000


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "utf16.yaml").write_bytes("name: x".encode("utf-16"))
    (tmp_path / "utf8.yaml").write_bytes(b"\xef\xbb\xbfname: x\n")
    assert str(read(tmp_path / "utf16.yaml", "u.yaml")[2][0]).startswith("u.yaml: is not UTF-8 text")
    assert read(tmp_path / "utf8.yaml", "u.yaml")[0] == {"name": "x"}
    assert str(read(tmp_path / "none.yaml", "n.yaml")[2][0]) == "n.yaml: cannot be read: No such file or directory"


TRICKY = (
    "", " ", "5", "007", "1e-5", "1e5", "0x1F", "0o17", ".5", "5.", "yes", "No", "on", "true", "null", "~", ".inf", ".nan",
    "12:30", "2024-01-01", "a: b", "a #b", "#x", "- x", "[x]", "{x}", "@x", "`x`", "!x", "&x", "*x", "%x", "|", ">", "'", '"',
    "a\nb", "a\n", "\n", "a\tb", "\ta", " a", "a ", "=", "<<", "?", "? x", "\u2028", "\x85", "\ufeff", "é", "😀", "a\\b", "${x}",
    "x" * 300, "word " * 60, "...", "---", "--- x",
)  # fmt: skip


@pytest.mark.parametrize("text", TRICKY, ids=repr)
def test_every_text_survives_being_written_and_read(text):
    for value in (text, [text], {"k": text}, {"k": [{"l": text}]}):
        found, _, problems = parse(dump(value), "a.yaml")
        assert problems == []
        assert found == value
        assert type(found) is type(value)
    if text:
        assert parse(dump({text: 1}), "a.yaml")[0] == {text: 1} or text == "<<"


def anything(rng, depth):
    """A random plain value."""
    kind = rng.randrange(8 if depth else 6)
    if kind == 6:
        return [anything(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {f"k{i}": anything(rng, depth - 1) for i in range(rng.randrange(4))}
    number = rng.choice([rng.random(), rng.random() * 10.0 ** rng.randint(-30, 30), math.inf, 1e16, -0.0])
    return [rng.choice(TRICKY), rng.randint(-(10**9), 10**9), number, True, False, None][kind]


@pytest.mark.parametrize("seed", range(30))
def test_every_value_survives_being_written_and_read(seed):
    value = anything(random.Random(seed), MOST_DEPTH // 8)
    found, _, problems = parse(dump({"v": value}), "a.yaml")
    assert problems == []
    assert plain(found) == {"v": value}
