"""The page on which people review the records of an annotation, served on this machine alone. Imports no torch.

Whoever asks needs the token of the printed address, which becomes a cookie. Records, clips and pictures go by the place of their
record: no address holds a path, and the page learns neither ids nor file names, which may say what the data set says.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import re
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affectkit.annotate.review_board import KINDS, Review, ReviewSettings, checked_name
from affectkit.annotate.reviews import AGREEMENT_HEAD, agreement_row, digits, export
from affectkit.errors import InputError, MediaError, Problem, WriteError
from affectkit.files import cache_folder, written_whole
from affectkit.templates import environment

TEMPLATES = Path(__file__).parent / "templates"
LOOPBACK = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""By which names a browser may call this machine. Any other is a foreign name that was made to point here (DNS rebinding). The
port is not looked at: a tunnel has one of its own."""
LONGEST = 1_000_000
"""Bytes of a verdict."""
REASONS = (
    "wrong emotion",
    "text does not fit the clip",
    "clip is broken or empty",
    "unclear who is meant",
    "nothing to judge",
)
"""Why a record is rejected, by digit; other words are typed."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer: the page loads nothing from elsewhere, nobody shows it in a frame, nothing is taken for what it is not."""


class Pages:
    """The pages of a review and what they ask."""

    def __init__(self, review: Review, scope: str) -> None:
        self.review, self.scope = review, scope
        self.templates = environment(TEMPLATES, html=True)

    def app(self) -> Starlette:
        """All addresses there are."""
        routes = [
            Route("/", self.home),
            Route("/api/overview", self.overview),
            Route("/api/record/{n:int}", self.record),
            Route("/api/verdict", self.verdict, methods=["POST"]),
            Route("/media/{n:int}/{kind}", self.media),
            Route("/strip/{n:int}", self.strip),
            Route("/agreement", self.agreement),
            *(Route(f"/{name}", partial(_asset, TEMPLATES / name)) for name in ("review.css", "review.js")),
            Route("/favicon.ico", lambda request: Response(status_code=204)),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _problem})

    def home(self, request: Request) -> Response:
        """The page; all else comes to it by its script."""
        review = self.review
        values = {
            "reasons": REASONS,
            "reviewer": review.settings.reviewer,
            "run": review.folder.name,
            "scope": self.scope,
        }
        return self._html("review.html", values)

    def overview(self, request: Request) -> Response:
        """Which records there are, and what this person said of them."""
        return JSONResponse(self.review.overview(self._person(request)))

    def record(self, request: Request) -> Response:
        """One record."""
        return JSONResponse(self.review.shown(self._place(request), self._person(request)))

    async def verdict(self, request: Request) -> Response:
        """Put a verdict on disk; the answer comes when it is there."""
        try:
            said = json.loads(await request.body())
            if not isinstance(said, dict):
                raise ValueError("a verdict is a JSON object")
            self._allowed(said.get("reviewer"))
            return JSONResponse({"saved": True, "new": await run_in_threadpool(self.review.take, said)})
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, str(error)) from None
        except WriteError as error:
            raise HTTPException(507, str(error)) from None

    def media(self, request: Request) -> Response:
        """A file that a record names, or the part of it that is asked for."""
        path = self.review.media(self._place(request), request.path_params["kind"])
        if path is None:
            raise HTTPException(404, "the file is not there")
        return FileResponse(path, media_type=media_type(path))

    def strip(self, request: Request) -> Response:
        """Frames of a clip that a browser cannot play."""
        try:
            return Response(self.review.strip(self._place(request)), media_type="image/jpeg")
        except MediaError:
            raise HTTPException(404, "the clip cannot be read") from None

    def agreement(self, request: Request) -> Response:
        """How far people agree, for one who has judged all."""
        left = self.review.left(self._person(request))
        figures = [] if left else self.review.agreements()
        values = {
            "run": self.review.folder.name,
            "left": left,
            "head": AGREEMENT_HEAD,
            "rows": [agreement_row(one) for one in figures],
            "pairs": [(one.about, *who, digits(kappa), n) for one in figures for who, (kappa, n) in one.cohen.items()],
        }
        return self._html("agreement.html", values, 403 if left else 200)

    def _html(self, name: str, values: Mapping[str, object], code: int = 200) -> Response:
        return HTMLResponse(self.templates.get_template(name).render(values), code)

    def _person(self, request: Request) -> str:
        try:
            return self._allowed(request.query_params.get("reviewer"))
        except ValueError as error:
            raise HTTPException(400, str(error)) from None

    def _allowed(self, name: object) -> str:
        only = self.review.settings.reviewer
        if checked_name(name) != only and only:
            raise HTTPException(409, f"only {only} reviews here")
        return checked_name(name)

    def _place(self, request: Request) -> int:
        n: int = request.path_params["n"]
        if n not in self.review.chosen_places:
            raise HTTPException(404, "there is no such record")
        return n


def _asset(path: Path, request: Request) -> Response:
    return FileResponse(path)


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


def media_type(path: Path) -> str:
    """The type of a medium by its ending; never one that a browser runs."""
    guess = mimetypes.guess_type(path.name)[0] or ""
    return guess if guess.split("/")[0] in KINDS and "svg" not in guess else "application/octet-stream"


class Guard:
    """Lets through what comes from this page in this person's browser, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        self.app, self.token, self.cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        request = Request(scope)
        answer = self._refusal(request)
        await (answer or self.app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        """The answer to what must not come in, and the one that makes the token a cookie; None for all else."""
        host = request.headers.get("host", "")
        if re.sub(r":\d+$", "", host).lower() not in HOSTS:
            return PlainTextResponse("This server answers to the name of its own machine only.", 403)
        given = request.query_params.get("token")
        if request.url.path == "/" and given is not None and self._right(given):
            response = RedirectResponse("/", 303)
            response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
            return response
        if given is not None or not self._right(request.cookies.get(self.cookie, "")):
            return PlainTextResponse("Open the address that the terminal shows: it carries the key to this page.", 403)
        if request.method in ("GET", "HEAD"):
            return None
        if request.headers.get("origin") != f"http://{host}":
            return PlainTextResponse("This comes from another page.", 403)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return PlainTextResponse("JSON is wanted.", 415)
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LONGEST:
            return PlainTextResponse("Too long, or of no known length.", 413)
        return None

    def _right(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(), self.token.encode())


@dataclass(frozen=True)
class Door:
    """Where a run was served last and with which token. Kept in the user's cache, which nobody else reads: a page that is open
    while its server dies goes on with the next one."""

    token: str
    port: int = 0

    @staticmethod
    def file(folder: Path) -> Path:
        """Where that of a run is kept."""
        return cache_folder() / "review" / f"{_name_of(folder)}.json"

    @staticmethod
    def of(folder: Path) -> Door:
        """That of last time, or a new one."""
        with suppress(OSError, ValueError, TypeError):
            door = Door(**json.loads(Door.file(folder).read_text()))
            if isinstance(door.port, int) and len(door.token) >= 32:
                return door
        return Door(secrets.token_urlsafe(32))

    def keep(self, folder: Path) -> None:
        """Remember it, readable for its owner only. Raises WriteError."""
        data = json.dumps(asdict(self)).encode()
        with written_whole(Door.file(folder), len(data)) as half:
            handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "wb") as file:
                file.write(data)


def _name_of(folder: Path) -> str:
    return hashlib.blake2b(os.fsencode(folder.resolve()), digest_size=8).hexdigest()


def listening(port: int, last: int) -> socket.socket:
    """A socket of this machine alone: at the port, or where it is 0 at that of last time, or at one that is free. Raises
    InputError for a port that is taken."""
    for wanted in (port,) if port else (last, 0):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if sys.platform != "win32":  # there it would let two servers share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((LOOPBACK, wanted))
            made.listen(128)
            return made
        except OSError as error:
            made.close()
            why = error.strerror or str(error)
    raise InputError(Problem(f"--port {port}", f"cannot be listened at: {why}", "name another, or leave it out"))


def serve(folder: Path, settings: ReviewSettings) -> None:
    """Serve the records of a run until Ctrl+C, then write what came of it (`export`)."""
    review = Review(folder, settings)
    door, scope = Door.of(folder), f"affectkit_{_name_of(folder)}"
    with listening(settings.port, door.port) as opened:
        port = opened.getsockname()[1]
        Door(door.token, port).keep(folder)
        address = f"http://{LOOPBACK}:{port}/?token={door.token}"
        missing = review.missing()
        print(f"{len(review.chosen)} of {len(review.records)} records of {folder}")
        if missing:
            print(f"the files of {missing} are not there: start it in the folder in which they were annotated")
        print(f"open {address}\nCtrl+C ends it; what the page shows as saved is on disk", flush=True)
        if settings.browser and _has_screen():
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        config = uvicorn.Config(
            Guard(Pages(review, scope).app(), door.token, scope),
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[opened])
    print()
    export(folder)


def _has_screen() -> bool:
    """Whether a browser has a place to be shown; in a terminal alone one would take it over."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
