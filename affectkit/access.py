"""Which servers may be asked, and with which key: the user says so, never a recipe. Imports no torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from affectkit.errors import InputError, Problem

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
def granted(servers: Sequence[str], variable: str | None, overrides: Sequence[str] = ()) -> Iterator[None]:
    """`allowing` what a command line says: servers, a key's variable, and servers in its own `KEY=https://…`."""
    named = [o.partition("=")[2].strip("'\" ") for o in overrides]
    named = [v for v in named if v.startswith(("http://", "https://"))]
    with allowing(*servers, *named, key=read_key(variable)):
        yield
