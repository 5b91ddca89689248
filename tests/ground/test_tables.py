"""Tables as people save them: read right, or refused with file, line and the way on."""

import json

import pytest

from affectkit.errors import InputError
from affectkit.tables import read_table, text_lines

BASE = "path,label,subtitle\na.mp4,happy,one\nb.mp4,sad,two\n"
CELLS = [{"path": "a.mp4", "label": "happy", "subtitle": "one"}, {"path": "b.mp4", "label": "sad", "subtitle": "two"}]


@pytest.fixture
def saved(tmp_path):
    def save(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return save


def cells(path):
    return [row.cells for row in read_table(path).rows]


def told(path):
    with pytest.raises(InputError) as caught:
        read_table(path)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("what", "content", "name"),
    [
        ("semicolons", BASE.replace(",", ";"), "t.csv"),
        ("bars", BASE.replace(",", "|"), "t.csv"),
        ("tabs", BASE.replace(",", "\t"), "t.tsv"),
        ("Excel's own first line", "sep=;\r\n" + BASE.replace(",", ";"), "t.csv"),
        ("separators behind the last column", BASE.replace("\n", ",\n"), "t.csv"),
        ("separators behind the cells only", BASE.replace("one\n", "one,,\n"), "t.csv"),
        ("UTF-8 with a mark", BASE.encode("utf-8-sig"), "t.csv"),
        ("UTF-16 with a mark", BASE.encode("utf-16"), "t.csv"),
        ("UTF-16 without", BASE.encode("utf-16-le"), "t.csv"),
        ("UTF-16, large end first, without", BASE.encode("utf-16-be"), "t.csv"),
        ("UTF-32", BASE.encode("utf-32"), "t.csv"),
        ("UTF-32 without", BASE.encode("utf-32-le"), "t.csv"),
        ("UTF-32, large end first, without", BASE.encode("utf-32-be"), "t.csv"),
        ("lines of an old Mac", BASE.replace("\n", "\r"), "t.csv"),
        ("lines of Windows", BASE.replace("\n", "\r\n"), "t.csv"),
        ("blank lines and blanks", "\n" + BASE.replace("happy", " happy ").replace("\n", "\n\n"), "t.csv"),
        ("quotes", BASE.replace("one", '"one"'), "t.csv"),
        ("JSON lines", "\n".join(map(json.dumps, CELLS)), "t.jsonl"),
        ("JSON lines with a mark", "\ufeff" + "\n".join(map(json.dumps, CELLS)), "t.ndjson"),
        ("JSON", json.dumps(CELLS), "t.json"),
    ],
)
def test_is_read_whatever_its_form(saved, what, content, name):
    assert cells(saved(content, name)) == CELLS, what


def test_signs_that_end_no_line_stay_in_their_text(saved):
    for sign in "\u2028\u2029\x85\x0b\x0c\x1c":
        assert cells(saved(BASE.replace("one", f"o{sign}e")))[0]["subtitle"] == f"o{sign}e"
        line = json.dumps({"subtitle": f"o{sign}e"}, ensure_ascii=False)
        assert cells(saved(line, "t.jsonl"))[0]["subtitle"] == f"o{sign}e"
    assert text_lines("a\r\nb\rc\n\nd\x85e") == ["a", "b", "c", "", "d\x85e"]


def test_a_text_of_several_lines_in_quotes_is_one_cell(saved):
    text = "so, I said:\nwell, never"
    assert cells(saved(BASE.replace("one", f'"{text}"')))[0]["subtitle"] == text


def test_a_quote_that_nothing_closes_is_told_with_its_line(saved):
    found = told(saved(BASE.replace("one", '"one')))
    assert len(found) == 1
    assert ":2: opens a quote that nothing closes" in found[0]


def test_a_quote_that_a_later_row_closes_swallows_none(saved):
    found = told(saved('id,label,text\n001,happy,"so\n002,sad,b"\n003,sad,c\n'))
    assert len(found) == 1
    assert ":2: a quoted cell of this row holds what looks like the next row: '002,sad,b'" in found[0]


def test_other_encodings_are_named(saved):
    found = told(saved("path,label\na.mp4,开心\nb.mp4,难过\n".encode("gbk")))
    assert "t.csv:2" in found[0]
    assert "it may be GB18030" in found[0]
    assert "iconv -f GB18030" in found[0]


def test_every_broken_line_is_told_in_order(saved):
    found = told(saved(BASE + 'c.mp4,x\n"d"x,y,z\ne.mp4,1,2,3\n'))
    assert [line.split(": ")[0].rpartition(":")[2] for line in found] == ["4", "5", "6"]
    lines = told(saved('{"a": 1}\n[1]\n{"a": \n{"a": 1, "a": 2}\n' + "[" * 100000, "t.jsonl"))
    assert [line.split(": ")[0].rpartition(":")[2] for line in lines] == ["2", "3", "4", "5"]
    assert "'a' is there twice" in lines[2]
    assert "too deep" in lines[3]


def test_a_column_that_is_there_twice(saved):
    assert "names label more than once" in told(saved("path,label,label\na,b,c\n"))[0]


def test_the_header_once_more_is_no_row(saved):
    (found,) = told(saved("id,label\na,sad\nid,label\nb,sad\n"))
    assert found.endswith("t.csv:3: is the header once more, as where files are joined\n    fix: take this line out")


def test_a_title_above_the_header_is_told_once(saved):
    (found,) = told(saved("made by me\nid,label\na,sad\nb,happy\n"))
    assert ":1: does not name the columns: the lines below have 2 cells" in found
    assert cells(saved("label\nsad,\nhappy,\n")) == [{"label": "sad"}, {"label": "happy"}]


def test_half_a_sign_is_replaced_and_told(saved):
    table = read_table(saved('{"subtitle": "good \\ud83d"}\n', "t.jsonl"))
    assert table.rows[0].cells == {"subtitle": "good \N{REPLACEMENT CHARACTER}"}
    assert len(table.notes) == 1
    assert "t.jsonl:1" in table.notes[0]
    assert read_table(saved(json.dumps({"subtitle": "\U0001f600"}), "t.jsonl")).notes == ()


def test_excel(tmp_path):
    import datetime

    import openpyxl

    book = openpyxl.Workbook()
    first = book.active
    first.title = "notes"
    second = book.create_sheet("clips")
    for row in (["path", "label", "fold", "day", None], ["a.mp4", "happy", 1, datetime.date(2026, 1, 2)],
                [None] * 3, ["b.mp4", None, 2.5, None]):  # fmt: skip
        second.append(row)
    book.create_sheet("more").append(["x"])
    book.save(tmp_path / "t.xlsx")
    table = read_table(tmp_path / "t.xlsx")
    assert table.columns == ["path", "label", "fold", "day"]
    assert [list(row.cells.values()) for row in table.rows] == [
        ["a.mp4", "happy", "1", "2026-01-02T00:00:00"],
        ["b.mp4", "", "2.5", ""],
    ]
    assert table.rows[1].place.endswith("t.xlsx sheet clips row 4")
    assert table.notes == ("t.xlsx: read is the sheet 'clips', not 'more'",)


def workbook(path, *rows, merge=""):
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    if merge:
        book.active.merge_cells(merge)
    book.create_sheet("more").append(["x"])
    book.save(path)
    return path


def test_merged_cells_are_all_of_one_value(tmp_path):
    table = read_table(
        workbook(tmp_path / "t.xlsx", ["id", "label"], ["a", "sad"], ["b", None], ["c", "happy"], merge="B2:B3")
    )
    assert [row.cells["label"] for row in table.rows] == ["sad", "sad", "happy"]
    assert "merged cells, each read as full of its value: 1" in table.notes[1]


def test_a_formula_without_its_value_is_told(tmp_path):
    (found,) = told(workbook(tmp_path / "t.xlsx", ["id", "label"], ["a", '="sad"'], ["b", "happy"]))
    assert "t.xlsx sheet Sheet row 2: the formula in B2 was saved without its value" in found


def test_a_sheet_of_one_line_is_no_table_beside_one_that_is(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["see the other sheet"])
    for row in (["id", "label"], ["a", "sad"]):
        book["clips"].append(row) if "clips" in book.sheetnames else book.create_sheet("clips").append(row)
    book.save(tmp_path / "t.xlsx")
    assert cells(tmp_path / "t.xlsx") == [{"id": "a", "label": "sad"}]


def test_bytes_and_fine_times_of_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    fine = pyarrow.array([1234567890123456789], type=pyarrow.timestamp("ns"))
    parquet.write_table(
        pyarrow.table({"id": ["a"], "label": [b"sad"], "raw": [b"\xff"], "at": fine}), tmp_path / "t.parquet"
    )
    (row,) = cells(tmp_path / "t.parquet")
    assert (row["id"], row["label"]) == ("a", "sad")
    assert row["at"].startswith("2009-02-13 23:31:30.123456789")


@pytest.mark.parametrize("name", ["t.xlsx", "t.xls", "t.ods"])
def test_what_is_no_excel_says_what_to_do(saved, name):
    assert "save it as CSV" in told(saved(b"PK\3\4", name))[0]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_nothing_and_noise(saved, name):
    table = read_table(saved("", name)) if name == "t.jsonl" else None
    assert table is None or table.rows == []
    if table is None:
        assert name in told(saved("", name))[0]
    assert name in told(saved(b"\x00\xff\xfe\x80" * 5, name))[0]
