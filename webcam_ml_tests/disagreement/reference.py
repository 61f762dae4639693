"""The ranking once more, slowly and from its definition: loops, lists and plain floats.

It shares no code with the package, nor the algorithms: isotonic regression is the max-min formula
(Robertson, Wright & Dykstra 1988, theorem 1.4.4) and not pool-adjacent-violators.
"""

from statistics import fmean


def isotonic_fit(scores: list[float], ratings: list[float]) -> dict[float, float]:
    """Score → fitted rating, for every score that occurs."""
    levels = sorted(set(scores))
    groups = [[r for s, r in zip(scores, ratings, strict=True) if s == level] for level in levels]

    def mean(first: int, last: int) -> float:
        return fmean(rating for group in groups[first : last + 1] for rating in group)

    n = len(levels)
    return {
        levels[i]: max(min(mean(a, b) for b in range(i, n)) for a in range(i + 1)) for i in range(n)
    }


def interpolated(fitted: dict[float, float], score: float) -> float:
    below = [level for level in fitted if level <= score]
    above = [level for level in fitted if level >= score]
    if not below or not above:
        return fitted[min(fitted) if not below else max(fitted)]
    low, high = max(below), min(above)
    if low == high:
        return fitted[low]
    return fitted[low] + (fitted[high] - fitted[low]) * (score - low) / (high - low)


def bin_edges(scores: list[float]) -> list[float]:
    """The least score with at least b/B of all rows at or below it, for b = 1 … B − 1."""
    bins = max(1, min(10, len(scores) // 30))
    edges = set()
    for b in range(1, bins):
        share = b / bins * (1 - 1e-12)
        edges.add(
            next(s for s in sorted(scores) if sum(t <= s for t in scores) / len(scores) >= share)
        )
    return sorted(edge for edge in edges if edge < max(scores))


def expected_correction_reference(rows: list[dict]) -> list[float]:
    fit = [r for r in rows if r["prediction_kind"] != "recorded_known_webcam"]
    if len(fit) < 30:
        fit = rows
    fitted = isotonic_fit([r["raw_score"] for r in fit], [r["label_value"] for r in fit])

    squares, freedom, several = 0.0, 0, 0
    for row in rows:
        votes = [star for star in range(1, 6) for _ in range(row[f"stars_{star}"])]
        if len(votes) > 1:
            several += 1
            freedom += len(votes) - 1
            squares += sum((vote - fmean(votes)) ** 2 for vote in votes)
    rho2 = squares / freedom if several >= 30 else 0.64
    n_bar = fmean(r["rating_count"] for r in fit)

    edges = bin_edges([r["raw_score"] for r in fit])

    def bin_of(score: float) -> int:
        return sum(edge < score for edge in edges)

    residuals: dict[int, list[float]] = {}
    for row in fit:
        residual = row["label_value"] - fitted[row["raw_score"]]
        residuals.setdefault(bin_of(row["raw_score"]), []).append(residual)
    spread = {
        b: (fmean((r - fmean(values)) ** 2 for r in values)) ** 0.5
        for b, values in residuals.items()
    }

    corrections = []
    for row in rows:
        noise = rho2 / row["rating_count"]
        pictures = max(spread[bin_of(row["raw_score"])] ** 2 - rho2 / n_bar, 0.1)
        distance = abs(row["label_value"] - interpolated(fitted, row["raw_score"]))
        corrections.append(distance * noise / (noise + pictures))
    return corrections
