"""The puppets: plans, facts and files as promised; nothing that gives the emotion away."""

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from affectkit_plugins.datasets import puppets
from affectkit_plugins.datasets._puppets import SCALES, store
from affectkit_plugins.datasets._puppets.cast import AGES, GENDERS, SKIN_TONES, SPLITS, plan_of, spread
from affectkit_plugins.datasets._puppets.clip import ClipFormat, make
from affectkit_plugins.datasets._puppets.emotion import EMOTIONS, UNIT_WORDS, UNITS, VOICE_WORDS
from affectkit_plugins.datasets._puppets.film import write_film
from affectkit_plugins.datasets._puppets.labels import POLES, ratings
from affectkit_plugins.datasets._puppets.words import PHRASES, carriers_of, line_of

from affectkit.errors import InputError

SMALL = ClipFormat(48, 8, 1.0)


@pytest.fixture
def settings(tmp_path):
    return puppets.Settings(count=10, size=48, fps=8, seconds=1.0, folder=str(tmp_path))


def test_import_is_light():
    heavy = "{'torch', 'numpy', 'av', 'PIL'}"
    code = f"import sys, affectkit_plugins.datasets.puppets; print(sorted({heavy} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_making_imports_no_torch():
    code = "import sys, affectkit_plugins.datasets._puppets.worker; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_labels_and_evidence_are_balanced(split):
    plans = [plan_of(0, split, n) for n in range(140)]
    assert set(Counter(p.label for p in plans).values()) == {20}
    shares = Counter((p.label, p.evidence) for p in plans)
    for emotion in EMOTIONS:
        assert [shares[emotion, e] for e in ("face", "voice", "words", "all")] == [6, 6, 4, 4]


def test_only_the_evidence_shows_the_emotion():
    for number in range(70):
        plan = plan_of(0, "train", number)
        for modality, shown in (("face", plan.face), ("voice", plan.voice), ("words", plan.words)):
            assert shown == (plan.label if plan.evidence in (modality, "all") else "neutral")


def test_conflicts_mislead_by_one_modality():
    plans = [plan_of(0, "conflict", n) for n in range(84)]
    for plan in plans:
        assert plan.misleading not in (plan.label, "neutral", "")
        assert plan.misleads != plan.evidence
        assert getattr(plan, plan.misleads) == plan.misleading
        assert getattr(plan, plan.evidence) == plan.label
    assert set(Counter((p.evidence, p.misleads) for p in plans).values()) == {14}


def test_people_and_carriers_are_not_shared_between_splits():
    names = {s: {plan_of(0, s, n).person() for n in range(300)} for s in SPLITS}
    for one in SPLITS:
        for other in SPLITS:
            if one != other:
                assert not names[one] & names[other]
                assert not {p.name for p in names[one]} & {p.name for p in names[other]}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test"), ("train", "conflict")):
        assert not set(carriers_of(one)) & set(carriers_of(other))
    assert len(set().union(*(carriers_of(s) for s in SPLITS))) >= 60


def test_words_of_an_emotion_are_in_its_subtitles_only():
    assert all(len(phrases) >= 6 for phrases in PHRASES.values())
    carriers = " ".join(c for s in SPLITS for c in carriers_of(s)).lower().split()
    for emotion, phrases in PHRASES.items():
        for phrase, cue in phrases:
            assert cue in re.findall(r"\w+", phrase.lower())
            assert cue not in carriers
            others = {
                w for e, ps in PHRASES.items() if e != emotion for p, _ in ps for w in re.findall(r"\w+", p.lower())
            }
            assert cue not in others
    line = line_of("fear", "test", np.random.default_rng(0))
    assert line.cue in line.text
    assert any(c in line.text.lower() for c in map(str.lower, carriers_of("test")))


def test_a_sample_has_every_fact(settings):
    made = puppets.build(settings, "train")
    assert made.labels == EMOTIONS
    assert len(made) == 7
    assert len({s.id for s in made}) == 7
    for sample in made:
        assert sample.video.is_file()
        assert sample.label in EMOTIONS
        assert sample.subtitle
        units, marks, box = (sample.fact(n) for n in ("action_units", "landmarks", "face_box"))
        assert units.value.shape == (8, len(UNITS))
        assert marks.value.shape == (8, 68, 2)
        assert box.value.shape == (8, 4)
        assert all(f.per_frame and f.origin == "label" for f in (units, marks, box))
        assert units.value.min() >= 0
        assert units.value.max() <= 1
        assert sample.fact("action_unit_names").value == tuple(f"AU{u}" for u in UNITS)
        assert sample.fact("age").value in AGES
        assert sample.fact("gender").value in GENDERS
        assert sample.fact("skin_tone").value in SKIN_TONES
        assert sample.fact("race").origin == "missing"
        assert sample.fact("person").value.startswith("train-")
        inside = (marks.value >= box.value[:, None, :2] - 0.02) & (marks.value <= box.value[:, None, 2:] + 0.02)
        assert inside.all()


def test_landmarks_follow_the_order_of_ibug(settings):
    for sample in puppets.build(replace(settings, count=16), "train"):
        x, y = np.moveaxis(sample.fact("landmarks").value, -1, 0)
        assert (np.diff(x[:, [0, 4, 8, 12, 16]]) > 0).all(), "the jaw runs from left to right"
        assert (y[:, 8] > y[:, [0, 16]].max(1)).all(), "its middle is the chin"
        assert (y[:, 17:27].mean(1) < y[:, 36:48].mean(1)).all(), "brows lie over eyes"
        assert (np.diff(y[:, 27:31]) > 0).all(), "the bridge runs down"
        assert (y[:, 36:48].mean(1) < y[:, 31:36].mean(1)).all()
        assert (y[:, 31:36].mean(1) < y[:, 48:68].mean(1)).all()
        assert (x[:, 48] < x[:, 54]).all()
        assert (x[:, 60] < x[:, 64]).all()
        assert (x[:, 36] < x[:, 39]).all()
        assert (x[:, 39] < x[:, 42]).all()
        assert (x[:, 42] < x[:, 45]).all()


def test_the_picture_is_where_the_landmarks_are():
    clip = make(plan_of(0, "train", 0), ClipFormat(96, 8, 1.0))
    frame, marks = clip.frames[0].astype(float), np.array(clip.facts["landmarks"])[0]
    cheek = marks[[2, 31]].mean(0).round().astype(int)
    iris = marks[36:42].mean(0).round().astype(int)
    skin = frame[cheek[1] - 1 : cheek[1] + 2, cheek[0] - 1 : cheek[0] + 2].mean()
    eye = frame[iris[1] - 1 : iris[1] + 2, iris[0] - 1 : iris[0] + 2].mean()
    assert eye < skin


def test_the_reason_names_clues_that_are_there_and_no_others():
    for number in range(3, 70, 2):
        plan = plan_of(1, "train", number)
        facts = make(plan, SMALL).facts
        reason = facts["reason"].lower()
        assert reason.endswith(f"points to {plan.label}.")
        apex = np.array(facts["action_units"]).max(0)
        units = [unit for unit, words in UNIT_WORDS.items() if words in reason]
        assert bool(units) == (plan.evidence in ("face", "all") and plan.label != "neutral")
        assert all(apex[UNITS.index(unit)] > 0.25 for unit in units)
        voices = [emotion for emotion, words in VOICE_WORDS.items() if words in reason]
        assert voices == ([plan.label] if plan.evidence in ("voice", "all") else [])
        assert (f'"{facts["cue"]}"' in reason) == (plan.evidence in ("words", "all"))
        assert facts["cue"] in facts["subtitle"].lower()


def test_ratings_follow_from_what_is_drawn():
    seen = set()
    for number in range(0, 70, 3):
        plan = plan_of(1, "train", number)
        facts = json.loads(json.dumps(make(plan, SMALL).facts))
        rated = ratings(facts)
        assert rated == ratings(facts)
        valence, arousal = (rated[n] / (rated["intensity"] or 1) for n in ("valence", "arousal"))
        assert (valence, arousal) == pytest.approx(POLES[plan.label], abs=0.002)
        assert rated.keys() == SCALES.keys()
        assert all(low <= rated[n] <= high for n, (low, high) in SCALES.items())
        if plan.label == "neutral":
            assert rated == {"valence": 0, "arousal": 0, "intensity": 0}
        elif plan.evidence == "words":
            assert rated["intensity"] == 0.5
        elif plan.evidence == "voice":
            assert rated["intensity"] == pytest.approx(plan.rng(2).uniform(0.75, 1.0), abs=0.02)
        else:
            assert rated["intensity"] > 0.5
        seen.add(plan.evidence)
    assert seen == {"face", "voice", "words", "all"}


def test_samples_hold_their_ratings(settings):
    made = puppets.build(settings, "val")
    assert made.numbers == SCALES == puppets.survey(settings).numbers
    for sample in made:
        assert sample.numbers == ratings(json.loads(sample.video.with_suffix(".json").read_text()))


def test_same_seed_same_clips():
    plan = plan_of(3, "val", 4)
    one, two = make(plan, SMALL), make(plan, SMALL)
    assert all(np.array_equal(a, b) for a, b in zip(one.frames, two.frames, strict=True))
    assert np.array_equal(one.wave, two.wave)
    assert one.facts == two.facts
    other = make(plan_of(4, "val", 4), SMALL)
    assert not np.array_equal(one.frames[0], other.frames[0])


def test_films_repeat_byte_by_byte(tmp_path):
    clip = make(plan_of(0, "train", 1), SMALL)
    for name in ("a.mp4", "b.mp4"):
        write_film(tmp_path / name, clip.frames, clip.wave, SMALL.fps)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_films_are_h264_and_aac_with_picture_and_sound_in_time(tmp_path):
    import av

    look = ClipFormat(96, 12, 2.0)
    clip = make(plan_of(0, "train", 0), look)
    write_film(tmp_path / "a.mp4", clip.frames, clip.wave, look.fps)
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert film.streams.video[0].codec_context.name == "h264"
        assert film.streams.audio[0].codec_context.name.startswith("aac")
        frames = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]
    with av.open(str(tmp_path / "a.mp4")) as film:
        sounds = list(film.decode(audio=0))
    assert len(frames) == 24
    assert np.abs(frames[5].astype(float) - clip.frames[5]).mean() < 8
    assert sounds[0].sample_rate == 16_000
    wave = np.concatenate([s.to_ndarray()[0] for s in sounds])[: len(clip.wave)]
    assert np.corrcoef(wave, clip.wave[: len(wave)])[0, 1] > 0.9


def test_a_killed_run_continues_and_touches_nothing_that_is_done(settings):
    made = puppets.build(settings, "train")
    folder = made[0].video.parent
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    (folder / "train-00002.mp4").unlink()
    again = puppets.build(settings, "train")
    after = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert {n for n in before if before[n] != after[n]} == {"train-00002.mp4", "train-00002.json"}
    assert [s.subtitle for s in again] == [s.subtitle for s in made]
    assert not list(folder.glob("*.part*"))


def test_workers_make_what_this_process_would(tmp_path):
    plans = [plan_of(0, "val", n) for n in range(5)]
    for name, workers in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        folder.mkdir()
        if workers == 1:
            store.fill(plans, SMALL, folder, 1)
        else:
            store._share_out([plans[:3], plans[3:]], SMALL, folder, lambda: None)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_failing_worker_is_an_error(tmp_path):
    with pytest.raises(Exception, match="making puppet clips"):
        store._share_out([[plan_of(0, "val", 0)]], SMALL, tmp_path / "nowhere", lambda: None)


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("AFFECTKIT_CACHE", raising=False)
    xdg = store.cache_folder(None, SMALL, 0)
    assert xdg.is_relative_to(tmp_path / "xdg" / "affectkit" / "puppets")
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "own"))
    assert store.cache_folder(None, SMALL, 0).is_relative_to(tmp_path / "own" / "puppets")
    assert store.cache_folder(str(tmp_path / "given"), SMALL, 0).is_relative_to(tmp_path / "given")
    assert store.cache_folder(None, SMALL, 0) != store.cache_folder(None, SMALL, 1)


def test_unknown_splits_and_bad_settings_are_told(settings):
    with pytest.raises(InputError, match="known: conflict, test, train, val"):
        puppets.build(settings, "trian")
    bad = puppets.Settings(size=97, val=0.6, test=0.5, fps=1)
    assert {field for field, _ in bad.problems()} == {"size", "test", "fps"}
    assert puppets.Settings().problems() == []


def test_a_few_clips_to_look_at_show_all_kinds():
    four, many = spread(0, 4), spread(0, 28)
    assert [p.label for p in four] == list(EMOTIONS[:4])
    assert {p.evidence for p in four} == {"face", "voice", "words", "all"}
    assert {p.label for p in spread(0, 7)} == set(EMOTIONS)
    assert len({(p.label, p.evidence) for p in many}) == 28
    assert all(p == plan_of(0, "train", p.number) for p in many)


def test_write_puts_clips_and_a_sheet_there(settings, tmp_path):
    from PIL import Image

    puppets.write(settings, tmp_path / "out", 8)
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 8
    sidecars = sorted((tmp_path / "out").glob("*.json"))
    assert sidecars[0].name == "000-happy-by-face.json"
    assert json.loads(sidecars[0].read_text())["label"] == "happy"
    assert Image.open(tmp_path / "out" / "contact-sheet.png").size[0] > 400


def test_two_builds_at_once_are_safe(settings):
    code = (
        "import sys; from affectkit_plugins.datasets import puppets as p;"
        "s = p.Settings(count=10, size=48, fps=8, seconds=1.0, folder=sys.argv[1]);"
        "print(sum(len(x.subtitle) for x in p.build(s, 'train')))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, settings.folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    told = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert told[0] == told[1]
    assert len(list(puppets.build(settings, "train")[0].video.parent.iterdir())) == 14
