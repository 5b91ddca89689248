"""Open labels: the question, its fixed sentence, and the words that puppets are labelled with."""

import pytest
from affectkit_plugins.datasets._puppets import store
from affectkit_plugins.datasets._puppets.emotion import EMOTIONS, MANNERS, PROTOTYPES, UNITS, manner_of, measured
from affectkit_plugins.datasets._puppets.labels import _OF_CUE, CUES, DEGREES, NAMES, open_labels
from affectkit_plugins.datasets._puppets.words import PHRASES
from affectkit_plugins.metrics._wheels import labels_of
from affectkit_plugins.metrics._wheels_own import own
from affectkit_plugins.prompts import label_question, open_labels_question, template

from affectkit.prompt import Ask, Prompt
from affectkit.sample import Sample

CLIP = Sample("a", label="happy", answers={"open_labels": "[happy, 'joyful']"})
ASK = Ask("open_labels", labels=("happy", "sad"))


def asked(sample=CLIP, ask=ASK, **settings):
    made = open_labels_question.build(open_labels_question.Settings(**settings))(sample, ask)
    return [(s.text, s.trained) for s in made]


def test_the_answer_lists_the_words_in_the_sentence():
    question = ("Which words name what this person feels?", False)
    assert asked() == [question, ("This person feels happy, joyful.", True)]
    assert asked(answer="{labels}", separator=" and ")[1] == ("happy and joyful", True)
    assert asked(ask=Ask("label")) == []


def test_a_label_alone_is_an_answer_only_where_the_recipe_says_so():
    bare = Sample("b", label="sad")
    assert [trained for _, trained in asked(bare)] == [False]
    assert asked(bare, from_label=True)[1] == ("This person feels sad.", True)
    assert len(asked(Sample("c"), from_label=True)) == 1


def test_braces_in_words_are_left_alone_and_a_sentence_without_a_gap_is_wrong():
    odd = Sample("d", answers={"open_labels": "[{labels}, {x}]"})
    assert asked(odd)[1][0] == "This person feels {labels}, {x}."
    assert open_labels_question.Settings(answer="It is so.").problems()[0][0] == "answer"


def test_it_stands_in_a_template_beside_other_tasks():
    parts = {
        "ask": label_question.build(label_question.Settings(wording="Which?")),
        "open": open_labels_question.build(open_labels_question.Settings(wording="What?")),
    }
    made = Prompt(template.build(template.Settings("hashes")), parts)
    text = "".join(s.text for s in made.segments(CLIP, ASK))
    assert text == "###Human: What?###Assistant: This person feels happy, joyful.###"
    infer = made.segments(CLIP, Ask("open_labels", "infer"))
    assert "".join(s.text for s in infer) == "###Human: What?###Assistant: "


# -- puppets --------------------------------------------------------------------------------------------------------


def sidecar(emotion, evidence, strength=1.0, cue=""):
    """What a sidecar tells of a clip whose face and voice show an emotion at that strength."""
    units = [[0.0] * len(UNITS), [PROTOTYPES[emotion][0].get(u, 0.0) * strength for u in UNITS]]
    manner = measured(manner_of(emotion, strength))
    return {"label": emotion, "evidence": evidence, "cue": cue, "action_units": units, "manner": manner}


@pytest.mark.parametrize("emotion", [e for e in EMOTIONS if e != "neutral"])
@pytest.mark.parametrize("evidence", ["face", "voice"])
def test_degree_words_follow_the_strength(emotion, evidence):
    name = NAMES.get(emotion, emotion)
    for strength, word in zip((0.76, 0.99), DEGREES[emotion], strict=True):
        assert labels_of(open_labels(sidecar(emotion, evidence, strength))) == tuple(w for w in (name, word) if w)


def test_the_subtitle_speaks_only_where_it_is_evidence():
    assert open_labels(sidecar("fear", "words", 0.0, "trembling")) == "[afraid, nervous]"
    assert open_labels(sidecar("fear", "all", 1.0, "trembling")) == "[afraid, terrified, nervous]"
    assert open_labels(sidecar("fear", "face", 1.0, "trembling")) == "[afraid, terrified]"
    assert open_labels(sidecar("happy", "all", 1.0, "joy")) == "[happy, joyful]"
    assert open_labels(sidecar("neutral", "all", 1.0, "list")) == "[neutral]"


def test_every_word_is_in_our_lexicon_and_in_the_group_of_its_emotion():
    tables = own()
    phrases = {cue: emotion for emotion, said in PHRASES.items() for _, cue in said}
    assert set(_OF_CUE) <= set(phrases)
    assert sum(map(len, CUES.values())) == len(_OF_CUE)
    for emotion in DEGREES:
        words = {NAMES.get(emotion, emotion), *DEGREES[emotion]} - {""}
        words |= {word for cue, word in _OF_CUE.items() if phrases[cue] == emotion}
        assert len({tables.group(word, "W1-L1") for word in words} - {""}) == 1, emotion
        assert all(tables.group(word, "M1") for word in words), emotion
    assert not tables.group("neutral", "W1-L1")


def test_a_sample_of_an_old_sidecar_has_them(tmp_path):
    import json

    told = sidecar("angry", "voice") | {"subtitle": "So.", "reason": "Because.", "manner_names": list(MANNERS)}
    told |= {"action_unit_names": [], "landmarks": [], "face_box": [], "age": "20-29", "gender": "male"}
    told |= {"skin_tone": "monk 1", "identity": "x", "misleads": "", "misleading_label": ""}
    (tmp_path / "train-00000.json").write_text(json.dumps(told))
    sample = store.sample_of("train-00000", tmp_path)
    assert dict(sample.answers) == {"reason": "Because.", "open_labels": "[angry, furious]"}
