"""The server of a review over HTTP: who gets in, what comes out, what is taken, and that nothing is lost."""

import json
import re
import socket
import stat
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import uvicorn
from PIL import Image
from review_run import record, reviewing, verdicts, write_records, write_run

from affectkit.__main__ import main
from affectkit.annotate import review_server
from affectkit.annotate.review_board import Review, ReviewSettings, checked_name
from affectkit.annotate.review_server import Door, Guard, Pages, listening, media_type
from affectkit.annotate.reviews import REVIEWS, ReviewFile, Verdict, shown_hash
from affectkit.errors import InputError

TOKEN = "t" * 43
COOKIE = "affectkit_test"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with media, made once."""
    return write_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made, tmp_path):
    """The same records in a folder of their own."""
    return write_records(tmp_path / "runs" / "own", [json.loads(line) for line in (made / "records.jsonl").open()])


@contextmanager
def served(folder, **settings):
    """A client that has the cookie, of a server in a thread."""
    review = Review(folder, ReviewSettings(**settings))
    with listening(0, 0) as opened:
        app = Guard(Pages(review, COOKIE).app(), TOKEN, COOKIE)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{opened.getsockname()[1]}"
        with httpx.Client(base_url=url, cookies={COOKIE: TOKEN}, trust_env=False) as client:
            yield client
        server.should_exit = True
        thread.join()


@pytest.fixture
def serve():
    """`serve(folder, **settings)` gives the client of a server that ends with the test."""
    with ExitStack() as stack:
        yield lambda folder, **settings: stack.enter_context(served(folder, **settings))


@pytest.fixture(scope="module")
def client(made):
    """That of a server that several tests ask, none of which gives a verdict."""
    with served(made) as client:
        yield client


def send(client, who, n, verdict, **more):
    """A verdict as the page sends it."""
    shown = client.get(f"/api/record/{n}", params={"reviewer": who})
    seen = shown.json()["seen"] if shown.is_success else ""
    body = {
        "n": n,
        "reviewer": who,
        "verdict": verdict,
        "edits": {},
        "reason": "",
        "seconds": 2.0,
        "seen": seen,
        **more,
    }
    return client.post("/api/verdict", json=body, headers={"Origin": str(client.base_url).rstrip("/")})


ASKED = ("/api/overview?reviewer=ann", "/api/record/0?reviewer=ann", "/agreement?reviewer=ann")
PLACES = ("/", *ASKED, "/media/0/video", "/strip/0", "/review.js", "/review.css", "/nowhere")


@pytest.mark.parametrize("place", PLACES)
def test_nothing_comes_out_without_the_token(client, place):
    for given in (b"", b"wrong", TOKEN[:-1].encode(), TOKEN.encode() + b"t", b"\xff\xc3\xa9"):
        with_cookie = {"Cookie": COOKIE.encode() + b"=" + given}
        assert client.get(place, headers=with_cookie).status_code == 403
    assert httpx.get(client.base_url.join(place), trust_env=False).status_code == 403
    wrong = f"{place}{'&' if '?' in place else '?'}token=wrong"
    assert client.get(wrong).status_code == 403


def test_the_token_of_the_address_becomes_a_cookie_that_no_script_reads(client):
    with httpx.Client(base_url=client.base_url, trust_env=False) as fresh:
        answer = fresh.get("/", params={"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), "the address forgets it"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert fresh.get("/").status_code == 200
    assert client.get("/review.js", params={"token": TOKEN}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "0.0.0.0", ""])
def test_a_foreign_name_that_points_here_gets_nothing(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:80"])
def test_a_tunnel_may_have_another_port(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_every_answer_says_what_a_browser_may_do(client):
    answers = [client.get(place) for place in PLACES]
    answers.append(httpx.get(f"{client.base_url}/", trust_env=False))
    for answer in answers:
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy.pop("default-src") == policy.pop("base-uri") == policy.pop("frame-ancestors") == "'none'"
        assert set(policy.values()) == {"'self'"}, "nothing from elsewhere, nothing inline"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_a_verdict_comes_from_this_page_as_json(made, client):
    own = str(client.base_url).rstrip("/")
    body = json.dumps({"n": 0, "reviewer": "ann", "verdict": "accept"})
    kind = {"Content-Type": "application/json"}
    post = lambda headers, text=body: client.post("/api/verdict", content=text, headers=headers).status_code  # noqa: E731
    assert post(kind) == 403
    for origin in ("http://evil.example", "null", own.replace("127.0.0.1", "localhost"), own + "0"):
        assert post({**kind, "Origin": origin}) == 403
    assert post({"Origin": own, "Content-Type": "text/plain"}) == 415
    assert post({"Origin": own, "Content-Type": "application/x-www-form-urlencoded"}) == 415
    assert post({**kind, "Origin": own}, " " * 1_000_001) == 413
    chunks = client.post("/api/verdict", content=iter([b"{}"]), headers={**kind, "Origin": own})
    assert chunks.status_code == 413
    assert client.get("/api/verdict").status_code == 405
    assert client.delete("/media/0/video", headers={**kind, "Origin": own, "Content-Length": "0"}).status_code == 405
    assert verdicts(made) == []


TRICKS = (
    "/media/0/../../etc/passwd", "/media/0/..%2f..%2fetc%2fpasswd", "/media/../records.jsonl", "/media/0/%2fetc%2fpasswd",
    "/media/0/video%00.mp4", "/media/-1/video", "/media/99/video", "/media/0/start", "/media/0/", "/media/", "/media", "/strip/",
    "/records.jsonl", "/reviews.jsonl", "/templates/review.html", "/review.html", "/..%2f..%2freview_server.py", "//etc/passwd",
    "/media/0/video/../../../records.jsonl", "/media/1e0/video", "/media/0x0/video", "/review.js/../review.html",
    "/%2e%2e/%2e%2e/etc/passwd",
)  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_no_address_leads_to_another_file_or_lists_a_folder(client, trick):
    with socket.create_connection(
        (client.base_url.host, client.base_url.port)
    ) as raw:  # a client tidies such addresses up
        raw.sendall(
            f"GET {trick} HTTP/1.1\r\nHost: localhost\r\nCookie: {COOKIE}={TOKEN}\r\nConnection: close\r\n\r\n".encode()
        )
        said = b"".join(iter(lambda: raw.recv(65536), b""))
    assert re.match(rb"HTTP/1.1 40[0-9] ", said), said[:80]
    assert b"root:" not in said
    assert b"SECRET" not in said


def test_only_media_that_the_record_names_are_given(run, serve, tmp_path):
    (tmp_path / "notes.txt").write_text("private")
    (tmp_path / "page.html").write_text("<script>1</script>")
    (tmp_path / "frames").mkdir()
    names = ["notes.txt", "page.html", "frames", "gone.mp4"]
    client = serve(write_records(run, [record(i, {"video": str(tmp_path / name)}) for i, name in enumerate(names)]))
    for n in range(4):
        assert client.get(f"/media/{n}/video").status_code == 404
        assert client.get(f"/strip/{n}").status_code == 404
        assert client.get(f"/api/record/{n}", params={"reviewer": "ann"}).json()["media"] == []


def test_media_have_the_type_of_media():
    assert media_type(Path("a.mp4")) == "video/mp4"
    assert media_type(Path("a.wav")).startswith("audio/")
    assert media_type(Path("a.svg")) == media_type(Path("a.html")) == "application/octet-stream"


def test_a_browser_may_ask_for_a_part_of_a_clip(client):
    whole = client.get("/media/0/video")
    assert (whole.status_code, whole.headers["content-type"], whole.headers["accept-ranges"]) == (
        200,
        "video/mp4",
        "bytes",
    )
    part = client.get("/media/0/video", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert client.get("/media/0/video", headers={"Range": "bytes=999999999-"}).status_code == 416


def test_frames_stand_for_what_a_browser_does_not_play(client):
    picture = Image.open(BytesIO(client.get("/strip/1").content))
    assert (picture.format, picture.size) == ("JPEG", (2 * 160 + 4, 3 * 120 + 2 * 4))
    assert Image.open(BytesIO(client.get("/strip/2").content)).size == (420, 110), "the wave of a sound"


def test_the_page_is_told_neither_ids_nor_files(client):
    said = client.get("/").text + client.get("/api/overview", params={"reviewer": "ann"}).text
    said += "".join(client.get(f"/api/record/{n}", params={"reviewer": "ann"}).text for n in range(4))
    assert "SECRET" not in said
    assert "clip_happy" not in said
    assert '"p1"' not in said


def test_people_do_not_see_each_other(run, serve):
    client = serve(run)
    assert send(client, "zoe", 0, "edit", edits={"why": "Words of zoe."}).json() == {"saved": True, "new": True}
    assert send(client, "zoe", 1, "reject", reason="wrong emotion").is_success
    bob = client.get("/api/overview", params={"reviewer": "bob"}).json()
    assert ([row["verdict"] for row in bob["records"]], bob["order"]) == ([""] * 4, [])
    assert client.get("/api/record/0", params={"reviewer": "bob"}).json()["own"] is None
    said = client.get("/api/overview", params={"reviewer": "bob"}).text + client.get("/api/record/0?reviewer=bob").text
    assert "zoe" not in said
    zoe = client.get("/api/overview", params={"reviewer": "zoe"}).json()
    assert ([row["verdict"] for row in zoe["records"]], zoe["order"]) == (["edit", "reject", "", ""], [0, 1])
    own = client.get("/api/record/0", params={"reviewer": "zoe"}).json()["own"]
    assert own == {"verdict": "edit", "edits": {"why": "Words of zoe."}, "reason": ""}


def test_agreement_is_shown_to_those_who_have_finished(run, serve):
    client = serve(run)
    for n in range(4):
        send(client, "bob", n, "accept")
        before = client.get("/agreement", params={"reviewer": "ann"})
        assert (before.status_code, "bob" in before.text) == (403, False)
        send(client, "ann", n, "accept" if n else "reject")
    page = client.get("/agreement", params={"reviewer": "ann"})
    assert page.status_code == 200
    assert "Krippendorff" in page.text
    assert "<td>bob</td>" in page.text


def test_a_verdict_is_a_line_with_all_that_it_takes(run, serve):
    client = serve(run)
    assert send(
        client, "ann", 3, "edit", edits={"emotion": "joy", "talk": [["Why?", "So."]]}, key="k", seconds=3.14159
    ).is_success
    assert send(client, "ann", 3, "edit", edits={"emotion": "joy"}, key="k").json() == {"saved": True, "new": False}
    (line,) = verdicts(run)
    assert line["edits"] == {"emotion": "joy", "talk": [["Why?", "So."]]}
    assert (line["id"], line["split"], line["seconds"], line["key"]) == ("SECRET_3", "train", 3.1, "k")
    assert line["seen"] == shown_hash([json.loads(row) for row in (run / "records.jsonl").open()][3])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", line["at"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 99}, {"n": -1}, {"n": True}, {"n": "0"}, {"verdict": "like"}, {"verdict": "edit"}, {"edits": {"why": "x"}},
        {"verdict": "edit", "edits": {"other": "x"}}, {"verdict": "edit", "edits": {"why": "  "}},
        {"verdict": "edit", "edits": {"why": 3}},
        {"verdict": "edit", "edits": {"talk": "x"}}, {"verdict": "edit", "edits": ["why"]}, {"reason": "x" * 3000}, {"reason": 3},
        {"seconds": -1}, {"seconds": "1"}, {"seconds": 1e9},
        {"reviewer": ""}, {"reviewer": "a/b"}, {"reviewer": None}, {"key": []},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_verdict_is_refused(made, client, wrong):
    answer = client.post(
        "/api/verdict",
        json={"n": 0, "reviewer": "ann", "verdict": "accept", **wrong},
        headers={"Origin": str(client.base_url).rstrip("/")},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert verdicts(made) == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", "[" * 100_000, '{"n": NaN}', "\x00"], ids=lambda text: repr(text[:9])
)
def test_what_is_no_json_object_is_refused(made, client, text):
    headers = {"Origin": str(client.base_url).rstrip("/"), "Content-Type": "application/json"}
    assert client.post("/api/verdict", content=text, headers=headers).status_code == 400


def test_a_full_disk_is_told_and_the_page_may_send_it_again(run, serve, monkeypatch):
    client = serve(run)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        answer = send(client, "ann", 0, "accept")
    assert (answer.status_code, "No space left" in answer.json()["error"]) == (507, True)
    assert verdicts(run) == []
    assert send(client, "ann", 0, "accept").is_success


def test_a_changed_record_is_open_again(run, serve):
    rows = [json.loads(line) for line in (run / "records.jsonl").open()]
    ReviewFile(run / REVIEWS).append(Verdict(rows[0]["id"], "train", "ann", "accept", seen="of something else"))
    first = serve(run).get("/api/overview", params={"reviewer": "ann"}).json()["records"][0]
    assert first == {"n": 0, "verdict": "accept", "stale": True}


def test_one_person_alone_may_be_let_in(run, serve):
    client = serve(run, reviewer="ann", count=2, seed=1)
    assert client.get("/api/overview", params={"reviewer": "bob"}).status_code == 409
    assert send(client, "bob", 0, "accept").status_code == 409
    assert len(client.get("/api/overview", params={"reviewer": "ann"}).json()["records"]) == 2
    assert 'data-reviewer="ann"' in client.get("/").text


def test_a_verdict_from_another_sample_of_the_same_run_is_taken(run, serve):
    whole, part = serve(run), serve(run, count=1)
    away = next(n for n in range(4) if not part.get(f"/api/record/{n}", params={"reviewer": "ann"}).is_success)
    seen = whole.get(f"/api/record/{away}", params={"reviewer": "ann"}).json()["seen"]
    assert send(part, "ann", away, "accept").status_code == 400
    assert send(part, "ann", away, "accept", seen=seen).is_success
    assert whole.get("/api/overview", params={"reviewer": "ann"}).json()["order"] == [away]


def test_what_cannot_be_reviewed_is_told(tmp_path):
    gone = write_records(tmp_path / "gone", [record(0, {"video": "gone.mp4"}), record(1, {})])
    assert Review(gone, ReviewSettings()).missing() == 1
    rejected = write_records(tmp_path / "none", [record(0, {}, rejected={"by": "size", "reason": "too short"})])
    with pytest.raises(InputError, match="no record came to its end"):
        Review(rejected, ReviewSettings())
    assert Review(rejected, ReviewSettings(rejected=True)).chosen == [0]


def test_labels_are_those_of_the_records_and_those_that_the_annotator_chose_from(client):
    found = client.get("/api/overview", params={"reviewer": "ann"}).json()["labels"]
    assert found == {"emotion": ["angry", "happy", "neutral", "sad", "surprised"]}


def test_a_name_is_one_that_a_finding_can_have():
    assert checked_name("  Ann-Marie O. 李 ") == "Ann-Marie O. 李"
    for name in ("", " ", "a/b", "../x", "a\nb", "x" * 41, None, 3, "<b>"):
        with pytest.raises(ValueError, match="a name has up to"):
            checked_name(name)


def test_a_door_is_readable_by_its_owner_alone(run):
    door = Door.of(run)
    assert len(door.token) >= 43
    assert door.token != Door.of(run).token
    door.keep(run)
    assert Door.of(run) == door
    assert stat.S_IMODE(Door.file(run).stat().st_mode) == 0o600
    Door.file(run).write_text("{}")
    assert Door.of(run).token != door.token


def test_a_port_that_is_taken_is_told_and_that_of_last_time_passed_over(run):
    with listening(0, 0) as first:
        port = first.getsockname()[1]
        assert first.getsockname()[0] == "127.0.0.1"
        with pytest.raises(InputError, match=f"--port {port}: cannot be listened at"):
            listening(port, 0)
        with listening(0, port) as second:
            assert second.getsockname()[1] != port


def test_without_the_extra_the_command_says_what_to_install(run, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "affectkit.annotate.review_server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setattr("sys.argv", ["affectkit", "review", str(run)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "pip install 'affectkit[review]'" in capsys.readouterr().err


def test_nothing_that_was_saved_is_lost_when_the_server_is_killed(run):
    with reviewing(run) as server:
        client = httpx.Client(
            base_url=server.url, cookies=httpx.get(server.address, trust_env=False).cookies, trust_env=False
        )
        for n in range(3):
            assert send(client, "ann", n, "accept", key=str(n)).json()["saved"]
        server.kill()
        assert [line["id"] for line in verdicts(run)] == ["SECRET_0", "SECRET_1", "SECRET_2"]
        with (run / REVIEWS).open("a") as file:
            file.write('{"id": "SEC')  # as if it had died while it wrote
        before = server.port, server.token
        server.start()
        assert (server.port, server.token) == before, "an open page goes on with it"
        assert send(client, "ann", 3, "accept", key="3").json()["saved"]
        begun = time.monotonic()
        code, said = server.stop()
        client.close()
    assert (code, time.monotonic() - begun < 10) == (0, True)
    assert "4 of 4 records reviewed" in said
    assert "no verdict in line 4, left by a crash" in said
    assert len((run / "reviewed.jsonl").read_text().splitlines()) == 4


PAGE = (Path(__file__).parents[2] / "docs" / "review.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(affectkit review .*?)(?: +#.*)?$", PAGE, re.M)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_page_run(run, line, monkeypatch, capsys):
    monkeypatch.chdir(run.parents[1])
    (run.parent / "last").symlink_to(run.name)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)  # as if it were ended at once
    monkeypatch.setattr("affectkit.annotate.review_server._has_screen", lambda: False)
    monkeypatch.setattr("sys.argv", line.split())
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr().out
    assert end.value.code == 0
    assert ("http://127.0.0.1:" in out) == ("--export" not in line)
    assert (run / "reviewed.jsonl").exists()


def test_the_page_names_every_key_of_the_script():
    script = (Path(review_server.__file__).parent / "templates" / "review.js").read_text()
    keys = re.findall(r"^  (\w|\" \"|\"\?\"): ", script.partition("const ACTIONS = {")[2].partition("};")[0], re.M)
    assert len(keys) == 10
    assert {"Space" if key == '" "' else key.strip('"') for key in keys} <= set(re.findall(r"`([^`\n]+)`", PAGE))
