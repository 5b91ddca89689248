"""The commands of docs/evaluation.md, run as they stand."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from chat_server import serving
from click.testing import CliRunner
from fold_files import LABELS, fold
from judged import material

from affectkit.commands import report, score
from affectkit.recipe.settings import read

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
LINES = [line for b in re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S) for line in b.splitlines() if line]
RUN = {"score": score.command, "report": report.command}


def reply(body):
    asked = material(body)
    return json.dumps({"emotions": ["sad"]} if "text" in asked else {"score": 7})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    ids = [f"c{i}" for i in range(6)]
    Path("truth.csv").write_text("id,label\n" + "".join(f"{i},{('sad', 'happy')[n % 2]}\n" for n, i in enumerate(ids)))
    Path("answers.csv").write_text("id,label,text\n" + "".join(f"{i},sad,a low voice\n" for i in ids))
    Path("generated.csv").write_text("id,label\n" + "".join(f"{i},the person is sad\n" for i in ids))
    Path("gt-eng.csv").write_text("names,emotions,subtitles,reasons\n" + "".join(f"{i},sad,hm,tears\n" for i in ids))
    Path("final.csv").write_text("name,chinese,english\n" + "".join(f"{i},眼泪,tears\n" for i in ids))
    Path("matrix.json").write_text("[[8, 2], [1, 9]]")
    Path("runs").mkdir()
    Path("ratings.csv").write_text("id,valence,sentiment\na,0.5,1\nb,-0.2,\n")
    Path("true-ratings.csv").write_text("id,valence,sentiment\na,0.4,0.8\nb,-0.6,-1\n")
    Path("thoughts.csv").write_text("id,label\n" + "".join(f"{i},<answer>sad</answer>\n" for i in ids))
    Path("sets.csv").write_text("id,labels\na,anger|joy\nb,fear\n")
    Path("true-sets.csv").write_text("id,labels\na,anger\nb,fear|joy\n")
    for number in range(1, 6):
        fold(Path("runs"), number, (6, 5, 4), LABELS, first=100 * number)
    (Path("runs") / "last").symlink_to("fold1")
    return tmp_path


@pytest.mark.parametrize("line", [line for line in LINES if line.split()[1] in RUN])
def test_commands_run(line, folder):
    with serving(reply) as server:
        words = shlex.split(line.replace("http://127.0.0.1:8000/v1", server.url))
        done = CliRunner().invoke(RUN[words[1]], words[2:])
    assert done.exit_code == 0, (done.output, done.exception)
    assert done.output.strip()


def test_every_command_is_known():
    verbs = {line.split()[1] for line in LINES}
    assert all(line.startswith("affectkit ") for line in LINES)
    assert verbs == {"score", "report", "evaluate"}
    assert sum(line.split()[1] in RUN for line in LINES) >= 6


def test_recipe_lines_are_right():
    from affectkit.recipe.sections import ScoreSettings
    from affectkit.registry import Registry

    registry = Registry.load()
    for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S):
        made, problems = read(ScoreSettings, yaml.safe_load(block)["score"], str)
        assert not problems
        for value in made.metrics.values():
            piece = registry.piece("metric", value if isinstance(value, str) else value["use"])
            assert read(piece.settings, {} if isinstance(value, str) else {"client": value["client"]}, str)[1] == []
