"""How good the choice of `model_name: auto` is: the table of ``docs/backbones.md``.

In a drawn world the truth is known. Webcams have pictures, people rate some, and each candidate sees what
the pictures hold through features of its own: so many numbers, mixed at random, with noise. How much noise
is drawn for each world, so in some a cheap candidate is as good as a dear one and in others it is not. The
rule of the graph (`fit_probe`, `compare_candidates`) chooses on the training webcams; every candidate's head
is then measured by ROC AUC on webcams that none of them saw. No network computes anything: what is tried is
the choice.

    python -m benchmarks.auto docs/backbones.md     # a few minutes
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.judges import POSITIVE_FROM, draw_features
from webcam_ml.contracts import target_of
from webcam_ml.features import BackboneSpec, Cost
from webcam_ml.metrics import binary_metrics
from webcam_ml.training import fit_probe
from webcam_ml.training._choice import Candidate, compare_candidates

BEGIN = "<!-- choices: made by python -m benchmarks.auto -->"
END = "<!-- end of choices -->"

WORLDS = 20
# Rated pictures of training webcams; pictures of other webcams that are measured; of all that are drawn.
LABELS = (500, 1000, 3000)
MEASURED = 6000
DRAWN = 18_000
BINARY = target_of("binary")


@dataclass(frozen=True)
class Drawn:
    """A candidate of a world: what a picture costs, how many features, and their usual noise."""

    name: str
    milliseconds: float
    features: int
    noise: float


CANDIDATES = (
    Drawn("mobilenet_v3_small", 5, 48, 1.3),
    Drawn("mobilenet_v3_large", 11, 64, 1.1),
    Drawn("resnet18", 50, 80, 1.0),
    Drawn("resnet50", 120, 128, 0.9),
    Drawn("convnext_tiny", 300, 96, 0.8),
)


@dataclass(frozen=True)
class Outcome:
    """Of one choice: ROC AUC on unseen webcams, and what a picture costs beside the best's."""

    of_chosen: float
    of_best: float
    of_least_loss: float
    of_cheapest: float
    milliseconds: float
    milliseconds_of_best: float


def outcome(seed: int, labels: int) -> Outcome:
    """Draw a world, choose in it, and measure all candidates."""
    world = draw_features(seed, DRAWN)
    rng = np.random.default_rng([seed, 17])
    webcams = rng.permutation(np.unique(world.webcams))
    unseen = np.isin(world.webcams, webcams[: len(webcams) // 2])
    test = rng.permutation(np.flatnonzero(unseen))[:MEASURED]
    train = rng.permutation(np.flatnonzero(~unseen))[:labels]
    positive = (world.people >= POSITIVE_FROM).astype(np.float64)
    target, groups = positive[train], world.webcams[train]
    listed, values_of, auc = [], {}, {}
    for one in CANDIDATES:
        # Some worlds are easy for cheap networks: the noise of each is drawn about its usual one.
        noise = one.noise * rng.lognormal(0, 0.5)
        seen = world.features / world.features.std(axis=0)
        seen = (seen + noise * rng.normal(size=seen.shape)) @ rng.normal(
            size=(seen.shape[1], one.features)
        )
        probe = fit_probe(seen[train], target, groups, asked=BINARY)
        spec = BackboneSpec(model_name=one.name, weights="none")
        listed.append(Candidate(spec, Cost(one.milliseconds, 0), True, loss=probe.loss))
        values_of[one.name] = probe.out_of_fold
        score = BINARY.squash(probe.head(seen[test]))
        found = binary_metrics(positive[test], score, threshold=0.5)["roc_auc"].value
        assert found is not None
        auc[one.name] = found
    _, chosen = compare_candidates(
        listed, values_of, target, groups, asked=BINARY, random_state=seed
    )
    name = chosen.spec.model_name
    least = min(listed, key=lambda one: one.loss or 0.0).spec.model_name
    best = max(auc, key=lambda name: auc[name])
    cost = {one.name: one.milliseconds for one in CANDIDATES}
    cheapest = min(cost, key=lambda name: cost[name])
    return Outcome(auc[name], auc[best], auc[least], auc[cheapest], cost[name], cost[best])


def rows() -> Iterator[str]:
    """Measure, a line for each number of labels."""
    yield (
        "| labels of training webcams | chosen below the best: mean, median, worst | within .005 | "
        "by least loss: mean, worst | the cheapest: mean, worst | time beside the best's |"
    )
    yield "|---|---|---|---|---|---|"
    for labels in LABELS:
        found = [outcome(seed, labels) for seed in range(WORLDS)]
        behind, least, cheapest = (
            np.array([one.of_best - getattr(one, name) for one in found])
            for name in ("of_chosen", "of_least_loss", "of_cheapest")
        )
        within = int((behind <= 0.005).sum())
        saved = np.exp(
            np.mean([np.log(one.milliseconds / one.milliseconds_of_best) for one in found])
        )
        yield (
            f"| {labels:,} | {behind.mean():.4f}, {np.median(behind):.4f}, {behind.max():.4f} | "
            f"{within} of {WORLDS} | {least.mean():.4f}, {least.max():.4f} | "
            f"{cheapest.mean():.4f}, {cheapest.max():.4f} | × {saved:.2f} |"
        )


def main() -> None:
    """Write the table into the page that the command line names."""
    page = Path(sys.argv[1])
    lines = []
    for line in rows():
        print(line, flush=True)
        lines.append(line)
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text("\n".join((before + BEGIN, *lines, END + after)), encoding="utf-8")


if __name__ == "__main__":
    main()
