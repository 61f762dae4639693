"""deploy/kubernetes/ray.yaml: what KubeRay makes of it, as far as that is known without a cluster."""

from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
from ray.scripts import scripts

from webcam_ml.dataset.images._ray_engine import ENVIRONMENT
from webcam_ml_tests.integration.test_kubernetes import KUBERNETES, SCHEMAS, documents

# The fields that ray.io/v1 has had since KubeRay 1.0; a pod template is judged by Kubernetes' own schema.
# KubeRay's definition of a RayCluster repeats that schema for each of its versions, in a megabyte.
WORDS = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 0}
GROUP = {"rayStartParams": WORDS, "template": {"type": "object"}}
RAY_CLUSTER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayCluster"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["headGroupSpec"],
            "properties": {
                "rayVersion": {"type": "string"},
                "headGroupSpec": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["rayStartParams", "template"],
                    "properties": GROUP,
                },
                "workerGroupSpecs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": [
                            "groupName", "minReplicas", "maxReplicas", "rayStartParams", "template",
                        ],
                        "properties": {
                            "groupName": {"type": "string"},
                            "replicas": COUNT,
                            "minReplicas": COUNT,
                            "maxReplicas": COUNT,
                            **GROUP,
                        },
                    },
                },
            },
        },
    },
}  # fmt: skip
# What KubeRay adds to `ray start` on every node.
ADDED = {"dashboard-agent-listen-port": "52365", "metrics-export-port": "8080", "memory": "1000000"}
CLIENT_PORT = 10001

OBJECTS = documents((KUBERNETES / "ray.yaml").read_text())
CLUSTER = OBJECTS["RayCluster", "webcam-ml-ray"]
HEAD = CLUSTER["spec"]["headGroupSpec"]
(WORKERS,) = CLUSTER["spec"]["workerGroupSpecs"]
GROUPS = pytest.mark.parametrize("group", [HEAD, WORKERS], ids=["head", "workers"])


def only_container(group: dict[str, Any]) -> dict[str, Any]:
    (one,) = group["template"]["spec"]["containers"]
    found: dict[str, Any] = one
    return found


def test_the_cluster_has_the_fields_of_its_kind() -> None:
    jsonschema.validate(CLUSTER, RAY_CLUSTER)
    assert CLUSTER["spec"]["rayVersion"] == ray.__version__
    assert WORKERS["minReplicas"] <= WORKERS["replicas"] <= WORKERS["maxReplicas"]


@GROUPS
@pytest.mark.parametrize("version", SCHEMAS)
def test_its_pods_are_what_kubernetes_takes(group: dict[str, Any], version: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "pod"},
        "template": group["template"],
    }
    kubernetes_validate.validate(pod, version, strict=True)


@GROUPS
def test_ray_starts_with_the_options(group: dict[str, Any]) -> None:
    given = ADDED | group["rayStartParams"]
    where = ["--head"] if group is HEAD else ["--address=webcam-ml-ray-head-svc:6379"]
    words = [f"--{name}={value}" for name, value in given.items()]
    scripts.start.make_context("start", [*where, "--block", *words])


@GROUPS
def test_a_node_has_the_token_and_what_the_engine_sets_for_its_own(group: dict[str, Any]) -> None:
    one = only_container(group)
    values = {entry["name"]: entry.get("value") for entry in one["env"]}
    assert values.pop("RAY_AUTH_MODE") == "token"
    assert values.pop("RAY_AUTH_TOKEN") is None  # from the secret
    assert values.items() <= ENVIRONMENT.items()
    # KubeRay's container that waits for the head gets these and no others.
    assert "envFrom" not in one
    # Else KubeRay sets probes that ask for what the image does not have.
    assert {"livenessProbe", "readinessProbe"} <= one.keys()


def test_tasks_go_to_workers_and_probes_to_ports_that_are_open() -> None:
    assert HEAD["rayStartParams"]["num-cpus"] == "0"
    worker = only_container(WORKERS)
    assert WORKERS["rayStartParams"]["num-cpus"] == worker["resources"]["requests"]["cpu"]
    head = only_container(HEAD)
    assert {port["name"]: port["containerPort"] for port in head["ports"]} == {
        "gcs-server": 6379,
        "client": CLIENT_PORT,
    }
    asked = [head["livenessProbe"], head["readinessProbe"]]
    assert [probe["tcpSocket"]["port"] for probe in asked] == [6379, CLIENT_PORT]
    manager = int(WORKERS["rayStartParams"]["node-manager-port"])
    for probe in (worker["livenessProbe"], worker["readinessProbe"]):
        assert probe["tcpSocket"]["port"] == manager


def test_a_run_comes_in_by_the_port_for_clients_and_nobody_else_does() -> None:
    told = OBJECTS["ConfigMap", "webcam-ml-ray"]["data"]
    # KubeRay names the service after the cluster.
    service = f"{CLUSTER['metadata']['name']}-head-svc"
    assert told == {
        "WEBCAM_ML_ENGINE": "ray",
        "WEBCAM_ML_RAY_ADDRESS": f"ray://{service}:{CLIENT_PORT}",
        "RAY_AUTH_MODE": "token",
    }
    among, clients = (
        OBJECTS["NetworkPolicy", name]["spec"] for name in ("webcam-ml-ray", "webcam-ml-ray-head")
    )
    name = {"app.kubernetes.io/name": "webcam-ml-ray"}
    for group in (HEAD, WORKERS):
        labels = group["template"]["metadata"]["labels"]
        assert among["podSelector"]["matchLabels"] == name
        assert name.items() <= labels.items()
        # The policy that closes every pod closes these, too.
        assert labels["app.kubernetes.io/part-of"] == "webcam-ml"
    assert among["ingress"] == [{"from": [{"podSelector": {"matchLabels": name}}]}]
    # KubeRay labels the head.
    assert clients["podSelector"]["matchLabels"] == name | {"ray.io/node-type": "head"}
    (rule,) = clients["ingress"]
    assert rule["ports"] == [{"port": CLIENT_PORT}]
