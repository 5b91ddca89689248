"""Asking other models for text: messages, retries, replies kept by content, strict reading, and which servers may be asked.

Imports no torch. What a client piece builds only asks (`Client`); everything that all of them need stands here, once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import urlsplit

from affectkit.errors import InputError, Problem, RunError
from affectkit.files import Json, cache_folder, plain, read_json, track, write_json_atomic
from affectkit.messages import Message as Message
from affectkit.messages import Reply, loaded

T = TypeVar("T")

SILENT = 3
"""After this many questions in a row without any reply the server is taken to be gone."""


class ClientError(RunError):
    """A model did not reply. `again`: asking once more may help (a busy server, a lost line); `after` seconds. `alone`: it is
    about this question, such as one that a provider's filter refuses, and others may be replied to."""

    def __init__(self, problem: Problem, again: bool = False, after: float | None = None, alone: bool = False) -> None:
        super().__init__(problem)
        self.again, self.after, self.alone = again, after, alone


@dataclass
class Spending:
    """What was asked while one thing was being found out."""

    calls: int = 0
    """Requests that were sent."""
    tokens: int = 0
    """What went there and came back, as far as the client knows."""
    cost: float = 0.0
    prompt: str = ""
    """A hash of the first question, words and files; also where the reply was there from before."""
    model: str = ""


_spending: ContextVar[Spending | None] = ContextVar("affectkit_spending", default=None)


@contextlib.contextmanager
def spending() -> Iterator[Spending]:
    """Count what is asked in this thread inside the `with`."""
    made = Spending()
    token = _spending.set(made)
    try:
        yield made
    finally:
        _spending.reset(token)


class Unreadable(ValueError):
    """Why a reply is not what was asked for, in words that the model is told."""


@runtime_checkable
class Client(Protocol):
    """What a client piece builds.

    It may also have `tries` and `wait` (how often a question is sent before it counts as without reply, and seconds
    before the second time, doubled each time after), `parallel` (questions at a time; 1 where `ask` is not safe
    among threads), `per_minute` and `tokens_per_minute` (how much it may be asked), `price` (a function of the tokens that go
    there and come back to what they cost), and `takes_schema` (its `ask` then has a second argument, a JSON schema that the
    reply is to follow, or None).
    """

    @property
    def identity(self) -> Mapping[str, Json]:
        """All that a reply depends on beside the messages (model, temperature …), as JSON can hold it, no secrets:
        replies are kept by it."""
        ...

    def ask(self, messages: Sequence[Message]) -> str:
        """The model's text, as it came. Raises ClientError where there is none."""
        ...


class Pace:
    """When the next question may be sent: so many questions and tokens a minute, and after a pause that a server asks for."""

    def __init__(self, client: object, sleep: Callable[[float], None]) -> None:
        calls, tokens = (getattr(client, name, None) for name in ("per_minute", "tokens_per_minute"))
        self._gap = 60.0 / calls if calls else 0.0
        self._token = 60.0 / tokens if tokens else 0.0
        self._free, self._sleep, self._lock = 0.0, sleep, threading.Lock()

    def wait(self) -> None:
        """Take the next place in the row, and wait for it."""
        with self._lock:
            now = time.monotonic()
            begins = max(now, self._free)
            self._free = begins + self._gap if self._gap or begins > now else 0.0
        if begins > now:
            self._sleep(begins - now)

    def spend(self, tokens: int) -> None:
        """Let later questions wait for what this one took."""
        if self._token and tokens:
            self.pause(self._token * tokens, behind=True)

    def pause(self, seconds: float, behind: bool = False) -> None:
        """Let nobody ask for so long: from now on, or `behind` those who wait already."""
        with self._lock:
            now = time.monotonic()
            self._free = max(now, self._free) + seconds if behind else max(self._free, now + seconds)


@dataclass
class Tally:
    """What asking cost, and what came of it."""

    sent: int = 0
    """Requests that went to the model."""
    kept: int = 0
    """Replies that were there from before."""
    failed: int = 0
    """Requests that brought no reply."""
    reread: int = 0
    """Replies that could not be read and were asked for again."""
    unusable: int = 0
    """Questions without a readable reply after the last try."""
    silent: int = 0
    """Questions without any reply."""


class CachedClient:
    """A client with everything around it: replies kept by content, retries, strict reading, counts."""

    def __init__(self, client: Client, folder: Path | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self.client, self._sleep = client, sleep
        self.folder = (folder or cache_folder()) / "replies"
        self.tally = Tally()
        self._pace = Pace(client, sleep)
        self._lock = threading.Lock()
        self._silent_now = 0

    @property
    def parallel(self) -> int:
        """Questions at a time."""
        return max(1, int(getattr(self.client, "parallel", 1)))

    def reply(self, messages: Sequence[Message], schema: Mapping[str, Json] | None = None) -> str:
        """The reply to a conversation: the one that is kept, or a new one. With `schema` it is to be JSON of that form; a client
        that offers no such thing is asked without. Raises ClientError where there is none."""
        schema = schema if getattr(self.client, "takes_schema", False) else None
        question = self._question(messages, schema)
        name = _hash(json.dumps(question, sort_keys=True, ensure_ascii=False).encode())
        spent = _spending.get()
        if spent is not None and not spent.prompt:
            spent.prompt = _hash(json.dumps(question["messages"], sort_keys=True, ensure_ascii=False).encode())
            spent.model = str(self.client.identity.get("model", ""))
        path = self.folder / name[:2] / f"{name}.json"
        kept = _stored_reply(path)
        if kept is not None:
            self._count("kept")
            return kept
        text = self._ask(messages, schema)
        self._silent_now = 0
        write_json_atomic(path, {**question, "reply": text})
        return text

    def read(
        self,
        messages: Sequence[Message],
        reader: Callable[[str], T],
        tries: int = 3,
        again: Callable[[Unreadable], str] = str,
        must: bool = False,
        schema: Mapping[str, Json] | None = None,
    ) -> T | None:
        """What `reader` makes of the reply, or None where none of `tries` replies can be read, or none came.

        `reader` raises Unreadable; the model then sees its own reply and, in the words of `again`, what was wrong with
        it. Replies that cannot be read are kept too: the same question ends in the same way, whoever asks it again. With
        `must` a question without any reply raises ClientError instead.
        """
        asked = list(messages)
        for number in range(tries):
            try:
                text = self.reply(asked, schema)
            except ClientError as error:
                if must:
                    raise
                self._lost(error)
                return None
            self._silent_now = 0
            try:
                return reader(text)
            except Unreadable as why:
                if number < tries - 1:
                    self._count("reread")
                asked = [*asked, Message(text, "assistant"), Message(again(why))]
        self._count("unusable")
        return None

    def read_all(self, jobs: Sequence[Callable[[], T]], what: str) -> list[T]:
        """The results of functions that ask, in order; several run at a time where the client can."""
        if self.parallel == 1 or len(jobs) < 2:
            return [job() for job in track(jobs, what)]
        with ThreadPoolExecutor(min(self.parallel, len(jobs))) as pool:
            waiting = [pool.submit(job) for job in jobs]
            try:
                return [one.result() for one in track(waiting, what)]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def gone(self, error: ClientError) -> bool:
        """Whether asking on is no use after a question without reply: nothing can help, or none came for a while."""
        try:
            self._lost(error)
        except ClientError:
            return True
        return False

    def _ask(self, messages: Sequence[Message], schema: Mapping[str, Json] | None) -> str:
        tries = max(1, int(getattr(self.client, "tries", 1)))
        wait = float(getattr(self.client, "wait", 1.0))
        more = (schema,) if getattr(self.client, "takes_schema", False) else ()
        for number in range(tries):
            self._pace.wait()
            self._count("sent")
            spent = _spending.get() or Spending()
            try:
                spent.calls += 1
                text: str = self.client.ask(messages, *more)
            except ClientError as error:
                self._count("failed")
                if not error.again or number == tries - 1:
                    raise
                if error.after is None:
                    self._sleep(wait * 2**number)
                else:  # the server speaks to all who ask it
                    self._pace.pause(error.after)
                continue
            if isinstance(text, Reply):
                spent.cost += text.cost
                spent.tokens += text.tokens_in + text.tokens_out
                self._pace.spend(text.tokens_in + text.tokens_out)
            return text if text.isascii() else _mended(text)
        raise AssertionError

    def _lost(self, error: ClientError) -> None:
        """Count a question without reply; raise where asking on is no use."""
        self._count("silent")
        self._silent_now += 1
        if not (error.again or error.alone) or self._silent_now >= SILENT:
            raise error

    def _count(self, name: str) -> None:
        with self._lock:
            setattr(self.tally, name, getattr(self.tally, name) + 1)

    def _question(self, messages: Sequence[Message], schema: Mapping[str, Json] | None) -> dict[str, object]:
        asked = {"client": plain(self.client.identity), "messages": [_by_content(m) for m in messages]}
        return {**asked, "schema": plain(schema)} if schema else asked


def _by_content(message: Message) -> dict[str, object]:
    """A message with its files by what is in them."""
    files = {kind: [_hash(loaded(file).data) for file in getattr(message, kind)] for kind in ("images", "audio")}
    return {name: value for name, value in {"text": message.text, "role": message.role, **files}.items() if value}


def _mended(text: str) -> str:
    """A text without halves of letters, which a model may be cut off in and no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=20).hexdigest()


def _stored_reply(path: Path) -> str | None:
    """A reply that is there and whole."""
    try:
        text = read_json(path)["reply"]
    except (InputError, KeyError, TypeError):
        return None
    return text if isinstance(text, str) else None


def strict_json(text: str) -> dict[str, Any]:
    """The JSON object that a reply consists of; a code fence around it is forgiven, words beside it are not.

    Raises Unreadable.
    """
    inner = text.strip()
    if inner.startswith("```") and inner.endswith("```") and "\n" in inner:
        inner = inner.split("\n", 1)[1].removesuffix("```").strip()
    try:
        value = json.loads(inner, object_pairs_hook=_once, parse_constant=_no_constant)
    except Unreadable:
        raise
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Unreadable("it is not one JSON object and nothing else")
    return value


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable("a key of the JSON object occurs twice")
    return found


def _no_constant(word: str) -> Json:
    raise Unreadable(f"{word} is no JSON value")


ANYWHERE = "*"
"""As a server that may be asked: any. For tests of pieces, which ask nobody."""

EXAMPLE = "for example http://127.0.0.1:8000/v1"

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Access:
    """Which servers may be asked, and the key that goes to them. It comes from the user, never from a recipe."""

    servers: tuple[str, ...] = ()
    key: str | None = field(default=None, repr=False)


_NOWHERE = Access()

_access: ContextVar[Access] = ContextVar("affectkit_access", default=_NOWHERE)


@contextlib.contextmanager
def allowing(*servers: str, key: str | None = None) -> Iterator[None]:
    """Let clients that are built inside the `with` ask these servers (`https://host[:port]…`), with this key."""
    token = _access.set(Access(tuple(servers), key))
    try:
        yield
    finally:
        _access.reset(token)


def access() -> Access:
    """What is allowed here."""
    return _access.get()


def key_for(url: str) -> str | None:
    """The key for a server, or None where the user gave none; client pieces call it when they are built.

    Raises InputError where the user did not allow this server: a recipe may come from a stranger, who must not be able
    to send texts or keys anywhere. A key goes only through https, or to this machine.
    """
    access, parts = _access.get(), urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(Problem("client.url", f"{url!r} is no http address", EXAMPLE))
    here = origin(url)
    if ANYWHERE not in access.servers and here not in map(origin, access.servers):
        what = f"would ask the server {here}, which you have not allowed"
        raise InputError(Problem("client.url", what, f"add --server {here} if you trust it with these texts"))
    if access.key and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        what = f"the key would go to {here} for all to read"
        raise InputError(Problem("client.url", what, "use an https address, or leave the key out"))
    if access.key and not (access.key.isascii() and access.key.isprintable()):
        # the error of whoever sends it would show it
        raise InputError(Problem("--api-key-env", "the key holds signs that no key has", "look for a line break in it"))
    return access.key


def origin(url: str) -> str:
    """Scheme, host and port: `https://host:443`."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        raise InputError(Problem("client.url", f"{url!r} is no http address", EXAMPLE)) from None
    return f"{parts.scheme}://{parts.hostname}:{port}"


def read_key(variable: str | None) -> str | None:
    """The key in an environment variable that the user named on the command line."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        what = f"the environment variable {variable!r} is not set, or empty"
        raise InputError(Problem("--api-key-env", what, f"put the key in it: export {variable}=…"))
    return key


@contextlib.contextmanager
def access_for(servers: Sequence[str], variable: str | None, overrides: Sequence[str] = ()) -> Iterator[None]:
    """`allowing` what a command line says: servers, a key's variable, and servers in its own `KEY=https://…`."""
    named = [o.partition("=")[2].strip("'\" ") for o in overrides]
    named = [v for v in named if v.startswith(("http://", "https://"))]
    with allowing(*servers, *named, key=read_key(variable)):
        yield
