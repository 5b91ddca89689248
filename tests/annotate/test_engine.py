"""An annotation from its recipe to its records: what is kept, asked, rejected, told."""

import json
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest
from chat_server import serving

from affectkit.annotate.plan import check_annotation
from affectkit.annotate.run import annotate, forecast
from affectkit.errors import InputError
from affectkit.evaluation.clients import allowing

ROWS = [
    ("brave words here", "happy"),
    ("so sad and low", "sad"),
    ("no", "sad"),
    ("we are all glad today", "happy"),
    ("well well", "sad"),
]
RECIPE = """\
name: tried
data: {use: table, path: t.csv, columns: {path: audio}}
views: {words: {use: subtitle}}
annotators:
  said: {use: spoken_words}
  merge: {use: merge_clues, words: said, client: {use: openai_compatible, model: m, url: URL, parallel: 3, tries: 2, wait: 0}}
  label: {use: name_label, text: merge, labels: [happy, sad], client: {use: openai_compatible, model: m, url: URL, wait: 0}}
items:
  emotion: {task: label, answer: label}
  why: {task: reason, answer: merge.text, question: "Why?"}
run: {folder: runs, cache: cache}
"""


def reply(body):
    """What the server says: the merged text repeats the words, the label is that of `sad`."""
    asked = body["messages"][-1]["content"]
    if asked.startswith("Which emotion"):
        return "sad" if "sad" in asked.split("Answer")[0] else "happy"
    return "The person says " + asked.split("What is said: ")[1].split("\n")[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["audio,subtitle,label,split,id"]
    for i, (words, label) in enumerate(ROWS):
        with wave.open(str(tmp_path / f"{i}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes([i, 0]) * 800)
        lines.append(f"{i}.wav,{words},{label},train,s{i}")
    lines.append("0.wav,not of this split,sad,val,v0")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(server, *overrides, calls=None, cost=None):
    """The records of a run, by id, and its summary."""
    Path("a.yaml").write_text(RECIPE.replace("URL", server.url))
    with allowing("*"):
        out = annotate(check_annotation("a.yaml", overrides, data=True), calls, cost)
    rows = [json.loads(line) for line in (out / "records.jsonl").open()]
    return {row["id"]: row for row in rows}, json.loads((out / "summary.json").read_text())


def test_records_have_findings_with_their_sources_and_items(folder):
    with serving(reply) as server:
        rows, told = run(server)
    assert list(rows) == [f"s{i}" for i in range(5)]
    one = rows["s1"]
    assert one["findings"]["merge"]["text"]["value"] == "The person says so sad and low"
    source = one["findings"]["merge"]["text"]["source"]
    assert (source["piece"], source["model"], source["calls"]) == ("merge_clues", "m", 1)
    assert len(source["prompt"]) == 40
    assert "client" not in source["settings"]
    assert [(i["task"], i["answer"]) for i in one["items"]] == [
        ("label", "sad"),
        ("reason", "The person says so sad and low"),
    ]
    assert one["items"][1]["question"] == "Why?"
    assert (told["samples"], told["used"], told["calls"]) == (5, 5, 10)
    assert "label" not in json.dumps({k: v for k, v in one.items() if k not in ("findings", "items")})


def test_nothing_is_asked_twice_and_a_change_asks_only_what_hangs_on_it(folder):
    with serving(reply) as server:
        first, _ = run(server)
        again, told = run(server)
        assert (again, told["calls"], told["kept"]) == (first, 0, {"said": 5, "merge": 5, "label": 5})
        changed, told = run(
            server, "annotators.label.wording='Which emotion, please?\n{text}\nAnswer with one of: {labels}.'"
        )
        assert (told["calls"], told["made"]) == (5, {"label": 5})
        assert changed["s1"]["findings"]["merge"] == first["s1"]["findings"]["merge"]


def test_a_budget_ends_a_run_that_goes_on_later(folder):
    with serving(reply) as server:
        rows, told = run(server, calls=3)
        assert told["calls"] == len(server.seen) == 3
        assert "the budget was spent in merge" in told["stopped"]
        # those that no later annotator saw are not finished, either: nothing of them is used
        assert sorted(row["todo"] for row in rows.values()) == ["label"] * 3 + ["merge"] * 2
        assert (told["todo"], told["used"], [row["items"] for row in rows.values()]) == (5, 0, [[]] * 5)
        rows, told = run(server)
        assert (told["used"], told["calls"], len(server.seen)) == (5, 7, 10)


def test_what_a_model_will_not_or_cannot_say_is_a_counted_reject(folder):
    odd = {
        "brave": "",
        "glad": "I'm sorry, but I can't help with that.",
        "low": "我不知道他们在说什么",
        "well": "word " * 900,
    }

    def say(body):
        if "Which emotion" in body["messages"][0]["content"]:
            return "astonished"
        asked = body["messages"][0]["content"]
        return next((text for word, text in odd.items() if word in asked), "A text of its own.")

    with serving(say) as server:
        rows, told = run(server)
    assert told["rejected"] == {
        "merge": {
            "the reply is empty": 1,
            "the reply is not English": 1,
            "the reply is far too long": 1,
            "the model refuses": 1,
        },
        "label": {"no label of the set": 1},
    }
    assert rows["s3"]["rejected"]["by"] == "merge"
    assert (rows["s3"]["items"], told["used"]) == ([], 0)


def test_a_busy_server_is_asked_again_and_one_without_reply_costs_that_clip(folder):
    answers = {"tries": 0}

    def say(body):
        answers["tries"] += 1
        if answers["tries"] == 1:
            return (429, {"Retry-After": "0"})
        if "glad" in body["messages"][0]["content"]:
            return 500
        return reply(body)

    with serving(say) as server:
        rows, told = run(server)
        assert (told["failed"], told["used"]) == (1, 4)
        assert "500" in rows["s3"]["failed"]["error"]
        server.reply = reply
        rows, told = run(server)
        assert (told["failed"], told["used"], told["calls"]) == (0, 5, 2)


def test_a_killed_run_loses_nothing_that_was_stored(folder):
    def slow(body):
        time.sleep(0.05)
        return reply(body)

    with serving(slow) as server:
        Path("a.yaml").write_text(RECIPE.replace("URL", server.url))
        for _ in range(3):
            code = [sys.executable, "-m", "affectkit", "annotate", "a.yaml", "--server", server.url]
            process = subprocess.Popen(code, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seen, end = len(server.seen), time.monotonic() + 60
            while process.poll() is None and len(server.seen) < seen + 2 and time.monotonic() < end:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
        before = len(server.seen)
        rows, told = run(server)
    assert (len(rows), told["used"]) == (5, 5)
    assert before + told["calls"] <= 10 + 3 * 3, "at most what was in the air at each kill is asked again"


def test_annotators_see_no_label_no_name_and_nothing_that_the_data_says(folder):
    with serving(reply) as server:
        first, _ = run(server)
        lines = (folder / "t.csv").read_text().splitlines()
        for i in range(5):
            (folder / f"{i}.wav").rename(folder / f"renamed-{i}.wav")
        rows = [line.split(",") for line in lines]
        rows = [rows[0]] + [[f"renamed-{r[0]}", r[1], "other" if r[2] == "sad" else "sad", *r[3:]] for r in rows[1:]]
        (folder / "t.csv").write_text("\n".join(",".join(r) for r in rows) + "\n")
        again, told = run(server)
    assert told["calls"] == 0
    assert {i: r["findings"] for i, r in again.items()} == {i: r["findings"] for i, r in first.items()}


def test_the_server_must_be_allowed(folder):
    with serving(reply) as server:
        Path("a.yaml").write_text(RECIPE.replace("URL", server.url))
        with pytest.raises(InputError, match="which you have not allowed"):
            annotate(check_annotation("a.yaml", data=True))
        assert server.seen == []


def test_a_dry_run_counts_calls_and_costs_and_asks_nobody(folder, capsys):
    priced = ["annotators.merge.client.price_in=1000000", "annotators.label.client.price_out=1000000"]
    with serving(reply) as server:
        Path("a.yaml").write_text(RECIPE.replace("URL", server.url))
        with allowing("*"):
            first = {one.name: one for one in forecast(check_annotation("a.yaml", priced, data=True))}
            assert not server.seen
            shown = capsys.readouterr().out
            annotate(check_annotation("a.yaml", [*priced, "run.most=3"], data=True))
            sent = len(server.seen)
            again = {one.name: one for one in forecast(check_annotation("a.yaml", priced, data=True))}
            assert len(server.seen) == sent == 6
    assert first["merge"].calls == 5
    assert first["label"].calls == 5
    assert first["label"].possible == 5
    assert first["label"].cost > 0
    assert "at most 10 calls" in shown
    assert [(one.kept, one.calls) for one in again.values()] == [(3, 0), (3, 2), (3, 2)]
    # what goes there is known but for the two clips whose words are to be looked at first
    assert again["merge"].cost == pytest.approx(again["merge"].tokens_in, abs=1)


TWINS = """\
name: twins
data: {use: table, path: t.csv, val: 0.0, columns: {path: audio}}
views: {words: {use: subtitle}}
annotators:
  said: {use: spoken_words}
  again: {use: duplicate_filter, text: said}
items: {why: {task: reason, answer: said}}
run: {folder: runs, cache: cache}
"""


def test_of_two_that_are_alike_the_later_one_is_rejected_each_time(folder):
    lines = Path("t.csv").read_text().splitlines()[:6]
    lines[4] = lines[2].replace("s1", "twin").replace("1.wav", "3.wav")
    Path("t.csv").write_text("\n".join(lines) + "\n")
    Path("a.yaml").write_text(TWINS)

    def lost():
        out = annotate(check_annotation("a.yaml", data=True))
        return [row["id"] for row in map(json.loads, (out / "records.jsonl").open()) if "rejected" in row]

    assert lost() == lost() == ["twin"]
    Path("t.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    assert lost() == ["s1"]


def test_half_an_emoji_is_mended_and_hangs_nothing(folder):
    def say(body):
        return b'{"choices": [{"message": {"content": "This is a happy person \\ud83d"}}]}'

    with serving(say) as server:
        rows, told = run(server, "annotators.label=null", "items.emotion=null")
    assert {row["findings"]["merge"]["text"]["value"] for row in rows.values()} == {"This is a happy person \ufffd"}
    assert told["used"] == 5


def test_a_question_that_a_filter_refuses_costs_that_clip(folder):
    def say(body):
        return (400, {}) if "low" in body["messages"][0]["content"] else reply(body)

    with serving(say) as server:
        rows, told = run(server)
        assert (told["failed"], told["used"]) == (1, 4)
        assert rows["s1"]["failed"]["by"] == "merge"
        assert "400" in rows["s1"]["failed"]["error"]


def test_asking_for_a_form_asks_anew(folder):
    with serving(reply) as server:
        run(server)
        _, told = run(server, "annotators.label.client.structured=true")
        assert told["made"] == {"label": 5}


def test_a_bound_on_cost_needs_a_price(folder):
    with serving(reply) as server, pytest.raises(InputError, match="nothing is known of what it costs"):
        run(server, cost=1.0)
    with serving(reply) as server:
        prices = [f"annotators.{name}.client.price_out=1000000" for name in ("merge", "label")]
        _, told = run(server, *prices, cost=10.0)
    assert "budget" in told["stopped"]
    assert told["calls"] < 10
