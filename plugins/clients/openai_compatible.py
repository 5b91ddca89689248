"""Any server that speaks the chat-completions protocol: vLLM, llama.cpp, Ollama, LM Studio, OpenAI and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affectkit_plugins._values import at_least

from affectkit.errors import Problem
from affectkit.evaluation.clients import LOOPBACK, Client, ClientError, Message, key_for
from affectkit.pieces import Piece, hookimpl

MOST_BYTES = 16 * 2**20
"""A longer response is none that was asked for."""
MOST_WAIT = 60.0
"""Longest pause that a server can ask for, in seconds."""
BUSY = (408, 409, 425, 429)
"""Statuses below 500 after which asking again may help."""


@dataclass(frozen=True)
class Settings:
    """A model behind a server with an OpenAI-compatible interface (`POST URL/chat/completions`).

    The server must be allowed on the command line (`--server URL`, or `client.url=URL` there), and a key comes only
    from the environment variable that `--api-key-env` names: a recipe can do neither. Redirects are not followed.
    Pictures are sent as data URLs, sound as `input_audio`.
    """

    model: str
    """Name of the model, as the server knows it."""
    url: str = "http://127.0.0.1:8000/v1"
    """Address of the interface, up to and without `/chat/completions`."""
    temperature: float = 0.0
    """Sampling temperature; 0 = the likeliest reply."""
    max_tokens: int = field(default=1024, metadata={"formerly": "most_tokens"})
    """Longest reply, in tokens."""
    seed: int | None = None
    """Seed of the sampling, for servers that have one; null sends none."""
    timeout: float = 120.0
    """Seconds to wait for the server at each step."""
    tries: int = 4
    """How often a question is sent before it counts as without reply."""
    wait: float = 1.0
    """Seconds before the second try, doubled before each one after; a server's `Retry-After` goes first."""
    parallel: int = 4
    """Questions at a time."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = at_least(self, 1, "max_tokens", "tries", "parallel") + at_least(self, 0, "wait", "temperature")
        found += [] if self.timeout > 0 else [("timeout", f"must be above 0, got {self.timeout}")]
        return found + ([] if self.url.startswith(("http://", "https://")) else [("url", "must be an http address")])


class Server:
    """A server and the model behind it; see `affectkit.evaluation.clients.Client`."""

    def __init__(self, settings: Settings, key: str | None) -> None:
        self.settings, self._key = settings, key
        self.tries, self.wait, self.parallel = settings.tries, settings.wait, settings.parallel
        self.url = settings.url.rstrip("/") + "/chat/completions"

    @property
    def identity(self) -> Mapping[str, Any]:
        """What a reply depends on."""
        s = self.settings
        wanted = {"temperature": s.temperature, "max_tokens": s.max_tokens, "seed": s.seed}
        return {"url": self.url, "model": s.model, **wanted}

    def ask(self, messages: Sequence[Message]) -> str:
        """The first choice's text. Raises ClientError."""
        import http.client
        import json
        import urllib.error
        import urllib.request

        body = {k: v for k, v in self.identity.items() if k != "url" and v is not None}
        body["messages"] = [_wire(m) for m in messages]
        head = {"Content-Type": "application/json", "User-Agent": "affectkit"}
        if self._key:
            head["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), head, method="POST")
        try:
            with _opener(self.url).open(request, timeout=self.settings.timeout) as response:
                data = response.read(MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise ClientError(Problem(self.url, f"no reply: {reason or type(error).__name__}"), again=True) from None
        return self._text(data)

    def _refused(self, error: Any) -> ClientError:
        """A status that is no success."""
        with error:
            told = error.read(400).decode("utf-8", "replace").strip()
        again = error.code >= 500 or error.code in BUSY
        try:
            after: float | None = min(MOST_WAIT, max(0.0, float(error.headers.get("Retry-After", ""))))
        except ValueError:
            after = None
        fix = "check --api-key-env" if error.code in (401, 403) else "check client.url and client.model" * (not again)
        return ClientError(Problem(self.url, f"the server says {error.code} {error.reason}: {told}", fix), again, after)

    def _text(self, data: bytes) -> str:
        """The text in a response; a refusal is a reply, too."""
        import json

        try:
            if len(data) > MOST_BYTES:
                raise ValueError("it is too long")
            message = json.loads(data)["choices"][0]["message"]
            text = message.get("content") or message.get("refusal") or ""
            if not isinstance(text, str):
                raise TypeError("its content is no text")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            what = f"the response is no chat completion ({type(error).__name__}: {error})"
            raise ClientError(Problem(self.url, what), again=True) from None
        return text


def _opener(url: str) -> Any:
    """Follows no redirect, which would take texts and key to a server that nobody allowed; this machine by no proxy."""
    import urllib.request
    from urllib.parse import urlsplit

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    near = [urllib.request.ProxyHandler({})] if urlsplit(url).hostname in LOOPBACK else []
    return urllib.request.build_opener(Stay, *near)


def _wire(message: Message) -> dict[str, Any]:
    """A message as the protocol has it: text alone, or a list of parts."""
    if not (message.images or message.audio):
        return {"role": message.role, "content": message.text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.text}]
    for path in message.images:
        parts.append({"type": "image_url", "image_url": {"url": f"data:{_type(path)};base64,{_coded(path)}"}})
    for path in message.audio:
        kind = path.rsplit(".", 1)[-1].lower()
        parts.append({"type": "input_audio", "input_audio": {"data": _coded(path), "format": kind}})
    return {"role": message.role, "content": parts}


def _type(path: str) -> str:
    import mimetypes

    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def _coded(path: str) -> str:
    import base64
    from pathlib import Path

    return base64.b64encode(Path(path).read_bytes()).decode()


def build(settings: Settings) -> Client:
    """The server, asked nothing yet. Raises InputError where the user did not allow it."""
    return Server(settings, key_for(settings.url))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("client", "openai_compatible", Settings, build, tiny={"model": "any"})]
