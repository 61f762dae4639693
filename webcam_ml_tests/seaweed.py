"""SeaweedFS, a real S3 server, for as long as tests need it; and a proxy that lets it fail."""

import contextlib
import http.client
import itertools
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

BUCKET = "webcams"
DEADLINE = 60.0

# What the rights are of whom; the password is the name.
IDENTITIES = {
    "owner": ["Admin", "Read", "Write", "List"],
    "reader": [f"Read:{BUCKET}", f"List:{BUCKET}"],
    "reader_everywhere": ["Read", "List"],
    "getter": [f"Read:{BUCKET}"],
    "lister": [f"List:{BUCKET}"],
    "putter": [f"Write:{BUCKET}"],
}
ANYBODY = {"name": "anonymous", "actions": [f"{what}:open" for what in ("Read", "Write", "List")]}


@dataclass(frozen=True)
class S3:
    """A running server."""

    endpoint: str

    def settings(self, who: str = "owner") -> dict[str, str]:
        """The variables that a client needs."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": who,
            "AWS_SECRET_ACCESS_KEY": who,
            "AWS_REGION": "us-east-1",
        }


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[S3]:
    """Start a server that keeps its files in a folder."""
    (folder / "data").mkdir(parents=True)
    config = folder / "s3.json"
    identities: list[dict[str, object]] = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": name}],
            "actions": actions,
        }
        for name, actions in IDENTITIES.items()
    ]
    config.write_text(json.dumps({"identities": [*identities, ANYBODY]}))
    ports = dict(zip(("master", "volume", "filer", "s3"), _free_ports(4), strict=True))
    command = [
        "weed", "server", "-filer", "-s3", f"-dir={folder / 'data'}", f"-s3.config={config}",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64", "-volume.max=50",
        *(f"-{what}.port={port}" for what, port in ports.items()),
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        server = S3(f"http://127.0.0.1:{ports['s3']}")
        _make_buckets(server, process, folder / "log")
        yield server
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with running_s3(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


def _make_buckets(server: S3, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server can write: it makes a bucket where the owner first does."""
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    began = time.monotonic()
    for bucket in (BUCKET, "open"):
        while True:
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() - began < DEADLINE, log.read_text()[-2000:]
            try:
                urllib.request.urlopen(server.endpoint, timeout=1).close()
            except urllib.error.HTTPError:
                pass  # it answers
            except OSError:
                time.sleep(0.1)
                continue
            store = S3Store(
                bucket,
                endpoint=server.endpoint,
                access_key_id="owner",
                secret_access_key="owner",
                client_options={"allow_http": True},
                retry_config={"max_retries": 0},
            )
            try:
                store.put("ready", b"")
                store.delete("ready")
            except BaseError:
                time.sleep(0.1)
                continue
            break


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with the one 10,000 above, which the server takes too."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            one = held.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1] - 10_000
            with contextlib.suppress(OSError):
                other = held.enter_context(socket.socket())
                other.bind(("127.0.0.1", port))
                found.append(port)
    return found


@dataclass(frozen=True)
class Answer:
    """What the proxy says instead of the server."""

    status: int
    code: str
    more: str = ""

    def body(self) -> bytes:
        return f"<Error><Code>{self.code}</Code><Message>no</Message>{self.more}</Error>".encode()


# What the proxy does with a request: an answer of its own, or one of these.
PASS, CUT_OFF, LOSE_THE_ANSWER, FORGET_CONDITIONS = "pass", "cut off", "lose", "forget"
Deed = Answer | str


@contextlib.contextmanager
def failing(server: S3, deed: Callable[[str, int], Deed]) -> Iterator[S3]:
    """Put a proxy before a server.

    Args:
        server: The server.
        deed: From the method and how many requests there were before to what becomes of it.
    """
    count = itertools.count()
    host, port = server.endpoint.removeprefix("http://").split(":")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            what = deed(self.command, next(count))
            length = int(self.headers.get("Content-Length", 0))
            self.close_connection = True
            if what == CUT_OFF:
                self.rfile.read(length // 2)
                return
            data = self.rfile.read(length)
            if isinstance(what, Answer):
                self._send(what.status, {}, what.body())
                return
            headers = dict(self.headers.items())
            if what == FORGET_CONDITIONS:
                headers = {
                    k: v
                    for k, v in headers.items()
                    if k.lower() not in ("if-match", "if-none-match")
                }
            onward = http.client.HTTPConnection(host, int(port), timeout=30)
            onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                onward.putheader(name, value)
            onward.endheaders(data)
            found = onward.getresponse()
            body = found.read()
            onward.close()
            if what != LOSE_THE_ANSWER:
                self._send(found.status, dict(found.getheaders()), body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield S3(f"http://127.0.0.1:{proxy.server_address[1]}")
        finally:
            proxy.shutdown()
            thread.join()
