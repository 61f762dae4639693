"""deploy/nginx in front of Dagster's real page: what passes, and what an attack gets.

Debian's nginx, `dagster-webserver` and Chromium are real. Each refusal has its counterpart: the
same request works on the page itself, so the proxy is what stops it.
"""

import base64
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from dagster import AssetKey, DagsterInstance
from playwright.sync_api import sync_playwright
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from webcam_ml_tests.integration.project import DAGSTER, REPOSITORY
from webcam_ml_tests.integration.server import free_port, wait_for

CONFIGURATION = REPOSITORY / "deploy" / "nginx" / "webcam-ml.conf"
NAME = "webcams.example.org"
USER, PASSWORD = "curator", "for the page alone"
LOGGED_IN = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
JSON = {"Content-Type": "application/json"}
FOREIGN = {"Origin": "https://elsewhere.example"}
QUESTION = json.dumps({"query": "{version}"}).encode()
MUTATION = "mutation {setNuxSeen}"
REPORT = "/report_asset_materialization/checkpoint?data_version=0000"


@dataclass(frozen=True)
class Site:
    """The page behind its proxy."""

    page: str
    proxy: str
    home: Path

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{urlsplit(self.proxy).port}"

    @property
    def own(self) -> dict[str, str]:
        return {"Origin": self.origin}

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = LOGGED_IN,
        *,
        body: bytes | None = None,
        host: str = NAME,
    ) -> int:
        """Send a request to the proxy, and give the status of the answer."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", urlsplit(self.proxy).port or 0, timeout=60, context=anyone()
        )
        return status_of(connection, method, path, {"Host": host, **headers}, body)

    def ask_the_page(
        self, method: str, path: str, headers: Mapping[str, str], *, body: bytes | None = None
    ) -> int:
        """Send a request past the proxy."""
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.page).port, timeout=60)
        return status_of(connection, method, path, headers, body)


def status_of(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> int:
    try:
        connection.request(method, path, body, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()


def anyone() -> ssl.SSLContext:
    """Trust of the certificate that a test signs for itself."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.fail(f"there is no {name}: make programs installs it (apt-get install {name})")
    return found


def configure(folder: Path, *, page: int, proxy: int) -> Path:
    """The file as it is deployed, with ports and folders of this test, in what Debian has around it."""
    run = [
        [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", f"/CN={NAME}", "-keyout", "webcam-ml.key", "-out", "webcam-ml.crt"],
        [program("openssl"), "passwd", "-6", PASSWORD],
    ]  # fmt: skip
    _, hashed = (
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
        for command in run
    )
    (folder / "webcam-ml.htpasswd").write_text(f"{USER}:{hashed}")
    text = CONFIGURATION.read_text()
    for deployed, here in {
        "listen 443 ssl": f"listen 127.0.0.1:{proxy} ssl",
        f"https://{NAME}": f"https://{NAME}:{proxy}",
        "http://127.0.0.1:3000": f"http://127.0.0.1:{page}",
        "/etc/nginx/": f"{folder}/",
    }.items():
        assert deployed in text
        text = text.replace(deployed, here)
    (folder / "webcam-ml.conf").write_text(text)
    # Workers of a server that root started may not read what a test wrote.
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = folder / "nginx.conf"
    whole.write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary} include {folder}/webcam-ml.conf; }}\n"
    )
    return whole


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("proxy")
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    page, proxy = free_port(), free_port()
    configuration = configure(folder, page=page, proxy=proxy)
    commands = {
        "page": [str(DAGSTER.with_name("dagster-webserver")), "--empty-workspace", "-p", str(page)],
        "proxy": [program("nginx"), "-c", str(configuration)],
    }
    environment = os.environ | {"DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    site = Site(f"http://127.0.0.1:{page}", f"https://127.0.0.1:{proxy}", home)
    processes = []
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
                    )
                )

        def answers() -> bool:
            for name, process in zip(commands, processes, strict=True):
                assert process.poll() is None, (folder / f"{name}.log").read_text()
            try:
                return site.ask("GET", "/server_info") == 200
            except OSError:
                return False

        wait_for("the page behind its proxy", answers)
        yield site
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def test_people_who_log_in_and_their_programs_are_served(site: Site) -> None:
    assert site.ask("GET", "/") == 200
    assert site.ask("GET", "/assets/checkpoint?view=checks") == 200
    assert site.ask("POST", "/graphql", LOGGED_IN | JSON | site.own, body=QUESTION) == 200
    # curl says no origin.
    assert site.ask("POST", "/graphql", LOGGED_IN | JSON, body=QUESTION) == 200


@pytest.mark.parametrize("path", ["/", "/server_info", "/logs/anything", "/download_debug/1"])
def test_nobody_gets_in_without_the_password(site: Site, path: str) -> None:
    wrong = {"Authorization": "Basic " + base64.b64encode(b"curator:guess").decode()}
    for headers in ({}, wrong):
        assert site.ask("GET", path, headers) == 401
        assert site.ask("POST", "/graphql", headers | JSON, body=QUESTION) == 401


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1", f"{NAME}.elsewhere.example"])
def test_another_name_for_the_server_is_refused(site: Site, host: str) -> None:
    """Who owns a name may let it point here; a page of that name then is of one origin with ours."""
    assert site.ask("GET", "/", host=host) == 421
    headers = LOGGED_IN | JSON | {"Origin": f"https://{host}"}
    assert site.ask("POST", "/graphql", headers, body=QUESTION, host=host) == 421
    assert site.ask_the_page("POST", "/graphql", headers | {"Host": host}, body=QUESTION) == 200


@pytest.mark.parametrize(
    "origin",
    ["https://elsewhere.example", "null", f"http://{NAME}", f"https://{NAME}.elsewhere.example"],
)
def test_another_site_cannot_ask_although_the_browser_sends_the_password(
    site: Site, origin: str
) -> None:
    body = json.dumps({"query": MUTATION}).encode()
    foreign = {"Origin": origin}
    assert site.ask_the_page("POST", "/graphql", JSON | foreign, body=body) == 200
    assert site.ask("POST", "/graphql", LOGGED_IN | JSON | foreign, body=body) == 403
    # What a form can send, for which no browser asks beforehand.
    form = {"Content-Type": "application/x-www-form-urlencoded"} | foreign
    path = f"/graphql?query={quote(MUTATION)}"
    assert site.ask_the_page("POST", path, form) == 200
    assert site.ask("POST", path, LOGGED_IN | form) == 403
    assert site.ask("GET", "/", LOGGED_IN | foreign) == 403


@pytest.mark.parametrize("path", ["/graphql", "/%67raphql", "/./graphql", "/x/../graphql"])
def test_a_mutation_by_get_is_refused(site: Site, path: str) -> None:
    """A picture's address is enough for it, and has no origin."""
    question = f"?query={quote(MUTATION)}"
    assert site.ask_the_page("GET", f"/graphql{question}", {}) == 200
    assert site.ask("GET", f"{path}{question}") == 403
    assert site.ask("GET", f"{path}{question}", LOGGED_IN | {"Upgrade": "websocket"}) == 403
    assert site.ask("GET", f"{path}{question}", LOGGED_IN | site.own) == 403


@pytest.mark.parametrize(
    "path",
    [
        REPORT,
        REPORT.replace("_asset", "%5fasset"),
        f"//{REPORT.removeprefix('/')}",
        "/report_asset_check/checkpoint?check_name=targets_usable&passed=true",
        "/report_asset_observation/checkpoint?data_version=0000",
    ],
)
def test_nobody_reports_events_not_even_with_the_password(site: Site, path: str) -> None:
    for headers in (LOGGED_IN, LOGGED_IN | site.own, {}):
        assert site.ask("POST", path, headers) == 403


def test_the_page_itself_takes_a_report_of_anybody(site: Site) -> None:
    assert site.ask_the_page("POST", REPORT, FOREIGN) == 200
    with DagsterInstance.from_config(str(site.home)) as instance:
        event = instance.get_latest_materialization_event(AssetKey("checkpoint"))
    assert event is not None
    assert event.run_id == ""


@pytest.mark.parametrize("path", ["/", "/server_info", "/logs/anything"])
def test_nothing_else_takes_anything_but_reading(site: Site, path: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert site.ask(method, path) == 403


def hello(address: str, *, headers: Mapping[str, str], origin: str | None) -> str:
    """Open a WebSocket as the page does, and give what the server says first."""
    parts = urlsplit(address)
    secure = parts.scheme == "wss"
    with connect(
        address,
        sock=socket.create_connection(("127.0.0.1", parts.port or 0)),
        origin=None if origin is None else Origin(origin),
        subprotocols=[Subprotocol("graphql-ws")],
        additional_headers=dict(headers),
        ssl=anyone() if secure else None,
        open_timeout=60,
    ) as opened:
        opened.send(json.dumps({"type": "connection_init"}))
        return str(json.loads(opened.recv(60))["type"])


def test_a_web_socket_is_for_the_own_page_and_whoever_logged_in(site: Site) -> None:
    page = f"{site.page.replace('http', 'ws')}/graphql"
    assert hello(page, headers={}, origin="https://elsewhere.example") == "connection_ack"
    address = f"{site.origin.replace('https', 'wss')}/graphql"
    assert hello(address, headers=LOGGED_IN, origin=site.origin) == "connection_ack"
    for there, headers, origin, status in (
        (address, LOGGED_IN, "https://elsewhere.example", 403),
        (address, LOGGED_IN, None, 403),
        (address, {}, site.origin, 401),
        (address.replace(NAME, "elsewhere.example"), LOGGED_IN, site.origin, 421),
    ):
        with pytest.raises(InvalidStatus) as refused:
            hello(there, headers=headers, origin=origin)
        assert refused.value.response.status_code == status


def test_the_page_works_in_a_browser_with_its_web_socket(site: Site) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program("chromium"),
            args=["--no-sandbox", "--disable-gpu", f"--host-resolver-rules=MAP {NAME} 127.0.0.1"],
        )
        context = browser.new_context(
            ignore_https_errors=True,
            http_credentials={"username": USER, "password": PASSWORD},
        )
        page = context.new_page()
        answered: list[str] = []
        refused: list[str] = []
        page.on(
            "websocket",
            lambda opened: opened.on("framereceived", lambda frame: answered.append(str(frame))),
        )
        page.on(
            "response",
            lambda answer: (
                answer.status in (401, 403, 421) and refused.append(f"{answer.status} {answer.url}")
            ),
        )
        page.goto(f"{site.origin}/runs")
        page.get_by_text(re.compile("No runs|no runs")).first.wait_for(timeout=120_000)
        wait_for(
            "an answer on the page's socket",
            lambda: page.wait_for_timeout(200) or "connection_ack" in "".join(answered),
            seconds=60,
        )
        browser.close()
    assert refused == []
