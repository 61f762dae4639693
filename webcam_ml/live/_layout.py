"""Where the live models are: names in ``production/``, which are a contract, and scorer.env."""

import shlex
from pathlib import Path
from typing import Literal

from webcam_ml.contracts import TargetType
from webcam_ml.errors import WebcamMLError
from webcam_ml.export import META_FILE, MODEL_FILE
from webcam_ml.scoring import scoring_environment
from webcam_ml.store import ArtifactStore, is_plain_name

PRODUCTION = "production"
VERSIONS = "versions"
BOTH: Literal["both"] = "both"
ENVIRONMENT_FILE = "scorer.env"
LEDGER_FILE = "ledger.jsonl"
HEAD_FILE = "ledger.head"
JUDGED_FILE = "judged.jsonl"
REFUSALS_FILE = "refusals.jsonl"
# Files of lines whose ends the head names, as it names that of the ledger.
BESIDE_LEDGER = (JUDGED_FILE, REFUSALS_FILE)
VERSION_FILES = (MODEL_FILE, META_FILE)


def production_folder(store: ArtifactStore) -> Path:
    """Give the folder of ledger, versions and links."""
    return store.root / PRODUCTION


def version_folder(store: ArtifactStore, model_version: str) -> Path:
    """Give the folder of one version that is or was live.

    Raises:
        WebcamMLError: The version is no name of a folder.
    """
    if not is_plain_name(model_version):
        raise WebcamMLError(
            f"{model_version!r} is no name of a model version, which is the name of a folder: somebody "
            "changed what names it. Export the model again (onnx_model), or bring the store back from "
            "a backup"
        )
    return production_folder(store) / VERSIONS / model_version


def live_link(store: ArtifactStore, target_type: TargetType | Literal["both"]) -> Path:
    """Give the symbolic link to the live version of a target type, or to the file with both heads."""
    return production_folder(store) / target_type


def link_target(model_version: str) -> str:
    """Give what the link points to: relative, so that the store may be moved as a whole."""
    return f"{VERSIONS}/{model_version}"


def environment_file(
    store: ArtifactStore, target_type: TargetType | Literal["both"], model_version: str
) -> bytes:
    """Give the content of a version's scorer.env, which names the stable path of the link.

    The path is absolute, for it is read from anywhere; so it depends on where the store is, and no
    digest covers it: it is compared with what this function gives.
    """
    stable = live_link(store, target_type).absolute() / MODEL_FILE
    variables = scoring_environment(stable, model_version)
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()).encode()
