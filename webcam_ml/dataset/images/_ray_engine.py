"""The engine of several machines: tasks of Ray Core, each with the files of some pictures.

The pictures travel with the task, so a worker needs no storage that it shares with this process, only the
same package. What comes back is kept here, in the same cache as what threads compute. A task that was
lost with its worker or machine is done again elsewhere; a run that was killed goes on from what it kept.
"""

import logging
import os
import secrets
import signal
import socket
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from typing import Any

from webcam_ml.dataset.images._engine import Engine, PictureWork, Result, work_ahead
from webcam_ml.dataset.images._machine import Provider, machine_kind
from webcam_ml.dataset.images._ray_worker import compute_shard, describe, installed
from webcam_ml.errors import WebcamMLError
from webcam_ml.limits import available_cores

logger = logging.getLogger(__name__)

# What is lost with a worker at most. A task costs some milliseconds beside its pictures.
SHARD_ROWS = 128
SHARD_BYTES = 16 * 2**20
SHARDS_PER_WORKER = 4
# One that is computed, and one that is on its way.
AHEAD_PER_WORKER = 2
RETRIES = 3
SECONDS_TO_CONNECT = 5.0
TIMES_TO_JOIN = 4
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_TO_DESCRIBE = 120.0

# Read by Ray where its processes start, so they count for a cluster that this process starts, and the
# last two for this process in any case. By default a task is tried for ever that needs too much memory, and
# where one failed, those that were underway beside it are each told with a stack, as nobody asks for them.
ENVIRONMENT = {
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": str(RETRIES),
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}


OR_ELSE = (
    "mend the address (WEBCAM_ML_RAY_ADDRESS, or ray_address in the run config), leave it empty for a "
    "cluster on this machine, or set engine: local"
)


class RayEngine(Engine):
    """Works on a Ray cluster.

    Args:
        address: Of the cluster: `host:port`, `ray://host:port`, or `auto` for the one that this machine
            is part of; empty: one that is started on this machine and ends with this process.
        num_gpus: The part of a GPU that each task gets; 0: a core and none.

    Raises:
        WebcamMLError: Ray is not installed.
    """

    def __init__(self, address: str = "", *, num_gpus: float = 0.0) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # Only who knows the token may use a cluster that is started here. Ray itself would keep one in the
        # home folder, and from then on ask for it in other clusters. It has to be there before the import.
        if not address and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        import_ray()
        self._address = address
        self._num_gpus = num_gpus
        self.provider: Provider = "CUDAExecutionProvider" if num_gpus else "CPUExecutionProvider"

    def __str__(self) -> str:
        """Name it in a log."""
        return f"Ray ({self.where}, {self._slots()} at once)"

    def kind(self, provider: Provider) -> str:
        """Name the kind that all machines of the cluster are of; see `Engine`."""
        if not self._address and provider == "CPUExecutionProvider":
            return machine_kind(provider)  # known without a cluster, which may not be needed
        return self._kinds[provider]

    def each(
        self, work: PictureWork[Result], digests: Sequence[str], *, read: Callable[[str], bytes]
    ) -> Generator[tuple[str, Result], None, None]:
        """Do the work on each picture; see `Engine`.

        Raises:
            WebcamMLError: The cluster cannot be used, or a task was lost too often.
        """
        kind = self._kinds[self.provider]
        with explaining_lost_tasks(), closing(self._shards(work, digests, read)) as shards:
            for some, found, results in shards:
                if found != kind:
                    raise WebcamMLError(
                        f"a machine of the Ray cluster is of another kind ({found}) than those that it "
                        f"began with ({kind}): the last digits of their numbers differ. Nothing of it "
                        "was kept. Use machines of one kind, and run it again: the work goes on"
                    )
                yield from zip(some, results, strict=True)

    def _shards(
        self, work: PictureWork[Result], digests: Sequence[str], read: Callable[[str], bytes]
    ) -> Generator[tuple[Sequence[str], str, list[Result]], None, None]:
        ray = import_ray()
        task = ray.remote(compute_shard).options(
            num_cpus=1, num_gpus=self._num_gpus, max_retries=RETRIES, name=type(work).__name__
        )
        name, held = uuid.uuid4().hex, [ray.put(work)]
        slots = self._slots()
        rows = min(SHARD_ROWS, max(1, len(digests) // (SHARDS_PER_WORKER * slots)))
        pending: dict[Any, Sequence[str]] = {}
        # Where it ends early, what is underway ends by itself: to cancel a task that ends just then crashes
        # Ray, and with it this process, before it can say why (one of some 30 runs that failed).
        with closing(_parts(digests, rows, read)) as waiting:
            while True:
                while len(pending) < AHEAD_PER_WORKER * slots:
                    some, files = next(waiting, ((), ()))
                    if not some:
                        break
                    pending[task.remote(name, held, files, self.provider)] = some
                if not pending:
                    return
                done, _ = ray.wait(list(pending), timeout=SECONDS_BETWEEN_LOOKS)
                for one in done:
                    kind, results = ray.get(one)
                    yield pending.pop(one), kind, results
                now = self._slots()
                slots = now or slots
                if not done and not now:
                    raise WebcamMLError(
                        f"the Ray cluster ({self.where}) has no machine left to compute on. What was "
                        "computed is kept: start machines, and run it again"
                    )

    def cluster(self) -> Any:
        """Give Ray, connected to a cluster whose machines are alike.

        Raises:
            WebcamMLError: The cluster cannot be used.
        """
        _ = self._kinds  # connects, and refuses machines that are not alike
        return import_ray()

    def _slots(self) -> int:
        """How many tasks the cluster can do at once."""
        self._connect()
        resources = import_ray().cluster_resources()
        slots = int(resources.get("CPU", 0))
        if self._num_gpus:
            slots = min(slots, int(resources.get("GPU", 0) / self._num_gpus))
        return slots

    @cached_property
    def _kinds(self) -> dict[Provider, str]:
        """The kind of all machines, for each provider that is used; they must be alike."""
        self._connect()
        if not self._slots():
            what = f"a core and {self._num_gpus:g} of a GPU" if self._num_gpus else "a core"
            raise WebcamMLError(
                f"the Ray cluster ({self.where}) has no machine that offers {what}. Start one "
                "(`ray start --address …`), or set engine: local"
            )
        providers: set[Provider] = {"CPUExecutionProvider", self.provider}
        return {provider: self._kind_of_all(provider) for provider in sorted(providers)}

    def _kind_of_all(self, provider: Provider) -> str:
        ray = import_ray()
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        on_gpu = provider == "CUDAExecutionProvider"
        asked = {}
        for node in ray.nodes():
            resources = node["Resources"] if node["Alive"] else {}
            if not resources.get("CPU") or (on_gpu and not resources.get("GPU")):
                continue
            task = ray.remote(describe).options(
                num_cpus=0,
                num_gpus=self._num_gpus if on_gpu else 0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            )
            asked[node["NodeManagerAddress"] + " " + node["NodeID"][:6]] = task.remote(provider)
        answers: dict[str, tuple[str, dict[str, str]]] = {}
        with explaining_lost_tasks():
            for node_name, answer in asked.items():
                try:
                    answers[node_name] = ray.get(answer, timeout=SECONDS_TO_DESCRIBE)
                except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
                    logger.warning("the machine %s of the Ray cluster is gone", node_name)
                except ray.exceptions.RayTaskError as error:
                    raise WebcamMLError(
                        f"the machine {node_name} of the Ray cluster cannot run webcam_ml "
                        f"({str(error).strip().splitlines()[-1]}). Install the same there as here (pip "
                        "install -c constraints.txt), for the Python that runs `ray start`"
                    ) from error
        if not answers:
            raise WebcamMLError(
                f"the machines of the Ray cluster ({self.where}) are gone: start some, and run it again"
            )
        here = installed()
        for node_name, (_, there) in answers.items():
            unlike = [f"{name} {there.get(name)}" for name in here if there.get(name) != here[name]]
            if unlike:
                raise WebcamMLError(
                    f"the machine {node_name} of the Ray cluster has {', '.join(unlike)}, and this process "
                    f"{', '.join(f'{n} {here[n]}' for n in here if there.get(n) != here[n])}: its numbers "
                    "could differ. Install the same there (pip install -c constraints.txt), and start it anew"
                )
        kinds = {node_name: kind for node_name, (kind, _) in answers.items()}
        if len(set(kinds.values())) > 1:
            listed = "; ".join(f"{node_name}: {kind}" for node_name, kind in sorted(kinds.items()))
            raise WebcamMLError(
                "the machines of the Ray cluster are of several kinds, and the last digits of what they "
                f"compute differ ({listed}). Use machines of one kind"
            )
        return next(iter(kinds.values()))

    @property
    def where(self) -> str:
        """Where the cluster is, in words."""
        return self._address or "on this machine"

    def _connect(self) -> None:
        ray = import_ray()
        if ray.is_initialized():
            return
        quietly: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        with keeping_signal_handlers():
            if not self._address:
                ray.init(
                    address="local",
                    num_cpus=available_cores(),
                    include_dashboard=False,
                    # Nobody else is to reach it.
                    _node_ip_address="127.0.0.1",
                    **quietly,
                )
                return
            if self._address != "auto":
                require_answer(self._address)
            # Files sent within their tasks. What Ray advises, to put them first, took longer.
            warnings.filterwarnings("ignore", "More than 10MB of messages have been created")
            try:
                self._join(quietly)
            except (
                ConnectionError,
                RuntimeError,
                TimeoutError,
                ValueError,
                ray.exceptions.RayError,
            ) as error:
                raise WebcamMLError(_cannot_be_used(self._address, error)) from error

    def _join(self, quietly: dict[str, Any]) -> None:
        for left in reversed(range(TIMES_TO_JOIN)):
            try:
                import_ray().init(address=self._address, **quietly)
                return
            except ConnectionAbortedError as error:
                # For each client from outside the head starts a process, by a fork that gRPC's threads
                # do not always survive: it failed 3 of 40 times on a busy machine.
                if not left or "Starting Ray client server failed" not in str(error):
                    raise
                logger.warning("the head of the Ray cluster could not start a server; once more")


def import_ray() -> Any:
    """Import Ray, which is an extra.

    Raises:
        WebcamMLError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise WebcamMLError(
            f"engine: ray needs Ray, which is not installed here ({error}): pip install "
            "'webcam-ml[ray]', or set engine: local"
        ) from error
    return ray


@contextmanager
def explaining_lost_tasks() -> Iterator[None]:
    """Turn Ray's errors into sentences, and give back what a work itself raised.

    Raises:
        WebcamMLError: A task was lost, with its worker or machine, more often than it is tried again, or
            the cluster was.
    """
    from ray import exceptions

    kept = "What was computed before is kept, and the next run goes on from there"
    try:
        yield
    except exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, Exception) and not isinstance(cause, exceptions.RayError):
            raise cause from error
        raise
    except exceptions.OutOfMemoryError as error:
        raise WebcamMLError(
            f"Ray's memory monitor killed a worker {RETRIES + 1} times, because its machine was nearly out "
            f"of memory. {kept}. Give the machines more memory or fewer cores (`ray start --num-cpus`): each "
            "core takes a worker with the network and some pictures in memory"
        ) from error
    except exceptions.WorkerCrashedError as error:
        raise WebcamMLError(
            f"a worker of the Ray cluster died {RETRIES + 1} times over the same pictures: it was killed, "
            f"or a library crashed; the log of its machine (/tmp/ray/session_latest/logs) says more. {kept}"
        ) from error
    except (exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
        raise WebcamMLError(
            f"machines of the Ray cluster were lost {RETRIES + 1} times over the same pictures. {kept}"
        ) from error
    except exceptions.GetTimeoutError as error:
        raise WebcamMLError(
            "a machine of the Ray cluster starts no worker (its log, /tmp/ray/session_latest/logs, says "
            f"why). {kept}"
        ) from error
    # The second is what a client from outside raises.
    except (exceptions.RayError, ConnectionError) as error:
        raise WebcamMLError(
            f"the Ray cluster was lost, or failed ({str(error).strip() or type(error).__name__}). {kept}: "
            "start the cluster, and run it again"
        ) from error


@contextmanager
def keeping_signal_handlers() -> Iterator[None]:
    """Leave it to who started this process what SIGTERM does; Ray would exit at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def require_answer(address: str) -> None:
    """Check that somebody listens at an address, which takes Ray a minute.

    Raises:
        WebcamMLError: Nobody does, or it is no address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise WebcamMLError(
            f"{address!r} is no address of a Ray cluster: expected host:port, ray://host:port, auto, or "
            "nothing for a cluster on this machine"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise WebcamMLError(
            f"there is no Ray cluster at {address} ({error}): nobody listens there. Start one (`ray start "
            f"--head`), {OR_ELSE}"
        ) from error


def _cannot_be_used(address: str, error: Exception) -> str:
    said = str(error).strip().split("\n\n")[0]
    if "ersion mismatch" in said:
        return (
            f"the Ray cluster at {address} has another version of Ray or Python than this process "
            f"({' '.join(said.split())}). Install the same on both sides"
        )
    return (
        f"there is no Ray cluster at {address} that lets this process in ({' '.join(said.split())}). If it "
        f"asks for a token, set RAY_AUTH_MODE=token and its RAY_AUTH_TOKEN here; if it is none, {OR_ELSE}"
    )


def _parts(
    digests: Sequence[str], rows: int, read: Callable[[str], bytes]
) -> Generator[tuple[Sequence[str], Sequence[bytes]], None, None]:
    """Divide pictures into shards of so many, or of fewer that are large."""
    files: list[bytes] = []
    first = 0
    with closing(work_ahead(digests, read)) as ahead:
        for last, (_, file) in enumerate(ahead, start=1):
            files.append(file)
            if len(files) == rows or sum(map(len, files)) >= SHARD_BYTES or last == len(digests):
                yield digests[first:last], files
                first, files = last, []
