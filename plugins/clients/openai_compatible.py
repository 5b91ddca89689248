"""Any server that speaks the chat-completions protocol: vLLM, llama.cpp, Ollama, LM Studio, OpenAI and others."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from affectkit_plugins._values import at_least

from affectkit.errors import Problem
from affectkit.evaluation.clients import LOOPBACK, Client, ClientError, key_for
from affectkit.messages import Attachment, Message, Reply, loaded
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


ALONE = (400, 413, 422, 451)
"""Statuses that may be about one question alone: a filter, a picture that is too large."""
MOST_SAID, SHOWN = 8192, 400
"""Bytes of an error that are read, and letters that are told."""


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
    per_minute: float | None = None
    """Most questions a minute; null sends them as they come."""
    tokens_per_minute: float | None = None
    """Most tokens a minute, there and back, as the server counts them; null is no bound."""
    price_in: float = 0.0
    """What a million tokens cost that go there: for `--max-cost` and the costs in records."""
    price_out: float = 0.0
    """What a million tokens cost that come back."""
    structured: bool = False
    """Whether replies that are to be JSON are asked for by their schema (`response_format`), where the server offers it: vLLM,
    llama.cpp, Ollama and OpenAI do."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = at_least(self, 1, "max_tokens", "tries", "parallel")
        found += at_least(self, 0, "wait", "temperature", "price_in", "price_out")
        found += [(n, f"must be above 0, got {value}") for n in ("timeout", "per_minute", "tokens_per_minute")
                  if (value := getattr(self, n)) is not None and value <= 0]  # fmt: skip
        if not self.url.startswith(("http://", "https://")):
            return [*found, ("url", "must be an http address")]
        parts = urlsplit(self.url)
        if parts.username or parts.password or parts.query:  # they would lie in every cache and record
            found.append(("url", "holds a name, a password or a query: a key comes from --api-key-env alone"))
        return found


class Server:
    """A server and the model behind it; see `affectkit.evaluation.clients.Client`."""

    def __init__(self, settings: Settings, key: str | None) -> None:
        self.settings, self._key = settings, key
        self.tries, self.wait, self.parallel = settings.tries, settings.wait, settings.parallel
        self.per_minute, self.tokens_per_minute = settings.per_minute, settings.tokens_per_minute
        self.takes_schema = settings.structured
        self.url = settings.url.rstrip("/") + "/chat/completions"
        self._http: httpx.Client | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Server], tuple[Settings, str | None]]:
        return Server, (self.settings, self._key)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The settings that a reply depends on."""
        s = self.settings
        wanted = {"temperature": s.temperature, "max_tokens": s.max_tokens, "seed": s.seed}
        return {"url": self.url, "model": s.model, **wanted}

    def price(self, tokens_in: int, tokens_out: int) -> float:
        """What so many tokens cost."""
        return (tokens_in * self.settings.price_in + tokens_out * self.settings.price_out) / 1e6

    def ask(self, messages: Sequence[Message], schema: Mapping[str, Any] | None = None) -> str:
        """The first choice's text, with the tokens that the server counted. Raises ClientError."""
        import json

        import httpx

        body = {k: v for k, v in self.identity.items() if k != "url" and v is not None}
        body["messages"] = [_wire(m) for m in messages]
        if schema:
            form = {"name": "reply", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        head = {"Content-Type": "application/json", "User-Agent": "affectkit", "Accept-Encoding": "identity"}
        if self._key:
            head["Authorization"] = f"Bearer {self._key}"
        try:
            # no redirect is followed: it would take texts and key to a server that nobody allowed
            with self._lines().stream("POST", self.url, content=json.dumps(body), headers=head) as response:
                data = _first(response.iter_bytes(), MOST_BYTES + 1 if response.is_success else MOST_SAID)
        except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError) as error:  # the last two: a wrong proxy
            again = isinstance(error, httpx.HTTPError)
            raise ClientError(Problem(self.url, f"no reply: {error or type(error).__name__}"), again) from None
        if not response.is_success:
            raise self._refused(response, data)
        return self._text(data, sum(len(message.text) for message in messages))

    def _lines(self) -> httpx.Client:
        """Open lines to the server, which questions share."""
        import httpx

        with self._lock:
            if self._http is None:
                near = urlsplit(self.url).hostname in LOOPBACK  # this machine is asked by no proxy
                count = self.parallel
                limits = httpx.Limits(max_connections=count, max_keepalive_connections=count, keepalive_expiry=4.0)
                self._http = httpx.Client(
                    timeout=self.settings.timeout, trust_env=not near, verify=_trusted(), limits=limits
                )
            return self._http

    def _refused(self, response: httpx.Response, data: bytes) -> ClientError:
        """A status that is no success; a server that repeats the key does not get it into a log."""
        told, status = data.decode("utf-8", "replace").strip(), response.status_code
        told = self._clean(told)[:SHOWN]
        again = status >= 500 or status in BUSY
        try:
            after: float | None = min(MOST_WAIT, max(0.0, float(response.headers.get("Retry-After", ""))))
        except ValueError:
            after = None
        fix = "check --api-key-env" if status in (401, 403) else "check client.url and client.model" * (not again)
        what = f"the server says {status} {self._clean(response.reason_phrase)}: {told}"
        return ClientError(Problem(self.url, what, fix), again, after, status in ALONE)

    def _clean(self, text: str) -> str:
        """A server's words without the key, which some repeat."""
        return text.replace(self._key, "(the key)") if self._key else text

    def _text(self, data: bytes, asked: int) -> str:
        """The text in a response to a question of so many letters; a refusal is a reply, too."""
        import json

        try:
            if len(data) > MOST_BYTES:
                raise ValueError("it is too long")
            found = json.loads(data)
            message = found["choices"][0]["message"]
            text = message.get("content") or message.get("refusal") or ""
            if not isinstance(text, str):
                raise TypeError("its content is no text")
            used = found.get("usage") or {}
            there, back = (max(0, int(used.get(f"{name}_tokens") or 0)) for name in ("prompt", "completion"))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            what = f"the response is no chat completion ({type(error).__name__}: {error})"
            raise ClientError(Problem(self.url, what), again=True) from None
        text = self._clean(text)
        if not found.get("usage"):  # about four letters a token, or a bound on cost would be none
            there, back = asked // 4, len(text) // 4
        return Reply(text, there, back, self.price(there, back))


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
    for file in map(loaded, message.images):
        parts.append({"type": "image_url", "image_url": {"url": f"data:{file.type};base64,{_coded(file)}"}})
    for file in map(loaded, message.audio):
        kind = file.type.rsplit("/", 1)[-1].removeprefix("x-")
        kind = {"mpeg": "mp3", "octet-stream": "wav"}.get(kind, kind)
        parts.append({"type": "input_audio", "input_audio": {"data": _coded(file), "format": kind}})
    return {"role": message.role, "content": parts}


def _coded(file: Attachment) -> str:
    import base64

    return base64.b64encode(file.data).decode()


def build(settings: Settings) -> Client:
    """The server, asked nothing yet. Raises InputError where the user did not allow it."""
    return Server(settings, key_for(settings.url))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("client", "openai_compatible", Settings, build, tiny={"model": "any"})]
