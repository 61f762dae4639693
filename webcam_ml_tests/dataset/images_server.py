"""A web server on 127.0.0.1 that behaves as badly as a test wants, and counts what it was asked."""

import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
from PIL import Image

Answer = Callable[[BaseHTTPRequestHandler, int], None]
"""Writes the answer to a request; gets how often the path was asked before."""


class ImageServer(ThreadingHTTPServer):
    """Serves `answers`, a mapping from path to answer; 404 for everything else."""

    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Answer] = {}
        self.requests: Counter[str] = Counter()
        self.asked: dict[str, threading.Event] = {}
        self.closing = threading.Event()
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that hangs up is what half of the tests are about.
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)

    def url(self, path: str, *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.server_port}{path}"

    def add(self, path: str, answer: Answer) -> str:
        self.answers[path] = answer
        self.asked[path] = threading.Event()
        return self.url(path)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ImageServer

    def do_GET(self) -> None:
        with self.server.lock:
            before = self.server.requests[self.path]
            self.server.requests[self.path] += 1
        answer = self.server.answers.get(self.path, status(404))
        if self.path in self.server.asked:
            self.server.asked[self.path].set()
        try:
            answer(self, before)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running_server() -> Iterator[ImageServer]:
    with ImageServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def body(content: bytes, *, kind: str = "image/jpeg", code: int = 200, **headers: str) -> Answer:
    """Answer with a whole body and, unless `headers` say otherwise, its true length."""

    def answer(request: BaseHTTPRequestHandler, _: int) -> None:
        request.send_response(code)
        fields = {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in (fields | _field_names(headers)).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def status(code: int, **headers: str) -> Answer:
    return body(b"", kind="text/plain", code=code, **headers)


def redirect(target: str, code: int = 302) -> Answer:
    return status(code, location=target)


def in_turn(*answers: Answer) -> Answer:
    """The first request gets the first answer, and so on; the last answer stays."""

    def answer(request: BaseHTTPRequestHandler, before: int) -> None:
        answers[min(before, len(answers) - 1)](request, before)

    return answer


def cut_short(content: bytes, announced: int) -> Answer:
    """Announce more bytes than come before the connection ends."""

    def answer(request: BaseHTTPRequestHandler, before: int) -> None:
        body(content, content_length=str(announced))(request, before)
        request.close_connection = True

    return answer


def silence(request: BaseHTTPRequestHandler, _: int) -> None:
    """Never answer."""
    _server_of(request).closing.wait()
    request.close_connection = True


def drip_body(content: bytes) -> Answer:
    """Send headers at once, and then a byte every 50 ms: no read is ever silent for long."""

    def answer(request: BaseHTTPRequestHandler, _: int) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        _drip(request, content)

    return answer


def drip_headers(request: BaseHTTPRequestHandler, _: int) -> None:
    """Send a header that does not end, a byte every 50 ms."""
    _drip(request, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000)


def endless(request: BaseHTTPRequestHandler, _: int) -> None:
    """Send a body that never ends and announces no length."""
    request.send_response(200)
    request.end_headers()
    while not _server_of(request).closing.is_set():
        request.wfile.write(bytes(65536))


def jpeg(seed: int, *, width: int = 32, height: int = 24) -> bytes:
    """A small JPEG; another seed gives another picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def _drip(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.close_connection = True
    for value in content:
        request.wfile.write(bytes([value]))
        if _server_of(request).closing.wait(0.05):
            return


def _field_names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}


def _server_of(request: BaseHTTPRequestHandler) -> ImageServer:
    assert isinstance(request.server, ImageServer)
    return request.server
