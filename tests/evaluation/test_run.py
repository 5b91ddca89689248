"""Clips without boxes of faces, and views that name no detector: told for every view before anything is asked."""

import pytest
import tiny_run
from media_files import picture, write_clip

from affectkit.errors import InputError
from affectkit.evaluation.run import score_run
from affectkit.plan.check import check
from affectkit.train.run_folder import Run

FACES = """views.frames={use: frames, pick: uniform, count: 2}
views.near={use: faces, of: frames}
views.far={use: faces, of: frames, margin: 0.5}
streams.one={steps: {encoder: {use: image_patches, pixels: near, size: 32}, mean: {use: mean}, projector: {use: linear}}}
streams.two={steps: {encoder: {use: image_patches, pixels: far, size: 32}, mean: {use: mean}, projector: {use: linear}}}
prompt.parts.one={use: slot, stream: one}
prompt.parts.two={use: slot, stream: two}""".splitlines()


def test_an_evaluation_tells_of_all_views_before_it_asks(tmp_path):
    write_clip(tmp_path / "a.mp4", [picture((32, 32), (9, 9, 9))] * 4)
    (tmp_path / "clips.csv").write_text("path,label,split\na.mp4,sad,test\n")
    table = ["data.use=table", f"data.path={tmp_path / 'clips.csv'}", "data.labels=[sad, happy]"]
    plan = check(tiny_run.write_recipe(tmp_path), [*FACES, *table])
    with pytest.raises(InputError) as raised:
        score_run(plan, None, Run(tmp_path / "run"), say=lambda _: None)
    found = [str(p) for p in raised.value.problems]
    assert len(found) == 2
    assert [name in text for name, text in zip(("near", "far"), sorted(found, reverse=True), strict=True)] == [
        True,
        True,
    ]
    assert all("names no detector" in text for text in found)
