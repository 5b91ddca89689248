"""Pages and tables of runs whose answers are numbers or several labels, and of probabilities."""

import random
import re
from dataclasses import replace

import pytest
from affectkit_plugins.metrics import multilabel, ratings

from affectkit.evaluation.calibration import reliability, temperature_of
from affectkit.evaluation.figures import Reliability, SplitFigures
from affectkit.evaluation.prediction import Prediction, write_predictions
from affectkit.evaluation.score import measure, without_metrics, write_metrics
from affectkit.report.answers import answer_text, reliability_blocks, reliability_line, truth_text
from affectkit.report.compare import compare_report
from affectkit.report.page import Grid, Page, Picture, SideBySide
from affectkit.report.pictures import coverage_picture, reliability_picture, scatter_picture
from affectkit.report.render import to_markdown
from affectkit.report.run import print_outcome, write_report
from affectkit.train.run_folder import Run

PIECES = {p.name: p for module in (ratings, multilabel) for p in module.affectkit_pieces()}
METRICS = {n: PIECES[n].build(PIECES[n].settings()) for n in ("ccc", "mae", "multilabel_f1")}


def rated(seed):
    truths, rng = random.Random(0), random.Random(seed)
    found = []
    for i in range(40):
        truth = {"valence": truths.uniform(-1, 1)}
        answer = {"valence": truth["valence"] + rng.gauss(0, 0.3)}
        found.append(Prediction(str(i), "numbers", "scored", true_numbers=truth, numbers=answer))
    return [*found[1:], replace(found[0], state="unparsed", numbers={}, text="no idea", error="no number")]


def several(seed):
    rng = random.Random(seed)
    return [Prediction(str(i), "labels", "scored", true_labels={"joy": 1.0, "fear": float(i % 2)},
                       labels=("joy",) if rng.random() < 0.6 else ("joy", "fear")) for i in range(30)]  # fmt: skip


def labelled(seed, start=0):
    rng = random.Random(seed)
    found = []
    for i in range(80):
        odds = {"joy": rng.uniform(0.5, 1)}
        odds["fear"] = 1 - odds["joy"]
        truth = "joy" if rng.random() < 0.6 else "fear"
        found.append(Prediction(f"{start + i}", "label", "scored", truth, "joy", probabilities=odds))
    return found


def run(folder, task, predictions, names, labels=()):
    folder.mkdir()
    own = {name: METRICS[name] for name in names}
    found = without_metrics(task, predictions, own, labels, resamples=20)
    figures = {name: measure(one, predictions, labels, resamples=20) for name, one in own.items()}
    write_metrics(folder, {"test": replace(found, by_metric=figures)})
    write_predictions(folder / "predictions.jsonl", predictions)
    (folder / "recipe.yaml").write_text(
        f"name: {folder.name}\nscore: {{metrics: {{{', '.join(f'{n}: {n}' for n in names)}}}}}\n"
    )
    (folder / "run.json").write_text("{}")
    return folder


def test_a_page_of_numbers_has_a_scatter_parts_and_no_matrix(tmp_path, capsys):
    folder = run(tmp_path / "one", "numbers", rated(1), ("ccc", "mae"))
    page = write_report(folder).read_text()
    told = (folder / "report.md").read_text()
    assert "data:image/png" in page
    assert "## test: 40 samples\n" in told
    assert "Confusion matrix" not in page
    assert re.search(r"\| valence \| 0\.\d+ \[0\.\d+, 0\.\d+\] \| 39 \| 1 \| 0 \|", told)
    assert "always “the mean of the truths”" in told
    assert re.search(r"\| test \| 0 \| unparsed \| valence 0\.69 \| no idea \| no number \|", told)
    print_outcome(Run(folder), print)
    shown = capsys.readouterr().out
    assert "CCC by part" in shown
    assert "always the mean of the truths" in shown


def test_runs_of_numbers_are_compared(tmp_path):
    folders = [run(tmp_path / name, "numbers", rated(seed), ("ccc", "mae")) for name, seed in (("one", 1), ("two", 2))]
    told = compare_report(folders, tmp_path / "c.html").with_suffix(".md").read_text()
    assert "two against one, numbers" in told
    assert re.search(r"\| MAE \| 39 \| 0\.\d+ \| 0\.\d+ \| [+-]0\.\d+ \[[+-]0\.\d+, [+-]0\.\d+\] \|", told)


def test_a_page_of_several_labels_has_a_row_a_class(tmp_path):
    folders = [
        run(tmp_path / n, "labels", several(s), ("multilabel_f1",), ("joy", "fear"))
        for n, s in (("one", 1), ("two", 2))
    ]
    write_report(folders[0])
    told = (folders[0] / "report.md").read_text()
    assert "## test: 30 samples, 2 classes\n" in told
    assert re.search(r"\| joy \| 1\.000 \[1\.000, 1\.000\] \| 1\.000 \| 1\.000 \| 30 \|", told)
    assert "two against one, labels" in compare_report(folders, tmp_path / "c.html").read_text()


def test_reliability_is_drawn_and_told_before_and_after_a_temperature():
    found = reliability(labelled(1), ("joy", "fear"), resamples=20)
    bare = list(reliability_blocks(found))
    assert [len(column) for block in bare if isinstance(block, SideBySide) for column in block.columns] == [1, 1]
    grid = next(block for block in bare if isinstance(block, Grid))
    assert len(grid.head) == 2
    heat = temperature_of(labelled(2, 1000), labelled(1), ("joy", "fear"), resamples=20)
    mended = replace(found, temperature=heat)
    told = to_markdown(Page("", "", tuple(reliability_blocks(mended))))
    assert f"fitted on 80 answers of val alone: negative log-likelihood there {heat.nll_before:.3f} before" in told
    assert str(heat.figures["ece_15"]) in told
    shown = f"at temperature {heat.value:.3f} (fitted on 80 answers of val) ECE {heat.figures['ece_15']}"
    assert shown in reliability_line(mended)
    ended = replace(found, temperature=replace(heat, at_end=True))
    assert "(fitted on 80 answers of val, an end of what is tried)" in reliability_line(ended)
    assert "temperature" not in reliability_line(found)


def test_a_split_keeps_its_reliability_in_a_file(tmp_path):
    found = reliability(labelled(1), ("joy", "fear"), resamples=20)
    write_metrics(tmp_path, {"test": SplitFigures(labels=("joy", "fear"), count=80, reliability=found)})
    (tmp_path / "run.json").write_text("{}")
    assert "How far probabilities can be trusted" in write_report(tmp_path).read_text()


@pytest.mark.parametrize("picture", [
    lambda: scatter_picture({"valence": [(0.1, 0.1)], "arousal": [(0, 1), (1, 0)]}),
    lambda: reliability_picture(reliability(labelled(1), ("joy", "fear"), resamples=5).bins),
    lambda: coverage_picture(((0.5, 0.0), (1.0, 0.0))),
])  # fmt: skip
def test_pictures_are_wide_enough_to_read(picture):
    data = picture()
    assert data.startswith(b"\x89PNG")
    assert 300 < Picture(data, "").width < 600


def test_figures_that_nothing_defines_are_left_out_of_pictures():
    found = reliability(labelled(1), ("joy", "fear"), resamples=5).to_dict()
    found["bins"] = [{**one, "accuracy": None} for one in found["bins"]]
    blocks = list(reliability_blocks(Reliability.from_dict(found)))
    assert not any(isinstance(block, SideBySide) for block in blocks)


def test_truths_and_answers_in_words():
    assert truth_text(rated(1)[0]).startswith("valence ")
    assert truth_text(several(1)[0]) == "joy"
    assert answer_text(replace(several(1)[0], labels=("joy", "fear"))) == "joy, fear"
    assert (truth_text(labelled(1)[0]), answer_text(labelled(1)[0])) == (labelled(1)[0].truth, "joy")
