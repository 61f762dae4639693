"""`webcam-ml score`: images in, one JSON object a line out.

This package has no network access: the caller passes in the function that fetches a URL.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from webcam_ml.scoring._image_error import ImageError
from webcam_ml.scoring._score import WebcamMetadata
from webcam_ml.scoring._scorer import ImageSource, ScoredImage, Scorer

_CREDENTIALS = re.compile(r"://[^/?#]*@")


def add_score_command(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
    *,
    fetch: Callable[[str], bytes],
) -> None:
    """Add ``score`` to a command line.

    Args:
        subparsers: What `argparse.ArgumentParser.add_subparsers` returned. The parsed arguments
            carry ``run``, a function from them to the exit code.
        fetch: Gets the content behind a URL, or raises WebcamMLError.
    """
    parser = subparsers.add_parser(
        "score",
        help="score images with the model that AI_SCORING_MODE and AI_ONNX_MODEL_PATH name",
        description=(
            "Print one JSON object a line, in the order of the images: rawScore (0-1), aiRating "
            "(1-5) and modelVersion, or error for an image that could not be scored. "
            "As in the application, if the environment's model cannot be "
            "used the score is that of baseline-v1, which knows nothing of the picture, and the "
            "reason is on stderr; with --model that is an error. Of a binary model, aiRating is a "
            "probability on the star scale, not an estimate of the rating. The exit code is 1 if "
            "an image could not be scored."
        ),
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE_OR_URL")
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="score with this ONNX file or not at all, whatever the environment says; its "
        "model.meta.json lies in the same folder",
    )
    parser.add_argument(
        "--details",
        action="store_true",
        help="add source, path (onnx or baseline), fallbackReason, targetType, decisionThreshold, "
        "heads (the score of each head, of a file with both), width, height and format",
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        metavar="N",
        help="how many images are worked on at a time (default: one for each core)",
    )
    baseline = parser.add_argument_group("what the baseline knows of the webcam")
    baseline.add_argument("--view-count", type=int, metavar="N")
    baseline.add_argument("--rating", type=float, metavar="STARS", help="the operator's, 1-5")
    baseline.add_argument("--phase", choices=["sunrise", "sunset"])
    parser.set_defaults(run=partial(_run, fetch=fetch))


def _run(arguments: argparse.Namespace, *, fetch: Callable[[str], bytes]) -> int:
    # As addresses in the database are: lists of files have blanks and line ends around names.
    sources: list[str] = [source.strip() for source in arguments.images]
    asked = arguments.model is not None
    scorer = (
        Scorer.of_model(arguments.model, threads=arguments.threads)
        if asked
        else Scorer.from_env(threads=arguments.threads)
    )
    if not asked:
        print(_say_which_scorer(scorer), file=sys.stderr)
    webcam = WebcamMetadata(
        view_count=arguments.view_count, rating=arguments.rating, phase=arguments.phase
    )
    results: Iterator[ScoredImage | ImageError] = scorer.score_many(
        (_image(source, fetch) for source in sources), webcams=[webcam] * len(sources)
    )
    if len(sources) > 1:
        from webcam_ml.progress import track  # brings tqdm, which a server that scores can spare

        results = track(results, total=len(sources), what="scoring", unit="images")
    # The progress bar is on the line that is printed next, so it is erased first.
    clear = "\r\x1b[K" if len(sources) > 1 and sys.stdout.isatty() and sys.stderr.isatty() else ""
    failed = 0
    for source, result in zip(sources, results, strict=True):
        if isinstance(result, ImageError):
            failed += 1
            print(clear + _told(source, f"{result.reason}: {result}"), file=sys.stderr)
            # A line for it too, so that line n is picture n.
            print(json.dumps({"error": result.reason}), flush=True)
            continue
        if asked and result.path != "onnx":
            failed += 1
            print(clear + _told(source, result.fallback_reason), file=sys.stderr)
            print(json.dumps({"error": "model_failed"}), flush=True)
            continue
        line: dict[str, object] = dict(result.score.to_dict())
        if arguments.details:
            line |= _details(source, result)
        print(clear + json.dumps(line), flush=True)
    return 1 if failed else 0


def _say_which_scorer(scorer: Scorer) -> str:
    """Say in a line which mode runs and why; what follows on stdout looks the same in all."""
    if scorer.model is not None:
        return f"scoring with {scorer.model.model_version} ({scorer.model.path})"
    if scorer.fallback_reason is not None:
        return f"scoring with baseline-v1 instead of a model: {scorer.fallback_reason}"
    return (
        "scoring with baseline-v1, which knows nothing of the picture: AI_SCORING_MODE is not onnx. "
        "To use the live model, give --model …/production/binary/model.onnx, or source the "
        "scorer.env beside it; after the first promotion source it again"
    )


def _image(source: str, fetch: Callable[[str], bytes]) -> ImageSource:
    return partial(fetch, source) if "://" in source else Path(source)


def _details(source: str, result: ScoredImage) -> dict[str, object]:
    model = result.model
    return {
        "source": _without_password(source),
        "path": result.path,
        "fallbackReason": result.fallback_reason,
        "targetType": model and model.target_type,
        "decisionThreshold": model and model.decision_threshold,
        "heads": {target_type: score.to_dict() for target_type, score in result.heads.items()},
        "width": result.info and result.info.width,
        "height": result.info and result.info.height,
        "format": result.info and result.info.format,
    }


def _told(source: str, why: str | None) -> str:
    """Say why a picture has no score, in one line that has no other effect on a log or a terminal."""
    from webcam_ml.printable import printable  # a server that scores can spare it

    return printable(f"{_without_password(source)}: {why}")


def _without_password(source: str) -> str:
    return _CREDENTIALS.sub("://", source, count=1)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number
