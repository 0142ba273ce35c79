"""The manifests are what Kubernetes takes, and say what the programs understand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from scheduler.runtime.settings import Settings
from tests.support.command_lines import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.28", "1.37")
"""The oldest and the newest that are checked."""
OWN_SCHEMA = ("Kustomization", "Component", "PodMonitor")
"""Not of Kubernetes itself."""
VARIABLES = {name.upper() for name in Settings.model_fields}

Document = dict[str, Any]


def documents(folder: str = "") -> list[tuple[str, Document]]:
    """Every manifest, by its file's name."""
    return [
        (str(path.relative_to(FOLDER)), document)
        for path in sorted((FOLDER / folder).rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if isinstance(document, dict)
    ]


MANIFESTS = [
    pytest.param(document, id=f"{name}:{document['kind']}/{document['metadata']['name']}")
    for name, document in documents()
    if document["kind"] not in OWN_SCHEMA
]


def workloads() -> list[Document]:
    return [document for _, document in documents("base") if document["kind"] in ("Deployment", "Job")]


def pods() -> Iterator[tuple[str, Document, Document]]:
    """Name, pod and its only container, of each workload."""
    for workload in workloads():
        pod = workload["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        yield workload["metadata"]["name"], pod, container


def base_settings() -> dict[str, str]:
    (settings,) = yaml.safe_load_all((FOLDER / "base" / "settings.yaml").read_text())
    data: dict[str, str] = settings["data"]
    return data


@pytest.mark.parametrize("manifest", MANIFESTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_manifest_is_what_kubernetes_takes(manifest: Document, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_validator_refuses_what_kubernetes_does_not_know() -> None:
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "date": {}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_each_file_is_named_by_its_kustomization() -> None:
    for kustomization in FOLDER.rglob("kustomization.yaml"):
        document = yaml.safe_load(kustomization.read_text())
        named = set(document.get("resources", ())) | {each.get("path") for each in document.get("patches", ())}
        there = {path.name for path in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert {name for name in named if name and "/" not in name} == there, kustomization
        for folder in [
            name for name in (*document.get("resources", ()), *document.get("components", ())) if "/" in name
        ]:
            assert (kustomization.parent / folder / "kustomization.yaml").exists()


def test_pods_meet_the_restricted_standard_and_write_to_nothing_but_tmp_and_snapshots() -> None:
    for name, pod, container in pods():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["resources"].keys() == {"requests", "limits"}, name
        snapshots = [each["value"] for each in container.get("env", ()) if each["name"] == "SNAPSHOT_DIR"]
        assert bool(snapshots) is (name == "scheduler")
        written = [each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")]
        assert written == ["/tmp", *snapshots], name  # noqa: S108
        assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}, name


def test_every_container_runs_a_command_line_that_is_understood() -> None:
    for _, _, container in pods():
        parse(*container["command"])


def test_settings_are_settings() -> None:
    for name, document in documents():
        if document["kind"] == "ConfigMap" and document["metadata"]["name"] == "scheduler-settings":
            assert set(document["data"]) <= VARIABLES, name
            assert all(isinstance(value, str) for value in document["data"].values()), name
    for name, _, container in pods():
        assert {each["name"] for each in container.get("env", ())} <= VARIABLES | {"POD_IP"}, name


def test_each_cluster_of_the_settings_has_workers_for_first_runs_and_for_retries() -> None:
    clusters = Settings.load(clusters=base_settings()["CLUSTERS"]).clusters
    run = {tuple(container["command"][:4]) for _, _, container in pods() if container["command"][0] == "worker"}

    expected = {("worker", "--cluster", each, word) for each in clusters for word in ("--retry", "--slots")}
    assert run == expected


def test_what_selects_finds_pods_and_probes_ask_ports_that_are_there() -> None:
    labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads()]
    for workload in workloads():
        if workload["kind"] == "Deployment":
            wanted = workload["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
            assert sum(wanted.items() <= each.items() for each in labels) == 1, "two deployments claim one pod"
    for _, document in documents():
        spec = document.get("spec", {})
        if document["kind"] in ("Service", "PodDisruptionBudget", "PodMonitor"):
            wanted = spec["selector"].get("matchLabels", spec["selector"])
            assert any(wanted.items() <= each.items() for each in labels), document["metadata"]
    for name, _, container in pods():
        ports = {port["name"] for port in container.get("ports", ())}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe in container:
                assert container[probe]["httpGet"]["port"] in ports, name


def test_no_more_replicas_than_partitions() -> None:
    (scaler,) = (each for _, each in documents("components") if each["kind"] == "HorizontalPodAutoscaler")
    (scheduler,) = (each for each in workloads() if each["metadata"]["name"] == "scheduler")

    assert scaler["spec"]["maxReplicas"] == int(base_settings()["PARTITIONS"])
    assert scheduler["spec"]["replicas"] <= scaler["spec"]["maxReplicas"]
