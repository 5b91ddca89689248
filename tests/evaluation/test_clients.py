"""Asking models: a real server on loopback that also fails on purpose, a local model, kept replies, strict reading."""

import threading
import time

import pytest
from affectkit_plugins.clients import local_hf, openai_compatible
from chat_server import completion, serving

from affectkit.errors import InputError
from affectkit.evaluation import clients as access
from affectkit.evaluation.clients import CachedClient, ClientError, Message, Unreadable, allowing, strict_json

HELLO = [Message("Be brief.", "system"), Message("Hello?")]
QUICK = {"tries": 3, "wait": 0.001, "timeout": 5}


def server_client(server, key=None, **settings):
    with allowing(server.url, key=key):
        return openai_compatible.build(openai_compatible.Settings(model="m", url=server.url, **{**QUICK, **settings}))


@pytest.fixture
def asker(tmp_path):
    return lambda client: CachedClient(client, tmp_path)


def test_what_is_sent_and_what_comes_back(tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "a.wav").write_bytes(b"sound")
    with serving(["Good day."]) as server:
        client = server_client(server, key="secret", seed=7, max_tokens=9)
        asked = [*HELLO, Message("And this?", images=(str(tmp_path / "a.png"),), audio=(str(tmp_path / "a.wav"),))]
        assert client.ask(asked) == "Good day."
        path, head, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert head["Authorization"] == "Bearer secret"
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("m", 0.0, 9, 7)
    assert body["messages"][:2] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    kinds = [part["type"] for part in body["messages"][2]["content"]]
    assert kinds == ["text", "image_url", "input_audio"]
    assert body["messages"][2]["content"][1]["image_url"]["url"] == "data:image/png;base64,cGljdHVyZQ=="


@pytest.mark.parametrize(
    "trouble",
    [
        500,
        503,
        (429, {"Retry-After": "0"}),
        b"<html>not json</html>",
        b'{"choices": [',
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b"[]",
    ],
    ids=str,
)
def test_trouble_that_passes_is_waited_out(trouble, asker):
    with serving([trouble, trouble, "there"]) as server:
        asking = asker(server_client(server))
        assert asking.reply(HELLO) == "there"
    assert (asking.tally.sent, asking.tally.failed, asking.tally.kept) == (3, 2, 0)


def test_trouble_that_stays_is_told_and_not_kept(asker):
    with serving(lambda body: 500) as server:
        asking = asker(server_client(server))
        with pytest.raises(ClientError, match="the server says 500"):
            asking.reply(HELLO)
        assert len(server.seen) == 3
        server.reply = lambda body: "back"
        assert asking.reply(HELLO) == "back"


def test_waits_double_and_the_server_may_ask_for_more(tmp_path):
    waits = []
    with serving([500, 500, (429, {"Retry-After": "7"}), (503, {"Retry-After": "9999"}), "ok"]) as server:
        client = server_client(server, tries=5, wait=0.5)
        assert CachedClient(client, tmp_path, waits.append).reply(HELLO) == "ok"
    assert waits == pytest.approx([0.5, 1.0, 7.0, 60.0], abs=0.1)


@pytest.mark.parametrize(("status", "words"), [(401, "--api-key-env"), (404, "client.url"), (400, "client.model")])
def test_trouble_that_cannot_pass_ends_at_once(status, words, asker):
    with serving(lambda body: status) as server:
        with pytest.raises(ClientError, match=words):
            asker(server_client(server)).reply(HELLO)
        assert len(server.seen) == 1


def test_a_slow_server_and_none_at_all(asker):
    with serving([1.0, "in time"]) as server:
        assert asker(server_client(server, timeout=0.2)).reply(HELLO) == "in time"
        client = server_client(server)
    with pytest.raises(ClientError, match=r"no reply: .*refused"):
        client.ask(HELLO)


def test_a_redirect_takes_nothing_elsewhere(asker):
    with serving(lambda body: "stolen") as other, serving(lambda body: (302, {"Location": other.url})) as server:
        with pytest.raises(ClientError, match="302"):
            asker(server_client(server, key="secret")).reply(HELLO)
        assert other.seen == []


def test_a_refusal_is_a_reply(asker):
    with serving([completion(None, refusal="I cannot help with that.")]) as server:
        assert asker(server_client(server)).reply(HELLO) == "I cannot help with that."


def test_nobody_is_asked_whom_the_user_did_not_allow():
    settings = openai_compatible.Settings(model="m", url="http://127.0.0.1:9/v1")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9, which you have not allowed"):
        openai_compatible.build(settings)
    with allowing("http://127.0.0.1:10"), pytest.raises(InputError, match="--server"):
        openai_compatible.build(settings)
    with allowing("http://judge.example/v1", key="k"):
        with pytest.raises(InputError, match="for all to read"):
            access.key_for("http://judge.example/v1")
        with pytest.raises(InputError, match="not allowed"):
            access.key_for("https://judge.example/v1")
    with allowing("https://judge.example", key="k"):
        assert access.key_for("https://judge.example:443/v1") == "k"
    for wrong in ("ftp://x", "file:///etc/passwd", "http://", "http://a:port/"):
        with allowing("*"), pytest.raises(InputError, match="no http address"):
            access.key_for(wrong)
    assert "k" not in repr(access.Access(("*",), "k")).replace("Access", "")


@pytest.mark.parametrize("key", ["sec\nret", "secrét"])
def test_a_key_that_cannot_be_sent_is_not_shown(key):
    with serving(["never"]) as server, pytest.raises(InputError, match="signs that no key has") as found:
        server_client(server, key=key)
    assert "sec" not in str(found.value)


def test_a_response_that_is_cut_off_is_asked_for_again(asker):
    with serving([(200, {"Transfer-Encoding": "chunked"}), "whole"]) as server:
        assert asker(server_client(server)).reply(HELLO) == "whole"
        assert len(server.seen) == 2


def test_this_machine_is_asked_by_no_proxy_and_others_by_the_one_that_is_set(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(["near"]) as server:
        assert server_client(server).ask(HELLO) == "near"
    with serving(["by proxy"]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        with allowing("http://judge.example"):
            far = openai_compatible.build(openai_compatible.Settings(model="m", url="http://judge.example", **QUICK))
        assert far.ask(HELLO) == "by proxy"
        assert proxy.seen[0][0] == "http://judge.example/chat/completions"
    monkeypatch.setenv("http_proxy", "strange://127.0.0.1:9")
    with allowing("http://judge.example"):
        far = openai_compatible.build(openai_compatible.Settings(model="m", url="http://judge.example", **QUICK))
    with pytest.raises(ClientError, match=r"no reply: .*strange") as found:
        far.ask(HELLO)
    assert not found.value.again


def test_a_response_without_end_is_left_off(asker, monkeypatch):
    monkeypatch.setattr(openai_compatible, "MOST_BYTES", 100)
    with serving([completion("x" * 200), "short"]) as server:
        client = server_client(server, tries=1)
        with pytest.raises(ClientError, match="too long"):
            client.ask(HELLO)


def test_the_key_comes_from_where_the_user_says(monkeypatch):
    monkeypatch.setenv("MY_KEY", " abc ")
    assert access.read_key("MY_KEY") == "abc"
    assert access.read_key(None) is None
    with pytest.raises(InputError, match="OTHER_KEY"):
        access.read_key("OTHER_KEY")


def test_replies_are_kept_by_content(tmp_path):
    (tmp_path / "a.png").write_bytes(b"one")
    look = [Message("Look.", images=(str(tmp_path / "a.png"),))]
    with serving(lambda body: f"reply {len(server.seen)}") as server:
        first = CachedClient(server_client(server), tmp_path)
        assert [first.reply(HELLO), first.reply(HELLO), first.reply(look)] == ["reply 1", "reply 1", "reply 2"]
        again = CachedClient(server_client(server, tries=9, timeout=1), tmp_path)
        assert again.reply(HELLO) == "reply 1"
        assert (again.tally.kept, again.tally.sent) == (1, 0)
        assert CachedClient(server_client(server, temperature=1.0), tmp_path).reply(HELLO) == "reply 3"
        (tmp_path / "a.png").write_bytes(b"other")
        assert again.reply(look) == "reply 4"
        for path in (tmp_path / "replies").rglob("*.json"):
            path.write_text(path.read_text()[:-5])
        assert again.reply(HELLO) == "reply 5"
        assert not list((tmp_path / "replies").rglob("*.tmp"))


def test_replies_are_read_strictly_asked_for_again_and_counted(asker):
    def number(text):
        if not text.isdigit():
            raise Unreadable("a number, please")
        return int(text)

    with serving(["seven", "still seven", "7", "never", "never", "never"]) as server:
        asking = asker(server_client(server))
        assert asking.read(HELLO, number) == 7
        said = [m["content"] for m in server.seen[2][2]["messages"]]
        assert said[2:] == ["seven", "a number, please", "still seven", "a number, please"]
        assert asking.read([Message("Once more")], number, again=lambda why: f"No: {why}") is None
        assert (asking.tally.unusable, asking.tally.reread, asking.tally.sent) == (1, 4, 6)
        assert asking.read(HELLO, number) == 7
        assert asking.tally.sent == 6


def test_a_server_that_went_away_ends_the_asking(asker):
    with serving(lambda body: 500) as server:
        asking = asker(server_client(server, tries=1))
        assert asking.read([Message("1")], str) is None
        assert asking.read([Message("2")], str) is None
        with pytest.raises(ClientError):
            asking.read([Message("3")], str)
        assert asking.tally.silent == 3


def test_several_questions_at_a_time_keep_their_order(asker):
    most, now, lock = [0], [0], threading.Lock()

    class Slow:
        def __init__(self):
            self.identity, self.parallel = {"a": 1}, 4

        def ask(self, messages):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.05)
            with lock:
                now[0] -= 1
            return messages[-1].text

    asking = asker(Slow())
    jobs = [lambda i=i: asking.read([Message(str(i))], int) for i in range(12)]
    assert asking.read_all(jobs, "asking") == list(range(12))
    assert 1 < most[0] <= 4
    assert asking.tally.sent == 12


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"score": 3}', {"score": 3}),
        (' ```json\n{"score": 3}\n``` ', {"score": 3}),
        ('The score is {"score": 3}', None),
        ('{"score": 3} I hope this helps', None),
        ('{"score": 3, "score": 4}', None),
        ('{"score": NaN}', None),
        ("[3]", None),
        ("3", None),
        ("", None),
        ("[" * 100000, None),
    ],
)
def test_strict_json(text, value):
    if value is None:
        with pytest.raises(Unreadable):
            strict_json(text)
    else:
        assert strict_json(text) == value


TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}<assistant>{% endif %}"


def tiny_model(folder, template=TEMPLATE):
    """A Llama of one layer with a byte-level tokenizer, saved as published models are."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE({c: i for i, c in enumerate([*letters, "<end>"])}, []))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>")
    fast.chat_template = template
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        bos_token_id=None, eos_token_id=256,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample, model.generation_config.temperature = True, 0.7
    model.save_pretrained(folder)
    return folder


def test_a_local_model_answers_through_its_chat_template(tmp_path, asker):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_model(tmp_path / "model")
    client = local_hf.build(local_hf.Settings(str(folder), max_new_tokens=5))
    text = client.ask(HELLO)
    model, words = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = words("<system>Be brief.\n<user>Hello?\n<assistant>", return_tensors="pt", add_special_tokens=False).input_ids
    for _ in range(5):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], 1)
    assert text == words.decode(ids[0, -5:], skip_special_tokens=True)
    assert asker(client).reply(HELLO) == text
    identity = dict(client.identity)
    (folder / "generation_config.json").write_text("{}")
    assert local_hf.build(local_hf.Settings(str(folder), max_new_tokens=5)).identity != identity
    with pytest.raises(InputError, match="reads text only"):
        client.ask([Message("Look.", images=("a.png",))])


def test_questions_at_the_same_time_are_answered_together_as_alone(tmp_path, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from affectkit_plugins.clients.local_hf_net import LocalNet

    folder, sizes = tiny_model(tmp_path / "model"), []
    answers = LocalNet.answers
    monkeypatch.setattr(LocalNet, "answers", lambda self, asked: [sizes.append(len(asked)), answers(self, asked)][1])
    talks = [[Message("a" * length)] for length in (3, 40, 1, 7, 12, 5)]
    alone = local_hf.build(local_hf.Settings(str(folder), max_new_tokens=6, batch=1))
    wanted = [alone.ask(talk) for talk in talks]
    assert sizes == [1] * 6
    together = local_hf.build(local_hf.Settings(str(folder), max_new_tokens=6, batch=4))
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(together.ask, talks))
    assert found == wanted
    assert sum(sizes[6:]) == 6
    assert max(sizes[6:]) > 1
    assert max(sizes) <= 4
    assert (found[0].tokens_in, found[0].tokens_out <= 6) == (len("<user>aaa\n<assistant>"), True)
    broken = [Message("Listen.", audio=("a.wav",))]
    with pytest.raises(InputError, match="hears nothing"):
        together.ask(broken)
    assert together.ask(talks[0]) == wanted[0]


def tiny_sighted(folder):
    """A LLaVA of a few numbers with its processor, as `save_pretrained` writes them."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    words = ["<unk>", "<pad>", "<image>", "</s>", *"abcdefghijklmnopqrstuvwxyz .?:"]
    own = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    special = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=own, additional_special_tokens=["<image>"], **special)
    template = (
        "{% for m in messages %}{{ m.role }}: {% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}"
        "{{ c.text }}{% endif %}{% endfor %} {% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    LlavaProcessor(
        pictures, tokenizer, patch_size=4, vision_feature_select_strategy="default", chat_template=template,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**small, image_size=8, patch_size=4),
        text_config=LlamaConfig(**small, vocab_size=len(words), bos_token_id=None, eos_token_id=3, pad_token_id=1),
        image_token_index=2,
    )
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():  # so that what is seen moves what is said
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.5)
    model.save_pretrained(folder)
    return folder


def test_a_local_model_that_sees_is_shown_pictures(tmp_path):
    import numpy as np
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from affectkit.messages import picture

    folder = tiny_sighted(tmp_path / "model")
    client = local_hf.build(local_hf.Settings(str(folder), max_new_tokens=5))
    dark, light = (picture(np.full((9, 9, 3), shade, np.uint8)) for shade in (20, 230))
    replies = [client.ask([Message("what is this?", images=(one,))]) for one in (dark, light)]
    processor, model = AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
    import io

    image = Image.open(io.BytesIO(dark.data))
    ids = processor(images=[image], text=["user: <image>what is this? assistant: "], return_tensors="pt")
    out = model.generate(**ids, max_new_tokens=5, do_sample=False)
    theirs = torch.tensor(out[0, ids.input_ids.shape[1] :])
    assert replies[0] == processor.tokenizer.decode(theirs, skip_special_tokens=True)
    assert replies[0] != replies[1]
    assert client.ask([Message("what is this?")])  # it reads, too


def test_local_folders_that_will_not_do(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        local_hf.build(local_hf.Settings(str(tmp_path)))
    folder = tiny_model(tmp_path / "model", template=None)
    with pytest.raises(InputError, match="no chat template"):
        local_hf.build(local_hf.Settings(str(folder))).ask(HELLO)


def test_a_fingerprint_sees_every_part_it_reads(tmp_path):
    (tmp_path / "w").write_bytes(bytes(3 * 2**20))
    whole = local_hf.fingerprint(tmp_path)
    for place in (0, 3 * 2**20 - 1):
        data = bytearray(3 * 2**20)
        data[place] = 1
        (tmp_path / "w").write_bytes(bytes(data))
        assert local_hf.fingerprint(tmp_path) != whole


def test_schemas_go_to_servers_that_take_them_and_key_the_replies(tmp_path):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    with serving(['{"a": "1"}', '{"a": "2"}', '{"a": "3"}']) as server:
        plain, formed = server_client(server), server_client(server, structured=True)
        assert CachedClient(plain, tmp_path).reply(HELLO, schema) == '{"a": "1"}'
        assert CachedClient(plain, tmp_path).reply(HELLO) == '{"a": "1"}'
        assert CachedClient(formed, tmp_path).reply(HELLO, schema) == '{"a": "2"}'
        assert CachedClient(formed, tmp_path).reply(HELLO, {**schema, "title": "other"}) == '{"a": "3"}'
        bodies = [body for _, _, body in server.seen]
    assert "response_format" not in bodies[0]
    assert bodies[1]["response_format"]["json_schema"]["schema"] == schema


def test_half_a_schema_is_asked_for_again(tmp_path):
    halves = ['{"a": "x', '{"b": 1}', '{"a": "whole"}']

    def read(text):
        found = strict_json(text)
        if "a" not in found:
            raise Unreadable("it has no a")
        return found["a"]

    with serving(list(halves)) as server:
        client = CachedClient(server_client(server, structured=True), tmp_path)
        assert client.read(HELLO, read, schema={"type": "object"}) == "whole"
        assert client.tally.reread == 2


def test_tokens_and_costs_are_counted(tmp_path):
    usage = {**completion("ok"), "usage": {"prompt_tokens": 300, "completion_tokens": 20}}
    with serving([usage, {**completion("ok"), "usage": "none"}, completion("ok")]) as server:
        client = server_client(server, price_in=2.0, price_out=10.0, tries=1)
        reply = client.ask(HELLO)
        assert (reply.tokens_in, reply.tokens_out, reply.cost) == (300, 20, pytest.approx(0.0008))
        with pytest.raises(ClientError, match="no chat completion"):
            client.ask(HELLO)
        # a server that does not count is taken at four letters a token, or a bound on cost would be none
        assert 0 < client.ask(HELLO).cost < 1e-4


def test_questions_keep_to_a_rate_and_to_a_pause_that_one_of_them_was_told(tmp_path):
    waits = []
    usage = {"usage": {"prompt_tokens": 500, "completion_tokens": 500}}
    with serving([{**completion("ok"), **usage}] * 3 + [(429, {"Retry-After": "30"}), "ok"]) as server:
        paced = CachedClient(server_client(server, per_minute=60, tokens_per_minute=6000), tmp_path, waits.append)
        for word in "abc":
            paced.reply([Message(word)])
        # a place a second, and ten seconds for a thousand tokens
        assert waits == pytest.approx([11.0, 22.0], abs=0.3)
        waits.clear()
        free = CachedClient(server_client(server), tmp_path, waits.append)
        free.reply([Message("d")])
        assert waits == pytest.approx([30.0], abs=0.3)


def test_a_server_that_repeats_the_key_does_not_get_it_into_a_message(tmp_path):
    with serving(lambda body: (401, {})) as server:
        server.handle_error = None
        client = server_client(server, key="sk-very-secret")
        refused = client._refused
        response = type("R", (), {"status_code": 401, "reason_phrase": "no", "headers": {}})()
        error = refused(response, b"Incorrect API key provided: sk-very-secret.")
    assert "sk-very-secret" not in str(error)
    assert "(the key)" in str(error)


@pytest.mark.parametrize("url", ["http://me:word@127.0.0.1/v1", "http://127.0.0.1/v1?api-key=1"])
def test_keys_do_not_come_in_addresses(url):
    assert openai_compatible.Settings(model="m", url=url).problems()[0][0] == "url"
