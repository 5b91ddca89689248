"""A chat-completions server on loopback that answers, and fails on purpose, as a test tells it."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(text, **more):
    """A response body as the protocol has it."""
    return {"choices": [{"message": {"role": "assistant", "content": text, **more}}]}


class Server:
    """`url` to ask at; `seen` holds (path, headers, body) of each request. `reply` maps a body to what is sent.

    A reply is a text (a completion), a dict (a body), bytes (sent as they are), or a status number, alone or with
    headers; a float sleeps so many seconds before an empty completion.
    """

    def __init__(self, reply):
        self.reply, self.seen, self._lock = reply, [], threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.handle(self)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def handle(self, request):
        data = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        body = json.loads(data) if data else {}
        with self._lock:
            self.seen.append((request.path, dict(request.headers), body))
            answer = self.reply(body)
        headers = {}
        if isinstance(answer, tuple):
            answer, headers = answer
        if isinstance(answer, float):
            time.sleep(answer)
            answer = ""
        status = answer if isinstance(answer, int) else 200
        if isinstance(answer, str):
            answer = completion(answer)
        out = answer if isinstance(answer, bytes) else json.dumps(answer if isinstance(answer, dict) else {}).encode()
        with contextlib.suppress(OSError):
            request.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(out))}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(out)


@contextlib.contextmanager
def serving(reply):
    """A running server; `reply` is a function of the request's body, or a list of replies, one a request."""
    if isinstance(reply, list):
        replies = iter(reply)
        reply = lambda body: next(replies)  # noqa: E731
    server = Server(reply)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
