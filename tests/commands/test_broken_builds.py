"""`check --build` names the piece that cannot be built, and never shows a raw traceback."""

import sys

import click.testing
import pytest

from affectkit.__main__ import cli, main
from affectkit.errors import AffectkitError, PieceError

HEAD = '''
from dataclasses import dataclass, replace
from affectkit import Piece, Port, Shape, hookimpl

@dataclass(frozen=True)
class Settings:
    """A piece with a fault."""

def shapes(settings, inputs, width):
    return {"tokens": replace(inputs.get("tokens", Shape()), width=width)}

@hookimpl
def affectkit_pieces():
    return [PIECE]
'''
STEP = HEAD.replace(
    "PIECE", 'Piece("projector", "mine", Settings, build, shapes, (Port("tokens", optional=OPTIONAL),))'
)
LLM = HEAD.replace("PIECE", 'Piece("backbone", "mine", Settings, build, lambda *_: {"llm": Shape(width=16)})')
PART = HEAD.replace("PIECE", 'Piece("prompt", "mine", Settings, build)')
TEMPLATE = "prompt.use=mine"
INTO_STEP = "streams.audio.steps.projector={use: mine}"


def ran(source, folder, *words):
    (folder / "mine.py").write_text(source.replace("OPTIONAL", "False"))
    arguments = ["check", "voice", "--build", "--plugin", str(folder / "mine.py"), *words]
    return click.testing.CliRunner().invoke(cli, arguments)


FAULTS = {
    "a step that raises": (
        STEP + "\ndef build(settings, inputs, width):\n    return inputs['token'].width\n",
        [INTO_STEP],
        "streams.audio.steps.projector (override 'streams.audio",
        "build() of the projector 'mine' from FILE failed: KeyError: 'token' (mine.py:17)",
        "it was given tokens (at most 1 time steps of",
    ),
    "a step that is no module": (
        STEP + "\ndef build(settings, inputs, width):\n    return len\n",
        [INTO_STEP],
        "failed: TypeError: build returned builtin_function_or_method, not an nn.Module; it was given tokens (",
        "and the LLM's width 192",
    ),
    "a backbone that raises": (
        LLM + "\ndef build(settings, texts, saved):\n    return 1 / 0\n",
        ["backbone={use: mine}"],
        "backbone (override",
        "build() of the backbone 'mine' from FILE failed: ZeroDivisionError",
        "it was given the settings Settings()",
    ),
    "a backbone without members": (
        LLM + "\ndef build(settings, texts, saved):\n    from torch import nn\n    return nn.Linear(16, 16)\n",
        ["backbone={use: mine}"],
        "the module that it returned has no width, start_ids, end_ids, tokenise",
        "affectkit.Backbone",
    ),
    "a template that raises": (
        PART + "\ndef build(settings):\n    raise RuntimeError('no words')\n",
        [TEMPLATE],
        "prompt (",
        "build() of the prompt 'mine' from FILE failed: RuntimeError: no words (mine.py:17)",
    ),
    "an error without a place of its own": (
        LLM + "\ndef build(settings, texts, saved):\n    from torch import nn\n\n    class M(nn.Linear):\n"
        "        width, start_ids, end_ids = 16, (), ()\n"
        "        tokenise = untokenise = embed = loss = score = generate = save_tokenizer = print\n\n"
        "        def group(self, name):\n            return [][0]\n\n    return M(16, 16)\n",
        ["backbone={use: mine}"],
        "building it on the meta device failed: IndexError: list index out of range (mine.py:24)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_built_is_told(fault, tmp_path):
    source, words, *told = FAULTS[fault]
    failed = ran(source, tmp_path, *words)
    assert isinstance(failed.exception, AffectkitError), failed.exception
    text = str(failed.exception)
    for part in told:
        assert part.replace("FILE", str(tmp_path / "mine.py")) in text, text


def test_the_command_line_shows_no_traceback(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(FAULTS["a step that raises"][0].replace("OPTIONAL", "False"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["affectkit", "check", "voice", "--build", "--plugin", "mine.py", INTO_STEP])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == PieceError.exit_code
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert told.startswith("error: streams.audio.steps.projector")


UNFILLED = STEP.replace("(Port(", '(Port("extra", optional=True), Port(').replace("OPTIONAL", "True") + (
    "\ndef build(settings, inputs, width):\n    from torch import nn\n\n"
    "    return nn.Linear(inputs['tokens'].width, width)\n"
)


def test_an_optional_first_port_may_stay_unfilled_but_not_all_ports(tmp_path):
    left = ran(UNFILLED, tmp_path, "streams.audio.steps.projector={use: mine, extra: null, tokens: audio.adapter}")
    assert left.exit_code == 0, left.exception
    none = ran(UNFILLED, tmp_path, "streams.audio.steps.projector={use: mine, extra: null, tokens: null}")
    assert "nothing fills the port 'extra' of 'mine'" in str(none.exception)
