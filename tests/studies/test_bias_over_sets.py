"""Gaps over several data sets: groups by the mean of the sets, never thrown together; a suite with its own figures by people."""

import json

import pytest
import still_recipe
import torch
from people_asked import HOW, LABELS, answers, people

from affectkit.api import fit
from affectkit.errors import InputError
from affectkit.evaluation import bias
from affectkit.evaluation import bias as bias_sets
from affectkit.evaluation import groups as bias_draws
from affectkit.evaluation.bias import SetAnswers, over_sets
from affectkit.evaluation.over_sets import BiasOverSets
from affectkit.report import bias as bias_set_pages
from affectkit.report.render import markdown
from affectkit.sample import Fact, Sample
from affectkit.studies import cross as cross_pages
from affectkit.studies.cells import CellStore
from affectkit.studies.cross_run import CrossOptions, cross
from affectkit.studies.suite_run import evaluate_suite

METRICS = ["uar", "war"]


def split(name, shares, field="gender", origin="label"):
    """A data set: by group its size and the share that is answered right."""
    rows, words = [], {}
    for group, (size, share) in shares.items():
        for i in range(size):
            truth = LABELS[i % 2]
            rows.append((f"{name}{group}{i}", truth, truth if i // 2 < share * size / 2 else LABELS[1 - i % 2]))
            words[f"{name}{group}{i}"] = group
    return SetAnswers(answers(rows), people({field: words}, origin), HOW)


def test_a_hard_data_set_weighs_on_both_groups_alike():
    """Thrown together, women would look 0.4 worse; in either set there is no difference at all."""
    easy = split("a", {"female": (40, 0.9), "male": (400, 0.9)})
    hard = split("b", {"female": (400, 0.4), "male": (40, 0.4)})
    found = over_sets({"easy": easy, "hard": hard})["gender"].to_dict()
    assert found["sets"] == ["easy", "hard"]
    assert {g: one["count"] for g, one in found["groups"].items()} == {"female": 440, "male": 440}
    assert found["groups"]["female"]["uar"]["value"] == pytest.approx(0.65)
    assert found["gaps"]["uar"]["value"] == pytest.approx(0)
    assert found["gaps"]["uar"]["by_accident"] == 1
    thrown = bias.group_figures(
        easy.answers + hard.answers,
        people({"gender": {**easy.people.words["gender"], **hard.people.words["gender"]}}),
        HOW,
    )
    assert thrown["gender"].gaps["uar"].value == pytest.approx(0.4, abs=0.02)


def test_a_gap_in_both_is_a_gap_over_all():
    sets = {n: split(n, {"female": (80, 0.9), "male": (80, 0.7), "other": (5, 0.0)}) for n in "ab"}
    found = over_sets(sets)["gender"].to_dict()
    gap = found["gaps"]["war"]
    assert (gap["highest"], gap["lowest"], list(found["groups"])) == ("female", "male", ["female", "male"])
    assert gap["value"] == pytest.approx(0.2)
    alone = bias.group_figures(sets["a"].answers, sets["a"].people, HOW)["gender"].to_dict()["gaps"]["war"]
    assert gap["high"] - gap["low"] < 0.85 * (alone["high"] - alone["low"])  # twice as many samples tell more
    assert gap["by_accident"] < alone["by_accident"] or gap["by_accident"] < 0.01


def test_where_nothing_is_over_all_it_is_said_why():
    both = {"female": (40, 0.9), "male": (40, 0.9)}
    one, few = split("a", both), split("b", {"female": (40, 0.9), "male": (8, 0.9)})
    assert over_sets({"a": one, "b": few})["gender"].to_dict()["note"] == "only a has two groups of 30 samples or more"
    assert over_sets({"b": few})["gender"].to_dict()["note"] == "no data set has two groups of 30 samples or more"
    other = split("b", {"woman": (40, 0.9), "man": (40, 0.9)})
    assert "(a: female, male; b: man, woman)" in over_sets({"a": one, "b": other})["gender"].to_dict()["note"]
    guessed = split("b", both, origin="estimate")
    assert over_sets({"a": one, "b": guessed})["gender"].to_dict()["note"] == (
        "a has labels and b has estimates, which are not thrown together"
    )
    found = over_sets({"a": one, "b": guessed, "c": split("c", both)})["gender"].to_dict()
    assert (found["sets"], found["left_out"], found["origin"]) == (["a", "c"], ["b"], "label")
    found = over_sets({"a": one, "b": guessed, "c": split("c", both, origin="estimate")})["gender"].to_dict()
    assert (found["sets"], found["origin"]) == (["b", "c"], "estimate")
    assert over_sets({"a": SetAnswers([], people({}), HOW)}) == {}


def test_the_table_has_a_row_a_set_and_one_over_all():
    sets = {n: split(n, {"dark": (80, 0.9), "light": (80, 0.7)}, "skin_tone") for n in "ab"}
    sets["c"] = split("c", {"dark": (8, 0.9)}, "skin_tone")
    sets["d"] = SetAnswers([], people({}), HOW)
    groups = {n: bias.group_figures(s.answers, s.people, s.how) for n, s in sets.items()}
    found = BiasOverSets(groups, over_sets(sets), {"e": "is not asked for labels"})
    grid = bias_set_pages.set_gap_grid(found, 30)
    assert [row[:4] for row in grid.rows] == [
        ("skin tone", "a", "UAR", "dark (80) over light (80)"),
        ("skin tone", "b", "UAR", "dark (80) over light (80)"),
        ("skin tone", "c", "–", "no two groups of 30 samples or more"),
        ("skin tone", "over all 2", "UAR", "dark (160) over light (160)"),
    ]
    page = "\n".join(markdown(b) for b in bias_set_pages.set_blocks(found, 30))
    for words in (
        "over all is without c",
        "Nothing is known of the people of d",
        "e is not asked for labels: no figures",
    ):
        assert words in page, words
    assert {len(row) for row in grid.rows} == {len(grid.head)}


RECIPE = f"""{still_recipe.LOOKS}{still_recipe.STATES}    why: {{use: reason_question, wordings: ["Why?"]}}
stages: {{tune: {{train: [streams.scene.projector, backbone.model], max_steps: 1, keep_every: 1}}}}
score: {{metrics: {{war: war}}, reasons: 0, max_new_tokens: 4, resamples: 20}}
"""
SUITE = """
name: two
defaults: {task: label}
sets:
  basic: {data: {use: puppets, count: 42}, metrics: {confusion: confusion, uar: uar, war: war}, primary: uar}
  misled: {data: {use: puppets, count: 42}, split: conflict, metrics: {uar: uar}}
  words:
    data: {use: puppets, count: 42}
    task: reason
    metrics: {wheels: {use: ov_wheels, task: reason, truth: open_labels, level: L1}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("people")
    (place / "suite.yaml").write_text(SUITE)
    overrides = [f"run.folder={place}/runs", f"run.cache={place}/cache"]
    return place, fit(still_recipe.write(place, RECIPE), overrides, say=lambda _: None).folder


def test_a_suite_by_people(run, monkeypatch):
    place, folder = run
    for module, name in ((bias_draws, "SMALL"), (bias_draws, "FEW"), (bias, "SMALL")):
        monkeypatch.setattr(module, name, 1)
    said = []
    told = evaluate_suite([folder], place / "suite.yaml", say=said.append, by_people=True).folder
    figures = json.loads((told / "metrics.json").read_text())
    summary = json.loads((told / "suite.json").read_text())["bias"]
    for name in ("basic", "misled"):
        found = figures[name]["bias"]
        assert summary["sets"][name] == found["groups"]
        assert {row["name"] for row in found["flips"]["conditions"]} >= {"right", "wrong", "absent"}
        count = sum(g["count"] for g in found["groups"]["gender"]["groups"].values())
        assert count == figures[name]["count"]
        assert list(found["groups"]["gender"]["gaps"]) == (["uar", "war"] if name == "basic" else ["uar"])
    assert "bias" not in figures["words"]
    assert summary["without"] == {"words": "is not asked for labels"}
    assert summary["over"]["gender"]["sets"] == ["basic", "misled"]
    assert list(summary["over"]["gender"]["gaps"]) == ["uar"]
    page = (told / "report.md").read_text()
    for words in ("Bias over the data sets", "over all 2", "Bias: age, gender, race", "words is not asked for labels"):
        assert words in page, words
    assert "misled: bias: age, gender and race wrong" in said


def test_of_several_checkpoints_only_the_figure_is_looked_at(run, monkeypatch):
    place, folder = run
    said = []
    overrides = ["sets.misled=null", "sets.words=null"]
    told = evaluate_suite([folder, folder], place / "suite.yaml", overrides, say=said.append, by_people=True).folder
    assert said.count("basic: bias: age, gender and race absent") == 1
    assert "bias" in json.loads((told / "metrics.json").read_text())["basic"]


def test_a_suite_without_labels_is_told_before_anything_is_asked(run):
    place, folder = run
    before = sorted(folder.parent.iterdir())
    with pytest.raises(InputError, match="words is not asked for labels"):
        evaluate_suite(
            [folder], place / "suite.yaml", ["sets.basic=null", "sets.misled=null"], say=lambda _: None, by_people=True
        )
    assert sorted(folder.parent.iterdir()) == before
    assert bias_sets.SMALL == 30


def test_a_matrix_by_people_asks_nothing_more(run, tmp_path, monkeypatch):
    _, folder = run
    for module, name in ((bias_draws, "SMALL"), (bias_draws, "FEW"), (bias, "SMALL")):
        monkeypatch.setattr(module, name, 1)
    for name, count in (("few", 42), ("more", 49)):
        (tmp_path / f"{name}.yaml").write_text(f"data: {{use: puppets, count: {count}}}\n")
    on = [str(tmp_path / "few.yaml"), str(tmp_path / "more.yaml")]
    said = []
    assert "bias" not in cross([folder], tmp_path / "m.html", on, how=CrossOptions(say=said.append)).to_dict()
    matrix = cross([folder], tmp_path / "m.html", on, how=CrossOptions(by_people=True, say=said.append))
    told = matrix.to_dict()
    assert said[2:] == [f"{folder.name} on few: done before", f"{folder.name} on more: done before"]
    found = told["bias"][folder.name]
    for name in ("few", "more"):
        groups = found["sets"][name]["gender"]["groups"]
        assert sum(one["count"] for one in groups.values()) == told["cells"][folder.name][name]["count"]
    assert found["over"]["gender"]["sets"] == ["few", "more"]
    assert found["without"] == {}
    page = (tmp_path / "m.md").read_text()
    for words in (f"Bias of {folder.name}: age, gender, race", "over all 2", "Groups of more", "skin tone"):
        assert words in page, words
    assert "skin_tone" not in page
    cross_pages.print_matrix(matrix, said.append)


def test_estimates_are_kept_beside_the_answers(tmp_path):
    kept = CellStore(tmp_path, "run", "set")
    kept.write([], {})
    samples = [Sample("a", facts={"gender": Fact("male")}), Sample("b"), Sample("c")]
    calls = []

    def estimate():
        calls.append(1)
        return {i: {"race": Fact("x", "estimate", 0.9), "gender": Fact("female", "estimate", 0.9)} for i in "ab"} | {
            "c": {"race": Fact(None, "missing")}
        }

    assert kept.people(samples, None).words == {"gender": {"a": "male"}}
    for _ in range(2):
        found = kept.people(samples, estimate)
        assert found.words == {"gender": {"a": "male"}, "race": {"a": "x", "b": "x"}}
        assert found.origins == {"gender": "label", "race": "estimate"}
    assert len(calls) == 1
    kept.write([], {})  # other answers: what was estimated before is gone with them
    kept.people(samples, estimate)
    assert len(calls) == 2
