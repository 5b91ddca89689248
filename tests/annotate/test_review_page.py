"""The page of a review in a real browser: with the keyboard alone, blind, through crashes, on narrow and wide screens."""

import itertools
import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from review_run import LABELS, record, reviewing, verdicts, write_records, write_run

from affectkit.annotate import review_server

CSS = (Path(review_server.__file__).parent / "templates" / "review.css").read_text()
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; where there is none the tests are skipped, and fail in CI."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    why = "" if path else f"no browser: none of {', '.join(BROWSERS)} is installed"
    if why and os.environ.get("CI"):
        pytest.fail(why)
    if why:
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        found = playwright.chromium.launch(executable_path=path, args=flags)
        yield found
        found.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made, tmp_path):
    return write_records(tmp_path / "runs" / "own", [json.loads(line) for line in (made / "records.jsonl").open()])


@pytest.fixture
def opened(browser):
    """`opened(address, name)` is a page in a browser context of its own on which `name` reviews; what it asks for is noted."""
    contexts = []

    def start(address, name, width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.wrong = [], []
        context.on("request", lambda request: page.asked.append(request.url))
        page.on("websocket", lambda socket: page.asked.append(socket.url))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
        page.goto(address)
        enter(page, name)
        return page

    yield start
    for context in contexts:
        context.close()


def enter(page, name):
    """Give a name, with the keyboard."""
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    shows(page, "Record")


def shows(page, text):
    """Wait until the page has a text in it."""
    page.get_by_text(text).locator("visible=true").first.wait_for()


def saved(page):
    """Wait until all is said to be on disk."""
    page.locator("#saved[data-state=saved]").wait_for()


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def test_a_session_with_the_keyboard_alone(run, opened):
    with reviewing(run) as server:
        page = opened(server.address, "ann")
        assert page.url == server.url, "the token is gone from the address"
        page.wait_for_function("() => document.querySelector('video').readyState >= 2")
        assert 0.1 <= page.evaluate("document.querySelector('video').currentTime") < 0.2, "the clip begins in its file"
        press(page, "Space")
        page.wait_for_function("() => document.querySelector('video').currentTime > 0.3")
        press(page, "a")
        shows(page, "Record 2 of 4")
        page.wait_for_function("() => document.querySelector('#strip').naturalWidth > 300")
        shows(page, "This browser cannot play the file")
        press(page, "4", "e", "End")
        page.keyboard.type(" And more a r j k u.")
        press(page, "Control+Enter")
        shows(page, "Record 3 of 4")
        assert page.locator("audio").count() == 1
        press(page, "r")
        shows(page, "Why not?")
        press(page, "3")
        shows(page, "Record 4 of 4")
        saved(page)
        press(page, "u")
        shows(page, "Record 3 of 4")
        press(page, "r")
        page.keyboard.type("Somebody else speaks")
        press(page, "Enter")
        shows(page, "Record 4 of 4")
        page.get_by_label("answer 2").fill("Nobody told her.")
        press(page, "Escape", "a")
        shows(page, "You have judged all 4 records.")
        shows(page, "1 accepted, 2 edited, 1 rejected.")
        saved(page)
        assert {urlsplit(url).netloc for url in page.asked} == {f"127.0.0.1:{server.port}"}
        assert page.wrong == []
    found = verdicts(run)
    assert [line["verdict"] for line in found] == ["accept", "edit", "reject", "undo", "reject", "edit"]
    assert set(found[1]["edits"]) == {"emotion", "why"}
    assert found[1]["edits"]["emotion"] == LABELS[3]
    assert found[1]["edits"]["why"].endswith("the person is sad. And more a r j k u.")
    assert [found[i]["reason"] for i in (2, 4)] == ["clip is broken or empty", "Somebody else speaks"]
    assert found[5]["edits"] == {"talk": [["How does she look?", "Glad."], ["Why?", "Nobody told her."]]}
    assert 0.3 < found[0]["seconds"] < 30


def test_two_people_do_not_see_each_other_until_both_are_done(run, opened):
    with reviewing(run) as server:
        ann, bob = opened(server.address, "zoe"), opened(server.address, "bob")
        for page in (ann, bob):
            assert page.locator("#count").inner_text() == "0 of 4, 4 left"
        press(ann, "2", "e", "End")
        ann.keyboard.type(" Words of zoe.")
        press(ann, "Control+Enter")
        shows(ann, "Record 2 of 4")
        saved(ann)
        bob.reload()
        shows(bob, "Record 1 of 4")
        said = bob.inner_text("body")
        assert "zoe" not in said
        assert "Words of" not in bob.locator("#items textarea").input_value()
        assert bob.locator("#count").inner_text() == "0 of 4, 4 left"
        for page, left in ((ann, 3), (bob, 4)):
            for n in range(5 - left, 5):
                shows(page, f"Record {n} of 4")
                press(page, "a")
            shows(page, "All done")
            saved(page)
        bob.get_by_text("How far people agree").click()
        shows(bob, "Krippendorff's alpha")
        shows(bob, "zoe")


def test_what_is_said_while_the_server_is_gone_is_kept_and_sent_once(run, opened):
    with reviewing(run) as server:
        page = opened(server.address, "ann")
        press(page, "a")
        shows(page, "Record 2 of 4")
        saved(page)
        server.kill()
        press(page, "r", "1")
        shows(page, "1 not saved yet")
        shows(page, "The server does not answer. 1 verdict is kept in this browser")
        assert len(verdicts(run)) == 1
        press(page, "u", "a")  # goes on working: records were fetched ahead
        shows(page, "3 not saved yet")
        shows(page, "The clip comes when the server is back.")
        server.start()
        saved(page)
        assert page.locator("#notice").is_hidden()
        page.wait_for_function("() => document.querySelector('audio')?.readyState >= 1")  # its clip has come, too
        found = verdicts(run)
        assert [line["verdict"] for line in found] == ["accept", "reject", "undo", "accept"]
        assert len({line["key"] for line in found}) == 4
        assert page.locator("#count").inner_text() == "2 of 4, 2 left"


def test_a_crash_of_the_page_loses_neither_verdict_nor_draft(run, opened):
    with reviewing(run) as server:
        page = opened(server.address, "ann")
        press(page, "a")
        shows(page, "Record 2 of 4")
        saved(page)
        press(page, "e", "End")
        page.keyboard.type(" Half a thou")
        with page.expect_event("crash"):
            crash(page)
        other = page.context.new_page()
        other.goto(server.url)
        other.locator("#name").wait_for()
        assert other.locator("#name").input_value() == "ann"
        press(other, "Enter")
        shows(other, "Record 2 of 4")
        shows(other, "Your unsaved edit is back.")
        assert other.locator("#items textarea").input_value().endswith(" Half a thou")
        press(other, "a")
        shows(other, "Record 3 of 4")
        saved(other)
    assert [line["verdict"] for line in verdicts(run)] == ["accept", "edit"]


def crash(page):
    """Let the process of a page die."""
    from playwright.sync_api import Error

    with pytest.raises(Error, match="crash"):
        page.goto("chrome://crash", timeout=5000)


CONTRAST = """
() => {
  const number = (text) => {
    const parts = text.match(/[\\d.]+/g).map(Number);
    return parts.length > 3 ? parts : [...parts, 1];
  };
  const part = (v) => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = number(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const dialog = document.querySelector("dialog[open]");
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement, text = walk.currentNode.data.trim(), style = getComputedStyle(node);
    if (!text || !node.checkVisibility() || (dialog && !dialog.contains(node))) continue;
    const [low, high] = [light(number(style.color)), light(behind(node))].sort((x, y) => x - y);
    found.push([(high + 0.05) / (low + 0.05), parseFloat(style.fontSize), text.slice(0, 30), node.tagName]);
  }
  return found;
}
"""
"""Of each visible text: its contrast, the size of its letters, its words, and the element that holds it."""


def test_every_state_is_readable_and_fits_its_screen(run, opened, tmp_path):
    def look(page, state):
        width, name = page.viewport_size["width"], f"{state}-{page.who}"
        page.wait_for_timeout(30)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        found = page.evaluate(CONTRAST)
        assert len(found) > 3, name
        assert [one for one in found if one[0] < 4.5 or one[1] < 12] == [], name
        for button in page.locator("button:visible").all():
            box = button.bounding_box()
            assert box["x"] >= 0, name
            assert box["x"] + box["width"] <= width, name
        assert len(page.screenshot(path=tmp_path / f"{name}.png")) > 5000

    with reviewing(run) as server:
        for scheme, width in (("light", 1280), ("dark", 800)):
            page = opened(server.address, f"{scheme}-{width}", width, scheme)
            page.who = f"{scheme}-{width}"
            press(page, "2")
            look(page, "record")
            press(page, "r")
            look(page, "reject")
            press(page, "Escape", "?")
            look(page, "help")
            press(page, "?", "a", "j", "j")
            shows(page, "Record 4 of 4")
            look(page, "turns")
            assert page.locator("#strip-note").is_hidden(), (
                "what became of a clip that was passed over says nothing here"
            )
            press(page, "a", "a", "a")
            shows(page, "All done")
            look(page, "done")
            page.get_by_text("How far people agree").click()
            shows(page, "Krippendorff")
            look(page, "agreement")


def test_what_models_write_is_text_and_never_markup(tmp_path, opened):
    text = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    one = record(0, {})
    one["subtitle"] = one["items"][1]["answer"] = one["findings"]["merged"]["text"]["value"] = text
    one["findings"][text] = one["findings"]["merged"]
    run = write_records(
        tmp_path / "runs" / "<b>odd 'name\"", [one, {**one, "id": "b", "rejected": {"by": "x", "reason": text}}]
    )
    with reviewing(run, "--rejected") as server:
        page = opened(server.address, "ann")
        assert page.locator("blockquote").inner_text() == text
        shows(page, "There is nothing to play.")
        press(page, "j")
        shows(page, "rejected this clip")
        assert page.title() == "Review of <b>odd 'name\""
        assert page.locator("main img[src=x], main script, main b b, header b").count() == 0
        assert page.wrong == []


def ratio(a, b):
    """Contrast of two colours (WCAG 2.2)."""

    def light(colour):
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_have_contrast():
    assert ratio("#000000", "#ffffff") == pytest.approx(21)
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.S)
    assert len(blocks) == 2, "a light and a dark set"
    for block in blocks:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        text = itertools.product(("ink", "quiet", "link", "good", "bad"), ("paper", "wash", "field"))
        pairs = [*text, ("warn", "warn-wash"), ("chosen-ink", "chosen")]
        pairs += [("button-ink", name) for name in ("accept", "edit", "reject")]
        low = {pair: round(ratio(*(colours[n] for n in pair)), 2) for pair in pairs}
        assert {pair: value for pair, value in low.items() if value < 4.5} == {}
        assert ratio(colours["edge"], colours["paper"]) >= 3, "edges of fields and buttons"


def test_the_page_needs_nothing_from_elsewhere():
    for file in (Path(review_server.__file__).parent / "templates").iterdir():
        assert not re.search(r"https?://|@import|url\(|innerHTML|eval\(|style=|\son\w+=\"", file.read_text()), file.name
