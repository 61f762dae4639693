"""The cameras: where each stands, what it looks at, and how it turns light into pixels.

`_weather` says what a camera sees on an evening, `_picture` draws its picture.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from webcam_ml.dataset import SplitConfig, SplitName
from webcam_ml.demo._options import DemoOptions, Stream, random_stream

SceneKind = Literal["lake", "coast", "city", "meadow", "harbour", "roofs"]
SCENE_KINDS: tuple[SceneKind, ...] = get_args(SceneKind)

LARGEST_WEBCAM_ID = 16_500_000

# Cameras come in the order of how much they photograph. Fixed places in each twenty of them go to
# validation and test under the default split, so that big and small cameras are divided evenly:
# with ids drawn blindly, one seed in three leaves a test split too thin for the release gates.
SPLIT_BLOCK = 20
SPLIT_PLACES: dict[int, SplitName] = {
    3: "test", 6: "val", 9: "test", 12: "val", 15: "test", 18: "val",
}  # fmt: skip

# One camera is in the database twice: the second id shows the first one's view, and the two
# are in different splits.
MIRRORED_INDEX = 7
MIRROR_INDEX = 5
MIRROR_SPLIT: SplitName = "test"

# Where judges are, one device of the operator has two webcam ids, in different splits: it got the second
# when it was aimed anew.
DEVICE_INDEX = 10
AIMED_ANEW_INDEX = 15

# Country, one place in it (degrees north and east), and names that could be there.
_PLACES: tuple[tuple[str, float, float, tuple[str, ...]], ...] = (
    ("Norway", 60.4, 5.3, ("Ostvik", "Hellevåg", "Sandneset")),
    ("Switzerland", 46.7, 8.2, ("Oberried", "Hasliblick", "Grimmental")),
    ("Austria", 47.3, 12.4, ("Seebach", "Hochwald", "Kirchalm")),
    ("Italy", 45.6, 9.8, ("Porto Vento", "Colle Alto", "Riva Chiara")),
    ("Spain", 39.6, 2.9, ("Cala Roja", "Punta Negra", "Sierra Baja")),
    ("Portugal", 38.7, -9.3, ("Praia Longa", "Cabo Manso", "Vila Velha")),
    ("France", 43.4, 5.2, ("Port-Vieux", "Montclair", "Saint-Aubin")),
    ("Germany", 54.2, 10.9, ("Strandby", "Dorfhagen", "Neuensee")),
    ("Greece", 36.9, 25.4, ("Akri", "Limani", "Ano Vrachos")),
    ("Iceland", 63.9, -21.5, ("Hvalnes", "Svartá", "Breidavik")),
    ("Scotland", 57.2, -4.6, ("Loch Arran", "Kinbrae", "Dunmore")),
    ("Canada", 49.3, -123.1, ("Cedar Cove", "Eagle Pass", "Harper Bay")),
    ("United States", 36.6, -121.8, ("Palmetto Pier", "Mesa Vista", "Gull Point")),
    ("United States", 41.2, -73.1, ("Old Wharf", "Millstone", "Sandy Neck")),
    ("Mexico", 20.5, -87.2, ("Playa Azul", "Punta Coral", "Bahía Serena")),
    ("Brazil", -22.9, -43.1, ("Morro Alto", "Praia Mansa", "Enseada")),
    ("Chile", -33.0, -71.6, ("Cerro Verde", "Caleta Norte", "Quebrada")),
    ("South Africa", -33.9, 18.4, ("Kaapsig", "Strandhoek", "Blouvlei")),
    ("Australia", -33.8, 151.2, ("Wattle Beach", "Tern Rock", "Corella")),
    ("New Zealand", -45.0, 168.7, ("Lake Kea", "Tussock", "Fern Hill")),
    ("Japan", 35.3, 139.2, ("Minatohama", "Kitayama", "Asagiri")),
    ("Taiwan", 25.1, 121.6, ("Haikou", "Shanxi", "Beitou")),
    ("India", 15.5, 73.8, ("Palmgrove", "Old Fort", "Rivermouth")),
    ("Turkey", 36.8, 30.6, ("Kumluk", "Akdere", "Yeni Liman")),
)
_SCENE_NAMES: dict[SceneKind, tuple[str, ...]] = {
    "lake": ("Lakeside", "Lake shore", "Boat house"),
    "coast": ("Beach", "Pier", "Lighthouse"),
    "city": ("Skyline", "Old town", "Bridge"),
    "meadow": ("Valley", "Summit station", "Farm"),
    "harbour": ("Harbour", "Marina", "Ferry dock"),
    "roofs": ("Town hall", "Car park", "Rooftop"),
}


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One webcam: its row in the database and everything fixed about its pictures.

    Attributes:
        index: Rank by share of the snapshots, 0 for the busiest.
        webcam_id: Sparse id, up to 16.5 million.
        share: Weight in the draw of who photographs next; 0 for the mirror.
        view_azimuth: Compass direction of the picture's middle, degrees.
        field_of_view: Horizontal, degrees.
        horizon: Height of the horizon from the top of the picture, as a fraction.
        width, height: Pixels.
        scenic: How pleasing the foreground is, 0 to 1.
        cloudiness: Of the local climate, 0 to 1.
        white_balance: Gains of red and blue.
        auto_white_balance: How far the camera greys out the colour of a whole picture, 0 to 1.
        exposure: Stops above or below the usual.
        saturation, contrast: 1 leaves the light as it is.
        noise: Standard deviation at mid-grey in daylight, of 1.
        vignette: Loss of light in the corners, 0 to 1.
        blur: Radius of the lens's softness in pixels at 640 wide.
        jpeg_quality: As Pillow counts it.
        caption: How name and time are written into the picture.
    """

    index: int
    webcam_id: int
    title: str
    source: Literal["windy", "custom"]
    country: str
    latitude: float
    longitude: float
    view_count: int | None
    rating: int | None
    share: float
    scene: SceneKind
    view_azimuth: float
    field_of_view: float
    horizon: float
    width: int
    height: int
    scenic: float
    cloudiness: float
    white_balance: tuple[float, float]
    auto_white_balance: float
    exposure: float
    saturation: float
    contrast: float
    noise: float
    vignette: float
    blur: float
    jpeg_quality: int
    caption: Literal["none", "bar", "corner"]


def draw_cameras(options: DemoOptions) -> tuple[Camera, ...]:
    """Draw the demo's cameras, the busiest first."""
    ids = _draw_ids(options)
    cameras = [draw_camera(options, index, webcam_id) for index, webcam_id in enumerate(ids)]
    if options.judges and len(cameras) > AIMED_ANEW_INDEX:
        cameras[DEVICE_INDEX] = replace(cameras[DEVICE_INDEX], source="custom")
        cameras[AIMED_ANEW_INDEX] = _aimed_anew(cameras[DEVICE_INDEX], cameras[AIMED_ANEW_INDEX])
    return tuple(cameras)


def device_of(camera: Camera) -> int | None:
    """The number of the operator's own device that a webcam is, `custom_camera_id`; None of others."""
    if camera.source != "custom":
        return None
    return 1 + (DEVICE_INDEX if camera.index == AIMED_ANEW_INDEX else camera.index)


def _aimed_anew(device: Camera, drawn: Camera) -> Camera:
    """The same device at the same place, looking elsewhere, with a webcam id of its own."""
    return replace(
        device,
        index=drawn.index,
        webcam_id=drawn.webcam_id,
        share=drawn.share,
        scene=drawn.scene,
        view_azimuth=drawn.view_azimuth,
        horizon=drawn.horizon,
    )


def _draw_ids(options: DemoOptions) -> list[int]:
    rng = random_stream(options.seed, Stream.WEBCAM_IDS)
    split = SplitConfig()
    ids: dict[int, None] = {}
    for index in range(options.webcams):
        wanted: SplitName = SPLIT_PLACES.get(index % SPLIT_BLOCK, "train")
        if index == MIRROR_INDEX:
            wanted = MIRROR_SPLIT
        while True:
            webcam_id = int(rng.integers(1000, LARGEST_WEBCAM_ID + 1))
            if webcam_id not in ids and split.split_of(webcam_id) == wanted:
                break
        ids[webcam_id] = None
    return list(ids)


def draw_camera(options: DemoOptions, index: int, webcam_id: int) -> Camera:
    """Draw the camera of an index, which need not be one of the demo's."""
    rng = random_stream(options.seed, Stream.CAMERA, index)
    scene = SCENE_KINDS[rng.choice(len(SCENE_KINDS), p=(0.2, 0.2, 0.18, 0.18, 0.12, 0.12))]
    country, latitude, longitude, names = _PLACES[rng.integers(len(_PLACES))]
    place = names[rng.integers(len(names))]
    spot = _SCENE_NAMES[scene][rng.integers(len(_SCENE_NAMES[scene]))]
    # Operators point cameras at the sunset more often than at the sunrise, and often at neither.
    facing = rng.choice((265.0, 95.0, rng.uniform(0, 360)), p=(0.4, 0.2, 0.4))
    scale, aspect = _FORMATS[rng.choice(len(_FORMATS), p=(0.5, 0.14, 0.14, 0.1, 0.12))]
    width = round(options.image_width * scale)
    return Camera(
        index=index,
        webcam_id=webcam_id,
        title=f"{place}: {spot}",
        source="windy" if rng.random() < 0.8 else "custom",
        country=country,
        latitude=round(latitude + float(rng.normal(0, 0.6)), 5),
        longitude=round(longitude + float(rng.normal(0, 0.6)), 5),
        view_count=int(10 ** rng.normal(3.6, 0.9)) if rng.random() < 0.9 else None,
        rating=int(rng.integers(2, 6)) if rng.random() < 0.6 else None,
        share=0.0 if index == MIRROR_INDEX else (index + 2.5) ** -1.05,
        scene=scene,
        view_azimuth=float((facing + rng.normal(0, 22)) % 360),
        field_of_view=float(rng.uniform(50, 78)),
        horizon=float(rng.uniform(0.52, 0.76)),
        width=width,
        height=round(width * aspect),
        scenic=float(rng.beta(2, 2)),
        cloudiness=float(rng.beta(3, 3)),
        white_balance=(float(np.exp(rng.normal(0, 0.13))), float(np.exp(rng.normal(0, 0.17)))),
        auto_white_balance=float(rng.beta(2, 2)) * 0.75,
        exposure=float(rng.normal(0, 0.2)),
        saturation=float(np.clip(rng.normal(1.0, 0.1), 0.7, 1.3)),
        contrast=float(np.clip(rng.normal(1.25, 0.08), 1.0, 1.5)),
        noise=float(rng.gamma(2.0, 0.002)),
        vignette=float(rng.beta(1.5, 3)) * 0.6,
        blur=float(rng.gamma(2.0, 0.16)),
        jpeg_quality=int(rng.integers(52, 91)),
        caption=rng.choice(("none", "bar", "corner"), p=(0.5, 0.2, 0.3)),
    )


# Width relative to the usual one, and height relative to the width.
_FORMATS = ((1.0, 9 / 16), (1.0, 3 / 4), (0.8, 9 / 16), (0.75, 3 / 4), (1.125, 9 / 16))
