"""The feature cache: which file is which, a memo that is broken, and files that cannot be written."""

import logging
import os
import sqlite3
import time

import pytest

from affectkit.encode import cache as caches
from affectkit.encode.cache import Cache, CacheEntry, Contents, FileState, Keys, Memo
from affectkit.errors import InputError
from affectkit.sample import Fact, Sample

LONG_AGO = (1_000_000, 1_000_000)


def written(path, text, times=LONG_AGO):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, times)
    return path


@pytest.fixture(autouse=True)
def nothing_said_before(monkeypatch):
    monkeypatch.setattr(caches, "_UNUSABLE", {})


@pytest.fixture
def at_once(monkeypatch):
    """Files written just now count as settled."""
    monkeypatch.setattr(caches, "GRAIN", -(10**10))  # the clock of a file system may be ahead


def key(folder, path):
    contents = Contents(Memo(folder))
    found = contents.of(path)
    contents.keep()
    return found


def test_files_of_one_relative_name_in_two_folders_are_two(tmp_path, monkeypatch, at_once):
    keys = []
    for name in "AB":
        written(tmp_path / name / "wav" / "1.wav", name)
        monkeypatch.chdir(tmp_path / name)
        keys.append(key(tmp_path / "cache", type(tmp_path)("wav/1.wav")))
    assert keys[0] != keys[1]


def test_another_file_in_the_place_of_one_is_seen_though_size_and_time_agree(tmp_path, at_once):
    path = written(tmp_path / "a.wav", "one")
    before = key(tmp_path / "cache", path)
    os.replace(written(tmp_path / "b.wav", "two"), path)
    assert key(tmp_path / "cache", path) != before


def test_a_file_written_over_is_seen_at_once_though_size_and_time_agree(tmp_path):
    path = written(tmp_path / "a.wav", "one")
    contents = Contents(Memo(tmp_path / "cache"))
    before = contents.of(path)
    written(path, "two")
    assert contents.of(path) != before


def test_a_link_that_points_elsewhere_and_a_folder_of_frames_with_another_frame_are_seen(tmp_path, at_once):
    one, two = written(tmp_path / "1.png", "one"), written(tmp_path / "2.png", "two")
    link = tmp_path / "link.png"
    link.symlink_to(one)
    before = key(tmp_path / "cache", link)
    link.unlink()
    link.symlink_to(two)
    assert key(tmp_path / "cache", link) != before
    frames = tmp_path / "frames"
    for name in "ab":
        written(frames / f"{name}.png", name)
    before = key(tmp_path / "cache", frames)
    time.sleep(0.02)
    written(frames / "b.png", "c")
    assert key(tmp_path / "cache", frames) != before


def test_a_file_is_hashed_once_also_by_another_process_and_another_path_to_it(tmp_path, monkeypatch, at_once):
    path = written(tmp_path / "a.wav", "one")
    (tmp_path / "link.wav").symlink_to(path)
    hashed = []
    real = caches.content
    monkeypatch.setattr(caches, "content", lambda p: hashed.append(p) or real(p))
    assert key(tmp_path / "cache", path) == key(tmp_path / "cache", tmp_path / "link.wav")
    assert hashed == [path]


@pytest.mark.parametrize(
    "name", [b"bad\xff.wav", "früh\n\u2028.wav".encode(), ("n" * 200 + ".wav").encode(), b"a'b\".wav"]
)
def test_names_of_any_bytes_are_remembered(tmp_path, name, at_once):
    path = written(tmp_path / os.fsdecode(name), "one")
    key(tmp_path / "cache", path)
    assert Memo(tmp_path / "cache").get("media", FileState.of(path)) == key(tmp_path / "cache", path)


def garbage(path):
    path.write_bytes(b"garbage" * 100)


def folder(path):
    path.mkdir()


def another_schema(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE files (x INT)")


def text_that_is_no_text(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE files (kind, path, stamp, value)")
        db.execute("INSERT INTO files VALUES (CAST(x'ff' AS TEXT), 2, 3, 4)")


@pytest.mark.parametrize("broken", [garbage, folder, another_schema, text_that_is_no_text])
def test_without_a_memo_files_are_read_anew_and_that_is_said_once(tmp_path, caplog, broken, at_once):
    place = tmp_path / "cache"
    place.mkdir()
    broken(place / "memo.sqlite")
    path = written(tmp_path / "a.wav", "one")
    with caplog.at_level(logging.WARNING):
        assert key(place, path) == key(place, path)
        Cache(place).put("step", {"sample": CacheEntry({})}, "disk")
        assert Cache(place).get("step", "sample") is not None
    (said,) = caplog.messages
    assert str(place / "memo.sqlite") in said
    assert "affectkit cache clear" in said


def test_a_memo_that_another_process_locks_is_waited_for_once(tmp_path, caplog, monkeypatch, at_once):
    monkeypatch.setattr(caches, "WAIT", 0.2)
    path = written(tmp_path / "a.wav", "one")
    key(tmp_path, path)
    other = sqlite3.connect(tmp_path / "memo.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    begun = time.monotonic()
    for _ in range(20):
        key(tmp_path, path)
    assert time.monotonic() - begun < 2
    assert len(caplog.messages) == 1
    other.close()


def test_a_memo_that_cannot_be_written_is_read_all_the_same(tmp_path, monkeypatch, caplog, at_once):
    first, second = written(tmp_path / "a.wav", "one"), written(tmp_path / "b.wav", "two")
    known = key(tmp_path, first)
    memo = Memo(tmp_path)

    def refused(*args, **kwargs):
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(caches.sqlite3, "connect", refused)
    contents = Contents(memo)
    contents.of(second)
    contents.keep()
    assert memo.get("media", FileState.of(first)) == known
    assert "readonly" in caplog.text


def test_a_cache_that_cannot_be_made_is_named(tmp_path):
    written(tmp_path / "file", "")
    with pytest.raises(InputError, match=r"file/features: the feature cache cannot be made there.*\n.*run\.cache"):
        Cache(tmp_path / "file")


def sample_key(tmp_path, sample):
    names = Keys.__new__(Keys)
    names.contents, names._files = Contents(Memo(tmp_path / "cache")), {}
    return names.sample(sample, flip=False)


def test_what_views_look_at_is_all_in_the_key_of_a_sample(tmp_path):
    path = written(tmp_path / "a.wav", "one")
    whole = Sample("1", audio=path)
    others = [
        Sample("1", audio=path, start=1.0),
        Sample("1", audio=path, end=1.0),
        Sample("1", audio=path, subtitle="words"),
        Sample("1", audio=path, facts={"face_box": Fact([0, 0, 1, 1])}),
        Sample("1", audio=path, features={"x": path}),
    ]
    keys = {sample_key(tmp_path, sample) for sample in (whole, *others)}
    assert len(keys) == 6
    assert sample_key(tmp_path, Sample("another id", audio=path)) == sample_key(tmp_path, whole)


def test_two_samples_of_one_id_do_not_share_what_was_said_of_the_first(tmp_path):
    path = written(tmp_path / "a.wav", "one")
    names = Keys.__new__(Keys)
    names.contents, names._files = Contents(Memo(tmp_path / "cache")), {}
    first, second = (names.sample(Sample("1", audio=path, subtitle=words), flip=False) for words in ("yes", "no"))
    assert first != second
