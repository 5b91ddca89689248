"""Files are written whole, with names of any bytes, or refused by name; what is read back is refused by name, too."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys

import pytest
import torch

from affectkit import files
from affectkit.__main__ import cli, main
from affectkit.encode.cache import Cache, CacheEntry
from affectkit.errors import InputError, RunError
from affectkit.interop.checkpoint import new_folder
from affectkit.train.checkpoint import save_weights
from affectkit.weights import write_state

NAME = os.fsdecode(b"bad\xff.wav")


@pytest.mark.parametrize("text", [NAME, "\ud83d", "h\u00e9\u2028\x00\U0001f600"])
def test_names_that_are_no_utf8_come_back_from_json(tmp_path, text):
    files.write_jsonl_atomic(tmp_path / "a.jsonl", [{"id": text, text: [text]}])
    files.write_json_atomic(tmp_path / "a.json", {"id": text})
    (tmp_path / "a.jsonl").read_bytes().decode("utf-8")
    assert [row for _, row in files.read_jsonl(tmp_path / "a.jsonl")] == [{"id": text, text: [text]}]
    assert files.read_object(tmp_path / "a.json") == {"id": text}


def refused(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_file_and_says_path_and_bytes(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    files.write_bytes_atomic(path, b"old")
    monkeypatch.setattr(files.os, "replace", refused)
    with pytest.raises(
        RunError, match=r"state\.pt: cannot be written: No space left on device \(5,000 bytes are needed, .* are free"
    ):
        files.write_bytes_atomic(path, b"x" * 5000)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.pt"]


@pytest.fixture
def no_file_above_4_kb():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_what_is_too_large_is_named_and_leaves_nothing(tmp_path, no_file_above_4_kb):
    tensors = {"a": torch.zeros(5000)}
    cases = {
        "w.safetensors": lambda path: save_weights(path, tensors),
        "s.safetensors": lambda path: write_state(path, tensors),
        "a.json": lambda path: files.write_json_atomic(path, ["word"] * 5000),
        "a.jsonl": lambda path: files.append_whole(path, "x" * 20_000),
    }
    for name, write in cases.items():
        with pytest.raises(RunError, match=rf"{name}: cannot be written: .*bytes are needed"):
            write(tmp_path / name)
    assert [path for path in tmp_path.iterdir() if path.stat().st_size] == []


def test_a_shard_that_is_too_large_is_named_and_leaves_nothing(tmp_path, no_file_above_4_kb):
    cache = Cache.__new__(Cache)
    cache.folder = tmp_path
    with pytest.raises(RunError, match=r"step/\w+\.safetensors: cannot be written: .*bytes are needed"):
        cache.put("step", {"sample": CacheEntry({"values": torch.zeros(5000)})}, "disk")
    assert list((tmp_path / "step").iterdir()) == []


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file/a\.json: cannot be written"):
        files.write_json_atomic(tmp_path / "file" / "a.json", {})


def test_a_line_that_was_never_finished_goes(tmp_path):
    path = tmp_path / "a.jsonl"
    files.append_whole(path, '{"a": 1}\n{"a": 2}\n{"a"')
    files.drop_unfinished_line(path)
    files.append_whole(path, '{"a": 3}\n')
    assert [row["a"] for _, row in files.read_jsonl(path)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "this is not JSON"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ("[1]", "a JSON object is wanted, this is list"),
        ("{,}", "this is not JSON"),
        ('{"a": ' + "1" * 10_000 + "}", "this is not JSON"),
    ],
)
def test_what_is_no_json_object_is_named(tmp_path, text, said):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"run\.json.*{said}"):
        files.read_object(path)


def test_a_file_is_no_run_folder(tmp_path):
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "recipe.yaml").touch()
    with pytest.raises(InputError, match=r"recipe\.yaml: is a file.*\n.*give its folder: .*mine"):
        files.run_path(run / "recipe.yaml")
    (run.parent / "last").write_text("mine")
    assert files.run_path(run.parent / "last") == run
    (run.parent / "last").write_text("x" * 5000)
    with pytest.raises(InputError, match="is a file"):
        files.run_path(run.parent / "last")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_no_terminal_ends_a_command(tmp_path, encoding):
    told = "s\u00e9rie \U0001f600 \u4e2d\u6587 \udcff"
    code = (
        "import sys, click\nimport affectkit.__main__ as door\nfrom affectkit.report.terminal import table\n"
        "from affectkit.commands._options import print_json\n"
        "def said(**kwargs):\n"
        f"    table('t', ['a'], [[{told!a}]]); print_json({{'a': {told!a}}}); click.echo({told!a}, err=True)\n"
        "door.cli.main = said\ndoor.main()"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr.decode(errors="replace")[-500:]
    assert json.loads(ran.stdout.decode(encoding).splitlines()[-1]) == {"a": told}


def test_a_place_below_a_file_ends_in_words(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(cli, "main", lambda **_: new_folder(tmp_path / "file" / "run").__enter__())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "file/run: Not a directory" in capsys.readouterr().err
