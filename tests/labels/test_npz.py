"""Published npz: plain data comes out, anything else is refused by name and nothing of it runs."""

import collections
import contextlib
import datetime
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from affectkit.errors import InputError
from affectkit.labels import npz
from affectkit.labels.npz import loads, read_npy, read_npz, read_rows


class Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def same(one, two):
    if isinstance(one, np.ndarray):
        return (
            isinstance(two, np.ndarray)
            and one.dtype == two.dtype
            and one.shape == two.shape
            and same(one.tolist(), two.tolist())
        )
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[k], two[k]) for k in one)
    if isinstance(one, list | tuple):
        return type(one) is type(two) and len(one) == len(two) and all(map(same, one, two))
    return one == two


PLAIN = {
    "text": "愤怒", "number": 1, "real": 0.5, "none": None, "bytes": b"\x00\xff", "yes": True, "set": {1, 2},
    "nested": [("a", [1.5]), {"b": {}}], "array": np.arange(6.0).reshape(2, 3), "fortran": np.asfortranarray(np.eye(2, 3)),
    "words": np.array(["happy", "sad"]), "objects": np.array(["a", {"b": [1]}, None], object), "small": np.int8([[-1]]),
}  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_out_as_it_went_in(protocol):
    found = loads(pickle.dumps(PLAIN, protocol), "here")
    for key, value in PLAIN.items():
        assert same(value, found[key]), key


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_numbers_become_plain_ones(protocol):
    value = {"a": np.float32(0.5), "b": np.int64(-3), "c": np.float64("nan"), "d": np.bool_(True), "e": np.str_("x")}
    found = loads(pickle.dumps(value, protocol), "here")
    assert (found["a"], found["b"], found["d"], found["e"]) == (0.5, -3, True, "x")
    assert found["c"] != found["c"]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Runs(os.system, ("true",)), r"posix\.system|os\.system"), (Runs(eval, ("1",)), r"builtins\.eval"),
        (Runs(getattr, ("a", "upper")), r"builtins\.getattr"), (Path("x"), "Path"), (datetime.date(2020, 1, 1), "datetime.date"),
        (collections.Counter("a"), "Counter"), (np.random.default_rng(0), "random"), (np.datetime64("2020"), "M8"),
        (np.zeros(1, [("a", "f8")]), "V8|records"), (np.ma.zeros(2), "MaskedArray|mrecords|ma"), (os.getcwd, "getcwd"),
        (np.ndarray, "class"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_name(value, named):
    with pytest.raises(InputError, match=named):
        loads(pickle.dumps({"a": [value]}), "here")


def test_nothing_runs(tmp_path):
    mark = tmp_path / "ran"
    np.save(tmp_path / "x.npy", np.array(Runs(os.mkdir, (str(mark),)), object), allow_pickle=True)
    with pytest.raises(InputError, match="mkdir"):
        read_npy((tmp_path / "x.npy").read_bytes(), "x.npy")
    assert not mark.exists()


def test_what_is_broken_or_endless_is_told(tmp_path):
    endless = []
    endless.append(endless)
    for data in (b"", b"abc", pickle.dumps(PLAIN)[:-20], pickle.dumps(endless), b"\x80\x04cos\nsystem\n."):
        with pytest.raises(InputError):
            loads(data, "here")
    for name, data in {"a.npz": b"not a zip", "b.npz": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="cannot be read"):
            read_npz(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("a.npy", b"no array")
    with pytest.raises(InputError, match="no array file"):
        read_npz(tmp_path / "c.npz")
    file = io.BytesIO()
    np.save(file, np.arange(9))
    with pytest.raises(InputError):
        read_npy(file.getvalue()[:-8], "short")


CORPORA = {"test_corpus": {"a": {"emo": "happy"}}}


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.pkl", "a.pickle"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_bare_pickle_says_which_code_it_carries(tmp_path, name, protocol):
    mark, path = tmp_path / "ran", tmp_path / name
    if protocol == 0 and not name.startswith("a.p"):
        return  # text that only its ending tells from any other
    path.write_bytes(pickle.dumps({"a": Runs(os.mkdir, (str(mark),))}, protocol))
    with pytest.raises(InputError, match=rf"{name}: holds (posix|os)\.mkdir"):
        read_rows(path)
    assert not mark.exists()
    path.write_bytes(pickle.dumps(CORPORA, protocol))
    assert plain_rows(path) == [{"name": "a", "split": "test", "emo": "happy"}]
    path.write_bytes(pickle.dumps([1], protocol))
    with pytest.raises(InputError, match="holds no dictionary but list"):
        read_rows(path)


def test_a_bare_npy_is_read_like_an_npz(tmp_path):
    np.save(tmp_path / "a.npy", np.array(CORPORA, object), allow_pickle=True)
    assert plain_rows(tmp_path / "a.npy") == [{"name": "a", "split": "test", "emo": "happy"}]
    np.save(tmp_path / "b.npy", np.arange(3))
    with pytest.raises(InputError, match="no dictionary but ndarray"):
        read_rows(tmp_path / "b.npy")


def test_what_few_bytes_blow_up_is_refused(monkeypatch):
    monkeypatch.setattr(npz, "MOST_VALUES", 1000)
    twice = ["happy"]
    for _ in range(40):
        twice = [twice, twice]
    assert len(pickle.dumps(twice)) < 1000
    with pytest.raises(InputError, match="more than 1000 values"):
        loads(pickle.dumps({"a": twice}), "here")
    assert loads(pickle.dumps({"a": ["happy"] * 900}), "here")["a"][899] == "happy"


def written(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def plain_rows(path, *arguments):
    return [row for _, row in read_rows(path, *arguments)]


def test_items_and_reasons(tmp_path):
    rows = plain_rows(written(tmp_path / "a.npz", filenames=["x", "y"], fileitems=["[happy]", "[]"]))
    assert rows == [{"name": "x", "fileitems": "[happy]"}, {"name": "y", "fileitems": "[]"}]
    lists = np.array([["happy"], ["a", "b"]], object)
    assert plain_rows(written(tmp_path / "b.npz", filenames=np.array(["x", "y"], object), fileitems=lists))[1][
        "fileitems"
    ] == ["a", "b"]
    assert plain_rows(written(tmp_path / "c.npz", name2reason={"x": "He smiles."})) == [
        {"name": "x", "reason": "He smiles."}
    ]
    with pytest.raises(InputError, match="2 files and holds 1"):
        read_rows(written(tmp_path / "d.npz", filenames=["x", "y"], fileitems=["[happy]"]))
    with pytest.raises(InputError, match="none of the published forms"):
        read_rows(written(tmp_path / "e.npz", other=[1]))


def test_corpora_of_labels(tmp_path):
    path = written(
        tmp_path / "mer.npz",
        train_corpus={"a": {"emo": "happy", "val": 1.5}}, test1_corpus={"b": {"emo": "sad", "val": -10}, "c": {"emo": "angry"}},
    )  # fmt: skip
    assert plain_rows(path, "test1") == [
        {"name": "b", "split": "test1", "emo": "sad"},
        {"name": "c", "split": "test1", "emo": "angry"},
    ]
    assert plain_rows(path, "train_corpus")[0]["val"] == 1.5
    with pytest.raises(InputError, match="--split test1"):
        read_rows(path)
    with pytest.raises(InputError, match="known: test1, train"):
        read_rows(path, "test")
    values = {"p": {"emo": 0, "val": np.float32(-0.5)}, "q": {"emo": 0, "val": 0.0}}
    assert plain_rows(written(tmp_path / "mosi.npz", test_corpus=values)) == [
        {"name": "p", "split": "test", "val": -0.5},
        {"name": "q", "split": "test", "val": 0.0},
    ]


def test_whole_numbers_get_their_names(tmp_path):
    meld = {f"test_dia0_utt{i}": {"emo": i, "val": -10} for i in range(7)}
    path = written(tmp_path / "meld.npz", test_corpus=meld, train_corpus={"train_dia0_utt0": {"emo": 3, "val": -10}})
    assert [r["emo"] for r in plain_rows(path, "test")][:2] == ["anger", "joy"]
    four = {f"Ses0{1 + i % 5}F_impro01_F00{i}": {"emo": i % 4, "val": -10} for i in range(10)}
    path = written(tmp_path / "iemocap.npz", whole_corpus=four)
    assert len(plain_rows(path)) == 10
    assert plain_rows(path, "session5") == [{**r, "split": "session5"} for r in plain_rows(path, "test")]
    assert {r["name"][4] for r in plain_rows(path, "test")} == {"5"}
    path = written(tmp_path / "other.npz", test_corpus={"a": {"emo": 1}, "b": {"emo": 0}})
    with pytest.raises(InputError, match="--classes"):
        read_rows(path)
    assert [r["emo"] for r in plain_rows(path, None, ("sad", "glad"))] == ["glad", "sad"]


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, filenames=np.arange(4000) % 7)
    whole = path.read_bytes()
    for place in range(60, 200, 7):  # in the header of the member, and in what it holds
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(InputError):
            read_npz(path)
    path.write_bytes(whole[:50])
    with pytest.raises(InputError, match="no npz"):
        read_npz(path)
