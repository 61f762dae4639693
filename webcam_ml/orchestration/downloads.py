"""Files that somebody opens from the web page.

A page that came over http may not open a file:// link: browsers do nothing at all. Dagster's web
server gives out its own files and the logs of runs, ``/logs/<folder>/<name>/<extension>``, always as
a download, and follows no link that leads out of their folder. A copy among the logs can therefore be
had by a click, from another computer too, and what is in it never runs as part of the page.
"""

from pathlib import Path

from dagster import DagsterInstance, MarkdownMetadataValue, MetadataValue
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from webcam_ml.disagreement import GALLERY_FILE, QUEUE_FILE
from webcam_ml.errors import WebcamMLError
from webcam_ml.judging import WHAT_CHANGED_FILE
from webcam_ml.rating_queue import JUDGE_CONFLICTS_FILE, RATING_QUEUE_FILE
from webcam_ml.store import StoredArtifact, write_atomically

# What people take from the page; everything else is read by the next step.
OFFERED = (GALLERY_FILE, QUEUE_FILE, RATING_QUEUE_FILE, JUDGE_CONFLICTS_FILE, WHAT_CHANGED_FILE)


def offer(stored: StoredArtifact, name: str, *, instance: DagsterInstance) -> MarkdownMetadataValue:
    """Let the web page hand over a file of a stored artifact.

    Args:
        stored: The artifact.
        name: Of the file in it.
        instance: Whose web server it is. If it keeps its logs elsewhere than on this disk, there is
            no link.

    Returns:
        The link, in words.

    Raises:
        WebcamMLError: The folder of the logs is full or not writable.
    """
    file = stored.folder_with(name) / name
    logs = instance.compute_log_manager
    if not isinstance(logs, LocalComputeLogManager):
        return MetadataValue.md("in the folder that path names")
    log_key = [stored.asset, stored.version, file.stem]
    extension = file.suffix.removeprefix(".")
    copy = Path(logs.get_captured_local_path(log_key, extension))
    content = file.read_bytes()
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, content)
    except OSError as error:
        raise WebcamMLError(
            f"{stored.asset} is stored in {stored.address}, but {name} could not be copied to "
            f"{copy.parent}, from where the web page hands it over: {error}. Free some space there "
            f"(all of {copy.parent.parent} may be deleted) or make the folder writable, then "
            f"materialize {stored.asset} again"
        ) from error
    address = "/".join(["/logs", *log_key, extension])
    return MetadataValue.md(f"[Download {name}]({address}), or take it from the folder under path")
