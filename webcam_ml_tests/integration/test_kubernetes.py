"""deploy/kubernetes against schemas and the program; no cluster runs here."""

import inspect
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster._cli.api
import kubernetes_validate
import pytest
import yaml
from dagster import DagsterInstance
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.test_utils import create_run_for_test
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import ApiClient

from webcam_ml.dataset.images._ray_engine import ENVIRONMENT
from webcam_ml_tests.integration.project import DAGSTER, REPOSITORY
from webcam_ml_tests.postgres import PostgresServer

DEPLOY = REPOSITORY / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
EXAMPLES = KUBERNETES / "examples"
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
    "secretKeyRef": "Secret",
    "secret": "Secret",
    "persistentVolumeClaim": "PersistentVolumeClaim",
}

Objects = dict[tuple[str, str], dict[str, Any]]


def documents(text: str) -> Objects:
    """The objects of a file, by kind and name."""
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)}


def put_together(store: str) -> Objects:
    """What `kubectl apply -k` sends for a store on a volume (base) or in a bucket."""
    kubectl = shutil.which("kubectl", path=DAGSTER.parent)
    assert kubectl is not None
    made = subprocess.run(
        [kubectl, "kustomize", str(KUBERNETES / store)], capture_output=True, text=True, check=True
    )
    return documents(made.stdout)


@pytest.fixture(scope="module", params=["base", "bucket"])
def store(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def objects(store: str) -> Objects:
    """All that a cluster has, with Ray and the examples that go with the store."""
    beside = [KUBERNETES / "ray.yaml", EXAMPLES / "secrets.yaml", EXAMPLES / "application.yaml"]
    if store == "base":
        beside.append(EXAMPLES / "copy-store.yaml")
    found = put_together(store)
    for path in beside:
        found |= documents(path.read_text())
    return found


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


def containers(objects: Objects) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each pod's spec with each of its containers."""
    for document in objects.values():
        for template in inside(document, "template"):
            for pod in [template["spec"]] if "containers" in template["spec"] else []:
                for container in [*pod.get("initContainers", []), *pod["containers"]]:
                    yield pod, container


def container(objects: Objects, name: str) -> dict[str, Any]:
    (found,) = (one for _, one in containers(objects) if one["name"] == name)
    return found


def configured(objects: Objects, name: str) -> Any:
    return yaml.safe_load(objects["ConfigMap", "webcam-ml-instance"]["data"][name])


def test_a_manifest_is_what_kubernetes_takes(objects: Objects) -> None:
    for version in SCHEMAS:
        for (kind, _), document in objects.items():
            if kind != "RayCluster":
                kubernetes_validate.validate(document, version, strict=True)
            assert "namespace" not in document["metadata"]


def test_what_is_put_together_is_every_file_of_the_folder() -> None:
    files = [path for path in (KUBERNETES / "base").iterdir() if path.stem != "kustomization"]
    found: Objects = {}
    for path in files:
        found |= documents(path.read_text())
    assert put_together("base") == found


def test_what_a_manifest_names_exists(objects: Objects) -> None:
    there = set(objects) | MADE_BY_HAND | EVERY_NAMESPACE_HAS
    assert set().union(*map(referred, objects.values())) <= there
    for one in objects.values():
        for key in inside(one, "secretKeyRef"):
            assert key["key"] in objects["Secret", key["name"]]["stringData"]
    binding = objects["RoleBinding", "webcam-ml-launcher"]
    assert ("Role", binding["roleRef"]["name"]) in there
    pods = [labels for one in objects.values() for labels in inside(one, "labels")]
    for kind, name in objects:
        if kind == "Service":
            assert objects[kind, name]["spec"]["selector"].items() <= next(
                labels.items() for labels in pods if labels.get("app.kubernetes.io/name") == name
            )


def test_what_would_meet_an_empty_database_can_be_left_out_at_first(objects: Objects) -> None:
    text = (REPOSITORY / "docs" / "scaling.md").read_text()
    (label,) = re.findall("--selector '!([^']*)'", text)
    later = {
        name for (_, name), one in objects.items() if label in one["metadata"].get("labels", {})
    }
    assert later == {"webcam-ml-daemon", "webcam-ml-web"}


def test_every_variable_is_one_that_the_program_reads(objects: Objects) -> None:
    named = {
        entry["name"]
        for one in objects.values()
        for env in inside(one, "env")
        if isinstance(env, list)
        for entry in env
    }
    for (kind, name), document in objects.items():
        if kind == "Secret" or name in ("webcam-ml-settings", "webcam-ml-ray"):
            named |= set(document.get("data", {}) | document.get("stringData", {}))
    sources = "".join(path.read_text() for path in (REPOSITORY / "webcam_ml").rglob("*.py"))
    read = set(re.findall(r"\b[A-Z][A-Z_]+[A-Z]\b", sources))
    instance = configured(objects, "dagster.yaml")
    read |= {name for name in inside(instance, "env") if isinstance(name, str)} | set(ENVIRONMENT)
    read |= set(re.findall(r'getenv\("([A-Z_]+)"\)', inspect.getsource(dagster._cli.api)))
    assert named - read == {"PYTHONWARNINGS"}
    warnings = objects["ConfigMap", "webcam-ml-settings"]["data"]["PYTHONWARNINGS"]
    assert f"PYTHONWARNINGS={warnings}\n" in (REPOSITORY / "env.sh").read_text()


def test_no_secret_has_a_value_and_no_address_a_password(objects: Objects) -> None:
    for (kind, _), document in objects.items():
        if kind == "Secret":
            assert "data" not in document
            assert set(document["stringData"].values()) == {""}
    files = list(KUBERNETES.rglob("*.yaml"))
    for path in files:
        assert not re.search(r"://[^\s/]*@", path.read_text())
    # `kubectl apply` of all else must not write the empty values over real ones.
    assert [path.parent for path in files if "kind: Secret\n" in path.read_text()] == [EXAMPLES]


def test_every_pod_runs_without_rights_on_its_machine_and_within_a_limit(objects: Objects) -> None:
    code = container(objects, "code")
    for pod, one in containers(objects):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert one["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["resources"]["requests"].keys() == {"cpu", "memory"}
        if one["image"].startswith("webcam-ml:"):
            assert one["image"] == code["image"]
            # KubeRay brings the command of its own pods.
            if one["name"] not in ("head", "worker"):
                assert DAGSTER.with_name(one["command"][0]).exists()
    (image,) = (entry["value"] for entry in code["env"])
    assert image == code["image"]


@pytest.mark.parametrize(
    ("unit", "name"), [("code", "code"), ("daemon", "daemon"), ("web", "page")]
)
def test_a_pod_runs_the_command_of_the_unit(objects: Objects, unit: str, name: str) -> None:
    text = (DEPLOY / "systemd" / f"webcam-ml-{unit}.service").read_text()
    command = shlex.split(re.findall("(?m)^ExecStart=(.*)$", text)[0])
    command[0] = Path(command[0]).name
    moved = {"/opt/webcam-ml/deploy/postgres/workspace.yaml": "/etc/webcam-ml/workspace.yaml"}
    # The code server is asked from other pods; a policy says from which.
    moved |= {"127.0.0.1": "0.0.0.0"} if name == "code" else {}
    assert container(objects, name)["command"] == [moved.get(word, word) for word in command]


def test_the_page_is_reached_through_the_proxy_alone(objects: Objects) -> None:
    policies = {
        name: one["spec"]
        for (kind, name), one in objects.items()
        if kind == "NetworkPolicy" and not name.startswith("webcam-ml-ray")
    }
    assert all(policy["policyTypes"] == ["Ingress"] for policy in policies.values())
    closed = policies.pop("webcam-ml-closed")
    assert "ingress" not in closed
    shut = closed["podSelector"]["matchLabels"].items()
    for name in ("code", "daemon", "web"):
        template = objects["Deployment", f"webcam-ml-{name}"]["spec"]["template"]
        assert shut <= template["metadata"]["labels"].items()
    launcher = configured(objects, "dagster.yaml")["run_launcher"]["config"]
    assert shut <= launcher["labels"].items()
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
    assert container(objects, "page")["command"][-4:] == ["--host", "127.0.0.1", "--port", page]
    mounted = {mount["mountPath"] for mount in container(objects, "proxy")["volumeMounts"]}
    assert set(re.findall(r"/etc/nginx/[\w.-]+(?=;)", proxy)) <= mounted


def test_the_instance_is_the_one_of_a_server_but_for_what_a_cluster_needs(
    objects: Objects,
) -> None:
    server = yaml.safe_load((DEPLOY / "postgres" / "dagster.yaml").read_text())
    cluster = configured(objects, "dagster.yaml")
    differ = {name for name in server | cluster if server.get(name) != cluster.get(name)}
    assert differ == {"run_launcher", "run_monitoring", "compute_logs"}
    grace = cluster["run_launcher"]["config"]["run_k8s_config"]["pod_spec_config"]
    monitoring = cluster["run_monitoring"]
    assert monitoring["cancel_timeout_seconds"] > grace["termination_grace_period_seconds"]
    (served,) = configured(objects, "workspace.yaml")["load_from"]
    (here,) = yaml.safe_load((DEPLOY / "postgres" / "workspace.yaml").read_text())["load_from"]
    assert served["grpc_server"] == here["grpc_server"] | {"host": "webcam-ml-code"}
    (port,) = objects["Service", "webcam-ml-code"]["spec"]["ports"]
    assert port["port"] == served["grpc_server"]["port"]


def test_a_bucket_changes_no_more_of_the_instance_than_it_must() -> None:
    volume, bucket = (configured(put_together(one), "dagster.yaml") for one in ("base", "bucket"))
    assert {name for name in volume if volume[name] != bucket[name]} == {
        "run_launcher",
        "compute_logs",
    }
    ours, theirs = (one["run_launcher"]["config"] for one in (volume, bucket))
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == {
        "env_secrets",
        "labels",
        "volumes",
        "volume_mounts",
        "run_k8s_config",
    }
    # Runs need not be on one machine.
    for one in (ours, theirs):
        one["run_k8s_config"]["pod_spec_config"].pop("affinity", None)
    assert ours["run_k8s_config"] == theirs["run_k8s_config"]


def test_the_instance_loads_and_its_launcher_makes_a_job_that_kubernetes_takes(
    objects: Objects,
    store: str,
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = configured(objects, "dagster.yaml")
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
    if store == "base":
        config["compute_logs"]["config"]["base_dir"] = str(tmp_path / "logs")
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.delenv("POD_NAMESPACE", raising=False)
    with postgres_server.fresh_database() as url:
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
        with DagsterInstance.from_config(str(tmp_path)) as instance:
            logs = LocalComputeLogManager if store == "base" else NoOpComputeLogManager
            assert isinstance(instance.compute_log_manager, logs)
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
    volumes = {
        ("PersistentVolumeClaim", "webcam-ml-store"),
        ("PersistentVolumeClaim", "webcam-ml-cache"),
    }
    assert referred(made) == {
        ("ServiceAccount", "webcam-ml-run"),
        ("ConfigMap", "webcam-ml-settings"),
        ("ConfigMap", "webcam-ml-ray"),
        ("Secret", "webcam-ml-instance"),
        ("Secret", "webcam-ml-labels"),
        ("Secret", "webcam-ml-ray"),
    } | (volumes if store == "base" else {("Secret", "webcam-ml-bucket")})
    assert referred(made) <= set(objects)
    assert ("PersistentVolumeClaim" in {kind for kind, _ in objects}) == (store == "base")
    pod = made["spec"]["template"]
    code = objects["Deployment", "webcam-ml-code"]["spec"]["template"]["spec"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"] == code["securityContext"]
    (one,) = pod["spec"]["containers"]
    assert one["securityContext"] == container(objects, "code")["securityContext"]
    # A run starts where Ray is not, too.
    optional = [source for source in one["envFrom"] if list(inside(source, "optional")) == [True]]
    assert referred(optional) == {("ConfigMap", "webcam-ml-ray"), ("Secret", "webcam-ml-ray")}
    for near in inside(pod["spec"], "matchLabels"):
        assert near.items() <= pod["metadata"]["labels"].items()
    (head,) = objects["NetworkPolicy", "webcam-ml-ray-head"]["spec"]["ingress"]
    (runs,) = inside(head["from"], "matchLabels")
    assert runs.items() <= pod["metadata"]["labels"].items()
    # What the settings name lies on a volume, or in the bucket.
    places = [mount["mountPath"] for mount in one["volumeMounts"]]
    settings = objects["ConfigMap", "webcam-ml-settings"]["data"]
    assert any(Path(settings["WEBCAM_ML_CACHE"]).is_relative_to(place) for place in places)
    artifacts = settings["WEBCAM_ML_ARTIFACTS"]
    assert artifacts.startswith("s3://") == (store == "bucket")
    if store == "base":
        assert any(Path(artifacts).is_relative_to(place) for place in places)
