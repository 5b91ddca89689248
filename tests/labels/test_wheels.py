"""Emotion wheels: the published tables where a copy is there, trees of our own everywhere."""

import openpyxl
import pytest
from click.testing import CliRunner
from wheel_files import TABLES, published

from affectkit.commands.wheels import command
from affectkit.errors import InputError
from affectkit.labels.wheels import read_tables, string_to_list

# word | M1 | M2 | inner ring of five wheels | second ring of five wheels; - for no group
VECTORS = """\
happy | happiness | joy | happy/happy/joyful/joy/powerful | joyful/content/cheerful/acceptance/proud
joyful | joy | joy | happy/happy/joyful/joy/powerful | accepted/accepted/cheerful/acceptance/proud
excited | excitable | manic | surprised/happy/joyful/genius/joyful | excited/playful/excited/creative/excited
grateful | grateful | appreciated | happy/happy/powerful/joy/powerful | peaceful/peaceful/appreciated/calm/appreciated
angry | anger | anger | mad/angry/mad/anger/mad | anger/aggressive/angry/aggressive/angry
furious | furious | angry | mad/angry/mad/anger/mad | anger/aggressive/angry/aggressive/angry
annoyed | annoyed | angry | mad/angry/mad/anger/mad | frustrated/aggressive/angry/irritated/angry
dissatisfied | dissatisfied | disappointed | sad/sad/-/sad/- | hurt/hurt/-/disappointed/-
sad | sad | depressed | sad/sad/sad/sad/sad | depressed/depressed/depressed/disappointed/depressed
sorrowful | sorrow | grief | sad/sad/sad/sad/sad | in my feelings/despair/guilty/loss/depressed
disappointed | disappointed | disappointed | sad/sad/scared/sad/scared | hurt/hurt/rejected/disappointed/confused
helpless | helpless | helpless | sad/fearful/scared/-/scared | in my feelings/scared/helpless/-/helpless
worried | worried | anxious | scared/fearful/scared/fear/scared | anxious/anxious/anxious/worried/anxious
anxious | anxiety | fear | scared/fearful/scared/fear/scared | anxious/anxious/anxious/worried/anxious
nervous | nervous | anxious | scared/fearful/scared/fear/scared | anxious/anxious/anxious/worried/anxious
fearful | fear | fear | scared/fearful/scared/fear/scared | fearful/anxious/anxious/busy/anxious
fear | fear | fear | scared/happy/joyful/genius/joyful | fearful/powerful/excited/embodied/excited
surprise | surprised | amazed | surprised/surprised/powerful/fear/- | amazed/amazed/aware/surprised/-
surprised | surprised | amazed | surprised/surprised/powerful/fear/- | amazed/amazed/aware/surprised/-
shocked | shocked | appalled | disgusted/disgusted/powerful/fear/- | grossed out/disappointed/aware/surprised/-
disgust | disgust | disgust | disgusted/disgusted/-/disgust/- | avoiding/awful/-/avoidance/-
contempt | contemptuous | dismissive | -/angry/-/-/- | -/critical/-/-/-
confused | confused | bewildered | surprised/surprised/scared/sad/scared | confused/confused/confused/lost/rejected
serious | serious | heavy | -/-/-/sad/- | -/-/-/lost/-
calm | calm | calm | happy/happy/peaceful/joy/peaceful | peaceful/peaceful/content/calm/content
neutral | - | - | -/-/-/-/- | -/-/-/-/-
doubtful | doubtful | sceptical | mad/angry/mad/anger/mad | offended/critical/critical/skeptical/critical
guilty | guilty | ashamed | sad/sad/sad/disgust/sad | guilty/guilty/ashamed/not good enough/ashamed
proud | proud | proud | happy/happy/powerful/genius/powerful | proud/proud/proud/in awe/proud
embarrassed | embarrassed | ashamed | sad/sad/sad/disgust/sad | guilty/guilty/ashamed/not good enough/ashamed
overwhelmed | overwhelmed | awestruck | surprised/bad/scared/sad/- | amazed/busy/anxious/unmotivated/-
curious | curious | curious | happy/happy/-/genius/- | interested/interested/-/interested/-
concerned | concern | care | scared/fearful/scared/fear/scared | anxious/anxious/anxious/worried/anxious
frustrated | frustrated | disappointed | sad/sad/mad/sad/mad | hurt/hurt/angry/disappointed/angry
impatient | impatient | eager | surprised/surprised/-/-/- | excited/excited/-/-/-
indifferent | indifferent | apathetic | sad/bad/sad/sad/sad | tired/bored/bored/bored/sleepy
tense | tense | pressured | -/bad/-/fear/- | -/busy/-/stressed/-
relaxed | relaxed | calm | -/-/peaceful/joy/peaceful | -/-/content/calm/thoughtful
love | love | love | happy/happy/peaceful/joy/joyful | peaceful/peaceful/loving/care/aware
hate | hate | detest | disgusted/disgusted/mad/disgust/mad | awful/awful/hateful/pity/hateful
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "cache"))


def sheet(path, rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def small_tables(folder):
    """Two forms of two words, one wheel with blanks and a word in two places."""
    folder.mkdir(exist_ok=True)
    (folder / "format.csv").write_text('name,format\njoy,"joy,joyful"\nanger,"[\'angry\', joyful]"\ngrim,grimly\n')
    words = [f"{what}_run{i}" for i in range(1, 9) for what in ("word", "synonym")]
    # as in the published file a synonym need not be a form, and a word is its own synonym
    sheet(folder / "synonym.xlsx", [words, ["Mad", "anger, grim"] * 8, [" Happy ", "['joy']"] * 8])
    for i in range(1, 6):
        wheel = [
            ("level1", "level2", "level3"),
            (" Happy ", "Proud", "Sure"),
            (None, "Calm", "Still"),
            ("Bad", "Mad", "Sure"),
        ]
        sheet(folder / f"wheel{i}.xlsx", wheel)
    return folder


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("[happy, sad]", ["happy", "sad"]), ("['happy', \"sad\"]", ["happy", "sad"]), ("happy,sad", ["happy", "sad"]),
        ("[[a], b]", ["[a]", "b"]), ("[]", []), ("", []), (" [ ] ", []), ("can't", ["can", "t"]), ("[a,,'' ,b", ["a", "b"]),
    ],
)  # fmt: skip
def test_lists_are_parsed_as_published(text, labels):
    assert string_to_list(text) == labels


@pytest.fixture(scope="module")
def tables():
    """The published tables, read once."""
    return read_tables(TABLES)


@published
@pytest.mark.parametrize("line", VECTORS.splitlines(), ids=lambda line: line.split("|")[0])
def test_published_vectors(line, tables):
    word, m1, m2, inner, second = (cell.strip() for cell in line.split("|"))
    wanted = [m1, m2, *inner.split("/"), *second.split("/")]
    assert [tables.group(word, m) or "-" for m in tables.mappings] == wanted


@published
def test_published_tables_have_the_published_sizes():
    one, two = read_tables(TABLES), read_tables(TABLES, "mer2026")
    assert [len(t.forms) for t in (one, two)] == [7386, 7356]
    assert [len(t.words) for t in (one, two)] == [1255, 1255]
    assert len({w for words in one.words.values() for w in words}) == 253
    assert [len(set(one.wheels[f"W{i}-L1"].values())) for i in range(1, 6)] == [6, 7, 6, 6, 6]
    assert [len(one.wheels[f"W{i}-L1"]) for i in range(1, 6)] == [114, 126, 78, 102, 77]
    assert (one.group("fear", "W1-L1"), one.comparable, two.comparable) == ("scared", True, True)
    assert (one.group("fear", "W2-L1"), two.group("fear", "W2-L1")) == ("happy", "fearful")


def test_the_mapping_takes_all_base_words_on_a_wheel(tmp_path):
    tables = read_tables(small_tables(tmp_path / "w"))
    assert not tables.comparable
    assert "unpublished form table" in tables.name
    assert [tables.group("joyful", m) for m in ("M1", "M2", "W1-L1", "W1-L2")] == ["anger", "mad", "happy", "calm"]
    assert [tables.group("angry", m) for m in ("W1-L1", "W1-L2")] == ["bad", "mad"]
    assert tables.group("neutral", "W1-L1") == tables.group("neutral", "M1") == ""
    assert tables.wheels["W1-L1"]["sure"] == "bad", "the last place of a word counts"
    assert read_tables(tmp_path / "w") == tables, "kept tables are the same"


def test_missing_and_broken_tables_are_told(tmp_path):
    with pytest.raises(InputError) as told:
        read_tables(tmp_path)
    assert len(told.value.problems) == 7
    folder = small_tables(tmp_path / "w")
    (folder / "wheel3.xlsx").write_bytes(b"no workbook")
    with pytest.raises(InputError, match=r"wheel3\.xlsx: cannot be read as Excel"):
        read_tables(folder)


@published
def test_one_form_table_is_not_taken_for_the_other(tmp_path):
    for file in TABLES.iterdir():
        if file.name != "format.csv":
            name = file.name.replace("format_mer2026", "format")
            (tmp_path / name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="forms: mer2026"):
        read_tables(tmp_path, "original")
    assert read_tables(tmp_path, "mer2026").comparable
    assert (len(read_tables(TABLES).forms), len(read_tables(tmp_path).forms)) == (7386, 7356), (
        "auto: the one that is there"
    )
    assert read_tables(tmp_path).name == "mer2026 form table"


def test_a_changed_form_table_of_the_other_challenge_is_no_original(tmp_path):
    folder = small_tables(tmp_path / "w")
    (folder / "format.csv").rename(folder / "format_mer2026.csv")
    with pytest.raises(InputError, match=r"format_mer2026\.csv.* only"):
        read_tables(folder, "original")
    assert "unpublished" in read_tables(folder).name


@published
def test_import_prints_what_it_read(tmp_path):
    found = CliRunner().invoke(command, ["import", str(TABLES)])
    assert found.exit_code == 0, found.output
    assert "ba6de7d61db8e129d1d7ef8a2aae22a9e93a2c2e3e683e6f2735d04455f016f2" in found.output.replace("\n", "")
    assert "7386 forms, 1255 base words, 253 wheel words" in found.output
    assert sorted(p.name for p in (tmp_path / "cache" / "wheels").glob("[mo]*")) == ["mer2026.json", "original.json"]


def test_import_says_what_is_not_as_published(tmp_path):
    found = CliRunner().invoke(command, ["import", str(small_tables(tmp_path / "w"))])
    assert found.exit_code == 0, found.output
    assert "not a published file" in found.output
