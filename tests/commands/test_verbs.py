"""The command line as a user meets it: whole runs, answers, exit codes, what lies in a run folder."""

import json
import shutil
import sys

import pytest
import tiny_run
import wav_table
from headed_runs import KINDS, TASKS, recipe

from affectkit.__main__ import main
from affectkit.encode.cache import Contents, FileState, Memo


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    recipe = tiny_run.write_recipe(folder)
    from affectkit.api import fit

    said = []
    made = fit(recipe, [f"run.folder={folder}/runs", f"run.cache={folder}/cache"], say=said.append)
    return made.folder, said


@pytest.fixture
def affectkit(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["affectkit", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        out = capsys.readouterr()
        return end.value.code, out.out, out.err

    return call


def test_a_run_folder_holds_all_that_it_takes(run):
    folder, said = run
    for name in (
        "recipe.yaml",
        "run.json",
        "metrics.json",
        "predictions.jsonl",
        "curves.jsonl",
        "report.html",
        "report.md",
    ):
        assert (folder / name).stat().st_size > 0, name
    for stage in ("align", "instruct", "lora"):
        assert (folder / "stages" / stage / "weights.safetensors").exists()
    about = json.loads((folder / "run.json").read_text())
    assert about["versions"]["torch"]
    assert about["seed"] == 0
    assert len(about["labels"]) == 7
    assert {"align", "instruct", "lora"} == set(about["stages"])
    metrics = json.loads((folder / "metrics.json").read_text())["test"]
    assert {"value", "low", "high"} <= set(metrics["uar"])
    assert metrics["ledger"]["total"] == metrics["ledger"]["scored"] == 8
    assert (folder.parent / "last").resolve() == folder
    assert any("random weights" in line for line in said)
    assert "random" in (folder / "report.html").read_text()


def test_predict(run, affectkit, tmp_path):
    clip = next(p for p in (json.loads(x) for x in (run[0] / "predictions.jsonl").read_text().splitlines()))["media"]
    shutil.copy(clip, tmp_path / "one.mp4")
    (tmp_path / "two.mp4").write_bytes(b"nothing")
    code, out, _ = affectkit("predict", run[0], tmp_path, "--json", "--reason")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [r["state"] for r in rows] == ["scored", "undecodable"]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1)
    assert "reason" in rows[0]
    code, out, err = affectkit("predict", run[0], tmp_path / "one.mp4")
    assert code == 0
    assert "one.mp4" in out
    assert "random weights" in err


def test_predict_bad_input(run, affectkit, tmp_path):
    code, _, err = affectkit("predict", run[0], tmp_path / "none.mp4", tmp_path / "a.txt")
    assert code == 2
    assert "no such file" in err
    assert affectkit("predict", tmp_path, tmp_path / "none.mp4")[0] == 2
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    assert affectkit("predict", run[0], tmp_path / "bad.mp4")[0] == 1


def test_evaluate_otherwise(run, affectkit):
    code, out, _ = affectkit("evaluate", run[0], "score.splits=[conflict]", "score.method=generate", "score.reasons=0")
    assert code == 0
    assert "conflict" in out
    new = (run[0].parent / "last").resolve()
    assert new != run[0]
    ledger = json.loads((new / "metrics.json").read_text())["conflict"]["ledger"]
    assert sum(n for state, n in ledger.items() if state != "total") == ledger["total"] > 0


def test_report_again_and_side_by_side(run, affectkit, tmp_path):
    (run[0] / "report.html").unlink()
    assert affectkit("report", run[0])[0] == 0
    assert (run[0] / "report.html").exists()
    assert affectkit("report", run[0], run[0], "--out", tmp_path / "two.html")[0] == 0
    assert (tmp_path / "two.html").stat().st_size > 1000


def test_show_a_sample(affectkit, tmp_path):
    code, out, _ = affectkit("show", tiny_run.write_recipe(tmp_path), "--sample", 2)
    assert code == 0
    assert "<audio ×" in out
    assert affectkit("show", tmp_path / "tiny.yaml", "--sample", 10**6)[0] == 2


def test_show_the_graph(affectkit, tmp_path):
    code, out, _ = affectkit("show", tiny_run.write_recipe(tmp_path))
    assert code == 0
    assert "backbone.lora" in out
    assert "trainable" in out
    code, out, _ = affectkit("show", tmp_path / "tiny.yaml", "--stage", "align")
    assert code == 0
    assert [line.split()[-1] for line in out.splitlines() if "audio.projector" in line] == ["0.001"]
    assert [line.split()[-1] for line in out.splitlines() if "audio.adapter" in line] == ["frozen"]
    code, _, err = affectkit("show", tmp_path / "tiny.yaml", "--stage", "alin")
    assert code == 2
    assert "did you mean 'align'" in err


@pytest.mark.parametrize("kind", KINDS)
def test_show_a_recipe_of_heads(affectkit, tmp_path, kind):
    (tmp_path / "heads.yaml").write_text(recipe(kind))
    code, out, _ = affectkit("show", tmp_path / "heads.yaml")
    assert code == 0
    assert f"answers {TASKS[kind]}" in out
    assert "no language model: the heads answer alone" in out
    assert "backbone" not in out
    assert "ratings valence -1 to" in affectkit("check", tmp_path / "heads.yaml")[1]
    code, out, _ = affectkit("show", tmp_path / "heads.yaml", "--sample", 2, "--stage", "first")
    assert code == 0
    assert "4. what the head first reads" in out
    assert "scene.adapter.tokens" in out
    assert "5. the answer of first" in out
    code, _, err = affectkit("show", tmp_path / "heads.yaml", "--sample", 2, "--stage", "frist")
    assert (code, "no stage 'frist' that trains the LLM or a head" in err) == (2, True)


def test_show_says_what_each_of_several_losses_counts_of_a_sample(affectkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wav_table.write(tmp_path)
    more = ["heads.feel={use: classifier, tokens: llm.hidden}", "stages.one.train=[backbone.model, heads.feel]"]
    losses = "stages.one.objective={llm: 1, feel: {use: head_loss, head: feel, weight: 0.5}}"
    code, out, _ = affectkit("show", "r.yaml", "--sample", 0, *more, losses)
    assert code == 0
    terms = {words[0]: words[1:] for line in out.splitlines() if len(words := line.split()) == 3}
    assert (terms["llm"][0], terms["feel"]) == ("1", ["0.5", "1"])
    assert "5. what the head feel reads" in out
    alone = "stages.one.objective={words: {use: label_words, tokens: audio.projector}}"
    code, out, _ = affectkit("show", "r.yaml", "--sample", 0, "stages.one.train=[audio.projector]", alone)
    assert code == 0
    assert "4. the prompt" not in out


def test_data_and_cache(affectkit, tmp_path):
    code, _, _ = affectkit("data", "puppets", "--count", 2, "--out", tmp_path / "clips")
    assert code == 0
    assert (tmp_path / "clips" / "contact-sheet.png").exists()
    assert len(list((tmp_path / "clips").glob("*.mp4"))) == 2
    assert affectkit("data", "pupets", "--out", tmp_path)[0] == 2
    for wrong in (
        ("foo",),
        ("sed=3",),
        ("size=33",),
        ("size=[",),
        ("--count", 0),
        ("--out", tmp_path / "clips" / "contact-sheet.png"),
    ):
        code, _, err = affectkit("data", "puppets", "--out", tmp_path / "none", *wrong)
        assert code == 2, wrong
        assert "Traceback" not in err
    assert affectkit("cache")[0] == 0
    assert affectkit("cache", "clear", "--yes")[0] == 0


@pytest.mark.parametrize("broken", ["garbage", "folder", "link"])
def test_clearing_the_cache_mends_a_memo(affectkit, tmp_path, monkeypatch, broken):
    cache = tmp_path / "cache"
    memo = cache / "memo.sqlite"
    (memo if broken == "folder" else cache).mkdir(parents=True)
    if broken == "garbage":
        memo.write_bytes(b"garbage" * 100)
        (cache / "memo.sqlite-wal").write_bytes(b"more")
    elif broken == "link":
        memo.symlink_to(tmp_path / "nowhere" / "memo")
    monkeypatch.setenv("AFFECTKIT_CACHE", str(cache))
    (tmp_path / "a.wav").write_text("sound")
    before = Memo(cache)
    Contents(before).of(tmp_path / "a.wav")
    assert before.get("media", FileState.of(tmp_path / "a.wav")) is None
    assert affectkit("cache", "clear", "--yes")[0] == 0
    assert not list(cache.glob("memo*"))
    after = Contents(Memo(cache))
    monkeypatch.setattr("affectkit.encode.cache.GRAIN", -1)
    found = after.of(tmp_path / "a.wav")
    after.keep()
    assert Memo(cache).get("media", FileState.of(tmp_path / "a.wav")) == found


@pytest.mark.parametrize("words", [(), ("clear", "--yes"), ("clear", "--all", "--yes")])
def test_a_cache_that_is_a_file_is_left_alone(affectkit, tmp_path, monkeypatch, words):
    (tmp_path / "thesis.txt").write_text("mine")
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "thesis.txt"))
    code, _, err = affectkit("cache", *words)
    assert code == 2
    assert "thesis.txt: is to be the cache, and is a file" in err
    assert (tmp_path / "thesis.txt").read_text() == "mine"


GROUPS = (["data"], ["data", "puppets"], ["cache"], ["cache", "clear"], ["plugins"], ["plugins", "new"])


@pytest.mark.parametrize("verb", GROUPS, ids=" ".join)
def test_groups_have_examples(affectkit, verb):
    code, out, _ = affectkit(*verb, "--help")
    assert code == 0
    assert sum(line.startswith("  affectkit " + verb[0]) for line in out.splitlines()) >= 2


def test_exit_codes_and_near_misses(affectkit, tmp_path):
    assert affectkit("--help")[0] == 0
    code, _, err = affectkit("chek", "x.yaml")
    assert code == 2
    assert "check" in err
    assert affectkit("fit")[0] == 2
    assert affectkit("fit", "recipes/emo_lama.yaml")[0] == 2
    assert affectkit("check", "voice", "stages.train.epochs=two")[0] == 2


def test_resume_a_finished_run_changes_nothing(run, affectkit):
    before = (run[0] / "metrics.json").read_bytes()
    assert affectkit("fit", "--resume", run[0])[0] == 0
    assert (run[0] / "metrics.json").read_bytes() == before


def test_an_evaluation_is_no_run_to_go_on_with(run, affectkit):
    assert affectkit("evaluate", run[0], "score.resamples=20", "score.reasons=0")[0] == 0
    new = (run[0].parent / "last").resolve()
    code, _, err = affectkit("fit", "--resume", new)
    assert code == 2
    assert str(run[0]) in err
    clip = json.loads((run[0] / "predictions.jsonl").read_text().splitlines()[0])["media"]
    assert affectkit("predict", new, clip)[0] == 0


def test_what_was_asked_for_must_be_there(run, affectkit, tmp_path):
    (tmp_path / "syntax.py").write_text("def (\n")
    code, _, err = affectkit("check", "voice", "--plugin", tmp_path / "syntax.py")
    assert code == 2
    assert "SyntaxError" in err
    (tmp_path / "clip.mp4").touch()
    code, _, err = affectkit("predict", run[0], tmp_path / "clip.mp4", "--detector", "nope")
    assert code == 2
    assert "nope" in err


def test_clips_without_boxes_are_refused_before_anything_trains(tmp_path, monkeypatch):
    """Found out in the last stage, it would cost all those before it."""
    from affectkit.api import fit
    from affectkit.errors import InputError

    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rows = "".join(
        f"c{i}.mp4,{label},{split}\n" for i, (label, split) in enumerate([("sad", "train"), ("happy", "test")])
    )
    (tmp_path / "clips.csv").write_text("path,label,split\n" + rows)
    for name in ("c0.mp4", "c1.mp4"):
        (tmp_path / name).write_bytes(b"not opened")
    small = [f"{at}data.count=14" for at in ("stages.face.", "stages.voice.")]
    with pytest.raises(InputError, match="no fact `face_box`") as told:
        fit("recipes/emo_llama.yaml", ["data.use=table", "data.path=clips.csv", *small], say=lambda _: None)
    assert "views.faces.detector" in str(told.value)
