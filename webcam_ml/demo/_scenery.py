"""What stands in front of the sky: a fixed foreground for each camera, drawn once."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webcam_ml.demo._cameras import Camera
from webcam_ml.demo._canvas import Canvas, Colour, Floats, Point, Scenery
from webcam_ml.demo._options import Stream, random_stream


def draw_scenery(seed: int, camera: Camera) -> Scenery:
    """Draw a camera's foreground."""
    rng = random_stream(seed, Stream.SCENERY, camera.index)
    canvas = Canvas(camera)
    draw = {
        "lake": _lake,
        "coast": _coast,
        "city": _city,
        "meadow": _meadow,
        "harbour": _harbour,
        "roofs": _roofs,
    }[camera.scene]
    draw(canvas, rng, camera.horizon)
    if rng.random() < 0.35:
        _pole(canvas, rng, camera.horizon)
    return canvas.scenery(_texture(rng, camera))


def _texture(rng: np.random.Generator, camera: Camera) -> Floats:
    """Mottling of surfaces, finer towards the horizon, (height, width)."""
    fine = rng.normal(0, 1, (camera.height, camera.width)).astype(np.float32)
    coarse = rng.normal(0, 1, (camera.height // 6 + 1, camera.width // 10 + 1)).astype(np.float32)
    blobs = np.asarray(
        Image.fromarray(coarse).resize((camera.width, camera.height), Image.Resampling.BICUBIC)
    )
    return np.clip(0.15 * fine + 0.14 * blobs, -0.6, 0.9).astype(np.float32)


def _skyline(rng: np.random.Generator, points: int, roughness: float) -> NDArray[np.float64]:
    """A rough line from 0 to 1: noise with a power-law spectrum."""
    frequency = np.arange(points // 2 + 1)
    amplitude = np.where(frequency == 0, 0, np.maximum(frequency, 1.0) ** -roughness)
    phases = np.exp(2j * np.pi * rng.random(len(frequency)))
    line = np.fft.irfft(amplitude * phases, n=points)
    low, high = line.min(), line.max()
    return np.asarray((line - low) / (high - low))


def _ridge(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    base: float,
    height: float,
    colour: Colour,
    depth: float,
    roughness: float = 1.4,
) -> None:
    """Hills or mountains that stand on a height of the picture."""
    line = _skyline(rng, 256, roughness)[: int(rng.integers(120, 220))]
    xs = np.linspace(0, 1, len(line))
    top = [(float(x), float(base - height * y)) for x, y in zip(xs, line, strict=True)]
    canvas.polygon([(0, base + 0.02), *top, (1, base + 0.02)], colour, depth=depth)


def _vary(rng: np.random.Generator, colour: Colour, amount: float = 14) -> Colour:
    shift = rng.normal(0, amount)
    red, green, blue = (int(np.clip(c + shift + rng.normal(0, amount / 5), 4, 250)) for c in colour)
    return red, green, blue


def _ground(canvas: Canvas, top: float, colour: Colour, rng: np.random.Generator) -> None:
    """Ground from the horizon to the lower edge, nearer below."""
    steps = 10
    for step in range(steps):
        begin, end = (top + (1.01 - top) * (place / steps) ** 1.5 for place in (step, step + 1))
        distance = 0.75 * (1 - step / steps) ** 2
        canvas.box(0, begin, 1, end, _vary(rng, colour, 5), depth=distance)


def _lake(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    for layer in range(int(rng.integers(2, 4))):
        _ridge(
            canvas, rng,
            base=horizon + 0.004, height=float(rng.uniform(0.08, 0.24)) * (1 - 0.28 * layer),
            colour=_vary(rng, (70, 86, 84)), depth=0.9 - 0.22 * layer,
            roughness=float(rng.uniform(1.25, 1.6)),
        )  # fmt: skip
    canvas.water(horizon + 0.004, 1.01, _vary(rng, (40, 58, 66), 6))
    if rng.random() < 0.7:
        _shore(canvas, rng)
    if rng.random() < 0.6:
        _trees(canvas, rng, float(rng.uniform(0.88, 1.0)), pines=True)


def _coast(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    if rng.random() < 0.5:
        side = rng.random() < 0.5
        line = _skyline(rng, 128, 1.5)[:64] * np.linspace(1, 0, 64)
        height = float(rng.uniform(0.05, 0.16))
        reach = float(rng.uniform(0.3, 0.65))
        xs = np.linspace(0, reach, 64)
        top = [
            (float(x if side else 1 - x), float(horizon + 0.004 - height * y))
            for x, y in zip(xs, line, strict=True)
        ]
        ends = (
            ((0.0, horizon + 0.01), (reach, horizon + 0.01))
            if side
            else ((1.0, horizon + 0.01), (1 - reach, horizon + 0.01))
        )
        canvas.polygon([ends[0], *top, ends[1]], _vary(rng, (76, 80, 72)), depth=0.7)
    canvas.water(horizon, 1.01, _vary(rng, (44, 66, 78), 6))
    if rng.random() < 0.55:
        _pier(canvas, rng, horizon)
    if rng.random() < 0.75:
        _beach(canvas, rng)
    if rng.random() < 0.3:
        _palms(canvas, rng)


def _city(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    if rng.random() < 0.5:
        _ridge(
            canvas,
            rng,
            base=horizon + 0.01,
            height=float(rng.uniform(0.05, 0.14)),
            colour=_vary(rng, (84, 92, 92)),
            depth=0.9,
        )
    river = rng.random() < 0.4
    _ground(canvas, horizon, (92, 92, 90), rng)
    if river:
        canvas.water(horizon + 0.05, 1.01, _vary(rng, (46, 60, 64), 6))
    for row, depth in enumerate((0.6, 0.38, 0.16)):
        if river and row == 2:
            break
        base = horizon + (0.02, 0.06, 0.3)[row]
        tallest = float(rng.uniform(0.1, 0.26)) * (1 - 0.15 * row)
        x = -0.02
        while x < 1:
            width = float(rng.uniform(0.025, 0.09)) * (1 + row * 0.6)
            if rng.random() < (0.9, 0.75, 0.6)[row]:
                height = tallest * float(rng.beta(1.6, 2.6)) + 0.02 + 0.16 * (row == 2)
                _building(canvas, rng, x=x, base=base, width=width, height=height, depth=depth)
            x += width + float(rng.exponential(0.006))


def _meadow(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    snow = rng.random() < 0.25
    for layer in range(int(rng.integers(2, 5))):
        colour = (170, 176, 186) if snow and layer == 0 else (74, 88, 72)
        _ridge(
            canvas, rng,
            base=horizon + 0.01 + 0.02 * layer, height=float(rng.uniform(0.06, 0.22)) * (1 - 0.2 * layer),
            colour=_vary(rng, colour), depth=max(0.15, 0.92 - 0.24 * layer),
            roughness=float(rng.uniform(1.3, 1.7)),
        )  # fmt: skip
    _ground(canvas, horizon + 0.02, (182, 188, 196) if snow else (86, 106, 58), rng)
    if rng.random() < 0.7:
        _tree_line(canvas, rng, horizon + float(rng.uniform(0.05, 0.12)))
    if rng.random() < 0.5:
        _fence(canvas, rng)
    if rng.random() < 0.5:
        _trees(canvas, rng, float(rng.uniform(0.9, 1.0)), pines=bool(rng.random() < 0.6))
    if rng.random() < 0.35:
        _house(
            canvas,
            rng,
            x=float(rng.uniform(0.1, 0.7)),
            base=horizon + float(rng.uniform(0.12, 0.2)),
            width=float(rng.uniform(0.08, 0.16)),
            depth=0.12,
            foot=0.012,
        )


def _harbour(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    _ridge(
        canvas,
        rng,
        base=horizon + 0.004,
        height=float(rng.uniform(0.03, 0.14)),
        colour=_vary(rng, (78, 86, 84)),
        depth=0.8,
    )
    canvas.water(horizon + 0.004, 1.01, _vary(rng, (44, 58, 62), 6))
    quay = horizon + float(rng.uniform(0.08, 0.14))
    for _ in range(int(rng.integers(6, 22))):
        _sailing_boat(canvas, rng, float(rng.uniform(0, 1)), quay + float(rng.uniform(-0.02, 0.1)))
    canvas.polygon(
        ((0, 0.93), (1, 0.9), (1, 1.01), (0, 1.01)), _vary(rng, (104, 100, 94)), depth=0.05
    )


def _roofs(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    _ridge(
        canvas,
        rng,
        base=horizon + 0.01,
        height=float(rng.uniform(0.04, 0.12)),
        colour=_vary(rng, (84, 94, 84)),
        depth=0.85,
    )
    _ground(canvas, horizon, (96, 98, 88), rng)
    _tree_line(canvas, rng, horizon + 0.03)
    for row in range(3):
        x = float(rng.uniform(-0.1, 0))
        base = horizon + 0.07 + 0.11 * row
        while x < 1:
            width = float(rng.uniform(0.08, 0.16)) * (1 + 0.4 * row)
            _house(canvas, rng, x=x, base=base, width=width, depth=0.3 - 0.1 * row, foot=0.3)
            x += width * float(rng.uniform(0.9, 1.35))
    if rng.random() < 0.5:
        _car_park(canvas, rng)


def _building(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    x: float,
    base: float,
    width: float,
    height: float,
    depth: float,
) -> None:
    top = base - height
    colour = _vary(rng, (112, 108, 104), 24)
    canvas.box(x, top, x + width, base + 0.3, colour, depth=depth)
    if rng.random() < 0.25:
        middle = x + width / 2
        canvas.line(((middle, top), (middle, top - 0.05)), colour, width=0.0015, depth=depth)
    across = max(2, int(width / 0.011))
    # Down to the ground, which is hidden by what stands in front.
    storey = 0.022
    floors = max(2, int((height + 0.25) / storey))
    glass = _vary(rng, (70, 76, 84), 8)
    for floor in range(floors):
        for column in range(across):
            left = x + width * (column + 0.25) / across
            upper = top + storey * (floor + 0.3)
            pane = (left, upper, left + 0.5 * width / across, upper + 0.45 * storey)
            if depth < 0.5:
                canvas.box(*pane, glass, depth=depth)
            if rng.random() < 0.22:
                canvas.lamp(*pane, _vary(rng, (255, 200, 120), 18))


def _house(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    x: float,
    base: float,
    width: float,
    depth: float,
    foot: float,
) -> None:
    wall = float(rng.uniform(0.05, 0.09))
    roof = float(rng.uniform(0.04, 0.08))
    body = _vary(rng, (168, 160, 146), 18)
    canvas.box(x, base - wall, x + width, base + foot, body, depth=depth)
    tiles = _vary(rng, (118, 70, 54) if rng.random() < 0.6 else (84, 84, 88), 12)
    inset = width * float(rng.uniform(0.05, 0.5))
    eaves, ridge = base - wall, base - wall - roof
    gable = ((x - 0.008, eaves), (x + inset, ridge), (x + width - inset * 0.3, ridge))
    canvas.polygon((*gable, (x + width + 0.008, eaves)), tiles, depth=depth)
    for column in range(3):
        left = x + width * (0.15 + 0.27 * column)
        pane = (left, base - wall * 0.75, left + width * 0.12, base - wall * 0.3)
        canvas.box(*pane, (64, 68, 74), depth=depth)
        if rng.random() < 0.4:
            canvas.lamp(*pane, (255, 205, 130))


def _tree_line(canvas: Canvas, rng: np.random.Generator, base: float) -> None:
    colour = _vary(rng, (48, 62, 42), 8)
    points: list[Point] = [(0, base + 0.03)]
    x = -0.01
    while x < 1.02:
        height = float(rng.gamma(4, 0.007))
        width = float(rng.uniform(0.004, 0.014))
        points += [
            (x, base - height * 0.5),
            (x + width / 2, base - height),
            (x + width, base - height * 0.55),
        ]
        x += width
    canvas.polygon([*points, (1.02, base + 0.03)], colour, depth=0.35)


def _trees(canvas: Canvas, rng: np.random.Generator, base: float, *, pines: bool) -> None:
    """A few trees near the camera, at the sides."""
    for _ in range(int(rng.integers(1, 6))):
        x = float(rng.beta(0.4, 0.4))
        height = float(rng.uniform(0.2, 0.5))
        colour = _vary(rng, (40, 52, 36), 6)
        if pines:
            for tier in range(6):
                top = base + 0.1 - height * (1 - tier / 7)
                half = 0.012 + 0.055 * (tier + 1) / 6 * height / 0.5
                canvas.polygon(
                    ((x - half, top + height / 4), (x, top), (x + half, top + height / 4)),
                    colour,
                    depth=0.03,
                )
        else:
            canvas.line(
                ((x, base + 0.1), (x, base - height * 0.6)), (58, 46, 36), width=0.008, depth=0.03
            )
            crown = float(rng.uniform(0.025, 0.04))
            for _ in range(70):
                across, up = rng.normal(0, 1, 2)
                at = (x + crown * float(across), base - height * 0.7 + 1.3 * crown * float(up))
                radius = float(rng.uniform(0.006, 0.016))
                canvas.disk(at, radius, _vary(rng, colour, 6), depth=0.03)


def _palms(canvas: Canvas, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, lean = float(rng.beta(0.5, 0.5)), float(rng.normal(0, 0.03))
        top = float(rng.uniform(0.25, 0.5))
        trunk = [(x, 1.0), (x + lean * 0.3, (1 + top) / 2), (x + lean, top)]
        canvas.line(trunk, (72, 60, 46), width=0.009, depth=0.02)
        for angle in np.linspace(-2.8, -0.3, 9) + rng.normal(0, 0.1, 9):
            reach = float(rng.uniform(0.07, 0.1))
            dx, dy = float(np.cos(angle)) * reach, float(np.sin(angle)) * reach
            crown = x + lean
            frond = [
                (crown, top),
                (crown + dx * 0.6, top + dy * 0.9),
                (crown + dx, top + dy * 0.5 + 0.05),
            ]
            canvas.line(frond, (46, 66, 38), width=0.007, depth=0.02)


def _shore(canvas: Canvas, rng: np.random.Generator) -> None:
    line = _skyline(rng, 64, 1.6)[:40]
    top = [
        (float(x), float(0.97 - 0.1 * y)) for x, y in zip(np.linspace(0, 1, 40), line, strict=True)
    ]
    canvas.polygon([(0, 1.01), *top, (1, 1.01)], _vary(rng, (74, 78, 58)), depth=0.05)


def _beach(canvas: Canvas, rng: np.random.Generator) -> None:
    left, right = rng.uniform(0.78, 0.96, 2)
    canvas.polygon(
        ((0, float(left)), (1, float(right)), (1, 1.01), (0, 1.01)),
        _vary(rng, (176, 158, 128)),
        depth=0.05,
    )


def _pier(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    x0, x1 = float(rng.uniform(-0.05, 0.3)), float(rng.uniform(0.45, 0.8))
    if rng.random() < 0.5:
        x0, x1 = 1 - x0, 1 - x1
    y0, y1 = float(rng.uniform(0.84, 0.95)), horizon + float(rng.uniform(0.02, 0.06))
    wood = _vary(rng, (92, 78, 64))
    canvas.polygon(
        ((x0 - 0.05, y0 + 0.03), (x0 + 0.05, y0), (x1 + 0.004, y1), (x1 - 0.004, y1 + 0.004)),
        wood,
        depth=0.12,
    )
    for step in np.linspace(0, 1, 14) ** 0.6:
        x, y = x0 + (x1 - x0) * float(step), y0 + (y1 - y0) * float(step)
        size = 1 - float(step) * 0.9
        canvas.line(
            ((x, y - 0.05 * size), (x, y + 0.09 * size)), wood, width=0.006 * size, depth=0.12
        )
    canvas.lamp(x1 - 0.003, y1 - 0.03, x1 + 0.003, y1 - 0.02, (255, 220, 150))


def _sailing_boat(canvas: Canvas, rng: np.random.Generator, x: float, water: float) -> None:
    size = float(rng.uniform(0.6, 1.3))
    hull = _vary(rng, (190, 190, 188), 24)
    canvas.polygon(
        (
            (x - 0.03 * size, water - 0.012),
            (x + 0.035 * size, water - 0.014),
            (x + 0.025 * size, water + 0.006),
            (x - 0.024 * size, water + 0.006),
        ),
        hull,
        depth=0.2,
    )
    top = water - float(rng.uniform(0.14, 0.3)) * size
    canvas.line(((x, water - 0.01), (x, top)), (150, 150, 152), width=0.0018, depth=0.2)
    canvas.line(
        ((x, top), (x + 0.03 * size, water - 0.012)), (120, 120, 122), width=0.0008, depth=0.2
    )


def _car_park(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.polygon(
        ((0, 0.88), (1, 0.88), (1, 1.01), (0, 1.01)), _vary(rng, (88, 88, 90), 6), depth=0.03
    )
    for x in np.arange(0.02, 1, 0.09):
        if rng.random() < 0.6:
            colour = _vary(rng, (120, 116, 116), 50)
            at = float(x)
            canvas.polygon(
                ((at, 0.96), (at + 0.01, 0.915), (at + 0.055, 0.915), (at + 0.068, 0.96)),
                colour,
                depth=0.02,
            )


def _fence(canvas: Canvas, rng: np.random.Generator) -> None:
    wood = _vary(rng, (86, 72, 58))
    y = float(rng.uniform(0.86, 0.94))
    for rail in (0.0, 0.035):
        canvas.line(((0, y + rail), (1, y + rail + 0.02)), wood, width=0.004, depth=0.02)
    for x in np.arange(float(rng.uniform(0, 0.1)), 1, 0.12):
        canvas.line(((float(x), y - 0.02), (float(x), y + 0.1)), wood, width=0.006, depth=0.02)


def _pole(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    x = float(rng.choice((rng.uniform(0.03, 0.25), rng.uniform(0.75, 0.97))))
    top = horizon - float(rng.uniform(0.2, 0.4))
    canvas.line(((x, 1.0), (x, top)), (60, 60, 62), width=0.005, depth=0.02)
    if rng.random() < 0.5:
        canvas.line(((x, top), (x + 0.05, top - 0.005)), (60, 60, 62), width=0.003, depth=0.02)
        canvas.lamp(x + 0.035, top - 0.004, x + 0.055, top + 0.006, (255, 225, 170))
    else:
        for wire in (0.01, 0.03):
            canvas.line(
                ((-0.01, top + wire + 0.05), (x, top + wire), (1.01, top + wire - 0.06)),
                (40, 40, 42),
                width=0.0008,
                depth=0.02,
            )
