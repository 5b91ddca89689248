"""The hub of published models where there is no network: told at once. Imports no torch."""

from __future__ import annotations

import functools
import socket
import time
from typing import Any
from urllib.request import getproxies

PAUSE = 1.0
"""Seconds before a host that has no address is looked up a second time: a line may stumble once."""
HOLDS = 60.0
"""Seconds for which a host without address counts as one: a notebook may find its network again."""


def fail_fast() -> None:
    """Let requests to the hub fail at once where its host has no address, in place of six tries in 24 seconds.

    Nothing is looked up before a request is made, and where the host has an address nothing changes. Files that are in
    the hub's own cache are used as they are without a network. Behind a proxy, which looks hosts up itself, the hub's
    tries stand.
    """
    from huggingface_hub import get_session

    session: Any = get_session()
    hooks = session.event_hooks
    if _meet not in hooks["request"]:
        session.event_hooks = {**hooks, "request": [_meet, *hooks["request"]]}


def _meet(request: Any) -> None:
    """Before a request. Raises OfflineModeIsEnabled, after which the hub's client does not try again."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    host = request.url.host
    if not getproxies() and nowhere(host, int(time.monotonic() // HOLDS)):
        raise OfflineModeIsEnabled(f"cannot reach {host}: it has no address, is there a network?")


@functools.lru_cache(maxsize=8)
def nowhere(host: str, now: int) -> bool:
    """Whether a host has no address, asked twice; `now` is any number, another one asks anew."""
    for wait in (PAUSE, 0.0):
        begun = time.monotonic()
        try:
            socket.getaddrinfo(host, None)
        except socket.gaierror:
            if time.monotonic() - begun > PAUSE:  # that was no stumble: it has been tried for long
                break
            time.sleep(wait)
        else:
            return False
    return True
