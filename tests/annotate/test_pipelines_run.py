"""The pipelines of the three papers on a few puppets, from classifiers to a model that learns from what they found."""

import json
from pathlib import Path

import pytest
from affectkit_plugins.datasets import merr

from affectkit import fit
from affectkit.annotate.plan import check_annotation
from affectkit.annotate.reviews import ReviewFile, Verdict, reviewed
from affectkit.annotate.run import annotate

pytestmark = pytest.mark.slow

TINY = "{use: puppets, seed: 1, count: 70, size: 64, fps: 8, seconds: 1.0}"
SMALL = ["data.count=70", "data.size=64", "data.fps=8", "data.seconds=1.0"]
FEW = ["stages.face.epochs=1", "stages.voice.epochs=1"]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """A folder with teachers that learned a little."""
    folder = tmp_path_factory.mktemp("pipelines")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit("teachers", [f"data={TINY}", *FEW, "stages.fusion.epochs=1", "stages.words.epochs=1"], say=lambda _: None)
    return folder


@pytest.fixture(autouse=True)
def folder(teachers, monkeypatch):
    monkeypatch.chdir(teachers)


def run(recipe, *overrides):
    out = annotate(check_annotation(f"annotate/{recipe}", [*SMALL, *overrides], data=True))
    return out, [json.loads(line) for line in (out / "records.jsonl").open()]


def test_merr_finds_its_clips_its_peaks_and_its_files():
    out, records = run("merr", "annotators.peak.least=0", "annotators.agree=null", "annotators.expression.units=peak.units",
                       "annotators.contradiction=null")  # fmt: skip
    used = [record for record in records if record["items"]]
    assert len(records) == 49
    assert used
    peaks = [record["findings"]["peak"]["frame"]["value"] for record in used]
    assert set(peaks) <= set(range(8))
    assert [r["findings"]["picture"]["frames"]["value"] for r in used] == [[peak] for peak in peaks]
    root = out / "exports"
    for kind in ("coarse", "fine"):
        index = f"MERR_{kind}_grained.txt"
        settings = merr.Settings(
            root=str(root / kind), annotations=index.replace("txt", "json"), index=index, video=None, val=0.0
        )
        if any(
            entry["pseu_emotion"] == "disgust"
            for entry in json.loads((root / kind / settings.annotations).read_text()).values()
        ):
            continue  # puppets have a label that MERR's own nine lack
        found = merr.build(settings, "train")
        assert [sample.id for sample in found] == [record["id"] for record in used]
    lines = (root / "coarse/MERR_coarse_grained.txt").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["8"] * len(used)


def test_mer_caption_filters_and_a_model_learns_from_what_is_left():
    out, records = run(
        "mer_caption", "annotators.emotion=null", "annotators.sentiment=null", "annotators.speaker.fewest=4"
    )
    by = {record["rejected"]["by"] for record in records if "rejected" in record}
    assert by <= {"speaker", "length", "visual", "merged", "emotions", "voice", "acoustic", "vote"}
    again, _ = run("mer_caption", "annotators.emotion=null", "annotators.sentiment=null", "annotators.speaker.fewest=4")
    assert json.loads((again / "summary.json").read_text())["calls"] == 0
    assert (again / "records.jsonl").read_bytes() == (out / "records.jsonl").read_bytes()
    used = [record for record in records if record["items"]]
    file = ReviewFile(out / "reviews.jsonl")
    one = used[0]
    file.append(Verdict(one["id"], one["split"], "ann", "edit", {"emotion": "disgust"}))
    path = out / "reviewed.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in reviewed(records, file.verdicts)))
    labels = "labels: [happy, sad, neutral, angry, surprise, disgust, fear]"
    data = f"stages.learn.data={{use: annotated, path: {path}, val: 0.2, {labels}}}"
    more = [f"stages.{stage}.data={TINY}" for stage in ("face", "voice")]
    made = fit("student", [*SMALL, *FEW, *more, data, "stages.learn.epochs=1"], say=lambda _: None)
    told = json.loads((made.folder / "run.json").read_text())["stages"]["learn"]
    assert 0.6 * len(used) <= told["train"] < len(used)
    assert 0 <= json.loads((made.folder / "metrics.json").read_text())["test"]["uar"]["value"] <= 1


def test_ferid_asks_for_the_label_and_talks():
    out, records = run("ferid")
    assert len(records) == 49
    items = json.loads((out / "exports/ferid/ferid.json").read_text())
    assert {item["kind"] for item in items} == {"category", "conversation"}
    assert all(Path(records[0]["media"]["video"]).parent.joinpath(item["video"]).exists() for item in items)
