"""A webhook on 127.0.0.1, in a thread: it keeps what it is told and behaves as badly as a test wants."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

# As long as a real one, and in its path, where Slack has it.
TOKEN = "T0AAAA-B0BBBB-s3cr3tW3bh00k"


@dataclass
class Webhook:
    """What it was told, and what it answers.

    Attributes:
        texts: In the order of their arrival, those that it refused too.
        status: Of its answers.
        silent: While it is set, it answers nothing.
    """

    port: int
    texts: list[str] = field(default_factory=list)
    status: int = 200
    silent: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/{TOKEN}"


@contextmanager
def serving() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == f"/services/{TOKEN}"
            assert self.headers["Content-Type"] == "application/json"
            assert set(content) == {"text"}
            hook.texts.append(content["text"])
            if hook.silent.is_set():
                hook.closing.wait()
                return
            self.send_response(hook.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Webhook(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hook
    finally:
        hook.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with serving() as hook:
        monkeypatch.setenv("WEBCAM_ML_NOTIFY_URL", hook.url)
        yield hook
