"""Any server that speaks the chat-completions protocol: vLLM, llama.cpp, Ollama, LM Studio, OpenAI and others."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from affectkit_plugins._values import at_least

from affectkit.errors import Problem
from affectkit.evaluation.clients import LOOPBACK, Client, ClientError, Message, key_for
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import ssl

    import httpx

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
        """The settings that a reply depends on."""
        s = self.settings
        wanted = {"temperature": s.temperature, "max_tokens": s.max_tokens, "seed": s.seed}
        return {"url": self.url, "model": s.model, **wanted}

    def ask(self, messages: Sequence[Message]) -> str:
        """The first choice's text. Raises ClientError."""
        import json

        import httpx

        body = {k: v for k, v in self.identity.items() if k != "url" and v is not None}
        body["messages"] = [_wire(m) for m in messages]
        head = {"Content-Type": "application/json", "User-Agent": "affectkit", "Accept-Encoding": "identity"}
        if self._key:
            head["Authorization"] = f"Bearer {self._key}"
        near = urlsplit(self.url).hostname in LOOPBACK  # this machine is asked by no proxy
        how: dict[str, Any] = {"timeout": self.settings.timeout, "trust_env": not near, "verify": _trusted()}
        try:
            # no redirect is followed: it would take texts and key to a server that nobody allowed
            with httpx.stream("POST", self.url, content=json.dumps(body), headers=head, **how) as response:
                data = _first(response.iter_bytes(), MOST_BYTES + 1 if response.is_success else 400)
        except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError) as error:  # the last two: a wrong proxy
            again = isinstance(error, httpx.HTTPError)
            raise ClientError(Problem(self.url, f"no reply: {error or type(error).__name__}"), again) from None
        if not response.is_success:
            raise self._refused(response, data)
        return self._text(data)

    def _refused(self, response: httpx.Response, data: bytes) -> ClientError:
        """A status that is no success."""
        told, status = data.decode("utf-8", "replace").strip(), response.status_code
        again = status >= 500 or status in BUSY
        try:
            after: float | None = min(MOST_WAIT, max(0.0, float(response.headers.get("Retry-After", ""))))
        except ValueError:
            after = None
        fix = "check --api-key-env" if status in (401, 403) else "check client.url and client.model" * (not again)
        what = f"the server says {status} {response.reason_phrase}: {told}"
        return ClientError(Problem(self.url, what, fix), again, after)

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
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            what = f"the response is no chat completion ({type(error).__name__}: {error})"
            raise ClientError(Problem(self.url, what), again=True) from None
        return text


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The authorities that this machine trusts, which a company's own may be among; httpx alone brings a list of its own."""
    import ssl

    return ssl.create_default_context()


def _first(chunks: Iterable[bytes], most: int) -> bytes:
    """The first bytes of a response, at most so many."""
    found = bytearray()
    for chunk in chunks:
        found += chunk
        if len(found) >= most:
            break
    return bytes(found[:most])


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
