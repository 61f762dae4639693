"""`webcam-ml demo-data`: the options of a demo on the command line."""

import argparse
from pathlib import Path

from webcam_ml.demo._options import UNRATED_WITH_JUDGES, DemoOptions


def add_demo_data_command(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Define `demo-data`; its `run` takes the parsed arguments and returns the exit code."""
    usual = DemoOptions()
    parser = subparsers.add_parser(
        "demo-data",
        help="make a label database and pictures of drawn webcams",
        description=(
            "Make a label database in the application's schema, and the pictures of drawn webcams "
            "that it names. Run again with the same options it does nothing; with more "
            "--snapshots it adds the difference."
        ),
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("demo"), help="of the pictures (%(default)s)"
    )
    parser.add_argument(
        "--database-url",
        help="an empty database to fill, e.g. postgresql://user@host/name "
        "(an SQLite file labels.sqlite in the folder)",
    )
    parser.add_argument("--webcams", type=int, default=usual.webcams, help="cameras (%(default)s)")
    parser.add_argument(
        "--snapshots", type=int, default=usual.snapshots, help="rated snapshots (%(default)s)"
    )
    parser.add_argument(
        "--raters", type=float, default=usual.raters_per_snapshot, metavar="MEAN",
        help="star ratings per rated snapshot (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--unrated", type=float, metavar="FRACTION",
        help=f"unrated snapshots for each rated one ({usual.unrated_fraction:g}; with --judges "
        f"{UNRATED_WITH_JUDGES:g})",
    )  # fmt: skip
    parser.add_argument(
        "--image-width", type=int, default=usual.image_width, metavar="PIXELS",
        help="of a typical picture (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=usual.seed, help="of every draw (%(default)s)")
    parser.add_argument(
        "--judges", action="store_true",
        help="language models, votes that a frame is no sunset, gold labels and pictures from "
        "elsewhere, too: for configs/all_judges.yaml",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the demo and say what there is now."""
    from webcam_ml.demo._make import make_demo_data
    from webcam_ml.progress import never_silent

    with never_silent():
        summary = make_demo_data(
            arguments.folder,
            database_url=arguments.database_url,
            webcams=arguments.webcams,
            snapshots=arguments.snapshots,
            raters_per_snapshot=arguments.raters,
            unrated_fraction=arguments.unrated,
            image_width=arguments.image_width,
            seed=arguments.seed,
            judges=arguments.judges,
            processes=True,
        )
    print(f"Demo data {summary.outcome}: {summary.pictures_drawn} pictures drawn.")
    unrated = summary.snapshots - summary.rated_snapshots
    print(
        f"  {summary.webcams} webcams, {summary.rated_snapshots} rated snapshots, {unrated} unrated"
    )
    stars = ", ".join(
        f"{star}: {count / summary.ratings:.0%}" for star, count in summary.stars.items()
    )
    print(f"  {summary.ratings} ratings by stars: {stars}")
    if summary.judged is not None:
        judged = summary.judged
        print(
            f"  {judged.scores} scores of language models, {judged.no_sunset} votes N, {judged.gold} "
            f"gold labels, {judged.elsewhere} pictures from elsewhere"
        )
    print(f"  pictures  {summary.folder / 'images'}")
    print(f"  database  {summary.database}")
    return 0
