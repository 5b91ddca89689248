"""Runs out: transformers and peft load them with their own calls and compute what we compute."""

import json

import published_files as published
import pytest
import torch
import yaml
from affectkit_plugins.backbones.packed_attention_net import Packed
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_run import RECIPE

from affectkit.api import fit, load
from affectkit.commands.export import command
from affectkit.errors import InputError
from affectkit.interop.checkpoint import account, convert, new_folder
from affectkit.interop.contract import Exporter, Importer, find_converter
from affectkit.interop.export import export
from affectkit.registry import Registry

REGISTRY = Registry.load()
TEXTS = ("Which emotion does this person show?", "happy</s> [INST] ünïcode 7", " two  blanks")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, shared_cache):
    """A run whose language model trained in full and then with LoRA, evaluated."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(RECIPE)
    small = ["data.count=14", "stages.instruct.epochs=1", f"run.folder={folder / 'runs'}"]
    return load(fit(folder / "tiny.yaml", small, say=lambda _: None).folder)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A run with a published base and a low-rank adapter."""
    folder = tmp_path_factory.mktemp("imported")
    published.llama(folder / "llama")
    published.eva(folder / "eva_vit_g.pth")
    published.container(folder / "Emoation_LLaMA.pth", published.emotion_llama())
    importer = find_converter(REGISTRY, "emotion_llama", Importer)[1]
    plan, made = account(importer, "emotion_llama", folder / "Emoation_LLaMA.pth", published.overrides(folder))
    return load(convert(plan, made, folder / "run", {}).folder)


def exporter(lora):
    return find_converter(REGISTRY, "hf", Exporter, [f"lora={lora}"])[1]


def ours(loaded, embeds):
    """Logits [n v] of embeddings [n w]."""
    more = {"position_ids": torch.arange(len(embeds))[None], "layout": Packed((len(embeds),))}
    loaded.model.eval()
    with torch.no_grad():
        return loaded.model.llm.logits(embeds[None], torch.arange(len(embeds)), more)


def check_logits(loaded, model, width=32):
    """Another library's model on the same embeddings; the adapter must matter, or nothing would be tested."""
    embeds = torch.randn(9, width, generator=torch.Generator().manual_seed(1)) * 0.3
    mine = ours(loaded, embeds)
    with torch.no_grad():
        theirs = model.eval()(inputs_embeds=embeds[None]).logits[0]
    difference = float((mine - theirs).abs().max() / mine.abs().max())
    print(f"largest difference: {difference:.1e}")
    assert difference < 2e-6
    with loaded.model.backbone.lm.disable_adapter():
        assert (ours(loaded, embeds) - mine).abs().max() > 1e-4 * mine.abs().max()


@pytest.mark.parametrize("which", ["trained", "imported"])
def test_transformers_loads_the_merged_model(which, tmp_path, request):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = request.getfixturevalue(which)
    if which == "trained":
        _shake(loaded)
    written = export(loaded, exporter("merge"), tmp_path / "out")
    check_logits(loaded, AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    if which == "trained":
        for text in TEXTS:
            assert tokenizer(text, add_special_tokens=False)["input_ids"] == loaded.model.llm.tokenise(text)
    assert tokenizer.eos_token_id == loaded.model.llm.end_ids[0]
    note = json.loads((tmp_path / "out" / "config.json").read_text())
    assert note["eos_token_id"] == loaded.model.llm.end_ids[0]
    assert "attn_implementation" not in json.dumps(note)
    assert not any("lora" in n or "base_layer" in n for n in load_file(tmp_path / "out" / "model.safetensors"))
    assert "README.md" in written


def _shake(loaded):
    """An adapter that one step trained is next to nothing: make it matter."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in loaded.model.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


@pytest.mark.parametrize("which", ["trained", "imported"])
def test_peft_loads_the_adapter(which, tmp_path, request, monkeypatch):
    from peft import AutoPeftModelForCausalLM, PeftModel
    from transformers import AutoModelForCausalLM

    loaded = request.getfixturevalue(which)
    if which == "trained":
        _shake(loaded)
    written = export(loaded, exporter("adapter"), tmp_path / "out")
    named = json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"]
    if which == "trained":
        assert "base/" in written
        assert named == str(tmp_path / "out" / "base")
        source = tmp_path / "out" / "base"
    else:
        assert not (tmp_path / "out" / "base").exists()
        source = named
    base = AutoModelForCausalLM.from_pretrained(source)
    check_logits(loaded, PeftModel.from_pretrained(base, tmp_path / "out"))
    monkeypatch.chdir(tmp_path)  # nothing of the base lies where Python runs
    check_logits(loaded, AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out"))


def test_what_the_card_says_to_do_works(trained, tmp_path):
    export(trained, exporter("adapter"), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    names = {"folder": str(tmp_path / "out")}
    exec(card.split("```python\n")[1].split("```")[0], names)
    assert names["model"].peft_config["default"].r == 4
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["library_name"] == "transformers"
    for title in ("Recipe", "Data", "Figures", "Weights and licences", "Limits"):
        assert f"\n## {title}\n" in card
    metrics = json.loads((trained.run.folder / "metrics.json").read_text())["test"]
    assert f"| uar | {metrics['uar']['value']:.4f} |" in card
    assert "protocol `honest`" in card
    assert "| `backbone` | random |" in card


def test_the_card_of_published_weights_names_their_terms(imported, tmp_path):
    export(imported, exporter("merge"), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "weights imported from `Emoation_LLaMA.pth`" in card
    assert "Emotion-LLaMA's weights: research use only" in card
    assert "EVA-CLIP" in card
    assert "Not evaluated." in card
    assert str(imported.run.folder.parent) not in card.split("## Weights and licences")[1]


def test_streams_lie_beside_it(trained, tmp_path):
    export(trained, exporter("merge"), tmp_path / "out")
    streams = load_file(tmp_path / "out" / "affectkit" / "streams.safetensors")
    state = trained.model.state_dict()
    assert any("audio__projector" in name for name in streams)
    assert not any(name.startswith("backbone.") for name in streams)
    assert all(torch.equal(value, state[name]) for name, value in streams.items())
    assert "command" not in json.loads((tmp_path / "out" / "affectkit" / "run.json").read_text())


def test_a_folder_in_use_is_refused(trained, tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="there already"):
        export(trained, exporter("merge"), tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere", "--to", "hf", "--out", "x"], "no run folder"),
        (["RUN", "--to", "hff", "--out", "x"], "did you mean 'hf'?"),
        (["RUN", "--to", "emotion_llama", "--out", "x"], "is no exporter"),
        (["RUN", "--to", "hf", "--out", "x", "--set", "lora=both"], "none of merge, adapter"),
    ],
)
def test_mistakes_are_told(trained, words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(trained.run.folder) if w == "RUN" else w for w in words]
    out = CliRunner().invoke(command, words)
    assert out.exit_code != 0
    assert told in out.output + str(out.exception)


def test_the_command_exports(trained, tmp_path):
    out = CliRunner().invoke(
        command, [str(trained.run.folder), "--to", "hf", "--out", str(tmp_path / "x"), "--adapter"]
    )
    assert out.exit_code == 0, out.output
    assert "low-rank adapter" in out.output
    assert (tmp_path / "x" / "adapter_model.safetensors").is_file()


def test_an_unknown_exporter_is_told_of_those_that_export():
    with pytest.raises(InputError) as error:
        find_converter(Registry.load(), "nosuch", Exporter)
    (problem,) = error.value.problems
    assert problem.what == "unknown converter 'nosuch'"
    assert problem.known == ("hf",)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_half_made_stays(error, tmp_path):
    (tmp_path / "mine").mkdir()

    def half(folder):
        with new_folder(folder) as out:
            (out / "config.json").write_text("{}")
            (out / "more" / "yet").mkdir(parents=True)
            raise error

    for folder in (tmp_path / "new" / "run", tmp_path / "mine"):
        with pytest.raises(error):
            half(folder)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "mine"]
    assert list((tmp_path / "mine").iterdir()) == []
