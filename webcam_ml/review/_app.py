"""The page's server: a few addresses, and who may use them.

Anything else that runs in the browser may try to reach an address of this machine, so: only requests
for the host that the server listens on (no other name can be made to lead here), only with the token
of the printed address (a cookie from then on), and what changes something only by POST from the page itself.
"""

import hmac
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Annotated

from jinja2 import Environment, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabaseError
from webcam_ml.review._journal import JournalError
from webcam_ml.review._pictures import NoPicture
from webcam_ml.review._sitting import Sitting, Wish
from webcam_ml.review._votes import RUBRIC, Vote

FRAMES_AT_ONCE = 8
LARGEST_BODY = 256 * 1024
OWN_FILES = {
    "script.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
# So long an answer waits for the database: most votes are saved by then, and the page need not ask again.
SECONDS_FOR_SAVING = 0.5
LOCKED_OUT = (
    "This page needs the address that webcam-ml review printed, with its token. Open that one."
)

HEADERS = {
    # Snapshot 7 of the next sitting may be of another database.
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Id = Annotated[str, Field(pattern=r"^[0-9a-zA-Z-]{8,64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _VoteWish(_Strict):
    id: Id
    snapshot_id: Annotated[int, Field(ge=0, lt=2**63)]
    vote: Vote


class _UndoWish(_Strict):
    id: Id
    undoes: Id


class _Wishes(_Strict):
    sitting: str
    wishes: Annotated[list[_VoteWish | _UndoWish], Field(max_length=500)]


@dataclass(frozen=True)
class Place:
    """Where the page is served.

    Attributes:
        port: On 127.0.0.1.
        token: What the printed address has and nobody else knows.
        sitting: Names the votes' journal: a page that was opened for another one is told so.
        goes_to: Where votes go, in words.
    """

    port: int
    token: str
    sitting: str
    goes_to: str

    @property
    def hosts(self) -> tuple[str, ...]:
        """The values of the Host header that are meant for this server."""
        return (f"127.0.0.1:{self.port}", f"localhost:{self.port}")

    @property
    def cookie(self) -> str:
        """Cookies do not know of ports: another server of this kind has another name for its own."""
        return f"webcam-ml-review-{self.port}"

    @property
    def address(self) -> str:
        """What is printed."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"


def create_app(sitting: Sitting, place: Place) -> ASGIApp:
    """Make the application.

    Args:
        sitting: What it serves.
        place: Where, and for whom.
    """
    folder = files("webcam_ml.review") / "page"
    own = {name: (folder / name).read_text(encoding="utf-8") for name in OWN_FILES}
    page = _render((folder / "page.html.j2").read_text(encoding="utf-8"), sitting, place)

    def index(request: Request) -> Response:
        if "token" in request.query_params:
            # Out of the address bar and the history, into a cookie that only this page gets.
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(place.cookie, place.token, httponly=True, samesite="strict")
            return answer
        return Response(page, media_type="text/html")

    def own_file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in own:
            return PlainTextResponse("There is no such file.", 404)
        return Response(own[name], media_type=OWN_FILES[name])

    def frames(request: Request) -> Response:
        start = request.query_params.get("from", "")
        if not start.isdecimal():
            return PlainTextResponse("from is a place in the list.", 422)
        try:
            found, place_after = sitting.ahead(int(start), FRAMES_AT_ONCE)
        except LabelDatabaseError as error:
            return JSONResponse({"trouble": str(error)}, 503)
        return JSONResponse({"frames": found, "from": place_after, "status": sitting.status()})

    def picture(request: Request) -> Response:
        try:
            found = sitting.picture(request.path_params["snapshot_id"])
        except KeyError:
            return PlainTextResponse("That snapshot is not in the list.", 404)
        except WebcamMLError as error:
            return PlainTextResponse(str(error), 503)
        if isinstance(found, NoPicture):
            return PlainTextResponse(found.reason, 404)
        content, media_type = found
        return Response(content, media_type=media_type)

    def status(request: Request) -> Response:
        return JSONResponse(sitting.status())

    def said(request: Request) -> Response:
        try:
            found = sitting.said(request.path_params["snapshot_id"])
        except LabelDatabaseError as error:
            return JSONResponse({"trouble": str(error)}, 503)
        if found is None:
            return PlainTextResponse("Vote first.", 403)
        return JSONResponse({"said": [asdict(one) for one in found]})

    async def votes(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_BODY:
                return PlainTextResponse("Too much at once.", 413)
        try:
            sent = _Wishes.model_validate_json(body)
        except ValidationError as error:
            return PlainTextResponse(f"That is no vote: {error.errors()[0]['msg']}", 422)
        if sent.sitting != place.sitting:
            return PlainTextResponse("These votes are of another sitting.", 409)
        wishes = [Wish(**one.model_dump()) for one in sent.wishes]
        try:
            await run_in_threadpool(sitting.accept, wishes)
        except ValueError as error:
            return JSONResponse({"trouble": str(error)}, 422)
        except JournalError as error:
            return JSONResponse({"trouble": str(error)}, 507)
        ids = [wish.id for wish in wishes]
        await run_in_threadpool(sitting.journal.wait_until_settled, ids, SECONDS_FOR_SAVING)
        return JSONResponse(await run_in_threadpool(sitting.status))

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/own/{name}", own_file),
            Route("/frames", frames),
            Route("/pictures/{snapshot_id:int}", picture),
            Route("/status", status),
            Route("/said/{snapshot_id:int}", said),
            Route("/votes", votes, methods=["POST"]),
        ]
    )
    return _Gate(app, place)


class _Gate:
    """Lets in what comes from the page, and gives every answer the headers that keep others out."""

    def __init__(self, app: ASGIApp, place: Place) -> None:
        self._app = app
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # No websockets here; what remains is the server's own start and end.
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
            await send(message)

        refusal = self._refusal(Request(scope))
        answer = self._app if refusal is None else refusal
        await answer(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        headers, place = request.headers, self._place
        if headers.get("host") not in place.hosts:
            return PlainTextResponse("This is not the host that was asked for.", 421)
        given = request.cookies.get(place.cookie, "")
        if request.url.path == "/" and request.method == "GET":
            given = request.query_params.get("token", given)
        if not hmac.compare_digest(given.encode(), place.token.encode()):
            return PlainTextResponse(LOCKED_OUT, 403)
        if request.method in ("GET", "HEAD"):
            return None
        if headers.get("origin") not in {f"http://{host}" for host in place.hosts}:
            return PlainTextResponse("Only the page itself may change anything.", 403)
        if headers.get("content-type") != "application/json":
            return PlainTextResponse("Votes come as JSON.", 415)
        return None


def _render(template: str, sitting: Sitting, place: Place) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(sitting=sitting, place=place, rubric=RUBRIC)
