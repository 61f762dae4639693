"""Who may use the page's server, and that nothing changes but by a vote from the page."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from webcam_ml.review._app import HEADERS, Place, create_app
from webcam_ml.review._wanted import ByAnybody, Wanted
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.review.conftest import fill, ratings
from webcam_ml_tests.review.test_sitting import Room, room

PLACE = Place(8460, "the-token", sitting="abc", goes_to="a database")
OWN = "http://127.0.0.1:8460"
TITLE = "<script>document.title='pwned'</script>"


@pytest.fixture
def made(sqlite: Store, tmp_path: Path) -> Iterator[Room]:
    fill(sqlite, tmp_path / "pictures")
    sqlite.execute(f"UPDATE webcams SET title = '{TITLE.replace(chr(39), chr(39) * 2)}'")
    with room(sqlite, tmp_path, Wanted(TITLE, [7, 3, 9], ByAnybody())) as made:
        yield made


@pytest.fixture
def stranger(made: Room) -> TestClient:
    return TestClient(create_app(made.sitting, PLACE), base_url=OWN, follow_redirects=False)


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """The page, opened at the address that was printed."""
    answer = stranger.get("/?token=the-token")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    return stranger


def send(client: TestClient, *wishes: dict[str, object], **changed: object) -> int:
    headers = {"Origin": OWN, "Content-Type": "application/json"} | changed.pop("headers", {})
    body = {"sitting": "abc", "wishes": wishes} | changed
    return client.post("/votes", content=json.dumps(body), headers=headers).status_code


VOTE: dict[str, object] = {"id": "vote-0001", "snapshot_id": 7, "vote": "4"}
PATHS = ("/", "/frames?from=0", "/pictures/7", "/status", "/said/7", "/own/script.js")


@pytest.mark.parametrize("path", [*PATHS, "/?token=", "/?token=the-Token", "/?token=%00é"])
def test_nothing_is_told_without_the_token(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 403
    assert "printed" in answer.text


def test_the_token_opens_only_the_page_itself(stranger: TestClient) -> None:
    assert stranger.get("/status?token=the-token").status_code == 403
    assert send(stranger, VOTE) == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8460",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.0.0.1.evil.example:8460",
        "",
    ],
)
def test_another_name_that_leads_here_is_refused(client: TestClient, host: str) -> None:
    for path in (*PATHS, "/?token=the-token"):
        assert client.get(path, headers={"Host": host}).status_code == 421
    assert send(client, VOTE, headers={"Host": host}) == 421


def test_both_names_of_this_machine_are_served(client: TestClient) -> None:
    assert client.get("/status", headers={"Host": "localhost:8460"}).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_the_page_gets_what_it_needs_under_headers_that_keep_others_out(
    client: TestClient, path: str
) -> None:
    if path.startswith("/said"):
        assert client.get(path).status_code == 403
        assert send(client, VOTE) == 200
    answer = client.get(path)
    assert answer.status_code == 200
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "http://127.0.0.1:3000", "https://127.0.0.1:8460", ""]
)
def test_another_site_cannot_vote(client: TestClient, made: Room, origin: str) -> None:
    assert send(client, VOTE, headers={"Origin": origin}) == 403
    assert made.journal.entries() == []


def test_a_form_cannot_vote_and_nothing_changes_by_get(client: TestClient, made: Room) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert send(client, VOTE, headers={"Content-Type": kind}) == 415
    assert client.get("/votes").status_code == 405
    for method in ("PUT", "DELETE", "PATCH"):
        headers = {"Origin": OWN, "Content-Type": "application/json"}
        assert client.request(method, "/votes", headers=headers).status_code == 405
    for path in PATHS:
        client.get(path)
    assert made.journal.entries() == []


WRONG: list[dict[str, object]] = [
    {"id": "vote-0001", "snapshot_id": 7, "vote": "6"},
    {"id": "vote-0001", "snapshot_id": 7, "vote": 4},
    {"id": "vote-0001", "snapshot_id": "7", "vote": "4"},
    {"id": "vote-0001", "snapshot_id": -1, "vote": "4"},
    {"id": "vote-0001", "snapshot_id": 2**70, "vote": "4"},
    {"id": "x", "snapshot_id": 7, "vote": "4"},
    {"id": "../../etc", "snapshot_id": 7, "vote": "4"},
    {"id": "vote-0001", "snapshot_id": 7, "vote": "4", "user_session_id": "ben"},
    {"id": "undo-0001", "undoes": "vote-9999"},
    {"id": "undo-0001"},
]


@pytest.mark.parametrize("wish", WRONG, ids=range(len(WRONG)))
def test_what_is_no_vote_is_refused(
    client: TestClient, made: Room, wish: dict[str, object]
) -> None:
    assert send(client, wish) == 422
    assert made.journal.entries() == []


def test_too_much_at_once_and_votes_of_another_sitting_are_refused(
    client: TestClient, made: Room
) -> None:
    assert send(client, VOTE, sitting="xyz") == 409
    assert send(client, VOTE, padding="x" * 300_000) == 413
    assert send(client, *([VOTE] * 501)) == 422
    assert (
        client.post(
            "/votes", content=b"{", headers={"Origin": OWN, "Content-Type": "application/json"}
        ).status_code
        == 422
    )
    assert made.journal.entries() == []


def test_a_vote_is_answered_when_it_is_kept_and_goes_to_the_database(
    client: TestClient, made: Room, sqlite: Store
) -> None:
    headers = {"Origin": OWN, "Content-Type": "application/json"}
    body = json.dumps({"sitting": "abc", "wishes": [VOTE]})
    answer = client.post("/votes", content=body, headers=headers).json()
    assert answer["waiting"] == ["vote-0001"]
    made.writer.start()
    body = json.dumps(
        {"sitting": "abc", "wishes": [VOTE, {"id": "vote-0002", "snapshot_id": 3, "vote": "N"}]}
    )
    answer = client.post("/votes", content=body, headers=headers).json()
    made.writer.stop()
    assert ratings(sqlite) == {7: "4", 3: "N"}
    assert [entry.id for entry in made.journal.entries()] == ["vote-0001", "vote-0002"]


def test_text_of_the_database_is_escaped(client: TestClient) -> None:
    page = client.get("/").text
    assert TITLE not in page
    assert "&lt;script&gt;" in page
    answer = client.get("/frames?from=0")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["frames"][0]["title"] == TITLE
    assert "<script>document" not in page


def test_addresses_that_are_none_are_none(client: TestClient) -> None:
    for path in ("/frames", "/frames?from=-1", "/frames?from=x"):
        assert client.get(path).status_code == 422
    for path in ("/pictures/8", "/own/page.html.j2", "/own/..%2f_app.py", "/nothing"):
        assert client.get(path).status_code == 404
