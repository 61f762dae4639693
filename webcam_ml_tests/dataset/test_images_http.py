"""One GET: what comes back, what ends it, and where it may not lead."""

import gzip
import ipaddress
import re
import shutil
import socket
import ssl
import subprocess
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from webcam_ml.dataset.images import ImageFetchError, ImageSettings, fetch_bytes
from webcam_ml.dataset.images._fetch import Fetcher
from webcam_ml.dataset.images._http import HttpClient, is_public
from webcam_ml_tests.dataset.images_server import (
    body,
    cut_short,
    drip_body,
    drip_headers,
    endless,
    in_turn,
    jpeg,
    redirect,
    running_server,
    silence,
    status,
)

PICTURE = jpeg(0)
LOOPBACK = ipaddress.ip_address("127.0.0.1")


@pytest.fixture
def server():
    with running_server() as running:
        yield running


@pytest.fixture
def local_client():
    """A client for which 127.0.0.1 is the only address in the world."""
    client = HttpClient(permitted=lambda address: address == LOOPBACK, max_connections=2)
    yield client
    client.close()


def fetch(url, **settings):
    return fetch_bytes(url, ImageSettings(allow_private_addresses=True, **settings))


def failure_of(url, **settings):
    with pytest.raises(ImageFetchError) as failure:
        fetch(url, **settings)
    return failure.value


def get(client, url, *, max_bytes=2**20, timeout_seconds=10.0):
    return client.get(url, max_bytes=max_bytes, timeout_seconds=timeout_seconds)


def test_the_body_comes_back_as_it_is(server):
    assert fetch(server.add("/a.jpg", body(PICTURE))) == PICTURE


def test_a_chunked_body_without_length_comes_back_as_it_is(server):
    def answer(request, _):
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for start in range(0, len(PICTURE), 100):
            piece = PICTURE[start : start + 100]
            request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        request.wfile.write(b"0\r\n\r\n")

    assert fetch(server.add("/a.jpg", answer)) == PICTURE


def test_spaces_and_letters_outside_ascii_in_a_url_are_encoded(server):
    server.add("/caf%C3%A9%201.jpg?x=%C3%A9", body(PICTURE))
    assert fetch(server.url("/café 1.jpg?x=é")) == PICTURE


def test_connections_are_kept_and_used_again(server, local_client):
    connections = set()

    def answer(request, before):
        connections.add(request.client_address)
        body(PICTURE)(request, before)

    url = server.add("/a.jpg", answer)
    for _ in range(3):
        assert get(local_client, url) == PICTURE
    assert len(connections) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (400, "http_error"),
        (304, "http_error"),
        (401, "access_denied"),
        (403, "access_denied"),
        (404, "not_found"),
        (410, "not_found"),
        (501, "server_error"),
    ],
)
def test_a_status_that_will_not_pass_is_asked_for_once(server, code, reason):
    failure = failure_of(server.add("/a.jpg", status(code)))
    assert (failure.reason, failure.detail) == (reason, f"HTTP {code}")
    assert server.requests["/a.jpg"] == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [(408, "timeout"), (429, "too_many_requests"), (500, "server_error"), (503, "server_error")],
)
def test_a_status_that_may_pass_is_asked_for_as_often_as_the_settings_say(server, code, reason):
    url = server.add("/a.jpg", status(code, retry_after="0"))
    assert failure_of(url, attempts=2).reason == reason
    assert server.requests["/a.jpg"] == 2


def test_what_fails_at_first_and_then_works_is_a_success(server):
    url = server.add("/a.jpg", in_turn(status(503), body(PICTURE)))
    assert fetch(url) == PICTURE
    assert server.requests["/a.jpg"] == 2


def test_a_download_that_breaks_off_is_tried_again(server):
    url = server.add("/a.jpg", in_turn(cut_short(PICTURE, len(PICTURE) + 9), body(PICTURE)))
    assert fetch(url) == PICTURE


def test_a_download_that_always_breaks_off_is_incomplete(server):
    url = server.add("/a.jpg", cut_short(PICTURE, len(PICTURE) + 9))
    assert failure_of(url, attempts=1).reason == "incomplete_download"


def test_a_server_that_hangs_up_without_an_answer_is_unreachable(server):
    def hang_up(request, _):
        request.close_connection = True

    url = server.add("/a.jpg", hang_up)
    assert failure_of(url, attempts=1).reason == "unreachable"


def test_a_port_where_nobody_listens_is_unreachable():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.jpg"
        assert failure_of(url, attempts=1).reason == "unreachable"


def test_a_server_that_asks_for_an_hour_is_left_alone_for_this_run(server):
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for path, wait in (("/seconds.jpg", "3600"), ("/date.jpg", in_an_hour)):
        failure_of(server.add(path, status(429, retry_after=wait)))
        assert server.requests[path] == 1


@pytest.mark.parametrize("wait", ["0", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-1", "²"])
def test_every_other_retry_after_leads_to_another_attempt(server, wait):
    retry = status(503, retry_after=wait.encode().decode("latin-1"))
    assert fetch(server.add("/a.jpg", in_turn(retry, body(PICTURE)))) == PICTURE


@pytest.mark.parametrize("answer", [silence, drip_headers, drip_body(PICTURE)])
def test_an_answer_that_does_not_end_in_time_is_a_timeout(server, answer):
    url = server.add("/a.jpg", answer)
    assert failure_of(url, attempts=1, timeout_seconds=0.4).reason == "timeout"


def test_an_announced_length_beyond_the_limit_ends_the_download_before_its_body(server):
    url = server.add("/a.jpg", in_turn(cut_short(b"", 10**15)))
    failure = failure_of(url, max_bytes=1000)
    assert failure.reason == "too_many_bytes"
    assert "max_bytes is 1,000" in failure.detail
    assert server.requests["/a.jpg"] == 1


def test_a_body_without_length_ends_at_the_limit(server):
    assert failure_of(server.add("/a.jpg", endless), max_bytes=10**6).reason == "too_many_bytes"


def test_a_body_of_exactly_the_limit_is_accepted(server):
    url = server.add("/a.jpg", body(PICTURE))
    assert fetch(url, max_bytes=len(PICTURE)) == PICTURE
    assert failure_of(url, max_bytes=len(PICTURE) - 1).reason == "too_many_bytes"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed_relative_ones_too(server, code):
    server.add("/b/picture.jpg", body(PICTURE))
    assert fetch(server.add("/b/old.jpg", redirect("picture.jpg", code))) == PICTURE


def test_a_circle_of_redirects_ends(server):
    assert failure_of(server.add("/a.jpg", redirect("/a.jpg"))).reason == "bad_redirect"
    assert server.requests["/a.jpg"] == 6


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "gs://bucket/a.jpg", "ftp://127.0.0.1/a.jpg", "http://", "http://[x/"],
)
def test_a_redirect_away_from_http_is_refused(server, target):
    assert failure_of(server.add("/a.jpg", redirect(target))).reason == "bad_redirect"


def test_a_redirect_without_a_target_is_an_error_of_the_server(server):
    assert failure_of(server.add("/a.jpg", status(302))).reason == "http_error"


@pytest.mark.parametrize("url", ["http://", "http:///a.jpg", "http://[x/", "http://h:port/a.jpg"])
def test_a_malformed_url_is_an_unsupported_source(url):
    assert failure_of(url).reason == "unsupported_source"


def test_a_name_that_cannot_be_one_is_an_unsupported_source():
    assert failure_of(f"http://{'a' * 70}.example/a.jpg").reason == "unsupported_source"


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_addresses_that_are_not_of_the_public_internet_are_told(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "100.63.0.1",
        "172.32.0.1",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ],
)
def test_public_addresses_are_told(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]"]
)
def test_the_own_machine_is_refused_under_each_of_its_names(server, host):
    server.add("/a.jpg", body(PICTURE))
    with pytest.raises(ImageFetchError) as failure:
        fetch_bytes(server.url("/a.jpg", host=host), ImageSettings())
    assert failure.value.reason == "forbidden_address"
    assert "allow_private_addresses" in failure.value.detail
    assert not server.requests


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest", "http://[::1]/", "//10.0.0.1/"]
)
def test_a_redirect_to_a_forbidden_address_is_refused(server, local_client, target):
    url = server.add("/a.jpg", redirect(target))
    with pytest.raises(ImageFetchError) as failure:
        get(local_client, url)
    assert failure.value.reason == "forbidden_address"
    assert server.requests["/a.jpg"] == 1


def resolve_as(monkeypatch, *answers):
    """Let names (not addresses) resolve to each of these lists of addresses in turn."""
    real = socket.getaddrinfo
    left = list(answers)

    def getaddrinfo(host, port, *args, **kwargs):
        if host != "camera.example":
            return real(host, port, *args, **kwargs)
        addresses = left.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return left


def test_the_address_that_was_judged_is_the_one_connected_to(server, local_client, monkeypatch):
    server.add("/a.jpg", body(PICTURE))
    later = resolve_as(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    assert get(local_client, server.url("/a.jpg", host="camera.example")) == PICTURE
    assert len(later) == 1, "a name is resolved once for a connection"


def test_of_several_addresses_only_permitted_ones_are_tried(server, local_client, monkeypatch):
    server.add("/a.jpg", body(PICTURE))
    resolve_as(monkeypatch, ["169.254.169.254", "127.0.0.1"])
    assert get(local_client, server.url("/a.jpg", host="camera.example")) == PICTURE


def test_an_address_where_nobody_listens_is_followed_by_the_next(server, monkeypatch):
    server.add("/a.jpg", body(PICTURE))
    resolve_as(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    assert fetch(server.url("/a.jpg", host="camera.example"), attempts=1) == PICTURE


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(server.add("/a.jpg", body(PICTURE)), attempts=1) == PICTURE


@pytest.fixture
def certificate(tmp_path):
    """A certificate for localhost that only its owner has signed."""
    if shutil.which("openssl") is None:
        pytest.fail("the openssl command makes the certificate: apt-get install openssl")
    chain, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(chain)],
        check=True,
        capture_output=True,
    )
    return chain, key


@pytest.fixture
def tls_server(server, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    return server


def test_a_certificate_that_nobody_vouches_for_is_refused(tls_server):
    tls_server.add("/a.jpg", body(PICTURE))
    url = tls_server.url("/a.jpg", scheme="https", host="localhost")
    assert failure_of(url).reason == "tls_error"
    assert not tls_server.requests


def test_a_certificate_is_checked_against_the_name_and_not_the_address(
    tls_server, certificate, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    tls_server.add("/a.jpg", body(PICTURE))
    assert fetch(tls_server.url("/a.jpg", scheme="https", host="localhost")) == PICTURE
    assert failure_of(tls_server.url("/a.jpg", scheme="https")).reason == "tls_error"


def answering(code, content, **headers):
    def answer(handler, _):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.mark.parametrize(
    ("code", "content", "says"),
    [
        (402, b'{"error": {"code": 402, "message": "Quota exceeded."}}', "HTTP 402: Quota exceeded."),
        (400, b'{"error": {"message": "Invalid HTTP method/URL pair."}}', "Invalid HTTP method/URL"),
        (403, b'{"error": {"errors": [{"message": "Rate limit of the project"}]}}', "403: Rate limit"),
        (400, b'{"errors": [{"status": 400, "detail": "No such camera."}]}', "400: No such camera."),
        (400, b'{"error": true, "message": "No such view."}', "400: No such view."),
        (403, b"<?xml?><Error><Message>Access denied.</Message></Error>", "403: Access denied."),
        (500, b"<html><head><title>Oops\n here</title></head>", "HTTP 500: Oops here"),
        (400, b"no \x1b[31msuch\x1b[0m camera", r"no \\x1b\[31msuch"),
        (400, b"\x00binary", "^HTTP 400$"),
        (400, b"[" * 16_000, "^HTTP 400$"),
    ],
)  # fmt: skip
def test_the_hosts_own_sentence_is_shown(server, code, content, says):
    failure = failure_of(server.add("/a", answering(code, content)), attempts=1)

    assert re.search(says, str(failure)), str(failure)


def test_how_long_a_host_asks_to_wait_is_said(server):
    url = server.add("/a", answering(429, b"Slow down", Retry_After="3600"))

    assert "HTTP 429: Slow down (asks to wait 3,600 seconds)" in str(failure_of(url))


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("gzip", gzip.compress(PICTURE)),
        ("gzip", gzip.compress(PICTURE) + b"\r\n"),
        ("gzip", gzip.compress(PICTURE[:50]) + gzip.compress(PICTURE[50:])),
        ("deflate", zlib.compress(PICTURE)),
        ("deflate", zlib.compress(PICTURE, wbits=-15)),
        ("identity", PICTURE),
    ],
)
def test_a_compressed_answer_is_read(server, coding, content):
    assert fetch(server.add("/a", answering(200, content, Content_Encoding=coding))) == PICTURE


@pytest.mark.parametrize(
    ("coding", "content", "reason"),
    [
        ("br", b"abc", "unsupported_encoding"),
        ("gzip", gzip.compress(PICTURE)[:-20], "incomplete_download"),
        ("gzip", PICTURE, "incomplete_download"),
        ("gzip", gzip.compress(bytes(10**7)), "too_many_bytes"),
        ("gzip", gzip.compress(bytes(9 * 10**5)) * 2, "too_many_bytes"),
        ("gzip", gzip.compress(b"") * 1000, "unsupported_encoding"),
        ("gzip", gzip.compress(PICTURE) + gzip.compress(PICTURE)[:-20], "incomplete_download"),
        ("deflate", zlib.compress(PICTURE, wbits=-15)[:-20], "incomplete_download"),
        ("deflate", PICTURE, "incomplete_download"),
    ],
)
def test_a_compressed_answer_that_cannot_be_read_is_named(server, coding, content, reason):
    url = server.add("/a", answering(200, content, Content_Encoding=coding))

    assert failure_of(url, attempts=1, max_bytes=10**6).reason == reason


def test_a_live_stream_is_named(server):
    kind = "multipart/x-mixed-replace; boundary=frame"
    failure = failure_of(server.add("/a", answering(200, b"--frame", Content_Type=kind)))

    assert failure.reason == "video_stream"
    assert "live stream" in str(failure)


@pytest.mark.parametrize("code", [402, 403])
def test_a_host_that_refuses_everybody_is_given_up(server, code):
    urls = [server.add(f"/{number}", status(code)) for number in range(12)]
    with Fetcher(ImageSettings(allow_private_addresses=True)) as fetcher:
        for url in urls:
            with pytest.raises(ImageFetchError):
                fetcher.fetch(url)

    assert server.requests.total() == 8
