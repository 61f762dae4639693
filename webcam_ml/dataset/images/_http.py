"""One GET over http(s) that ends in time, stays small, and reaches only permitted addresses.

httpcore, the engine inside httpx, is used as such because its network backend is public: name
resolution, the judgement of the address and the connection to that very address are one step, so a
name that resolves differently a moment later (DNS rebinding) gains nothing. For TLS the certificate
is still checked against the name. The same backend gives every read and write what is left of one
deadline; a time limit for each read alone would never end a server that drips one byte a second.
Name resolution itself ends when the operating system's resolver gives up.

Proxies, cookies, .netrc and passwords in URLs are not used. SSL_CERT_FILE and SSL_CERT_DIR are.
"""

import ipaddress
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from webcam_ml.dataset.images._failure import ImageFetchError, Reason
from webcam_ml.dataset.images._http_answer import beginning_of, said_by
from webcam_ml.printable import printable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 15.0  # between two pieces of an answer
_MAX_REDIRECTS = 5
_MAX_MEMBERS = 100
_GZIP = b"\x1f\x8b"
_KEEP_ALIVE_SECONDS = 30.0
_PERMANENT: dict[int, Reason] = {
    401: "access_denied",
    402: "quota_exceeded",
    403: "access_denied",
    404: "not_found",
    410: "not_found",
}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052

# When the request of this thread must be over, on the monotonic clock. A connection outlives its
# request and serves the next one, so the limit cannot be an attribute of the connection.
_deadline: ContextVar[float] = ContextVar("deadline")


def is_public(address: IPAddress) -> bool:
    """Tell whether an address is one of the public internet.

    Addresses of version 6 that carry one of version 4 (mapped, 6to4, NAT64) count as what they
    carry; Teredo ones are refused as a whole.
    """
    if isinstance(address, ipaddress.IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return is_public(carried)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class HttpClient:
    """A pool of connections for one run; safe to use from several threads.

    Args:
        permitted: Judges each address before it is connected to.
        max_connections: How many connections are open at the same time.
    """

    def __init__(self, *, permitted: Callable[[IPAddress], bool], max_connections: int) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
            network_backend=_GuardedBackend(permitted),
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def get(self, url: str, *, max_bytes: int, timeout_seconds: float) -> bytes:
        """Return the body that a URL answers with, after at most five redirects.

        Raises:
            ImageFetchError: There is no such body; `temporary` says whether it may come yet.
        """
        token = _deadline.set(time.monotonic() + timeout_seconds)
        try:
            location = _parse(url, reason="unsupported_source")
            for _ in range(_MAX_REDIRECTS + 1):
                answer = self._get_once(location, max_bytes)
                if isinstance(answer, bytes):
                    return answer
                location = answer
        except httpcore.TimeoutException as fault:
            raise ImageFetchError(
                "timeout",
                f"no complete answer in time (timeout_seconds {timeout_seconds:g})",
                temporary=True,
            ) from fault
        except httpcore.ConnectError as fault:
            raise ImageFetchError(
                "unreachable", f"no connection ({fault})", temporary=True
            ) from fault
        except (httpcore.NetworkError, httpcore.ProtocolError) as fault:
            raise ImageFetchError(
                "unreachable", f"the connection broke before an answer ({fault})", temporary=True
            ) from fault
        finally:
            _deadline.reset(token)
        raise ImageFetchError("bad_redirect", f"more than {_MAX_REDIRECTS} redirects")

    def _get_once(self, url: httpx.URL, max_bytes: int) -> bytes | httpx.URL:
        """Return the body, or where a redirect leads."""
        with self._pool.stream(
            "GET",
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=[
                (b"Host", url.netloc),
                (b"Accept", b"image/*, */*;q=0.5"),
                (b"Accept-Encoding", b"identity"),
                (b"User-Agent", b"webcam-ml"),
            ],
            extensions={
                "timeout": {
                    "connect": _CONNECT_SECONDS,
                    "read": _SILENCE_SECONDS,
                    "write": _SILENCE_SECONDS,
                    "pool": max(0.0, _deadline.get() - time.monotonic()),
                }
            },
        ) as response:
            headers = httpx.Headers(response.headers)
            if response.status in (301, 302, 303, 307, 308) and "location" in headers:
                return _parse(headers["location"], reason="bad_redirect", base=url)
            if not 200 <= response.status < 300:
                raise _failure_of(response.status, headers, said_by(beginning_of(response)))
            _require_an_end(headers)
            return _decompress(_read_body(response, headers, max_bytes), headers, max_bytes)


def _parse(text: str, *, reason: Reason, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except httpx.InvalidURL as fault:
        raise ImageFetchError(reason, f"malformed URL ({printable(str(fault))})") from fault
    if "%" in url.host:
        raise ImageFetchError(reason, f"malformed URL ({printable(url.host)} is no host)")
    if url.scheme not in ("http", "https") or not url.host:
        raise ImageFetchError(reason, f"{url.scheme or 'no scheme'}: is not http(s) with a host")
    return url


def _failure_of(status: int, headers: httpx.Headers, said: str) -> ImageFetchError:
    detail = f"HTTP {status}" + (f": {said}" if said else "")
    if status in _PERMANENT:
        return ImageFetchError(_PERMANENT[status], detail)
    if status == 408:
        return ImageFetchError("timeout", detail, temporary=True)
    wait = _seconds_to_wait(headers.get("retry-after"))
    if wait is not None:
        detail += f" (asks to wait {wait:,.0f} seconds)"
    if status == 429:
        return ImageFetchError("too_many_requests", detail, temporary=True, retry_after=wait)
    if status >= 500:
        passing = status in (500, 502, 503, 504)
        return ImageFetchError("server_error", detail, temporary=passing, retry_after=wait)
    return ImageFetchError("http_error", detail)


def _require_an_end(headers: httpx.Headers) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/x-mixed-replace" or kind.startswith("video/"):
        raise ImageFetchError(
            "video_stream",
            f"the answer is a live stream ({printable(kind)}) and no picture; cameras that have one "
            "give a single picture under another address, often snapshot.jpg",
        )


def _decompress(body: bytes, headers: httpx.Headers, max_bytes: int) -> bytes:
    """Undo the compression by a host that was asked for the plain file."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise ImageFetchError(
            "unsupported_encoding",
            f"the host compressed the answer with {printable(coding)[:40]} although it was asked "
            "not to; gzip and deflate are read",
        )
    try:
        return _inflated(body, max_bytes, wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, by the header
    except zlib.error as fault:
        if coding == "deflate":  # many servers send it without the header that it should have
            with suppress(zlib.error):
                return _inflated(body, max_bytes, wbits=-zlib.MAX_WBITS)
        raise ImageFetchError(
            "incomplete_download", f"the compressed answer cannot be read ({fault})", temporary=True
        ) from fault


def _inflated(body: bytes, max_bytes: int, *, wbits: int) -> bytes:
    """Undo a compression; a gzip file may have several members, one behind the other (RFC 1952)."""
    plain = bytearray()
    for _ in range(_MAX_MEMBERS):
        unpacker = zlib.decompressobj(wbits)
        plain += unpacker.decompress(body, max_bytes + 1 - len(plain))
        if len(plain) > max_bytes:
            raise _too_large("the compressed answer holds more", max_bytes)
        if not unpacker.eof:
            raise ImageFetchError(
                "incomplete_download", "the compressed answer ends too early", temporary=True
            )
        body = unpacker.unused_data
        if not body.startswith(_GZIP):
            return bytes(plain)  # what else follows is of no file
    raise ImageFetchError(
        "unsupported_encoding", f"the compressed answer has more than {_MAX_MEMBERS} members"
    )


def _seconds_to_wait(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds or a date (RFC 9110, 10.2.3); None where it is neither."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _read_body(response: httpcore.Response, headers: httpx.Headers, max_bytes: int) -> bytes:
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(f"{int(announced):,} bytes are announced", max_bytes)
    body = bytearray()
    try:
        for piece in response.iter_stream():
            body += piece
            if len(body) > max_bytes:
                raise _too_large("the answer goes on", max_bytes)
    except (httpcore.NetworkError, httpcore.RemoteProtocolError) as fault:
        raise ImageFetchError(
            "incomplete_download",
            f"the connection ended after {len(body):,} bytes ({fault})",
            temporary=True,
        ) from fault
    return bytes(body)


def _too_large(found: str, max_bytes: int) -> ImageFetchError:
    return ImageFetchError("too_many_bytes", f"{found}; max_bytes is {max_bytes:,}")


class _GuardedBackend(httpcore.NetworkBackend):
    """Resolves a name, judges what it resolves to, and connects to exactly that."""

    def __init__(self, permitted: Callable[[IPAddress], bool]) -> None:
        self._permitted = permitted
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        found = _resolve(host, port)
        permitted = [address for address in found if self._permitted(address)]
        failure: Exception = ImageFetchError(
            "forbidden_address",
            f"{host} is {', '.join(map(str, found))}, which is not a public address "
            "(allow_private_addresses permits it)",
        )
        for address in permitted:
            try:
                stream = self._plain.connect_tcp(
                    str(address), port, _time_left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as fault:
                failure = fault
            else:
                return _DeadlineStream(stream)
        raise failure


def _resolve(host: str, port: int) -> list[IPAddress]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as fault:
        raise ImageFetchError(
            "unreachable", f"the host name {host} does not resolve ({fault})", temporary=True
        ) from fault
    except UnicodeError as fault:
        raise ImageFetchError("unsupported_source", f"{host!r} is not a host name") from fault
    return [ipaddress.ip_address(address[0]) for *_, address in found]


def _time_left(limit: float | None) -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time for this request is over")
    return left if limit is None else min(limit, left)


class _DeadlineStream(httpcore.NetworkStream):
    """A connection on which nothing outlasts the deadline of the request that uses it."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _time_left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _time_left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        try:
            secure = self._stream.start_tls(ssl_context, server_hostname, _time_left(timeout))
        except httpcore.ConnectError as fault:
            if not isinstance(fault.__cause__, ssl.SSLError):
                raise
            lasting = isinstance(fault.__cause__, ssl.SSLCertVerificationError)
            raise ImageFetchError(
                "tls_error", f"no secure connection ({fault})", temporary=not lasting
            ) from fault
        return _DeadlineStream(secure)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
