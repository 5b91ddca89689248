"""Every shipped recipe: it says what it is, checks without torch in no time, and its full form is the same recipe."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from affectkit.plan.check import check
from affectkit.plan.summary import full_recipe, full_values, summary_rows
from affectkit.recipe.load import shipped_folder, shipped_recipes

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(p for p in FOLDER.rglob("*.yaml") if p.parent.name not in ("suites", "sweeps", "annotate"))
NAMES = [str(path.relative_to(FOLDER).with_suffix("")) for path in RECIPES]
PAPER = [path for path in RECIPES if path.parent.name == "paper"]
SLOWEST = 1.0
"""Seconds that a check may take; it takes a tenth of that."""


def graph_of(plan):
    """All that a plan says, as plain values that can be compared."""
    steps = {
        a: (s.piece.kind, s.piece.name, s.settings, {p: str(r) for p, r in s.inputs.items()}, dict(s.shapes), s.cache)
        for a, s in plan.graph.steps.items()
    }
    views = {n: (v.use, v.settings, v.shape) for n, v in plan.graph.views.items()}
    parts = {n: (u.piece.name, u.settings) for n, u in plan.parts.items()}
    stages = {
        n: (replace(s.settings, data=None), s.trains, s.data.piece.name, s.data.settings)
        for n, s in plan.stages.items()
    }
    metrics = {n: (u.piece.name, u.settings) for n, u in plan.metrics.items()}
    single = [(u.piece.name, u.settings) for u in (plan.data, plan.template, plan.backbone) if u]
    ends = {n: str(r) for n, r in plan.graph.ends.items()}
    score = replace(plan.score, metrics={})
    return steps, views, parts, stages, metrics, single, ends, plan.slots, plan.reads, plan.width, score, plan.run


def test_there_are_recipes_and_all_of_them_ship():
    assert len(RECIPES) >= 5
    assert len(PAPER) == 6
    assert shipped_recipes() == sorted(NAMES)
    for path in RECIPES:  # the installed copy, which in an editable install is the same file
        assert (shipped_folder() / path.relative_to(FOLDER)).read_text() == path.read_text()


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_says_what_it_is(path):
    written = yaml.safe_load(path.read_text())
    plan = check(path)
    about = written.get("about") or ""
    assert 20 < len(about) < 160
    assert about.rstrip().endswith(".")
    assert path.stem in plan.name


def test_every_name_is_there_once():
    names = [check(path).name for path in RECIPES]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_checks(path):
    plan = check(path)
    assert plan.graph.steps or not plan.slots  # words alone want none
    assert plan.stages
    assert plan.metrics
    assert plan.slots or plan.parts or plan.alone
    rows = summary_rows(plan)
    assert {f"stage {name}" for name in plan.stages} <= {row[0] for row in rows}


def test_no_check_needs_torch_or_time():
    """All in one process of their own, each timed there."""
    code = f"""
import sys, time
from affectkit.plan.check import check
times = {{}}
for path in {[str(p) for p in RECIPES]}:
    begun = time.process_time()
    check(path)
    times[path] = time.process_time() - begun
heavy = [m for m in ("torch", "transformers", "lightning", "timm", "matplotlib") if m in sys.modules]
print(heavy)
print(max(times.values()))
print(len(times))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    assert out[0] == "[]"
    assert float(out[1]) < SLOWEST
    assert int(out[2]) == len(RECIPES)


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_its_full_form_is_the_same_recipe(path, tmp_path):
    plan = check(path)
    full = tmp_path / "full.yaml"
    full.write_text(full_recipe(plan))
    again = check(full)
    assert graph_of(again) == graph_of(plan)
    assert full_values(again) == full_values(plan)


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_its_full_form_leaves_nothing_out(path):
    plan = check(path)
    values = full_values(plan)
    assert set(values["run"]) >= {"seed", "precision", "weights", "accelerator"}
    for address, step in plan.graph.steps.items():
        stream, name = address.split(".")
        block = values["heads"][name] if stream == "heads" else values["streams"][stream]["steps"][name]
        assert set(block) == {"use", *(p.name for p in step.piece.ports), *step.settings.__dataclass_fields__}
    for name, stage in plan.stages.items():
        assert set(values["stages"][name]) == set(stage.settings.__dataclass_fields__)


def test_a_port_left_empty_on_purpose_stays_empty_in_the_full_form(tmp_path):
    plan = check("paper/emo_llama", ["streams.scene.steps.tokens.question=null", "views.spare={use: subtitle}"])
    assert "question" not in plan.graph.steps["scene.tokens"].inputs
    full = tmp_path / "full.yaml"
    full.write_text(full_recipe(plan))
    assert "question" not in check(full).graph.steps["scene.tokens"].inputs


@pytest.mark.parametrize("path", PAPER, ids=[p.stem for p in PAPER])
def test_paper_recipes_know_every_width_before_anything_is_built(path):
    plan = check(path)
    assert plan.width
    for address, step in plan.graph.steps.items():
        assert step.shapes, address
        for name, shape in step.shapes.items():
            assert shape.width, f"{address}.{name}"
    for slot in plan.slots:
        shape = plan.graph.shape(plan.graph.ends[slot])
        assert None not in (shape.time, shape.tokens), slot
        assert shape.width == plan.width
