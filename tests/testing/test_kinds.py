"""A test of the tests, for the kinds that are no steps: what breaks a promise is caught, by name and with figures."""

import dataclasses
import random
import re
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest
from broken_pieces import Settings, broken

from affectkit.data.faces import Face
from affectkit.errors import InputError
from affectkit.pieces import Piece
from affectkit.prompt import Segment
from affectkit.reading import Reading
from affectkit.registry import Registry
from affectkit.sample import Sample
from affectkit.testing.promises import BrokenPromise, keeps_its_promises


def of_kind(kind, build, settings=Settings):
    return Piece(kind, "tried", settings, lambda *_: build)


def says(words):
    return of_kind("prompt", lambda sample, ask: (Segment(words(sample, ask)),))


PROMPTS = {
    "crashes on missing facts": (says(lambda s, a: s.facts["age"].value or "x"), "KeyError: 'age'"),
    "says None": (says(lambda s, a: f"Age {s.fact('age').value}."), "says 'Age None.'"),
    "draws by itself": (says(lambda s, a: random.choice("abcdefgh") * 9), "draw with `ask.draw"),
    "tells the answer": (
        says(lambda s, a: f"Is it {s.label or 'nothing'}?"),
        "its answer shows in what is not trained",
    ),
    "hidden slot": (of_kind("prompt", lambda s, a: (Segment(slot="face"),)), "slot 'face'"),
    "no tuple": (of_kind("prompt", lambda s, a: [Segment("x")]), "not a tuple of Segment"),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_a_prompt_that_breaks_a_promise_is_caught(case):
    piece, words = PROMPTS[case]
    assert words in broken(piece)[1]


@dataclasses.dataclass(frozen=True)
class Shown(Settings):
    """A reader for these tests."""

    def examples(self, targets):
        yield from ((f"so {label}", Reading(label)) for label in targets.labels)


def so(text, targets):
    """Reads `so LABEL`."""
    label = text.removeprefix("so ")
    return Reading(label if text != label and label in targets.labels else None)


SEEN = []


def remembers(text, targets):
    SEEN.append(text)
    return replace(so(text, targets), thought=str(len(SEEN)))


READERS = {
    "crashes on an empty text": (lambda text, t: Reading(thought=text.split()[0]), "IndexError: list index out of range"),
    "no Reading": (lambda text, t: so(text, t).label, "not a Reading"),
    "makes up a label": (lambda text, t: Reading("awe"), "the label 'awe' is not of the set"),
    "has a number for what cannot be read": (
        lambda text, t: replace(so(text, t), numbers=dict.fromkeys(t.numbers, 0.0)),
        "'' is read as Reading(label=None, labels=(), numbers={'valence': 0.0, 'arousal': 0.0}",
    ),
    "passes on what is not finite": (
        lambda text, t: replace(so(text, t), numbers=dict.fromkeys(t.numbers if "NaN" in text else (), float("nan"))),
        "are not all finite floats",
    ),
    "tells what nobody asked": (lambda text, t: replace(so(text, t), numbers={"joy": 1.0}), "nobody asked for 'joy'"),
    "cannot read its own example": (lambda text, t: Reading(), "'so happy' is read as Reading(label=None"),
    "takes the first of the set": (
        lambda text, t: Reading(t.labels[0]) if "street" in text and t.labels else so(text, t), "then as Reading(label=",
    ),
    "remembers": (remembers, "then as Reading(label="),
    "finds a label inside a word": (
        lambda text, t: Reading(next((k for k in t.labels if text.startswith("so ") and text.endswith(k)), None)),
        "'so unhappy' is read as Reading(label='happy'",
    ),
    "makes numbers up": (
        lambda text, t: replace(so(text, t), numbers=dict.fromkeys(t.numbers, 0.0) if re.search("[a-z]", text) else {}),
        "is read as Reading(",
    ),
    "makes numbers up beside a label": (
        lambda text, t: replace(so(text, t), numbers=dict.fromkeys(t.numbers, 0.0) if so(text, t).label else {}),
        "is read as Reading(label=",
    ),
    "lists a label twice": (
        lambda text, t: replace(so(text, t), labels=("sad", "sad") if "sad" in text else ()), "no tuple of different labels",
    ),
}  # fmt: skip


def test_a_reader_that_keeps_its_promises_passes():
    assert len(keeps_its_promises(of_kind("reader", so, Shown), light=False)) >= 7


@pytest.mark.parametrize("case", READERS)
def test_a_reader_that_breaks_a_promise_is_caught(case):
    build, words = READERS[case]
    assert words in broken(of_kind("reader", build, Shown))[1]


def test_a_reader_that_raises_is_named_by_its_promise():
    piece = of_kind("reader", lambda text, targets: Reading(text.split("so ")[1]), Shown)
    with pytest.raises(BrokenPromise) as told:
        keeps_its_promises(piece)  # with the process that looks at imports, in which it raises, too
    assert told.value.broken[0] == ("a Reading of every text", "'': IndexError: list index out of range")


def test_a_reader_without_examples_is_caught():
    assert "no method `examples(targets)`" in broken(of_kind("reader", so))[1]


def share(predictions, labels):
    return {"value": sum(p.label == p.truth for p in predictions) / len(predictions) if predictions else None}


def eats(predictions, labels):
    found = share(predictions, labels)
    predictions[:] = predictions[:-1]
    return found


METRICS = {
    "not of nothing": (lambda p, k: {"value": sum(x.label == x.truth for x in p) / len(p)}, "ZeroDivisionError"),
    "NaN": (lambda p, k: {"value": float("nan")}, "say None where there is none"),
    "order": (lambda p, k: {"value": float(p[0].id) if p else None}, "in another order"),
    "changes its arguments": (eats, "changed the predictions"),
    "random": (lambda p, k: {"value": random.random()}, "pure"),
}


@pytest.mark.parametrize("case", METRICS)
def test_a_metric_that_breaks_a_promise_is_caught(case):
    call, words = METRICS[case]
    assert words in broken(of_kind("metric", call))[1]


def test_an_honest_metric_passes():
    keeps_its_promises(of_kind("metric", share), light=False)


def bright(frames, keep=(224, 190, 170)):
    return [[Face((0.0, 0.0, 9.0, 9.0))] if (f == keep).all(-1).any() else [] for f in frames]


DETECTORS = {
    "black": (lambda frames: [[Face((0.0, 0.0, 5.0, 5.0))] for _ in frames], "a black frame gave"),
    "random": (
        lambda frames: [[Face((0.0, 0.0, 5.0, 5.0 + random.random()))] * bool(f.any()) for f in frames],
        ", then ",
    ),
    "too few": (lambda frames: [[]], "3 frames gave 1 lists"),
    "empty box": (lambda frames: [[Face((5.0, 5.0, 5.0, 5.0))] * bool(f.any()) for f in frames], "box of some area"),
}


@pytest.mark.parametrize("case", DETECTORS)
def test_a_detector_that_breaks_a_promise_is_caught(case):
    call, words = DETECTORS[case]
    assert words in broken(of_kind("detector", call))[1]


def test_an_honest_detector_passes():
    keeps_its_promises(of_kind("detector", bright), light=False)


class Clips(list):
    labels = ("sad",)


def data(samples, open_it=lambda path: None):
    def build(settings, split):
        if split != "train":
            raise InputError(f"no split {split!r}")
        made = Clips(samples)
        for sample in made:
            open_it(sample.image)
        return made

    return Piece("dataset", "tried", Settings, build)


def stills(folder, names, label="sad"):
    from PIL import Image

    for name in set(names):
        Image.new("RGB", (4, 4)).save(folder / f"{name}.png")
    return [Sample(n, image=folder / f"{n}.png", label=label) for n in names]


def test_data_sets_that_break_a_promise_are_caught(tmp_path):
    from PIL import Image

    keeps_its_promises(data(stills(tmp_path, "ab")), light=False)
    assert "the id 'a' occurs 2 times" in broken(data(stills(tmp_path, "aba")))[1]
    assert "has the label 'odd'" in broken(data(stills(tmp_path, "ab", "odd")))[1]
    assert "is no file" in broken(data([Sample("x", image=tmp_path / "none.png")]))[1]
    assert "the split `train` is empty" in broken(data([]))[1]
    eager = data(stills(tmp_path, "ab"), lambda path: Image.open(path).close())
    assert "opened 2 media files" in broken(eager)[1]


def test_a_backbone_whose_samples_see_each_other_is_caught(monkeypatch):
    piece = Registry.load().pieces("backbone")[0]
    honest = piece.build

    def leaky(settings, texts, saved):
        lm = honest(settings, texts, saved)
        inner = lm.loss
        object.__setattr__(lm, "loss", lambda row: inner(replace(row, lengths=(sum(row.lengths),))))
        return lm

    found, text = broken(dataclasses.replace(piece, build=leaky))
    assert "do samples see each other?" in text
    assert "gradients from its neighbours" in text
    assert "packed equals one by one" in found


@contextmanager
def off_for_good(lm):
    lm.lm.base_model.disable_adapter_layers()
    yield


@contextmanager
def learning_again(lm):
    with lm.lm.disable_adapter():
        yield


CARELESS = {
    "without adapters the loss is": lambda lm: nullcontext(),
    "are the adapters on again?": off_for_good,
    "adapters that were frozen learn after it": learning_again,
}


@pytest.mark.parametrize("told", CARELESS)
def test_a_backbone_whose_adapters_are_not_turned_off_or_not_on_again_is_caught(told, monkeypatch):
    monkeypatch.setattr("affectkit_plugins.backbones.causal_lm_net.CausalLM.without_adapters", CARELESS[told])
    found, text = broken(Registry.load().pieces("backbone")[0])
    assert told in text
    assert list(found) == ["adapters can be turned off"]
