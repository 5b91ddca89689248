"""Annotators of the three pipelines: descriptions, captions, emotion words, votes, conversations, and what they are written
as."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from affectkit_plugins.annotators import (
    ask_category,
    caption_template,
    converse,
    describe_picture,
    describe_sound,
    emotion_words,
    run_units,
    same_emotion,
    vote,
)
from affectkit_plugins.clients import by_rule
from affectkit_plugins.converters import caption_csv, ferid_json, merr_files
from affectkit_plugins.datasets import annotated, ferid, merr, open_labels
from PIL import Image

from affectkit.annotators import ExportRow, Reject
from affectkit.errors import InputError
from affectkit.evaluation.clients import CachedClient
from affectkit.raw import RawPixels, RawWave


@dataclass
class Told:
    """A client that says what it was told, one after the other, and keeps what it was asked."""

    replies: list
    asked: list = field(default_factory=list)
    identity = {"model": "told"}  # noqa: RUF012

    def ask(self, messages):
        self.asked.append(messages)
        return self.replies[len(self.asked) - 1]


def asking(piece, folder, replies, **settings):
    """An annotator with its client."""
    client = Told(replies)
    return piece.build(piece.Settings(**settings), CachedClient(client, folder, lambda _: None)), client


def frames(count=5, valid=None):
    pictures = tuple(np.full((20, 30, 3), 10 * i, np.uint8) for i in range(count))
    indices = np.arange(count) * 7
    return RawPixels(pictures, indices, indices / 25, np.ones(count, bool) if valid is None else np.array(valid))


def colour(attachment):
    import io

    return int(np.asarray(Image.open(io.BytesIO(attachment.data)))[0, 0, 0])


def test_the_frame_that_is_named_is_shown_to_the_model(tmp_path):
    made, client = asking(describe_picture, tmp_path, ["A wall."] * 3)
    assert made([{"pixels": frames(), "at": 15}]) == [{"text": "A wall.", "frames": [14]}]
    assert abs(colour(client.asked[0][0].images[0]) - 20) <= 2
    # the middle one without a name, never one without a face
    assert made([{"pixels": frames(), "at": None}])[0]["frames"] == [14]
    assert made([{"pixels": frames(valid=[1, 1, 0, 0, 0]), "at": 28}])[0]["frames"] == [7]
    several, client = asking(describe_picture, tmp_path / "b", ["Walls."], count=3)
    assert several([{"pixels": frames(), "at": None}])[0]["frames"] == [7, 14, 21]
    assert len(client.asked[0][0].images) == 3


def test_texts_that_will_not_do_are_asked_for_again_then_reject_the_clip(tmp_path):
    bad = ["", "word " * 500, "这个人在笑，他很高兴。"]
    made, client = asking(describe_picture, tmp_path, bad)
    assert made([{"pixels": frames(), "at": None}]) == [Reject("the reply is not English")]
    assert [m[-1].text.split(".")[0] for m in client.asked[1:]] == ["It is empty", "It is far too long"]
    german, _ = asking(describe_picture, tmp_path / "g", ["Die Person ist froh und lacht laut."] * 3)
    assert german([{"pixels": frames(), "at": None}]) == [Reject("the reply is not English")]
    quotes, _ = asking(describe_picture, tmp_path / "q", ['A man says "I\'m sorry, I cannot help you" and turns away.'])
    assert "turns away" in quotes([{"pixels": frames(), "at": None}])[0]["text"]
    no, _ = asking(describe_picture, tmp_path / "b", ["I'm sorry, but I can't help with identifying people."])
    assert no([{"pixels": frames(), "at": None}])[0].reason == "the model refuses"


def test_a_voice_goes_to_the_model_as_sound_with_the_tones_to_choose_from(tmp_path):
    made, client = asking(describe_sound, tmp_path, ["calm"], tones=("calm", "angry"))
    wave = RawWave(np.zeros(800, np.float32), 8000)
    assert made([{"wave": wave}]) == [{"text": "calm"}]
    assert "calm, angry" in client.asked[0][0].text
    assert client.asked[0][0].audio[0].data[:4] == b"RIFF"


def test_a_template_leaves_out_what_is_not_known_and_fills_no_gap_twice():
    made = caption_template.build(caption_template.Settings())
    rows = [
        {"visual": "a man.", "expression": None, "acoustic": "loud", "words": "say {visual}", "label": None},
        dict.fromkeys(caption_template.PORTS),
    ]
    found = made(rows)
    assert found[0]["text"] == "This person in the video is a man. The person's tone is loud. Saying: say {visual}"
    assert found[1] == Reject("no clue")
    strict = caption_template.build(caption_template.Settings("{label}: {visual}"))
    assert strict(rows)[0] == Reject("nothing for the gap label")
    assert caption_template.Settings("{mood}").problems()
    assert caption_template.Settings("no gap").problems()


def test_emotion_words_are_read_strictly(tmp_path):
    replies = ["happy, glad", '{"emotions": "happy"}', '{"emotions": ["Happy ", "glad.", "happy"]}']
    made, client = asking(emotion_words, tmp_path, replies)
    assert made([{"text": "She laughs."}]) == [{"first": "happy", "labels": ["happy", "glad"]}]
    assert len(client.asked) == 3
    empty, _ = asking(emotion_words, tmp_path / "b", ['{"emotions": []}'])
    assert empty([{"text": "x"}]) == [Reject("no emotion")]
    clause, _ = asking(
        emotion_words, tmp_path / "c", ['{"emotions": ["she is happy because of all the good news"]}'] * 3
    )
    assert clause([{"text": "x"}]) == [Reject("no list of emotions")]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [("happy", "joyful", True), ("happy", "sad", False), (["calm", "sad"], "unhappy", True), ("neutral", "neutral", True),
     ("neutral", "calm", False), ("blorp", "sad", False), ("blorp", "Blorp", True)],
)  # fmt: skip
def test_emotions_agree_by_the_groups_of_wheels(first, second, kept):
    made = same_emotion.build(same_emotion.Settings())
    assert isinstance(made([{"first": first, "second": second}])[0], Reject) is not kept


def test_sentiments_are_groups_of_ones_own():
    groups = {"positive": ("happy",), "negative": ("sad", "angry")}
    made = same_emotion.build(same_emotion.Settings(groups))
    rows = [{"first": "sad", "second": "angry"}, {"first": "sad", "second": "happy"}, {"first": "sad", "second": "odd"}]
    found = made(rows)
    assert found[0] == {"groups": ["negative"]}
    assert found[1].reason == "emotions contradict each other"
    assert found[2].reason == "no group holds these emotions"
    lenient = same_emotion.build(same_emotion.Settings(groups, unknown=False))
    assert lenient(rows)[2] == {"groups": []}


def test_a_category_is_asked_for_in_braces_and_in_the_sets_order():
    made = ask_category.build(ask_category.Settings(("Surprise", "fear", "disgust")))
    found = made([{"label": "fear"}, {"label": "joy"}])
    question, answer = found[0]["turns"][0]
    assert question.endswith("{surprise, fear, disgust}.")
    assert "image" in question
    assert answer == "fear"
    assert found[1] == Reject("a label outside the set", "joy")


def test_conversations_that_give_the_label_away_or_contradict_it_are_dropped(tmp_path):
    def talk(*turns):
        return json.dumps({"turns": [list(t) for t in turns]})

    replies = {
        "kept": [talk(("What is seen?", "A joyful smile."), ("Why?", "It cannot be known."), ("And?", "No."))],
        "the first answer does not name the label": [talk(("What is seen?", "A frown."))],
        "an answer tells that the label was given": [talk(("What?", "Happy, as given."))],
        "the model refuses": ["I'm sorry, I cannot help with that."],
        "no turns can be read": ["Q: What? A: happy", talk(), '{"turns": [["Why?"]]}'],
    }
    for reason, said in replies.items():
        made, client = asking(converse, tmp_path / reason, said, synonyms={"happy": ("joy",)})
        found = made([{"pixels": frames(), "label": "happy", "seen": "a man"}])[0]
        assert "The emotion: happy" in client.asked[0][0].text
        if reason == "kept":
            assert [t[0] for t in found["turns"]] == ["What is seen?", "Why?"]
        else:
            assert found.reason == reason


@dataclass
class Said:
    label: str | None
    probabilities: dict


class Run:
    def __init__(self, answers):
        self.answers = answers

    def predict(self, clips):
        return [Said(*self.answers[clip]) for clip in clips]


def voting(**settings):
    made = vote.build(vote.Settings(runs=("x",), made_by="fit", **settings))
    sure = {"happy": 0.6, "sad": 0.4}
    made._voters = {
        "one": Run({"a": ("happy", sure), "b": ("happy", sure), "c": (None, {})}),
        "two": Run({"a": ("happy", sure), "b": ("sad", {"happy": 0.1, "sad": 0.9}), "c": (None, {})}),
        "three": Run({"a": ("sad", {"sad": 1.0}), "b": (None, {}), "c": (None, {})}),
    }
    return made([{"clip": clip} for clip in "abc"])


def test_the_majority_wins_and_of_equals_the_likelier():
    found = voting(sentiment={"positive": ("happy",), "negative": ("sad",)})
    assert (found[0]["label"], found[0]["share"], found[0]["sentiment"]) == ("happy", 0.6667, "positive")
    assert (found[1]["label"], found[1]["share"]) == ("sad", 0.5)
    assert found[1]["votes"] == {"one": "happy", "two": "sad"}
    assert found[2] == Reject("no voter can tell")
    assert [one.reason for one in voting(least=0.8)[:2]] == ["the voters disagree"] * 2


def test_a_run_that_is_not_there_is_told_with_the_command_that_makes_it(tmp_path):
    gone = str(tmp_path / "none")
    assert vote.Settings(runs=(gone,)).problems()[0][0] == "runs"
    assert run_units.Settings(run=gone, block="a.b.c").problems()[0][0] == "run"
    with pytest.raises(InputError, match="affectkit fit teachers"):
        _ = vote.build(vote.Settings(runs=(gone,), made_by="affectkit fit teachers")).model


def test_merr_files_are_read_by_the_data_set(tmp_path):
    writer = merr_files.build(merr_files.Settings("fine"))
    writer.write(writer.example(), tmp_path)
    found = merr.build(merr.Settings(root=str(tmp_path), video=None, index="MERR_fine_grained.txt", val=0.0), "train")
    assert [(s.id, s.label, s.answers["reason"], s.subtitle) for s in found] == [
        ("sample_1", "sad", "She looks down.", "No."),
        ("sample_2", "happy", "He smiles.", ""),
    ]
    assert found[0].fact("action_unit_names").value == ("AU01", "AU15")
    assert found[0].fact("peak_frame").value == 12
    assert (tmp_path / "MERR_fine_grained.txt").read_text().splitlines()[0] == "sample_1 0 sad -10"
    for name in ("two words", "sample_2"):
        with pytest.raises(InputError, match="blanks"):
            writer.write([*writer.example(), ExportRow(name, "train", {}, writer.example()[0].values)], tmp_path)


def test_mer_caption_files_are_read_by_the_data_set(tmp_path):
    writer = caption_csv.build(caption_csv.Settings())
    rows = writer.example()
    writer.write(rows, tmp_path)
    kind = open_labels.MerCaption
    piece = next(p for p in open_labels.affectkit_pieces() if p.settings is kind)
    found = piece.build(kind(root=str(tmp_path), video=None, val=0.0), "train")
    assert [s.answers["open_labels"] for s in found] == ["[sad, hurt]", "[happy]"]
    assert found[0].answers["reason"] == rows[0].values["caption"]
    with (tmp_path / "track2_train_mercaptionplus.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["name", "openset"]


def test_ferid_records_are_read_by_the_data_set(tmp_path):
    (tmp_path / "faces").mkdir()
    for name in ("a.jpg", "b.mp4"):
        (tmp_path / "faces" / name).write_bytes(b"x")
    writer = ferid_json.build(ferid_json.Settings("puppets", root=str(tmp_path)))
    example = writer.example()
    rows = [ExportRow(r.id, r.split, {k: tmp_path / p for k, p in r.media.items()}, r.values) for r in example]
    writer.write(rows, tmp_path)
    found = ferid.build(ferid.Settings(root=str(tmp_path), val=0.0), "train")
    assert [(s.id, s.label, s.fact("kind").value) for s in found] == [
        ("a#category", "sad", "category"),
        ("a#conversation", "sad", "conversation"),
    ]
    assert found[1].turns == (("What is seen?", "A frown."),)
    assert found[0].image == tmp_path / "faces/a.jpg"
    beside = [ExportRow("c", "train", {"image": Path("/elsewhere/c.jpg")}, rows[0].values)]
    with pytest.raises(InputError, match="is not in"):
        writer.write(beside, tmp_path)
    with pytest.raises(InputError, match="no picture"):
        writer.write([ExportRow("d", "train", {}, rows[0].values)], tmp_path)


def records(path, *rows):
    full = {"split": "train", "media": {"video": "v.mp4"}, "subtitle": "hm", "findings": {}, "items": []}
    path.write_text("".join(json.dumps({**full, **row}) + "\n" for row in rows))
    return annotated.Settings(str(path), val=0.0)


def test_records_are_a_data_set(tmp_path):
    label = {"name": "e", "task": "label", "answer": "sad", "from": "v.label"}
    why = {"name": "w", "task": "reason", "answer": "A frown.", "from": "m.text"}
    talk = {"name": "t", "task": "conversation", "turns": [["Why?", "So."]], "from": "c.turns"}
    vote_only = {"vote": {"label": {"value": "happy", "source": {}}}}
    settings = records(
        tmp_path / "r.jsonl",
        {"id": "a", "items": [label, why, talk], "person": "p", "media": {"video": "v.mp4", "start": 1.0, "end": 2.0}},
        {"id": "b", "rejected": {"by": "x", "reason": "y"}, "findings": vote_only},
    )
    found = annotated.build(settings, "train")
    assert [(s.id, s.label, s.answers, s.turns) for s in found] == [
        ("a", "sad", {"reason": "A frown."}, (("Why?", "So."),))
    ]
    assert (found[0].start, found[0].fact("person").value, found[0].fact("pseudo").origin) == (1.0, "p", "estimate")
    assert found.labels == ("sad",)
    raw = annotated.Settings(settings.path, label="vote.label", rename={"happy": "joy"}, val=0.0)
    assert [(s.id, s.label) for s in annotated.build(raw, "train")] == [("b", "joy")]
    assert annotated.survey(settings).splits == {"train": 1, "val": 0}


def test_lists_questions_and_splits_of_records(tmp_path):
    def item(task, **more):
        return {"name": task, "task": task, "from": "a.b", **more}

    talk, asked = item("talk", turns=[["Why?", "So."]]), item("category", turns=[["Which?", "sad"]])
    settings = records(
        tmp_path / "r.jsonl",
        {"id": "a", "items": [item("open_labels", answer=["sad", "hurt"]), item("labels", answer="sad"), talk, asked]},
        {"id": "b", "items": [item("reason", answer="A frown.", question="How so?")]},
        {"id": "c", "items": [talk], "split": "test"},
    )
    found = annotated.build(settings, "train")
    assert [s.id for s in found] == ["a", "b"]
    assert (found[0].answers, found[0].labels) == ({"open_labels": "[sad, hurt]"}, {"sad": 1.0})
    assert found[0].turns == (("Why?", "So."), ("Which?", "sad"))
    assert found[1].turns == (("How so?", "A frown."),)
    records(tmp_path / "r.jsonl", {"id": "a", "items": [item("reason", answer="x"), item("reason", answer="y")]})
    with pytest.raises(InputError, match=r"r\.jsonl:1: two items answer the task 'reason'"):
        annotated.build(settings, "train")


def test_what_is_no_record_is_told_with_its_line(tmp_path):
    path = tmp_path / "r.jsonl"
    settings = records(path, {"id": "a"})
    with pytest.raises(InputError, match="none of the records"):
        annotated.build(settings, "train")
    path.write_text('{"id": 1}\n')
    with pytest.raises(InputError, match=r"r\.jsonl:1"):
        annotated.build(settings, "train")
    with pytest.raises(InputError, match="affectkit annotate"):
        annotated.build(annotated.Settings(str(tmp_path / "none")), "train")
    records(path, {"id": "a", "items": [{"task": "label", "answer": "sad"}]})
    with pytest.raises(InputError, match="test"):
        annotated.build(settings, "test")


def test_the_stand_in_answers_by_rule():
    from affectkit.messages import Message, picture

    client = by_rule.build(by_rule.Settings())

    def ask(text, *images):
        return client.ask([Message(text, images=images)])

    assert ask("Which emotion?\nThe lip corners rise.\nAnswer with one of: sad, happy.") == "happy"
    assert ask("Which emotion?\nNothing.\nAnswer with one of: sad, neutral.") == "neutral"
    assert json.loads(ask('What?\nHe trembles.\nAnswer as JSON: {"emotions": [words]}.')) == {"emotions": ["fear"]}
    assert ask("Write.\nWhat is seen: A frown.\nWhat is said: No!") == 'A frown. The person says "No!".'
    assert ask("What is this?", picture(np.full((8, 8, 3), (60, 80, 180), np.uint8))) == "A picture, mostly blue."
    assert client.identity["model"].startswith("a stand-in")
