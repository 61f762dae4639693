"""Over which network the processes of several machines train; imported where Ray Train is used."""

import os
from typing import Any

import psutil
from ray.train.torch import TorchConfig

from webcam_ml.dataset.images import import_ray

INTERFACE = "GLOO_SOCKET_IFNAME"


class ClusterNetwork(TorchConfig):
    """Lets processes talk over the network by which their machines are in the cluster.

    Gloo by itself takes the address that a machine's own name leads to. That is 127.0.1.1 where Debian was
    installed as usual, and where the name leads nowhere gloo takes the loopback, too: no other machine gets
    through to it.
    """

    @property
    def backend_cls(self) -> type:
        """Ray Train's own, which chooses before it connects."""
        backend: Any = super().backend_cls

        def on_start(self: Any, worker_group: Any, backend_config: TorchConfig) -> None:
            worker_group.execute(choose_interface)
            backend.on_start(self, worker_group, backend_config)

        return type(backend.__name__, (backend,), {"on_start": on_start})


def choose_interface() -> None:
    """Name to gloo the interface that has this machine's address in the cluster, unless one is named."""
    here = import_ray().util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if here in (one.address for one in addresses):
            os.environ.setdefault(INTERFACE, name)
