"""What is deployed: manifests that Kubernetes takes, and settings that the program has."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from gateway.bootstrap.settings import Settings
from gateway.bootstrap.sources import read_given
from gateway.telemetry.families import FAMILIES

KUBERNETES = "1.32"
OF_OTHERS = {"ServiceMonitor", "Kustomization"}  # kinds that the cluster's own schemas do not have


@pytest.fixture
def folder(root):
    return root / "deploy/kubernetes"


@pytest.fixture
def manifests(folder):
    """Return all manifests that the kustomization names, by kind and name."""
    named = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert {*named, "kustomization.yaml"} == {path.name for path in folder.glob("*.yaml")}
    documents = [each for name in named for each in yaml.safe_load_all((folder / name).read_text())]
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


@pytest.fixture
def pods(manifests):
    kinds = ("StatefulSet", "Deployment", "Job")
    return {kind: each["spec"]["template"]["spec"] for (kind, _), each in manifests.items() if kind in kinds}


def test_the_manifests_are_what_kubernetes_takes(manifests):
    for (kind, _), document in manifests.items():
        if kind not in OF_OTHERS:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    broken = manifests["PodDisruptionBudget", "turnout"] | {"spce": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


def test_every_pod_can_do_no_more_than_it_must(pods, root):
    user = int(re.search(r"useradd .*--uid (\d+)", (root / "Dockerfile").read_text()).group(1))
    for pod in pods.values():
        assert pod["securityContext"]["runAsUser"] == user
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            own = container["securityContext"]
            assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False)
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert "/tmp" in {each["mountPath"] for each in container["volumeMounts"]}  # noqa: S108  (a volume's place)


def test_the_settings_of_the_config_map_are_settings_and_go_with_the_pod(folder, pods, tmp_path, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TURNOUT_{name.upper()}", raising=False)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for key in ("database", "online"):
        (secrets / key).write_text("redis://example" if key == "online" else "postgresql://example/turnout")
    given = read_given(["--config", str(folder / "turnout.toml"), "--secrets", str(secrets)])
    pod = pods["StatefulSet"]
    (container,) = pod["containers"]
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    for setting in ("tokens", "tls_cert", "tls_key", "state"):
        path = getattr(given.settings, setting)
        assert mounted & {str(path), *(str(parent) for parent in path.parents)}
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    found = {name: getattr(given.settings, f"{name}_port") for name in ("data", "http", "control")}
    assert ports == found
    assert pod["terminationGracePeriodSeconds"] > given.settings.grace_s + 10
    assert given.origins["database"] == given.origins["online"] == "secret"
    assert given.settings.events
    assert given.settings.artifacts


def test_the_trainer_is_told_by_options_that_it_has_and_may_reach_what_it_is_told(pods, manifests, root):
    (container,) = pods["Deployment"]["containers"]
    compose = yaml.safe_load((root / "deploy/compose.yaml").read_text())["services"]["trainer"]
    asked = [Path(sys.executable).with_name("turnout"), "trainer", "--help"]
    page = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    for arguments, given in (
        (container["args"], {each["name"] for each in container["env"]}),
        (compose["command"], set(compose["environment"])),
    ):
        assert arguments[0] == "trainer"
        named = {*given, *(each for each in arguments if each.startswith("--"))}
        assert named <= set(re.findall(r"--[a-z-]+|TURNOUT_[A-Z_]+", page))
    server = next(each["value"] for each in container["env"] if each["name"] == "TURNOUT_SERVER")
    service, port = server.split(":")
    assert int(port) in {each["port"] for each in manifests["Service", service]["spec"]["ports"]}
    labels = manifests["Deployment", "turnout-trainer"]["spec"]["template"]["metadata"]["labels"]
    rules = manifests["NetworkPolicy", "turnout"]["spec"]["ingress"]
    admitted = [rule["from"][0]["podSelector"]["matchLabels"] for rule in rules if "podSelector" in rule["from"][0]]
    assert any(each.items() <= labels.items() for each in admitted)


def test_services_scaling_and_rules_are_about_the_pods_that_there_are(manifests):
    gateways = manifests["StatefulSet", "turnout"]
    labels = gateways["spec"]["template"]["metadata"]["labels"]
    for service in ("turnout-gateways", "turnout-control"):
        assert manifests["Service", service]["spec"]["selector"].items() <= labels.items()
    assert gateways["spec"]["serviceName"] == "turnout-gateways"
    scaler = manifests["HorizontalPodAutoscaler", "turnout"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == gateways["metadata"]["name"]
    (metric,) = [each["pods"]["metric"]["name"] for each in scaler["metrics"] if each["type"] == "Pods"]
    assert metric in FAMILIES
    assert manifests["PodDisruptionBudget", "turnout"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert manifests["NetworkPolicy", "turnout"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    monitor = manifests["ServiceMonitor", "turnout"]["spec"]
    watched = manifests["Service", "turnout-gateways"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= watched.items()


def test_the_secrets_that_the_pods_take_are_those_that_the_page_tells_of(pods, manifests, folder):
    page = (folder / "README.md").read_text()
    for pod in pods.values():
        for volume in pod["volumes"]:
            assert "secret" not in volume or f"`{volume['secret']['secretName']}`" in page
    (source,) = pods["StatefulSet"]["containers"][0]["envFrom"]
    assert f"`{source['secretRef']['name']}`" in page
    assert f"`{manifests['ServiceMonitor', 'turnout']['spec']['endpoints'][0]['bearerTokenSecret']['name']}`" in page


def test_the_image_that_is_deployed_is_this_release(folder, root):
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    images = yaml.safe_load((folder / "kustomization.yaml").read_text())["images"]
    assert images == [{"name": name, "newTag": version} for name in ("turnout", "turnout-trainer")]
    extras = re.search(r"'\.\[(.*?)\]'", (root / "Dockerfile").read_text()).group(1).split(",")
    assert {"server", "postgresql", "s3"} <= set(extras)


def test_the_compose_file_gives_settings_that_the_program_has(root):
    document = yaml.safe_load((root / "deploy/compose.yaml").read_text())
    services = document["services"]
    for name in ("one", "other", "migration"):
        given = {key for key in services[name]["environment"] if key.startswith("TURNOUT_")}
        assert {key.removeprefix("TURNOUT_").lower() for key in given} <= Settings.model_fields.keys()
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()
        named = {each.split(":")[0] for each in service.get("volumes", ()) if not each.startswith(".")}
        assert named <= document["volumes"].keys()
