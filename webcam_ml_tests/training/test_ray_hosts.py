"""Fine-tuning by processes on hosts of their own: networks, names, processes and disks apart.

Linux gives them without a second machine, to root, or to whom it lets be root in a namespace of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from webcam_ml_tests.ray_cluster import DEADLINE, ROOT

pytestmark = pytest.mark.deployed

HEAD = "10.77.0.1"
PORT = 6400

# A bridge, on it the head, which has no core, and two hosts of one core. Their names lead nowhere, and where
# the run has its folder they have one that is empty. All of it ends with the shell.
SCRIPT = f"""
set -e
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add hosts type bridge
ip addr add {HEAD}/24 dev hosts
ip link set hosts up
ray start --head --node-ip-address={HEAD} --port={PORT} --num-cpus=0 --include-dashboard=false \
    --object-store-memory=100000000 --block > head.log 2>&1 &
for n in 2 3; do
    ip netns add host$n
    ip link add link$n type veth peer name eth0 netns host$n
    ip link set link$n master hosts up
    ip -n host$n link set lo up
    ip -n host$n addr add 10.77.0.$n/24 dev eth0
    ip -n host$n link set eth0 up
done
tries=120
until (exec 3<> /dev/tcp/{HEAD}/{PORT}) 2> /dev/null; do
    [ $((tries -= 1)) -gt 0 ] || {{ cat head.log; exit 1; }}
    sleep 0.5
done
for n in 2 3; do
    ip netns exec host$n unshare --mount --uts --pid --fork --mount-proc sh -c '
        cd /
        mount -t tmpfs tmpfs "$1"
        mount -t tmpfs tmpfs /tmp/ray
        hostname "$2"
        TMPDIR=$1 exec ray start --address={HEAD}:{PORT} --num-cpus=1 --object-store-memory=100000000 --block
    ' sh "$PWD" host$n > host$n.log 2>&1 &
done
python -c "$0"
"""

RUN = f"""
import os, time
from pathlib import Path
import ray
from webcam_ml.dataset.images import RayEngine
from webcam_ml_tests.training.test_ray_train import LONG, assert_equal, fine_tune, make_task, make_world, tune

if __name__ == "__main__":
    engine = RayEngine("{HEAD}:{PORT}")
    engine._connect()
    began = time.monotonic()
    while ray.cluster_resources().get("CPU") != 2:
        if time.monotonic() > began + {DEADLINE}:
            raise SystemExit("\\n".join(path.read_text() for path in Path.cwd().glob("*.log")))
        time.sleep(0.2)
    print(sorted(node["NodeManagerHostname"] for node in ray.nodes() if node["Resources"].get("CPU")))
    here = Path.cwd()
    os.environ["WEBCAM_ML_TESTS_SHARED"] = str(here)
    world = make_world(here / "world")
    task = make_task(world)
    theirs = tune(world, task, here / "cluster", engine.where)
    # As Ray gives each process of a core one thread.
    os.environ["OMP_NUM_THREADS"] = "1"
    settings = LONG.model_copy(update={{"devices": 2}})
    assert_equal(theirs, fine_tune(task, settings=settings, images=world.images, cache=here / "local"))
    print("equal")
"""


def test_hosts_whose_names_lead_nowhere_train_what_one_machine_trains(tmp_path: Path) -> None:
    run = subprocess.run(
        [
            "unshare", *(["--map-root-user"] if os.geteuid() else []), "--mount", "--net", "--pid",
            "--fork", "--kill-child", "--mount-proc", "bash", "-c", SCRIPT, RUN,
        ],
        cwd=tmp_path,
        env={
            **os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "", "RAY_worker_niceness": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert "['host2', 'host3']" in run.stdout
    assert run.stdout.splitlines()[-1] == "equal"
