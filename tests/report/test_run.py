"""Report pages from run folders, and comparisons of them."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from affectkit_plugins.metrics import accuracy, confusion, recall
from click.testing import CliRunner

from affectkit.commands.report import command
from affectkit.errors import InputError, MediaError
from affectkit.evaluation.prediction import Prediction, write_predictions
from affectkit.evaluation.score import read_metrics, score, write_metrics
from affectkit.report.compare import compare_report
from affectkit.report.page import (
    Bar,
    Case,
    Cases,
    Code,
    Figures,
    Fold,
    Grid,
    Heading,
    Page,
    Paragraph,
    Picture,
    SideBySide,
)
from affectkit.report.pictures import confusion_picture, curves_picture, frames_for
from affectkit.report.render import to_html, to_markdown
from affectkit.report.results import CurveRow, flat
from affectkit.report.run import print_outcome, write_report
from affectkit.train.run_folder import Run

LABELS = ("happy", "sad", "neutral")
METRICS = {p.name: p.build(p.settings()) for module in (recall, accuracy, confusion) for p in module.affectkit_pieces()}
PNG = b"\x89PNG"
VOID = {"meta", "img", "line", "rect", "circle", "br"}


class Tags(HTMLParser):
    """Every opened tag is closed in order, and nothing outside the file is named."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.outside = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href") and not v.startswith("data:")]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def sound_html(text):
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.outside == []
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    return tags.seen


def clip(path, frames=9):
    """A grey clip, frame i at brightness 20 * i, 64 x 48."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def sound(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        wave = (np.sin(np.arange(8000) / 9) * 12000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def made(folder, right=0.7, recipe="name: one\nabout: A recipe\nstages: {align: {epochs: 1}}\n", seed=0, **info):
    folder.mkdir()
    rng = np.random.default_rng(seed)
    clip(folder / "a.mp4")
    predictions = []
    for i in range(60):
        truth = LABELS[i % 3]
        label = truth if rng.random() < right else LABELS[(i + 1) % 3]
        facts = {
            "evidence": ("face", "voice")[i % 2],
            "subtitle": "Take the <b>train</b> & go, will you please?",
        }
        sure = {name: 0.8 if name == label else 0.1 for name in LABELS}
        media = str(folder / ("a.mp4" if i % 2 else "gone.mp4"))
        predictions.append(Prediction(f"s{i:02d}", "label", "scored", truth, label, label, sure, "", media, facts))
    predictions.append(Prediction("broken", "label", "undecodable", "sad", error="moov | atom not found"))
    predictions.append(Prediction("told", "reason", "scored", text="The brows are raised."))
    labelled = [p for p in predictions if p.task == "label"]
    write_metrics(folder, {"test": score(labelled, METRICS, LABELS, resamples=100)})
    write_predictions(folder / "predictions.jsonl", predictions)
    rows = [{"stage": "align", "step": i, "loss": 1 / (i + 1), "kind": "train"} for i in range(5)]
    rows.append({"stage": "align", "step": 5, "loss": 0.31, "kind": "val"})
    (folder / "curves.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "recipe.yaml").write_text(recipe)
    (folder / "run.json").write_text(json.dumps({"seed": 3, "versions": {"torch": "2.15"}, **info}))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    weights = [{"address": "backbone", "origin": "random"}, {"address": "streams.a.b", "origin": "hub:x/y"}]
    return made(tmp_path_factory.mktemp("runs") / "one", weights=weights, stages={"align": {"seconds": 12.3}})


def test_names_stay_on_one_line():
    page = to_html(Page("a", "", (Grid(("run", "n"), (("a-b-seed0", 1),), named=True), Grid(("run",), (("c-d",),)))))
    assert '<td class="name">a-b-seed0</td><td class="number">1</td>' in page
    assert '<td class="short">c-d</td>' in page
    assert '<td class="long">' in to_html(Page("a", "", (Grid(("why",), (("so it is " * 9,),)),)))


def test_the_page_stands_alone_and_says_what_it_must(run):
    page = write_report(run)
    text = page.read_text()
    seen = sound_html(text)
    figures = json.loads((run / "metrics.json").read_text())["test"]
    for name in ("uar", "war"):
        assert f"{figures[name]['value']:.3f}" in text
        assert f"{figures[name]['low']:.3f} to {figures[name]['high']:.3f}" in text
    assert "chance 0.333" in text
    assert "majority 0.333" in text
    assert "These parts began at random weights, not at pretrained ones: " in text
    assert "Protocol: honest." in text
    assert "Take the &lt;b&gt;train&lt;/b&gt; &amp; go" in text
    assert "no picture: gone.mp4 cannot be read" in text
    assert "moov | atom not found" in text
    assert "The brows are raised." in text
    assert "By evidence" in text
    assert "By subtitle" not in text
    # a picture each of matrix and curves, three frames of each of the wrong samples whose clip is there
    assert 2 < seen.count("img") <= 2 + 12 * 3
    assert len(text) < 2_000_000


def test_markdown_holds_the_same_tables(run):
    write_report(run)
    text = (run / "report.md").read_text()
    figures = json.loads((run / "metrics.json").read_text())["test"]
    uar = figures["uar"]
    assert f"| UAR | {uar['value']:.3f} [{uar['low']:.3f}, {uar['high']:.3f}] | 0.333 | 0.333 |" in text
    assert "moov \\| atom not found" in text
    for label, row in zip(LABELS, figures["confusion"]["rows"], strict=True):
        assert f"| {label} | {' | '.join(map(str, row))} |" in text
    assert "| align | 5 | 1.000 | 0.200 | 0.310 | 0.310 | 12 s |" in text
    assert "| undecodable | 1 |" in text
    for line in text.splitlines():
        assert not line.startswith("| ") or line.endswith(" |")


def test_a_matrix_stands_there_only_where_it_was_asked_for(tmp_path, run):
    write_report(run)
    assert "### Confusion matrix\n\n| truth" in (run / "report.md").read_text()  # no empty heading above the table
    folder = made(tmp_path / "none")
    figures = read_metrics(folder)["test"]
    results = {**figures.by_metric, "confusion": {}, "matrix": figures.by_metric["confusion"]}
    write_metrics(folder, {"test": replace(figures, by_metric=results)})
    text = write_report(folder).read_text()
    sound_html(text)
    for page in (text, (folder / "report.md").read_text()):
        assert "Confusion" not in page
        assert "By class" in page


def test_random_weights_everywhere_and_no_warning_with_none(tmp_path):
    text = write_report(made(tmp_path / "a", weights=[{"address": "backbone", "origin": "random"}])).read_text()
    assert "Random weights: these figures say nothing" in text
    text = write_report(made(tmp_path / "b", weights=[{"address": "backbone", "origin": "hub:x"}])).read_text()
    assert "Random weights" not in text


def test_labels_that_were_never_taught_are_named(tmp_path):
    text = write_report(made(tmp_path / "a", labels=["happy", "sad"])).read_text()
    assert "test: the run was never taught neutral; it knows happy, sad." in text
    assert "never taught" not in write_report(made(tmp_path / "b", labels=list(LABELS))).read_text()


def test_a_run_that_did_not_end_has_a_page_too(tmp_path):
    folder = made(tmp_path / "half")
    (folder / "metrics.json").unlink()
    (folder / "predictions.jsonl").unlink()
    text = write_report(folder).read_text()
    sound_html(text)
    assert "This run has no figures yet" in text
    assert "Training" in text


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match="is no run folder"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="is no run folder"):
        write_report(tmp_path / "none")


def test_runs_side_by_side(tmp_path, run):
    other = made(
        tmp_path / "two",
        right=0.3,
        recipe="name: two\nabout: A recipe\nstages: {align: {epochs: 4}}\n",
        seed=1,
    )
    found = CliRunner().invoke(command, [str(run), str(other), "--out", str(tmp_path / "c.html")])
    assert found.exit_code == 0
    text = (tmp_path / "c.md").read_text()
    sound_html((tmp_path / "c.html").read_text())
    assert "two against one" in text
    assert "Paired bootstrap on 60 common samples" in text
    row = next(line for line in text.splitlines() if line.startswith("| UAR | 60 |"))
    before, after, apart = row.split(" | ")[2:5]
    assert float(apart.split()[0]) == pytest.approx(float(after) - float(before), abs=0.0011)
    assert float(apart.split()[0]) < 0
    assert "| evidence: face | 30 |" in text
    assert "| stages.align.epochs | 1 | 4 |" in text
    assert "| about |" not in text


def test_runs_that_cannot_be_compared(tmp_path, run):
    with pytest.raises(InputError, match="a comparison needs two runs"):
        compare_report([run], tmp_path / "c.html")
    other = made(tmp_path / "other")
    write_metrics(other, {"conflict": read_metrics(run)["test"]})
    with pytest.raises(InputError, match="no evaluated split in common"):
        compare_report([run, other], tmp_path / "c.html")


def test_frames_of_a_clip_a_still_and_a_sound(tmp_path):
    from io import BytesIO

    from PIL import Image

    clip(tmp_path / "a.mp4")
    frames = [np.asarray(Image.open(BytesIO(data))) for data in frames_for(tmp_path / "a.mp4")]
    assert [f.shape for f in frames] == [(48, 64, 3)] * 3
    # frames 1, 4 and 7 of nine
    assert [float(f.mean()) for f in frames] == pytest.approx([20, 80, 140], abs=4)
    clip(tmp_path / "one.mp4", frames=1)
    assert len(frames_for(tmp_path / "one.mp4")) == 1
    Image.new("L", (40, 400), 90).save(tmp_path / "p.png")
    (still,) = frames_for(tmp_path / "p.png")
    assert Image.open(BytesIO(still)).size == (16, 160)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (80, 40)).save(tmp_path / "t.jpg", exif=turned)
    assert Image.open(BytesIO(frames_for(tmp_path / "t.jpg")[0])).size == (40, 80)
    sound(tmp_path / "s.wav")
    (wave,) = (np.asarray(Image.open(BytesIO(data)).convert("L")) for data in frames_for(tmp_path / "s.wav"))
    assert wave.std() > 20


@pytest.mark.parametrize("name", ["gone.mp4", "gone.png", "text.mp4", "text.jpg"])
def test_a_broken_file_costs_its_picture_only(tmp_path, name):
    if name.startswith("text"):
        (tmp_path / name).write_text("no media")
    with pytest.raises(MediaError, match=name):
        frames_for(tmp_path / name)


def test_pictures_are_pngs_and_empty_ones_are_none():
    assert confusion_picture(["a", "b"], ["a", "b", "(invalid)"], [[0, 0, 0], [1, 2, 0]]).startswith(PNG)
    many = [f"c{i}" for i in range(20)]
    assert confusion_picture(many, many, np.eye(20, dtype=int).tolist()).startswith(PNG)
    assert curves_picture([]) is None
    assert curves_picture([CurveRow(0, None, "a")]) is None
    assert curves_picture([CurveRow(i, 1.0, "a") for i in range(50)]).startswith(PNG)


def test_blocks_escape_what_they_hold():
    page = Page("<i>", "a\nb", (Paragraph("x < y"), Grid(("a|b",), (("c\nd",),)), Fold("f", (Code("```\n<"),))))
    text = to_html(page)
    sound_html(text)
    assert "<i>" not in text.replace("<i style", "")
    assert "x &lt; y" in text
    markdown = to_markdown(page)
    assert "| a\\|b |" in markdown
    assert "| c d |" in markdown
    assert "````\n```\n<\n````" in markdown


LABEL = "<b>x</b>\"'&"
"""What people may call a label."""
MARKED = Bar(0.5, 0.2, 0.8, ((LABEL, 0.3),))


@pytest.mark.parametrize(
    ("block", "places"),
    [
        (Heading(LABEL), 1),
        (Paragraph(LABEL), 1),
        (Paragraph("", LABEL), 1),
        (Grid((LABEL,), ((LABEL,), (MARKED,))), 3),
        (Figures(((LABEL, MARKED),)), 3),
        (Picture(PNG, LABEL), 1),
        (Cases((Case(LABEL, LABEL, LABEL, ((LABEL, 0.9),), LABEL, (LABEL,), (PNG,), LABEL),)), 7),
        (Code(LABEL), 1),
        (Fold(LABEL, (Paragraph(LABEL),)), 2),
        (SideBySide(((Paragraph(LABEL),), (Fold(LABEL, ()),))), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_label_is_no_markup(block, places):
    """Wherever it stands it is escaped, and once only: read back, it is what it was."""
    text = to_html(Page(LABEL, LABEL, (block,)))
    sound_html(text)
    assert LABEL not in text
    assert "<b>x" not in text
    assert unescape(text).count(LABEL) == 3 + places  # the page's title, twice, and what it is about


def test_a_figure_says_its_interval_and_its_sign():
    assert str(Bar(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    assert str(Bar(0.5, -0.25, 0.75, span=(-1, 1))) == "+0.500 [-0.250, +0.750]"
    assert str(Bar(None)) == "–"


def test_leaves_of_nested_values():
    value = {
        "a": {"b": 1, "c": [1, 2]},
        "d": None,
        "e": {},
        "weights": [{"address": "x.y", "origin": "random"}],
    }
    assert dict(flat(value)) == {"a.b": "1", "a.c": "1, 2", "d": "", "e": "{}", "weights.x.y": "random"}


def test_a_report_imports_no_torch(run):
    code = "import sys; from affectkit.report.run import write_report; write_report(sys.argv[1]); "
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(run)], check=True)


def undefined(value):
    """The same with null for every fraction, as figures are that no sample has."""
    if isinstance(value, dict):
        return {key: undefined(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [undefined(inner) for inner in value]
    return None if isinstance(value, float) else value


FIGURE = {"value": 0.5, "low": 0.25, "high": 0.75}
PAIR = {**FIGURE, "ahead": 0.5, "first": 0.25, "second": 0.75}
GROUPS = {v: {"count": 30, "classes": 3, "small": False, "uar": FIGURE} for v in ("female", "male")}
FIELD = {
    "origin": "label", "without": 1, "groups": GROUPS,
    "gaps": {"uar": {**FIGURE, "highest": "male", "lowest": "female", "by_accident": 0.5}},
}  # fmt: skip
CONDITION = {
    "name": "wrong", "about": "of another", "uar": FIGURE, "lost": 1, "gained": 2, "apart": {"uar": PAIR},
    "flips": {**FIGURE, "count": 60, "small": False}, "by": {"gender": {"male": {**FIGURE, "count": 30, "small": False}}},
}  # fmt: skip
MORE = {
    "sensitivity": {
        "labels": {
            "about": "order",
            "variants": [{"name": "as it is", "uar": FIGURE}, {"name": "other", "uar": FIGURE, "apart": {"uar": PAIR}}],
            "spread": {"uar": 0.5},
        },
    },
    "bias": {
        "small": 20, "groups": {"gender": FIELD},
        "flips": {"fields": {"gender": "label"}, "samples": 60, "conditions": [CONDITION]},
    },
}  # fmt: skip


@pytest.mark.parametrize("change", [undefined, lambda value: value], ids=["undefined", "defined"])
def test_pages_survive_figures_that_nothing_defines(change, tmp_path, capsys):
    folders = [made(tmp_path / name, seed=i) for i, name in enumerate(("one", "two"))]
    for folder in folders:
        whole = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps(change({"test": {**whole["test"], **MORE}})))
        rows = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
        (folder / "curves.jsonl").write_text("".join(json.dumps(change(row)) + "\n" for row in rows))
    page = write_report(folders[0]).read_text()
    sound_html(page)
    assert "Gaps between groups" in page
    print_outcome(Run(folders[0]), print)
    sound_html(compare_report(folders, tmp_path / "c.html").read_text())
    assert not re.search(r"\bnan\b", page + capsys.readouterr().out)


@pytest.mark.parametrize("state", ["invalid", "refused", "unparsed", "undecodable", "skipped"])
def test_a_run_without_one_valid_answer_has_a_report(state, tmp_path, capsys):
    folders = [made(tmp_path / name) for name in ("one", "two")]
    for folder in folders:
        answers = [
            Prediction(f"s{i}", "label", state, None if state == "skipped" else LABELS[i % 3], error="why")
            for i in range(9)
        ]
        write_predictions(folder / "predictions.jsonl", answers)
        write_metrics(folder, {"test": score(answers, METRICS, LABELS, resamples=20)})
    page = write_report(folders[0]).read_text()
    sound_html(page)
    assert f'{state}</td><td class="number">9' in page
    compare_report(folders, tmp_path / "c.html")
    print_outcome(Run(folders[0]), print)
    assert f"9 {state}" in capsys.readouterr().out
    json.loads((folders[0] / "metrics.json").read_text(), parse_constant=pytest.fail)
