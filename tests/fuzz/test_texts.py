"""Tables, recipes, JSON lines and answers with anything in them: the right result, or a file, a line and what is wrong."""

from __future__ import annotations

import csv
import io
import json
import shutil
import string
import unicodedata

from affectkit_plugins.datasets._table_paths import MediaFinder
from hypothesis import assume, given
from hypothesis import strategies as st

from affectkit.errors import InputError
from affectkit.files import read_jsonl, write_jsonl_atomic
from affectkit.labels.scoring import score
from affectkit.plan.check import check
from affectkit.reading import fold, read_plain
from affectkit.tables import read_table

SIGNS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
CELL = st.text(st.one_of(st.sampled_from(" ,;\t|\"'\n\r\u2028\x85\ufeff=#"), SIGNS), max_size=12).map(str.strip)
ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=8)
)


def told(error, path):
    """Every problem names the file, and says more than a decoder's class."""
    assert error.problems
    for problem in error.problems:
        assert not problem.place or str(path) in problem.place or str(path) in problem.what, problem
        assert len(problem.what) > 7


def lines_of(rows, delimiter):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    return file.getvalue()


@given(ROWS, st.sampled_from(",;\t|"), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.booleans())
def test_what_a_writer_wrote_is_read_cell_by_cell(folder, rows, delimiter, encoding, announced):
    width = len(rows[0])
    columns = [f"c{i}" for i in range(width)]
    text = ("sep=" + delimiter + "\r\n" if announced else "") + lines_of([columns, *rows], delimiter)
    assume(width > 1 or announced or delimiter == ",")
    path = folder / "t.csv"
    path.write_bytes(text.encode(encoding))
    try:
        table = read_table(path)
    except InputError as error:
        told(error, path)
        assert "looks like the next row" in str(error)  # a text of several lines may look like rows
        return
    assert table.columns == columns
    wanted = [row for row in rows if any(row)]
    assert [list(row.cells.values()) for row in table.rows] == wanted


@given(st.lists(st.text(string.ascii_letters + " .", min_size=1, max_size=8), min_size=2, max_size=8), st.data())
def test_a_quote_too_many_or_too_few_swallows_no_row(folder, texts, data):
    rows = [[f"{i:03d}", "label", f'"{text}"'] for i, text in enumerate(texts)]
    text = "id,label,text\n" + "".join(",".join(row) + "\n" for row in rows)
    quotes = [i for i, sign in enumerate(text) if sign == '"']
    at = data.draw(st.sampled_from(quotes))
    path = folder / "q.csv"
    path.write_text(text[:at] + text[at + 1 :])
    try:
        table = read_table(path)
    except InputError as error:
        told(error, path)
        return
    assert len(table.rows) == len(rows)


@given(st.lists(st.text(string.ascii_letters + " .", min_size=1, max_size=8), min_size=3, max_size=9), st.data())
def test_a_quote_that_closes_rows_later_swallows_none(folder, texts, data):
    rows = [[f"{i:03d}", "label", text] for i, text in enumerate(texts)]
    first = data.draw(st.integers(0, len(rows) - 2))
    last = data.draw(st.integers(first + 1, len(rows) - 1))
    rows[first][2], rows[last][2] = f'"{rows[first][2]}', f'{rows[last][2]}"'
    path = folder / "later.csv"
    path.write_text("id,label,text\n" + "".join(",".join(row) + "\n" for row in rows))
    try:
        table = read_table(path)
    except InputError as error:
        told(error, path)
        return
    assert len(table.rows) == len(rows)


@given(st.lists(st.text(st.characters() | st.characters(categories=["Cs"]), max_size=8), min_size=1, max_size=5))
def test_half_signs_in_json_become_texts_that_can_be_written(folder, texts):
    path = folder / "half.jsonl"
    path.write_text("".join(json.dumps({"subtitle": text}) + "\n" for text in texts))
    table = read_table(path)
    halves = sum("\ud800" <= sign <= "\udfff" for text in texts for sign in text)
    assert len(table.rows) == len(texts)
    for row in table.rows:
        row.cells["subtitle"].encode()
    assert bool(table.notes) == bool(halves)


def spelled(name, how):
    """A path as another system writes it."""
    ways = {
        "Windows": lambda: name.replace("/", "\\"),
        "a drive": lambda: "D:\\data\\" + name.replace("/", "\\"),
        "composed": lambda: unicodedata.normalize("NFC", name),
        "decomposed": lambda: unicodedata.normalize("NFD", name),
        "capitals": name.upper,
        "as it is": lambda: name,
    }
    return ways[how]()


PART = st.text(st.sampled_from("abcxyz019_- éüñ中"), min_size=1, max_size=6).filter(lambda part: part.strip() == part)


@given(
    st.lists(PART, min_size=1, max_size=3),
    st.sampled_from(["Windows", "a drive", "composed", "decomposed", "capitals", "as it is"]),
)
def test_a_path_is_found_however_a_system_spells_it(folder, parts, how):
    root = folder / "clips"
    shutil.rmtree(root, ignore_errors=True)
    name = "/".join(parts) + ".wav"
    (root / name).parent.mkdir(parents=True)
    (root / name).touch()
    found = MediaFinder(root).find(spelled(name, how))
    assert found.exists()
    assert found.samefile(root / name)


@given(st.binary(max_size=200), st.sampled_from(["csv", "tsv", "json", "jsonl", "xlsx"]))
def test_any_bytes_are_a_table_or_told(folder, data, ending):
    path = folder / f"any.{ending}"
    path.write_bytes(data)
    try:
        table = read_table(path)
    except InputError as error:
        told(error, path)
        return
    for row in table.rows:
        assert set(row.cells) <= set(table.columns)
        for cell in row.cells.values():
            cell.encode()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(SIGNS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(SIGNS), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(SIGNS), VALUES, max_size=4), max_size=5), st.booleans())
def test_json_lines_are_read_as_they_were_written(folder, rows, escaped):
    path = folder / "rows.jsonl"
    if escaped:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        write_jsonl_atomic(path, rows)
    assert [row for _, row in read_jsonl(path)] == rows


@given(st.lists(st.text(SIGNS | st.sampled_from('{}[]":,\n'), max_size=30), max_size=4))
def test_broken_json_lines_are_told(folder, lines):
    path = folder / "broken.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        list(read_jsonl(path))
    except InputError as error:
        told(error, path)


RECIPE = """name: tiny
data: {use: table, path: t.csv}
views: {wave: {use: wave, seconds: 2}}
streams:
  audio: {steps: {encoder: {use: log_mel, wave: wave}, projector: {use: mlp}}}
prompt: {use: template, parts: {audio: {use: slot, stream: audio}, ask: {use: label_question, wording: "Emotion?"}}}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
stages: {train: {train: [streams.audio.projector, backbone.model], max_steps: 4, batch_size: 4}}
score: {metrics: {uar: uar}, resamples: 10}
run: {accelerator: cpu}
"""
ODD = ["null", "[]", "{}", "nan", ".inf", "-1", "1e400", "''", "true", "*a", "&a x", "!!python/object:os.system x", "${x}",
       "[[[[", "2020-01-01", "0x", "\u2028", "'", '"', "- a", "? a", "<<: {a: 1}", "99999999999999999999", "1_000"]  # fmt: skip


@given(st.data())
def test_a_recipe_with_anything_in_it_is_a_plan_or_told(folder, data):
    text = RECIPE
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = min(len(text), at + data.draw(st.integers(0, 12)))
        text = text[:at] + data.draw(st.sampled_from(ODD) | st.text(SIGNS, max_size=3)) + text[end:]
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        check(path)
    except InputError as error:
        for problem in error.problems:
            assert problem.what, problem


KEYS = ["data.path", "views.wave.seconds", "stages.train.lr", "stages.train.epochs", "backbone.width", "backbone.layers",
        "stages.train.batch", "run.seed", "run.devices", "run.precision", "score.resamples", "run.strategy",
        "backbone.lora.rank", "streams.audio.steps.encoder.bins", "stages.train.train"]  # fmt: skip


@given(st.sampled_from(KEYS), st.sampled_from(ODD) | st.integers().map(str) | st.floats().map(str))
def test_a_setting_with_any_value_is_a_plan_or_told(folder, key, value):
    path = folder / "r.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    try:
        check(path, [f"{key}={value}"])
    except InputError as error:
        assert key.split(".")[-1] in str(error) or "override" in str(error), (key, value, str(error))


LABELS = ("happy", "sad", "not sure", "Überrascht", "开心")


def widened(text):
    """A text in the wide letters of East Asian type."""
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


AROUND = st.text(
    SIGNS.filter(lambda sign: unicodedata.category(sign)[0] in "PSZ" or sign in "\n\t \u200b\ufeff"), max_size=6
)


@given(st.sampled_from(LABELS), AROUND, AROUND, st.sampled_from([str, str.upper, str.lower, str.title, widened]))
def test_marks_around_a_label_do_not_hide_it(label, before, after, turn):
    # a mark that makes another letter of its neighbour (an accent standing alone) is part of the word
    assume(unicodedata.normalize("NFKC", before + label + after).count(label[0]) or label)
    whole = f"{before}{turn(label)}{after}"
    assume(fold(whole) == fold(label) or not any(unicodedata.normalize("NFKC", m) != m for m in before + after))
    assert read_plain(whole, LABELS).label == label


@given(
    st.sampled_from(LABELS),
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_a_word_or_letter_beside_a_label_makes_it_none(label, word, behind, apart):
    blank = " " if apart else ""
    text = f"{label}{blank}{word}" if behind else f"{word}{blank}{label}"
    assume(fold(text) not in {fold(known) for known in LABELS})
    assert read_plain(text, LABELS).label is None


WORDS = CELL | st.sampled_from(
    [*LABELS, "Happy.", "HAPPY", "h\u0430ppy", "nan", "None", "", "1", "1.0", "-1", "+", "A", "A+", "happy, sad", "I cannot tell",
     "[sad]", "['happy', 'sad']", "hap\u200bpy", "ＳＡＤ"]
)  # fmt: skip
IDS = st.sampled_from(["1", "001", "1.0", "a", "A", "a.mp4", "clip_1", "x/a", "é", "nan"])


@given(st.dictionaries(IDS, WORDS, min_size=1), st.dictionaries(IDS, WORDS, min_size=1), st.booleans())
def test_any_answers_are_scored_or_told(answers, truths, named):
    classes = LABELS if named else None
    try:
        found = score(answers, truths, ["war", "uar"], classes, resamples=3)
    except InputError as error:
        assert all(problem.what for problem in error.problems)
        return
    states = found["ledger"]
    assert states["total"] == sum(n for state, n in states.items() if state != "total") == len({*answers, *truths})
    assert found["count"] == states["total"] - states["skipped"] - states["undecodable"]
    shapes = [fold(label) or label for label in found["labels"]]
    assert named or len(set(shapes)) == len(shapes), "no two labels that fold to one"
    told = "".join(found.get("remarks", ()))
    for state, words in (("refused", "refuse"), ("out_of_vocabulary", "outside the label set")):
        assert bool(states[state]) == (words in told)
