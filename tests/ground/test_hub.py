"""Without a network the hub's files are given up at once; with one nothing changes."""

import socket
import time

import pytest
from huggingface_hub import close_session, constants, get_session, hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError

from affectkit import weights as hub


@pytest.fixture
def lookups(monkeypatch, tmp_path):
    """Hosts that were looked up; none has an address. The hub's client is a fresh one, and not told to stay offline."""
    seen = []

    def lost(host, *_, **__):
        seen.append(host)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", lost)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "PAUSE", 0.01)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    hub.nowhere.cache_clear()
    close_session()
    yield seen
    hub.nowhere.cache_clear()
    close_session()


def fetch(folder):
    return hf_hub_download("nobody/nothing", "config.json", cache_dir=folder)


def test_no_address_is_no_use_trying(lookups, tmp_path):
    hub.fail_fast()
    hub.fail_fast()
    begun = time.monotonic()
    for _ in range(2):
        with pytest.raises(LocalEntryNotFoundError, match="check your connection"):
            fetch(tmp_path)
    assert time.monotonic() - begun < 1
    assert lookups == ["huggingface.co"] * 2, "once for both files, and once more in case the line stumbled"


def test_what_is_in_the_cache_serves(lookups, tmp_path):
    there = tmp_path / "models--nobody--nothing" / "snapshots" / "a" / "config.json"
    there.parent.mkdir(parents=True)
    there.write_text("{}")
    (tmp_path / "models--nobody--nothing" / "refs").mkdir()
    (tmp_path / "models--nobody--nothing" / "refs" / "main").write_text("a")
    hub.fail_fast()
    assert fetch(tmp_path) == str(there)


def test_a_line_that_stumbles_once_is_there(monkeypatch, lookups):
    answers = iter([socket.gaierror(-3, "again"), None])

    def second(host, *_):
        answer = next(answers)
        if answer:
            raise answer

    monkeypatch.setattr(socket, "getaddrinfo", second)
    assert not hub.nowhere("hub.example", 0)


def test_behind_a_proxy_nothing_is_looked_up(monkeypatch, lookups):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    hub.fail_fast()
    request = get_session().build_request("HEAD", "https://hub.example/x")
    get_session().event_hooks["request"][0](request)
    assert lookups == []
