"""A Ray cluster of several nodes, each a process of its own as on a machine of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil

# Without it Ray looks for a token in the home folder. It is read when Ray is imported.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
import ray
from ray.util import get_node_ip_address

RAY = Path(sys.executable).with_name("ray")
ROOT = Path(__file__).parents[1]
DEADLINE = 60.0
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@dataclass
class RayCluster:
    """A head and the nodes that joined it, one core each if nothing else is asked.

    Attributes:
        folder: Each node works in a folder of its own below it.
        address: Where the head listens.
        client_address: Where it listens for those that are no part of the cluster.
    """

    folder: Path
    address: str
    client_address: str
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def start(
        cls, folder: Path, variables: Mapping[str, str] = NO_VARIABLES, *, cores: int = 1
    ) -> "RayCluster":
        """Start a head."""
        port, client_port = free_port(), free_port()
        host = get_node_ip_address()
        cluster = cls(folder, f"{host}:{port}", f"ray://{host}:{client_port}")
        head = ("--head", f"--port={port}", "--include-dashboard=false")
        cluster._start(
            *head, f"--ray-client-server-port={client_port}", variables=variables, cores=cores
        )
        return cluster

    def join(
        self, variables: Mapping[str, str] = NO_VARIABLES, *, gpus: int = 0
    ) -> subprocess.Popen[bytes]:
        """Start a node that joins, and says that it has so many GPUs."""
        return self._start(f"--address={self.address}", f"--num-gpus={gpus}", variables=variables)

    def _start(
        self, *options: str, variables: Mapping[str, str], cores: int = 1
    ) -> subprocess.Popen[bytes]:
        folder = self.folder / f"node{len(self.nodes)}"
        folder.mkdir(parents=True)
        with (folder / "log").open("wb") as log:
            node = subprocess.Popen(
                [
                    RAY, "start", *options, "--block", f"--num-cpus={cores}",
                    f"--object-store-memory={100 * 2**20}",
                ],
                cwd=folder,
                env={
                    **os.environ, "PYTHONPATH": str(ROOT), "RAY_worker_niceness": "0",
                    "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "", **variables,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.nodes.append(node)
        began = time.monotonic()
        while b"started." not in (folder / "log").read_bytes():
            if node.poll() is not None or time.monotonic() > began + DEADLINE:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.1)
        return node

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """Let a node go as a machine goes without current: with all its workers, at once."""
        processes = [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait()

    def stop(self) -> None:
        """Stop what still runs, the head last."""
        for node in reversed(self.nodes):
            if node.poll() is None:
                self.kill(node)


@contextlib.contextmanager
def running_cluster(
    folder: Path, *, nodes: int, cores: int = 1, variables: Mapping[str, str] = NO_VARIABLES
) -> Iterator[RayCluster]:
    """Run a cluster of so many nodes, the head, which has the cores, among them."""
    cluster = RayCluster.start(folder, variables, cores=cores)
    try:
        for _ in range(nodes - 1):
            cluster.join(variables)
        yield cluster
    finally:
        # A process that is still connected waits 5 seconds for a head that is gone.
        ray.shutdown()
        cluster.stop()


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
