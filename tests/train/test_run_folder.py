"""What a run folder says of itself."""

import json

from affectkit.train.run_folder import Run


def test_a_note_is_added_to_what_run_json_holds(tmp_path):
    run = Run(tmp_path)
    assert run.notes() == {}
    run.note({"seed": 1, "stages": {"face": {"seconds": 2}}})
    run.note({"labels": ["sad"], "stages": {"instruct": {"seconds": 3}}})
    run.note({"seed": 4})
    said = {"seed": 4, "stages": {"face": {"seconds": 2}, "instruct": {"seconds": 3}}, "labels": ["sad"]}
    assert run.notes() == json.loads(run.about.read_text()) == said
    run.note({"stages": {"face": {"seconds": 5}}})
    assert run.notes()["stages"] == {"face": {"seconds": 5}, "instruct": {"seconds": 3}}
