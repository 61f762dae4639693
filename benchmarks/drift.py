"""How often drift is an alarm where there is none, and how soon where there is: tables of docs/monitoring.md.

Worlds of webcams, each with a level of its own, and frames around it, as unequally many of a webcam as in
the label database. No picture is needed: what is asked is what the test over webcams does.

    python -m benchmarks.drift
"""

import numpy as np
import numpy.typing as npt

from webcam_ml.monitoring import (
    FEWEST_WEBCAMS_OF_AN_ALARM,
    LARGEST_CHANCE_OF_DRIFT,
    SMALLEST_SHIFT,
    STATISTICS,
    welch,
)

Values = npt.NDArray[np.float64]

YEARS, WORLDS = 50, 400
TEST_WEBCAMS, TEST_ROWS = 85, 747
SERVED_WEBCAMS = 600
# Of so many frames a day; what is drawn of the last 30 days every day.
FRAMES_A_DAY, DAYS, WINDOW = 1_000, 365, 30
GROUPS = 3  # everything, sunrise, sunset
SHARE_OF_GROUP = (1.0, 0.5, 0.5)
WITHIN = 1.5  # spread of the frames of a webcam, in spreads between webcams


def sizes(random: np.random.Generator, webcams: int, rows: int) -> npt.NDArray[np.int64]:
    """Share rows out to webcams, a few having most; each has at least one."""
    weight = random.pareto(1.0, webcams) + 0.05
    return 1 + random.multinomial(rows - webcams, weight / weight.sum())


def levels(random: np.random.Generator, webcams: int) -> Values:
    """Skewed, as scores are: most webcams are dull."""
    drawn = random.gamma(2.0, size=webcams)
    return (drawn - 2) / np.sqrt(2)


def means(random: np.random.Generator, level: Values, rows: npt.NDArray[np.int64]) -> Values:
    return level + WITHIN * random.normal(size=len(level)) / np.sqrt(rows)


def is_alarm(before: Values, after: Values) -> bool:
    difference, _, _, chance = welch(before, after)
    return (
        min(len(before), len(after)) >= FEWEST_WEBCAMS_OF_AN_ALARM
        and abs(difference) > SMALLEST_SHIFT * before.std(ddof=1)
        and chance < LARGEST_CHANCE_OF_DRIFT
    )


def alarms_of_a_year(random: np.random.Generator) -> int:
    """Count the alarms that begin, over all statistics and groups, in a year of an audit a day."""
    begun = 0
    for _ in STATISTICS:
        for share in SHARE_OF_GROUP:
            before = means(
                random,
                levels(random, TEST_WEBCAMS),
                sizes(random, TEST_WEBCAMS, TEST_ROWS),
            )
            level = levels(random, SERVED_WEBCAMS)
            often = random.pareto(1.0, SERVED_WEBCAMS) + 0.05
            frames = random.poisson(
                share * FRAMES_A_DAY * often / often.sum(), (DAYS + WINDOW, SERVED_WEBCAMS)
            )
            noise = WITHIN * np.sqrt(frames) * random.normal(size=frames.shape)
            counted, summed = (np.cumsum(part, axis=0) for part in (frames, frames * level + noise))
            was = False
            for day in range(WINDOW, DAYS + WINDOW):
                rows = counted[day] - counted[day - WINDOW]
                seen = rows > 0
                now = (summed[day] - summed[day - WINDOW])[seen] / rows[seen]
                alarm = is_alarm(before, now)
                begun += alarm and not was
                was = alarm
    return begun


def found(random: np.random.Generator, shift: float, webcams: int) -> bool:
    """Say whether 500 frames of other webcams raise an alarm, their levels shifted."""
    before = means(random, levels(random, TEST_WEBCAMS), sizes(random, TEST_WEBCAMS, TEST_ROWS))
    rows = np.full(webcams, 500 // webcams)
    return is_alarm(before, means(random, levels(random, webcams) + shift, rows))


def main() -> None:
    random = np.random.default_rng(0)
    years = [alarms_of_a_year(random) for _ in range(YEARS)]
    print(
        f"Nothing moves, an audit a day: {np.mean(years):.2f} alarms a year "
        f"({sum(one > 0 for one in years)} of {YEARS} years have any, at most {max(years)}), over "
        f"{len(STATISTICS)} statistics and {GROUPS} groups.\n"
    )
    print("| shift, in spreads between webcams | 50 webcams | 125 webcams | 250 webcams |")
    print("|---|---|---|---|")
    for shift in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5):
        cells = [
            f"{np.mean([found(random, shift, webcams) for _ in range(WORLDS)]):.2f}"
            for webcams in (50, 125, 250)
        ]
        print(f"| {shift:g} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
