"""deploy/kubernetes against schemas and the program; no cluster runs here."""

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster._cli.api
import kubernetes_validate
import pytest
import yaml
from dagster import DagsterInstance
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.test_utils import create_run_for_test
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import ApiClient

from webcam_ml_tests.integration.project import DAGSTER, REPOSITORY
from webcam_ml_tests.postgres import PostgresServer

DEPLOY = REPOSITORY / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
FILES = sorted(KUBERNETES.rglob("*.yaml"))
# Of a cluster that everybody has, 1.27: probes of gRPC; and the newest that the checker knows.
SCHEMAS = ["1.27", kubernetes_validate.latest_version()]
# Made by the commands in docs/scaling.md, from deploy/nginx and what only the owner has.
MADE_BY_HAND = {("ConfigMap", "webcam-ml-proxy"), ("Secret", "webcam-ml-proxy")}
EVERY_NAMESPACE_HAS = {("ConfigMap", "kube-root-ca.crt")}
# Where Kubernetes names another object, and of which kind that is.
REFERENCES = {
    "configMapRef": "ConfigMap",
    "configMap": "ConfigMap",
    "secretRef": "Secret",
    "secret": "Secret",
    "persistentVolumeClaim": "PersistentVolumeClaim",
}


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


OBJECTS = {
    (document["kind"], document["metadata"]["name"]): document
    for path in FILES
    for document in documents(path)
}


def inside(value: Any, key: str) -> Iterator[Any]:
    """Every value of a key, however deep."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from inside(item, key)


def referred(document: Any) -> set[tuple[str, str]]:
    found = {
        (kind, value.get("name") or value.get("secretName") or value["claimName"])
        for key, kind in REFERENCES.items()
        for value in inside(document, key)
    }
    accounts = inside(document, "serviceAccountName")
    return found | {("ServiceAccount", name) for name in accounts}


def containers() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each pod's spec with each of its containers."""
    for document in OBJECTS.values():
        for template in inside(document, "template"):
            for pod in [template["spec"]] if "containers" in template["spec"] else []:
                for container in [*pod.get("initContainers", []), *pod["containers"]]:
                    yield pod, container


def container(name: str) -> dict[str, Any]:
    (found,) = (one for _, one in containers() if one["name"] == name)
    return found


def configured(name: str) -> Any:
    return yaml.safe_load(OBJECTS["ConfigMap", "webcam-ml-instance"]["data"][name])


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(KUBERNETES)) for path in FILES])
@pytest.mark.parametrize("version", SCHEMAS)
def test_a_manifest_is_what_kubernetes_takes(path: Path, version: str) -> None:
    for document in documents(path):
        kubernetes_validate.validate(document, version, strict=True)
        assert "namespace" not in document["metadata"]


def test_what_a_manifest_names_exists() -> None:
    there = set(OBJECTS) | MADE_BY_HAND | EVERY_NAMESPACE_HAS
    assert set().union(*map(referred, OBJECTS.values())) <= there
    binding = OBJECTS["RoleBinding", "webcam-ml-launcher"]
    assert ("Role", binding["roleRef"]["name"]) in there
    pods = [labels for one in OBJECTS.values() for labels in inside(one, "labels")]
    for kind, name in OBJECTS:
        if kind == "Service":
            assert OBJECTS[kind, name]["spec"]["selector"].items() <= next(
                labels.items() for labels in pods if labels["app.kubernetes.io/name"] == name
            )


def test_every_variable_is_one_that_the_program_reads() -> None:
    named = {
        entry["name"]
        for one in OBJECTS.values()
        for env in inside(one, "env")
        if isinstance(env, list)
        for entry in env
    }
    for (kind, name), document in OBJECTS.items():
        if kind == "Secret" or name == "webcam-ml-settings":
            named |= set(document.get("data", {}) | document.get("stringData", {}))
    sources = "".join(path.read_text() for path in (REPOSITORY / "webcam_ml").rglob("*.py"))
    read = set(re.findall(r"\b[A-Z][A-Z_]+[A-Z]\b", sources))
    read |= {name for name in inside(configured("dagster.yaml"), "env") if isinstance(name, str)}
    read |= set(re.findall(r'getenv\("([A-Z_]+)"\)', inspect.getsource(dagster._cli.api)))
    assert named - read == {"PYTHONWARNINGS"}
    warnings = OBJECTS["ConfigMap", "webcam-ml-settings"]["data"]["PYTHONWARNINGS"]
    assert f"PYTHONWARNINGS={warnings}\n" in (REPOSITORY / "env.sh").read_text()


def test_no_secret_has_a_value_and_no_address_a_password() -> None:
    for (kind, _), document in OBJECTS.items():
        if kind == "Secret":
            assert "data" not in document
            assert set(document["stringData"].values()) == {""}
    for path in FILES:
        assert not re.search(r"://[^\s/]*@", path.read_text())
    # `kubectl apply -f deploy/kubernetes/` must not write the empty values over real ones.
    assert [path.parent.name for path in FILES if "kind: Secret\n" in path.read_text()] == [
        "examples"
    ]


def test_every_pod_runs_without_rights_on_its_machine_and_within_a_limit() -> None:
    for pod, one in containers():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert one["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["resources"]["requests"].keys() == {"cpu", "memory"}
        if one["image"].startswith("webcam-ml:"):
            assert one["image"] == container("code")["image"]
            assert DAGSTER.with_name(one["command"][0]).exists()
    (image,) = (entry["value"] for entry in container("code")["env"])
    assert image == container("code")["image"]


@pytest.mark.parametrize(
    ("unit", "name"), [("code", "code"), ("daemon", "daemon"), ("web", "page")]
)
def test_a_pod_runs_the_command_of_the_unit(unit: str, name: str) -> None:
    text = (DEPLOY / "systemd" / f"webcam-ml-{unit}.service").read_text()
    command = shlex.split(re.findall("(?m)^ExecStart=(.*)$", text)[0])
    command[0] = Path(command[0]).name
    moved = {"/opt/webcam-ml/deploy/postgres/workspace.yaml": "/etc/webcam-ml/workspace.yaml"}
    # The code server is asked from other pods; a policy says from which.
    moved |= {"127.0.0.1": "0.0.0.0"} if name == "code" else {}
    assert container(name)["command"] == [moved.get(word, word) for word in command]


def test_the_page_is_reached_through_the_proxy_alone() -> None:
    policies = {
        name: one["spec"] for (kind, name), one in OBJECTS.items() if kind == "NetworkPolicy"
    }
    assert all(policy["policyTypes"] == ["Ingress"] for policy in policies.values())
    closed = policies.pop("webcam-ml-closed")
    assert "ingress" not in closed
    shut = closed["podSelector"]["matchLabels"].items()
    for name in ("code", "daemon", "web"):
        template = OBJECTS["Deployment", f"webcam-ml-{name}"]["spec"]["template"]
        assert shut <= template["metadata"]["labels"].items()
    assert shut <= configured("dagster.yaml")["run_launcher"]["config"]["labels"].items()
    open_ports = {
        policy["podSelector"]["matchLabels"]["app.kubernetes.io/name"]: list(inside(policy, "port"))
        for policy in policies.values()
    }
    assert open_ports == {"webcam-ml-web": [443], "webcam-ml-code": [4270]}
    (rule,) = policies["webcam-ml-code"]["ingress"]
    assert [one["podSelector"]["matchLabels"] for one in rule["from"]] == [
        {"app.kubernetes.io/name": "webcam-ml-daemon"},
        {"app.kubernetes.io/name": "webcam-ml-web"},
    ]
    # The proxy is the one of deploy/nginx, and finds what it names.
    proxy = (DEPLOY / "nginx" / "webcam-ml.conf").read_text()
    (page,) = set(re.findall("proxy_pass http://127.0.0.1:([0-9]+);", proxy))
    assert container("page")["command"][-4:] == ["--host", "127.0.0.1", "--port", page]
    mounted = {mount["mountPath"] for mount in container("proxy")["volumeMounts"]}
    assert set(re.findall(r"/etc/nginx/[\w.-]+(?=;)", proxy)) <= mounted


def test_the_instance_is_the_one_of_a_server_but_for_what_a_cluster_needs() -> None:
    server = yaml.safe_load((DEPLOY / "postgres" / "dagster.yaml").read_text())
    cluster = configured("dagster.yaml")
    differ = {name for name in server | cluster if server.get(name) != cluster.get(name)}
    assert differ == {"run_launcher", "run_monitoring", "compute_logs"}
    grace = cluster["run_launcher"]["config"]["run_k8s_config"]["pod_spec_config"]
    monitoring = cluster["run_monitoring"]
    assert monitoring["cancel_timeout_seconds"] > grace["termination_grace_period_seconds"]
    (served,) = configured("workspace.yaml")["load_from"]
    (here,) = yaml.safe_load((DEPLOY / "postgres" / "workspace.yaml").read_text())["load_from"]
    assert served["grpc_server"] == here["grpc_server"] | {"host": "webcam-ml-code"}
    (port,) = OBJECTS["Service", "webcam-ml-code"]["spec"]["ports"]
    assert port["port"] == served["grpc_server"]["port"]


def test_the_instance_loads_and_its_launcher_makes_a_job_that_kubernetes_takes(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured("dagster.yaml")
    # Read at the start of the launcher; nothing is asked of the address.
    cluster = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "nobody"}}],
        "clusters": [{"name": "here", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "nobody", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(cluster))
    config["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(tmp_path / "kubeconfig"),
    }
    config["compute_logs"]["config"]["base_dir"] = str(tmp_path / "logs")
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.delenv("POD_NAMESPACE", raising=False)
    with postgres_server.fresh_database() as url:
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
        with DagsterInstance.from_config(str(tmp_path)) as instance:
            assert isinstance(instance.compute_log_manager, LocalComputeLogManager)
            assert instance.run_monitoring_enabled
            # Code server and runs have no launcher's rights, nor its variable, and need neither.
            instance.upgrade()
            run = create_run_for_test(instance, job_name="retrain")
            monkeypatch.setenv("POD_NAMESPACE", "webcams")
            launcher = instance.run_launcher
            assert isinstance(launcher, K8sRunLauncher)
            context = launcher.get_container_context_for_run(run)
            assert context.namespace == "webcams"
            job = construct_dagster_k8s_job(
                job_config=context.get_k8s_job_config("webcam-ml:0.2.0", launcher),
                args=["dagster", "api", "execute_run"],
                job_name="dagster-run",
                user_defined_k8s_config=context.run_k8s_config,
                component="run_worker",
            )
    made = ApiClient().sanitize_for_serialization(job)
    for version in SCHEMAS:
        kubernetes_validate.validate(made, version, strict=True)
    assert referred(made) == {
        ("ServiceAccount", "webcam-ml-run"),
        ("ConfigMap", "webcam-ml-settings"),
        ("Secret", "webcam-ml-instance"),
        ("Secret", "webcam-ml-labels"),
        ("PersistentVolumeClaim", "webcam-ml-store"),
        ("PersistentVolumeClaim", "webcam-ml-cache"),
    }
    assert referred(made) <= set(OBJECTS)
    pod = made["spec"]["template"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert (
        pod["spec"]["securityContext"]
        == (OBJECTS["Deployment", "webcam-ml-code"]["spec"]["template"]["spec"]["securityContext"])
    )
    (one,) = pod["spec"]["containers"]
    assert one["securityContext"] == container("code")["securityContext"]
    (near,) = inside(pod, "matchLabels")
    assert near.items() <= pod["metadata"]["labels"].items()
    # What the settings name lies on a volume.
    places = [mount["mountPath"] for mount in one["volumeMounts"]]
    settings = OBJECTS["ConfigMap", "webcam-ml-settings"]["data"]
    for name in ("WEBCAM_ML_ARTIFACTS", "WEBCAM_ML_CACHE"):
        assert any(Path(settings[name]).is_relative_to(place) for place in places)
