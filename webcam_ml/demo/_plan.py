"""The plan of a demo: every snapshot in order, with its votes and its faults, if any.

Nothing is drawn here. The plan is an endless stream of which a demo takes a beginning: asking for
more snapshots gives the same ones and more after them.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

import numpy as np

from webcam_ml.demo._cameras import MIRROR_INDEX, MIRRORED_INDEX, Camera, draw_cameras
from webcam_ml.demo._options import DemoOptions, Stream, random_stream
from webcam_ml.demo._raters import Vote, draw_votes, stars_of
from webcam_ml.demo._sun import Phase, solar_position, sun_event
from webcam_ml.demo._weather import Weather, beauty, draw_weather, facing, shows_no_event

FIRST_DAY = datetime(2025, 2, 1)
DAYS = 365
# Visits of one camera fall on days that lie apart and never repeat within a year.
DAY_STRIDE = 101

# Three of five visits go to a camera that has not been seen yet, until all have been.
FIRST_VISIT_PATTERN = (True, False, True, False, True)

# One visit in this many finds the camera offline: one that goes to a new camera, so that the card
# is shown by many webcams.
OFFLINE_EVERY, OFFLINE_AT = 30, 12

# One rated snapshot in so many, and which one: (every, at).
DEAD_IMAGE = (450, 20)
TRUNCATED_IMAGE = (450, 33)
STALE_CACHE = (150, 11)
VERDICT_ON_RATED = (60, 7)
# Of the unrated ones.
VERDICT_ON_UNRATED = (10, 1)

# Where judges are, such a vote is an N: on so many of the snapshots without an event.
NO_SUNSET_ON_RATED = 0.1
NO_SUNSET_ON_UNRATED = 0.5


class Shows(Enum):
    """What a snapshot's picture shows."""

    VIEW = "view"
    MIRROR = "mirror"
    OFFLINE_CARD = "offline card"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One snapshot before its picture is drawn.

    Attributes:
        id: Primary key, from 1 in the order of the plan.
        webcam: The camera whose snapshot it is in the database.
        scene: The camera that took the picture; another one for a mirror.
        visit: Number of the visit in the plan: frames of one visit share the weather.
        scene_visit: Number of the visit among those of the scene's camera.
        moment: Number of the frame within its visit.
        shows: Kind of picture.
        phase: Sunrise or sunset.
        captured_at: Naive, UTC.
        minutes: Since the sun's crossing of the horizon.
        sun_elevation, sun_azimuth: Degrees.
        crossing_azimuth: Of the sun as it crosses the horizon, the same for a whole visit.
        weather: Of the visit.
        beauty: What raters would agree on.
        no_event: There is no sunset or sunrise to see: by day or night, in fog, or the camera is offline.
        votes: In the order in which they were cast.
        cached_rating: The application's average, 1 to 5 with two decimals; None when unrated.
        initial_rating: The operator's stars at capture, if any.
        dead: The picture's path leads nowhere.
        truncated: The picture's file ends early.
    """

    id: int
    webcam: Camera
    scene: Camera
    visit: int
    scene_visit: int
    moment: int
    shows: Shows
    phase: Phase
    captured_at: datetime
    minutes: float
    sun_elevation: float
    sun_azimuth: float
    crossing_azimuth: float
    weather: Weather
    beauty: float
    no_event: bool
    votes: tuple[Vote, ...]
    cached_rating: float | None
    initial_rating: int | None
    dead: bool
    truncated: bool

    @property
    def is_rated(self) -> bool:
        """Whether anybody gave stars."""
        return self.cached_rating is not None

    @property
    def file_name(self) -> str:
        """Of its picture."""
        return f"{self.id:06d}.jpg"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One moment of a visit."""

    visit: int
    webcam: Camera
    scene: Camera
    scene_visit: int
    moment: int
    shows: Shows
    phase: Phase
    captured_at: datetime
    minutes: float
    crossing_azimuth: float
    weather: Weather


def plan_snapshots(options: DemoOptions) -> tuple[Snapshot, ...]:
    """The demo's snapshots in the order of their ids, up to the last rated one asked for."""
    plan: list[Snapshot] = []
    rated = 0
    unrated_share = options.unrated_fraction / (1 + options.unrated_fraction)
    for frame in _frames(options.seed, draw_cameras(options)):
        place = len(plan)
        unrated = int((place + 1) * unrated_share) > int(place * unrated_share)
        plan.append(
            place_frame(
                options,
                frame,
                place=place,
                number=place - rated if unrated else rated,
                unrated=unrated,
            )
        )
        rated += not unrated
        if rated == options.snapshots:
            break
    return tuple(plan)


def average(stars: list[int]) -> float:
    """The application's average: two decimals, halves away from zero as in SQL."""
    return (200 * sum(stars) + len(stars)) // (2 * len(stars)) / 100


def _frames(seed: int, cameras: tuple[Camera, ...]) -> Iterator[Frame]:
    """All frames of all visits, without end."""
    rng = random_stream(seed, Stream.VISITS)
    shares = np.array([camera.share for camera in cameras])
    edges = np.cumsum(shares / shares.sum())
    # The mirrored camera first, so that small demos have the mirror too.
    unseen = [
        MIRRORED_INDEX,
        *(
            int(index)
            for index in rng.permutation(len(cameras))
            if index not in (MIRRORED_INDEX, MIRROR_INDEX)
        ),
    ]
    visits = [0] * len(cameras)
    number = 0
    for turn in itertools.count():
        if unseen and FIRST_VISIT_PATTERN[turn % len(FIRST_VISIT_PATTERN)]:
            camera = cameras[unseen.pop(0)]
        else:
            camera = cameras[min(int(np.searchsorted(edges, rng.random())), len(cameras) - 1)]
        visit = visits[camera.index]
        visits[camera.index] += 1
        offline = turn % OFFLINE_EVERY == OFFLINE_AT
        shows = Shows.OFFLINE_CARD if offline else Shows.VIEW
        yield from burst(seed, camera, camera, visit, number=number, shows=shows)
        number += 1
        if camera.index == MIRRORED_INDEX and visit % 2 == 0 and not offline:
            mirror = cameras[MIRROR_INDEX]
            yield from burst(seed, mirror, camera, visit, number=number, shows=Shows.MIRROR)
            number += 1


def burst(
    seed: int, webcam: Camera, scene: Camera, visit: int, *, number: int, shows: Shows
) -> Iterator[Frame]:
    """The frames of one visit: the mirror's are those of the mirrored camera."""
    rng = random_stream(seed, Stream.CAPTURE, scene.index, visit)
    first = int(random_stream(seed, Stream.CAPTURE, scene.index).integers(DAYS))
    noon = FIRST_DAY + timedelta(
        days=(first + visit * DAY_STRIDE) % DAYS + visit // DAYS * DAYS, hours=12
    )
    towards_west = facing(scene, 270.0)
    towards_east = facing(scene, 90.0)
    chance = 0.15 + 0.75 * towards_west / (towards_west + towards_east)
    phase: Phase = "sunset" if rng.random() < chance else "sunrise"
    crossing = sun_event(scene.latitude, scene.longitude, noon, phase)
    _, crossing_azimuth = solar_position(scene.latitude, scene.longitude, crossing)
    weather = draw_weather(seed, scene, visit)
    # Busy cameras are photographed in longer series.
    more = 1.9 if scene.share > 0.02 else 1.15
    frames = 1 if shows is Shows.OFFLINE_CARD else 1 + min(int(rng.poisson(more)), 6)
    start = rng.normal(-14 if phase == "sunset" else -24, 17)
    gaps = np.where(rng.random(6) < 0.12, rng.uniform(0.5, 2.0, 6), rng.gamma(3.0, 4.5, 6) + 3)
    minutes = start + np.concatenate([[0.0], np.cumsum(gaps)])
    for moment, minute in enumerate(minutes[:frames]):
        yield Frame(
            visit=number,
            webcam=webcam,
            scene=scene,
            scene_visit=visit,
            moment=moment,
            shows=shows,
            phase=phase,
            captured_at=(crossing + timedelta(minutes=float(minute))).replace(microsecond=0),
            minutes=float(minute),
            crossing_azimuth=crossing_azimuth,
            weather=weather,
        )


def place_frame(
    options: DemoOptions, frame: Frame, *, place: int, number: int, unrated: bool
) -> Snapshot:
    """A frame with its votes; `number` counts among the rated, or among the unrated ones."""
    elevation, azimuth = solar_position(
        frame.scene.latitude, frame.scene.longitude, frame.captured_at
    )
    card = frame.shows is Shows.OFFLINE_CARD
    appeal = -1.0 if card else beauty(frame.scene, frame.weather, elevation, azimuth)
    snapshot_id = place + 1
    no_event = card or shows_no_event(frame.weather, elevation)
    if options.judges:
        share = NO_SUNSET_ON_UNRATED if unrated else NO_SUNSET_ON_RATED
        chance = float(random_stream(options.seed, Stream.NO_SUNSET, snapshot_id).random())
        verdict = no_event and chance < share
    else:
        verdict = _falls_on(number, VERDICT_ON_UNRATED if unrated else VERDICT_ON_RATED)
    votes = draw_votes(
        options.seed,
        snapshot_id,
        appeal,
        mean_raters=0 if unrated else options.raters_per_snapshot,
        verdicts=int(verdict),
    )
    stars = [vote.stars for vote in votes if vote.stars is not None]
    cached = average(stars) if stars else None
    if cached is not None and _falls_on(number, STALE_CACHE):
        cached = cached - 1 if cached > 3 else cached + 1  # as before a vote was changed
    rng = random_stream(options.seed, Stream.CAPTURE, frame.scene.index, frame.scene_visit, place)
    at_capture = rng.random() < 0.25 and not card
    return Snapshot(
        id=snapshot_id,
        webcam=frame.webcam,
        scene=frame.scene,
        visit=frame.visit,
        scene_visit=frame.scene_visit,
        moment=frame.moment,
        shows=frame.shows,
        phase=frame.phase,
        captured_at=frame.captured_at,
        minutes=frame.minutes,
        sun_elevation=elevation,
        sun_azimuth=azimuth,
        crossing_azimuth=frame.crossing_azimuth,
        weather=frame.weather,
        beauty=appeal,
        no_event=no_event,
        votes=votes,
        cached_rating=cached,
        initial_rating=stars_of(appeal + float(rng.normal(0, 0.05))) if at_capture else None,
        dead=not unrated and _falls_on(number, DEAD_IMAGE),
        truncated=not unrated and _falls_on(number, TRUNCATED_IMAGE),
    )


def _falls_on(number: int, rule: tuple[int, int]) -> bool:
    every, at = rule
    return number % every == at
