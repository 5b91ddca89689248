"""The causal_lm piece: stand-ins and their tokenizer, published models, adapters, random weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from affectkit_plugins.backbones import causal_lm, tokenizers_net
from affectkit_plugins.backbones.causal_lm import Lora, Settings, build, shapes
from affectkit_plugins.backbones.causal_lm_net import alone
from packed_rows import row

from affectkit import weights
from affectkit.errors import InputError
from affectkit.model.packing import Backbone, LMInput
from affectkit.recipe.settings import read

TEXTS = [
    f"I {verb} the {noun} today, said {name}."
    for verb in ("saw", "met", "lost")
    for noun in ("dog", "river", "letter")
    for name in ("Ada", "Bela", "Cem", "Dunja")
] + ["What does the person feel?", "happy", "sad", "angry"] * 3
UNSEEN = [
    "Quizzical zebras vexed Jörg – 3 ½ times!",
    "",
    " ",
    "\n\t",
    "笑い 😀",
    "</s> <s>[INST]",
    "the  river  ",
]
REFERENCE = Path(os.environ.get("AFFECTKIT_REFERENCE", "../shared/reference")) / "parity" / "emotion_llama_tokens"
SMALL = {"layers": 2, "width": 32, "heads": 4, "kv_heads": 2, "vocabulary": 320, "context": 128, "mlp": 48}


def texts():
    return TEXTS


def never():
    raise AssertionError("the texts are not needed here")


def made(saved=None, texts=texts, **more):
    torch.manual_seed(0)
    return build(Settings(**SMALL | more), texts, saved)


def published(folder, family="llama", tied=False):
    """A folder as `save_pretrained` of transformers leaves it, with a tokenizer."""
    lm = made(family=family, tied=tied)
    lm.core.save_pretrained(folder)
    lm.tokens.inner.save_pretrained(folder)
    return lm


def test_it_keeps_the_contract():
    lm = made(lora=Lora(rank=2))
    assert isinstance(lm, Backbone)
    assert lm.width == 32
    assert lm.embed(torch.tensor([3, 4, 5])).shape == (3, 32)
    assert len(lm.start_ids) == len(lm.end_ids) == 1
    assert lm.weights_origin == "random"


def test_settings_read_from_a_recipe():
    settings, problems = read(Settings, {"lora": {"rank": 4, "targets": ["q_proj"]}, "width": 64, "heads": 4}, str)
    assert not problems
    assert settings.lora == Lora(rank=4, targets=("q_proj",))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"family": "lama"}, "did you mean 'llama'"),
        ({"width": 100, "heads": 6}, "multiple of the 6 heads"),
        ({"width": 64, "heads": 4, "kv_heads": 3}, "does not divide"),
        ({"layers": 0}, "at least 1"),
        ({"vocabulary": 100}, "at least 260"),
        ({"dropout": 1.0}, "below 1"),
        ({"lora": {"rank": 0}}, "rank"),
    ],
)
def test_wrong_settings_are_said(values, words):
    _, problems = read(Settings, values, str)
    assert any(words in str(p) for p in problems), problems


@pytest.mark.parametrize("text", TEXTS[:3] + UNSEEN)
def test_the_trained_tokenizer_reads_everything_and_gives_it_back(text):
    lm = made()
    ids = lm.tokenise(text)
    assert lm.untokenise(ids) == text
    assert not {*lm.start_ids, *lm.end_ids} & set(ids)
    assert all(i < lm.core.config.vocab_size for i in ids)


def test_the_same_texts_give_the_same_tokenizer_in_any_order():
    words = tokenizers_net.train(TEXTS, 400).inner.get_vocab()
    assert tokenizers_net.train(iter(TEXTS[::-1] * 2), 400).inner.get_vocab() == words
    assert len(words) <= 400
    assert "Ġriver" in words


def test_a_saved_tokenizer_is_the_same_one(tmp_path):
    lm = made()
    lm.save_tokenizer(str(tmp_path))
    again = made(saved=str(tmp_path), texts=never)
    assert [again.tokenise(t) for t in TEXTS + UNSEEN] == [lm.tokenise(t) for t in TEXTS + UNSEEN]
    assert (again.start_ids, again.end_ids) == (lm.start_ids, lm.end_ids)
    again.load_state_dict(lm.state_dict())


@pytest.mark.parametrize(("family", "tied"), [("llama", False), ("qwen2", True), ("gpt2", True)])
def test_a_published_folder_gives_its_own_logits(tmp_path, family, tied):
    from transformers import AutoModelForCausalLM

    published(tmp_path, family, tied)
    lm = build(Settings(source=str(tmp_path)), never, None)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    assert lm.weights_origin == str(tmp_path)
    together = row(lm)
    with torch.no_grad():
        for part in alone(together):
            want = theirs(inputs_embeds=part.embeds[None]).logits[0]
            got = lm.logits(part.embeds[None], torch.arange(len(want)), {})
            torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    assert lm.tokenise("the river") == published(tmp_path, family, tied).tokenise("the river")
    shared = lm.core.get_output_embeddings().weight is lm.core.get_input_embeddings().weight
    assert shared == tied


def test_widths_are_known_without_building(tmp_path):
    published(tmp_path)
    assert shapes(Settings(), {}, None)["llm"].width == causal_lm.STAND_IN["width"]
    assert shapes(Settings(width=64), {}, None)["llm"].width == 64
    assert shapes(Settings(source=str(tmp_path)), {}, None)["llm"].width == 32
    assert shapes(Settings(source="somebody/llm-7b"), {}, None)["llm"].width is None
    assert shapes(Settings(source="somebody/llm-7b", width=4096), {}, None)["llm"].width == 4096


def test_sizes_that_contradict_the_source_are_refused(tmp_path):
    published(tmp_path)
    with pytest.raises(InputError, match=r"the recipe says 8, .* has 2") as caught:
        build(Settings(source=str(tmp_path), layers=8, width=64), never, None)
    assert len(caught.value.problems) == 2


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(InputError, match=r"backbone\.(source|tokenizer): cannot read"):
        build(Settings(source=str(tmp_path)), never, None)
    published(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no file of weights"):
        build(Settings(source=str(tmp_path)), never, None)


def test_random_weights_at_published_size_need_no_download():
    sizes = {
        "layers": 2,
        "width": 64,
        "heads": 8,
        "kv_heads": 2,
        "mlp": 96,
        "vocabulary": 5000,
        "context": 512,
    }
    with weights.using("random"):
        lm = build(Settings(source="somebody/llm-7b", family="qwen2", tied=False, **sizes), texts, None)
    assert lm.weights_origin == "random"
    config = lm.core.config
    assert (config.model_type, config.vocab_size, config.num_key_value_heads) == ("qwen2", 5000, 2)
    assert lm.core.get_output_embeddings().weight.shape == (5000, 64)
    assert max(lm.tokenise("the river")) < 5000
    assert lm.generate(row(lm), 2, [])


def test_a_run_with_random_weights_can_be_taken_up_again(tmp_path):
    sizes = {"layers": 1, "width": 32, "heads": 4, "mlp": 48, "vocabulary": 400}
    settings = Settings(source="somebody/llm-7b", start_token="<|im_start|>", **sizes)
    with weights.using("random"):
        lm = build(settings, texts, None)
        lm.save_tokenizer(str(tmp_path))
        again = build(settings, never, str(tmp_path))
    assert (again.start_ids, again.tokenise("the river")) == (lm.start_ids, lm.tokenise("the river"))


def test_random_weights_of_a_local_folder(tmp_path):
    theirs = published(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with weights.using("random"):
        lm = build(Settings(source=str(tmp_path)), never, None)
    assert lm.core.config.num_hidden_layers == 2
    assert lm.tokenise("the river") == theirs.tokenise("the river")


def test_random_weights_without_sizes_name_what_is_missing():
    with weights.using("random"), pytest.raises(InputError, match="layers, heads, mlp, vocabulary"):
        build(Settings(source="somebody/llm-7b", width=64), texts, None)


def test_the_meta_device_costs_nothing():
    sizes = {"layers": 32, "width": 4096, "heads": 32, "mlp": 11008, "vocabulary": 32000, "tied": False}
    with weights.using("random"), torch.device("meta"):
        lm = build(Settings(source="somebody/llm-7b", lora=Lora(rank=8), **sizes), texts, None)
    assert lm.packs
    assert sum(p.numel() for n, p in lm.named_parameters() if lm.group(n) == "model") == 6_738_415_616
    assert all(p.is_meta for p in lm.parameters())


def test_lora_starts_as_nothing_and_has_its_address():
    plain, adapted = made(), made(lora=Lora(rank=4, alpha=8, dropout=0.5))
    groups = {n: adapted.group(n) for n, _ in adapted.named_parameters()}
    assert set(groups.values()) == {"model", "lora"}
    assert sum(g == "model" for g in groups.values()) == len(list(plain.parameters()))
    assert all(p.requires_grad for p in adapted.parameters())
    assert adapted.eval().loss(row(plain))[0].item() == pytest.approx(plain.eval().loss(row(plain))[0].item(), rel=1e-6)
    layers = {n.split(".lora_A")[0].rpartition(".")[2] for n in groups if ".lora_A" in n}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_lora_learns_alone():
    lm = made(lora=Lora(rank=4, targets=("q_proj", "v_proj")))
    for name, parameter in lm.named_parameters():
        parameter.requires_grad_(lm.group(name) == "lora")
    before = {n: p.clone() for n, p in lm.named_parameters()}
    optimiser = torch.optim.Adam([p for p in lm.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(8):
        loss, count = lm.loss(row(lm))
        optimiser.zero_grad(), (loss / count).backward(), optimiser.step()
        losses.append(loss.item() / count)
    assert losses[-1] < losses[0]
    assert all(torch.equal(p, before[n]) == (lm.group(n) == "model") for n, p in lm.named_parameters())


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's own
def test_adapters_saved_here_load_in_peft(tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    published(tmp_path / "base")
    lm = build(Settings(source=str(tmp_path / "base"), lora=Lora(rank=2)), never, None)
    for name, parameter in lm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    lm.save_pretrained(str(tmp_path / "adapter"))
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    ids = torch.arange(3, 30)
    with torch.no_grad():
        want = theirs(input_ids=ids[None]).logits[0]
        got = lm.eval().logits(lm.embed(ids)[None], torch.arange(len(ids)), {})
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_unknown_lora_targets_are_said():
    with pytest.raises(InputError, match="no layer named query") as caught:
        made(lora=Lora(targets=("query",)))
    assert "q_proj" in caught.value.problems[0].known


def lesson(lm, question, answer):
    """A row of one sample: the question, then the trained answer and its end."""
    ask, say = lm.tokenise(question), [*lm.tokenise(answer), *lm.end_ids]
    labels = torch.tensor([-100] * len(ask) + say)
    return LMInput(lm.embed(torch.tensor(ask + say)), torch.arange(len(labels)), (len(labels),), labels)


def test_a_stand_in_learns_in_full():
    lm = made()
    answers = {"What does the person feel?": " happy", "I lost the letter today, said Ada.": " sad"}
    optimiser = torch.optim.AdamW(lm.parameters(), 1e-2)
    for _ in range(40):
        rows = [lm.loss(lesson(lm, *pair)) for pair in answers.items()]
        optimiser.zero_grad(), sum(loss for loss, _ in rows).backward(), optimiser.step()
    for question, answer in answers.items():
        ids = torch.tensor(lm.tokenise(question))
        prompt = LMInput(lm.embed(ids), torch.arange(len(ids)), (len(ids),), torch.full_like(ids, -100))
        assert lm.untokenise(lm.generate(prompt, 8, [])[0]) == answer
        options = [[*lm.tokenise(a), *lm.end_ids] for a in answers.values()]
        scores = dict(zip(answers.values(), lm.score(prompt, [options])[0], strict=True))
        assert max(scores, key=scores.__getitem__) == answer


def test_texts_are_not_asked_for_when_a_tokenizer_is_there(tmp_path):
    published(tmp_path)
    lm = build(Settings(**SMALL | {"vocabulary": None}, tokenizer=str(tmp_path)), never, None)
    assert lm.core.config.vocab_size == len(lm.tokens.inner)


def test_special_tokens_can_be_named(tmp_path):
    published(tmp_path)
    lm = build(Settings(source=str(tmp_path), start_token="</s>"), never, None)
    assert lm.start_ids == lm.end_ids
    with pytest.raises(InputError, match="no token '<nope>'"):
        build(Settings(source=str(tmp_path), end_token="<nope>"), never, None)


@pytest.fixture
def pieces():
    if not (REFERENCE / "tokenizer.model").is_file():
        pytest.skip(f"no {REFERENCE}/tokenizer.model (set AFFECTKIT_REFERENCE)")
    meta = json.loads((REFERENCE / "meta.json").read_text())
    special = [meta["tokenizer"]["pad_token"]]
    return tokenizers_net.load(str(REFERENCE), "sentencepiece", special, "", ""), meta


def whole(text):
    """The marks of a text that the recipe wrote."""
    return ((0, len(text)),)


def test_sentencepiece_segments_equal_the_published_ones(pieces):
    tokens, meta = pieces
    segments = [s for layout in (*meta["layout_train"], *meta["layout_infer"]) for s in layout if "ids" in s]
    assert len(segments) > 10
    pad = meta["tokenizer"]["pad"]
    for segment in segments:
        want = [i for i in segment["ids"] if i != pad]  # short answers are filled up
        start = (
            tokens.start_ids if len(want) > 1 and want[:2] == [1, 1] else ()
        )  # inference adds one to the literal <s>
        assert [*start, *tokens.encode(segment["text"], whole(segment["text"]))] == want, segment["text"]
    assert (tokens.start_ids, tokens.end_ids) == ((meta["tokenizer"]["bos"],), (meta["tokenizer"]["eos"],))
    assert tokens.encode("a $$ b").count(meta["tokenizer"]["pad"]) == 1


def test_a_sentencepiece_tokenizer_is_saved_and_read_again(pieces, tmp_path):
    tokens, _ = pieces
    tokens.save(str(tmp_path))
    again = tokenizers_net.load_saved(str(tmp_path))
    text = "we will meet </s>  again $$ tomorrow"
    assert again.encode(text) == tokens.encode(text)
    assert again.encode(text, whole(text)) == tokens.encode(text, whole(text))
    ended = "we will meet again tomorrow</s>"
    assert again.decode(again.encode(ended, whole(ended))) == "we will meet again tomorrow"
    assert again.decode(again.encode(ended)) == ended


SPELLED = ("stop </s> now", "<s>", "a <|im_end|> b </s>", "<|im_end|><|im_end|>", "</s>")


def with_specials(folder):
    """A published tokenizer with a token for the end of a turn."""
    from transformers import PreTrainedTokenizerFast

    inner = tokenizers_net.train(["stop now", "a b"], 300).inner.backend_tokenizer
    named = {"bos_token": "<s>", "eos_token": "</s>", "additional_special_tokens": ["<|im_end|>"]}
    PreTrainedTokenizerFast(tokenizer_object=inner, **named).save_pretrained(folder)
    return tokenizers_net.load(str(folder), "auto", (), "", "")


@pytest.mark.parametrize("text", SPELLED)
def test_special_tokens_that_somebody_spells_are_letters(text, tmp_path):
    published_one = with_specials(tmp_path)
    trained = tokenizers_net.train(["stop now", "a b"], 300)
    for tokens in (published_one, trained):
        special = set(tokens.inner.all_special_ids) | {*tokens.start_ids, *tokens.end_ids}
        assert not special & set(tokens.encode(text)), text
        assert tokens.decode(tokens.encode(text)) == text


def test_added_markup_that_is_not_declared_special_is_letters_too(tmp_path):
    tokens = with_specials(tmp_path)
    tokens.inner.add_tokens(["<think>", "</think>", "hurrah"])  # as Qwen has the first two
    tokens = tokenizers_net.Transformers(tokens.inner)
    think, close, word = tokens.inner.convert_tokens_to_ids(["<think>", "</think>", "hurrah"])
    said = "I <think> so</think> </s> hurrah"
    ids = tokens.encode(said)
    assert not {think, close, *tokens.end_ids} & set(ids)
    assert word in ids  # a word is no markup
    assert tokens.decode(ids) == said
    assert tokens.encode(said, whole(said)).count(think) == 1
    assert tokens.encode("<think> <think>", ((0, 7),)).count(think) == 1
    assert tokens.inner("<think>", add_special_tokens=False).input_ids == [think]  # the tokenizer itself stays as it is


def test_special_tokens_of_the_recipe_are_real_beside_words_that_spell_them(tmp_path):
    tokens = with_specials(tmp_path)
    said, end = "they say <|im_end|> ", "<|im_end|>\n"
    (token,) = tokens.encode("<|im_end|>", whole("<|im_end|>"))
    ids = tokens.encode(said + end, ((len(said), len(said + end)),))
    assert ids.count(token) == 1
    assert ids == [*tokens.encode(said), token, *tokens.encode("\n")]
    assert tokens.encode("no such thing") == tokens.encode("no such thing", whole("no such thing"))


def test_sentencepiece_reads_what_somebody_spells_as_letters(pieces):
    tokens, _ = pieces
    for text in ("we meet </s> there", "<s> we", "</s>"):
        assert not {*tokens.start_ids, *tokens.end_ids} & set(tokens.encode(text)), text
    assert tokens.end_ids[0] in tokens.encode("we meet</s>", whole("we meet</s>"))


def test_the_piece_imports_nothing_heavy():
    code = (
        "import sys, affectkit_plugins.backbones.causal_lm as c; c.affectkit_pieces(); "
        "c.Settings().problems(); "
        "heavy = ('torch', 'transformers', 'numpy', 'peft', 'tokenizers'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
